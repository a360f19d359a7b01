/* night: verdicts of a night. Its tests are in night_tests.c, its control in night_control.c,
 * confirmation and exit code in night_end.c. */
#include "core/night.h"

#include <math.h>
#include <stdlib.h>

#include "core/modes.h"
#include "core/night_control.h"
#include "core/night_tests.h"

sq_night_policy sq_night_policy_default(void)
{
    return (sq_night_policy){.q = 0.05,
                             .min_effect = 0.02,
                             .setup_min_effect = 0.10,
                             .exact_effect = 0.005,
                             .margin = 0.02,
                             .equivalence_level = 0.05,
                             .power = 0.80,
                             .floor_quantile = 0.95,
                             .floor_values = 20,
                             .group_min = 10,
                             .min_replicates = 2,
                             .control_min = 20,
                             .control_level = 0.01,
                             .control_margin = 0.005,
                             .inconclusive_limit = 0.25,
                             .blocks = 10,
                             .blocks_more = SQ_SIGN_FLIP_EXACT,
                             .confirm_level = 0.005,
                             .seed = 1};
}

const char *sq_night_quantity_name(sq_night_quantity quantity)
{
    static const char *const names[SQ_NIGHT_QUANTITIES] = {
        [SQ_NIGHT_TIME] = "time",       [SQ_NIGHT_CYCLES] = "cycles",
        [SQ_NIGHT_SETUP] = "setup",     [SQ_NIGHT_MEMORY] = "peak_bytes",
        [SQ_NIGHT_DRAM] = "dram_bytes", [SQ_NIGHT_REGISTERS] = "registers",
    };
    return names[quantity];
}

const char *sq_night_verdict_name(sq_night_verdict verdict)
{
    static const char *const names[SQ_NIGHT_VERDICT_COUNT] = {
#define SQ_X(symbol, text) [SQ_NIGHT_##symbol] = text,
        SQ_NIGHT_VERDICTS(SQ_X)
#undef SQ_X
    };
    return names[verdict];
}

static bool has_failed(sq_run_status status)
{
    return status == SQ_RUN_OOM || status == SQ_RUN_TIMEOUT || status == SQ_RUN_CRASHED ||
           status == SQ_RUN_ERROR;
}

static int badness(sq_run_status status)
{
    if (status == SQ_RUN_MISMATCH)
        return 3;
    if (has_failed(status))
        return 2;
    return status == SQ_RUN_OK || status == SQ_RUN_NOISY;
}

sq_run_status sq_night_status(const sq_run_status *runs, int n)
{
    sq_run_status worst = n > 0 ? runs[0] : SQ_RUN_SKIPPED;
    for (int i = 1; i < n; i++)
        if (badness(runs[i]) > badness(worst))
            worst = runs[i];
    return worst;
}

int sq_night_group(double median_ns, bool is_sm_bound)
{
    enum { LAUNCH_BOUND, MEMORY_BOUND, SM_BOUND };
    if (median_ns < 20e3)
        return LAUNCH_BOUND;
    return is_sm_bound ? SM_BOUND : MEMORY_BOUND;
}

/* --- what a cell's tests and counts are together --- */

static bool is_found(sq_finding finding)
{
    return finding == SQ_FINDING_SLOWER || finding == SQ_FINDING_FASTER;
}

/* Both are changes of a size that counts, the same way. */
static bool agree(double time, double cycles, double least)
{
    return time * cycles > 0 && fmin(fabs(time), fabs(cycles)) >= least;
}

/* The finding in time; of an SM-bound cell the one that time and cycles make together: either may
 * find a change, the other has to show it. */
static sq_finding joint_finding(const sq_night_result *result, double least, bool *is_clocks)
{
    const sq_night_test *time = &result->test[SQ_NIGHT_TIME],
                        *cycles = &result->test[SQ_NIGHT_CYCLES];
    *is_clocks = false;
    if (cycles->finding == SQ_FINDING_NONE || time->finding == SQ_FINDING_NONE)
        return time->finding;
    if (!is_found(time->finding) && !is_found(cycles->finding))
        return time->finding;
    *is_clocks = !agree(time->change.estimate, cycles->change.estimate, least);
    return is_found(time->finding) ? time->finding : cycles->finding;
}

/* Both sides may lie as far from their middle as all that was counted there spans: a few counts do
 * not show all that there can be. */
static unsigned larger_counts(const sq_night_cell *cell, const sq_night_policy *policy,
                              sq_night_result *result)
{
    unsigned larger = 0;
    for (int k = 0; k < SQ_NIGHT_COUNTS; k++) {
        double baseline = cell->baseline.counted[k], tonight = cell->tonight.counted[k];
        double apart = cell->baseline.spread[k] + cell->tonight.spread[k];
        result->counted[k] = log(fmax(tonight, 1) / fmax(baseline, 1));
        if (isnan(baseline) || isnan(tonight))
            result->counted[k] = NAN;
        else if (sq_confirm_larger(baseline, tonight, apart, policy) == SQ_CONFIRMED)
            larger |= 1u << (SQ_NIGHT_TESTS + k);
    }
    return larger;
}

