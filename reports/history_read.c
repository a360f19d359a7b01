/* history_read: the nights of cells, from the store: campaign by campaign along its index, so that
 * no row is sorted and nothing but the nights is kept. */
#include "reports/history.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/grow.h"
#include "core/hash.h"
#include "core/special.h"
#include "core/stats.h"
#include "reports/query.h"

/* Columns of history_runs.sql. */
enum {
    RUN_CELL,
    RUN_REPLICATE,
    RUN_ENV,
    RUN_DEVICE,
    RUN_HARNESS,
    RUN_STATUS,
    RUN_CODE,
    RUN_ID,
    RUN_NS,
    RUN_LO,
    RUN_HI
};

/* The newest attempt of one replicate. */
typedef struct {
    int64_t run_id, env_id, device_id;
    int replicate, ground;
    double ns, lo, hi;
    uint64_t code;
    sq_run_status status;
} one_run;

/* A footing is known by these where it was met before. */
typedef struct {
    int64_t env, device;
    int campaign, harness, ground;
} known_ground;

typedef struct {
    sq_db *db;
    const sq_history_options *options;
    sq_history *out;
    known_ground *known;
    int n_known;
    one_run *run; /* of the cell and campaign being read */
    int n_runs;
    int64_t cell_id;
    int *first_of_cell; /* by cell_id: its first series, -1 for none */
    int *next_of_cell;  /* by series: the next of the same cell */
    int64_t cell_room;
    double *room; /* run_room values */
    int run_room;
    double quantile;
    int quantile_df;
} reading;

static sq_status no_memory(sq_error *err)
{
    return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the history");
}

/* --- what a run stands on --- */

static sq_status read_footing(reading *r, int64_t run_id, sq_footing *out, sq_error *err)
{
    static const char sql[] =
        "SELECT " SQ_FOOTING_COLUMNS " FROM run r JOIN campaign c USING (campaign_id) "
        "JOIN device d ON d.device_id = r.device_id "
        "JOIN environment e ON e.env_id = r.env_id WHERE r.run_id = ?1";
    const sq_scope scope = {r->db, NULL};
    sqlite3_stmt *row = NULL;
    bool has_row = false;
    SQ_TRY(sq_query_plain(&scope, sql, &row, err));
    sqlite3_bind_int64(row, 1, run_id);
    sq_status status = sq_query_step(&scope, row, &has_row, err);
    if (has_row)
        sq_footing_read(row, 0, out);
    sqlite3_finalize(row);
    return status;
}

/* The footing's number among those of the history. */
static sq_status number_footing(reading *r, int64_t run_id, int *number, sq_error *err)
{
    sq_history *h = r->out;
    sq_footing footing = {{""}};
    SQ_TRY(read_footing(r, run_id, &footing, err));
    for (*number = 0; *number < h->n_grounds; ++*number)
        if (sq_footing_differs(&h->ground[*number], &footing, 0) == SQ_JOIN_GROUND)
            return SQ_OK;
    if (!sq_grow(&h->ground, h->n_grounds, sizeof *h->ground))
        return no_memory(err);
    h->ground[h->n_grounds++] = footing;
    return SQ_OK;
}

static sq_status find_ground(reading *r, sqlite3_stmt *row, int campaign, int *ground,
                             sq_error *err)
{
    known_ground k = {sqlite3_column_int64(row, RUN_ENV), sqlite3_column_int64(row, RUN_DEVICE),
                      campaign, sqlite3_column_int(row, RUN_HARNESS), 0};
    for (int i = r->n_known - 1; i >= 0 && r->known[i].campaign == campaign; i--)
        if (r->known[i].env == k.env && r->known[i].device == k.device &&
            r->known[i].harness == k.harness) {
            *ground = r->known[i].ground;
            return SQ_OK;
        }
    SQ_TRY(number_footing(r, sqlite3_column_int64(row, RUN_ID), &k.ground, err));
    if (!sq_grow(&r->known, r->n_known, sizeof *r->known))
        return no_memory(err);
    r->known[r->n_known++] = k;
    *ground = k.ground;
    return SQ_OK;
}

/* --- nights --- */

