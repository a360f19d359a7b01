/* cmd_run_request: from the words of a command line to a plan. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd_run.h"
#include "bench/peer.h"
#include "core/rng.h"
#include "profile/profile.h"
#include "profile/sets.h"

static const char command_line[] = "command line";

/* --- options: the table of the verb, the settings, and every axis --- */

enum { MAX_AXIS_OPTIONS = 512 };

typedef struct {
    sq_option *table;
    int count;
} axis_table;

static void add_axis_option(axis_table *t, const char *name, const sq_axis *axis)
{
    for (int i = 0; i < t->count; i++)
        if (strcmp(t->table[i].name, name) == 0)
            return;
    if (t->count < MAX_AXIS_OPTIONS && !sq_setting_find(name))
        t->table[t->count++] = (sq_option){.name = name, .metavar = "LIST", .doc = axis->doc};
}

static bool visit_axis(const sq_axis *axis, void *arg)
{
    add_axis_option(arg, axis->flag, axis);
    add_axis_option(arg, axis->name, axis);
    return true;
}

static int count_own(const sq_option *own)
{
    int n = 0;
    while (own[n].name)
        n++;
    return n;
}

static int count_settings(void)
{
    int n = 0;
    while (sq_setting_defs[n].option.name)
        n++;
    return n;
}

/* Both tables are owned by `run`. */
static sq_status make_options(sq_run *run, const sq_option *own, sq_error *err)
{
    int n_own = count_own(own), settings = count_settings(), n = 0;
    axis_table axes = {.table = calloc(MAX_AXIS_OPTIONS + 1, sizeof(sq_option))};
    sq_option *all = calloc((size_t)(n_own + settings) + 1, sizeof *all);
    run->axis_options = axes.table;
    run->options = all;
    if (!axes.table || !all)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the options");
    for (int i = 0; i < n_own; i++)
        all[n++] = own[i];
    for (int i = 0; i < settings; i++)
        if (!sq_setting_is_of_files(sq_setting_defs[i].option.name))
            all[n++] = sq_setting_defs[i].option;
    sq_subject_each_axis(visit_axis, &axes);
    return SQ_OK;
}

bool sq_run_parse(sq_run *run, const sq_verb *verb, int argc, char **argv, sq_outcome *outcome)
{
    sq_verb whole = *verb;
    sq_error err = {.status = SQ_OK};
    sq_status s = make_options(run, verb->options, &err);
    if (s != SQ_OK) {
        sq_outcome_error(outcome, s, &err);
        return false;
    }
    whole.options = run->options;
    whole.more = run->axis_options;
    return sq_verb_parse(&whole, argc, argv, &run->given, outcome);
}

/* --- settings --- */

/* Sorts what was given into campaign settings and overrides of the groups. */
static sq_status sort_given(sq_run *run, sq_settings *campaign, sq_error *err)
{
    for (int i = 0; i < run->given.count; i++) {
        const char *name = run->given.option[i]->name;
        const sq_setting_def *def = sq_setting_find(name);
        bool is_group = def ? def->scope == SQ_SCOPE_GROUP : sq_setting_is_axis(name);
        if (def || is_group)
            SQ_TRY(sq_settings_set(is_group ? &run->overrides : campaign, name, run->given.value[i],
                                   command_line, err));
    }
    return SQ_OK;
}

static sq_status collect_cells(sq_run *run, sq_error *err)
{
    int n = 0;
    for (int i = 0; i < run->given.count; i++) {
        if (strcmp(run->given.option[i]->name, "cell") != 0)
            continue;
        if (n == SQ_MAX_CELL_OPTIONS)
            return sq_fail(err, SQ_BAD_ARGUMENT, "more than %d --cell", SQ_MAX_CELL_OPTIONS);
        run->cells[n++] = run->given.value[i];
    }
    for (int i = 0; n && i < run->overrides.count; i++)
        if (strcmp(run->overrides.item[i].key, "width") != 0)
            return sq_fail(err, SQ_BAD_ARGUMENT,
                           "--cell says the whole cell; --%s cannot be given beside it",
                           run->overrides.item[i].key);
    return SQ_OK;
}

