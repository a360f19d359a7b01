/* db: opening, closing and copying a store.
 *
 * A file is judged before anything can change it: first by its name, then by the 100 bytes of its
 * header read without any lock or recovery, then by SQLite's quick check with checkpoints off (but a
 * large one that is only read). Only a file that passed is recovered, migrated, copied or written. */
#include "db/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/text.h"
#include "db/store.h"

/* Offsets of the SQLite file header (https://sqlite.org/fileformat2.html#the_database_header). */
enum {
    HEADER_BYTES = 100,
    HEADER_READ_VERSION = 19, /* 2: WAL */
    HEADER_USER_VERSION = 60,
    HEADER_APPLICATION_ID = 68
};

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* --- by name --- */

/* Absolute where the file exists (links resolved, so that every name of it shares one lock), else
 * never a name that means something to SQLite (":memory:", "file:..."). */
static char *canonical(const char *path)
{
    char *real = realpath(path, NULL);
    if (real)
        return real;
    sq_text text = {0};
    sq_text_printf(&text, "%s%s", path[0] == '/' ? "" : "./", path);
    if (!text.is_failed)
        return text.data;
    sq_text_free(&text);
    return NULL;
}

/* The folder of `path`, or NULL out of memory. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static bool may(const char *path, int mode)
{
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
}

static bool may_write_folder_of(const char *path)
{
    char *folder = folder_of(path);
    bool is_writable = folder && may(folder, W_OK | X_OK);
    free(folder);
    return is_writable;
}

static sq_status check_name(sq_db *db, sq_db_mode mode, sq_error *err)
{
    struct stat info;
    if (stat(db->path, &info) != 0) {
        if (errno == ENOENT && mode == SQ_DB_WRITE)
            db->is_new = true;
        else
            return sq_fail(err, SQ_IO, "%s: %s", db->path, strerror(errno));
    } else if (S_ISDIR(info.st_mode)) {
        return sq_fail(err, SQ_IO, "%s: is a directory", db->path);
    } else if (!S_ISREG(info.st_mode)) {
        return sq_fail(err, SQ_IO, "%s: not a regular file", db->path);
    } else if (!may(db->path, R_OK)) {
        return sq_fail(err, SQ_IO, "%s: unreadable: %s", db->path, strerror(errno));
    } else if (mode != SQ_DB_READ && !may(db->path, W_OK)) {
        return sq_fail(err, SQ_IO, "%s: cannot write: the file is read-only (%s)", db->path,
                       strerror(errno));
    }
    if (mode != SQ_DB_READ && !may_write_folder_of(db->path))
        return sq_fail(err, SQ_IO, "%s: cannot write: its folder is read-only or missing (%s)",
                       db->path, strerror(errno));
    return SQ_OK;
}

/* --- by header --- */

/* Reads through SQLite's own descriptor: closing one of ours would drop the POSIX locks of any
 * other connection of this process. *size: of the file. */
static sq_status read_header(sq_db *db, unsigned char header[HEADER_BYTES], int64_t *size,
                             sq_error *err)
{
    sqlite3_file *file = NULL;
    sqlite3_int64 bytes = 0;
    int rc = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (rc == SQLITE_OK)
        rc = file->pMethods->xFileSize(file, &bytes);
    if (rc == SQLITE_OK && bytes >= HEADER_BYTES)
        rc = file->pMethods->xRead(file, header, HEADER_BYTES, 0);
    if (rc != SQLITE_OK)
        return sq_fail(err, SQ_IO, "%s: cannot read: %s", db->path, sqlite3_errstr(rc));
    *size = bytes;
    return SQ_OK;
}

/* *is_wal: the header says that a write-ahead log may hold a part of the store. */
static sq_status check_header(sq_db *db, sq_db_mode mode, bool *is_wal, sq_error *err)
{
    unsigned char header[HEADER_BYTES] = {0};
    int64_t size = 0;
    *is_wal = false;
    SQ_TRY(read_header(db, header, &size, err));
    if (size == 0 && mode != SQ_DB_READ)
        return SQ_OK;
    if (size == 0)
        return sq_fail(err, SQ_STORE, "%s: the file is empty", db->path);
    if (size < HEADER_BYTES || memcmp(header, "SQLite format 3", 16) != 0)
        return sq_fail(err, SQ_STORE, "%s: not a SQLite database", db->path);
    uint32_t id = big_endian(header + HEADER_APPLICATION_ID);
    if (id != SQ_DB_APPLICATION_ID)
        return sq_fail(err, SQ_STORE,
                       "%s: a database of another program (application id 0x%08x), not a seqmark "
                       "store",
                       db->path, (unsigned)id);
    uint32_t version = big_endian(header + HEADER_USER_VERSION);
    if (version > SQ_DB_SCHEMA_VERSION)
        return sq_fail(err, SQ_STORE,
                       "%s: its schema is version %u, newer than this seqmark (version %d): use a "
                       "newer seqmark",
                       db->path, (unsigned)version, SQ_DB_SCHEMA_VERSION);
    *is_wal = header[HEADER_READ_VERSION] == 2;
    return SQ_OK;
}

