/* Counters, kernel trace and timeline against arithmetic: a device copy far larger than the cache, and
 * a matrix product; every set in the passes that its file states.
 * Exits 77 with the reason where there is no device or counters are refused. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/worker/profiling.h"
#include "core/backend/backend.h"
#include "profile/profile.h"
#include "profile/sets.h"

enum { EXIT_SKIP = 77 };
static const size_t copy_bytes = (size_t)2 << 30; /* what stays dirty in L2 is a percent of it */
#define TOLERANCE 0.03 /* of a counter against arithmetic */

static int passed, failed;

static void check(bool is_fine, const char *what, double value, const char *detail)
{
    printf("%s %s: %.6g%s%s\n", is_fine ? "ok  " : "FAIL", what, value, *detail ? ", " : "", detail);
    *(is_fine ? &passed : &failed) += 1;
}

static const sq_value *value_named(const sq_record *record, const char *metric)
{
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return &record->values[i];
    return NULL;
}

static void check_ratio(const sq_record *record, const char *metric, double expected)
{
    const sq_value *v = value_named(record, metric);
    double ratio = v ? v->value / expected : NAN;
    check(fabs(ratio - 1) <= TOLERANCE, metric, ratio, v ? v->validity : "absent");
}

/* --- a copy --- */

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

static sq_status measure_copy(sq_profiler *profiler, copy *c, const char *sets, sq_record *record,
                              sq_error *err)
{
    const sq_launches launches = {.launch = launch, .reset = cool, .sync = wait, .arg = c};
    static const sq_cell none = {.kind = SQ_KIND_OP};
    sq_record_init(record, &none);
    return sq_profiler_measure(profiler, sets, &launches, record, err);
}

/* Values of a set that are not there, named. */
static void check_values(const char *set, const sq_record *record)
{
    int absent = 0;
    for (int i = 0; i < record->n_values; i++) {
        const sq_value *v = &record->values[i];
        if (strcmp(v->validity, "ok") == 0)
            continue;
        printf("     %s of %s: %s\n", v->metric, set, v->validity);
        absent += strncmp(v->validity, "unsupported", 11) != 0;
    }
    check(absent == 0, set, record->n_values, "values, none refused or inconsistent");
}

static void check_set(sq_profiler *profiler, copy *c, const char *name)
{
    sq_error err = {.message = ""};
    sq_record record;
    sq_counter_set *set;
    sq_set_load(name, "GH100", &set, NULL);
    if (measure_copy(profiler, c, name, &record, &err) != SQ_OK)
        check(false, name, NAN, err.message);
    else
        check_values(name, &record);
    check(!set || sq_profiler_passes(profiler) == set->passes, "passes as GH100's file states",
          sq_profiler_passes(profiler), name);
    sq_set_free(set);
    sq_record_free(&record);
}

static int check_copy(sq_profiler *profiler, copy *c)
{
    sq_error err = {.message = ""};
    sq_record record;
    if (measure_copy(profiler, c, "basic", &record, &err) != SQ_OK) {
        printf("measure: %s\n", err.message);
        return 1;
    }
    const sq_value *read = value_named(&record, "dram_bytes_read");
    bool is_refused = read && strncmp(read->validity, "refused", 7) == 0;
    if (is_refused)
        printf("skipped: %s\n", read->validity);
    check_ratio(&record, "dram_bytes_read", (double)copy_bytes);
    check_ratio(&record, "dram_bytes_written", (double)copy_bytes);
    for (int i = 0; i < record.n_kernels; i++)
        printf("     kernel %s (%s): %lld ns\n", record.kernels[i].name, record.kernels[i].symbol,
               (long long)record.kernels[i].ns);
    const sq_value *sum = value_named(&record, "activity_ns");
    check(sum && sum->value > 0, "activity_ns", sum ? sum->value : NAN, sum ? sum->validity : "");
    sq_record_free(&record);
    return is_refused ? EXIT_SKIP : 0;
}

static const size_t small_bytes = (size_t)8 << 20; /* fits into any L2 */

static sq_status launch_small(void *arg, sq_error *err)
{
    copy *c = arg;
    return sq_backend_cuda.copy(c->device, c->to, c->from, small_bytes, err);
}

static double small_read_ratio(sq_profiler *profiler, copy *c, sq_launch_fn reset)
{
    const sq_launches launches = {.launch = launch_small, .reset = reset, .sync = wait, .arg = c};
    static const sq_cell none = {.kind = SQ_KIND_OP};
    sq_record record;
    sq_record_init(&record, &none);
    sq_status status = sq_profiler_measure(profiler, "basic", &launches, &record, NULL);
    const sq_value *read = value_named(&record, "dram_bytes_read");
    double ratio = status == SQ_OK && read ? read->value / (double)small_bytes : NAN;
    sq_record_free(&record);
    return ratio;
}

