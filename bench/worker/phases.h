/* phases: where the time of a run goes, as values phase_*_ms of its record (profile/metrics.c). The
 * parent adds those that only it sees, and sums them up (bench/tally.h).
 */
#ifndef SQ_BENCH_WORKER_PHASES_H
#define SQ_BENCH_WORKER_PHASES_H

#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double last; /* seconds of the monotonic clock */
} sq_stopwatch;

void sq_stopwatch_start(sq_stopwatch *watch);
/* Adds the time since the start or the last lap to `metric` of the record. */
sq_status sq_stopwatch_lap(sq_stopwatch *watch, const char *metric, sq_record *record);

#ifdef __cplusplus
}
#endif
#endif