static sq_status drop_setting(sq_settings *settings, const char *key, sq_names *out, sq_error *err)
{
    const sq_setting *found = sq_settings_get(settings, key);
    if (!found)
        return SQ_OK;
    SQ_TRY(sq_names_split(found->value, out, err));
    sq_settings rest = {.count = 0};
    for (int i = 0; i < settings->count; i++)
        if (strcmp(settings->item[i].key, key) != 0)
            SQ_TRY(sq_settings_set(&rest, settings->item[i].key, settings->item[i].value,
                                   settings->item[i].origin, err));
    sq_settings_free(settings);
    *settings = rest;
    return SQ_OK;
}

/* Beside a suite, --op and --family select from it; unknown names are refused all the same. */
static sq_status read_selection(sq_run *run, sq_error *err)
{
    sq_subject subject;
    SQ_TRY(drop_setting(&run->overrides, "op", &run->ops, err));
    SQ_TRY(drop_setting(&run->overrides, "family", &run->families, err));
    for (int i = 0; i < run->ops.count; i++)
        SQ_TRY(sq_subject_find(SQ_KIND_OP, run->ops.item[i], &subject, err));
    for (int i = 0; i < run->families.count; i++)
        SQ_TRY(sq_subject_find(SQ_KIND_BLOCK, run->families.item[i], &subject, err));
    return SQ_OK;
}

static sq_status read_suite(sq_run *run, const char *name, sq_error *err)
{
    char path[1024];
    SQ_TRY(sq_suite_find(name, path, sizeof path, err));
    SQ_TRY(sq_suite_load(path, &run->suite, err));
    run->has_suite = true;
    run->groups = calloc((size_t)run->suite.n_groups, sizeof *run->groups);
    if (!run->groups)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a suite");
    run->n_groups = run->suite.n_groups;
    for (int i = 0; i < run->n_groups; i++) {
        SQ_TRY(sq_settings_merge(&run->groups[i], &run->suite.defaults, err));
        SQ_TRY(sq_settings_merge(&run->groups[i], &run->suite.groups[i], err));
    }
    return read_selection(run, err);
}

static sq_status read_groups(sq_run *run, sq_error *err)
{
    const char *suite = sq_given_value(&run->given, "suite",
                                       run->cells[0] ? NULL : run->default_suite);
    if (suite && run->cells[0])
        return sq_fail(err, SQ_BAD_ARGUMENT, "--cell and --suite exclude each other");
    if (suite)
        return read_suite(run, suite, err);
    if (run->cells[0])
        return SQ_OK;
    if (!sq_settings_get(&run->overrides, "op") && !sq_settings_get(&run->overrides, "family"))
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "nothing is selected: give --suite, --op, --family "
                       "or --cell (\"seqmark list\" says what there is)");
    run->groups = calloc(1, sizeof *run->groups);
    run->n_groups = 1;
    return run->groups ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a group");
}

static sq_status read_seed(sq_run *run, sq_error *err)
{
    const sq_setting *s = sq_settings_get(&run->campaign, "seed");
    if (s) {
        if (!sq_parse_seed(s->value, &run->seed))
            return sq_fail(err, SQ_BAD_ARGUMENT,
                           "%s: seed: \"%s\" is no whole number below 2^64", s->origin, s->value);
        return SQ_OK;
    }
    char uuid[SQ_UUID_TEXT], digits[9] = "";
    SQ_TRY(sq_uuid_new(uuid, err));
    memcpy(digits, uuid, 8);
    run->seed = strtoull(digits, NULL, 16);
    return SQ_OK;
}

static sq_status read_order(sq_run *run, sq_error *err)
{
    static const char *const orders[] = {"random", "plan", NULL};
    const char *order = sq_settings_text(&run->campaign, "order", "random");
    run->is_random = strcmp(order, "random") == 0;
    if (!run->is_random && strcmp(order, "plan") != 0)
        return sq_setting_at(sq_settings_get(&run->campaign, "order"),
                             sq_fail_unknown(err, "order", order, orders), err);
    return SQ_OK;
}