static void check_cache_states(sq_profiler *profiler, copy *c)
{
    double hot = small_read_ratio(profiler, c, NULL);
    double cold = small_read_ratio(profiler, c, cool);
    check(hot < 0.1, "small copy, hot: read ratio", hot, "");
    check(cold > 0.9, "small copy, clean-cold: read ratio", cold, "");
}

static void check_copy_timeline(sq_profiler *profiler, copy *c)
{
    const sq_launches launches = {.launch = launch, .reset = cool, .sync = wait, .arg = c};
    sq_timeline t;
    sq_error err = {.message = ""};
    if (sq_profiler_timeline(profiler, &launches, &t, &err) != SQ_OK) {
        check(false, "timeline", NAN, err.message);
        return;
    }
    double most = 0;
    for (int k = 0; k < t.n_metrics; k++)
        for (int i = 0; i < t.n_rows && strcmp(t.metrics[k], "pm_dram_read_pct") == 0; i++)
            most = fmax(most, t.rows[i * (1 + t.n_metrics) + 1 + k]);
    printf("     timeline: %d metrics, %d launches, a sample every %.0f ns: %s\n", t.n_metrics,
           t.n_launches, t.interval_ns, t.validity);
    check(t.n_rows >= 20, "samples of a timeline", t.n_rows, t.validity);
    check(most > 20, "most of pm_dram_read_pct in a copy", most, "");
    sq_timeline_free(&t);
}

/* --- a product --- */

static void on_stage(void *arg, const char *stage)
{
    (void)arg;
    (void)stage;
}

static void check_product(sq_backend_device *device)
{
    static const char key[] = "linear@cuda/portable/fwd/bf16/B=1,L=4096,K=4096,N=4096,bias=0,"
                              "residual=0,act=none/clean-cold,plain,unlocked";
    sq_session session = {.rig = {.backend = &sq_backend_cuda,
                                  .device = device,
                                  .providers = sq_providers_cuda},
                          .on_stage = on_stage};
    sq_task task = {.seed = 1};
    sq_record record;
    sq_error err = {.message = ""};
    if (sq_cell_parse(key, &task.cell, &task.subject, &err) != SQ_OK) {
        check(false, key, NAN, err.message);
        return;
    }
    sq_session_profile(&session, &task, "roofline,flops", &record);
    check(record.status == SQ_RUN_OK, "profile of a product", record.n_values, record.reason);
    check_ratio(&record, "tensor_ops_bf16", 2.0 * 4096 * 4096 * 4096);
    check(record.n_kernels > 0, "kernels of a product", record.n_kernels,
          record.n_kernels ? record.kernels[0].name : "none");
    check_values("roofline,flops", &record);
    sq_record_free(&record);
    check(sq_session_launch(&session, &task, &err) == SQ_OK, "a bare launch", 1, err.message);
    sq_session_close(&session);
}

/* --- all --- */

static int check_all(sq_profiler *profiler, copy *c)
{
    int code = check_copy(profiler, c);
    if (code)
        return code;
    for (int i = 0; sq_set_names[i]; i++)
        if (strcmp(sq_set_names[i], "timeline") != 0)
            check_set(profiler, c, sq_set_names[i]);
    check_cache_states(profiler, c);
    check_copy_timeline(profiler, c);
    return 0;
}

int main(void)
{
    sq_error err = {.message = ""};
    copy c = {.device = NULL};
    sq_profiler *profiler = NULL;
    int code = 1;
    if (sq_backend_cuda.count(&err) == 0 || sq_backend_cuda.open(0, &c.device, &err) != SQ_OK) {
        printf("skipped: %s\n", err.message);
        return EXIT_SKIP;
    }
    if (sq_backend_cuda.alloc(c.device, copy_bytes, &c.from, &err) == SQ_OK &&
        sq_backend_cuda.alloc(c.device, copy_bytes, &c.to, &err) == SQ_OK &&
        sq_backend_cuda.poison(c.device, c.from, copy_bytes, &err) == SQ_OK &&
        launch(&c, &err) == SQ_OK && wait(&c, &err) == SQ_OK &&
        sq_profiler_open(0, &profiler, &err) == SQ_OK)
        code = check_all(profiler, &c);
    else
        printf("set-up: %s\n", err.message);
    sq_profiler_close(profiler);
    if (code == 0)
        check_product(c.device);
    sq_backend_cuda.free(c.device, c.from);
    sq_backend_cuda.free(c.device, c.to);
    sq_backend_cuda.close(c.device);
    printf("%d passed, %d failed\n", passed, failed);
    return code ? code : failed > 0;
}
