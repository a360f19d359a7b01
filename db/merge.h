/* merge: what another store has and this one has not. */
#ifndef SQ_DB_MERGE_H
#define SQ_DB_MERGE_H

#include "db/db.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows that came new. */
typedef struct {
    int campaigns, runs, verdicts, answers, baselines;
    int known_runs;      /* were here already */
    int renumbered;      /* replicates measured in both stores: theirs are further attempts */
    int other_baselines; /* names that mean another campaign here, and do so still */
} sq_db_merged;

/* Adds the rows of the store at `path`, which stays as it is: by uuids and content hashes, so that
 * a copy of a store, or of a part of it, doubles nothing. A live store is taken as it is at one
 * moment, an older one as migrated. All in one transaction. */
sq_status sq_db_merge(sq_db *db, const char *path, sq_db_merged *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
