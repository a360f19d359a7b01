/* night: each verdict made once, and the exit code's precedence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "core/night.h"

enum { CELLS = 40, RUNS = 5 };

/* Times of both sides and their cycles; each test changes some. Spread 0.1 %. */
typedef struct {
    double time[CELLS][2][RUNS], cycles[CELLS][2][RUNS];
    sq_night_cell cell[CELLS];
    sq_night_result result[CELLS];
    sq_night_summary summary;
} night;

static void describe_side(sq_night_side *side, const double *time, const double *cycles)
{
    *side = (sq_night_side){
        .is_present = true,
        .status = SQ_RUN_OK,
        .runs = {[SQ_NIGHT_TIME] = {time, RUNS}, [SQ_NIGHT_CYCLES] = {cycles, RUNS}},
        .counted = {1e9, 5e9, 128}};
}

static void quiet_night(night *x)
{
    memset(x, 0, sizeof *x);
    for (int i = 0; i < CELLS; i++) {
        for (int k = 0; k < 2 * RUNS; k++) {
            double noise = 1 + 1e-3 * ((i * 7 + k * 13) % 11 - 5) / 5.0;
            x->time[i][k / RUNS][k % RUNS] = 1e6 * noise;
            x->cycles[i][k / RUNS][k % RUNS] = 2e9 * noise;
        }
        x->cell[i].group = i % 2;
        x->cell[i].is_control = i >= 10;
        describe_side(&x->cell[i].baseline, x->time[i][0], x->cycles[i][0]);
        describe_side(&x->cell[i].tonight, x->time[i][1], x->cycles[i][1]);
    }
}

static void scale(double *runs, double factor)
{
    for (int i = 0; i < RUNS; i++)
        runs[i] *= factor;
}

static void judge(night *x)
{
    sq_night_policy policy = sq_night_policy_default();
    assert_int_equal(sq_night_judge(x->cell, CELLS, &policy, x->result, &x->summary), SQ_OK);
}

static void is_verdict(const night *x, int i, sq_night_verdict expected)
{
    assert_string_equal(sq_night_verdict_name(x->result[i].verdict),
                        sq_night_verdict_name(expected));
}

static void nothing_changed(void **state)
{
    (void)state;
    night x;
    quiet_night(&x);
    judge(&x);
    assert_int_equal(x.summary.count[SQ_NIGHT_UNCHANGED], CELLS);
    assert_true(x.summary.compared == CELLS && x.summary.inconclusive_share == 0);
    assert_true(x.summary.controls == 30 && !x.summary.is_unfit);
    assert_true(fabs(x.summary.control_shift.estimate) < 1e-3);
    assert_true(x.result[0].suspects == 0 && x.result[0].test[SQ_NIGHT_TIME].detectable > 0.0198);
}

static void time_and_cycles(void **state)
{
    (void)state;
    night x;
    quiet_night(&x);
    scale(x.time[0][1], 1.05), scale(x.cycles[0][1], 1.05);
    scale(x.time[1][1], 1.05);   /* the clock fell */
    scale(x.cycles[2][1], 1.05); /* the clock rose and hid it */
    scale(x.time[3][1], 0.95), scale(x.cycles[3][1], 0.95);
    scale(x.time[4][1], 1.05);
    x.cell[4].tonight.runs[SQ_NIGHT_CYCLES].n = 0; /* not SM-bound */
    scale(x.time[5][1], 1.015), scale(x.cycles[5][1], 1.015);
    judge(&x);
    is_verdict(&x, 0, SQ_NIGHT_SUSPECT_SLOWER);
    is_verdict(&x, 1, SQ_NIGHT_CLOCKS_POWER);
    is_verdict(&x, 2, SQ_NIGHT_CLOCKS_POWER);
    is_verdict(&x, 3, SQ_NIGHT_SUSPECT_FASTER);
    is_verdict(&x, 4, SQ_NIGHT_SUSPECT_SLOWER);
    is_verdict(&x, 5, SQ_NIGHT_UNCHANGED); /* sure, and less than the minimum */
    assert_true(x.result[5].test[SQ_NIGHT_TIME].q < 1e-6);
    assert_true(x.result[0].suspects == 1u << SQ_NIGHT_TIME && x.result[3].suspects == 0);
    assert_true(fabs(x.result[0].test[SQ_NIGHT_TIME].change.estimate - log(1.05)) < 1e-3);
}