/* --- by content --- */

enum { CHECKED_TO_READ = 64 << 20 }; /* bytes */

sq_status sq_db_check(sq_db *db, sq_error *err)
{
    char found[256];
    SQ_TRY(sq_db_get_text(db, "PRAGMA quick_check(1)", found, sizeof found, err));
    if (strcmp(found, "ok") != 0)
        return sq_fail(err, SQ_STORE, "%s: the file is corrupt: %s", db->path, found);
    return SQ_OK;
}

/* The check reads the whole file. Who only reads a large one is told of damage where it is met; that
 * the file is as long as it says is seen by any question. */
static sq_status check_for_reading(sq_db *db, sq_error *err)
{
    int64_t bytes;
    SQ_TRY(sq_db_get_int(db,
                         "SELECT page_count * page_size FROM pragma_page_count, "
                         "pragma_page_size, (SELECT count(*) FROM sqlite_schema)",
                         &bytes, err));
    return bytes > CHECKED_TO_READ ? SQ_OK : sq_db_check(db, err);
}

/* --- connections --- */

static sq_status connect_to(sq_db *db, const char *name, int flags, sq_error *err)
{
    int rc = sqlite3_open_v2(name, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (!db->handle)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: out of memory", db->path);
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, SQ_DB_BUSY_MS);
    /* Until the file is accepted, closing must not move its log into it. */
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc != SQLITE_OK)
        return sq_db_fail(db, rc, "opening", err);
    return SQ_OK;
}

static bool is_empty_or_absent(const char *path, const char *suffix)
{
    sq_text name = {0};
    struct stat info;
    sq_text_printf(&name, "%s%s", path, suffix);
    bool is_empty = !name.is_failed && (stat(name.data, &info) != 0 || info.st_size == 0);
    sq_text_free(&name);
    return is_empty;
}

/* A file in WAL mode needs its shared-memory file even to be read. In a read-only folder none can
 * be made; but with no log beside it the file is whole and, there, nobody can change it. */
static sq_status reconnect_immutable(sq_db *db, sq_error *err)
{
    if (!is_empty_or_absent(db->path, "-wal"))
        return SQ_OK;
    sq_text uri = {0};
    sq_text_add(&uri, "file:");
    for (const unsigned char *p = (const unsigned char *)db->path; *p; p++)
        if (strchr("?#%", *p) || *p < ' ')
            sq_text_printf(&uri, "%%%02x", *p);
        else
            sq_text_add_n(&uri, (const char *)p, 1);
    sq_text_add(&uri, "?immutable=1");
    sq_status status = SQ_OK;
    if (uri.is_failed) {
        status = sq_fail(err, SQ_OUT_OF_MEMORY, "%s: out of memory", db->path);
    } else {
        sqlite3_close(db->handle);
        db->handle = NULL;
        status = connect_to(db, uri.data, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
    }
    sq_text_free(&uri);
    return status;
}

/* The copy carries the log mode of a live store in its header; a copy has no log. */
static int copy_pages(sqlite3 *from, sqlite3 *to)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    if (!backup)
        return sqlite3_extended_errcode(to);
    int rc = sqlite3_backup_step(backup, -1);
    int finished = sqlite3_backup_finish(backup);
    if (rc == SQLITE_DONE)
        rc = finished;
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    return rc;
}

/* Goes on with a copy in memory that has this program's schema: reading leaves the file alone. */
static sq_status migrate_copy(sq_db *db, sq_error *err)
{
    sq_db copy = {.path = db->path, .lock_fd = -1};
    sq_status status = sq_db_check(db, err);
    if (status == SQ_OK)
        status = connect_to(&copy, ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY, err);
    int rc = status == SQ_OK ? copy_pages(db->handle, copy.handle) : SQLITE_OK;
    if (rc != SQLITE_OK)
        status = sq_db_fail(db, rc, "copying", err);
    if (status == SQ_OK)
        status = sq_db_migrate(&copy, sq_migrations, err);
    sqlite3_close(status == SQ_OK ? db->handle : copy.handle);
    if (status == SQ_OK)
        db->handle = copy.handle;
    return status;
}

/* A killed write is undone by whoever opens the store next, which a connection for reading alone
 * may not do: one for writing reads once. Without the right to write, the failure stays. */
