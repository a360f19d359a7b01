/* seqmark show: every stored fact of a run, a cell or a campaign; or the command to repeat it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/command.h"
#include "bench/wire.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    SQ_OPTION_DB,
    {"repro", 0, NULL, "prints the command that measures this again"},
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

/* --- sections: a query each; what is empty is left out --- */

typedef struct {
    const char *title, *sql; /* ?1: the id as text */
    bool is_tall;            /* one row, shown as a list of fields */
} section;

static const section run_sections[] = {
    {"run",
     "SELECT run.run_id, run.uuid, cell.key, cell.hash, run.status, run.reason, run.replicate, "
     "run.attempt, datetime(run.started, 'unixepoch') AS started_utc, run.n, run.median_ns, "
     "run.lo_ns, run.hi_ns, run.min_ns, run.mad_ns, run.cycles, run.sm_mhz, run.setup_ns, "
     "run.peak_bytes, run.versions, run.kernel_hash, run.checksum, run.harness_version, "
     "campaign.uuid AS campaign, "
     "campaign.label, campaign.suite, campaign.seed, device.name AS device, device.uuid AS "
     "device_uuid, environment.driver, environment.toolkit, environment.compiler, "
     "environment.host FROM run JOIN cell USING (cell_id) JOIN campaign USING (campaign_id) "
     "JOIN device ON device.device_id = run.device_id "
     "JOIN environment ON environment.env_id = run.env_id WHERE run.run_id = ?1",
     true},
    {"axes",
     "SELECT cell_axis.name, cell_axis.text AS value FROM cell_axis JOIN run USING "
     "(cell_id) WHERE run_id = ?1 ORDER BY cell_axis.name",
     false},
    {"checks",
     "SELECT tensor, rel_l2, tolerance, max_abs, tolerance_max, slice FROM check_result "
     "WHERE run_id = ?1",
     false},
    {"values",
     "SELECT value.metric, value.value, metric.unit, value.n, value.spread, "
     "value.sm_mhz, value.validity FROM value LEFT JOIN metric ON metric.name = value.metric "
     "WHERE run_id = ?1 ORDER BY value.metric",
     false},
    {"kernels",
     "SELECT i, name, ns, grid, block, registers, shared_bytes FROM kernel "
     "WHERE run_id = ?1 ORDER BY i",
     false},
    {"runs of this cell",
     "SELECT other.run_id, campaign.uuid AS campaign, other.replicate, "
     "other.attempt, other.status, other.n, other.median_ns, other.lo_ns, other.hi_ns FROM run "
     "JOIN run AS other USING (cell_id) JOIN campaign ON campaign.campaign_id = "
     "other.campaign_id WHERE run.run_id = ?1 ORDER BY other.run_id",
     false},
    {NULL, NULL, false},
};

static const section campaign_sections[] = {
    {"campaign",
     "SELECT campaign.uuid, label, suite, state, planned, (SELECT count(*) FROM run WHERE "
     "run.campaign_id = campaign.campaign_id) AS runs, seed, plan_hash, argv, policy, version, "
     "git_commit, "
     "git_dirty, datetime(started, 'unixepoch') AS started_utc, datetime(ended, 'unixepoch') AS "
     "ended_utc, device.name AS device, device.uuid AS device_uuid, device.arch, sm_count, "
     "memory_bytes, l2_bytes, max_sm_mhz, max_memory_mhz, driver, toolkit, cublas, cufft, cudnn, "
     "cupti, compiler, flags, host, kernel, os, cpu, ecc, mig, power_limit_w FROM campaign "
     "JOIN device USING (device_id) JOIN environment USING (env_id) WHERE campaign.uuid = ?1",
     true},
    {"ceilings",
     "SELECT ceiling.name, value, lo, hi, unit FROM ceiling JOIN campaign USING "
     "(campaign_id) WHERE campaign.uuid = ?1 ORDER BY ceiling.name",
     false},
    {"statuses",
     "SELECT status, count(*) AS runs FROM run JOIN campaign USING (campaign_id) "
     "WHERE campaign.uuid = ?1 GROUP BY status ORDER BY runs DESC",
     false},
    {"failures",
     "SELECT run_id, key, status, reason FROM v_failure WHERE campaign = ?1 "
     "ORDER BY run_id",
     false},
    {"results",
     "SELECT run_id, key, status, n_samples, median_ns, lo_ns, hi_ns FROM v_result "
     "WHERE campaign = ?1 ORDER BY key, replicate",
     false},
    {NULL, NULL, false},
};

