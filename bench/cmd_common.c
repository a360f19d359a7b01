/* cmd_common: see command.h. */
#include "bench/command.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/subject.h"
#include "core/host.h"
#include "core/stamp.h"

void sq_outcome_set(sq_outcome *outcome, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    outcome->code = code;
    vsnprintf(outcome->why, sizeof outcome->why, format, arguments);
    va_end(arguments);
}

void sq_outcome_error(sq_outcome *outcome, sq_status status, const sq_error *err)
{
    int code = status == SQ_DEVICE ? SQ_EXIT_UNFIT : SQ_EXIT_ERROR;
    sq_outcome_set(outcome, code, "%s", err->message[0] ? err->message : sq_status_text(status));
}

static void print_help(const sq_verb *verb)
{
    sq_text text = {.data = NULL};
    sq_text_printf(&text, "Usage: seqmark %s\n\n%s\n\nOptions:\n", verb->usage, verb->text);
    sq_options_help(verb->options, &text);
    fputs(text.data ? text.data : "", stdout);
    sq_text_free(&text);
}

bool sq_verb_parse(const sq_verb *verb, int argc, char **argv, sq_given *given, sq_outcome *outcome)
{
    sq_error err = {.status = SQ_OK};
    sq_status s = sq_options_parse(verb->options, verb->more, argc, argv, given, &err);
    if (s != SQ_OK) {
        sq_outcome_error(outcome, s, &err);
        return false;
    }
    if (!sq_given_has(given, "help"))
        return true;
    print_help(verb);
    return false;
}

void sq_verb_run(const sq_verb *verb, int argc, char **argv, sq_verb_fn execute,
                 sq_outcome *outcome)
{
    sq_error err = {.status = SQ_OK};
    sq_given given;
    if (!sq_verb_parse(verb, argc, argv, &given, outcome))
        return;
    sq_status s = execute(&given, &err);
    if (s != SQ_OK)
        sq_outcome_error(outcome, s, &err);
}

/* --- campaigns --- */

char *sq_command_line(int argc, char **argv)
{
    sq_text line = {.data = NULL};
    sq_text_add(&line, "seqmark");
    for (int i = 0; i < argc; i++) {
        sq_text_add(&line, " ");
        sq_text_add_shell(&line, argv[i]);
    }
    if (line.is_failed)
        sq_text_free(&line);
    return line.data;
}

sq_status sq_command_hold(sq_target *target, int argc, char **argv, sq_error *err)
{
    char *line = sq_command_line(argc, argv);
    sq_status s = line ? sq_target_hold(target, line, err)
                       : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the command line");
    free(line);
    return s;
}

sq_status sq_campaign_new(const char *suite, const char *label, sq_campaign *out, sq_error *err)
{
    *out = (sq_campaign){.started = (double)time(NULL), .git_dirty = sq_build_stamp.is_dirty};
    snprintf(out->suite, sizeof out->suite, "%s", suite);
    snprintf(out->label, sizeof out->label, "%s", label);
    snprintf(out->version, sizeof out->version, "%s", sq_build_stamp.version);
    snprintf(out->git_commit, sizeof out->git_commit, "%s", sq_build_stamp.git_commit);
    return sq_uuid_new(out->uuid, err);
}

sq_status sq_given_filter(const sq_given *given, sq_filter **out, sq_error *err)
{
    *out = NULL;
    return sq_given_has(given, "filter")
               ? sq_filter_parse(sq_given_value(given, "filter", ""), out, err)
               : SQ_OK;
}

sq_status sq_keeps_cell(void *filter, const char *key, double width, bool *keeps, sq_error *err)
{
    sq_cell cell;
    sq_subject subject;
    SQ_TRY(sq_cell_parse(key, &cell, &subject, err));
    *keeps = sq_filter_keeps(filter, &cell, isnan(width) ? 0 : (int64_t)width);
    return SQ_OK;
}

