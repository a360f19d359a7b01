/* The cpu backend keeps the contract of core/backend/backend.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <time.h>

#include "tests/support/backend_cases.h"

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
    counted c = {0};
    sq_sample sample;
    sq_sample_request request = {
        .cache = SQ_CACHE_CLEAN_COLD, .launches = 1, .launch = launch_sleep, .arg = &c};
    assert_int_equal(backend->sample(*state, &request, &sample, NULL), SQ_OK);
    assert_int_equal(c.launches, 1);
    assert_true(sample.ns >= 2000000);
    assert_true(isnan(sample.sm_mhz));
    assert_false(sample.is_late);
    request.cache = SQ_CACHE_HOT;
    assert_int_equal(backend->sample(*state, &request, &sample, NULL), SQ_OK);
    assert_int_equal(c.launches, 3);
    request.launches = 3;
    assert_int_equal(backend->sample(*state, &request, &sample, NULL), SQ_OK);
    assert_int_equal(c.launches, 7);
    assert_true(sample.ns >= 2000000);
    c.is_failing = true;
    assert_int_equal(backend->sample(*state, &request, &sample, NULL), SQ_DEVICE);
}

static void it_keeps_what_every_backend_promises(void **state)
{
    sq_case_counts counts = {0};
    sq_rig rig = {.backend = backend, .device = *state, .providers = sq_providers_cpu};
    sq_backend_cases_run(&rig, &counts);
    assert_int_equal(counts.failed, 0);
    assert_true(counts.passed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_one_device),
        cmocka_unit_test(facts_are_filled_and_stable),
        cmocka_unit_test(too_much_memory_is_refused),
        cmocka_unit_test(checksum_sees_every_bit_and_place),
        cmocka_unit_test(sample_times_one_launch),
        cmocka_unit_test(it_keeps_what_every_backend_promises),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
