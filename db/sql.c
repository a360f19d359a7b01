/* sql: statements without data in them, transactions, and SQLite's failures in the user's words. */
#include "db/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static sq_status status_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return SQ_OUT_OF_MEMORY;
    case SQLITE_FULL:
    case SQLITE_IOERR:
        return SQ_IO;
    default:
        return SQ_STORE;
    }
}

sq_status sq_db_fail(const sq_db *db, int rc, const char *doing, sq_error *err)
{
    const char *path = db->path;
    sq_status status = status_of(rc);
    int reason = sqlite3_system_errno(db->handle); /* 0: the failing call left none */
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return sq_fail(err, status, "%s: locked by another process", path);
    case SQLITE_FULL:
        return sq_fail(err, status, "%s: the disk is full; nothing of this write was kept", path);
    case SQLITE_NOTADB:
        return sq_fail(err, status, "%s: not a SQLite database", path);
    case SQLITE_CORRUPT:
        return sq_fail(err, status, "%s: the file is corrupt (%s)", path,
                       sqlite3_errmsg(db->handle));
    case SQLITE_READONLY:
        if (rc == SQLITE_READONLY_ROLLBACK)
            return sq_fail(
                err, status,
                "%s: a write into it was interrupted; open it once for writing, with its "
                "-journal file beside it",
                path);
        return sq_fail(err, status, "%s: read-only", path);
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        return sq_fail(err, status, "%s: %s%s%s, while %s", path, sqlite3_errmsg(db->handle),
                       reason ? ": " : "", reason ? strerror(reason) : "", doing);
    default:
        return sq_fail(err, status, "%s: %s, while %s", path, sqlite3_errmsg(db->handle), doing);
    }
}

sq_status sq_db_exec(const sq_db *db, const char *sql, const char *doing, sq_error *err)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? SQ_OK : sq_db_fail(db, rc, doing, err);
}

sq_status sq_db_get_text(const sq_db *db, const char *sql, char *out, size_t size, sq_error *err)
{
    out[0] = '\0';
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        snprintf(out, size, "%s", text ? text : "");
        rc = SQLITE_DONE;
    }
    sq_status status = rc == SQLITE_DONE ? SQ_OK : sq_db_fail(db, rc, sql, err);
    sqlite3_finalize(stmt);
    return status;
}

sq_status sq_db_get_int(const sq_db *db, const char *sql, int64_t *out, sq_error *err)
{
    char text[32];
    *out = 0;
    SQ_TRY(sq_db_get_text(db, sql, text, sizeof text, err));
    sscanf(text, "%" SCNd64, out);
    return SQ_OK;
}

sq_status sq_db_begin(const sq_db *db, sq_error *err)
{
    return sq_db_exec(db, "BEGIN IMMEDIATE", "beginning to write", err);
}

sq_status sq_db_end(const sq_db *db, sq_status status, sq_error *err)
{
    if (status == SQ_OK)
        status = sq_db_exec(db, "COMMIT", "committing", err);
    /* A full disk may have rolled back already; then there is no transaction to end. */
    if (status != SQ_OK && !sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return status;
}
