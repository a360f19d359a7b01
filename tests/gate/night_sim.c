/* night_sim: see night_sim.h. */
#include "tests/gate/night_sim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BOTH_SIDES = 2, GROUPS = 3 };

typedef struct {
    double cv;
    bool has_modes;
    double *runs; /* of the baseline, then of tonight */
} drawn_cell;

/* Median of one run, ns. offset: a difference of logarithms. */
static double draw_run_median(const sim_setup *setup, sq_source *s, const drawn_cell *cell,
                              double offset)
{
    double (*draw)(sq_source *) = setup->draw ? setup->draw : sq_draw_gaussian;
    bool is_slow = cell->has_modes && sq_draw_uniform(s) < setup->slow_share;
    return 1e5 * exp(offset + cell->cv * draw(s) + (is_slow ? log1p(setup->mode_gap) : 0));
}

static double effect_of(const sim_setup *setup, int i)
{
    return i < setup->regressed ? log1p(setup->effect) : 0;
}

static void draw_side(const sim_setup *setup, sq_source *s, const drawn_cell *cell, double effect,
                      double *runs)
{
    double offset = setup->night_sd * sq_draw_gaussian(s) + effect;
    for (int k = 0; k < setup->runs; k++)
        runs[k] = draw_run_median(setup, s, cell, offset);
}

static void draw_cell(const sim_setup *setup, sq_source *baseline, sq_source *tonight, int i,
                      drawn_cell *cell)
{
    cell->has_modes = setup->modes_every > 0 && i % setup->modes_every == 0;
    cell->cv = setup->cv * exp(setup->spread * sq_draw_gaussian(baseline));
    if (i < setup->regressed && setup->most_cv > 0)
        cell->cv = fmin(cell->cv, setup->most_cv);
    draw_side(setup, baseline, cell, 0, cell->runs);
    draw_side(setup, tonight, cell, effect_of(setup, i) + log1p(setup->shift),
              cell->runs + setup->runs);
}

static sq_night_cell as_cell(const sim_setup *setup, int i, const drawn_cell *drawn)
{
    sq_night_side side = {.is_present = true, .counted = {NAN, NAN, NAN}};
    sq_night_cell cell = {.group = i % GROUPS, .baseline = side, .tonight = side};
    for (int k = 0; k < (setup->has_all ? SQ_NIGHT_TESTS : 1); k++) {
        cell.baseline.runs[k] = (sq_night_runs){drawn->runs, setup->runs};
        cell.tonight.runs[k] = (sq_night_runs){drawn->runs + setup->runs, setup->runs};
    }
    cell.is_control = i >= setup->regressed;
    return cell;
}

/* A/B/B/A in one night, whose own shift is on both binaries. */
static void draw_blocks(const sim_setup *setup, sq_source *s, int i, const drawn_cell *cell,
                        sq_block *block, int n)
{
    double night = setup->night_sd * sq_draw_gaussian(s) + log1p(setup->shift),
           slower = night + effect_of(setup, i);
    for (int k = 0; k < n; k++) {
        block[k].a[0] = draw_run_median(setup, s, cell, night);
        block[k].b[0] = draw_run_median(setup, s, cell, slower);
        block[k].b[1] = draw_run_median(setup, s, cell, slower);
        block[k].a[1] = draw_run_median(setup, s, cell, night);
    }
}

static sq_rerun_outcome rerun(const sim_setup *setup, const sq_night_policy *policy, sq_source *s, int i,
                        const drawn_cell *cell)
{
    sq_block block[SQ_SIGN_FLIP_EXACT];
    draw_blocks(setup, s, i, cell, block, policy->blocks_more);
    for (int n = policy->blocks;; n = policy->blocks_more) {
        sq_rerun_outcome outcome = sq_confirm_slower(block, NULL, n, policy->min_effect, policy).outcome;
        if (outcome != SQ_UNRESOLVED || n == policy->blocks_more)
            return outcome;
    }
}

