#include "reports/series.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/grow.h"

static sq_series *series_of(sq_series_set *set, sqlite3_stmt *row)
{
    const char *subject = sq_query_text(row, 0), *provider = sq_query_text(row, 2);
    double window = sq_query_number(row, 1);
    sq_series *last = set->n_series ? &set->series[set->n_series - 1] : NULL;
    if (last && !strcmp(last->subject, subject) && !strcmp(last->provider, provider) &&
        last->window == window)
        return last;
    if (!sq_grow(&set->series, set->n_series, sizeof *set->series))
        return NULL;
    sq_series *series = &set->series[set->n_series++];
    *series = (sq_series){.window = window};
    snprintf(series->subject, sizeof series->subject, "%s", subject);
    snprintf(series->provider, sizeof series->provider, "%s", provider);
    sq_series_label(subject, window, series->label);
    return series;
}

static bool add_point(sq_series_set *set, sqlite3_stmt *row)
{
    sq_point point = {sq_query_number(row, 3), sq_query_number(row, 4), sq_query_number(row, 5),
                      sq_query_number(row, 6), sq_query_number(row, 7)};
    if (!isfinite(point.x) || !isfinite(point.y) || point.x <= 0 || point.y <= 0)
        return true; /* has no place on a log axis */
    sq_series *series = series_of(set, row);
    if (!series || !sq_grow(&series->points, series->n_points, sizeof *series->points))
        return false;
    series->points[series->n_points++] = point;
    return true;
}

static int by_rank(const void *a, const void *b)
{
    const sq_series *x = a, *y = b;
    int rank = sq_series_rank(x->subject, x->window) - sq_series_rank(y->subject, y->window);
    int label = strcmp(x->label, y->label);
    return rank ? rank : label ? label : strcmp(x->provider, y->provider);
}

sq_status sq_series_read(const sq_scope *scope, const char *query, const char *kind,
                         sq_series_set *out, sq_error *err)
{
    *out = (sq_series_set){0};
    sqlite3_stmt *row = NULL;
    sq_status status = sq_query_cells(scope, query, kind, &row, err);
    bool has_row = status == SQ_OK;
    while (has_row) {
        status = sq_query_step(scope, row, &has_row, err);
        if (has_row && !add_point(out, row))
            status = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a figure's points");
        has_row = has_row && status == SQ_OK;
    }
    sqlite3_finalize(row);
    if (status != SQ_OK)
        sq_series_free(out);
    else if (out->n_series)
        qsort(out->series, (size_t)out->n_series, sizeof *out->series, by_rank);
    return status;
}

void sq_series_free(sq_series_set *set)
{
    for (int i = 0; i < set->n_series; i++)
        free(set->series[i].points);
    free(set->series);
    *set = (sq_series_set){0};
}

static void take_group(sqlite3_stmt *row, sq_group *out)
{
    out->is_found = true;
    sq_query_copy(row, 0, out->device, sizeof out->device);
    sq_query_copy(row, 1, out->pass, sizeof out->pass);
    sq_query_copy(row, 2, out->dtype, sizeof out->dtype);
    sq_query_copy(row, 3, out->cache, sizeof out->cache);
    sq_query_copy(row, 4, out->launch, sizeof out->launch);
    sq_query_copy(row, 5, out->clock_mode, sizeof out->clock_mode);
    out->width = sq_query_number(row, 6);
    out->is_tokens = !strcmp(sq_query_text(row, 7), "tokens");
    out->amount = sq_query_number(row, 8);
    out->device_id = sqlite3_column_int64(row, 9);
    out->left_out = sqlite3_column_int(row, 10);
}

static void take_ceiling(sqlite3_stmt *row, sq_group *out)
{
    const char *name = sq_query_text(row, 0);
    char own[64];
    snprintf(own, sizeof own, "gemm_%s_tflops", out->dtype);
    double value = sq_query_number(row, 2);
    if (!strcmp(name, "copy_gbytes_per_s"))
        out->copy_gbytes_per_s = value;
    if (!strcmp(name, own))
        out->gemm_tflops = value;
    if (!strcmp(name, "gemm_f32_tflops"))
        out->gemm_f32_tflops = value;
}

static sq_status read_ceilings(const sq_scope *scope, sq_group *out, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    SQ_TRY(sq_query_plain(scope, sq_figure_ceilings_sql, &row, err));
    sqlite3_bind_int64(row, 2, out->device_id);
    bool has_row = true;
    sq_status status = SQ_OK;
    while (has_row && (status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row)
        take_ceiling(row, out);
    sqlite3_finalize(row);
    return status;
}

sq_status sq_group_read(const sq_scope *scope, const char *kind, sq_group *out, sq_error *err)
{
    *out = (sq_group){.copy_gbytes_per_s = NAN, .gemm_tflops = NAN, .gemm_f32_tflops = NAN};
    sqlite3_stmt *row = NULL;
    SQ_TRY(sq_query_cells(scope, sq_figure_group_sql, kind, &row, err));
    bool has_row = false;
    sq_status status = sq_query_step(scope, row, &has_row, err);
    if (has_row)
        take_group(row, out);
    sqlite3_finalize(row);
    return has_row ? read_ceilings(scope, out, err) : status;
}

/* A difference that says nothing about which is faster. */
static bool is_tie(const sq_point *point) { return fabs(log(point->y)) < log(1.02); }

int sq_series_crossings(const sq_series *series, sq_crossing *out, int capacity)
{
    int count = 0;
    const sq_point *a = NULL; /* the last point that is no tie */
    for (int i = 0; i < series->n_points && count < capacity; i++) {
        const sq_point *b = &series->points[i];
        if (is_tie(b))
            continue;
        if (a && (a->y < 1) != (b->y < 1)) {
            double share = -log(a->y) / (log(b->y) - log(a->y));
            out[count++] = (sq_crossing){
                exp(log(a->length) + share * log(b->length / a->length)), b->y > a->y};
        }
        a = b;
    }
    return count;
}
