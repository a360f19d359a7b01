/* migrate: from any older schema to this program's, in one transaction.
 *
 * PRAGMA user_version is the version, PRAGMA application_id says that the file is ours. A new step
 * is one row at the end of the table; steps that shipped never change. */
#include "db/store.h"

#include <stdio.h>

#include "db/db.h"

/* The files of db/, embedded by the build. */
extern const char sq_schema_sql[], sq_version_2_sql[], sq_version_3_sql[];

const sq_migration sq_migrations[] = {
    {1, sq_schema_sql},
    {2, sq_version_2_sql},
    {3, sq_version_3_sql},
    {0, NULL},
};

static sq_status set_version(sq_db *db, int version, sq_error *err)
{
    char sql[96];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             SQ_DB_APPLICATION_ID, version);
    return sq_db_exec(db, sql, "writing the version", err);
}

static sq_status check_references(sq_db *db, sq_error *err)
{
    char table[64];
    SQ_TRY(sq_db_get_text(db, "PRAGMA foreign_key_check", table, sizeof table, err));
    if (table[0])
        return sq_fail(err, SQ_STORE, "%s: after migrating, rows of table %s point nowhere",
                       db->path, table);
    return SQ_OK;
}

static sq_status apply(sq_db *db, const sq_migration *steps, sq_error *err)
{
    /* Read inside the transaction: another process may have migrated since the file was opened. */
    int64_t version;
    SQ_TRY(sq_db_get_int(db, "PRAGMA user_version", &version, err));
    int64_t last = version;
    for (const sq_migration *step = steps; step->sql; step++) {
        if (step->to <= version)
            continue;
        SQ_TRY(sq_db_exec(db, step->sql, "migrating", err));
        last = step->to;
    }
    if (last == version)
        return SQ_OK;
    SQ_TRY(check_references(db, err));
    return set_version(db, (int)last, err);
}

sq_status sq_db_migrate(sq_db *db, const sq_migration *steps, sq_error *err)
{
    int64_t version;
    int newest = 0;
    for (const sq_migration *step = steps; step->sql; step++)
        newest = step->to;
    SQ_TRY(sq_db_get_int(db, "PRAGMA user_version", &version, err));
    if (version >= newest)
        return SQ_OK;
    /* A step that rebuilds a table must drop the old one, which enforced references would forbid.
     */
    SQ_TRY(sq_db_exec(db, "PRAGMA foreign_keys = OFF", "migrating", err));
    sq_status status = sq_db_begin(db, err);
    if (status == SQ_OK)
        status = sq_db_end(db, apply(db, steps, err), err);
    sq_status restored =
        sq_db_exec(db, "PRAGMA foreign_keys = ON", "migrating", status == SQ_OK ? err : NULL);
    return status == SQ_OK ? restored : status;
}
