/* Every probe of the device and of cublasLt: each of its variants computes what it should, and no
 * ceiling is above what the architecture allows. Says what it measured. Exits 77 where there is no
 * device.
 *
 *   test_gpu_probes [NAME]: only the probe of this ceiling
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/worker/probing.h"
#include "core/ceiling.h"
#include "kernels/linear/cublas_probe.h"

enum { EXIT_SKIP = 77 };

/* Clocks are read with an error. */
static const double most_of_peak = 1.02;

static const sq_probe_effort effort = {.policy = {.warmup_launches = 1,
                                                  .warmup_seconds = 0.01,
                                                  .min_samples = 10,
                                                  .max_samples = 20,
                                                  .max_seconds = 0.1,
                                                  .max_interval = INFINITY,
                                                  .max_cell_seconds = 2},
                                       .bursts = 1,
                                       .burst_seconds = 0.02,
                                       .rest_seconds = 0.05};

typedef struct {
    const sq_device *device;
    int passed, failed, absent;
} tally;

static void judge(tally *t, bool is_good, const char *name, const char *what)
{
    t->passed += is_good;
    t->failed += !is_good;
    if (!is_good)
        printf("FAILED %s: %s\n", name, what);
}

static sq_status take(void *arg, const sq_ceiling *c, sq_error *err)
{
    tally *t = arg;
    const sq_ceiling_def *def = sq_ceiling_find(c->name);
    double clock = isnan(c->sm_mhz) ? t->device->max_sm_mhz : c->sm_mhz;
    double peak = def ? sq_peak_rate(t->device, def->peak, clock) : (double)NAN;
    (void)err;
    printf("%-28s %.5g %s [%.5g, %.5g], %.0f MHz, %.1f %% of peak\n", c->name, c->value, c->unit,
           c->lo, c->hi, c->sm_mhz, 100 * c->value / peak);
    judge(t, c->value > 0 && c->lo <= c->value && c->value <= c->hi, c->name, "no interval");
    judge(t, !(c->value > most_of_peak * peak), c->name, "above the peak");
    return SQ_OK;
}

static void miss(void *arg, const char *name, const char *reason)
{
    printf("%-28s absent: %s\n", name, reason);
    ((tally *)arg)->absent++;
}

static void alive(void *arg)
{
    (void)arg;
}

/* Two launches of each variant, the second over what the first left. A variant that cannot be
 * chosen or launched on this device is passed over. */
static void check_variants(const sq_rig *rig, const sq_probe *probe, tally *t)
{
    sq_probe_run *run = NULL;
    sq_error err = {.message = ""};
    if (probe->open(probe, rig->device, rig->backend->stream(rig->device), &run, &err) != SQ_OK) {
        judge(t, err.status == SQ_UNSUPPORTED, probe->name, err.message);
        return;
    }
    for (int v = 0; v < run->variants; v++) {
        sq_status status = probe->choose(run, v, &err);
        for (int i = 0; status == SQ_OK && i < 2; i++)
            status = probe->launch(run, &err);
        if (status == SQ_UNSUPPORTED)
            continue;
        if (status == SQ_OK)
            status = probe->check(run, &err);
        char what[600];
        snprintf(what, sizeof what, "variant %d: %s", v, err.message);
        judge(t, status == SQ_OK, probe->name, what);
    }
    probe->close(run);
}

static void run_list(const sq_rig *rig, const sq_probe *list, const char *only, tally *t)
{
    const sq_ceiling_listener listener = {.arg = t, .take = take, .absent = miss, .alive = alive};
    for (const sq_probe *probe = list; probe->name; probe++) {
        sq_error err = {.message = ""};
        if (only && strcmp(only, probe->name) != 0)
            continue;
        judge(t, sq_ceiling_find(probe->name) != NULL, probe->name, "a name that nobody knows");
        check_variants(rig, probe, t);
        sq_status status = sq_probe_measure(rig, probe, &effort, &listener, NULL, NULL, &err);
        judge(t, status == SQ_OK, probe->name, err.message);
    }
}

int main(int argc, char **argv)
{
    sq_error err = {.message = ""};
    sq_rig rig = {.backend = &sq_backend_cuda, .vendor_probes = sq_cublas_probes};
    const char *only = argc > 1 ? argv[1] : NULL;
    if (rig.backend->count(&err) == 0 || rig.backend->open(0, &rig.device, &err) != SQ_OK) {
        printf("skipped: %s\n", err.message);
        return EXIT_SKIP;
    }
    tally t = {.device = rig.backend->facts(rig.device)};
    run_list(&rig, rig.backend->probes, only, &t);
    run_list(&rig, rig.vendor_probes, only, &t);
    printf("%d passed, %d failed (%d absent)\n", t.passed, t.failed, t.absent);
    rig.backend->close(rig.device);
    return t.failed > 0 || t.passed == 0;
}
