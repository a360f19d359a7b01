/* sink: records become rows. One transaction a run: it is stored with all of its parts or not at
 * all. */
#include "db/db.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "db/store.h"

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* --- begin --- */

static sq_status put_metrics(sq_db *db, const sq_metric_def *metrics, sq_error *err)
{
    for (const sq_metric_def *metric = metrics; metric && metric->name; metric++) {
        sq_row row = sq_row_new(db, SQ_SQL_PUT_METRIC);
        sq_row_text(&row, metric->name);
        sq_row_text(&row, metric->unit);
        sq_row_text(&row, metric->better);
        sq_row_text(&row, metric->source);
        sq_row_text(&row, metric->doc);
        SQ_TRY(sq_row_run(&row, NULL, err));
    }
    return SQ_OK;
}

static sq_status put_device(sq_db *db, const sq_device *device, sq_error *err)
{
    if (!device->uuid[0]) /* all nameless devices would become one row */
        return sq_fail(err, SQ_BAD_ARGUMENT, "device \"%s\" has no uuid", device->name);
    sq_row row = sq_row_new(db, SQ_SQL_PUT_DEVICE);
    sq_row_text(&row, device->uuid);
    sq_row_text(&row, device->backend);
    sq_row_text(&row, device->name);
    sq_row_text(&row, device->arch);
    sq_row_text(&row, device->pci);
    sq_row_count(&row, device->sm_count);
    sq_row_count(&row, device->memory_bytes);
    sq_row_count(&row, device->l2_bytes);
    sq_row_real(&row, device->max_sm_mhz);
    sq_row_real(&row, device->max_memory_mhz);
    sq_row_real(&row, device->memory_bus_bits);
    return sq_row_run(&row, &db->device_id, err);
}

static sq_status put_environment(sq_db *db, const sq_environment *environment, sq_error *err)
{
    const char *const texts[] = {
        environment->fingerprint, environment->driver, environment->toolkit, environment->cublas,
        environment->cufft,       environment->cudnn,  environment->cupti,   environment->compiler,
        environment->flags,       environment->host,   environment->kernel,  environment->os,
        environment->cpu,         environment->ecc,    environment->mig,
    };
    sq_row row = sq_row_new(db, SQ_SQL_PUT_ENVIRONMENT);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        sq_row_text(&row, texts[i]);
    sq_row_real(&row, environment->power_limit_w);
    return sq_row_run(&row, &db->env_id, err);
}

static sq_status put_campaign(sq_db *db, const sq_campaign *campaign, sq_error *err)
{
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, campaign->seed);
    sq_row row = sq_row_new(db, SQ_SQL_PUT_CAMPAIGN);
    sq_row_text(&row, campaign->uuid);
    sq_row_text(&row, campaign->suite);
    sq_row_text(&row, campaign->label);
    sq_row_text(&row, campaign->plan_hash);
    sq_row_text(&row, campaign->argv);
    sq_row_text(&row, campaign->version);
    sq_row_text(&row, campaign->git_commit);
    sq_row_int(&row, campaign->git_dirty);
    sq_row_text(&row, seed);
    sq_row_int(&row, campaign->planned);
    sq_row_int(&row, db->env_id);
    sq_row_int(&row, db->device_id);
    sq_row_real(&row, campaign->started);
    sq_row_text(&row, campaign->policy ? campaign->policy : "");
    return sq_row_run(&row, &db->campaign_id, err);
}

static sq_status continue_campaign(sq_db *db, sq_error *err)
{
    sq_row row = sq_row_new(db, SQ_SQL_CONTINUE_CAMPAIGN);
    sq_row_text(&row, db->resume_uuid);
    SQ_TRY(sq_row_run(&row, &db->campaign_id, err));
    if (!db->campaign_id)
        return sq_fail(err, SQ_STORE, "%s: campaign %s is gone", db->path, db->resume_uuid);
    return SQ_OK;
}

