/* compare_read: the runs of one side, from the store. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/compared.h"
#include "reports/query.h"

/* Columns of compare.sql. */
enum {
    COL_TOTAL,
    COL_KEY,
    COL_SHAPE,
    COL_SUBJECT,
    COL_PROVIDER,
    COL_PASS,
    COL_DTYPE,
    COL_NS,
    COL_CYCLES,
    COL_SAMPLES,
    COL_STATUS,
    COL_REASON,
    COL_WIDTH,
    COL_BYTES,
    COL_MATRIX_FLOPS,
    COL_KERNEL_HASH,
    COL_DEVICE,
    COL_DEVICE_UUID,
    COL_POWER_LIMIT,
    COL_DEVICE_ID,
    COL_SEED
};

/* Where the next run goes. */
typedef struct {
    sq_side_runs *side;
    const sq_compare_options *options;
    bool is_kept; /* the cell of the latest row */
    char key[SQ_KEY_MAX];
    int n_runs;
    int64_t device_id;
} reading;

static void begin_cell(reading *r, sqlite3_stmt *row, int total)
{
    sq_side_runs *side = r->side;
    sq_cell_runs *cell = &side->cell[side->n_cells++];
    sq_query_copy(row, COL_KEY, cell->key, sizeof cell->key);
    sq_query_copy(row, COL_SHAPE, cell->shape, sizeof cell->shape);
    sq_joining_key(cell->key, r->options->across, cell->join);
    sq_query_copy(row, COL_SUBJECT, cell->subject, sizeof cell->subject);
    sq_query_copy(row, COL_PROVIDER, cell->provider, sizeof cell->provider);
    sq_query_copy(row, COL_PASS, cell->pass, sizeof cell->pass);
    sq_query_copy(row, COL_DTYPE, cell->dtype, sizeof cell->dtype);
    cell->bytes = cell->matrix_flops = NAN;
    cell->ns = side->numbers + r->n_runs;
    cell->cycles = side->numbers + total + r->n_runs;
    cell->samples = side->samples + r->n_runs;
}

/* A copy of the samples of a row, empty where there are none. */
static sq_status copy_samples(sqlite3_stmt *row, sq_run_samples *out, sq_error *err)
{
    const void *blob = sqlite3_column_blob(row, COL_SAMPLES);
    int n = sqlite3_column_bytes(row, COL_SAMPLES) / 4;
    int32_t *sample = n ? malloc((size_t)n * sizeof *sample) : NULL;
    *out = (sq_run_samples){NULL, 0};
    if (n && !sample)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the samples");
    for (int i = 0; i < n; i++)
        sample[i] = sq_db_sample(blob, i);
    *out = (sq_run_samples){sample, n};
    return SQ_OK;
}

static double known_or(double value, double fallback)
{
    return isnan(value) ? fallback : value;
}

static sq_status add_run(reading *r, sqlite3_stmt *row, sq_error *err)
{
    sq_side_runs *side = r->side;
    sq_cell_runs *cell = &side->cell[side->n_cells - 1];
    double ns = sq_query_number(row, COL_NS), cycles = sq_query_number(row, COL_CYCLES);
    if (!(ns > 0)) {
        snprintf(cell->reason, sizeof cell->reason, "%.15s: %s", sq_query_text(row, COL_STATUS),
                 sq_query_text(row, COL_REASON));
        return SQ_OK;
    }
    if (side->n_timed++ == 0) {
        sq_query_copy(row, COL_DEVICE, side->device, sizeof side->device);
        sq_query_copy(row, COL_DEVICE_UUID, side->device_uuid, sizeof side->device_uuid);
        sq_query_copy(row, COL_POWER_LIMIT, side->power_limit, sizeof side->power_limit);
        side->seed = strtoull(sq_query_text(row, COL_SEED), NULL, 10);
        r->device_id = sqlite3_column_int64(row, COL_DEVICE_ID);
    }
    sq_query_copy(row, COL_KERNEL_HASH, cell->kernel_hash, sizeof cell->kernel_hash);
    cell->bytes = known_or(sq_query_number(row, COL_BYTES), cell->bytes);
    cell->matrix_flops = known_or(sq_query_number(row, COL_MATRIX_FLOPS), cell->matrix_flops);
    cell->ns[cell->n] = ns;
    cell->cycles[cell->n] = cycles > 0 ? cycles : NAN;
    SQ_TRY(copy_samples(row, &cell->samples[cell->n], err));
    cell->n++;
    r->n_runs++;
    return SQ_OK;
}

/* As many cells and runs as there are rows: each has at most its own. */
static sq_status make_room(sq_side_runs *side, int total, sq_error *err)
{
    side->cell = calloc((size_t)total, sizeof *side->cell);
    side->numbers = calloc((size_t)total, 2 * sizeof *side->numbers);
    side->samples = calloc((size_t)total, sizeof *side->samples);
    if (!side->cell || !side->numbers || !side->samples)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the runs of a side");
    return SQ_OK;
}

static sq_status take_row(reading *r, sqlite3_stmt *row, sq_error *err)
{
    const char *key = sq_query_text(row, COL_KEY);
    int total = sqlite3_column_int(row, COL_TOTAL);
    if (!r->side->cell)
        SQ_TRY(make_room(r->side, total, err));
    if (strcmp(key, r->key) != 0) {
        sq_query_copy(row, COL_KEY, r->key, sizeof r->key);
        r->is_kept = true;
        if (r->options->keeps)
            SQ_TRY(r->options->keeps(r->options->self, key, sq_query_number(row, COL_WIDTH),
                                     &r->is_kept, err));
        if (r->is_kept)
            begin_cell(r, row, total);
    }
    return r->is_kept ? add_run(r, row, err) : SQ_OK;
}

static sq_status read_runs(const sq_scope *scope, const sq_side *side, reading *r, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    SQ_TRY(sq_query_plain(scope, sq_figure_compare_sql, &row, err));
    sqlite3_bind_int(row, 2, side->replicates);
    bool has_row = true;
    sq_status status = SQ_OK;
    while (has_row && (status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row &&
           (status = take_row(r, row, err)) == SQ_OK)
        ;
    sqlite3_finalize(row);
    return status;
}

sq_status sq_side_read(sq_db *db, const sq_side *side, const sq_compare_options *options,
                       sq_side_runs *out, sq_error *err)
{
    const sq_scope scope = {db, side->campaign};
    *out = (sq_side_runs){.n_cells = 0};
    reading r = {.side = out, .options = options};
    SQ_TRY(read_runs(&scope, side, &r, err));
    if (out->n_timed == 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s has no run with a time%s%s", side->name,
                       side->replicates == SQ_ALL_RUNS ? "" : " in these replicates",
                       options->keeps ? " that the filter keeps" : "");
    return sq_roofs_read(&scope, r.device_id, &out->roofs, err);
}

void sq_side_free(sq_side_runs *side)
{
    for (int i = 0; i < side->n_cells; i++)
        for (int k = 0; k < side->cell[i].n; k++)
            free((int32_t *)side->cell[i].samples[k].ns);
    free(side->cell);
    free(side->numbers);
    free(side->samples);
    *side = (sq_side_runs){0};
}
