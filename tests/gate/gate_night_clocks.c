/* SM-bound cells, whose time follows a clock that wanders between runs and nights: time and cycles
 * together find what the code did, and name what the clock did. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "core/night.h"
#include "tests/support/series.h"

enum { CELLS = 500, RUNS = 5, IN_CODE = 10, IN_CLOCK = 20, NIGHTS = 10, BLOCKS = 10 };

/* In logarithms: of the cycles of a run, of its clock, of the clock of a cell in a night. */
static const double cycles_sd = 0.003, clock_sd = 0.008, night_sd = 0.004;

typedef struct {
    double time[CELLS][2][RUNS], cycles[CELLS][2][RUNS];
    sq_night_cell cell[CELLS];
    sq_night_result result[CELLS];
    sq_night_summary summary;
} night;

/* The first cells take more cycles in B, the next ones have a slower clock in B. */
static void draw_run(sq_source *s, int i, bool is_b, double clock, double *time, double *cycles)
{
    double code = is_b && i < IN_CODE ? log(1.05) : 0;
    double slow = is_b && i >= IN_CODE && i < IN_CLOCK ? log(1.05) : 0;
    double of_cycles = code + cycles_sd * sq_draw_gaussian(s);
    *cycles = 1e6 * exp(of_cycles);
    *time = 5e5 * exp(of_cycles + slow + clock + clock_sd * sq_draw_gaussian(s));
}

static void draw_night(sq_source *s, night *x)
{
    for (int i = 0; i < CELLS; i++) {
        sq_night_side side = {.is_present = true, .counted = {NAN, NAN, NAN}};
        x->cell[i] = (sq_night_cell){.baseline = side, .tonight = side};
        for (int b = 0; b < 2; b++) {
            double clock = night_sd * sq_draw_gaussian(s);
            for (int k = 0; k < RUNS; k++)
                draw_run(s, i, b, clock, &x->time[i][b][k], &x->cycles[i][b][k]);
            sq_night_side *of = b ? &x->cell[i].tonight : &x->cell[i].baseline;
            of->runs[SQ_NIGHT_TIME] = (sq_night_runs){x->time[i][b], RUNS};
            of->runs[SQ_NIGHT_CYCLES] = (sq_night_runs){x->cycles[i][b], RUNS};
        }
    }
}

static sq_rerun_outcome confirm(sq_source *s, int i, const sq_night_policy *policy)
{
    sq_block time[BLOCKS], cycles[BLOCKS];
    for (int k = 0; k < BLOCKS; k++)
        for (int j = 0; j < 2; j++) {
            draw_run(s, i, false, 0, &time[k].a[j], &cycles[k].a[j]);
            draw_run(s, i, true, 0, &time[k].b[j], &cycles[k].b[j]);
        }
    return sq_confirm_slower(time, cycles, BLOCKS, policy->min_effect, policy).outcome;
}

static void time_and_cycles(void **state)
{
    (void)state;
    static night x;
    sq_night_policy policy = sq_night_policy_default();
    sq_source s = {.seed = 3};
    int found = 0, named = 0, wrong = 0, clocks_confirmed = 0;
    for (int k = 0; k < NIGHTS; k++) {
        draw_night(&s, &x);
        assert_int_equal(sq_night_judge(x.cell, CELLS, &policy, x.result, &x.summary), SQ_OK);
        for (int i = 0; i < CELLS; i++) {
            bool is_suspect = x.result[i].verdict == SQ_NIGHT_SUSPECT_SLOWER;
            sq_rerun_outcome outcome = is_suspect ? confirm(&s, i, &policy) : SQ_DISMISSED;
            found += i < IN_CODE && outcome == SQ_CONFIRMED;
            wrong += i >= IN_CODE && outcome == SQ_CONFIRMED;
        }
        for (int i = IN_CODE; i < IN_CLOCK; i++) {
            named += x.result[i].verdict == SQ_NIGHT_CLOCKS_POWER;
            clocks_confirmed += confirm(&s, i, &policy) == SQ_CONFIRM_CLOCKS;
        }
    }
    double cells = NIGHTS * IN_CODE;
    print_message(
        "in code, confirmed: %.3f; in clock, named: %.3f, in the rerun: %.3f; wrong: %d\n",
        found / cells, named / cells, clocks_confirmed / cells, wrong);
    assert_true(found >= 0.9 * cells && named >= 0.9 * cells);
    assert_true(clocks_confirmed >= 0.95 * cells && wrong == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(time_and_cycles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
