/* The verdict rule over a table of cases: thresholds, ties, absent values, launch-bound cells. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reports/verdict.h"

#define SQ_COUNT(array) (sizeof(array) / sizeof(array)[0])

typedef struct {
    double dram, l2, l1, tensor, issue;
    sq_verdict_kind kind;
    int limit;
    const char *says, *says_not;
} verdict_case;

static const verdict_case cases[] = {
    {93.4, 41, 20, 0, 18, SQ_VERDICT_BOUND, SQ_LIMIT_DRAM,
     "Bound by DRAM: 93.4 % of peak; next is L2 at 41.0 %.", "Occupancy"},
    {30, 44, 62, 84.1, 38, SQ_VERDICT_BOUND, SQ_LIMIT_TENSOR, "Bound by the tensor pipes: 84.1 %",
     "latency"},
    {10, 81, 70, 0, 79.9, SQ_VERDICT_BOUND, SQ_LIMIT_L2, "Bound by L2: 81.0 %", "Absent"},
    {10, 20, 88, 0, 30, SQ_VERDICT_BOUND, SQ_LIMIT_L1, "Bound by L1 and shared memory", "Absent"},
    {10, 20, 30, 0, 95, SQ_VERDICT_BOUND, SQ_LIMIT_ISSUE, "Bound by instruction issue", "Absent"},
    /* the thresholds belong to the higher class */
    {80, 0, 0, 0, 0, SQ_VERDICT_BOUND, SQ_LIMIT_DRAM, "80.0 %", "No unit"},
    {79.99, 0, 0, 0, 0, SQ_VERDICT_NEAR, SQ_LIMIT_DRAM, "No unit is saturated; nearest is DRAM",
     "Bound"},
    {0, 0, 60, 0, 0, SQ_VERDICT_NEAR, SQ_LIMIT_L1, "Occupancy: 25.0 %", "latency"},
    {0, 0, 59.99, 0, 0, SQ_VERDICT_LATENCY, SQ_LIMIT_L1, "Bound by latency: no unit reaches 60 %",
     "saturated"},
    {5, 4, 3, 2, 1, SQ_VERDICT_LATENCY, SQ_LIMIT_DRAM,
     "Top stall: long_scoreboard, 48.0 % of warp time (waits for data", "Absent"},
    /* a tie goes to the outer level */
    {85, 85, 85, 85, 85, SQ_VERDICT_BOUND, SQ_LIMIT_DRAM, "next is L2 at 85.0 %", "Absent"},
    /* absent values: a saturated unit decides, anything less does not */
    {90, NAN, 3, 2, 1, SQ_VERDICT_BOUND, SQ_LIMIT_DRAM, "Absent: L2 (refused: no permission).",
     "Undecided"},
    {70, 3, 3, NAN, 1, SQ_VERDICT_UNDECIDED, SQ_LIMIT_DRAM,
     "Undecided: of what was counted, DRAM is busiest at 70.0 % of peak; next is L2", "Bound by"},
    {1, 2, NAN, NAN, 3, SQ_VERDICT_UNDECIDED, SQ_LIMIT_ISSUE,
     "Absent: L1 and shared memory, the tensor pipes (refused: no "
     "permission).",
     "latency"},
    {NAN, NAN, NAN, NAN, 40, SQ_VERDICT_UNDECIDED, SQ_LIMIT_ISSUE, "issue is busiest", "next is"},
    {NAN, NAN, NAN, NAN, NAN, SQ_VERDICT_UNDECIDED, -1, "Undecided: no unit was counted. Absent",
     "nan"},
};

static sq_evidence evidence_of(const verdict_case *c)
{
    sq_evidence e = {.use_pct = {c->dram, c->l2, c->l1, c->tensor, c->issue},
                     .occupancy_pct = 25,
                     .stall = "long_scoreboard",
                     .stall_pct = 48,
                     .event_ns = NAN,
                     .traced_ns = NAN};
    for (int i = 0; i < SQ_LIMITS; i++)
        e.absent[i] = "refused: no permission";
    return e;
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < SQ_COUNT(cases); i++) {
        const verdict_case *c = &cases[i];
        sq_evidence e = evidence_of(c);
        sq_verdict verdict = sq_verdict_of(&e);
        if (verdict.kind != c->kind || verdict.limit != c->limit)
            fail_msg("case %zu: %s, limit %d", i, verdict.words, verdict.limit);
        if (!strstr(verdict.words, c->says) || strstr(verdict.words, c->says_not))
            fail_msg("case %zu says \"%s\"", i, verdict.words);
    }
}

static void test_absent_warps_are_said(void **state)
{
    (void)state;
    sq_evidence e = evidence_of(&cases[9]);
    e.occupancy_pct = NAN;
    e.stall = NULL;
    sq_verdict verdict = sq_verdict_of(&e);
    assert_non_null(strstr(verdict.words, "Occupancy is absent. The stall reasons are absent."));
    assert_null(strstr(verdict.words, "nan"));
    e.stall = "a_new_one"; /* of a chip to come: named, not explained */
    verdict = sq_verdict_of(&e);
    assert_non_null(strstr(verdict.words, "Top stall: a_new_one, 48.0 % of warp time."));
}

static void test_launch_bound(void **state)
{
    (void)state;
    static const struct {
        double event_ns, traced_ns;
        int is_said;
    } times[] = {{5310, 860, 1},      {5310, 2654, 1}, {5310, 2656, 0},
                 {275500, 272400, 0}, {NAN, 860, 0},   {5310, NAN, 0}};
    for (size_t i = 0; i < SQ_COUNT(times); i++) {
        sq_evidence e = evidence_of(&cases[9]);
        e.event_ns = times[i].event_ns;
        e.traced_ns = times[i].traced_ns;
        sq_verdict verdict = sq_verdict_of(&e);
        assert_int_equal(strstr(verdict.words, "Launch-bound") != NULL, times[i].is_said);
    }
}

static void test_a_long_reason_is_cut_within_the_words(void **state)
{
    (void)state;
    char reason[2000];
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    sq_evidence e = evidence_of(&cases[15]);
    for (int i = 0; i < SQ_LIMITS; i++)
        e.absent[i] = reason;
    sq_verdict verdict = sq_verdict_of(&e);
    assert_true(strlen(verdict.words) < sizeof verdict.words);
    assert_non_null(strstr(verdict.words, "instruction issue (xxx"));
    e.absent[0] = NULL;
    verdict = sq_verdict_of(&e);
    assert_non_null(strstr(verdict.words, "DRAM (no reason known)"));
}

static void test_every_stall_has_a_meaning(void **state)
{
    (void)state;
    static const char *const names[] = {"barrier",
                                        "branch_resolving",
                                        "dispatch_stall",
                                        "drain",
                                        "gmma",
                                        "imc_miss",
                                        "lg_throttle",
                                        "long_scoreboard",
                                        "math_pipe_throttle",
                                        "membar",
                                        "mio_throttle",
                                        "misc",
                                        "no_instruction",
                                        "not_selected",
                                        "selected",
                                        "short_scoreboard",
                                        "sleeping",
                                        "tex_throttle",
                                        "wait"};
    for (size_t i = 0; i < SQ_COUNT(names); i++)
        assert_non_null(sq_stall_meaning(names[i]));
    assert_null(sq_stall_meaning("no_such_reason"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_absent_warps_are_said),
        cmocka_unit_test(test_launch_bound),
        cmocka_unit_test(test_a_long_reason_is_cut_within_the_words),
        cmocka_unit_test(test_every_stall_has_a_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
