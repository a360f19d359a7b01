/* seqmark history: the nights of a cell, or of all cells of a suite, and where their level changed. */
#include <stdio.h>
#include <string.h>

#include "bench/command.h"
#include "bench/filter.h"
#include "core/host.h"
#include "reports/history.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    SQ_OPTION_DB,
    {"suite", 0, "NAME", "campaigns of this suite only"},
    {"label", 0, "LABEL", "campaigns with this label only"},
    {"since", 0, "DATE", "campaigns from then on: 2026-11-01 (UTC), or 30d for so many days back"},
    {"filter", 0, "EXPR",
     "without CELL, the cells for which this holds: \"L<=8k and dtype==bf16\""},
    {"across", 0, "FIELDS",
     "joins nights that differ in these: device, driver, toolkit, harness, policy"},
    {"min-change", 0, "PERCENT", "a smaller change of the level is none (default 1)"},
    {"html", 0, "DIR", "writes DIR/history.html as well: one offline page"},
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

/* --- options --- */

static sq_status read_since(const char *text, double *since, sq_error *err)
{
    double span;
    if (sq_parse_day(text, since))
        return SQ_OK;
    if (!strchr(text, 'd') || !sq_parse_duration(text, &span))
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "since: \"%s\" is neither a date (2026-11-01) nor days back (30d)", text);
    *since = sq_wall_seconds() - span;
    return SQ_OK;
}

static sq_status read_min_change(const char *text, double *share, sq_error *err)
{
    double percent;
    if (!sq_parse_number(text, &percent) || percent < 0 || percent > 100)
        return sq_fail(err, SQ_BAD_ARGUMENT, "min-change: \"%s\" is not a percentage", text);
    *share = percent / 100;
    return SQ_OK;
}

static sq_status read_options(const sq_given *given, sq_history_options *out, sq_error *err)
{
    out->suite = sq_given_value(given, "suite", NULL);
    out->label = sq_given_value(given, "label", NULL);
    if (given->n_arguments > 1)
        return sq_fail(err, SQ_BAD_ARGUMENT, "history takes one cell, not %d", given->n_arguments);
    if (given->n_arguments && sq_given_has(given, "filter"))
        return sq_fail(err, SQ_BAD_ARGUMENT, "--filter is for the history of many cells");
    if (sq_given_has(given, "since"))
        SQ_TRY(read_since(sq_given_value(given, "since", ""), &out->since, err));
    if (sq_given_has(given, "across"))
        SQ_TRY(sq_across_parse(sq_given_value(given, "across", ""), &out->across, err));
    if (out->across >> SQ_JOIN_GROUND)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "a cell has one cache, launch and clock mode: history joins across device, "
                       "driver, toolkit, harness or policy");
    return read_min_change(sq_given_value(given, "min-change", "1"), &out->min_change, err);
}

/* --- the verb --- */

static sq_status find_cell(sq_db *db, const char *text, int64_t *cell_id, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    int64_t run_id;
    SQ_TRY(sq_db_resolve_run(db, text, &run_id, err));
    if (sqlite3_prepare_v2(sq_db_handle(db), "SELECT cell_id FROM run WHERE run_id = ?1", -1, &row,
                           NULL) == SQLITE_OK) {
        sqlite3_bind_int64(row, 1, run_id);
        if (sqlite3_step(row) == SQLITE_ROW)
            *cell_id = sqlite3_column_int64(row, 0);
    }
    sqlite3_finalize(row);
    return *cell_id ? SQ_OK : sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(sq_db_handle(db)));
}

static sq_status print(sq_db *db, const sq_given *given, const sq_history *history, sq_error *err)
{
    sq_text out = {.data = NULL}, notes = {.data = NULL};
    sq_format format;
    char path[SQ_HISTORY_PATH] = "";
    SQ_TRY(sq_given_format(given, &format, err));
    sq_status s = sq_given_has(given, "html")
                      ? sq_history_page(db, history, sq_given_value(given, "html", ""), path, err)
                      : SQ_OK;
    if (s == SQ_OK)
        s = sq_history_table(db, history, given->n_arguments == 1, format, &out, &notes, err);
    if (s == SQ_OK)
        s = sq_text_print(&out, err);
    if (s == SQ_OK)
        fprintf(stderr, "%s%s%s", notes.data, path, *path ? "\n" : "");
    sq_text_free(&out);
    sq_text_free(&notes);
    return s;
}

static sq_status history_in(sq_db *db, const sq_given *given, sq_history_options *o, sq_error *err)
{
    sq_history history = {.n_series = 0};
    if (o->suite)
        SQ_TRY(sq_db_check_suite(db, o->suite, err));
    if (given->n_arguments)
        SQ_TRY(find_cell(db, given->argument[0], &o->cell_id, err));
    SQ_TRY(sq_history_read(db, o, &history, err));
    sq_status s = print(db, given, &history, err);
    sq_history_free(&history);
    return s;
}

static sq_status history(const sq_given *given, sq_error *err)
{
    sq_history_options o = {.cell_id = 0};
    sq_filter *filter = NULL;
    sq_format format;
    sq_db *db = NULL;
    SQ_TRY(read_options(given, &o, err));
    SQ_TRY(sq_given_format(given, &format, err));
    SQ_TRY(sq_given_filter(given, &filter, err));
    o.keeps = filter ? sq_keeps_cell : NULL; /* keys of other versions need not be read */
    o.self = filter;
    sq_status s = sq_db_open(sq_given_db(given), SQ_DB_READ, &db, err);
    if (s == SQ_OK)
        s = history_in(db, given, &o, err);
    sq_db_close(db);
    sq_filter_free(filter);
    return s;
}

void sq_cmd_history(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "history [CELL] [options]",
        .text = "CELL: key, hash prefix or run id: its nights in order, the segments of one level\n"
                "and the changes between them, each with the first bad campaign and the commits\n"
                "it lies between. Without CELL: every cell, by its last change. Nights that stand\n"
                "on another device model, driver, toolkit, timing method or policy are not joined\n"
                "unless --across says so. Shows and does not judge.",
        .options = options};
    sq_verb_run(&verb, argc, argv, history, outcome);
}
