/* cmd_run_print: the plan and the configuration of a campaign, as tables. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/cmd_run.h"

/* --- dry run --- */

static void add_item(sq_table *table, const sq_plan_item *item)
{
    bool is_run = item->status == SQ_RUN_OK && !item->is_done;
    sq_table_text(table, item->key);
    sq_table_number(table, item->replicate, 6);
    sq_table_text(table, item->is_done ? "done" : is_run ? "run" : sq_run_status_name(item->status));
    sq_table_number(table, item->tensor_bytes > 0 ? item->tensor_bytes : NAN, 4);
    sq_table_number(table, item->launch_ns > 0 ? item->launch_ns / 1e6 : NAN, 3);
    sq_table_number(table, is_run ? item->seconds : 0, 3);
    sq_table_text(table, item->reason);
}

static void print_total(const sq_run *run)
{
    double seconds = 0;
    int skipped = 0, done = 0;
    for (int i = 0; i < run->plan.count; i++) {
        const sq_plan_item *item = &run->plan.item[i];
        bool is_run = item->status == SQ_RUN_OK && !item->is_done;
        seconds += is_run ? item->seconds : 0;
        done += item->is_done;
        skipped += !is_run && !item->is_done;
    }
    fprintf(stderr, "%d cell%s, %d run%s (%d skipped, %d done) on %s; predicted %.0f s; plan %s\n",
            run->plan.n_cells, run->plan.n_cells == 1 ? "" : "s", run->plan.count,
            run->plan.count == 1 ? "" : "s", skipped, done, run->target.device.name, seconds,
            run->plan.hash);
}

sq_status sq_run_print_plan(const sq_run *run, sq_format format, sq_error *err)
{
    static const char *const columns[] = {"cell",      "replicate", "what",   "bytes",
                                          "launch_ms", "run_s",     "reason", NULL};
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < run->plan.count; i++)
        add_item(table, &run->plan.item[i]);
    SQ_TRY(sq_table_print(table, format, err));
    print_total(run);
    return SQ_OK;
}

/* --- configuration --- */

static void add_row(sq_table *table, const char *scope, const char *key, const char *value,
                    const char *origin)
{
    sq_table_text(table, scope);
    sq_table_text(table, key);
    sq_table_text(table, value);
    sq_table_text(table, origin);
}

static void add_settings(sq_table *table, const char *scope, const sq_settings *settings)
{
    for (int i = 0; i < settings->count; i++)
        add_row(table, scope, settings->item[i].key, settings->item[i].value,
                settings->item[i].origin);
}

static void add_default(sq_table *table, const sq_run *run, const char *key, const char *value,
                        const char *origin)
{
    if (!sq_settings_get(&run->campaign, key))
        add_row(table, "campaign", key, value, origin);
}

/* What nobody said, with the value that holds. */
static void add_defaults(sq_table *table, const sq_run *run)
{
    char text[32];
    snprintf(text, sizeof text, "%d", run->replicates);
    add_default(table, run, "replicates", text, "default");
    snprintf(text, sizeof text, "%d", run->allow_failed);
    add_default(table, run, "allow-failed", text, "default");
    for (const sq_policy_field *f = sq_policy_fields; f->setting; f++) {
        sq_policy_format(&run->policy, f, text, sizeof text);
        add_default(table, run, f->setting, text, "policy");
    }
    add_default(table, run, "policy", "quick", "default");
    add_default(table, run, "order", "random", "default");
    add_default(table, run, "counters", "basic", "default");
    snprintf(text, sizeof text, "%" PRIu64, run->seed);
    add_default(table, run, "seed", text, "drawn");
}

static sq_status add_group(sq_table *table, const sq_run *run, int i, sq_error *err)
{
    sq_settings merged = {.count = 0};
    char scope[24];
    snprintf(scope, sizeof scope, "group %d", i + 1);
    sq_status s = sq_settings_merge(&merged, &run->groups[i], err);
    if (s == SQ_OK)
        s = sq_settings_merge(&merged, &run->overrides, err);
    if (s == SQ_OK)
        add_settings(table, scope, &merged);
    sq_settings_free(&merged);
    return s;
}

sq_status sq_run_print_config(const sq_run *run, sq_format format, sq_error *err)
{
    static const char *const columns[] = {"scope", "key", "value", "origin", NULL};
    sq_table *table = sq_table_new(columns);
    if (!table)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    add_settings(table, "campaign", &run->campaign);
    add_defaults(table, run);
    for (int i = 0; i < run->n_groups; i++) {
        sq_status s = add_group(table, run, i, err);
        if (s != SQ_OK) {
            sq_table_free(table);
            return s;
        }
    }
    return sq_table_print(table, format, err);
}
