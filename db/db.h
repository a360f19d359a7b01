/* db: the SQLite store. Knows records and rows; no CUDA, no operators, no files but its own. */
#ifndef SQ_DB_DB_H
#define SQ_DB_DB_H

#include <stdbool.h>
#include <sqlite3.h>

#include "core/record.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SQ_DB_SCHEMA_VERSION 3
#define SQ_DB_APPLICATION_ID 0x73716d6b /* "sqmk" */

typedef struct sq_db sq_db;

/* SQ_DB_PROBE judges an existing file as SQ_DB_WRITE does, and then neither migrates nor writes. */
typedef enum { SQ_DB_READ, SQ_DB_WRITE, SQ_DB_PROBE } sq_db_mode;

/* Opens (SQ_DB_WRITE: creates, migrates) a store. Refuses, leaving the file untouched: not a
 * database, not ours (application id), newer than this program, corrupt, unreadable, read-only for
 * writing, locked by another writer (SQ_TIMEOUT). A read-only or copied file opens for reading; an older store is
 * then read as a migrated copy in memory. */
sq_status sq_db_open(const char *path, sq_db_mode mode, sq_db **out, sq_error *err);
/* SQ_STORE where the file is corrupt. Reads all of it: sq_db_open has done so, but to read a large one
 * (64 MiB). */
sq_status sq_db_check(sq_db *db, sq_error *err);
/* Checkpoints the WAL back into the single file where it was written. Accepts NULL. */
void sq_db_close(sq_db *db);
sqlite3 *sq_db_handle(sq_db *db); /* for reading queries of reports and commands */

/* A sink that stores a new campaign (begin) or goes on with one (after sq_db_resume). */
sq_sink sq_db_sink(sq_db *db);

typedef struct {
    char uuid[SQ_UUID_TEXT];
    uint64_t seed;
    int planned, done;
    char state[16];
} sq_db_campaign;

/* The latest campaign of this plan. found is false when there is none. */
sq_status sq_db_find_campaign(sq_db *db, const char *plan_hash, sq_db_campaign *out, bool *found,
                              sq_error *err);
/* Makes the sink continue campaign `uuid`: begin() then only marks it running again. */
sq_status sq_db_resume(sq_db *db, const char *uuid, sq_error *err);
/* Whether the campaign has a run of this cell key and replicate whose status is not among the
 * NULL-ended `retry` statuses (retry may be NULL). */
sq_status sq_db_has_run(sq_db *db, const char *campaign_uuid, const char *cell_key, int replicate,
                        const char *const *retry, bool *found, int *attempts, sq_error *err);

/* The checksum of the output that the campaign proved for this cell; "" where there is none. */
sq_status sq_db_find_checksum(sq_db *db, const char *campaign_uuid, const char *cell_key,
                              char out[SQ_HASH_TEXT], sq_error *err);

/* What the newest finished campaign of `suite` measured on this device in this environment. */
typedef struct {
    char campaign[SQ_UUID_TEXT];
    double started; /* Unix time, seconds */
    sq_ceiling ceiling[64];
    int n; /* 0: there is none */
} sq_db_ceilings;

/* `fingerprint`: of the environment; `since`: Unix time before which a campaign is too old. */
sq_status sq_db_find_ceilings(sq_db *db, const char *suite, const char *device_uuid,
                              const char *fingerprint, double since, sq_db_ceilings *out,
                              sq_error *err);

/* campaign: uuid prefix, label, "latest", "latest~N", "baseline:NAME". Writes the uuid; unknown or
 * ambiguous: error that lists the nearest. */
sq_status sq_db_resolve_campaign(sq_db *db, const char *text, char uuid[SQ_UUID_TEXT],
                                 sq_error *err);
/* SQ_BAD_ARGUMENT with the nearest, where no campaign is of this suite. */
sq_status sq_db_check_suite(sq_db *db, const char *suite, sq_error *err);
/* text: run id, run uuid prefix, cell key or unique cell hash prefix. Writes the latest run's id;
 * unknown or ambiguous: as above. */
sq_status sq_db_resolve_run(sq_db *db, const char *text, int64_t *run_id, sq_error *err);

/* The path of the store as SQLite sees it: absolute, or starting with "./". */
const char *sq_db_path(const sq_db *db);

/* Sample number i of run.samples, as it is stored on any machine. */
int32_t sq_db_sample(const void *blob, int i);

/* Copies a live store to one whole file (backup API). Refuses to overwrite. */
sq_status sq_db_backup(sq_db *db, const char *path, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
