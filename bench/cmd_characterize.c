/* seqmark characterize: every ceiling of a device, measured, stored, and as a data sheet. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/characterize.h"
#include "bench/command.h"
#include "bench/signals.h"
#include "profile/profile.h"
#include "reports/datasheet.h"
#include "reports/files.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    SQ_OPTION_DEVICE,
    SQ_OPTION_DB,
    {"label", 0, "TEXT", "a name for the campaign"},
    {"out", 0, "DIR", "where the data sheet goes (default out/characterize)"},
    {"gnuplot", 0, "PROGRAM", "the gnuplot to use (default: the one on PATH)"},
    {"output", 'o', "FORMAT",
     "table (default), md, csv, json, jsonl, or html: the data sheet itself"},
    {NULL, 0, NULL, NULL},
};

typedef struct {
    const sq_given *given;
    sq_target target;
    sq_campaign campaign;
    char *argv;
    sq_sink sink;
    int count;
} characterization;

/* --- measuring --- */

static sq_status on_ceiling(void *self, const sq_ceiling *ceiling, sq_error *err)
{
    characterization *c = self;
    fprintf(stderr, "%-28s %.4g %s [%.4g, %.4g]", ceiling->name, ceiling->value, ceiling->unit,
            ceiling->lo, ceiling->hi);
    if (!isnan(ceiling->sm_mhz))
        fprintf(stderr, " at %.0f MHz", ceiling->sm_mhz);
    fprintf(stderr, "\n");
    c->count++;
    return c->sink.ceiling(c->sink.self, ceiling, err);
}

static void on_absent(void *self, const char *name, const char *reason)
{
    (void)self;
    sq_text line = {.data = NULL};
    sq_text_add_plain(&line, reason);
    fprintf(stderr, "%-28s absent: %s\n", name, line.data ? line.data : "");
    sq_text_free(&line);
}

/* Measures into the store. What was stored before a failure or a signal stays. */
static sq_status measure(characterization *c, sq_error *err)
{
    const sq_ceiling_observer observer = {.self = c, .ceiling = on_ceiling, .absent = on_absent};
    SQ_TRY(c->sink.begin(c->sink.self, &c->campaign, &c->target.environment, &c->target.device,
                         sq_metrics, err));
    sq_signals_install();
    sq_status s = sq_ask_characterize(&c->target, &observer, err);
    const char *state = s == SQ_OK ? "finished" : s == SQ_INTERRUPTED ? "interrupted" : "failed";
    sq_status ended = c->sink.finish(c->sink.self, state, s == SQ_OK ? err : NULL);
    return s == SQ_OK ? ended : s;
}

/* --- the sheet --- */

static sq_status print_sheet(const sq_given *given, const sq_datasheet *sheet,
                             const sq_datasheet_result *result, sq_error *err)
{
    sq_format format;
    bool is_html;
    sq_text text = {.data = NULL};
    SQ_TRY(sq_given_page_format(given, &format, &is_html, err));
    sq_status s = is_html ? sq_read_file(result->page, &text, err)
                          : sq_datasheet_table(sheet, format, &text, err);
    if (s == SQ_OK)
        s = sq_text_print(&text, err);
    sq_text_free(&text);
    return s;
}

static sq_status render(const characterization *c, sq_db *db, sq_error *err)
{
    sq_datasheet sheet;
    sq_datasheet_result result;
    SQ_TRY(sq_datasheet_read(db, c->campaign.uuid, &sheet, err));
    SQ_TRY(sq_datasheet_render(db, &sheet, sq_given_value(c->given, "out", "out/characterize"),
                               sq_given_value(c->given, "gnuplot", NULL), &result, err));
    if (result.note[0])
        fprintf(stderr, "%s\n", result.note);
    fprintf(stderr, "%s\n", result.page);
    return print_sheet(c->given, &sheet, &result, err);
}

/* --- the verb --- */

static sq_status with_store(characterization *c, sq_outcome *outcome, sq_error *err)
{
    sq_db *db = NULL;
    SQ_TRY(sq_db_open(sq_given_db(c->given), SQ_DB_WRITE, &db, err));
    c->sink = sq_db_sink(db);
    fprintf(stderr, "campaign %.8s: the ceilings of %s, into %s\n", c->campaign.uuid,
            c->target.device.name, sq_given_db(c->given));
    sq_status s = measure(c, err);
    if (s == SQ_INTERRUPTED) {
        sq_outcome_set(outcome, SQ_EXIT_INTERRUPTED, "interrupted; %d ceilings stored", c->count);
        s = SQ_OK;
    } else if (s == SQ_OK && c->count == 0) {
        s = sq_fail(err, SQ_DEVICE, "no ceiling of %s could be measured", c->target.device.name);
    } else if (s == SQ_OK) {
        s = render(c, db, err);
    }
    sq_db_close(db);
    return s;
}

static sq_status execute(characterization *c, int argc, char **argv, sq_outcome *outcome,
                         sq_error *err)
{
    sq_format format;
    bool is_html;
    if (c->given->n_arguments)
        return sq_fail(err, SQ_BAD_ARGUMENT, "characterize takes options only, not \"%s\"",
                       c->given->argument[0]);
    SQ_TRY(sq_given_page_format(c->given, &format, &is_html, err));
    SQ_TRY(sq_target_open(sq_given_value(c->given, "device", NULL), &c->target, err));
    if (c->target.note[0])
        fprintf(stderr, "%s: measuring the CPU\n", c->target.note);
    SQ_TRY(sq_command_hold(&c->target, argc, argv, err));
    SQ_TRY(
        sq_campaign_new("characterize", sq_given_value(c->given, "label", ""), &c->campaign, err));
    c->argv = sq_command_line(argc, argv);
    c->campaign.argv = c->argv ? c->argv : "";
    return with_store(c, outcome, err);
}

void sq_cmd_characterize(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "characterize [options]",
        .text =
            "Measures what the device can do at most, in two minutes at the longest: launches,\n"
            "memory at every level, matrix products in a burst and sustained, arithmetic,\n"
            "atomics, links, power. Stores each ceiling with its interval and renders a data\n"
            "sheet. \"seqmark run\" on the same device goes by these ceilings afterwards.",
        .options = options};
    sq_error err = {.status = SQ_OK};
    sq_given given;
    if (!sq_verb_parse(&verb, argc, argv, &given, outcome))
        return;
    characterization c = {.given = &given};
    sq_status s = execute(&c, argc, argv, outcome, &err);
    sq_target_close(&c.target);
    free(c.argv);
    if (s != SQ_OK)
        sq_outcome_error(outcome, s, &err);
}
