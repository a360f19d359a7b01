/* plausible: see plausible.h. */
#include "bench/plausible.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "profile/profile.h"

/* Below this the clock beside a time was not read during it (docs/methodology.md). */
static const double least_clocked_ns = 20e3;

static double value_of(const sq_record *record, const char *metric)
{
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return record->values[i].value;
    return NAN;
}

static double clock_of(const sq_record *record, const sq_device *device)
{
    bool is_observed = record->stats.median >= least_clocked_ns && record->sm_mhz > 0;
    return is_observed ? record->sm_mhz : device->max_sm_mhz;
}

/* Bytes that device memory must have moved. An L2 of unknown size may have held any of them. */
static double dram_bytes_of(const sq_cell *cell, double read, double written,
                            const sq_device *device)
{
    double l2 = device->l2_bytes >= 0 ? (double)device->l2_bytes : (double)INFINITY;
    bool is_cold = (cell->cache == SQ_CACHE_CLEAN_COLD || cell->cache == SQ_CACHE_DIRTY_COLD) &&
                   cell->launch == SQ_LAUNCH_PLAIN;
    return fmax(0, is_cold ? read : read - l2) + fmax(0, written - l2);
}

static double dram_bytes(const sq_record *record, const sq_device *device)
{
    return dram_bytes_of(&record->cell, value_of(record, "bytes_read"),
                         value_of(record, "bytes_written"), device);
}

double sq_plausible_floor_ns(const sq_cell *cell, double read, double written,
                             const sq_device *device)
{
    double rate = sq_peak_rate(device, SQ_PEAK_DRAM, NAN);
    if (!(rate > 0)) /* no GPU, or one that is not known */
        return 0;
    return dram_bytes_of(cell, read, written, device) / (rate * (1 + SQ_PEAK_MARGIN));
}

/* Keeps the larger ratio; a bound that is not known is passed over. */
static void compare(sq_excess *most, const char *what, const char *unit, double achieved,
                    double bound)
{
    double ratio = achieved / bound;
    if (bound > 0 && (isnan(most->ratio) || ratio > most->ratio))
        *most = (sq_excess){ratio, achieved, bound, what, unit};
}

static bool can_judge(const sq_record *record, const sq_device *device)
{
    return strcmp(device->backend, "cuda") == 0 && record->n_samples > 0 &&
           record->stats.median > 0;
}

sq_excess sq_excess_of_peak(const sq_record *record, const sq_device *device)
{
    sq_excess most = {.ratio = NAN, .what = "", .unit = ""};
    double ns = record->stats.median, clock = clock_of(record, device);
    if (!can_judge(record, device))
        return most;
    double port = fmax(value_of(record, "bytes_read"), value_of(record, "bytes_written"));
    compare(&most, "device memory", "GB/s", dram_bytes(record, device) / ns,
            sq_peak_rate(device, SQ_PEAK_DRAM, clock));
    compare(&most, "the way to L2", "GB/s", port / ns, sq_peak_rate(device, SQ_PEAK_L2, clock));
    compare(&most, "arithmetic", "TFLOP/s", 1e-3 * value_of(record, "flops") / ns,
            sq_peak_flops(device, record->cell.dtype, clock));
    return most;
}

/* The highest known of some ceilings, NULL-ended; NAN where none is. */
static double highest(const sq_ceiling *ceilings, int n, const char *const *names)
{
    double most = NAN;
    for (; *names; names++)
        most = fmax(most, sq_ceiling_value(ceilings, n, *names)); /* fmax passes over NAN */
    return most;
}

sq_excess sq_excess_of_ceilings(const sq_record *record, const sq_device *device,
                                const sq_ceiling *ceilings, int n)
{
    static const char *const memory[] = {"copy_gbytes_per_s", "read_gbytes_per_s",
                                         "write_gbytes_per_s", "triad_gbytes_per_s", NULL};
    static const char *const l2[] = {"l2_read_gbytes_per_s", NULL};
    static const char *const f32[] = {"gemm_tf32_tflops", "gemm_f32_tflops", "fma_f32_tflops",
                                      NULL};
    static const char *const half[] = {"gemm_bf16_tflops", "gemm_f16_tflops", NULL};
    sq_excess most = {.ratio = NAN, .what = "", .unit = ""};
    double ns = record->stats.median;
    if (!can_judge(record, device))
        return most;
    compare(&most, "device memory", "GB/s", dram_bytes(record, device) / ns,
            highest(ceilings, n, memory));
    compare(&most, "L2", "GB/s", value_of(record, "bytes_read") / ns, highest(ceilings, n, l2));
    compare(&most, "arithmetic", "TFLOP/s", 1e-3 * value_of(record, "flops") / ns,
            highest(ceilings, n, record->cell.dtype == SQ_DTYPE_F32 ? f32 : half));
    return most;
}

/* A number that is a time of this run, and so as impossible as its samples. */
static bool is_time(const sq_value *value)
{
    const sq_metric_def *metric = sq_metric_find(value->metric);
    return metric && strcmp(metric->unit, "ns") == 0 && strcmp(metric->better, "lower") == 0;
}

static void refuse(const sq_excess *excess, sq_record *record)
{
    sq_record_set_samples(record, NULL, 0);
    record->cycles = NAN;
    record->status = SQ_RUN_ERROR;
    snprintf(record->reason, sizeof record->reason,
             "implausible: %.4g %s of %s at least, where %.4g is the peak", excess->achieved,
             excess->unit, excess->what, excess->bound);
    for (int i = 0; i < record->n_values; i++) {
        sq_value *value = &record->values[i];
        if (!is_time(value))
            continue;
        value->value = value->spread = NAN;
        snprintf(value->validity, sizeof value->validity, "refused: implausible");
    }
}

sq_status sq_judge_plausible(const sq_device *device, const sq_ceiling *ceilings, int n,
                             sq_record *record)
{
    sq_excess peak = sq_excess_of_peak(record, device);
    if (peak.ratio > 1 + SQ_PEAK_MARGIN) { /* false for NAN */
        refuse(&peak, record);
        return SQ_OK;
    }
    sq_excess ceiling = sq_excess_of_ceilings(record, device, ceilings, n);
    if (!(ceiling.ratio > 1 + SQ_CEILING_MARGIN))
        return SQ_OK;
    return sq_record_add_number(record, "above_ceiling_pct", 100 * (ceiling.ratio - 1));
}