static sq_status read_filter(sq_run *run, sq_error *err)
{
    const sq_setting *s = sq_settings_get(&run->campaign, "filter");
    return s ? sq_setting_at(s, sq_filter_parse(s->value, &run->filter, err), err) : SQ_OK;
}

static sq_status read_budget(sq_run *run, sq_error *err)
{
    const sq_setting *s = sq_settings_get(&run->campaign, "budget");
    SQ_TRY(sq_settings_seconds(&run->campaign, "budget", &run->budget_seconds, err));
    if (s && !(run->budget_seconds > 0))
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: budget: no run fits into 0 seconds", s->origin);
    return SQ_OK;
}

static bool is_any(const char *text, const char *const *words)
{
    while (*words && strcmp(text, *words) != 0)
        words++;
    return *words != NULL;
}

/* Sets of counters by name, or a file; read here, so that a bad one ends the command at once. */
static sq_status read_counters(sq_run *run, sq_error *err)
{
    static const char *const on[] = {"on", "true", "yes", NULL};
    static const char *const off[] = {"off", "false", "no", NULL};
    const sq_setting *s = sq_settings_get(&run->campaign, "counters");
    run->counters = !s || is_any(s->value, on) ? "basic" : is_any(s->value, off) ? NULL : s->value;
    const char *sets = run->counters ? run->counters : "basic";
    sq_status status = strcmp(sets, "timeline") == 0
                           ? sq_fail(err, SQ_BAD_ARGUMENT, "the set \"timeline\" is sampled, not "
                                                           "counted")
                           : sq_set_load(sets, NULL, &run->counter_set, err);
    SQ_TRY(sq_setting_at(s, status, err));
    SQ_TRY(sq_settings_switch(&run->campaign, "count-every-run", &run->counts_every_run, err));
    run->metrics = sq_set_metrics(run->counter_set);
    return run->metrics ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for metrics");
}

static sq_status read_campaign(sq_run *run, sq_error *err)
{
    const sq_settings *said = &run->campaign;
    run->replicates = 1;
    SQ_TRY(sq_settings_count(said, "replicates", 1, 1000, &run->replicates, err));
    SQ_TRY(sq_settings_count(said, "allow-failed", 0, 1000000, &run->allow_failed, err));
    run->max_inconclusive = NAN;
    SQ_TRY(sq_settings_share(&run->suite.campaign, "max-inconclusive", &run->max_inconclusive, err));
    SQ_TRY(read_budget(run, err));
    SQ_TRY(read_counters(run, err));
    SQ_TRY(sq_settings_policy(said, &run->policy, err));
    SQ_TRY(read_order(run, err));
    SQ_TRY(read_seed(run, err));
    return read_filter(run, err);
}

/* A label that the store would cut could not be asked for again. */
static sq_status check_label(const sq_run *run, sq_error *err)
{
    size_t most = sizeof ((sq_campaign *)0)->label - 1;
    if (strlen(sq_given_value(&run->given, "label", "")) > most)
        return sq_fail(err, SQ_BAD_ARGUMENT, "--label is longer than %zu bytes", most);
    return SQ_OK;
}

static sq_status read_retry(sq_run *run, sq_error *err)
{
    const char *statuses = sq_given_value(&run->given, "retry", NULL);
    sq_run_status ignored;
    if (statuses)
        SQ_TRY(sq_names_split(statuses, &run->retry, err));
    for (int i = 0; i < run->retry.count; i++)
        SQ_TRY(sq_run_status_parse(run->retry.item[i], &ignored, err));
    return SQ_OK;
}

static sq_status read_clock(sq_run *run, sq_error *err)
{
    const char *text = sq_given_value(&run->given, "lock-clocks", NULL);
    run->clock = SQ_CLOCK_UNLOCKED;
    if (!text)
        return SQ_OK;
    if (sq_given_has(&run->given, "profile"))
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "--profile measures nothing, so --lock-clocks cannot be given beside it");
    return sq_clock_parse_lock(text, &run->clock, err);
}