static sq_night_verdict failing_verdict(const sq_night_side *baseline)
{
    if (!baseline->is_present || baseline->status == SQ_RUN_SKIPPED)
        return SQ_NIGHT_FAILED_NEW;
    bool has_worked = badness(baseline->status) == 1;
    return has_worked ? SQ_NIGHT_NEWLY_FAILING : SQ_NIGHT_FAILED_BEFORE;
}

static bool is_failing(const sq_night_cell *cell)
{
    bool has_lost_support = cell->tonight.status == SQ_RUN_UNSUPPORTED &&
                            badness(cell->baseline.status) == 1 && cell->baseline.is_present;
    return has_failed(cell->tonight.status) || has_lost_support;
}

sq_night_verdict sq_night_verdict_of(sq_finding finding)
{
    static const sq_night_verdict alone[] = {
        [SQ_FINDING_NONE] = SQ_NIGHT_NOT_COMPARED,
        [SQ_FINDING_SLOWER] = SQ_NIGHT_SUSPECT_SLOWER,
        [SQ_FINDING_FASTER] = SQ_NIGHT_SUSPECT_FASTER,
        [SQ_FINDING_UNCHANGED] = SQ_NIGHT_UNCHANGED,
        [SQ_FINDING_INCONCLUSIVE] = SQ_NIGHT_INCONCLUSIVE,
    };
    return alone[finding];
}

/* What the numbers say, of a cell that runs on both sides. */
static sq_night_verdict verdict_of_numbers(sq_finding time, bool is_clocks, unsigned suspects)
{
    if (suspects & (1u << SQ_NIGHT_TIME | 1u << SQ_NIGHT_SETUP))
        return SQ_NIGHT_SUSPECT_SLOWER;
    if (suspects)
        return SQ_NIGHT_SUSPECT_LARGER;
    if (is_clocks)
        return SQ_NIGHT_CLOCKS_POWER;
    return sq_night_verdict_of(time);
}

static void judge_cell(const sq_night_cell *cell, const sq_night_policy *policy,
                       sq_night_result *result)
{
    bool is_clocks;
    sq_finding time = joint_finding(result, sq_night_least(policy, SQ_NIGHT_TIME), &is_clocks);
    result->suspects = larger_counts(cell, policy, result);
    if (time == SQ_FINDING_SLOWER && !is_clocks)
        result->suspects |= 1u << SQ_NIGHT_TIME;
    if (result->test[SQ_NIGHT_SETUP].finding == SQ_FINDING_SLOWER)
        result->suspects |= 1u << SQ_NIGHT_SETUP;
    result->verdict = verdict_of_numbers(time, is_clocks, result->suspects);
    if (cell->tonight.is_present && cell->tonight.status == SQ_RUN_MISMATCH)
        result->verdict = SQ_NIGHT_MISMATCH;
    else if (cell->tonight.is_present && is_failing(cell))
        result->verdict = failing_verdict(&cell->baseline);
}

/* --- modes --- */

/* Are runs of one side in both modes? Else the two modes are the two sides. */
static bool is_mixed(const sq_night_runs *runs, double border)
{
    int high = 0;
    for (int i = 0; i < runs->n; i++)
        high += log(runs->value[i]) > border;
    return high > 0 && high < runs->n;
}

static sq_status find_modes(const sq_night_cell *cell, sq_night_result *result)
{
    const sq_night_runs *side[2] = {&cell->baseline.runs[SQ_NIGHT_TIME],
                                    &cell->tonight.runs[SQ_NIGHT_TIME]};
    int n = 0;
    double *logs = malloc((size_t)(side[0]->n + side[1]->n + 1) * sizeof *logs);
    if (!logs)
        return SQ_OUT_OF_MEMORY;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < side[k]->n; i++)
            logs[n++] = log(side[k]->value[i]);
    sq_modes modes;
    sq_status status = sq_modes_of(logs, n, &modes);
    free(logs);
    double border = (modes.low + modes.high) / 2;
    result->is_bimodal =
        modes.is_bimodal && (is_mixed(side[0], border) || is_mixed(side[1], border));
    result->mode_gap = result->is_bimodal ? modes.high - modes.low : NAN;
    return status;
}

/* --- the night --- */

static void count(const sq_night_result *results, int n, sq_night_summary *summary)
{
    for (int i = 0; i < n; i++) {
        summary->count[results[i].verdict]++;
        summary->compared += results[i].test[SQ_NIGHT_TIME].finding != SQ_FINDING_NONE;
    }
    summary->inconclusive_share =
        summary->compared ? (double)summary->count[SQ_NIGHT_INCONCLUSIVE] / summary->compared : 0;
}

sq_status sq_night_judge(const sq_night_cell *cells, int n, const sq_night_policy *policy,
                         sq_night_result *results, sq_night_summary *summary)
{
    *summary = (sq_night_summary){.is_unfit = false};
    for (int k = 0; k < SQ_NIGHT_TESTS; k++)
        SQ_TRY(sq_night_test_quantity(cells, n, policy, (sq_night_quantity)k, results,
                                      &summary->level[k]));
    for (int i = 0; i < n; i++) {
        judge_cell(&cells[i], policy, &results[i]);
        SQ_TRY(find_modes(&cells[i], &results[i]));
    }
    count(results, n, summary);
    return sq_night_control(cells, n, policy, results, summary);
}