/* Bytes of both sides, and how far counts of the same lie apart. */
static void count_dram(sq_night_cell *cell, double baseline, double baseline_spread, double tonight,
                       double tonight_spread)
{
    cell->baseline.counted[SQ_NIGHT_DRAM - SQ_NIGHT_TESTS] = baseline;
    cell->baseline.spread[SQ_NIGHT_DRAM - SQ_NIGHT_TESTS] = baseline_spread;
    cell->tonight.counted[SQ_NIGHT_DRAM - SQ_NIGHT_TESTS] = tonight;
    cell->tonight.spread[SQ_NIGHT_DRAM - SQ_NIGHT_TESTS] = tonight_spread;
}

static void set_up_and_counts(void **state)
{
    (void)state;
    night x;
    double setup[CELLS][2][RUNS];
    quiet_night(&x);
    for (int i = 0; i < CELLS; i++)
        for (int side = 0; side < 2; side++) {
            for (int k = 0; k < RUNS; k++)
                setup[i][side][k] = 0.5 * x.time[i][side][k] * (i == 0 && side ? 1.3 : 1);
            sq_night_side *of = side ? &x.cell[i].tonight : &x.cell[i].baseline;
            of->runs[SQ_NIGHT_SETUP] = (sq_night_runs){setup[i][side], RUNS};
        }
    double *counted = x.cell[1].tonight.counted;
    counted[SQ_NIGHT_MEMORY - SQ_NIGHT_TESTS] *= 1.01;
    x.cell[2].tonight.counted[SQ_NIGHT_REGISTERS - SQ_NIGHT_TESTS] = 129;
    count_dram(&x.cell[3], 100e6, 0.4e6, 101e6, 0.5e6);
    x.cell[4].tonight.counted[SQ_NIGHT_MEMORY - SQ_NIGHT_TESTS] *= 1.0049;
    count_dram(&x.cell[5], 100e6, 0.5e6, 101e6, 0.5e6); /* as far apart as the launches of one */
    x.cell[6].tonight.counted[SQ_NIGHT_MEMORY - SQ_NIGHT_TESTS] = NAN;
    judge(&x);
    is_verdict(&x, 0, SQ_NIGHT_SUSPECT_SLOWER);
    assert_true(x.result[0].suspects == 1u << SQ_NIGHT_SETUP);
    for (int i = 1; i <= 3; i++)
        is_verdict(&x, i, SQ_NIGHT_SUSPECT_LARGER);
    assert_true(x.result[2].suspects == 1u << SQ_NIGHT_REGISTERS);
    for (int i = 4; i <= 6; i++)
        is_verdict(&x, i, SQ_NIGHT_UNCHANGED);
    assert_true(isnan(x.result[6].counted[0]));
}

static void no_time_tonight(sq_night_cell *cell, sq_run_status status)
{
    cell->tonight.status = status;
    cell->tonight.runs[SQ_NIGHT_TIME].n = cell->tonight.runs[SQ_NIGHT_CYCLES].n = 0;
}

