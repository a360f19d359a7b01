/* seqmark export: rows, samples, or a whole copy of a store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/command.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    {"db", 0, "FILE",
     "the store (default seqmark.db); a FILE that does not exist yet, given with "
     "none of the options below, becomes a copy of seqmark.db"},
    {"copy", 0, "FILE", "copies the store, also a live one, to one whole file"},
    {"samples", 0, NULL, "one row a sample, instead of one a run"},
    {"failures", 0, NULL, "the runs without a time, with their reasons"},
    {"metric", 0, "NAMES", "one row a value of these metrics (counters too), or \"all\""},
    {"campaign", 0, "CAMPAIGN", "uuid prefix, label, latest, latest~N, baseline:NAME; default: all"},
    {"output", 'o', "FORMAT", "csv (default), json, jsonl, md, table"},
    {NULL, 0, NULL, NULL},
};

/* --- samples --- */

static void add_samples(sq_table *table, sqlite3_stmt *row)
{
    const void *blob = sqlite3_column_blob(row, 3);
    int n = sqlite3_column_bytes(row, 3) / 4;
    for (int i = 0; i < n; i++) {
        sq_table_text(table, (const char *)sqlite3_column_text(row, 0));
        sq_table_text(table, (const char *)sqlite3_column_text(row, 1));
        sq_table_number(table, sqlite3_column_int(row, 2), 6);
        sq_table_number(table, i, 9);
        sq_table_number(table, sq_db_sample(blob, i), 10);
    }
}

static sq_status query_samples(sqlite3 *handle, const char *campaign, sq_table **out, sq_error *err)
{
    static const char sql[] =
        "SELECT run.uuid, cell.key, replicate, samples FROM run JOIN cell USING (cell_id) "
        "JOIN campaign USING (campaign_id) "
        "WHERE samples IS NOT NULL AND (?1 IS NULL OR campaign.uuid = ?1) ORDER BY run_id";
    static const char *const columns[] = {"run_uuid", "key", "replicate", "i", "ns", NULL};
    sqlite3_stmt *statement = NULL;
    int rc;
    *out = NULL;
    if (sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) != SQLITE_OK)
        return sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(handle));
    if (campaign)
        sqlite3_bind_text(statement, 1, campaign, -1, SQLITE_STATIC);
    sq_table *table = sq_table_new(columns);
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW && table)
        add_samples(table, statement);
    sqlite3_finalize(statement);
    *out = table;
    if (!table)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    return rc == SQLITE_DONE ? SQ_OK : sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(handle));
}

/* --- values --- */

enum { MAX_METRICS = 256 };

/* Names must stand in the store's own table: it may be older or newer than this program. */
static sq_status check_metrics(sqlite3 *handle, const sq_names *names, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    char *known[MAX_METRICS + 1] = {NULL};
    int n = 0;
    if (sqlite3_prepare_v2(handle, "SELECT name FROM metric", -1, &row, NULL) != SQLITE_OK)
        return sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(handle));
    while (n < MAX_METRICS && sqlite3_step(row) == SQLITE_ROW)
        known[n++] = strdup((const char *)sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
    sq_status s = SQ_OK;
    for (int i = 0; s == SQ_OK && i < names->count; i++) {
        bool is_known = false;
        for (int k = 0; k < n; k++)
            is_known |= known[k] && strcmp(known[k], names->item[i]) == 0;
        if (!is_known)
            s = sq_fail_unknown(err, "metric", names->item[i], (const char *const *)known);
    }
    for (int k = 0; k < n; k++)
        free(known[k]);
    return s;
}

static sq_status query_values(sqlite3 *handle, const char *metrics, const char *campaign,
                              sq_table **out, sq_error *err)
{
    static const char sql[] =
        "SELECT run.run_id, campaign.uuid AS campaign, cell.key, replicate, metric, value, "
        "metric.unit, value.n, spread, value.sm_mhz, validity FROM value "
        "JOIN run USING (run_id) JOIN cell USING (cell_id) JOIN campaign USING (campaign_id) "
        "LEFT JOIN metric ON metric.name = metric "
        "WHERE (?1 IS NULL OR campaign.uuid = ?1) AND "
        "(?2 IS NULL OR instr(',' || ?2 || ',', ',' || metric || ',')) ORDER BY run_id, metric";
    sq_names names;
    if (strcmp(metrics, "all") == 0)
        return sq_query_table(handle, sql, campaign, NULL, out, err);
    SQ_TRY(sq_names_split(metrics, &names, err));
    sq_text list = {.data = NULL};
    for (int i = 0; i < names.count; i++)
        sq_text_printf(&list, "%s%s", i ? "," : "", names.item[i]);
    sq_status s = check_metrics(handle, &names, err);
    if (s == SQ_OK)
        s = sq_query_table(handle, sql, campaign, list.data, out, err);
    sq_text_free(&list);
    sq_names_free(&names);
    return s;
}