/* One row as a table of (field, value); what is absent is left out. */
static sq_status tall_table(sqlite3 *handle, const char *sql, const char *id, sq_table **out,
                            sq_error *err)
{
    static const char *const columns[] = {"field", "value", NULL};
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(handle, sql, -1, &row, NULL) != SQLITE_OK)
        return sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(handle));
    sqlite3_bind_text(row, 1, id, -1, SQLITE_STATIC);
    sq_table *table = sq_table_new(columns);
    int n = table && sqlite3_step(row) == SQLITE_ROW ? sqlite3_column_count(row) : 0;
    for (int i = 0; i < n; i++) {
        const char *text = (const char *)sqlite3_column_text(row, i);
        if (!text || !*text)
            continue;
        sq_table_text(table, sqlite3_column_name(row, i));
        sq_table_text(table, text);
    }
    sqlite3_finalize(row);
    *out = table;
    return table ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
}

static sq_status print_section(sqlite3 *handle, const section *s, const char *id, sq_format format,
                               sq_error *err)
{
    sq_table *table = NULL;
    SQ_TRY(s->is_tall ? tall_table(handle, s->sql, id, &table, err)
                      : sq_query_table(handle, s->sql, id, NULL, &table, err));
    if (!sq_table_rows(table)) {
        sq_table_free(table);
        return SQ_OK;
    }
    if (format == SQ_FORMAT_TABLE || format == SQ_FORMAT_MD)
        printf("%s%s\n\n", format == SQ_FORMAT_MD ? "## " : "", s->title);
    SQ_TRY(sq_table_print(table, format, err));
    if (format == SQ_FORMAT_TABLE || format == SQ_FORMAT_MD)
        putchar('\n');
    return SQ_OK;
}

/* A row of (section, row, field, value) for each fact of a section. */
static sq_status add_facts(sqlite3 *handle, const section *s, const char *id, sq_table *table,
                           sq_error *err)
{
    sqlite3_stmt *row = NULL;
    int rc = sqlite3_prepare_v2(handle, s->sql, -1, &row, NULL);
    if (rc == SQLITE_OK)
        sqlite3_bind_text(row, 1, id, -1, SQLITE_STATIC);
    for (int i = 0; rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW; rc = SQLITE_OK, i++)
        for (int k = 0; k < sqlite3_column_count(row); k++) {
            const char *text = (const char *)sqlite3_column_text(row, k);
            if (!text || !*text)
                continue;
            sq_table_text(table, s->title);
            sq_table_number(table, i, 9);
            sq_table_text(table, sqlite3_column_name(row, k));
            sq_table_text(table, text);
        }
    sqlite3_finalize(row);
    return rc == SQLITE_DONE ? SQ_OK : sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(handle));
}

/* Sections have different columns; csv and jsonl have one table, so there it is a long one. */
static sq_status print_facts(sqlite3 *handle, const section *sections, const char *id,
                             sq_format format, sq_error *err)
{
    static const char *const columns[] = {"section", "row", "field", "value", NULL};
    sq_table *table = sq_table_new(columns);
    sq_status s = table ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    for (const section *at = sections; s == SQ_OK && at->title; at++)
        s = add_facts(handle, at, id, table, err);
    if (s == SQ_OK)
        return sq_table_print(table, format, err);
    sq_table_free(table);
    return s;
}

/* All sections; as one JSON object {"title": [rows], ..} in that format. */
static sq_status print_sections(sqlite3 *handle, const section *sections, const char *id,
                                sq_format format, sq_error *err)
{
    if (format == SQ_FORMAT_CSV || format == SQ_FORMAT_JSONL)
        return print_facts(handle, sections, id, format, err);
    if (format != SQ_FORMAT_JSON) {
        for (const section *s = sections; s->title; s++)
            SQ_TRY(print_section(handle, s, id, format, err));
        return SQ_OK;
    }
    for (const section *s = sections; s->title; s++) {
        sq_table *table = NULL;
        SQ_TRY(s->is_tall ? tall_table(handle, s->sql, id, &table, err)
                          : sq_query_table(handle, s->sql, id, NULL, &table, err));
        printf("%c\"%s\": ", s == sections ? '{' : ',', s->title);
        SQ_TRY(sq_table_print(table, format, err));
    }
    puts("}");
    return SQ_OK;
}

/* --- repro --- */

