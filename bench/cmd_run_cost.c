/* cmd_run_cost: what a campaign cost, and where its time went: as talk, and as JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "bench/cmd_run.h"

static double share(const sq_runner_result *result, int i)
{
    return result->cost.seconds > 0 ? 100 * result->phase[i].seconds / result->cost.seconds : 0;
}

static void print_plan_time(const sq_run *run, const sq_cost_summary *cost)
{
    const double seconds = cost->plan_seconds;
    char text[32], median[32];
    sq_format_ns(seconds * 1e9, text, sizeof text);
    if (seconds >= 120)
        snprintf(text, sizeof text, "%.0f min", seconds / 60);
    fprintf(stderr, "the whole plan at this pace: %d cell%s x %d take%s %s", run->plan.n_cells,
            run->plan.n_cells == 1 ? "" : "s", run->replicates, run->plan.n_cells == 1 ? "s" : "",
            text);
    sq_format_ns(cost->plan_median_seconds * 1e9, median, sizeof median);
    if (!isnan(cost->plan_median_seconds))
        fprintf(stderr, ", one run %s (median)", median);
    fputc('\n', stderr);
}

void sq_run_print_cost(const sq_run *run, const sq_runner_result *result)
{
    const sq_cost_summary *cost = &result->cost;
    char median[32], mean[32];
    if (!cost->n_runs)
        return;
    sq_format_ns(cost->median_seconds * 1e9, median, sizeof median);
    sq_format_ns(cost->mean_seconds * 1e9, mean, sizeof mean);
    fprintf(stderr, "%d run%s took %.1f s; ", cost->n_runs, cost->n_runs == 1 ? "" : "s",
            cost->seconds);
    if (cost->n_timed)
        fprintf(stderr, "one with a time takes %s (median), %s (mean), all in; ", median, mean);
    fputs("where the time went:\n ", stderr);
    for (int i = 0; i < result->n_phases; i++)
        fprintf(stderr, "%s %s %.1f %%", i ? "," : "", result->phase[i].name, share(result, i));
    fputc('\n', stderr);
    if (result->left && !isnan(cost->plan_seconds))
        print_plan_time(run, cost);
}

static void set_real(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, isnan(value) ? json_null() : json_real(value));
}

static json_t *write_cost(const sq_run *run, const sq_runner_result *result)
{
    const sq_cost_summary *cost = &result->cost;
    json_t *phases = json_array();
    for (int i = 0; i < result->n_phases; i++) {
        json_t *phase = json_pack("{s:s}", "phase", result->phase[i].name);
        set_real(phase, "seconds", result->phase[i].seconds);
        set_real(phase, "percent", share(result, i));
        json_array_append_new(phases, phase);
    }
    json_t *json = json_pack("{s:i, s:i, s:i, s:i, s:i, s:o}", "runs", cost->n_runs, "timed_runs",
                             cost->n_timed, "left", result->left, "plan_cells",
                             run->plan.n_cells, "plan_replicates", run->replicates, "phases",
                             phases);
    set_real(json, "seconds", cost->seconds);
    set_real(json, "median_run_seconds", cost->median_seconds);
    set_real(json, "mean_run_seconds", cost->mean_seconds);
    set_real(json, "plan_seconds", cost->plan_seconds);
    set_real(json, "plan_median_run_seconds", cost->plan_median_seconds);
    return json;
}

sq_status sq_run_add_cost(const sq_run *run, const sq_runner_result *result, const char *campaign,
                          sq_text *results, sq_error *err)
{
    sq_text all = {.data = NULL};
    json_t *cost = write_cost(run, result);
    char *text = cost ? json_dumps(cost, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(cost);
    sq_text_printf(&all, "{\"campaign\": \"%s\", \"state\": \"%s\", \"results\": ", campaign,
                   result->state);
    sq_text_add_n(&all, results->data, results->length);
    sq_text_printf(&all, ", \"cost\": %s}\n", text ? text : "null");
    free(text);
    sq_text_free(results);
    *results = all;
    return all.is_failed ? sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the output") : SQ_OK;
}
