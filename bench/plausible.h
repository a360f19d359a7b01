/* plausible: is a time possible at all? Compulsory bytes and operations are the least that a launch
 * must do, so no launch can be done with them faster than the device's peak allows.
 *
 * What the peaks are is in core/ceiling.h: device attributes times the SM clock observed. Bytes
 * count against device memory only as far as they cannot have been in the L2: all that a cold
 * launch reads, what else is read and what is written beyond the size of the L2.
 */
#ifndef SQ_BENCH_PLAUSIBLE_H
#define SQ_BENCH_PLAUSIBLE_H

#include "core/ceiling.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Clocks are read with an error; a rate above the peak by less than this is believed. */
#define SQ_PEAK_MARGIN 0.02
/* A row above a measured ceiling by more than this is flagged. */
#define SQ_CEILING_MARGIN 0.03

/* The rate that stands out most. ratio: achieved over the bound, NAN where no bound is known. */
typedef struct {
    double ratio, achieved, bound;
    const char *what, *unit; /* "device memory", "GB/s" */
} sq_excess;

/* Against what the architecture allows; against the ceilings measured. A record without a time or
 * without its compulsory work has no bound. GPUs only: of a CPU's caches too little is known. */
sq_excess sq_excess_of_peak(const sq_record *record, const sq_device *device);
sq_excess sq_excess_of_ceilings(const sq_record *record, const sq_device *device,
                                const sq_ceiling *ceilings, int n);

/* The time below which a row of this cell is refused for the bytes that it must move between device
 * memory and the SMs: what is known before its other numbers are. read, written: compulsory bytes.
 * 0 where nothing is known. */
double sq_plausible_floor_ns(const sq_cell *cell, double read, double written,
                             const sq_device *device);

/* A timed record above a peak becomes an error, "implausible: ...", and loses its times; one above
 * a ceiling gets the value above_ceiling_pct. Others are left as they are. SQ_OUT_OF_MEMORY. */
sq_status sq_judge_plausible(const sq_device *device, const sq_ceiling *ceilings, int n,
                             sq_record *record);

#ifdef __cplusplus
}
#endif
#endif
