/* peer_record: what a peer says of a run, believed only as far as it can be checked. */
#ifndef SQ_BENCH_PEER_RECORD_H
#define SQ_BENCH_PEER_RECORD_H

#include <jansson.h>

#include "bench/policy.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the parent knows of the exchange by itself. */
typedef struct {
    const sq_policy *policy;
    double wall_seconds; /* from the request to the answer */
    double floor_ns;     /* no launch of this cell can take less (bench/plausible.h); 0 unknown */
} sq_peer_bounds;

/* Reads {"is":"record","record":{..}} into `record` (status, reason, samples, clock, set-up time, peak
 * bytes, versions) and sets `noisy` where the interval is too wide. SQ_BAD_ARGUMENT: it cannot be
 * true, or cannot be read; err says what, and nothing of it is kept. */
sq_status sq_peer_record_read(const json_t *answer, const sq_peer_bounds *bounds,
                              sq_record *record, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