/* Device and environment are stored for a resumed campaign too: its new runs may have another one.
 */
static sq_status put_beginning(sq_db *db, const sq_campaign *campaign,
                               const sq_environment *environment, const sq_device *device,
                               const sq_metric_def *metrics, sq_error *err)
{
    SQ_TRY(put_metrics(db, metrics, err));
    SQ_TRY(put_device(db, device, err));
    SQ_TRY(put_environment(db, environment, err));
    return db->resume_uuid[0] ? continue_campaign(db, err) : put_campaign(db, campaign, err);
}

/* The switch needs the store alone, and a report or history of a large one reads for some seconds. */
static sq_status open_log(sq_db *db, sq_error *err)
{
    sqlite3_busy_timeout(db->handle, SQ_DB_READER_MS);
    sq_status status = sq_db_exec(db, "PRAGMA journal_mode = WAL", "beginning a campaign", err);
    sqlite3_busy_timeout(db->handle, SQ_DB_BUSY_MS);
    return status;
}

static sq_status begin(void *self, const sq_campaign *campaign, const sq_environment *environment,
                       const sq_device *device, const sq_metric_def *metrics, sq_error *err)
{
    sq_db *db = self;
    if (!db->is_writer)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: not opened for writing", db->path);
    /* Readers go on while a campaign writes. A file system without shared memory keeps the rollback
     * journal, which is as safe. */
    SQ_TRY(open_log(db, err));
    SQ_TRY(sq_db_begin(db, err));
    sq_status status =
        sq_db_end(db, put_beginning(db, campaign, environment, device, metrics, err), err);
    if (status != SQ_OK)
        db->campaign_id = 0;
    return status;
}

static sq_status need_campaign(const sq_db *db, sq_error *err)
{
    if (db->campaign_id)
        return SQ_OK;
    return sq_fail(err, SQ_INTERNAL, "%s: no campaign was begun", db->path);
}

/* --- run --- */

static sq_status put_axes(sq_db *db, int64_t cell_id, const sq_cell *cell, sq_error *err)
{
    for (int i = 0; i < sq_axis_count(cell->axes); i++) {
        char text[SQ_NAME_MAX];
        sq_axis_format(&cell->axes[i], cell->value[i], text, sizeof text);
        sq_row row = sq_row_new(db, SQ_SQL_PUT_AXIS);
        sq_row_int(&row, cell_id);
        sq_row_text(&row, cell->axes[i].name);
        sq_row_real(&row, cell->value[i]);
        sq_row_text(&row, text);
        SQ_TRY(sq_row_run(&row, NULL, err));
    }
    return SQ_OK;
}

static sq_status put_cell(sq_db *db, const sq_cell *cell, int64_t *cell_id, sq_error *err)
{
    char key[SQ_KEY_MAX], hash[SQ_HASH_TEXT], clock[SQ_CLOCK_TEXT];
    sq_cell_key(cell, key);
    sq_hash_text(key, hash);
    sq_clock_format(cell->clock, clock);
    sq_row row = sq_row_new(db, SQ_SQL_FIND_CELL);
    sq_row_text(&row, key);
    SQ_TRY(sq_row_run(&row, cell_id, err));
    if (*cell_id)
        return SQ_OK;
    row = sq_row_new(db, SQ_SQL_PUT_CELL);
    sq_row_text(&row, key);
    sq_row_text(&row, hash);
    sq_row_text(&row, sq_kind_name(cell->kind));
    sq_row_text(&row, cell->subject);
    sq_row_text(&row, cell->provider);
    sq_row_text(&row, sq_pass_name(cell->pass));
    sq_row_text(&row, sq_dtype_name(cell->dtype));
    sq_row_text(&row, sq_cache_name(cell->cache));
    sq_row_text(&row, sq_launch_name(cell->launch));
    sq_row_text(&row, clock);
    SQ_TRY(sq_row_run(&row, cell_id, err));
    return put_axes(db, *cell_id, cell, err);
}