/* Student's, which nearly all nights ask for the same degrees of freedom. */
static double quantile_of(reading *r, int df)
{
    if (r->quantile_df != df)
        r->quantile = sq_t_quantile(0.975, df);
    r->quantile_df = df;
    return r->quantile;
}

/* Median, its interval and the squares of the n timed runs of one footing. */
static void sum_up(reading *r, int ground, sq_history_night *night)
{
    double mean = 0;
    int n = 0, last = -1;
    for (int i = 0; i < r->n_runs; i++) {
        const one_run *run = &r->run[i];
        if (run->ground != ground)
            continue;
        if (run->ns > 0) {
            r->room[n++] = log(run->ns);
            last = i;
        } else {
            night->status = run->status;
        }
        night->code = run->code ? run->code : night->code;
        night->env_id = run->env_id;
        night->device_id = run->device_id;
    }
    night->n = n;
    if (n == 0)
        return;
    night->status = SQ_RUN_OK;
    mean = sq_mean(r->room, n);
    for (int i = 0; i < n; i++)
        night->squares += pow(r->room[i] - mean, 2);
    night->ns = exp(sq_median(r->room, n));
    night->lo = r->run[last].lo;
    night->hi = r->run[last].hi;
    if (n > 1) {
        double half = quantile_of(r, n - 1) * sqrt(night->squares / (n - 1) / n);
        night->lo = exp(mean - half);
        night->hi = exp(mean + half);
    }
}

static sq_status add_series(reading *r, int64_t cell_id, int *number, sq_error *err)
{
    sq_history *h = r->out;
    if (!sq_grow(&h->series, h->n_series, sizeof *h->series) ||
        !sq_grow(&r->next_of_cell, h->n_series, sizeof *r->next_of_cell))
        return no_memory(err);
    *number = h->n_series++;
    h->series[*number] = (sq_history_series){.cell_id = cell_id};
    r->next_of_cell[*number] = r->first_of_cell[cell_id];
    r->first_of_cell[cell_id] = *number;
    return SQ_OK;
}

/* The series of the cell on the device model of `ground`; any model where that may differ. */
static sq_status find_series(reading *r, int64_t cell_id, int ground, sq_history_series **out,
                             sq_error *err)
{
    sq_history *h = r->out;
    int number = r->first_of_cell[cell_id];
    bool is_any = r->options->across & 1u << SQ_JOIN_DEVICE;
    const char *device = h->ground[ground].value[SQ_JOIN_DEVICE];
    while (number >= 0 && !is_any) {
        int first = h->series[number].night[0].ground;
        if (strcmp(h->ground[first].value[SQ_JOIN_DEVICE], device) == 0)
            break;
        number = r->next_of_cell[number];
    }
    if (number < 0)
        SQ_TRY(add_series(r, cell_id, &number, err));
    *out = &h->series[number];
    return SQ_OK;
}

static sq_status add_night(reading *r, int campaign, int ground, sq_error *err)
{
    sq_history_series *s = NULL;
    sq_history_night night = {.campaign = campaign,
                              .ground = ground,
                              .segment = -1,
                              .ns = NAN,
                              .lo = NAN,
                              .hi = NAN,
                              .error = NAN};
    sum_up(r, ground, &night);
    SQ_TRY(find_series(r, r->cell_id, ground, &s, err));
    if (!sq_grow(&s->night, s->n_nights, sizeof *s->night))
        return no_memory(err);
    s->night[s->n_nights++] = night;
    s->n_timed += night.n > 0;
    s->run_id = r->run[r->n_runs - 1].run_id;
    return SQ_OK;
}

/* The runs of a cell are read: a night for each footing that they stand on. */
static sq_status end_cell(reading *r, int campaign, sq_error *err)
{
    for (int i = 0; i < r->n_runs; i++) {
        bool is_met = false;
        for (int k = 0; k < i; k++)
            is_met = is_met || r->run[k].ground == r->run[i].ground;
        if (!is_met)
            SQ_TRY(add_night(r, campaign, r->run[i].ground, err));
    }
    r->n_runs = 0;
    return SQ_OK;
}

static uint64_t hash_of(const char *text)
{
    return *text ? sq_hash_add(sq_hash_start, text, strlen(text)) : 0;
}