sq_status sq_run_read(sq_run *run, sq_error *err)
{
    sq_settings said = {.count = 0};
    sq_status s = sort_given(run, &said, err);
    if (s == SQ_OK)
        s = check_label(run, err);
    if (s == SQ_OK)
        s = read_retry(run, err);
    if (s == SQ_OK)
        s = read_clock(run, err);
    if (s == SQ_OK)
        s = collect_cells(run, err);
    if (s == SQ_OK)
        s = read_groups(run, err);
    if (s == SQ_OK)
        s = sq_settings_merge(&run->campaign, &run->suite.campaign, err);
    if (s == SQ_OK)
        s = sq_settings_merge(&run->campaign, &said, err);
    if (s == SQ_OK)
        s = read_campaign(run, err);
    sq_settings_free(&said);
    return s;
}

/* --- plan --- */

static sq_status complete_by(sq_run *run, const sq_settings *settings, sq_error *err)
{
    const sq_setting *providers = sq_settings_get(settings, "provider");
    if (!providers)
        return SQ_OK;
    return sq_setting_at(
        providers,
        sq_peers_complete(providers->value, run->target.name, &run->target.catalog, err), err);
}

/* Adapters of external providers are asked only where one is named: one that does not greet ends it. */
static sq_status complete_catalog(sq_run *run, sq_error *err)
{
    SQ_TRY(complete_by(run, &run->overrides, err));
    for (int i = 0; i < run->n_groups; i++)
        if (!sq_settings_get(&run->overrides, "provider"))
            SQ_TRY(complete_by(run, &run->groups[i], err));
    for (int i = 0; run->cells[i]; i++) {
        sq_cell cell;
        sq_subject subject;
        SQ_TRY(sq_cell_parse(run->cells[i], &cell, &subject, err));
        SQ_TRY(sq_peers_complete(cell.provider, run->target.name, &run->target.catalog, err));
    }
    return SQ_OK;
}

sq_status sq_run_open_target(sq_run *run, const char *device, sq_error *err)
{
    SQ_TRY(sq_target_open(device, &run->target, err));
    run->rates = sq_rates_nominal(&run->target.device);
    return complete_catalog(run, err);
}

sq_status sq_run_plan(sq_run *run, sq_error *err)
{
    sq_plan_request request = {.groups = run->groups,
                               .n_groups = run->n_groups,
                               .overrides = &run->overrides,
                               .only_ops = run->ops.count ? &run->ops : NULL,
                               .only_families = run->families.count ? &run->families : NULL,
                               .cells = run->cells,
                               .catalog = &run->target.catalog,
                               .filter = run->filter,
                               .policy = &run->policy,
                               .rates = &run->rates,
                               .replicates = run->replicates,
                               .sentinel_share = run->sentinel_share,
                               .is_random = run->is_random,
                               .clock = run->clock,
                               .is_untimed = sq_given_has(&run->given, "profile"),
                               .counters = run->counters,
                               .counts_every_run = run->counts_every_run,
                               .seed = run->seed};
    sq_plan_free(&run->plan);
    return sq_plan_build(&request, &run->plan, err);
}

void sq_run_free(sq_run *run)
{
    for (int i = 0; run->groups && i < run->n_groups; i++)
        sq_settings_free(&run->groups[i]);
    free(run->groups);
    free(run->options);
    free(run->axis_options);
    sq_set_free(run->counter_set);
    free(run->metrics);
    sq_suite_free(&run->suite);
    sq_settings_free(&run->campaign);
    sq_settings_free(&run->overrides);
    sq_names_free(&run->ops);
    sq_names_free(&run->families);
    sq_names_free(&run->retry);
    sq_filter_free(run->filter);
    sq_target_close(&run->target);
    sq_plan_free(&run->plan);
    free(run->argv);
    free(run->policy_text);
}
