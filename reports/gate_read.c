/* gate_read: the runs of one campaign, in three passes over the store in its own order. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/stats.h"
#include "reports/gated.h"

/* Newest attempts come last. */
static const char runs_sql[] =
    "SELECT r.cell_id, k.key, k.dtype, r.replicate, r.status, r.reason, r.median_ns, r.cycles, "
    "r.setup_ns, r.peak_bytes, r.kernel_hash, r.harness_version, r.device_id "
    "FROM run r JOIN cell k ON k.cell_id = r.cell_id "
    "WHERE r.campaign_id = (SELECT campaign_id FROM campaign WHERE uuid = ?1) "
    "ORDER BY r.cell_id, r.replicate, r.attempt";
enum {
    COL_CELL,
    COL_KEY,
    COL_DTYPE,
    COL_REPLICATE,
    COL_STATUS,
    COL_REASON,
    COL_NS,
    COL_CYCLES,
    COL_SETUP,
    COL_PEAK,
    COL_HASH,
    COL_HARNESS,
    COL_DEVICE
};

/* What is known of the first replicate alone. */
static const char values_sql[] =
    "SELECT r.cell_id, v.metric, v.value, 0 FROM run r JOIN value v ON v.run_id = r.run_id "
    "WHERE r.campaign_id = (SELECT campaign_id FROM campaign WHERE uuid = ?1) "
    "AND r.replicate = 0 AND v.value IS NOT NULL AND v.metric IN "
    "('bytes', 'matrix_flops', 'sentinel') "
    "ORDER BY r.cell_id, r.attempt";
static const char dram_sql[] =
    "SELECT r.cell_id, 'dram_bytes', sum(v.value), sum(v.value * coalesce(v.spread, 0)) "
    "FROM run r JOIN value v ON v.run_id = r.run_id "
    "WHERE r.campaign_id = (SELECT campaign_id FROM campaign WHERE uuid = ?1) "
    "AND v.value IS NOT NULL AND v.metric IN ('dram_bytes_read', 'dram_bytes_written') "
    "GROUP BY r.cell_id, r.replicate, r.attempt HAVING count(*) = 2 "
    "ORDER BY r.cell_id, r.replicate, r.attempt";
static const char registers_sql[] =
    "SELECT r.cell_id, 'registers', max(q.registers), 0 FROM run r JOIN kernel q ON q.run_id = "
    "r.run_id WHERE r.campaign_id = (SELECT campaign_id FROM campaign WHERE uuid = ?1) "
    "AND r.replicate = 0 GROUP BY r.cell_id ORDER BY r.cell_id";
static const char head_sql[] =
    "SELECT suite, label, uuid, (SELECT count(*) FROM run r WHERE r.campaign_id = c.campaign_id), "
    "(SELECT count(DISTINCT r.cell_id) FROM run r WHERE r.campaign_id = c.campaign_id), "
    "CASE c.policy WHEN '' THEN NULL ELSE json_extract(c.policy, '$.max_inconclusive') END "
    "FROM campaign c WHERE uuid = ?1";
static const char others_sql[] =
    "SELECT count(*), coalesce(sum(v.value > 0), 0) FROM run r JOIN value v ON v.run_id = r.run_id "
    "AND v.metric = 'gpu_processes' AND v.value IS NOT NULL "
    "WHERE r.campaign_id = (SELECT campaign_id FROM campaign WHERE uuid = ?1)";

typedef struct {
    sq_gate_side *side;
    int n_runs;         /* behind the room that is taken */
    int last_replicate; /* of the cell in hand */
    bool last_is_timed;
    double *numbers;
    int *integers;
    sq_run_status *statuses;
    int total;
} reading;

static sq_gate_cell *begin_cell(reading *r, sqlite3_stmt *row)
{
    sq_gate_cell *cell = &r->side->cell[r->side->n_cells++];
    *cell = (sq_gate_cell){.cell_id = sqlite3_column_int64(row, COL_CELL),
                           .status = r->statuses + r->n_runs,
                           .replicate = r->integers + r->n_runs,
                           .ns = r->numbers + r->n_runs,
                           .cycles = r->numbers + r->total + r->n_runs,
                           .setup = r->numbers + 2 * (size_t)r->total + r->n_runs,
                           .peak_bytes = NAN,
                           .dram_least = NAN,
                           .dram_most = NAN,
                           .registers = NAN,
                           .bytes = NAN,
                           .matrix_flops = NAN};
    sq_query_copy(row, COL_KEY, cell->key, sizeof cell->key);
    sq_query_copy(row, COL_DTYPE, cell->dtype, sizeof cell->dtype);
    r->last_replicate = -1;
    return cell;
}

