/* store: what the files of db/ share: the handle, its prepared statements, failures in words.
 * Not for other modules; they include db/db.h. */
#ifndef SQ_DB_STORE_H
#define SQ_DB_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sqlite3.h>

#include "core/record.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sq_db;

/* How long a lock of another process is waited for; of readers, when a campaign begins. */
enum { SQ_DB_BUSY_MS = 3000, SQ_DB_READER_MS = 60000 };

/* One prepared statement per verb, made on first use; the texts are in statements.c. */
typedef enum {
    SQ_SQL_PUT_METRIC,
    SQ_SQL_PUT_DEVICE,
    SQ_SQL_PUT_ENVIRONMENT,
    SQ_SQL_PUT_CAMPAIGN,
    SQ_SQL_CONTINUE_CAMPAIGN,
    SQ_SQL_FINISH_CAMPAIGN,
    SQ_SQL_PUT_CELL,
    SQ_SQL_PUT_AXIS,
    SQ_SQL_PUT_RUN,
    SQ_SQL_PUT_VALUE,
    SQ_SQL_PUT_KERNEL,
    SQ_SQL_PUT_CHECK,
    SQ_SQL_PUT_CEILING,
    SQ_SQL_FIND_GATE,
    SQ_SQL_LAST_SENTINELS,
    SQ_SQL_FIND_CEILINGS,
    SQ_SQL_FIND_CELL,
    SQ_SQL_FIND_PLAN,
    SQ_SQL_FIND_CAMPAIGN,
    SQ_SQL_LIST_ATTEMPTS,
    SQ_SQL_FIND_CHECKSUM,
    SQ_SQL_NTH_CAMPAIGN,
    SQ_SQL_MATCH_CAMPAIGN,
    SQ_SQL_BASELINE_CAMPAIGN,
    SQ_SQL_KNOWN_CAMPAIGNS,
    SQ_SQL_FIND_SUITE,
    SQ_SQL_KNOWN_SUITES,
    SQ_SQL_KNOWN_BASELINES,
    SQ_SQL_PUT_BASELINE,
    SQ_SQL_DROP_BASELINE,
    SQ_SQL_FIND_BASELINE,
    SQ_SQL_LIST_BASELINES,
    SQ_SQL_CANDIDATE,
    SQ_SQL_NEAREST_CANDIDATE,
    SQ_SQL_PUT_GATE,
    SQ_SQL_PUT_VERDICT,
    SQ_SQL_MATCH_VERDICT,
    SQ_SQL_KNOWN_VERDICTS,
    SQ_SQL_PUT_ANSWER,
    SQ_SQL_FIND_ANSWER,
    SQ_SQL_DROP_SAMPLES,
    SQ_SQL_RUN_BY_ID,
    SQ_SQL_RUN_BY_KEY,
    SQ_SQL_MATCH_RUN,
    SQ_SQL_KNOWN_KEYS,
    SQ_SQL_COUNT
} sq_sql;

/* The campaigns that prune takes samples from; ?1: of before this turn. */
#define SQ_SQL_PRUNABLE                                                                            \
    "SELECT c.campaign_id FROM campaign c WHERE c.turn < ?1 "                                      \
    "AND NOT EXISTS (SELECT 1 FROM baseline b WHERE b.campaign_id = c.campaign_id)"

typedef struct sq_db {
    sqlite3 *handle;
    char *path;     /* as SQLite sees it: absolute, or starting with "./" */
    bool is_writer; /* opened for writing, and accepted */
    int lock_fd;    /* -1: none */
    bool is_new;    /* the file did not exist before this open */
    sqlite3_stmt *statement[SQ_SQL_COUNT];
    int64_t campaign_id, env_id, device_id; /* of the sink; 0: no campaign was begun */
    char resume_uuid[SQ_UUID_TEXT];         /* "": begin() makes a new campaign */
} sq_db;

/* Fails with what SQLite says of `rc`, in the user's words: "PATH: locked by another process". */
sq_status sq_db_fail(const sq_db *db, int rc, const char *doing, sq_error *err);

/* Runs SQL text that is ours (no data in it). */
sq_status sq_db_exec(const sq_db *db, const char *sql, const char *doing, sq_error *err);
/* The first column of the first row of ours; 0 and "" where there is no row. */
sq_status sq_db_get_int(const sq_db *db, const char *sql, int64_t *out, sq_error *err);
sq_status sq_db_get_text(const sq_db *db, const char *sql, char *out, size_t size, sq_error *err);

/* BEGIN IMMEDIATE; sq_db_end commits where `status` is SQ_OK, else rolls back and passes it on. */
sq_status sq_db_begin(const sq_db *db, sq_error *err);
sq_status sq_db_end(const sq_db *db, sq_status status, sq_error *err);

/* A prepared statement being bound from ?1 on. The first failure is kept and reported by the end.
 */
typedef struct {
    const sq_db *db;
    sqlite3_stmt *stmt;
    int next, rc;
} sq_row;

sq_row sq_row_new(sq_db *db, sq_sql which);
void sq_row_text(sq_row *row, const char *text);
void sq_row_int(sq_row *row, int64_t value);
void sq_row_count(sq_row *row, int64_t value);                 /* negative: unknown, NULL */
void sq_row_real(sq_row *row, double value);                   /* not finite: NULL */
void sq_row_blob(sq_row *row, const void *data, size_t bytes); /* data NULL: NULL */
/* Executes; *id (or NULL) receives the first column of RETURNING, or 0 where nothing came back. */
sq_status sq_row_run(sq_row *row, int64_t *id, sq_error *err);
/* Steps a query: *found says whether there is a row to read with sqlite3_column_*. After the last
 * row, or a failure, the statement is reset; call sq_row_end to stop earlier. */
sq_status sq_row_step(sq_row *row, bool *found, sq_error *err);
void sq_row_end(sq_row *row);
/* Copies column `column` of the current row into out ("" for NULL). */
void sq_row_copy(const sq_row *row, int column, char *out, size_t size);
double sq_row_number(const sq_row *row, int column); /* NAN for NULL */

/* Fails with the nearest name, or the newest ones where none is near. `known` lists names, newest
 * first, at most `limit` of them (its one parameter). `what`: "campaign". */
sq_status sq_db_fail_unknown(sq_db *db, sq_sql known, int limit, const char *what, const char *text,
                             sq_error *err);

/* Moves the log into the file and leaves WAL mode, so that one file is all there is. */
void sq_db_make_whole(const sq_db *db);

/* The writer's lock: flock on PATH-lock, whose text names the holder. Waits SQ_DB_BUSY_MS, and is then
 * SQ_TIMEOUT. */
sq_status sq_db_lock(const char *path, int *fd, sq_error *err);
void sq_db_unlock(const char *path, int fd);

/* One step of the schema: the statements that lead from version `to` - 1 to `to`. */
typedef struct {
    int to;
    const char *sql;
} sq_migration;

/* Steps of this program, ended by {0, NULL}. */
extern const sq_migration sq_migrations[];

/* Brings the store to the last version of `steps`, all of it in one transaction or nothing. */
sq_status sq_db_migrate(sq_db *db, const sq_migration *steps, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