static sq_status add_run(reading *r, sqlite3_stmt *row, int campaign, sq_error *err)
{
    int replicate = sqlite3_column_int(row, RUN_REPLICATE);
    one_run run = {.run_id = sqlite3_column_int64(row, RUN_ID),
                   .env_id = sqlite3_column_int64(row, RUN_ENV),
                   .device_id = sqlite3_column_int64(row, RUN_DEVICE),
                   .replicate = replicate,
                   .ns = sq_query_number(row, RUN_NS),
                   .lo = sq_query_number(row, RUN_LO),
                   .hi = sq_query_number(row, RUN_HI),
                   .code = hash_of(sq_query_text(row, RUN_CODE)),
                   .status = SQ_RUN_ERROR};
    /* A newer program's status is a failure as far as this one knows. */
    sq_run_status_parse(sq_query_text(row, RUN_STATUS), &run.status, NULL);
    SQ_TRY(find_ground(r, row, campaign, &run.ground, err));
    if (r->n_runs > 0 && r->run[r->n_runs - 1].replicate == replicate)
        r->n_runs--; /* an older attempt */
    if (r->n_runs == r->run_room) {
        int room = r->run_room ? 2 * r->run_room : 64;
        one_run *runs = realloc(r->run, (size_t)room * sizeof *runs);
        r->run = runs ? runs : r->run;
        double *values = runs ? realloc(r->room, (size_t)room * sizeof *values) : NULL;
        if (!values)
            return no_memory(err);
        r->room = values;
        r->run_room = room;
    }
    r->run[r->n_runs++] = run;
    return SQ_OK;
}

static sq_status take_run(reading *r, sqlite3_stmt *row, int campaign, sq_error *err)
{
    int64_t cell_id = sqlite3_column_int64(row, RUN_CELL);
    if (cell_id < 1 || cell_id >= r->cell_room)
        return sq_fail(err, SQ_STORE, "run %lld is of no cell of the store",
                       (long long)sqlite3_column_int64(row, RUN_ID));
    if (cell_id != r->cell_id)
        SQ_TRY(end_cell(r, campaign, err));
    r->cell_id = cell_id;
    return add_run(r, row, campaign, err);
}

static sq_status read_campaign(reading *r, sqlite3_stmt *row, int campaign, sq_error *err)
{
    const sq_scope scope = {r->db, NULL};
    bool has_row = true;
    sqlite3_reset(row);
    sqlite3_bind_int64(row, 1, r->out->campaign[campaign].id);
    r->cell_id = 0;
    for (;;) {
        SQ_TRY(sq_query_step(&scope, row, &has_row, err));
        if (!has_row)
            return end_cell(r, campaign, err);
        SQ_TRY(take_run(r, row, campaign, err));
    }
}

static sq_status read_runs(reading *r, sq_error *err)
{
    const sq_scope scope = {r->db, NULL};
    bool is_one = r->options->cell_id != 0;
    sqlite3_stmt *row = NULL;
    SQ_TRY(sq_query_plain(
        &scope, is_one ? sq_figure_history_cell_runs_sql : sq_figure_history_runs_sql, &row, err));
    if (is_one)
        sqlite3_bind_int64(row, 2, r->options->cell_id);
    sq_status status = SQ_OK;
    for (int i = 0; i < r->out->n_campaigns && status == SQ_OK; i++)
        status = read_campaign(r, row, i, err);
    sqlite3_finalize(row);
    return status;
}

/* --- cells --- */

static sq_status make_cell_room(reading *r, sq_error *err)
{
    const sq_scope scope = {r->db, NULL};
    sqlite3_stmt *row = NULL;
    bool has_row = false;
    SQ_TRY(sq_query_plain(&scope, "SELECT coalesce(max(cell_id), 0) FROM cell", &row, err));
    sq_status status = sq_query_step(&scope, row, &has_row, err);
    r->cell_room = sqlite3_column_int64(row, 0) + 1;
    sqlite3_finalize(row);
    SQ_TRY(status);
    r->first_of_cell = malloc((size_t)r->cell_room * sizeof *r->first_of_cell);
    if (!r->first_of_cell)
        return no_memory(err);
    for (int64_t i = 0; i < r->cell_room; i++)
        r->first_of_cell[i] = -1;
    return SQ_OK;
}