static bool has_time(sq_run_status status)
{
    return status == SQ_RUN_OK || status == SQ_RUN_NOISY;
}

static double positive(sqlite3_stmt *row, int column)
{
    double value = sq_query_number(row, column);
    return value > 0 ? value : NAN;
}

static void add_time(sq_gate_cell *cell, sqlite3_stmt *row)
{
    int i = cell->n_timed++;
    double peak = positive(row, COL_PEAK);
    cell->replicate[i] = sqlite3_column_int(row, COL_REPLICATE);
    cell->ns[i] = positive(row, COL_NS);
    cell->cycles[i] = positive(row, COL_CYCLES);
    cell->setup[i] = positive(row, COL_SETUP);
    cell->peak_bytes = isnan(cell->peak_bytes) ? peak : fmax(cell->peak_bytes, peak);
    cell->harness = sqlite3_column_int(row, COL_HARNESS);
    sq_query_copy(row, COL_HASH, cell->kernel_hash, sizeof cell->kernel_hash);
}

static sq_status take_run(reading *r, sqlite3_stmt *row, sq_error *err)
{
    sq_gate_side *side = r->side;
    sq_gate_cell *cell = side->n_cells ? &side->cell[side->n_cells - 1] : NULL;
    sq_run_status status;
    int replicate = sqlite3_column_int(row, COL_REPLICATE);
    SQ_TRY(sq_run_status_parse(sq_query_text(row, COL_STATUS), &status, err));
    if (!cell || cell->cell_id != sqlite3_column_int64(row, COL_CELL))
        cell = begin_cell(r, row);
    if (replicate == r->last_replicate) { /* a newer attempt */
        cell->n_runs--;
        r->n_runs--;
        cell->n_timed -= r->last_is_timed;
    }
    cell->status[cell->n_runs++] = status;
    r->n_runs++;
    r->last_replicate = replicate;
    r->last_is_timed = has_time(status) && sq_query_number(row, COL_NS) > 0;
    side->device_id = sqlite3_column_int64(row, COL_DEVICE);
    if (r->last_is_timed)
        add_time(cell, row);
    else
        sq_query_copy(row, COL_REASON, cell->reason, sizeof cell->reason);
    return SQ_OK;
}

static sq_gate_cell *find_cell(sq_gate_side *side, int64_t id, int *at)
{
    while (*at < side->n_cells && side->cell[*at].cell_id < id)
        ++*at;
    return *at < side->n_cells && side->cell[*at].cell_id == id ? &side->cell[*at] : NULL;
}

/* range: of the launches that the value is the median of. */
static void take_dram(sq_gate_cell *cell, double value, double range)
{
    cell->n_dram++;
    cell->dram_least = fmin(cell->dram_least, value); /* of a number and NAN: the number */
    cell->dram_most = fmax(cell->dram_most, value);
    cell->dram_spread = cell->n_dram > 1 ? cell->dram_most - cell->dram_least : range;
}

static void take_value(sq_gate_cell *cell, const char *metric, double value, double range)
{
    if (strcmp(metric, "bytes") == 0)
        cell->bytes = value;
    else if (strcmp(metric, "matrix_flops") == 0)
        cell->matrix_flops = value;
    else if (strcmp(metric, "registers") == 0)
        cell->registers = value;
    else if (strcmp(metric, "sentinel") == 0)
        cell->is_sentinel = value > 0;
    else
        take_dram(cell, value, range);
}

