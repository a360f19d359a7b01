/* backend_cases: see backend_cases.h. */
#include "tests/support/backend_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 100003, SEED = 5, TENSOR_ID = 3 };

/* Device and host memory of one case. */
typedef struct {
    const sq_rig *rig;
    void *device, *other; /* on the device, BYTES each */
    char *got, *want;     /* on the host */
} memory;

enum { BYTES = COUNT * sizeof(float) };

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return sq_fail(err, SQ_MISMATCH, __VA_ARGS__);                                         \
    } while (0)

static sq_status fetch(const memory *m, const sq_tensor *t, sq_error *err)
{
    return m->rig->backend->gather(m->rig->device, t, m->got, err);
}

static sq_status fill_draws_by_index(const memory *m, sq_error *err)
{
    static const sq_draw draws[] = {{SQ_DRAW_NORMAL, 0.5f, 3, 0},
                                    {SQ_DRAW_UNIFORM, -1, 7, 0},
                                    {SQ_DRAW_CONSTANT, 0.3f, 0, 0},
                                    {SQ_DRAW_RAMP, 1, 0.25f, 17},
                                    {SQ_DRAW_STAIR, -3, 1, 17}};
    static const sq_dtype dtypes[] = {SQ_DTYPE_F32, SQ_DTYPE_BF16, SQ_DTYPE_F16, SQ_DTYPE_I32};
    for (size_t k = 0; k < sizeof dtypes / sizeof dtypes[0]; k++)
        for (size_t i = 0; i < sizeof draws / sizeof draws[0]; i++) {
            int64_t dim = COUNT;
            sq_tensor t = sq_tensor_dense(m->device, dtypes[k], 1, &dim), host = t;
            SQ_TRY(m->rig->backend->fill(m->rig->device, &t, 0, draws[i], SEED, TENSOR_ID, err));
            SQ_TRY(fetch(m, &t, err));
            host.data = m->want;
            sq_rng_fill(&host, 0, draws[i], SEED, TENSOR_ID);
            EXPECT(memcmp(m->got, m->want, sq_tensor_bytes(&t)) == 0,
                   "draw %zu in %s: the device's bits differ from the host's", i,
                   sq_dtype_name(t.dtype));
        }
    return SQ_OK;
}

/* A view gets what the whole tensor would have there, and nothing else is touched. */
static sq_status fill_draws_views(const memory *m, sq_error *err)
{
    const sq_draw draw = {SQ_DRAW_NORMAL, 0.5f, 3, 0};
    const int64_t dim[] = {COUNT / 16, 16};
    sq_tensor t = sq_tensor_dense(m->device, SQ_DTYPE_F32, 2, dim), host = t;
    host.data = m->want;
    memset(m->want, 0xff, sq_tensor_bytes(&t));
    SQ_TRY(m->rig->backend->poison(m->rig->device, m->device, sq_tensor_bytes(&t), err));
    sq_tensor view = sq_tensor_slice(&t, 1, 3, 5), want = sq_tensor_slice(&host, 1, 3, 5);
    SQ_TRY(m->rig->backend->fill(m->rig->device, &view, 3, draw, SEED, TENSOR_ID, err));
    sq_rng_fill(&want, 3, draw, SEED, TENSOR_ID);
    SQ_TRY(fetch(m, &t, err));
    EXPECT(memcmp(m->got, m->want, sq_tensor_bytes(&t)) == 0, "a view was drawn otherwise");
    return SQ_OK;
}

static sq_status poison_sets_every_byte(const memory *m, sq_error *err)
{
    int64_t dim = COUNT;
    sq_tensor t = sq_tensor_dense(m->device, SQ_DTYPE_F32, 1, &dim);
    SQ_TRY(m->rig->backend->poison(m->rig->device, m->device, BYTES, err));
    SQ_TRY(fetch(m, &t, err));
    for (int i = 0; i < BYTES; i++)
        EXPECT(m->got[i] == (char)0xff, "byte %d is not poisoned", i);
    return SQ_OK;
}

/* Uploads bytes that differ everywhere; `want` holds them too. */
static sq_status upload_pattern(const memory *m, sq_error *err)
{
    for (int i = 0; i < BYTES; i++)
        m->want[i] = (char)sq_rng_bits(SEED, 0, i);
    return m->rig->backend->upload(m->rig->device, m->device, m->want, BYTES, err);
}

static sq_status gather_packs_views(const memory *m, sq_error *err)
{
    for (int dtype = 0; dtype < SQ_DTYPE_COUNT; dtype++) {
        size_t size = sq_dtype_size((sq_dtype)dtype);
        sq_tensor whole =
            sq_tensor_dense(m->device, (sq_dtype)dtype, 4, (int64_t[]){7, 11, 13, 99});
        sq_tensor view = sq_tensor_slice(&whole, 0, 1, 5);
        SQ_TRY(upload_pattern(m, err));
        view = sq_tensor_slice(&view, 1, 2, 8);
        view = sq_tensor_slice(&view, 3, 3, 64);
        SQ_TRY(fetch(m, &view, err));
        size_t base = (size_t)((char *)view.data - (char *)m->device);
        for (int64_t i = 0; i < sq_tensor_count(&view); i++) {
            size_t from = base + (size_t)sq_tensor_offset(&view, i) * size;
            EXPECT(memcmp(m->got + (size_t)i * size, m->want + from, size) == 0,
                   "%s view: element %lld is not its own", sq_dtype_name(view.dtype), (long long)i);
        }
    }
    return SQ_OK;
}

