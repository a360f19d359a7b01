/* Counters and the kernel trace against arithmetic: a device copy far larger than the cache.
 * Exits 77 with the reason where there is no device or counters are refused. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/backend/backend.h"
#include "profile/profile.h"

enum { EXIT_SKIP = 77 };
static const size_t copy_bytes = (size_t)256 << 20;

typedef struct {
    sq_backend_device *device;
    void *from, *to;
} copy;

static sq_status launch(void *arg, sq_error *err)
{
    copy *c = arg;
    return sq_backend_cuda.copy(c->device, c->to, c->from, copy_bytes, err);
}

static sq_status cool(void *arg, sq_error *err)
{
    return sq_backend_cuda.cool(((copy *)arg)->device, err);
}

static sq_status wait(void *arg, sq_error *err)
{
    return sq_backend_cuda.sync(((copy *)arg)->device, err);
}

static const sq_value *value_named(const sq_record *record, const char *metric)
{
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return &record->values[i];
    return NULL;
}

/* Within 10 % of the bytes that the copy must move. */
static int check_bytes(const sq_record *record, const char *metric)
{
    const sq_value *v = value_named(record, metric);
    double ratio = v ? v->value / (double)copy_bytes : NAN;
    printf("%s: %.4f of expected, %s\n", metric, ratio, v ? v->validity : "absent");
    return !(ratio > 0.9 && ratio < 1.1);
}

static int check(sq_profiler *profiler, copy *c, sq_record *record)
{
    sq_error err = {.message = ""};
    int failed = 0;
    for (int again = 0; again < 2; again++) { /* a profiler serves many cells */
        if (sq_profiler_measure(profiler, launch, cool, wait, c, record, &err) != SQ_OK) {
            printf("measure: %s\n", err.message);
            return 1;
        }
    }
    const sq_value *read = value_named(record, "dram_bytes_read");
    if (read && strncmp(read->validity, "refused", 7) == 0) {
        printf("skipped: %s\n", read->validity);
        return EXIT_SKIP;
    }
    failed += check_bytes(record, "dram_bytes_read");
    failed += check_bytes(record, "dram_bytes_written");
    for (int i = 0; i < record->n_kernels; i++)
        printf("kernel %s: %lld ns\n", record->kernels[i].name, (long long)record->kernels[i].ns);
    printf("%d passed, %d failed\n", 2 - failed, failed);
    return failed > 0;
}

int main(void)
{
    sq_error err = {.message = ""};
    copy c = {.device = NULL};
    sq_profiler *profiler = NULL;
    sq_record record;
    sq_cell none = {.kind = SQ_KIND_OP};
    int code = 1;
    if (sq_backend_cuda.count(&err) == 0 || sq_backend_cuda.open(0, &c.device, &err) != SQ_OK) {
        printf("skipped: %s\n", err.message);
        return EXIT_SKIP;
    }
    sq_record_init(&record, &none);
    if (sq_backend_cuda.alloc(c.device, copy_bytes, &c.from, &err) == SQ_OK &&
        sq_backend_cuda.alloc(c.device, copy_bytes, &c.to, &err) == SQ_OK &&
        sq_backend_cuda.poison(c.device, c.from, copy_bytes, &err) == SQ_OK &&
        launch(&c, &err) == SQ_OK && wait(&c, &err) == SQ_OK &&
        sq_profiler_open(0, &profiler, &err) == SQ_OK)
        code = check(profiler, &c, &record);
    else
        printf("set-up: %s\n", err.message);
    sq_profiler_close(profiler);
    sq_record_free(&record);
    sq_backend_cuda.free(c.device, c.from);
    sq_backend_cuda.free(c.device, c.to);
    sq_backend_cuda.close(c.device);
    return code;
}