/* samples as they are stored on any machine: little-endian, 4 bytes each. NULL: out of memory. */
static unsigned char *pack_samples(const int32_t *samples, int n)
{
    unsigned char *bytes = malloc((size_t)n * 4);
    for (int i = 0; bytes && i < n; i++) {
        uint32_t sample = (uint32_t)samples[i];
        for (int k = 0; k < 4; k++)
            bytes[4 * (size_t)i + k] = (unsigned char)(sample >> (8 * k));
    }
    return bytes;
}

int32_t sq_db_sample(const void *blob, int i)
{
    const unsigned char *b = (const unsigned char *)blob + 4 * (size_t)i;
    return (int32_t)((uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
                     (uint32_t)b[3] << 24);
}

static void bind_stats(sq_row *row, const sq_record *record)
{
    const double stats[] = {record->stats.median, record->stats.lo, record->stats.hi,
                            record->stats.min, record->stats.mad};
    for (size_t i = 0; i < sizeof stats / sizeof *stats; i++)
        sq_row_real(row, record->n_samples > 0 ? stats[i] : (double)NAN);
}

static sq_status put_run(sq_db *db, const sq_record *record, int64_t cell_id, int64_t *run_id,
                         sq_error *err)
{
    unsigned char *samples = NULL;
    if (record->n_samples > 0) {
        samples = pack_samples(record->samples, record->n_samples);
        if (!samples)
            return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: out of memory", db->path);
    }
    sq_row row = sq_row_new(db, SQ_SQL_PUT_RUN);
    sq_row_text(&row, record->uuid);
    sq_row_int(&row, db->campaign_id);
    sq_row_int(&row, cell_id);
    sq_row_int(&row, db->env_id);
    sq_row_int(&row, db->device_id);
    sq_row_int(&row, record->replicate);
    sq_row_int(&row, record->attempt);
    sq_row_text(&row, sq_run_status_name(record->status));
    sq_row_text(&row, record->reason);
    sq_row_real(&row, record->started);
    sq_row_int(&row, SQ_HARNESS_VERSION);
    sq_row_text(&row, record->kernel_hash);
    sq_row_int(&row, record->n_samples);
    bind_stats(&row, record);
    sq_row_real(&row, record->cycles);
    sq_row_real(&row, record->sm_mhz);
    sq_row_real(&row, record->setup_ns);
    sq_row_count(&row, record->peak_bytes);
    sq_row_blob(&row, samples, (size_t)record->n_samples * 4);
    sq_row_text(&row, record->versions);
    sq_row_text(&row, record->checksum);
    sq_status status = sq_row_run(&row, run_id, err);
    free(samples);
    return status;
}

static sq_status put_check(sq_db *db, int64_t run_id, const sq_check *check, sq_error *err)
{
    sq_row row = sq_row_new(db, SQ_SQL_PUT_CHECK);
    sq_row_int(&row, run_id);
    sq_row_text(&row, check->tensor);
    sq_row_real(&row, check->rel_l2);
    sq_row_real(&row, check->max_abs);
    sq_row_real(&row, check->tolerance_rel_l2);
    sq_row_real(&row, check->tolerance_max_abs);
    sq_row_text(&row, check->slice);
    return sq_row_run(&row, NULL, err);
}

static sq_status put_value(sq_db *db, int64_t run_id, const sq_value *value, sq_error *err)
{
    sq_row row = sq_row_new(db, SQ_SQL_PUT_VALUE);
    sq_row_int(&row, run_id);
    sq_row_text(&row, value->metric);
    sq_row_real(&row, value->value);
    sq_row_int(&row, value->n);
    sq_row_real(&row, value->spread);
    sq_row_real(&row, value->sm_mhz);
    sq_row_text(&row, value->validity);
    return sq_row_run(&row, NULL, err);
}

static sq_status put_kernel(sq_db *db, int64_t run_id, int i, const sq_kernel_record *kernel,
                            sq_error *err)
{
    char grid[40], block[40];
    snprintf(grid, sizeof grid, "%" PRId32 "x%" PRId32 "x%" PRId32, kernel->grid[0],
             kernel->grid[1], kernel->grid[2]);
    snprintf(block, sizeof block, "%" PRId32 "x%" PRId32 "x%" PRId32, kernel->block[0],
             kernel->block[1], kernel->block[2]);
    sq_row row = sq_row_new(db, SQ_SQL_PUT_KERNEL);
    sq_row_int(&row, run_id);
    sq_row_int(&row, i);
    sq_row_text(&row, kernel->name);
    sq_row_int(&row, kernel->ns);
    sq_row_text(&row, grid);
    sq_row_text(&row, block);
    sq_row_int(&row, kernel->registers);
    sq_row_int(&row, kernel->shared_bytes);
    sq_row_text(&row, kernel->symbol);
    return sq_row_run(&row, NULL, err);
}

static sq_status put_record(sq_db *db, const sq_record *record, sq_error *err)
{
    int64_t cell_id, run_id;
    SQ_TRY(put_cell(db, &record->cell, &cell_id, err));
    SQ_TRY(put_run(db, record, cell_id, &run_id, err));
    for (int i = 0; i < record->n_checks; i++)
        SQ_TRY(put_check(db, run_id, &record->checks[i], err));
    for (int i = 0; i < record->n_values; i++)
        SQ_TRY(put_value(db, run_id, &record->values[i], err));
    for (int i = 0; i < record->n_kernels; i++)
        SQ_TRY(put_kernel(db, run_id, i, &record->kernels[i], err));
    return SQ_OK;
}

static sq_status run(void *self, const sq_record *record, sq_error *err)
{
    sq_db *db = self;
    SQ_TRY(need_campaign(db, err));
    SQ_TRY(sq_db_begin(db, err));
    return sq_db_end(db, put_record(db, record, err), err);
}

/* --- the rest --- */

static sq_status put_ceiling(void *self, const sq_ceiling *ceiling, sq_error *err)
{
    sq_db *db = self;
    SQ_TRY(need_campaign(db, err));
    sq_row row = sq_row_new(db, SQ_SQL_PUT_CEILING);
    sq_row_int(&row, db->device_id);
    sq_row_int(&row, db->env_id);
    sq_row_int(&row, db->campaign_id);
    sq_row_text(&row, ceiling->name);
    sq_row_text(&row, ceiling->unit);
    sq_row_real(&row, ceiling->value);
    sq_row_real(&row, ceiling->lo);
    sq_row_real(&row, ceiling->hi);
    sq_row_real(&row, ceiling->sm_mhz);
    return sq_row_run(&row, NULL, err);
}

static sq_status finish(void *self, const char *state, sq_error *err)
{
    sq_db *db = self;
    SQ_TRY(need_campaign(db, err));
    sq_row row = sq_row_new(db, SQ_SQL_FINISH_CAMPAIGN);
    sq_row_int(&row, db->campaign_id);
    sq_row_text(&row, state);
    sq_row_real(&row, now_s());
    SQ_TRY(sq_row_run(&row, NULL, err));
    db->campaign_id = 0;
    db->resume_uuid[0] = '\0';
    sq_db_make_whole(db);
    return SQ_OK;
}

sq_sink sq_db_sink(sq_db *db)
{
    return (sq_sink){
        .self = db, .begin = begin, .run = run, .ceiling = put_ceiling, .finish = finish};
}

sq_status sq_db_resume(sq_db *db, const char *uuid, sq_error *err)
{
    int64_t id;
    sq_row row = sq_row_new(db, SQ_SQL_FIND_CAMPAIGN);
    sq_row_text(&row, uuid);
    SQ_TRY(sq_row_run(&row, &id, err));
    if (!id)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: no campaign %s to resume", db->path, uuid);
    snprintf(db->resume_uuid, sizeof db->resume_uuid, "%s", uuid);
    return SQ_OK;
}
