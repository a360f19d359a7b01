/* cache_probes: the cold cells of a campaign, each operator proved by its first one.
 *
 * A row that was counted itself is judged by its own bytes; one that was not (a later replicate) by
 * the first judged row of its operator and cache mode.
 */
#ifndef SQ_BENCH_CACHE_PROBES_H
#define SQ_BENCH_CACHE_PROBES_H

#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_CACHE_PROBES = 128 };

typedef struct {
    sq_kind kind;
    char subject[SQ_NAME_MAX];
    sq_cache cache;
    sq_value value; /* cold_read_ratio as judged */
} sq_cache_probe;

/* Zero-initialise. */
typedef struct {
    int n;
    sq_cache_probe probe[SQ_MAX_CACHE_PROBES];
} sq_cache_probes;

/* Adds cold_read_ratio to a row with times, where something is known; a row that was not cold gets
 * the reason, too, and keeps its status and times. */
sq_status sq_cache_probes_note(sq_cache_probes *probes, double l2_bytes, sq_record *record);

#ifdef __cplusplus
}
#endif
#endif
