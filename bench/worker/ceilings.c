/* ceilings: see ceilings.h. */
#include "bench/worker/ceilings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPECIAL_PER_CLOCK_AND_SM = 16 };

/* Long enough for clocks to settle, short enough for a quick suite. */
static const sq_policy ceiling_policy = {.warmup_launches = 3,
                                         .warmup_seconds = 0.05,
                                         .min_samples = 10,
                                         .max_samples = 50,
                                         .max_seconds = 0.5,
                                         .target_interval = 0.005,
                                         .max_interval = 1,
                                         .max_cell_seconds = 2,
                                         .proof_work = 1e6};

/* Work of one sample in `unit`s per second, over the median time and its interval. work: per ns. */
static sq_ceiling ceiling_of(const char *name, const char *unit, double work, const sq_stats *stats)
{
    sq_ceiling ceiling = {.value = work / stats->median,
                          .lo = work / stats->hi,
                          .hi = work / stats->lo};
    snprintf(ceiling.name, sizeof ceiling.name, "%s", name);
    snprintf(ceiling.unit, sizeof ceiling.unit, "%s", unit);
    return ceiling;
}

/* --- copy: a job of its own, so that it is sampled as cells are --- */

typedef struct {
    sq_job job;
    void *from, *to;
    size_t bytes;
} copy_job;

static sq_status launch_copy(sq_job *job, sq_error *err)
{
    copy_job *copy = (copy_job *)job;
    return job->rig->backend->copy(job->rig->device, copy->to, copy->from, copy->bytes, err);
}

static const sq_job_ops copy_ops = {.launch = launch_copy};

/* A tenth of what is free, at most 1 GiB. */
static sq_status copy_bytes(const sq_rig *rig, size_t *bytes, sq_error *err)
{
    size_t free_bytes = 0, total_bytes = 0;
    SQ_TRY(rig->backend->memory(rig->device, &free_bytes, &total_bytes, err));
    size_t most = (size_t)1 << (strcmp(rig->backend->name, "cpu") == 0 ? 28 : 30);
    *bytes = free_bytes / 10 < most ? free_bytes / 10 / 256 * 256 : most;
    return SQ_OK;
}

static sq_status sample_job(sq_job *job, sq_alive_fn alive, void *alive_arg, sq_stats *stats,
                            sq_error *err)
{
    sq_record record;
    sq_cell none = {.kind = SQ_KIND_OP};
    sq_record_init(&record, &none);
    sq_status status = sq_measure(job, &ceiling_policy, SQ_CACHE_CLEAN_COLD, alive, alive_arg,
                                  &record, err);
    *stats = record.stats;
    if (status == SQ_OK && record.n_samples == 0)
        status = sq_fail(err, SQ_TIMEOUT, "ceiling: %s", record.reason);
    sq_record_free(&record);
    return status;
}

static sq_status measure_copy(const sq_rig *rig, sq_alive_fn alive, void *alive_arg,
                              sq_ceilings *out, sq_error *err)
{
    copy_job copy = {.job = {.ops = &copy_ops, .rig = rig}};
    sq_stats stats;
    sq_status status = copy_bytes(rig, &copy.bytes, err);
    if (status != SQ_OK)
        goto done;
    if ((status = rig->backend->alloc(rig->device, copy.bytes, &copy.from, err)) != SQ_OK)
        goto done;
    if ((status = rig->backend->alloc(rig->device, copy.bytes, &copy.to, err)) != SQ_OK)
        goto done;
    if ((status = rig->backend->poison(rig->device, copy.from, copy.bytes, err)) != SQ_OK)
        goto done;
    if ((status = sample_job(&copy.job, alive, alive_arg, &stats, err)) != SQ_OK)
        goto done;
    out->ceiling[out->n++] =
        ceiling_of("copy_gbytes_per_s", "GB/s", 2.0 * (double)copy.bytes, &stats);
done:
    rig->backend->free(rig->device, copy.from);
    rig->backend->free(rig->device, copy.to);
    return status;
}

