#include "reports/query.h"

#include <math.h>
#include <stdio.h>

#include "core/text.h"

static sq_status prepare(const sq_scope *scope, const char *sql, sqlite3_stmt **out, sq_error *err)
{
    sqlite3 *handle = sq_db_handle(scope->db);
    if (sqlite3_prepare_v2(handle, sql, -1, out, NULL) != SQLITE_OK)
        return sq_fail(err, SQ_STORE, "read the store: %s", sqlite3_errmsg(handle));
    if (scope->campaign)
        sqlite3_bind_text(*out, 1, scope->campaign, -1, SQLITE_TRANSIENT);
    return SQ_OK;
}

sq_status sq_query_plain(const sq_scope *scope, const char *query, sqlite3_stmt **out,
                         sq_error *err)
{
    *out = NULL;
    return prepare(scope, query, out, err);
}

sq_status sq_query_cells(const sq_scope *scope, const char *query, const char *kind,
                         sqlite3_stmt **out, sq_error *err)
{
    *out = NULL;
    sq_text sql = {0};
    sq_text_add(&sql, sq_figure_common_sql);
    sq_text_add(&sql, query);
    sq_status status = sql.is_failed ? sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a query")
                                     : prepare(scope, sql.data, out, err);
    sq_text_free(&sql);
    if (status == SQ_OK && kind)
        sqlite3_bind_text(*out, 2, kind, -1, SQLITE_TRANSIENT);
    return status;
}

sq_status sq_query_step(const sq_scope *scope, sqlite3_stmt *statement, bool *has_row,
                        sq_error *err)
{
    int code = sqlite3_step(statement);
    *has_row = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return sq_fail(err, SQ_STORE, "read the store: %s",
                       sqlite3_errmsg(sq_db_handle(scope->db)));
    return SQ_OK;
}

const char *sq_query_text(sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    return text ? (const char *)text : "";
}

double sq_query_number(sqlite3_stmt *statement, int column)
{
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return NAN;
    return sqlite3_column_double(statement, column);
}

void sq_query_copy(sqlite3_stmt *statement, int column, char *out, size_t size)
{
    snprintf(out, size, "%s", sq_query_text(statement, column));
}
