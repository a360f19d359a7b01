/* prune: see the header. */
#include "db/prune.h"

#include "db/store.h"

const char sq_db_prunable_sql[] =
    "SELECT c.campaign_id, c.uuid, c.suite, c.label, c.started, count(*), sum(length(r.samples)) "
    "FROM run r JOIN campaign c USING (campaign_id) "
    "WHERE r.samples IS NOT NULL AND c.campaign_id IN (" SQ_SQL_PRUNABLE ") "
    "GROUP BY c.campaign_id ORDER BY c.turn, c.campaign_id";

static sq_status count(sq_db *db, double since, sq_db_pruned *out, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    *out = (sq_db_pruned){.campaigns = 0};
    int rc = sqlite3_prepare_v2(db->handle, sq_db_prunable_sql, -1, &row, NULL);
    if (rc == SQLITE_OK)
        sqlite3_bind_double(row, 1, since);
    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        out->campaigns++;
        out->runs += sqlite3_column_int(row, 5);
        out->bytes += sqlite3_column_int64(row, 6);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(row);
    return rc == SQLITE_DONE ? SQ_OK : sq_db_fail(db, rc, "counting samples", err);
}

static sq_status drop(sq_db *db, double since, sq_db_pruned *out, sq_error *err)
{
    SQ_TRY(count(db, since, out, err));
    sq_row row = sq_row_new(db, SQ_SQL_DROP_SAMPLES);
    sq_row_real(&row, since);
    return sq_row_run(&row, NULL, err);
}

sq_status sq_db_prune(sq_db *db, double since, sq_db_pruned *out, sq_error *err)
{
    SQ_TRY(sq_db_begin(db, err));
    return sq_db_end(db, drop(db, since, out, err), err);
}

sq_status sq_db_shrink(sq_db *db, sq_error *err)
{
    return sq_db_exec(db, "VACUUM", "shrinking the file", err);
}
