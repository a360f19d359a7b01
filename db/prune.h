/* prune: samples of old campaigns, which are most of a store, and which only the bootstrap of
 * `compare` and `export --samples` read. */
#ifndef SQ_DB_PRUNE_H
#define SQ_DB_PRUNE_H

#include "db/db.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int campaigns, runs;
    int64_t bytes; /* of samples */
} sq_db_pruned;

/* Campaigns of before `since` (by their turn, which a clock set back does not make old) that are no
 * baseline and have samples; one row each, for ?1 = since: campaign_id, uuid, suite, label, started,
 * runs, bytes. */
extern const char sq_db_prunable_sql[];

/* Drops the samples of all runs of those campaigns; medians, intervals, n and all else stay. In one
 * transaction. */
sq_status sq_db_prune(sq_db *db, double since, sq_db_pruned *out, sq_error *err);
/* Gives the room of what was dropped back to the disk; needs as much free as the store then takes. */
sq_status sq_db_shrink(sq_db *db, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
