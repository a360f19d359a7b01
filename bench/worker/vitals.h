/* vitals: what the driver says of the GPU around a run, as values of its record.
 *
 * A device without a driver to ask (the CPU) has none. Where NVML is absent or keeps a number to
 * itself, the value is absent and its validity says why.
 */
#ifndef SQ_BENCH_WORKER_VITALS_H
#define SQ_BENCH_WORKER_VITALS_H

#include "bench/time/watch.h"
#include "core/record.h"
#include "profile/nvml.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    sq_nvml *nvml;          /* NULL: nothing can be asked */
    char why[80];           /* why not; "" where there is nothing to ask for */
    sq_nvml_state before;   /* of the run in progress */
    sq_driver_watch throttle;
} sq_vitals;

void sq_vitals_open(const sq_device *device, sq_vitals *vitals);
void sq_vitals_close(sq_vitals *vitals);

/* What the sampling loop asks while it samples; nothing to ask without NVML. */
sq_watch sq_vitals_watch(sq_vitals *vitals);

/* Before the warm-up, and right after the last sample. */
void sq_vitals_begin(sq_vitals *vitals);
sq_status sq_vitals_end(sq_vitals *vitals, sq_record *record);

#ifdef __cplusplus
}
#endif
#endif