static sq_status read_cell(reading *r, sqlite3_stmt *row, sq_history_series *s, bool *is_kept,
                           sq_error *err)
{
    const sq_scope scope = {r->db, NULL};
    bool has_row = false;
    sqlite3_reset(row);
    sqlite3_bind_int64(row, 1, s->cell_id);
    sqlite3_bind_int64(row, 2, s->run_id);
    SQ_TRY(sq_query_step(&scope, row, &has_row, err));
    sq_query_copy(row, 0, s->key, sizeof s->key);
    s->device = r->out->ground[s->night[s->n_nights - 1].ground].value[SQ_JOIN_DEVICE];
    *is_kept = s->n_timed > 0;
    if (*is_kept && r->options->keeps)
        return r->options->keeps(r->options->self, s->key, sq_query_number(row, 1), is_kept, err);
    return SQ_OK;
}

static void free_series(sq_history_series *s)
{
    free(s->night);
    free(s->segment);
    free(s->change);
    free(s->first_of_track);
}

/* Keys, and only the cells asked for. */
static sq_status read_cells(reading *r, sq_error *err)
{
    static const char sql[] =
        "SELECT key, (SELECT value FROM value WHERE run_id = ?2 AND metric = 'width') "
        "FROM cell WHERE cell_id = ?1";
    const sq_scope scope = {r->db, NULL};
    sq_history *h = r->out;
    sqlite3_stmt *row = NULL;
    SQ_TRY(sq_query_plain(&scope, sql, &row, err));
    int kept = 0, i = 0;
    sq_status status = SQ_OK;
    for (; i < h->n_series && status == SQ_OK; i++) {
        bool is_kept = true;
        status = read_cell(r, row, &h->series[i], &is_kept, err);
        if (is_kept)
            h->series[kept++] = h->series[i];
        else
            free_series(&h->series[i]);
    }
    for (; i < h->n_series; i++) /* a failure leaves the rest to be freed */
        h->series[kept++] = h->series[i];
    h->n_series = kept;
    sqlite3_finalize(row);
    return status;
}

/* --- the whole --- */

static sq_status read_all(reading *r, sq_error *err)
{
    SQ_TRY(sq_history_campaigns(r->db, r->options, r->out, err));
    SQ_TRY(make_cell_room(r, err));
    SQ_TRY(read_runs(r, err));
    return read_cells(r, err);
}

/* In one transaction: every question is answered from the same state of the store. */
static sq_status read_snapshot(reading *r, sq_error *err)
{
    sqlite3 *handle = sq_db_handle(r->db);
    if (sqlite3_exec(handle, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return sq_fail(err, SQ_STORE, "read the store: %s", sqlite3_errmsg(handle));
    sq_status status = read_all(r, err);
    sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static sq_status check_found(const sq_history *h, const sq_history_options *o, sq_error *err)
{
    const char *suite = o->suite ? o->suite : "", *label = o->label ? o->label : "";
    if (h->n_series)
        return SQ_OK;
    return sq_fail(err, SQ_BAD_ARGUMENT, "no %s%s%s%s%s%s%s",
                   h->n_campaigns ? "timed run" : "campaign", *suite ? " of suite " : "", suite,
                   *label ? " labelled " : "", label, o->since > 0 ? " since then" : "",
                   h->n_campaigns && o->keeps ? " of a cell that the filter keeps" : "");
}

sq_status sq_history_read(sq_db *db, const sq_history_options *options, sq_history *out,
                          sq_error *err)
{
    *out = (sq_history){.n_series = 0};
    reading r = {.db = db, .options = options, .out = out};
    sq_status status = read_snapshot(&r, err);
    free(r.known);
    free(r.run);
    free(r.room);
    free(r.first_of_cell);
    free(r.next_of_cell);
    if (status == SQ_OK)
        status = check_found(out, options, err);
    if (status == SQ_OK)
        status = sq_history_find(out, options, err);
    if (status != SQ_OK)
        sq_history_free(out);
    return status;
}

void sq_history_free(sq_history *history)
{
    for (int i = 0; i < history->n_series; i++)
        free_series(&history->series[i]);
    free(history->campaign);
    free(history->ground);
    free(history->series);
    *history = (sq_history){.n_series = 0};
}