static uint64_t host_checksum(const char *data, size_t bytes)
{
    uint64_t sum = 0;
    for (size_t at = 0; at < bytes; at += sizeof(uint32_t)) {
        uint32_t word = 0;
        memcpy(&word, data + at, bytes - at < sizeof word ? bytes - at : sizeof word);
        sum += sq_rng_checksum_term((int64_t)(at / sizeof word), word);
    }
    return sum;
}

static sq_status checksum_is_the_same_everywhere(const memory *m, sq_error *err)
{
    static const int64_t counts[] = {1, 2, 3, 1001, COUNT};
    SQ_TRY(upload_pattern(m, err));
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        uint64_t sum = 0;
        sq_tensor t = sq_tensor_dense(m->device, SQ_DTYPE_BF16, 1, &counts[i]);
        SQ_TRY(m->rig->backend->checksum(m->rig->device, &t, &sum, err));
        EXPECT(sum == host_checksum(m->want, sq_tensor_bytes(&t)), "checksum of %lld elements",
               (long long)counts[i]);
    }
    return SQ_OK;
}

static sq_status copy_copies_the_tail_too(const memory *m, sq_error *err)
{
    const size_t bytes = BYTES - 2; /* no multiple of 16 */
    int64_t dim = COUNT;
    sq_tensor t = sq_tensor_dense(m->other, SQ_DTYPE_F32, 1, &dim);
    SQ_TRY(upload_pattern(m, err));
    SQ_TRY(m->rig->backend->poison(m->rig->device, m->other, BYTES, err));
    SQ_TRY(m->rig->backend->copy(m->rig->device, m->other, m->device, bytes, err));
    SQ_TRY(fetch(m, &t, err));
    EXPECT(memcmp(m->got, m->want, bytes) == 0, "the copy differs");
    EXPECT(m->got[BYTES - 1] == (char)0xff && m->got[BYTES - 2] == (char)0xff,
           "the copy went beyond its end");
    return SQ_OK;
}

/* A refusal must leave the device as usable as before. */
static sq_status too_much_memory_is_refused(const memory *m, sq_error *err)
{
    void *data = NULL;
    sq_error refusal = {.status = SQ_OK};
    sq_status status = m->rig->backend->alloc(m->rig->device, (size_t)1 << 60, &data, &refusal);
    EXPECT(status == SQ_OUT_OF_MEMORY && !data && refusal.message[0], "2^60 bytes: %s",
           sq_status_text(status));
    SQ_TRY(m->rig->backend->sync(m->rig->device, err));
    return poison_sets_every_byte(m, err);
}

typedef struct {
    const memory *m;
    int launches;
} copying;

static sq_status launch_copy(void *arg, sq_error *err)
{
    copying *c = arg;
    c->launches++;
    return c->m->rig->backend->copy(c->m->rig->device, c->m->other, c->m->device, BYTES, err);
}

static sq_status samples_launch_as_often_as_asked_and_take_time(const memory *m, sq_error *err)
{
    const sq_backend *backend = m->rig->backend;
    copying c = {.m = m};
    SQ_TRY(launch_copy(&c, err));
    for (int cache = 0; cache < SQ_CACHE_COUNT; cache++) {
        sq_sample sample;
        sq_sample_request request = {.cache = (sq_cache)cache,
                                     .launches = 1 + cache,
                                     .hold_seconds = 1,
                                     .launch = launch_copy,
                                     .arg = &c};
        c.launches = 0;
        SQ_TRY(backend->cool(m->rig->device, err));
        SQ_TRY(backend->sample(m->rig->device, &request, &sample, err));
        EXPECT(c.launches == request.launches + (cache == SQ_CACHE_HOT), "%d launches", c.launches);
        EXPECT(sample.ns > 0, "a copy of %d bytes took no time", BYTES);
        EXPECT(!(sample.sm_mhz <= 0), "a clock of %g MHz", sample.sm_mhz);
        EXPECT(!sample.is_late, "a few copies were not enqueued within a second");
    }
    return SQ_OK;
}

static const struct {
    const char *name;
    sq_status (*check)(const memory *m, sq_error *err);
} cases[] = {
    {"fill draws by index", fill_draws_by_index},
    {"poison sets every byte", poison_sets_every_byte},
    {"fill draws views", fill_draws_views},
    {"gather packs views", gather_packs_views},
    {"checksum is the same everywhere", checksum_is_the_same_everywhere},
    {"copy copies the tail too", copy_copies_the_tail_too},
    {"too much memory is refused", too_much_memory_is_refused},
    {"samples launch as often as asked and take time",
     samples_launch_as_often_as_asked_and_take_time},
};

static sq_status allocate(memory *m, sq_error *err)
{
    const sq_rig *rig = m->rig;
    SQ_TRY(rig->backend->alloc(rig->device, BYTES, &m->device, err));
    SQ_TRY(rig->backend->alloc(rig->device, BYTES, &m->other, err));
    m->got = malloc(BYTES);
    m->want = malloc(BYTES);
    return m->got && m->want ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no host memory");
}

void sq_backend_cases_run(const sq_rig *rig, sq_case_counts *counts)
{
    memory m = {.rig = rig};
    sq_error err = {.status = SQ_OK};
    sq_status ready = allocate(&m, &err);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sq_status status = ready == SQ_OK ? cases[i].check(&m, &err) : ready;
        counts->passed += status == SQ_OK;
        counts->failed += status != SQ_OK;
        if (status != SQ_OK)
            printf("FAIL backend %s: %s: %s\n", rig->backend->name, cases[i].name, err.message);
    }
    rig->backend->free(rig->device, m.device);
    rig->backend->free(rig->device, m.other);
    free(m.got);
    free(m.want);
}