static void confirm_all(const sim_setup *setup, const sq_night_policy *policy, sq_source *s,
                        const sq_night_result *results, const drawn_cell *drawn, sim_outcome *night)
{
    for (int i = 0; i < setup->cells; i++) {
        night->bimodal += results[i].is_bimodal;
        if (!results[i].suspects)
            continue;
        night->suspects++;
        night->false_suspects += i >= setup->regressed;
        sq_rerun_outcome outcome = rerun(setup, policy, s, i, &drawn[i]);
        if (outcome == SQ_CONFIRMED && setup->is_found && i < setup->regressed)
            setup->is_found[i] = true;
        night->confirmed += outcome == SQ_CONFIRMED;
        night->false_confirmed += outcome == SQ_CONFIRMED && i >= setup->regressed;
        night->unresolved += outcome == SQ_UNRESOLVED;
    }
    night->missed = setup->regressed - (night->confirmed - night->false_confirmed);
}

sim_outcome sim_night(const sim_setup *setup, const sq_night_policy *policy, uint64_t seed)
{
    size_t n = (size_t)setup->cells, runs = (size_t)(BOTH_SIDES * setup->runs);
    sq_source baseline = {.seed = ~(setup->kept_seed ? setup->kept_seed : seed)},
              s = {.seed = seed};
    double *values = malloc(n * runs * sizeof *values);
    drawn_cell *drawn = malloc(n * sizeof *drawn);
    sq_night_cell *cells = malloc(n * sizeof *cells);
    sq_night_result *results = malloc(n * sizeof *results);
    sq_night_summary summary;
    sim_outcome night = {.suspects = 0};
    if (!values || !drawn || !cells || !results)
        abort();
    for (int i = 0; i < setup->cells; i++) {
        drawn[i].runs = values + (size_t)i * runs;
        draw_cell(setup, &baseline, &s, i, &drawn[i]);
        cells[i] = as_cell(setup, i, &drawn[i]);
    }
    if (sq_night_judge(cells, setup->cells, policy, results, &summary) != SQ_OK)
        abort();
    confirm_all(setup, policy, &s, results, drawn, &night);
    night.inconclusive_share = summary.inconclusive_share;
    night.code = sq_night_exit(&(sq_night_tally){.is_unfit = summary.is_unfit,
                                                 .confirmed = night.confirmed,
                                                 .unresolved = night.unresolved,
                                                 .inconclusive_share = summary.inconclusive_share,
                                                 .inconclusive_limit = policy->inconclusive_limit})
                     .code;
    free(values);
    free(drawn);
    free(cells);
    free(results);
    return night;
}

sim_summary sim_nights(const sim_setup *setup, const sq_night_policy *policy, int nights,
                       uint64_t seed)
{
    sim_summary sum = {.nights = nights};
    double found = 0, suspected = 0;
    for (int k = 0; k < nights; k++) {
        sim_outcome night = sim_night(setup, policy, seed + (uint64_t)k);
        sum.suspects += (double)night.suspects / nights;
        sum.false_suspects += (double)night.false_suspects / nights;
        sum.false_confirmed += (double)night.false_confirmed / nights;
        sum.unresolved += (double)night.unresolved / nights;
        sum.bimodal += (double)night.bimodal / nights;
        sum.inconclusive_share += night.inconclusive_share / nights;
        sum.nights_with_2 += night.code == 2;
        sum.nights_with_3 += night.code == 3;
        found += setup->regressed - night.missed;
        suspected += night.suspects - night.false_suspects;
    }
    double all = (double)nights * setup->regressed;
    sum.power = all > 0 ? found / all : NAN;
    sum.power_of_suspicion = all > 0 ? suspected / all : NAN;
    return sum;
}

void sim_print(const char *what, const sim_summary *x)
{
    printf("%-44s suspects %6.2f, false %6.2f, false confirmed %.3f, power %.3f (suspects %.3f), "
           "unresolved %.2f, inconclusive %.3f, bimodal %.1f, exits 2 3: %d %d of %d\n",
           what, x->suspects, x->false_suspects, x->false_confirmed, x->power,
           x->power_of_suspicion, x->unresolved, x->inconclusive_share, x->bimodal,
           x->nights_with_2, x->nights_with_3, x->nights);
    fflush(stdout);
}