/* --- matrix products --- */

/* The vendor's provider of `linear` on this backend, or NULL. */
static const sq_provider *vendor_linear(const sq_rig *rig, const sq_op *linear)
{
    for (const sq_provider *p = rig->providers(linear); p->name; p++)
        if (strncmp(p->name, "cublas", 6) == 0)
            return p;
    return NULL;
}

static sq_status measure_gemm(const sq_rig *rig, sq_dtype dtype, const char *shape,
                              sq_alive_fn alive, void *alive_arg, sq_ceilings *out, sq_error *err)
{
    const sq_op *linear = sq_op_find("linear");
    const sq_provider *vendor = linear ? vendor_linear(rig, linear) : NULL;
    if (!vendor)
        return SQ_OK;
    sq_call call;
    sq_job *job = NULL;
    double setup_ns;
    sq_stats stats;
    char name[32];
    sq_status status = sq_call_parse(linear, SQ_PASS_FWD, dtype, shape, &call, err);
    if (status != SQ_OK)
        goto done;
    if ((status = sq_job_new_op(rig, &call, vendor, SQ_LAYOUT_DENSE, &job, err)) != SQ_OK)
        goto done;
    if ((status = job->ops->prepare(job, 1, &setup_ns, err)) != SQ_OK)
        goto done;
    if ((status = sample_job(job, alive, alive_arg, &stats, err)) != SQ_OK)
        goto done;
    snprintf(name, sizeof name, "gemm_%s_tflops", sq_dtype_name(dtype));
    out->ceiling[out->n++] = ceiling_of(name, "TFLOP/s", job->cost.flops / 1e3, &stats);
done:
    sq_job_free(job);
    return status;
}

sq_status sq_ceilings_measure(const sq_rig *rig, sq_alive_fn alive, void *alive_arg,
                              sq_ceilings *out, sq_error *err)
{
    *out = (sq_ceilings){.n = 0};
    SQ_TRY(measure_copy(rig, alive, alive_arg, out, err));
    static const char bf16[] = "B=1,L=8192,K=8192,N=8192", f32[] = "B=1,L=4096,K=4096,N=4096";
    SQ_TRY(measure_gemm(rig, SQ_DTYPE_BF16, bf16, alive, alive_arg, out, err));
    return measure_gemm(rig, SQ_DTYPE_F32, f32, alive, alive_arg, out, err);
}

/* --- floors --- */

static double ceiling_named(const sq_ceilings *ceilings, const char *name)
{
    for (int i = 0; i < ceilings->n; i++)
        if (strcmp(ceilings->ceiling[i].name, name) == 0)
            return ceilings->ceiling[i].value;
    return NAN;
}

double sq_ceilings_floor_ns(const sq_ceilings *ceilings, const sq_device *device, sq_dtype dtype,
                            const sq_cost *cost)
{
    double copy = ceiling_named(ceilings, "copy_gbytes_per_s"); /* GB/s: bytes per ns */
    double simt = 1e3 * ceiling_named(ceilings, "gemm_f32_tflops"); /* flop per ns */
    double tensor = 1e3 * ceiling_named(ceilings, "gemm_bf16_tflops");
    double matrix = dtype == SQ_DTYPE_F32 ? simt : tensor;
    double mufu = 1e-3 * SPECIAL_PER_CLOCK_AND_SM * device->sm_count * device->max_sm_mhz;
    if (isnan(copy))
        return NAN;
    /* fmax takes the number where the other side is NAN: an unknown ceiling bounds nothing. */
    double floor_ns = (cost->bytes_read + cost->bytes_written) / copy;
    floor_ns = fmax(floor_ns, cost->matrix_flops / matrix);
    floor_ns = fmax(floor_ns, (cost->flops - cost->matrix_flops) / simt);
    return fmax(floor_ns, cost->special / mufu);
}