static sq_status read_content(sq_db *db, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    sq_status status = check_for_reading(db, &why);
    if (sqlite3_extended_errcode(db->handle) != SQLITE_READONLY_ROLLBACK || !may(db->path, W_OK) ||
        !may_write_folder_of(db->path))
        return status == SQ_OK ? SQ_OK : sq_fail(err, status, "%s", why.message);
    sqlite3_close(db->handle);
    SQ_TRY(connect_to(db, db->path, SQLITE_OPEN_READWRITE, err));
    SQ_TRY(sq_db_check(db, err));
    sqlite3_close(db->handle);
    SQ_TRY(connect_to(db, db->path, SQLITE_OPEN_READONLY, err));
    return check_for_reading(db, err);
}

static sq_status open_reader(sq_db *db, sq_error *err)
{
    bool is_wal;
    SQ_TRY(connect_to(db, db->path, SQLITE_OPEN_READONLY, err));
    SQ_TRY(check_header(db, SQ_DB_READ, &is_wal, err));
    if (is_wal && !may_write_folder_of(db->path))
        SQ_TRY(reconnect_immutable(db, err));
    SQ_TRY(read_content(db, err));
    int64_t version;
    SQ_TRY(sq_db_get_int(db, "PRAGMA user_version", &version, err));
    return version < SQ_DB_SCHEMA_VERSION ? migrate_copy(db, err) : SQ_OK;
}

static sq_status open_writer(sq_db *db, sq_db_mode mode, sq_error *err)
{
    bool is_wal;
    const int create = mode == SQ_DB_WRITE ? SQLITE_OPEN_CREATE : 0;
    SQ_TRY(sq_db_lock(db->path, &db->lock_fd, err));
    SQ_TRY(connect_to(db, db->path, SQLITE_OPEN_READWRITE | create, err));
    if (sqlite3_db_readonly(db->handle, "main"))
        return sq_fail(err, SQ_IO, "%s: cannot write: the file is read-only", db->path);
    SQ_TRY(check_header(db, mode, &is_wal, err));
    SQ_TRY(sq_db_check(db, err));
    if (mode == SQ_DB_PROBE)
        return SQ_OK;
    SQ_TRY(sq_db_exec(db, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON", "opening", err));
    SQ_TRY(sq_db_migrate(db, sq_migrations, err));
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    db->is_writer = true;
    return SQ_OK;
}

/* What a failed open must undo: a file that only this open made. */
static void discard(sq_db *db)
{
    if (db->is_new && db->lock_fd >= 0 && is_empty_or_absent(db->path, ""))
        unlink(db->path);
    sq_db_close(db);
}

sq_status sq_db_open(const char *path, sq_db_mode mode, sq_db **out, sq_error *err)
{
    *out = NULL;
    if (!path || !path[0])
        return sq_fail(err, SQ_BAD_ARGUMENT, "the name of the store is empty");
    sq_db *db = calloc(1, sizeof *db);
    if (db)
        db->path = canonical(path);
    if (!db || !db->path) {
        free(db);
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: out of memory", path);
    }
    db->lock_fd = -1;
    sq_status status = check_name(db, mode, err);
    if (status == SQ_OK)
        status = mode == SQ_DB_READ ? open_reader(db, err) : open_writer(db, mode, err);
    if (status != SQ_OK) {
        discard(db);
        return status;
    }
    *out = db;
    return SQ_OK;
}

void sq_db_close(sq_db *db)
{
    if (!db)
        return;
    for (int i = 0; i < SQ_SQL_COUNT; i++)
        sqlite3_finalize(db->statement[i]);
    if (db->is_writer)
        sq_db_make_whole(db);
    sqlite3_close(db->handle);
    sq_db_unlock(db->path, db->lock_fd);
    free(db->path);
    free(db);
}

void sq_db_make_whole(const sq_db *db)
{
    /* Both fail harmlessly while another process reads: the file and its -wal then stay one store,
     * and the next writer to close it tries again. */
    sqlite3_wal_checkpoint_v2(db->handle, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_exec(db->handle, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
}

sqlite3 *sq_db_handle(sq_db *db)
{
    return db->handle;
}

const char *sq_db_path(const sq_db *db)
{
    return db->path;
}

/* --- copying --- */

sq_status sq_db_backup(sq_db *db, const char *path, sq_error *err)
{
    char *name = canonical(path);
    if (!name)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: out of memory", path);
    sq_db copy = {.path = name, .lock_fd = -1};
    sq_status status = sq_db_check(db, err);
    if (status != SQ_OK)
        goto done;
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0) {
        status =
            sq_fail(err, SQ_IO, "%s: %s", path,
                    errno == EEXIST ? "exists already; a copy never overwrites" : strerror(errno));
        goto done;
    }
    close(fd);
    status = connect_to(&copy, name, SQLITE_OPEN_READWRITE, err);
    if (status == SQ_OK) {
        int rc = copy_pages(db->handle, copy.handle);
        if (rc != SQLITE_OK)
            status = sq_db_fail(&copy, rc, "copying", err);
    }
    sqlite3_close(copy.handle);
    if (status != SQ_OK)
        unlink(name);
done:
    free(name);
    return status;
}
