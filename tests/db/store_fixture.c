/* store_fixture: see the header. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "store_fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

sq_error last_error;

void must_at(sq_status status, const sq_error *err, const char *what, const char *file, int line)
{
    if (status == SQ_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, err->message);
    _fail(file, line);
}

void assert_says_at(const char *part, const char *file, int line)
{
    if (strstr(last_error.message, part))
        return;
    fprintf(stderr, "\"%s\" is not in: %s\n", part, last_error.message);
    _fail(file, line);
}

/* --- files --- */

void make_folder(char folder[PATH_BYTES])
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, PATH_BYTES, "%s/seqmark-db-XXXXXX", base && base[0] ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chmod(folder, 0777), 0);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

void remove_folder(const char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void join(char out[PATH_BYTES], const char *folder, const char *name)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    assert_in_range(n, 1, PATH_BYTES - 1);
}

bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The bytes of a file; the caller frees them. NULL where there is none. */
static char *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *data = malloc((size_t)size + 1);
    assert_non_null(data);
    *bytes = fread(data, 1, (size_t)size, file);
    assert_int_equal(*bytes, size);
    fclose(file);
    return data;
}

/* FNV-1a over the bytes and the length. */
void hash_file(const char *path, char out[SQ_HASH_TEXT])
{
    size_t bytes = 0;
    char *data = read_file(path, &bytes);
    if (!data) {
        snprintf(out, SQ_HASH_TEXT, "absent");
        return;
    }
    uint64_t hash = 0xcbf29ce484222325u ^ bytes;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (unsigned char)data[i]) * 0x100000001b3u;
    snprintf(out, SQ_HASH_TEXT, "%016llx", (unsigned long long)hash);
    free(data);
}

void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

void copy_file(const char *from, const char *to)
{
    size_t bytes = 0;
    char *data = read_file(from, &bytes);
    assert_non_null(data);
    write_file(to, data, bytes);
    free(data);
}

/* --- records --- */

static const char *const modes[] = {"none", "rope", NULL};
static const sq_axis axes[] = {
    {.name = "B", .flag = "batch", .kind = SQ_AXIS_INT, .def = 2, .min = 1, .max = 1e9},
    {.name = "L", .flag = "seqlen", .kind = SQ_AXIS_INT, .def = 64, .min = 1, .max = 1e12},
    {.name = "pos", .flag = "pos", .kind = SQ_AXIS_CHOICE, .def = 1, .max = 1, .choices = modes},
    {.name = NULL},
};

const sq_metric_def demo_metrics[] = {
    {"flops", "flop", "", "cost", "compulsory floating-point operations"},
    {"bytes", "B", "", "cost", "compulsory traffic"},
    {NULL, NULL, NULL, NULL, NULL},
};

sq_device demo_device(void)
{
    return (sq_device){.backend = "cpu",
                       .uuid = "cpu-demo",
                       .name = "Demo",
                       .arch = "x86_64",
                       .sm_count = 4,
                       .memory_bytes = 1 << 30,
                       .l2_bytes = -1,
                       .max_sm_mhz = NAN,
                       .max_memory_mhz = NAN,
                       .memory_bus_bits = NAN};
}

sq_environment demo_environment(void)
{
    return (sq_environment){.fingerprint = "00112233aabbccdd",
                            .compiler = "gcc 12",
                            .host = "demo",
                            .os = "Debian",
                            .power_limit_w = NAN};
}

sq_campaign demo_campaign(const char *plan_hash, const char *label, double started)
{
    sq_campaign campaign = {.suite = "quick",
                            .argv = "seqmark run",
                            .version = "0.1.0",
                            .seed = UINT64_MAX - 1,
                            .planned = 7,
                            .started = started};
    must(sq_uuid_new(campaign.uuid, &last_error));
    snprintf(campaign.plan_hash, sizeof campaign.plan_hash, "%s", plan_hash);
    snprintf(campaign.label, sizeof campaign.label, "%s", label);
    return campaign;
}

sq_cell demo_cell(double length)
{
    sq_cell cell = {.kind = SQ_KIND_OP,
                    .subject = "demo",
                    .provider = "cpu/ref",
                    .pass = SQ_PASS_FWD,
                    .dtype = SQ_DTYPE_F32,
                    .axes = axes};
    sq_axis_defaults(axes, cell.value);
    cell.value[1] = length;
    return cell;
}