static sq_status read_values(const sq_scope *scope, const char *sql, sq_gate_side *side,
                             sq_error *err)
{
    sqlite3_stmt *row = NULL;
    bool has_row = true;
    int at = 0;
    sq_status s = sq_query_plain(scope, sql, &row, err);
    while (s == SQ_OK && (s = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row) {
        sq_gate_cell *cell = find_cell(side, sqlite3_column_int64(row, 0), &at);
        if (cell)
            take_value(cell, sq_query_text(row, 1), sqlite3_column_double(row, 2),
                       sqlite3_column_double(row, 3));
    }
    sqlite3_finalize(row);
    return s;
}

static sq_status read_runs(const sq_scope *scope, reading *r, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    bool has_row = true;
    sq_status s = sq_query_plain(scope, runs_sql, &row, err);
    while (s == SQ_OK && (s = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row)
        s = take_run(r, row, err);
    sqlite3_finalize(row);
    return s;
}

/* Name of the campaign, and room for its runs. */
static sq_status take_head(sqlite3_stmt *row, reading *r, sq_error *err)
{
    sq_gate_side *side = r->side;
    size_t runs = (size_t)sqlite3_column_int64(row, 3),
           cells = (size_t)sqlite3_column_int64(row, 4);
    sq_query_copy(row, 0, side->suite, sizeof side->suite);
    sq_query_copy(row, 1, side->label, sizeof side->label);
    sq_query_copy(row, 2, side->uuid, sizeof side->uuid);
    side->inconclusive_limit = sq_query_number(row, 5);
    side->cell = calloc(cells + 1, sizeof *side->cell);
    side->room = calloc(runs + 1, 3 * sizeof(double) + sizeof(int) + sizeof(sq_run_status));
    if (!side->cell || !side->room)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the runs of a campaign");
    r->total = (int)runs;
    r->numbers = side->room;
    r->integers = (int *)(r->numbers + 3 * runs);
    r->statuses = (sq_run_status *)(r->integers + runs);
    return SQ_OK;
}

static sq_status read_head(const sq_scope *scope, reading *r, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    bool has_row = false;
    SQ_TRY(sq_query_plain(scope, head_sql, &row, err));
    sq_status s = sq_query_step(scope, row, &has_row, err);
    if (s == SQ_OK && has_row)
        s = take_head(row, r, err);
    else if (s == SQ_OK)
        s = sq_fail(err, SQ_STORE, "campaign %s is gone", scope->campaign);
    sqlite3_finalize(row);
    return s;
}

static sq_status read_others(const sq_scope *scope, sq_gate_side *side, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    bool has_row = false;
    SQ_TRY(sq_query_plain(scope, others_sql, &row, err));
    sq_status s = sq_query_step(scope, row, &has_row, err);
    if (s == SQ_OK && has_row) {
        side->watched = sqlite3_column_int(row, 0);
        side->disturbed = sqlite3_column_int(row, 1);
    }
    sqlite3_finalize(row);
    return s;
}

static sq_status find_medians(sq_gate_side *side, int n_runs, sq_error *err)
{
    double *room = malloc(((size_t)n_runs + 1) * sizeof *room);
    if (!room)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the runs of a campaign");
    for (int i = 0; i < side->n_cells; i++) {
        sq_gate_cell *cell = &side->cell[i];
        memcpy(room, cell->ns, (size_t)cell->n_timed * sizeof *room);
        cell->median_ns = sq_median(room, cell->n_timed);
    }
    free(room);
    return SQ_OK;
}

sq_status sq_gate_side_read(sq_db *db, const char *campaign, sq_gate_side *out, sq_error *err)
{
    const sq_scope scope = {db, campaign};
    *out = (sq_gate_side){.n_cells = 0};
    reading r = {.side = out};
    SQ_TRY(read_head(&scope, &r, err));
    SQ_TRY(read_runs(&scope, &r, err));
    SQ_TRY(find_medians(out, r.total, err));
    SQ_TRY(read_values(&scope, values_sql, out, err));
    SQ_TRY(read_values(&scope, dram_sql, out, err));
    SQ_TRY(read_values(&scope, registers_sql, out, err));
    SQ_TRY(read_others(&scope, out, err));
    return sq_roofs_read(&scope, out->device_id, &out->roofs, err);
}

void sq_gate_side_free(sq_gate_side *side)
{
    free(side->cell);
    free(side->room);
    *side = (sq_gate_side){.n_cells = 0};
}