/* A policy of another version may lack fields or have more: what it says holds, on top of quick. */
static void add_policy(sq_text *out, const char *stored)
{
    sq_policy policy = *sq_policy_find("quick");
    json_t *told = stored ? json_loads(stored, 0, NULL) : NULL, *whole = sq_wire_policy(&policy);
    if (told && whole && json_object_update_existing(whole, told) == 0 &&
        sq_wire_policy_parse(whole, &policy, NULL) == SQ_OK)
        sq_policy_options(&policy, out);
    json_decref(told);
    json_decref(whole);
}

static void add_repro(sq_text *out, sqlite3_stmt *row)
{
    const char *provider = (const char *)sqlite3_column_text(row, 1);
    sq_text_add(out, "seqmark run --cell ");
    sq_text_add_shell(out, (const char *)sqlite3_column_text(row, 0));
    sq_text_printf(out, " --seed %s --device %s", sqlite3_column_text(row, 2),
                   strncmp(provider, "cpu/", 4) == 0 ? "cpu" : "0");
    if (sqlite3_column_type(row, 3) != SQLITE_NULL)
        sq_text_printf(out, " --width %lld", (long long)sqlite3_column_int64(row, 3));
    add_policy(out, (const char *)sqlite3_column_text(row, 4));
    const char *clock = strchr((const char *)sqlite3_column_text(row, 5), '@');
    if (clock)
        sq_text_printf(out, " --lock-clocks %s", clock + 1);
    sq_text_add(out, "\n");
}

/* A campaign's command is repeated cell by cell: its suite file may have changed since. */
static sq_status print_repro(sqlite3 *handle, const char *where, const char *id, sq_error *err)
{
    char sql[600];
    sq_text out = {.data = NULL};
    sqlite3_stmt *row = NULL;
    snprintf(sql, sizeof sql,
             "SELECT DISTINCT cell.key, cell.provider, campaign.seed, value.value, "
             "campaign.policy, cell.clock_mode FROM run "
             "JOIN cell USING (cell_id) JOIN campaign USING (campaign_id) LEFT JOIN value ON "
             "value.run_id = run.run_id AND value.metric = 'width' WHERE %s = ?1 "
             "ORDER BY run.run_id",
             where);
    if (sqlite3_prepare_v2(handle, sql, -1, &row, NULL) != SQLITE_OK)
        return sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(handle));
    sqlite3_bind_text(row, 1, id, -1, SQLITE_STATIC);
    while (sqlite3_step(row) == SQLITE_ROW)
        add_repro(&out, row);
    sqlite3_finalize(row);
    sq_status s = sq_text_print(&out, err);
    sq_text_free(&out);
    return s;
}

/* --- the verb --- */

static sq_status show(const sq_given *given, sq_db *db, const char *what, sq_error *err)
{
    char id[SQ_UUID_TEXT];
    int64_t run_id = 0;
    sq_format format;
    sq_error no_run = {.status = SQ_OK}, no_campaign = {.status = SQ_OK};
    sqlite3 *handle = sq_db_handle(db);
    SQ_TRY(sq_given_format(given, &format, err));
    bool is_repro = sq_given_has(given, "repro");
    if (sq_db_resolve_run(db, what, &run_id, &no_run) == SQ_OK) {
        snprintf(id, sizeof id, "%" PRId64, run_id);
        return is_repro ? print_repro(handle, "run.run_id", id, err)
                        : print_sections(handle, run_sections, id, format, err);
    }
    if (sq_db_resolve_campaign(db, what, id, &no_campaign) == SQ_OK)
        return is_repro ? print_repro(handle, "campaign.uuid", id, err)
                        : print_sections(handle, campaign_sections, id, format, err);
    return sq_fail(err, SQ_BAD_ARGUMENT, "%.220s; and %.220s", no_run.message, no_campaign.message);
}

static sq_status open_and_show(const sq_given *given, sq_error *err)
{
    sq_db *db = NULL;
    if (given->n_arguments != 1)
        return sq_fail(err, SQ_BAD_ARGUMENT, "show takes one run, cell or campaign");
    SQ_TRY(sq_db_open(sq_given_db(given), SQ_DB_READ, &db, err));
    sq_status s = show(given, db, given->argument[0], err);
    sq_db_close(db);
    return s;
}

void sq_cmd_show(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "show RUN|CELL|CAMPAIGN [options]",
        .text = "RUN: run id or uuid prefix. CELL: key or hash prefix (its latest run).\n"
                "CAMPAIGN: uuid prefix, label, latest, latest~N, baseline:NAME.",
        .options = options};
    sq_verb_run(&verb, argc, argv, open_and_show, outcome);
}