static void failures(void **state)
{
    (void)state;
    night x;
    quiet_night(&x);
    no_time_tonight(&x.cell[0], SQ_RUN_MISMATCH);
    no_time_tonight(&x.cell[1], SQ_RUN_OOM);
    no_time_tonight(&x.cell[2], SQ_RUN_CRASHED);
    x.cell[2].baseline.status = SQ_RUN_TIMEOUT;
    no_time_tonight(&x.cell[3], SQ_RUN_ERROR);
    x.cell[3].baseline = (sq_night_side){.is_present = false};
    no_time_tonight(&x.cell[4], SQ_RUN_UNSUPPORTED);
    no_time_tonight(&x.cell[5], SQ_RUN_UNSUPPORTED);
    x.cell[5].baseline.status = SQ_RUN_UNSUPPORTED;
    x.cell[6].tonight = (sq_night_side){.is_present = false};
    no_time_tonight(&x.cell[7], SQ_RUN_SKIPPED);
    x.cell[8].tonight.runs[SQ_NIGHT_TIME].n = 1;
    judge(&x);
    static const sq_night_verdict expected[] = {SQ_NIGHT_MISMATCH,      SQ_NIGHT_NEWLY_FAILING,
                                                SQ_NIGHT_FAILED_BEFORE, SQ_NIGHT_FAILED_NEW,
                                                SQ_NIGHT_NEWLY_FAILING, SQ_NIGHT_NOT_COMPARED,
                                                SQ_NIGHT_NOT_COMPARED,  SQ_NIGHT_NOT_COMPARED,
                                                SQ_NIGHT_NOT_COMPARED,  SQ_NIGHT_UNCHANGED};
    for (int i = 0; i < 10; i++)
        is_verdict(&x, i, expected[i]);
    assert_int_equal(x.summary.compared, CELLS - 9);
}

static void worst_status(void **state)
{
    (void)state;
    const sq_run_status some[] = {SQ_RUN_OK, SQ_RUN_NOISY, SQ_RUN_OOM, SQ_RUN_MISMATCH};
    assert_int_equal(sq_night_status(some, 2), SQ_RUN_OK);
    assert_int_equal(sq_night_status(some, 3), SQ_RUN_OOM);
    assert_int_equal(sq_night_status(some, 4), SQ_RUN_MISMATCH);
    assert_int_equal(sq_night_status((sq_run_status[]){SQ_RUN_THROTTLED, SQ_RUN_OK}, 2), SQ_RUN_OK);
    assert_int_equal(sq_night_status(NULL, 0), SQ_RUN_SKIPPED);
}

static void inconclusive_says_what_it_takes(void **state)
{
    (void)state;
    night x;
    quiet_night(&x);
    for (int i = 0; i < CELLS; i++)
        for (int side = 0; side < 2; side++)
            for (int k = 0; k < RUNS; k++) {
                x.time[i][side][k] = 1e6 * pow(x.time[i][side][k] / 1e6, 40);
                x.cycles[i][side][k] = 2e9 * pow(x.cycles[i][side][k] / 2e9, 40);
            }
    judge(&x);
    int open = x.summary.count[SQ_NIGHT_INCONCLUSIVE];
    assert_true(open > CELLS / 2);
    assert_true(x.summary.inconclusive_share == (double)open / CELLS);
    for (int i = 0; i < CELLS; i++)
        if (x.result[i].verdict == SQ_NIGHT_INCONCLUSIVE) {
            assert_true(x.result[i].test[SQ_NIGHT_TIME].detectable > 0.03);
            assert_true(x.result[i].test[SQ_NIGHT_TIME].replicates > RUNS);
        }
}

/* The foreign load of a whole night: every cell is slower, those too that cannot be. */
static void unfit(void **state)
{
    (void)state;
    night x;
    quiet_night(&x);
    for (int i = 0; i < CELLS; i++)
        scale(x.time[i][1], 1.03), scale(x.cycles[i][1], 1.03);
    judge(&x);
    assert_true(x.summary.is_unfit);
    for (int i = 15; i < CELLS; i++)
        x.cell[i].is_control = false; /* five are not enough to judge a night */
    judge(&x);
    assert_true(!x.summary.is_unfit && isnan(x.summary.control_shift.estimate));
}

