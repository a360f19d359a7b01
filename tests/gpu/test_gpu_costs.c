/* cost() against counters: bytes of device memory and tensor operations of one launch of each of
 * tests/support/cost_cases.c, as a table that can be pasted.
 *
 *   test_gpu_costs [OP...]
 *
 * No kernel moves less than the compulsory bytes, so a ratio below 1 is a cost() that is too high.
 * Where the kernel is made to move those bytes alone the ratio has to be 1.
 *
 * Reads are those of a clean-cold launch. What it writes may still lie in L2 at its end: writes are
 * those of the launch with a sweep of the cache behind it, less the sweep's own.
 *
 * Exits 77 with the reason where there is no device or counters are refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/worker/job.h"
#include "core/backend/backend.h"
#include "profile/profile.h"
#include "tests/support/cost_cases.h"

#define TOLERANCE 0.05
#define LEAST 0.98       /* what counters and the rest of a cold cache may be off by */
#define LEAST_BYTES 64e6 /* of reads or writes to be looked at by themselves */
enum { EXIT_SKIP = 77, SEED = 1 };

/* One pass on the chips that have all three. */
static const char counters[] = "dram_bytes_read\ndram_bytes_written\ntensor_ops_bf16\n";

typedef struct {
    sq_rig rig;
    sq_profiler *profiler;
    char set[64];
    double swept; /* bytes that a sweep writes */
    int passed, failed, unsupported;
} bench;

/* What a launch callback works on; job NULL: a sweep alone. */
typedef struct {
    const sq_rig *rig;
    sq_job *job;
} work;

typedef struct {
    double read, written, tensor;
} traffic;

static sq_status launch(void *arg, sq_error *err)
{
    return sq_job_launch(((work *)arg)->job, err);
}

static sq_status sweep(void *arg, sq_error *err)
{
    const work *w = arg;
    return w->rig->backend->cool(w->rig->device, err);
}

static sq_status launch_and_sweep(void *arg, sq_error *err)
{
    SQ_TRY(launch(arg, err));
    return sweep(arg, err);
}

static sq_status wait(void *arg, sq_error *err)
{
    const work *w = arg;
    return w->rig->backend->sync(w->rig->device, err);
}

/* --- counting --- */

/* SQ_UNSUPPORTED where the counter has no number, with its reason. */
static sq_status take(const sq_record *record, const char *metric, double *out, sq_error *err)
{
    for (int i = 0; i < record->n_values; i++) {
        const sq_value *v = &record->values[i];
        if (strcmp(v->metric, metric) != 0)
            continue;
        *out = v->value;
        return strcmp(v->validity, "ok") == 0
                   ? SQ_OK
                   : sq_fail(err, SQ_UNSUPPORTED, "%s: %s", metric, v->validity);
    }
    return sq_fail(err, SQ_UNSUPPORTED, "%s: not counted", metric);
}

static sq_status count(const bench *b, work *w, sq_launch_fn counted, traffic *out, sq_error *err)
{
    const sq_launches launches = {.launch = counted, .reset = sweep, .sync = wait, .arg = w};
    static const sq_cell none = {.kind = SQ_KIND_OP};
    sq_record record;
    sq_record_init(&record, &none);
    sq_status s = sq_profiler_measure(b->profiler, b->set, &launches, &record, err);
    if (s == SQ_OK)
        s = take(&record, "dram_bytes_read", &out->read, err);
    if (s == SQ_OK)
        s = take(&record, "dram_bytes_written", &out->written, err);
    if (s == SQ_OK)
        s = take(&record, "tensor_ops_bf16", &out->tensor, err);
    sq_record_free(&record);
    return s;
}

static sq_status count_job(const bench *b, sq_job *job, traffic *out, sq_error *err)
{
    work w = {&b->rig, job};
    traffic swept;
    double setup_ns;
    SQ_TRY(job->ops->prepare(job, SEED, &setup_ns, err));
    SQ_TRY(sq_job_run_once(job, err));
    SQ_TRY(count(b, &w, launch, out, err));
    SQ_TRY(count(b, &w, launch_and_sweep, &swept, err));
    out->written = swept.written - b->swept;
    return SQ_OK;
}

/* --- judging --- */

static bool is_near(double ratio, double expected)
{
    return fabs(ratio - expected) <= TOLERANCE * expected;
}

static bool is_least(double counted, double compulsory)
{
    return compulsory < LEAST_BYTES || counted >= LEAST * compulsory;
}