double sq_warn_of_age(const sq_baseline *baseline)
{
    const double day = 24 * 3600, old_days = 30;
    double age = (sq_wall_seconds() - baseline->started) / day;
    if (age > old_days)
        fprintf(stderr, "baseline %s was measured %.0f days ago\n", baseline->name, age);
    if (age < -1)
        fprintf(stderr, "baseline %s was measured %.0f days from now, by a clock that was ahead\n",
                baseline->name, -age);
    return age;
}

const char *sq_given_db(const sq_given *given)
{
    return sq_given_value(given, "db", "seqmark.db");
}

sq_status sq_given_open_store(const sq_given *given, sq_db **out, sq_error *err)
{
    const char *path = sq_given_db(given);
    *out = NULL;
    if (access(path, F_OK) != 0)
        return sq_fail(err, SQ_IO, "%s: %s", path, strerror(errno));
    return sq_db_open(path, SQ_DB_WRITE, out, err);
}

sq_status sq_given_format(const sq_given *given, sq_format *out, sq_error *err)
{
    return sq_format_parse(sq_given_value(given, "output", "table"), out, err);
}

sq_status sq_given_page_format(const sq_given *given, sq_format *out, bool *is_html, sq_error *err)
{
    *is_html = strcmp(sq_given_value(given, "output", "table"), "html") == 0;
    *out = SQ_FORMAT_TABLE;
    return *is_html ? SQ_OK : sq_given_format(given, out, err);
}

sq_status sq_text_print(const sq_text *text, sq_error *err)
{
    if (text->is_failed)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the output");
    if (text->length && fwrite(text->data, 1, text->length, stdout) != text->length)
        return sq_fail(err, SQ_IO, "cannot write to stdout: %s", strerror(errno));
    if (fflush(stdout) != 0)
        return sq_fail(err, SQ_IO, "cannot write to stdout: %s", strerror(errno));
    return SQ_OK;
}

sq_status sq_table_print(sq_table *table, sq_format format, sq_error *err)
{
    sq_text text = {.data = NULL};
    sq_status s = table ? sq_table_render(table, format, &text)
                        : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    if (table && s != SQ_OK)
        sq_fail(err, s, "cannot render a table: %s", sq_status_text(s));
    if (s == SQ_OK)
        s = sq_text_print(&text, err);
    sq_text_free(&text);
    sq_table_free(table);
    return s;
}

/* --- queries --- */

static void add_column(sq_table *table, sqlite3_stmt *statement, int i)
{
    int type = sqlite3_column_type(statement, i);
    if (type == SQLITE_FLOAT || type == SQLITE_INTEGER)
        sq_table_number(table, sqlite3_column_double(statement, i), 6);
    else if (type == SQLITE_NULL)
        sq_table_number(table, NAN, 6);
    else
        sq_table_text(table, (const char *)sqlite3_column_text(statement, i));
}

static sq_table *new_table(sqlite3_stmt *statement)
{
    const char *columns[128] = {NULL};
    int n = sqlite3_column_count(statement);
    for (int i = 0; i < n && i < 127; i++)
        columns[i] = sqlite3_column_name(statement, i);
    return sq_table_new(columns);
}

static sq_status fetch(sqlite3 *handle, sqlite3_stmt *statement, sq_table *table, sq_error *err)
{
    int n = sqlite3_column_count(statement), rc;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW)
        for (int i = 0; i < n; i++)
            add_column(table, statement, i);
    return rc == SQLITE_DONE ? SQ_OK : sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(handle));
}

sq_status sq_query_table(sqlite3 *handle, const char *sql, const char *first, const char *second,
                         sq_table **out, sq_error *err)
{
    sqlite3_stmt *statement = NULL;
    *out = NULL;
    if (sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) != SQLITE_OK)
        return sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(handle));
    if (first)
        sqlite3_bind_text(statement, 1, first, -1, SQLITE_STATIC);
    if (second)
        sqlite3_bind_text(statement, 2, second, -1, SQLITE_STATIC);
    sq_table *table = new_table(statement);
    sq_status s = table ? fetch(handle, statement, table, err)
                        : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    sqlite3_finalize(statement);
    if (s == SQ_OK)
        *out = table;
    else
        sq_table_free(table);
    return s;
}