static void modes_of_one_side(void **state)
{
    (void)state;
    night x;
    quiet_night(&x);
    scale(x.time[0][1], 1.05);
    for (int k = 0; k < 2; k++)
        x.time[1][0][k] *= 1.05, x.time[1][1][k] *= 1.05;
    judge(&x);
    assert_false(x.result[0].is_bimodal); /* two modes, and they are the two sides */
    assert_true(x.result[1].is_bimodal && fabs(x.result[1].mode_gap - log(1.05)) < 3e-3);
}

/* Nothing, one cell, and cells of constant times: no prior, no floor, and still an answer. */
static void few_cells(void **state)
{
    (void)state;
    night x;
    sq_night_policy policy = sq_night_policy_default();
    quiet_night(&x);
    assert_int_equal(sq_night_judge(x.cell, 0, &policy, x.result, &x.summary), SQ_OK);
    assert_true(x.summary.compared == 0 && x.summary.inconclusive_share == 0);
    scale(x.time[0][1], 1.05), scale(x.cycles[0][1], 1.05);
    assert_int_equal(sq_night_judge(x.cell, 1, &policy, x.result, &x.summary), SQ_OK);
    is_verdict(&x, 0, SQ_NIGHT_SUSPECT_SLOWER); /* Student's t alone: 0.1 % against 5 % */
    for (int i = 0; i < CELLS; i++)
        for (int k = 0; k < 2 * RUNS; k++)
            x.time[i][k / RUNS][k % RUNS] = x.cycles[i][k / RUNS][k % RUNS] = 1000;
    scale(x.time[0][1], 1.05), scale(x.cycles[0][1], 1.05);
    judge(&x);
    is_verdict(&x, 0, SQ_NIGHT_SUSPECT_SLOWER);
    is_verdict(&x, 1, SQ_NIGHT_UNCHANGED);
}

/* Ten runs have 126 splits: the floor is the cell's own, whatever its neighbours do. */
static void own_floor(void **state)
{
    (void)state;
    night x;
    double many[10];
    quiet_night(&x);
    for (int k = 0; k < 10; k++)
        many[k] = 1e6 * (1 + (k % 2 ? 0.02 : -0.02));
    x.cell[0].baseline.runs[SQ_NIGHT_TIME] = (sq_night_runs){many, 10};
    judge(&x);
    double floor = x.result[0].test[SQ_NIGHT_TIME].floor;
    assert_true(floor > 0.015 && floor < 0.035);
    assert_true(x.result[2].test[SQ_NIGHT_TIME].floor < 0.003);
}

/* --- confirmation --- */

static void fill_blocks(sq_block *block, int n, double factor, double noise)
{
    for (int i = 0; i < n; i++) {
        double wander = 1 + 0.03 * sin(i),
               sign = i % 2 ? 1 : -1; /* the night's own drift cancels */
        block[i] = (sq_block){{wander, wander * (1 + noise * sign)},
                              {wander * factor, wander * factor * (1 - noise * sign)}};
    }
}

static sq_rerun_outcome outcome(double time, double cycles, double noise, int n)
{
    sq_block of_time[20], of_cycles[20];
    sq_night_policy policy = sq_night_policy_default();
    fill_blocks(of_time, n, time, noise);
    fill_blocks(of_cycles, n, cycles, noise);
    return sq_confirm_slower(of_time, cycles > 0 ? of_cycles : NULL, n, 0.02, &policy).outcome;
}