static void print_row(const sq_cost_case *c, const sq_cost *cost, const traffic *t, double total,
                      bool is_fine)
{
    char tensor[32] = "-";
    if (cost->matrix_flops > 0 && t->tensor > 0)
        snprintf(tensor, sizeof tensor, "%.3f", t->tensor / cost->matrix_flops);
    printf("| %s | %s | %s | %s | %.1f | %.3f | %.1f | %.3f | %.3f | %s | %s%s%s | %s |\n", c->op,
           sq_pass_name(c->pass), c->provider, c->shape, 1e-6 * cost->bytes_read,
           t->read / cost->bytes_read, 1e-6 * cost->bytes_written, t->written / cost->bytes_written,
           total, tensor, c->is_compulsory ? "compulsory" : "",
           c->is_compulsory && *c->why ? "; " : "", c->why, is_fine ? "ok" : "FAIL");
}

static void judge(bench *b, const sq_cost_case *c, const sq_cost *cost, const traffic *t)
{
    const double bytes = cost->bytes_read + cost->bytes_written, moved = t->read + t->written;
    const bool is_fine = is_least(t->read, cost->bytes_read) &&
                         is_least(t->written, cost->bytes_written) && is_least(moved, bytes) &&
                         (!c->is_compulsory || is_near(moved / bytes, 1)) &&
                         (c->tensor == 0 || is_near(t->tensor / cost->matrix_flops, c->tensor));
    print_row(c, cost, t, moved / bytes, is_fine);
    *(is_fine ? &b->passed : &b->failed) += 1;
}

static void check_case(bench *b, const sq_cost_case *c)
{
    const sq_op *op = sq_op_find(c->op);
    const sq_provider *provider = sq_provider_find(b->rig.providers, op, c->provider);
    sq_error err = {.message = ""};
    sq_job *job = NULL;
    sq_call call;
    traffic t;
    sq_status s = provider ? sq_call_parse(op, c->pass, SQ_DTYPE_BF16, c->shape, &call, &err)
                           : sq_fail(&err, SQ_INTERNAL, "no such provider");
    if (s == SQ_OK)
        s = sq_job_new_op(&b->rig, &call, provider, SQ_LAYOUT_DENSE, &job, &err);
    if (s == SQ_UNSUPPORTED) {
        printf("unsupported: %s %s %s: %s\n", c->op, sq_pass_name(c->pass), c->provider,
               err.message);
        b->unsupported++;
        return;
    }
    if (s == SQ_OK)
        s = count_job(b, job, &t, &err);
    if (s == SQ_OK) {
        judge(b, c, &job->cost, &t);
    } else {
        printf("FAIL %s %s %s: %s\n", c->op, sq_pass_name(c->pass), c->provider, err.message);
        b->failed++;
    }
    sq_job_free(job);
    fflush(stdout);
}

/* --- all --- */

static bool is_wanted(int argc, char **argv, const char *op)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], op) == 0)
            return true;
    return argc < 2;
}

static int check_all(bench *b, int argc, char **argv)
{
    work nothing = {&b->rig, NULL};
    traffic swept;
    sq_error err = {.message = ""};
    if (count(b, &nothing, sweep, &swept, &err) != SQ_OK) {
        printf("skipped: %s\n", err.message);
        return EXIT_SKIP;
    }
    b->swept = swept.written;
    printf("a sweep of the cache writes %.1f MB\n\n", 1e-6 * b->swept);
    printf(
        "| operator | pass | provider | shape | MB read | counted / cost | MB written | counted / "
        "cost | all bytes | tensor operations | moves | |\n"
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|---|---|\n");
    for (const sq_cost_case *c = sq_cost_cases; c->op; c++)
        if (is_wanted(argc, argv, c->op))
            check_case(b, c);
    printf("%d passed, %d failed (%d unsupported or not applicable)\n", b->passed, b->failed,
           b->unsupported);
    return b->failed > 0;
}

static sq_status write_set(bench *b, sq_error *err)
{
    snprintf(b->set, sizeof b->set, "/tmp/sq_costs_XXXXXX");
    int fd = mkstemp(b->set);
    if (fd < 0 || write(fd, counters, sizeof counters - 1) != (ssize_t)sizeof counters - 1)
        return sq_fail(err, SQ_IO, "cannot write %s", b->set);
    close(fd);
    return SQ_OK;
}

int main(int argc, char **argv)
{
    bench b = {.rig = {.backend = &sq_backend_cuda, .providers = sq_providers_cuda}};
    sq_error err = {.message = ""};
    int code = 1;
    if (sq_backend_cuda.count(&err) == 0 || sq_backend_cuda.open(0, &b.rig.device, &err) != SQ_OK) {
        printf("skipped: %s\n", err.message);
        return EXIT_SKIP;
    }
    if (write_set(&b, &err) == SQ_OK && sq_profiler_open(0, &b.profiler, &err) == SQ_OK)
        code = check_all(&b, argc, argv);
    else
        printf("set-up: %s\n", err.message);
    unlink(b.set);
    sq_profiler_close(b.profiler);
    sq_backend_cuda.close(b.rig.device);
    return code;
}
