/* The cpu backend keeps the contract of core/backend/backend.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <time.h>

#include "core/backend/backend.h"

static const sq_backend *const backend = &sq_backend_cpu;

static int open_device(void **state)
{
    sq_backend_device *device = NULL;
    sq_error err;
    if (backend->open(0, &device, &err) != SQ_OK)
        return -1;
    *state = device;
    return 0;
}

static int close_device(void **state)
{
    backend->close(*state);
    return 0;
}

static void *allocate(sq_backend_device *device, size_t bytes)
{
    void *data = NULL;
    sq_error err;
    if (backend->alloc(device, bytes, &data, &err) != SQ_OK)
        fail_msg("%s", err.message);
    assert_true((uintptr_t)data % 256 == 0);
    return data;
}

static void there_is_one_device(void **state)
{
    (void)state;
    sq_backend_device *device = NULL;
    sq_error err;
    assert_int_equal(backend->count(&err), 1);
    assert_int_equal(backend->open(1, &device, &err), SQ_BAD_ARGUMENT);
    assert_null(device);
    backend->close(NULL);
}

static void facts_are_filled_and_stable(void **state)
{
    sq_backend_device *again = NULL;
    const sq_device *facts = backend->facts(*state);
    assert_string_equal(facts->backend, "cpu");
    assert_true(strlen(facts->uuid) > 8 && facts->name[0] && facts->arch[0]);
    assert_true(facts->sm_count > 0 && facts->memory_bytes > 0);
    assert_true(isnan(facts->max_sm_mhz));
    assert_int_equal(backend->open(0, &again, NULL), SQ_OK);
    assert_string_equal(backend->facts(again)->uuid, facts->uuid);
    backend->close(again);
}

static void too_much_memory_is_refused(void **state)
{
    size_t available, total;
    void *data = state;
    sq_error err;
    assert_int_equal(backend->memory(*state, &available, &total, &err), SQ_OK);
    assert_true(available > 0 && available <= total);
    assert_int_equal(backend->alloc(*state, total + 1, &data, &err), SQ_OUT_OF_MEMORY);
    assert_null(data);
    assert_int_equal(backend->alloc(*state, SIZE_MAX, &data, &err), SQ_OUT_OF_MEMORY);
    backend->free(*state, NULL);
    void *nothing = allocate(*state, 0);
    backend->free(*state, nothing);
}

static void fill_draws_by_index_and_poison_is_nan(void **state)
{
    enum { N = 1000 };
    float *data = allocate(*state, N * sizeof *data);
    sq_draw draw = {SQ_DRAW_NORMAL, 0, 1, 0};
    sq_tensor tensor = sq_tensor_dense(data, SQ_DTYPE_F32, 1, (int64_t[]){N});
    assert_int_equal(backend->fill(*state, &tensor, draw, 42, 3, NULL), SQ_OK);
    for (int i = 0; i < N; i++)
        assert_true(data[i] == sq_rng_draw(draw, 42, 3, i));
    assert_int_equal(backend->poison(*state, data, N * sizeof *data, NULL), SQ_OK);
    for (int i = 0; i < N; i++)
        assert_true(isnan(data[i]));
    backend->free(*state, data);
}

static void gather_packs_views(void **state)
{
    enum { ROWS = 5, COLS = 8 };
    uint16_t *data = allocate(*state, ROWS * COLS * sizeof *data), host[ROWS * COLS];
    for (int i = 0; i < ROWS * COLS; i++)
        data[i] = (uint16_t)i;
    sq_tensor whole = sq_tensor_dense(data, SQ_DTYPE_BF16, 2, (int64_t[]){ROWS, COLS});
    sq_tensor part = sq_tensor_slice(&whole, 0, 1, 3);
    part = sq_tensor_slice(&part, 1, 2, 4);
    assert_int_equal(backend->gather(*state, &part, host, NULL), SQ_OK);
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 4; c++)
            assert_int_equal(host[r * 4 + c], (r + 1) * COLS + c + 2);
    sq_tensor columns = whole; /* transposed: the last dim is not contiguous */
    columns.dim[0] = COLS, columns.dim[1] = ROWS;
    columns.stride[0] = 1, columns.stride[1] = COLS;
    assert_int_equal(backend->gather(*state, &columns, host, NULL), SQ_OK);
    for (int c = 0; c < COLS; c++)
        for (int r = 0; r < ROWS; r++)
            assert_int_equal(host[c * ROWS + r], r * COLS + c);
    backend->free(*state, data);
}

static uint64_t checksum(sq_backend_device *device, void *data, sq_dtype dtype, int64_t count)
{
    uint64_t sum = 0;
    sq_tensor tensor = sq_tensor_dense(data, dtype, 1, &count);
    assert_int_equal(backend->checksum(device, &tensor, &sum, NULL), SQ_OK);
    return sum;
}

static void checksum_sees_every_bit_and_place(void **state)
{
    enum { N = 7 }; /* odd: the last 32-bit word is half padding */
    uint16_t *data = allocate(*state, N * sizeof *data);
    for (int i = 0; i < N; i++)
        data[i] = (uint16_t)(100 + i);
    uint64_t sum = checksum(*state, data, SQ_DTYPE_BF16, N);
    assert_true(sum == checksum(*state, data, SQ_DTYPE_F16, N));
    for (int i = 0; i < N; i++) {
        data[i] ^= 1;
        assert_true(sum != checksum(*state, data, SQ_DTYPE_BF16, N));
        data[i] ^= 1;
    }
    uint16_t first = data[0];
    data[0] = data[2], data[2] = first;
    assert_true(sum != checksum(*state, data, SQ_DTYPE_BF16, N));
    backend->free(*state, data);
}

typedef struct {
    int launches;
    bool is_failing;
} counted;

static sq_status launch_sleep(void *arg, sq_error *err)
{
    counted *c = arg;
    c->launches++;
    if (c->is_failing)
        return sq_fail(err, SQ_DEVICE, "told to fail");
    struct timespec pause = {0, 2000000};
    nanosleep(&pause, NULL);
    return SQ_OK;
}

/* The sleep is a lower bound of the time; nothing is said about an upper one. */
static void sample_times_one_launch(void **state)
{
    int32_t ns = 0;
    double mhz = 0;
    counted c = {0};
    assert_int_equal(
        backend->sample(*state, SQ_CACHE_CLEAN_COLD, launch_sleep, &c, &ns, &mhz, NULL), SQ_OK);
    assert_int_equal(c.launches, 1);
    assert_true(ns >= 2000000);
    assert_true(isnan(mhz));
    assert_int_equal(backend->sample(*state, SQ_CACHE_HOT, launch_sleep, &c, &ns, &mhz, NULL),
                     SQ_OK);
    assert_int_equal(c.launches, 3);
    c.is_failing = true;
    assert_int_equal(backend->sample(*state, SQ_CACHE_HOT, launch_sleep, &c, &ns, &mhz, NULL),
                     SQ_DEVICE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_one_device),
        cmocka_unit_test(facts_are_filled_and_stable),
        cmocka_unit_test(too_much_memory_is_refused),
        cmocka_unit_test(fill_draws_by_index_and_poison_is_nan),
        cmocka_unit_test(gather_packs_views),
        cmocka_unit_test(checksum_sees_every_bit_and_place),
        cmocka_unit_test(sample_times_one_launch),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
