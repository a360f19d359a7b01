/* seqmark gate: a campaign of a store beside a baseline. Judges, stores the verdicts, measures
 * nothing. */
#include "bench/cmd_gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/stamp.h"
#include "reports/files.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    SQ_OPTION_DB,
    SQ_GATE_OPTIONS,
    {"allow-failed", 0, "N", "cells that may fail (default 0); more are exit code 6"},
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

static const char baseline_prefix[] = "baseline:";

/* --- what was asked for --- */

sq_status sq_given_share(const sq_given *given, const char *name, double *out, sq_error *err)
{
    const char *text = sq_given_value(given, name, NULL);
    if (text && !sq_parse_share(text, out))
        return sq_fail(err, SQ_BAD_ARGUMENT, "--%s \"%s\": a share like 2%% or 0.02", name, text);
    return SQ_OK;
}

sq_status sq_gate_given(const sq_given *given, sq_gate_options *out, sq_error *err)
{
    const sq_across modes = ~0u << SQ_JOIN_GROUND;
    *out = sq_gate_options_default();
    out->version = sq_build_stamp.version;
    out->git_commit = sq_build_stamp.git_commit;
    out->baseline_name = "";
    if (sq_given_has(given, "across"))
        SQ_TRY(sq_across_parse(sq_given_value(given, "across", ""), &out->across, err));
    if (out->across & modes)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "--across: cells of different cache, launch or clock modes are shown by "
                       "compare, and never judged");
    SQ_TRY(sq_given_share(given, "min-effect", &out->min_effect, err));
    SQ_TRY(sq_given_share(given, "setup-effect", &out->setup_min_effect, err));
    return sq_given_share(given, "max-inconclusive", &out->inconclusive_limit, err);
}

sq_status sq_gate_baseline(sq_db *db, const char *text, sq_gate_options *out, sq_error *err)
{
    size_t n = sizeof baseline_prefix - 1;
    out->baseline_text = text;
    out->baseline_name = strncmp(text, baseline_prefix, n) == 0 ? text + n : "";
    return sq_db_resolve_campaign(db, text, out->baseline, err);
}

static sq_status read_allowed(const sq_given *given, int *out, sq_error *err)
{
    const char *text = sq_given_value(given, "allow-failed", "0");
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 0 || value > 1000000)
        return sq_fail(err, SQ_BAD_ARGUMENT, "--allow-failed \"%s\" is no number of cells", text);
    *out = (int)value;
    return SQ_OK;
}

/* --- what comes of it --- */

static sq_status write_in(const char *folder, const char *name, const sq_text *text, sq_error *err)
{
    if (text->is_failed)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %s", name);
    SQ_TRY(sq_check_dir(folder, err));
    SQ_TRY(sq_make_dirs(folder, err));
    return sq_write_file(folder, name, text->data, err);
}

static sq_status write_to(const char *path, const sq_text *text, sq_error *err)
{
    char folder[SQ_PATH_ROOM + 2]; /* one that is too long stays so */
    const char *slash = strrchr(path, '/');
    if (!slash)
        return write_in(".", path, text, err);
    snprintf(folder, sizeof folder, "%.*s", slash > path ? (int)(slash - path) : 1, path);
    return write_in(folder, slash + 1, text, err);
}

static sq_status write_junit(const sq_judging *gate, const char *path, sq_error *err)
{
    sq_text text = {.data = NULL};
    sq_gate_junit(gate, &text);
    sq_status s = write_to(path, &text, err);
    sq_text_free(&text);
    return s;
}

static sq_status write_markdown(const sq_judging *gate, const char *path, sq_error *err)
{
    sq_text text = {.data = NULL};
    sq_status s = sq_gate_print(gate, SQ_FORMAT_MD, &text, err);
    if (s == SQ_OK)
        s = write_to(path, &text, err);
    sq_text_free(&text);
    return s;
}

