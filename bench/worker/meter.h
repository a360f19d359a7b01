/* meter: the GPU's energy counter watched from a thread of its own.
 *
 * The driver moves the counter only about every 0.1 s. Energy between two moves is exact, so what
 * is kept is the time of each move ("tick") and the counter behind it. Meanwhile the calling thread
 * keeps the GPU busy, or idle.
 */
#ifndef SQ_BENCH_WORKER_METER_H
#define SQ_BENCH_WORKER_METER_H

#include "profile/nvml.h"

#ifdef __cplusplus
extern "C" {
#endif

/* seconds: of the monotonic clock, when the move was seen (within 1 ms). */
typedef struct {
    double seconds, joules;
} sq_tick;

typedef struct sq_meter sq_meter;

/* The handle belongs to the meter until it is stopped. */
sq_status sq_meter_start(sq_nvml *nvml, sq_meter **out, sq_error *err);
/* Ticks so far; the last one goes into *last where there is one. */
int sq_meter_count(sq_meter *meter, sq_tick *last);
/* The first `most` ticks into `out`; how many they are. */
int sq_meter_read(sq_meter *meter, sq_tick *out, int most);
void sq_meter_stop(sq_meter *meter); /* ends the thread and frees it; accepts NULL */

#ifdef __cplusplus
}
#endif
#endif
