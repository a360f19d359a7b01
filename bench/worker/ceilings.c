/* ceilings: see ceilings.h. */
#include "bench/worker/ceilings.h"

#include <math.h>
#include <stdio.h>

#include "bench/worker/probing.h"
#include "core/ceiling.h"

enum { SPECIAL_PER_CLOCK_AND_SM = 16 };

/* Long enough for clocks to settle, short enough for a quick suite. */
static const sq_probe_effort effort = {.policy = {.warmup_launches = 3,
                                                  .warmup_seconds = 0.05,
                                                  .min_samples = 10,
                                                  .max_samples = 50,
                                                  .max_seconds = 0.3,
                                                  .target_interval = 0.005,
                                                  .max_interval = INFINITY,
                                                  .max_cell_seconds = 2},
                                       .bursts = 2,
                                       .burst_seconds = 0.02,
                                       .rest_seconds = 0.1};

static const char *const measured[] = {"copy_gbytes_per_s", "gemm_bf16_tflops", "gemm_f32_tflops",
                                       NULL};

typedef struct {
    sq_ceilings *out;
    sq_alive_fn alive;
    void *alive_arg;
} collector;

static sq_status take(void *arg, const sq_ceiling *ceiling, sq_error *err)
{
    (void)err;
    sq_ceilings *out = ((collector *)arg)->out;
    out->ceiling[out->n++] = *ceiling;
    return SQ_OK;
}

/* A ceiling that is not there bounds nothing. */
static void miss(void *arg, const char *name, const char *reason)
{
    (void)arg, (void)name, (void)reason;
}

static void alive_at(void *arg)
{
    collector *c = arg;
    c->alive(c->alive_arg);
}

sq_status sq_ceilings_measure(const sq_rig *rig, sq_alive_fn alive, void *alive_arg,
                              sq_ceilings *out, sq_error *err)
{
    collector c = {out, alive, alive_arg};
    const sq_ceiling_listener listener = {
        .arg = &c, .take = take, .absent = miss, .alive = alive_at};
    *out = (sq_ceilings){.n = 0};
    for (const char *const *name = measured; *name; name++) {
        const sq_probe *probe = sq_probe_find(rig, *name);
        if (probe)
            SQ_TRY(sq_probe_measure(rig, probe, &effort, &listener, NULL, NULL, err));
    }
    return SQ_OK;
}

/* --- floors --- */

static double known(const sq_ceilings *ceilings, const char *name)
{
    return sq_ceiling_value(ceilings->ceiling, ceilings->n, name);
}

/* TFLOP/s of the products of a type; of bf16 where the type's own were not measured. */
static double product_rate(const sq_ceilings *ceilings, sq_dtype dtype)
{
    char name[32];
    snprintf(name, sizeof name, "gemm_%s_tflops", sq_dtype_name(dtype));
    double own = known(ceilings, name);
    return isnan(own) ? known(ceilings, "gemm_bf16_tflops") : own;
}

double sq_ceilings_floor_ns(const sq_ceilings *ceilings, const sq_device *device, sq_dtype dtype,
                            const sq_cost *cost)
{
    double copy = known(ceilings, "copy_gbytes_per_s");  /* GB/s: bytes per ns */
    double matrix = 1e3 * product_rate(ceilings, dtype); /* flop per ns */
    /* fmax takes the number where the other side is NAN: an unknown ceiling bounds nothing. */
    double simt = 1e3 * fmax(known(ceilings, "gemm_f32_tflops"), known(ceilings, "fma_f32_tflops"));
    double mufu = 1e-3 * SPECIAL_PER_CLOCK_AND_SM * device->sm_count * device->max_sm_mhz;
    if (isnan(copy))
        return NAN;
    double floor_ns = (cost->bytes_read + cost->bytes_written) / copy;
    floor_ns = fmax(floor_ns, cost->matrix_flops / matrix);
    floor_ns = fmax(floor_ns, (cost->flops - cost->matrix_flops) / simt);
    return fmax(floor_ns, cost->special / mufu);
}
