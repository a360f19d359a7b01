/* merge: see the header; the statements are in merge.sql. */
#include "db/merge.h"

#include "db/store.h"

extern const char sq_merge_sql[];

static const char drop_notes[] =
    "DROP TABLE temp.device_of; DROP TABLE temp.env_of; DROP TABLE temp.cell_of; "
    "DROP TABLE temp.campaign_of; DROP TABLE temp.fresh; DROP TABLE temp.shifted; "
    "DROP TABLE temp.run_of; DROP TABLE temp.merged";

/* A copy of `other` as it is at this moment, in a temporary file of SQLite's own. */
static sq_status attach_copy(sq_db *db, const sq_db *other, sq_error *err)
{
    SQ_TRY(sq_db_exec(db, "ATTACH '' AS other", "merging", err));
    sqlite3_backup *backup = sqlite3_backup_init(db->handle, "other", other->handle, "main");
    if (!backup)
        return sq_db_fail(db, sqlite3_extended_errcode(db->handle), "copying", err);
    int rc = sqlite3_backup_step(backup, -1);
    int finished = sqlite3_backup_finish(backup);
    if (rc == SQLITE_DONE)
        rc = finished;
    return rc == SQLITE_OK ? SQ_OK : sq_db_fail(other, rc, "copying", err);
}

static sq_status count(sq_db *db, const char *what, int *out, sq_error *err)
{
    char sql[80];
    int64_t n;
    sqlite3_snprintf(sizeof sql, sql, "SELECT n FROM temp.merged WHERE what = %Q", what);
    SQ_TRY(sq_db_get_int(db, sql, &n, err));
    *out = (int)n;
    return SQ_OK;
}

static sq_status merge_rows(sq_db *db, sq_db_merged *out, sq_error *err)
{
    const struct {
        const char *what;
        int *n;
    } counts[] = {{"campaigns", &out->campaigns},   {"runs", &out->runs},
                  {"verdicts", &out->verdicts},     {"answers", &out->answers},
                  {"baselines", &out->baselines},   {"known_runs", &out->known_runs},
                  {"renumbered", &out->renumbered}, {"other_baselines", &out->other_baselines}};
    SQ_TRY(sq_db_exec(db, sq_merge_sql, "merging", err));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        SQ_TRY(count(db, counts[i].what, counts[i].n, err));
    return sq_db_exec(db, drop_notes, "merging", err);
}

static sq_status merge_attached(sq_db *db, sq_db_merged *out, sq_error *err)
{
    SQ_TRY(sq_db_begin(db, err));
    return sq_db_end(db, merge_rows(db, out, err), err);
}

sq_status sq_db_merge(sq_db *db, const char *path, sq_db_merged *out, sq_error *err)
{
    sq_db *other;
    *out = (sq_db_merged){.campaigns = 0};
    SQ_TRY(sq_db_open(path, SQ_DB_READ, &other, err));
    sq_status status = sq_db_check(other, err);
    if (status == SQ_OK)
        status = attach_copy(db, other, err);
    sq_db_close(other);
    if (status == SQ_OK)
        status = merge_attached(db, out, err);
    sqlite3_exec(db->handle, "DETACH other", NULL, NULL,
                 NULL); /* fails where it was not attached */
    return status;
}
