/* seqmark report: the page and the summary table of a store. */
#include <stdio.h>

#include "bench/command.h"
#include "reports/report.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    SQ_OPTION_DB,
    {"out", 0, "DIR", "where the page and the figures go (default out/report)"},
    {"campaign", 0, "CAMPAIGN", "uuid prefix, label, latest, latest~N, baseline:NAME; default: all"},
    {"gnuplot", 0, "PROGRAM", "the gnuplot to use (default: the one on PATH)"},
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

static sq_status render(const sq_given *given, sq_db *db, const char *campaign, sq_error *err)
{
    sq_format format;
    sq_text summary = {.data = NULL};
    sq_report_result result = {.figures = 0};
    sq_report_options o = {.out_dir = sq_given_value(given, "out", "out/report"),
                           .campaign = campaign,
                           .gnuplot = sq_given_value(given, "gnuplot", NULL)};
    SQ_TRY(sq_given_format(given, &format, err));
    SQ_TRY(sq_report_render(db, &o, &result, err));
    sq_status s = sq_report_summary(db, campaign, (int)format, &summary, err);
    if (s == SQ_OK)
        s = sq_text_print(&summary, err);
    sq_text_free(&summary);
    if (result.note[0])
        fprintf(stderr, "%s\n", result.note);
    fprintf(stderr, "%d figures (%d left out), %d cells, %d failures\n%s\n", result.figures,
            result.figures_skipped, result.cells, result.failures, result.page);
    return s;
}

static sq_status report(const sq_given *given, sq_error *err)
{
    sq_db *db = NULL;
    char uuid[SQ_UUID_TEXT] = "";
    const char *campaign = sq_given_value(given, "campaign", NULL);
    if (given->n_arguments)
        return sq_fail(err, SQ_BAD_ARGUMENT, "report takes options only, not \"%s\"",
                       given->argument[0]);
    SQ_TRY(sq_db_open(sq_given_db(given), SQ_DB_READ, &db, err));
    sq_status s = campaign ? sq_db_resolve_campaign(db, campaign, uuid, err) : SQ_OK;
    if (s == SQ_OK)
        s = render(given, db, campaign ? uuid : NULL, err);
    sq_db_close(db);
    return s;
}

void sq_cmd_report(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "report [options]",
        .text = "Renders one offline HTML page with figures (SVG, PNG) and prints a summary\n"
                "table. Needs no GPU: any machine will do, with a copy of the store.",
        .options = options};
    sq_verb_run(&verb, argc, argv, report, outcome);
}