static sq_status write_page(const sq_judging *gate, const char *folder, sq_error *err)
{
    sq_text text = {.data = NULL};
    sq_gate_page(gate, &text);
    sq_status s = write_in(folder, "index.html", &text, err);
    sq_text_free(&text);
    return s;
}

static sq_status write_files(const sq_judging *gate, const sq_given *given, sq_error *err)
{
    const char *junit = sq_given_value(given, "junit", NULL);
    const char *markdown = sq_given_value(given, "markdown", NULL);
    const char *html = sq_given_value(given, "html", NULL);
    if (junit)
        SQ_TRY(write_junit(gate, junit, err));
    if (markdown)
        SQ_TRY(write_markdown(gate, markdown, err));
    return html ? write_page(gate, html, err) : SQ_OK;
}

sq_status sq_gate_publish(const sq_judging *gate, const sq_given *given, sq_error *err)
{
    sq_format format;
    sq_text text = {.data = NULL}, notes = {.data = NULL};
    SQ_TRY(sq_given_format(given, &format, err));
    sq_status s = sq_gate_print(gate, format, &text, err);
    if (s == SQ_OK)
        s = sq_text_print(&text, err);
    sq_gate_notes(gate, &notes);
    fputs(notes.length ? notes.data : "", stderr);
    sq_text_free(&text);
    sq_text_free(&notes);
    return s == SQ_OK ? write_files(gate, given, err) : s;
}

/* --- the verb --- */

static sq_status judge(const sq_given *given, sq_db *db, sq_gate_options *o, sq_outcome *outcome,
                       sq_error *err)
{
    sq_judging *gate = NULL;
    o->night_text = given->argument[1];
    SQ_TRY(sq_gate_baseline(db, given->argument[0], o, err));
    SQ_TRY(sq_db_resolve_campaign(db, o->night_text, o->night, err));
    SQ_TRY(sq_gate_open(db, o, &gate, err));
    sq_gate_give_up(gate, 0, "not measured again: seqmark nightly does");
    sq_status s = sq_gate_store(gate, db, true, err);
    if (s == SQ_OK)
        s = sq_gate_publish(gate, given, err);
    sq_gate_end end = sq_gate_conclude(gate);
    if (s == SQ_OK)
        sq_outcome_set(outcome, end.code, "%s", end.why);
    sq_gate_free(gate);
    return s;
}

static sq_status execute(const sq_given *given, sq_outcome *outcome, sq_error *err)
{
    sq_gate_options o;
    sq_db *db = NULL;
    sq_format format;
    if (given->n_arguments != 2)
        return sq_fail(err, SQ_BAD_ARGUMENT, "gate takes a baseline and a campaign, not %d words",
                       given->n_arguments);
    SQ_TRY(sq_given_format(given, &format, err));
    SQ_TRY(sq_gate_given(given, &o, err));
    SQ_TRY(read_allowed(given, &o.allow_failed, err));
    SQ_TRY(sq_given_open_store(given, &db, err));
    sq_status s = judge(given, db, &o, outcome, err);
    sq_db_close(db);
    return s;
}

void sq_cmd_gate(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "gate A B [options]",
        .text =
            "Judges campaign B beside the baseline A (baseline:NAME, or any campaign) and stores "
            "the\nverdicts. Measures nothing: a suspect stays unresolved (exit code 3) until "
            "\"seqmark nightly\"\nmeasures it again. Exit codes: 0 as good or better, 2 confirmed "
            "regression, 3 inconclusive,\n4 wrong numbers, 5 not comparable or unfit, 6 cells "
            "failed.",
        .options = options};
    sq_error err = {.status = SQ_OK};
    sq_given given;
    if (!sq_verb_parse(&verb, argc, argv, &given, outcome))
        return;
    sq_status s = execute(&given, outcome, &err);
    if (s != SQ_OK)
        sq_outcome_error(outcome, s, &err);
}