static void confirmations(void **state)
{
    (void)state;
    assert_int_equal(outcome(1.05, 0, 0.01, 10), SQ_CONFIRMED);
    assert_int_equal(outcome(1.05, 1.05, 0.01, 10), SQ_CONFIRMED);
    assert_int_equal(outcome(1.05, 1.0, 0.01, 10), SQ_CONFIRM_CLOCKS);
    assert_int_equal(outcome(1.0, 0, 0.01, 10), SQ_DISMISSED);
    assert_int_equal(outcome(0.95, 0, 0.01, 10), SQ_DISMISSED);
    assert_int_equal(outcome(1.05, 0, 0.2, 10), SQ_UNRESOLVED);
    assert_int_equal(outcome(1.05, 0, 0.01, 4), SQ_UNRESOLVED); /* p is 1/16 at best */
    assert_int_equal(outcome(1.05, 0, 0.01, 0), SQ_UNRESOLVED);
    assert_int_equal(outcome(1.05, 0, 0.01, 20), SQ_CONFIRMED); /* the first 16 */
    sq_night_policy policy = sq_night_policy_default();
    assert_int_equal(sq_confirm_larger(1000, 1010, 0, &policy), SQ_CONFIRMED);
    assert_int_equal(sq_confirm_larger(1000, 1004.9, 0, &policy), SQ_DISMISSED);
    assert_int_equal(sq_confirm_larger(1000, 1010, 9, &policy), SQ_CONFIRMED);
    assert_int_equal(sq_confirm_larger(1000, 1010, 10, &policy), SQ_UNRESOLVED);
    assert_int_equal(sq_confirm_larger(1000, 1004.9, 10, &policy), SQ_DISMISSED);
    assert_int_equal(sq_confirm_larger(NAN, 101, 0, &policy), SQ_UNRESOLVED);
    assert_int_equal(sq_confirm_failing(SQ_RUN_OOM), SQ_CONFIRMED);
    assert_int_equal(sq_confirm_failing(SQ_RUN_NOISY), SQ_DISMISSED);
    assert_int_equal(sq_confirm_failing(SQ_RUN_SKIPPED), SQ_UNRESOLVED);
}

static void exit_codes(void **state)
{
    (void)state;
    sq_night_tally tally = {.inconclusive_share = 0.3, .inconclusive_limit = 0.3};
    assert_int_equal(sq_night_exit(&tally).code, 0);
    tally.inconclusive_share = 0.5;
    assert_string_equal(sq_night_exit(&tally).why, "inconclusive: too many cells are");
    tally.missing_share = 0.19;
    assert_string_equal(sq_night_exit(&tally).why, "inconclusive: too many cells are");
    tally.missing_share = 0.21;
    assert_int_equal(sq_night_exit(&tally).code, 3);
    assert_string_equal(sq_night_exit(&tally).why,
                        "inconclusive: too many cells of the baseline are missing");
    tally.inconclusive_share = 0.3;
    tally.is_empty = true; /* nothing is no sign of being as good */
    assert_int_equal(sq_night_exit(&tally).code, 3);
    tally.inconclusive_share = 0.31;
    assert_int_equal(sq_night_exit(&tally).code, 3);
    tally.unresolved = 1;
    assert_int_equal(sq_night_exit(&tally).code, 3);
    tally.failed = 1;
    assert_int_equal(sq_night_exit(&tally).code, 6);
    tally.confirmed = 1;
    assert_int_equal(sq_night_exit(&tally).code, 2);
    tally.mismatches = 1;
    assert_int_equal(sq_night_exit(&tally).code, 4);
    tally.is_unfit = true;
    assert_int_equal(sq_night_exit(&tally).code, 5);
    tally.has_error = true;
    assert_int_equal(sq_night_exit(&tally).code, 1);
    tally.is_interrupted = true;
    assert_int_equal(sq_night_exit(&tally).code, 130);
    assert_string_equal(sq_night_exit(&tally).why, "interrupted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changed),
        cmocka_unit_test(time_and_cycles),
        cmocka_unit_test(set_up_and_counts),
        cmocka_unit_test(failures),
        cmocka_unit_test(worst_status),
        cmocka_unit_test(inconclusive_says_what_it_takes),
        cmocka_unit_test(unfit),
        cmocka_unit_test(modes_of_one_side),
        cmocka_unit_test(few_cells),
        cmocka_unit_test(own_floor),
        cmocka_unit_test(confirmations),
        cmocka_unit_test(exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
