#define _XOPEN_SOURCE 700 /* nftw */
#include "fixture.h"

#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char facts[] =
    "INSERT INTO device VALUES(1, 'GPU-1', 'cuda', 'Test GPU One', 'sm_90', '0000:01:00.0', 132,"
    " 85899345920, 52428800, 1980, 2619, 5120),"
    "(2, 'GPU-2', 'cuda', 'Test GPU Two', 'sm_80', '0000:02:00.0', 108, 42949672960, 41943040,"
    " 1410, 1215, 5120);"
    "INSERT INTO environment VALUES(1, 'fp1', '580.65', '13.0', '13.0.2', '12.0.0', '', '13.0',"
    " 'gcc 12', '-O2', 'testhost', 'Linux 6.1', 'Debian 12', 'Test CPU', 'on', 'off', 700);"
    "INSERT INTO campaign (campaign_id, uuid, suite, label, plan_hash, argv, version, git_commit,"
    " git_dirty, seed, planned, env_id, device_id, started, ended, state) VALUES"
    "(1, '11111111-0000-4000-8000-000000000001', 'paper', 'first', 'plan', 'seqmark run --suite "
    "paper',"
    " '0.1.0', 'abcdef0123', 0, '42', 100, 1, 1, 1700000000, 1700000900, 'finished'),"
    "(2, '22222222-0000-4000-8000-000000000002', 'nightly', 'second', 'plan', 'seqmark run',"
    " '0.1.0', 'abcdef0123', 1, '18446744073709551615', 100, 1, 1, 1700100000, NULL, "
    "'interrupted');"
    "INSERT INTO metric VALUES('flops', 'flop', '', 'derived', ''), ('bytes', 'B', '', 'derived', "
    "''),"
    "('width', '', '', 'derived', ''), ('floor_ns', 'ns', '', 'derived', ''),"
    "('dram_bytes', 'B', 'lower', 'dram__bytes.sum', 'bytes moved to and from DRAM'),"
    "('tensor_pipe', '%', 'higher', 'sm__inst_executed_pipe_tensor.pct', 'tensor pipe use');";

void fixture_exec(sq_db *db, const char *sql, const char *text1, const char *text2)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(sq_db_handle(db), sql, -1, &statement, NULL), SQLITE_OK);
    if (text1)
        sqlite3_bind_text(statement, 1, text1, -1, SQLITE_STATIC);
    if (text2)
        sqlite3_bind_text(statement, 2, text2, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_finalize(statement);
}