static void add_parts(sq_record *record)
{
    const sq_check checks[DEMO_CHECKS] = {
        {.tensor = "y",
         .rel_l2 = 1e-6,
         .max_abs = 1e-5,
         .tolerance_rel_l2 = 1e-3,
         .tolerance_max_abs = 1e-2,
         .slice = ""},
        {.tensor = "state",
         .rel_l2 = INFINITY,
         .max_abs = INFINITY,
         .tolerance_rel_l2 = 1e-3,
         .tolerance_max_abs = 1e-2,
         .slice = "b=0"},
    };
    const sq_value refused = {.metric = "dram_bytes",
                              .value = NAN,
                              .n = 0,
                              .spread = NAN,
                              .sm_mhz = NAN,
                              .validity = "refused: not permitted"};
    const sq_kernel_record kernel = {.name = "demo_kernel<float>",
                                         .symbol = "_Z11demo_kernelIfEvv",
                                     .ns = 1234,
                                     .grid = {8, 2, 1},
                                     .block = {128, 1, 1},
                                     .registers = 40,
                                     .shared_bytes = 1024};
    for (int i = 0; i < DEMO_CHECKS; i++)
        assert_int_equal(sq_record_add_check(record, &checks[i]), SQ_OK);
    assert_int_equal(sq_record_add_number(record, "flops", 1e9), SQ_OK);
    assert_int_equal(sq_record_add_number(record, "bytes", 2e6), SQ_OK);
    assert_int_equal(sq_record_add_value(record, &refused), SQ_OK);
    for (int i = 0; i < DEMO_KERNELS; i++)
        assert_int_equal(sq_record_add_kernel(record, &kernel), SQ_OK);
}

sq_record demo_record(const sq_cell *cell, int replicate, int attempt, sq_run_status status, int n)
{
    sq_record record;
    sq_record_init(&record, cell);
    must(sq_uuid_new(record.uuid, &last_error));
    record.replicate = replicate;
    record.attempt = attempt;
    record.status = status;
    record.started = 1000.5;
    add_parts(&record);
    if (status != SQ_RUN_OK) {
        snprintf(record.reason, sizeof record.reason, "because");
        return record;
    }
    int32_t *samples = malloc(sizeof *samples * (size_t)n);
    assert_non_null(samples);
    for (int i = 0; i < n; i++)
        samples[i] = 100000 + 7 * i;
    assert_int_equal(sq_record_set_samples(&record, samples, n), SQ_OK);
    free(samples);
    return record;
}

/* --- the store --- */

sq_db *must_open(const char *path, sq_db_mode mode)
{
    sq_db *db;
    must(sq_db_open(path, mode, &db, &last_error));
    return db;
}

void must_begin(sq_db *db, const sq_campaign *campaign)
{
    sq_sink sink = sq_db_sink(db);
    sq_environment environment = demo_environment();
    sq_device device = demo_device();
    must(sink.begin(sink.self, campaign, &environment, &device, demo_metrics, &last_error));
}

void must_put(sq_db *db, const sq_cell *cell, int replicate, int attempt, sq_run_status status,
              double started)
{
    sq_sink sink = sq_db_sink(db);
    sq_record record = demo_record(cell, replicate, attempt, status, 20);
    record.started = started;
    sq_status put = sink.run(sink.self, &record, &last_error);
    sq_record_free(&record);
    must(put);
}

void must_finish(sq_db *db, const char *state)
{
    sq_sink sink = sq_db_sink(db);
    must(sink.finish(sink.self, state, &last_error));
}

int64_t get_int(sq_db *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(sq_db_handle(db), sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW) {
        sqlite3_finalize(stmt);
        fail_msg("%s: %s", sql, sqlite3_errmsg(sq_db_handle(db)));
    }
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

void must_be_whole(sq_db *db)
{
    char sql[400];
    assert_int_equal(get_int(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM run r WHERE "
             "(SELECT count(*) FROM check_result x WHERE x.run_id = r.run_id) <> %d OR "
             "(SELECT count(*) FROM value x WHERE x.run_id = r.run_id) <> %d OR "
             "(SELECT count(*) FROM kernel x WHERE x.run_id = r.run_id) <> %d OR "
             "(SELECT count(*) FROM cell_axis x WHERE x.cell_id = r.cell_id) <> %d",
             DEMO_CHECKS, DEMO_VALUES, DEMO_KERNELS, DEMO_AXES);
    assert_int_equal(get_int(db, sql), 0);
}
