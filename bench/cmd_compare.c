/* seqmark compare: two sides of a store, or the providers of one campaign, cell by cell. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/command.h"
#include "bench/filter.h"
#include "reports/compare.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    SQ_OPTION_DB,
    {"by", 0, "provider", "compares the providers of one campaign instead of two sides"},
    {"reference", 0, "PROVIDER",
     "with --by provider: the one that the others are over (default: the fastest of each cell)"},
    {"across", 0, "FIELDS",
     "compares sides that differ in these: device, driver, toolkit, harness, policy, cache, "
     "launch, clock"},
    {"filter", 0, "EXPR", "keeps the cells for which this holds: \"L<=8k and dtype==bf16\""},
    {"bootstrap", 0, "DRAWS",
     "draws of the bootstrap interval in csv, json and jsonl (default 1000, 0 leaves it out)"},
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

enum { MAX_DRAWS = 1000000, SIDE_MAX = 256 };

/* "CAMPAIGN", "CAMPAIGN:odd" or "CAMPAIGN:even". */
static sq_status parse_side(sq_db *db, const char *text, sq_side *out, sq_error *err)
{
    char campaign[SIDE_MAX];
    if (strlen(text) >= sizeof campaign)
        return sq_fail(err, SQ_BAD_ARGUMENT, "the name of a side is longer than %d characters",
                       SIDE_MAX - 1);
    strcpy(campaign, text);
    *out = (sq_side){.name = text, .replicates = SQ_ALL_RUNS};
    char *colon = strrchr(campaign, ':');
    bool is_odd = colon && strcmp(colon, ":odd") == 0;
    if (is_odd || (colon && strcmp(colon, ":even") == 0)) {
        *colon = 0;
        out->replicates = is_odd ? SQ_ODD_RUNS : SQ_EVEN_RUNS;
    }
    return sq_db_resolve_campaign(db, campaign, out->campaign, err);
}

static sq_status read_draws(const sq_given *given, int *draws, sq_error *err)
{
    double value;
    const char *text = sq_given_value(given, "bootstrap", "1000");
    if (!sq_parse_number(text, &value) || value < 0 || value > MAX_DRAWS || value != floor(value))
        return sq_fail(err, SQ_BAD_ARGUMENT, "bootstrap: \"%s\" is not a whole number up to %d",
                       text, MAX_DRAWS);
    *draws = (int)value;
    return SQ_OK;
}

static sq_status read_options(const sq_given *given, sq_compare_options *out, sq_error *err)
{
    static const char *const kinds[] = {"provider", NULL};
    const char *by = sq_given_value(given, "by", NULL);
    int kind;
    if (by)
        SQ_TRY(sq_find_name("thing to compare by", by, kinds, &kind, err));
    out->is_by_provider = by != NULL;
    out->reference = sq_given_value(given, "reference", NULL);
    if (out->reference && !by)
        return sq_fail(err, SQ_BAD_ARGUMENT, "--reference belongs to --by provider");
    if (given->n_arguments != (by ? 1 : 2))
        return sq_fail(err, SQ_BAD_ARGUMENT, "compare%s takes %s, not %d",
                       by ? " --by provider" : "", by ? "one campaign" : "two sides",
                       given->n_arguments);
    if (sq_given_has(given, "across"))
        SQ_TRY(sq_across_parse(sq_given_value(given, "across", ""), &out->across, err));
    if (by && out->across >> SQ_JOIN_GROUND)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "--by provider compares cells of the same cache, launch and clock mode");
    SQ_TRY(read_draws(given, &out->draws, err));
    return sq_given_format(given, &out->format, err);
}

static sq_status print(sq_db *db, const sq_compare_options *o, sq_error *err)
{
    sq_text text = {.data = NULL}, notes = {.data = NULL};
    sq_status s = sq_report_compare(db, o, &text, &notes, err);
    if (s == SQ_OK)
        s = sq_text_print(&text, err);
    if (s == SQ_OK && notes.length)
        fputs(notes.data, stderr);
    sq_text_free(&text);
    sq_text_free(&notes);
    return s;
}

static sq_status compare_in(sq_db *db, const sq_given *given, sq_compare_options *o, sq_error *err)
{
    SQ_TRY(parse_side(db, given->argument[0], &o->a, err));
    if (!o->is_by_provider)
        SQ_TRY(parse_side(db, given->argument[1], &o->b, err));
    return print(db, o, err);
}

static sq_status compare(const sq_given *given, sq_error *err)
{
    sq_compare_options o = {.draws = 0};
    sq_filter *filter = NULL;
    sq_db *db = NULL;
    SQ_TRY(read_options(given, &o, err));
    SQ_TRY(sq_given_filter(given, &filter, err));
    o.keeps = filter ? sq_keeps_cell : NULL; /* keys of other versions need not be read */
    o.self = filter;
    sq_status s = sq_db_open(sq_given_db(given), SQ_DB_READ, &db, err);
    if (s == SQ_OK)
        s = compare_in(db, given, &o, err);
    sq_db_close(db);
    sq_filter_free(filter);
    return s;
}

void sq_cmd_compare(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "compare A B [options]\n       seqmark compare CAMPAIGN --by provider [options]",
        .text =
            "A, B: a campaign (uuid prefix, label, latest, latest~N, baseline:NAME), with :odd\n"
            "or :even of those replicates only. Prints the ratio B over A of every cell with its "
            "95 %\n"
            "interval, in time and in cycles, and the spread between runs. Shows and does\n"
            "not judge: the exit code is 0 whatever the ratios are.",
        .options = options};
    sq_verb_run(&verb, argc, argv, compare, outcome);
}
