/* seqmark prune: drops the samples of old campaigns. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/command.h"
#include "core/host.h"
#include "db/prune.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    SQ_OPTION_DB,
    {"keep-samples", 0, "TIME",
     "keeps those of the campaigns of the last so long (30d); must be given"},
    {"dry-run", 0, NULL, "prints what would go, a row a campaign, and changes nothing"},
    {"output", 'o', "FORMAT", "of --dry-run: table (default), md, csv, json, jsonl"},
    {NULL, 0, NULL, NULL},
};

/* Seconds by themselves are never meant: "30" would drop nearly everything. */
static sq_status read_since(const sq_given *given, double *since, sq_error *err)
{
    double span;
    const char *text = sq_given_value(given, "keep-samples", NULL);
    if (!text)
        return sq_fail(err, SQ_BAD_ARGUMENT, "prune needs --keep-samples TIME, like 30d");
    size_t n = strlen(text);
    if (!n || !isalpha((unsigned char)text[n - 1]) || !sq_parse_duration(text, &span))
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "--keep-samples \"%s\": a time with its unit, like 30d", text);
    *since = sq_wall_seconds() - span;
    return SQ_OK;
}

static void print_result(const char *verb, const sq_db_pruned *pruned, double since)
{
    char size[32], from[32];
    sq_format_bytes((double)pruned->bytes, size, sizeof size);
    sq_format_utc(since, from, sizeof from);
    fprintf(stderr, "%s: samples of %d run%s of %d campaign%s before %s UTC, %s\n", verb,
            pruned->runs, pruned->runs == 1 ? "" : "s", pruned->campaigns,
            pruned->campaigns == 1 ? "" : "s", from, size);
}

/* --- what would go --- */

static void add_row(sq_table *table, sqlite3_stmt *row, sq_db_pruned *sum)
{
    char started[32];
    sq_format_utc(sqlite3_column_double(row, 4), started, sizeof started);
    sq_table_text(table, (const char *)sqlite3_column_text(row, 1));
    sq_table_text(table, (const char *)sqlite3_column_text(row, 2));
    sq_table_text(table, (const char *)sqlite3_column_text(row, 3));
    sq_table_text(table, started);
    sq_table_number(table, sqlite3_column_int(row, 5), 9);
    sq_table_number(table, (double)sqlite3_column_int64(row, 6), 12);
    sum->campaigns++;
    sum->runs += sqlite3_column_int(row, 5);
    sum->bytes += sqlite3_column_int64(row, 6);
}

static sq_status print_plan(sq_db *db, double since, sq_format format, sq_error *err)
{
    static const char *const columns[] = {"campaign", "suite", "label", "measured",
                                          "runs",     "bytes", NULL};
    sqlite3 *handle = sq_db_handle(db);
    sqlite3_stmt *row = NULL;
    sq_db_pruned sum = {.campaigns = 0};
    sq_table *table = sq_table_new(columns);
    int rc = sqlite3_prepare_v2(handle, sq_db_prunable_sql, -1, &row, NULL);
    if (rc == SQLITE_OK)
        sqlite3_bind_double(row, 1, since);
    while (table && rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        add_row(table, row, &sum);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(row);
    if (table && rc != SQLITE_DONE) {
        sq_table_free(table);
        return sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(handle));
    }
    SQ_TRY(sq_table_print(table, format, err));
    print_result("would go", &sum, since);
    return SQ_OK;
}

static sq_status plan(const sq_given *given, double since, sq_error *err)
{
    sq_format format;
    sq_db *db = NULL;
    SQ_TRY(sq_given_format(given, &format, err));
    SQ_TRY(sq_db_open(sq_given_db(given), SQ_DB_READ, &db, err));
    sq_status status = print_plan(db, since, format, err);
    sq_db_close(db);
    return status;
}

/* --- what goes --- */

static double size_of(sq_db *db)
{
    struct stat file;
    return stat(sq_db_path(db), &file) == 0 ? (double)file.st_size : 0;
}

static sq_status drop(sq_db *db, double since, sq_error *err)
{
    char before[32], after[32];
    sq_db_pruned pruned;
    sq_error why = {.status = SQ_OK};
    sq_format_bytes(size_of(db), before, sizeof before);
    SQ_TRY(sq_db_prune(db, since, &pruned, err));
    print_result("dropped", &pruned, since);
    sq_status status = sq_db_shrink(db, &why);
    if (status != SQ_OK)
        return sq_fail(err, status, "the samples are dropped, but the file keeps its size: %.300s",
                       why.message);
    sq_format_bytes(size_of(db), after, sizeof after);
    fprintf(stderr, "%s: %s, now %s\n", sq_db_path(db), before, after);
    return SQ_OK;
}

static sq_status execute(const sq_given *given, sq_error *err)
{
    double since = 0;
    sq_db *db = NULL;
    if (given->n_arguments)
        return sq_fail(err, SQ_BAD_ARGUMENT, "prune takes options only, not \"%s\"",
                       given->argument[0]);
    SQ_TRY(read_since(given, &since, err));
    if (sq_given_has(given, "dry-run"))
        return plan(given, since, err);
    if (sq_given_has(given, "output"))
        return sq_fail(err, SQ_BAD_ARGUMENT, "--output belongs to --dry-run");
    SQ_TRY(sq_given_open_store(given, &db, err));
    sq_status status = drop(db, since, err);
    sq_db_close(db);
    return status;
}

void sq_cmd_prune(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "prune --keep-samples TIME [options]",
        .text =
            "Drops the single samples of campaigns older than TIME and shrinks the file. "
            "Medians,\nintervals, counts, values, kernels and proofs stay: verdicts, history and "
            "reports do\nnot change. Campaigns that are baselines keep their samples.",
        .options = options};
    sq_verb_run(&verb, argc, argv, execute, outcome);
}