/* --- the verb --- */

static sq_status export_rows(const sq_given *given, sq_db *db, sq_error *err)
{
    static const char results[] =
        "SELECT * FROM v_result WHERE ?1 IS NULL OR campaign = ?1 ORDER BY run_id";
    static const char failures[] =
        "SELECT * FROM v_failure WHERE ?1 IS NULL OR campaign = ?1 ORDER BY run_id";
    const char *campaign = sq_given_value(given, "campaign", NULL);
    char uuid[SQ_UUID_TEXT] = "";
    sq_format format;
    sq_table *table = NULL;
    SQ_TRY(sq_format_parse(sq_given_value(given, "output", "csv"), &format, err));
    if (campaign)
        SQ_TRY(sq_db_resolve_campaign(db, campaign, uuid, err));
    campaign = campaign ? uuid : NULL;
    sqlite3 *handle = sq_db_handle(db);
    const char *metrics = sq_given_value(given, "metric", NULL);
    const char *sql = sq_given_has(given, "failures") ? failures : results;
    sq_status s = sq_given_has(given, "samples") ? query_samples(handle, campaign, &table, err)
                  : metrics ? query_values(handle, metrics, campaign, &table, err)
                            : sq_query_table(handle, sql, campaign, NULL, &table, err);
    if (s != SQ_OK) {
        sq_table_free(table);
        return s;
    }
    return sq_table_print(table, format, err);
}

/* `export --db COPY`, the short way to make a copy: nothing else is asked for, and there is no
 * COPY. */
static bool is_short_copy(const sq_given *given)
{
    const char *db = sq_given_value(given, "db", NULL);
    return db && !sq_given_has(given, "copy") && !sq_given_has(given, "samples") &&
           !sq_given_has(given, "failures") && !sq_given_has(given, "output") &&
           !sq_given_has(given, "metric") && !sq_given_has(given, "campaign") &&
           access(db, F_OK) != 0;
}

/* One kind of thing at a time; a whole copy has no rows to choose or to shape. */
static sq_status check_given(const sq_given *given, sq_error *err)
{
    static const char *const kinds[] = {"copy", "samples", "failures", "metric"};
    const char *kind = NULL;
    if (given->n_arguments)
        return sq_fail(err, SQ_BAD_ARGUMENT, "export takes options only, not \"%s\"",
                       given->argument[0]);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!sq_given_has(given, kinds[i]))
            continue;
        if (kind)
            return sq_fail(err, SQ_BAD_ARGUMENT, "--%s and --%s exclude each other", kind,
                           kinds[i]);
        kind = kinds[i];
    }
    if (!sq_given_has(given, "copy"))
        return SQ_OK;
    if (sq_given_has(given, "campaign") || sq_given_has(given, "output"))
        return sq_fail(err, SQ_BAD_ARGUMENT, "--copy copies the whole store as it is: no --%s",
                       sq_given_has(given, "campaign") ? "campaign" : "output");
    if (!*sq_given_value(given, "copy", ""))
        return sq_fail(err, SQ_BAD_ARGUMENT, "the name of the copy is empty");
    return SQ_OK;
}

static sq_status export_store(const sq_given *given, sq_error *err)
{
    SQ_TRY(check_given(given, err));
    bool is_short = is_short_copy(given);
    const char *copy =
        is_short ? sq_given_value(given, "db", NULL) : sq_given_value(given, "copy", NULL);
    const char *from = is_short ? "seqmark.db" : sq_given_db(given);
    sq_db *db = NULL;
    SQ_TRY(sq_db_open(from, SQ_DB_READ, &db, err));
    sq_status s = copy ? sq_db_backup(db, copy, err) : export_rows(given, db, err);
    if (s == SQ_OK && copy)
        fprintf(stderr, "%s copied to %s\n", from, copy);
    sq_db_close(db);
    return s;
}

void sq_cmd_export(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "export [options]",
        .text = "Writes the measured runs (view v_result) to stdout, or copies the store.",
        .options = options};
    sq_verb_run(&verb, argc, argv, export_store, outcome);
}