sq_db *fixture_new(char dir[64])
{
    char path[96];
    strcpy(dir, "/tmp/seqmark-report-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/store.db", dir);
    sq_db *db = NULL;
    sq_error err = {0};
    if (sq_db_open(path, SQ_DB_WRITE, &db, &err) != SQ_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sqlite3_exec(sq_db_handle(db), facts, NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *walk)
{
    (void)info, (void)flag, (void)walk;
    return remove(path);
}

void fixture_free(sq_db *db, const char *dir)
{
    sq_db_close(db);
    assert_int_equal(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void bind(sqlite3_stmt *statement, const char *name, double value)
{
    int index = sqlite3_bind_parameter_index(statement, name);
    if (isnan(value))
        sqlite3_bind_null(statement, index);
    else if (value == floor(value) && fabs(value) < 1e15)
        sqlite3_bind_int64(statement, index, (sqlite3_int64)value);
    else
        sqlite3_bind_double(statement, index, value);
}

static void bind_text(sqlite3_stmt *statement, const char *name, const char *value)
{
    int index = sqlite3_bind_parameter_index(statement, name);
    sqlite3_bind_text(statement, index, value, -1, SQLITE_TRANSIENT);
}

/* Runs a statement after the texts and numbers of `run` are bound by name. */
static void insert(sq_db *db, const char *sql, const fixture_run *run, const char *key)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(sq_db_handle(db), sql, -1, &s, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(sq_db_handle(db)));
    char uuid[40];
    snprintf(uuid, sizeof uuid, "run-%lld", (long long)sqlite3_last_insert_rowid(sq_db_handle(db)));
    double ns = run->ms > 0 ? 1e6 * run->ms : NAN;
    char axis[16] = "", axis_text[16] = "";
    if (run->extra_axis)
        sscanf(run->extra_axis, "%15[^=]=%15s", axis, axis_text);
    const struct {
        const char *name, *value;
    } texts[] = {{":key", key},
                 {":kind", run->kind},
                 {":subject", run->subject},
                 {":provider", run->provider},
                 {":dtype", run->dtype},
                 {":status", run->status},
                 {":reason", run->reason},
                 {":hash", run->kernel_hash},
                 {":axis", axis},
                 {":axis_text", axis_text}};
    const struct {
        const char *name;
        double value;
    } numbers[] = {{":campaign", run->campaign},
                   {":device", run->device},
                   {":replicate", run->replicate},
                   {":attempt", run->attempt},
                   {":b", run->B},
                   {":l", run->L},
                   {":window", run->window},
                   {":ns", ns},
                   {":lo", ns * (1 - run->interval)},
                   {":hi", ns * (1 + run->interval)},
                   {":peak", floor(run->peak_bytes)},
                   {":started", run->started},
                   {":flops", run->flops},
                   {":bytes", run->bytes},
                   {":width", run->width},
                   {":axis_value", atof(axis_text)}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        bind_text(s, texts[i].name, texts[i].value);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        bind(s, numbers[i].name, numbers[i].value);
    if (sqlite3_step(s) != SQLITE_DONE)
        fail_msg("%s: %s", sql, sqlite3_errmsg(sq_db_handle(db)));
    sqlite3_finalize(s);
}

static void set_default(const char **text, const char *value)
{
    *text = *text ? *text : value;
}

static void add_values(sq_db *db, const fixture_run *run, const char *key)
{
    static const char *const sql[] = {
        "INSERT INTO value SELECT max(run_id), 'flops', :flops, 1, NULL, NULL, '', 'ok' FROM run",
        "INSERT INTO value SELECT max(run_id), 'bytes', :bytes, 1, NULL, NULL, '', 'ok' FROM run",
        "INSERT INTO value SELECT max(run_id), 'width', :width, 1, NULL, NULL, '', 'ok' FROM run"};
    const double values[] = {run->flops, run->bytes, run->width};
    for (int i = 0; i < 3; i++)
        if (values[i] > 0)
            insert(db, sql[i], run, key);
}

long fixture_add(sq_db *db, fixture_run run)
{
    set_default(&run.kind, "op");
    set_default(&run.provider, "cuda/portable");
    set_default(&run.dtype, "bf16");
    set_default(&run.status, run.ms > 0 ? "ok" : "error");
    set_default(&run.reason, "");
    set_default(&run.kernel_hash, "k1");
    run.device = run.device ? run.device : 1;
    run.campaign = run.campaign ? run.campaign : 1;
    run.started = run.started > 0 ? run.started : 1700000001;
    char key[900];
    snprintf(key, sizeof key,
             "%s%s@%s/fwd/%s/B=%.0f,L=%.0f,window=%.0f,%s/clean-cold,plain,unlocked",
             strcmp(run.kind, "op") ? "block:" : "", run.subject, run.provider, run.dtype, run.B,
             run.L, run.window, run.extra_axis ? run.extra_axis : "");
    insert(db,
           "INSERT OR IGNORE INTO cell(key, hash, kind, subject, provider, pass, dtype, cache,"
           " launch, clock_mode) VALUES(:key, hex(randomblob(8)), :kind, :subject, :provider,"
           " 'fwd', :dtype, 'clean-cold', 'plain', 'unlocked')",
           &run, key);
    insert(db,
           "INSERT OR IGNORE INTO cell_axis SELECT cell_id, 'B', :b, CAST(:b AS TEXT) FROM cell"
           " WHERE key = :key",
           &run, key);
    insert(db,
           "INSERT OR IGNORE INTO cell_axis SELECT cell_id, 'L', :l, CAST(:l AS TEXT) FROM cell"
           " WHERE key = :key",
           &run, key);
    if (run.window >= 0)
        insert(db,
               "INSERT OR IGNORE INTO cell_axis SELECT cell_id, 'window', :window,"
               " CAST(:window AS TEXT) FROM cell WHERE key = :key",
               &run, key);
    if (run.extra_axis)
        insert(db,
               "INSERT OR IGNORE INTO cell_axis SELECT cell_id, :axis, :axis_value, :axis_text"
               " FROM cell WHERE key = :key",
               &run, key);
    insert(db,
           "INSERT INTO run (run_id, uuid, campaign_id, cell_id, env_id, device_id, replicate,"
           " attempt, status, reason, started, harness_version, kernel_hash, n, median_ns, lo_ns,"
           " hi_ns, min_ns, mad_ns, cycles, sm_mhz, setup_ns, peak_bytes, samples) SELECT NULL, "
           "hex(randomblob(16)), :campaign, cell_id, 1, :device,"
           " :replicate, :attempt, :status, :reason, :started, 1, :hash, 50, :ns, :lo, :hi, :lo,"
           " 0, NULL, 1700, NULL, :peak, NULL FROM cell WHERE key = :key",
           &run, key);
    long id = (long)sqlite3_last_insert_rowid(sq_db_handle(db));
    add_values(db, &run, key);
    return id;
}

static void add_counters(sq_db *db, long run, double dram, double tensor)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "INSERT INTO value VALUES(%ld, 'dram_bytes', %.17g, 1, NULL, 1700, 'p', 'ok'),"
             "(%ld, 'tensor_pipe', %.17g, 1, NULL, 1700, 'p', 'ok')",
             run, dram, run, tensor);
    fixture_exec(db, sql, NULL, NULL);
}

typedef struct {
    const char *kind, *subject;
    double window, base_ms, per_key_ms; /* time of 128k tokens */
    double base_tflop, per_key_tflop, gbytes;
} made_up;

static const made_up subjects[] = {
    {"op", "attention", 0, 0.2, 1.2e-3, 0.05, 5.4e-4, 2.1},
    {"op", "attention", 2048, 0.3, 1.3e-3, 0.05, 5.4e-4, 2.1},
    {"op", "selective_scan", -1, 2.3, 0, 0.08, 0, 4.3},
    {"op", "ssd", -1, 1.6, 0, 0.3, 0, 3.3},
    {"op", "retention", -1, 2.9, 0, 0.5, 0, 3.2},
    {"op", "long_conv", -1, 6.1, 1.5e-5, 0.04, 1e-7, 2.1},
    {"block", "transformer", 0, 9, 1.1e-3, 4.4, 5.4e-4, 6},
    {"block", "mamba", -1, 19, 0, 6.6, 0, 11},
    {"block", "mamba2", -1, 13, 0, 6.9, 0, 8},
    {"block", "hyena", -1, 24, 3e-5, 4.6, 1e-7, 12},
    {"block", "retnet", -1, 16, 0, 5.5, 0, 9},
    {"block", "samba", 2048, 14, 1.1e-3, 5.6, 5.4e-4, 8},
};

/* Times of this store are made up: a floor, and a share for each key seen. */
static void add_subject(sq_db *db, const made_up *s, double L)
{
    double keys = s->window > 0 && L > 2 * s->window ? 2 * s->window : L;
    fixture_run run = {.kind = s->kind,
                       .subject = s->subject,
                       .B = 131072 / L,
                       .L = L,
                       .window = s->window,
                       .width = 2048,
                       .ms = s->base_ms + s->per_key_ms * keys,
                       .interval = L < 2048 ? 0.06 : 0.002,
                       .flops = 1e12 * (s->base_tflop + s->per_key_tflop * keys),
                       .bytes = 1e9 * s->gbytes,
                       .peak_bytes = 1.2e9 * s->gbytes + 3e4 * L};
    if (!strcmp(s->subject, "hyena") && L > 65536) {
        run.ms = 0;
        run.status = "oom";
        run.reason = "needs 83.8 GiB, device has 79.6 GiB";
    }
    if (!strcmp(s->subject, "long_conv"))
        run.provider = "cufft";
    long id = fixture_add(db, run);
    if (run.ms > 0)
        add_counters(db, id, run.bytes * 1.04, strcmp(s->kind, "op") ? 41.5 : 12.25);
    if (strcmp(s->kind, "op") || !strcmp(s->subject, "long_conv"))
        return;
    run.provider = "cuda/naive";
    run.ms *= 6 + 3 * (s->window > 0);
    fixture_add(db, run);
}

void fixture_full(sq_db *db)
{
    fixture_exec(db,
                 "INSERT INTO ceiling(device_id, env_id, campaign_id, name, unit, value, lo, hi) "
                 "VALUES(1, 1, 1, 'copy_gbytes_per_s', 'GB/s', 2950, 2940, 2960),"
                 "(1, 1, 1, 'gemm_bf16_tflops', 'TFLOP/s', 660, 655, 665),"
                 "(1, 1, 1, 'gemm_f32_tflops', 'TFLOP/s', 52, 51.5, 52.5)",
                 NULL, NULL);
    for (int k = 9; k <= 17; k++)
        for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
            add_subject(db, &subjects[i], ldexp(1, k));
    for (int k = 0; k < 3; k++)
        fixture_add(db, (fixture_run){.subject = "attention",
                                      .provider = "cuda/native",
                                      .B = 1,
                                      .L = ldexp(1, 10 + k),
                                      .status = "unsupported",
                                      .reason = "head dim 192 is more than 128"});
    fixture_add(db, (fixture_run){.subject = "ssd",
                                  .B = 1,
                                  .L = 7,
                                  .window = -1,
                                  .status = "mismatch",
                                  .reason = "y: rel_l2 0.31 > 0.01"});
}

char *fixture_read(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s is not there", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(1, size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, size, file), size);
    fclose(file);
    return text;
}

int fixture_has_file(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

void fixture_expect(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is missing in:\n%s", part, text);
}

void fixture_expect_not(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" must not be there", part);
}
