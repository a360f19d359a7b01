/* night_end: confirmation of suspects, and the exit code of a night. */
#include <math.h>
#include <stddef.h>

#include "core/night.h"
#include "core/stats.h"

/* Slower by enough and surely; or surely not by enough (one-sided, 95 %); or neither. */
static sq_rerun_outcome outcome_of(const sq_confirmation *c, double most, double least,
                                   double level)
{
    if (c->p <= level && c->change.estimate >= least)
        return SQ_CONFIRMED;
    return most < least ? SQ_DISMISSED : SQ_UNRESOLVED;
}

static sq_confirmation confirm(const sq_block *block, int n, double least, double level)
{
    double difference[SQ_SIGN_FLIP_EXACT];
    sq_confirmation c = {.blocks = 0};
    for (int i = 0; i < n && c.blocks < SQ_SIGN_FLIP_EXACT; i++) {
        double d = sq_block_difference(&block[i]);
        if (!isnan(d))
            difference[c.blocks++] = d;
    }
    c.change = sq_paired_interval(difference, c.blocks, 0.95);
    c.p = sq_sign_flip_p(difference, c.blocks);
    double most = sq_paired_interval(difference, c.blocks, 0.90).hi;
    c.outcome = outcome_of(&c, most, least, level);
    return c;
}

sq_confirmation sq_confirm_slower(const sq_block *time, const sq_block *cycles, int n,
                                  double min_effect, const sq_night_policy *policy)
{
    double least = log1p(min_effect), level = policy->confirm_level;
    sq_confirmation in_time = confirm(time, n, least, level);
    if (!cycles || in_time.outcome != SQ_CONFIRMED)
        return in_time;
    sq_rerun_outcome in_cycles = confirm(cycles, n, least, level).outcome;
    if (in_cycles != SQ_CONFIRMED)
        in_time.outcome = in_cycles == SQ_DISMISSED ? SQ_CONFIRM_CLOCKS : SQ_UNRESOLVED;
    return in_time;
}

sq_rerun_outcome sq_confirm_larger(double baseline, double tonight, double apart,
                                   const sq_night_policy *policy)
{
    if (isnan(baseline) || isnan(tonight))
        return SQ_UNRESOLVED;
    if (tonight <= baseline * (1 + policy->exact_effect))
        return SQ_DISMISSED;
    return tonight - baseline > apart ? SQ_CONFIRMED : SQ_UNRESOLVED;
}

sq_rerun_outcome sq_confirm_failing(sq_run_status rerun)
{
    switch (rerun) {
    case SQ_RUN_OK:
    case SQ_RUN_NOISY:
        return SQ_DISMISSED;
    case SQ_RUN_SKIPPED:
    case SQ_RUN_THROTTLED:
        return SQ_UNRESOLVED;
    default:
        return SQ_CONFIRMED;
    }
}

sq_night_end sq_night_exit(const sq_night_tally *tally)
{
    bool is_open = tally->inconclusive_share > tally->inconclusive_limit;
    bool is_cut = tally->inconclusive_share - tally->missing_share <= tally->inconclusive_limit;
    const struct {
        bool holds;
        sq_night_end end;
    } ends[] = {
        {tally->is_interrupted, {130, "interrupted"}},
        {tally->has_error, {1, "internal error"}},
        {tally->is_unfit, {5, "environment unfit"}},
        {tally->mismatches > 0, {4, "wrong numbers"}},
        {tally->confirmed > 0, {2, "confirmed regression"}},
        {tally->failed > 0, {6, "cells failed"}},
        {tally->unresolved > 0, {3, "inconclusive: a suspect is unresolved"}},
        {tally->is_empty, {3, "inconclusive: no cell could be compared"}},
        {is_open && is_cut, {3, "inconclusive: too many cells of the baseline are missing"}},
        {is_open, {3, "inconclusive: too many cells are"}},
        {true, {0, "as good or better"}},
    };
    size_t i = 0;
    while (!ends[i].holds)
        i++;
    return ends[i].end;
}
