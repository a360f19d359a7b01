/* The proof of the cache state: the verdict on one launch, and what it means for the rows of a
 * campaign. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bench/cache_probes.h"
#include "profile/cache_proof.h"

#define MIB 1048576.0
static const double l2 = 50 * MIB;

static void expect(sq_cache cache, double compulsory, double counted, double l2_bytes,
                   const char *validity, bool is_judged)
{
    sq_cache_verdict v = sq_cache_judge(cache, compulsory, counted, l2_bytes);
    if (strncmp(v.validity, validity, strlen(validity)) != 0)
        fail_msg("%g of %g: \"%s\", not \"%s\"", counted, compulsory, v.validity, validity);
    assert_int_equal(v.is_judged, is_judged);
    if (strcmp(v.validity, "ok") == 0)
        assert_true(v.ratio == counted / compulsory);
    else
        assert_true(isnan(v.ratio));
}

static void test_cold_inputs(void **state)
{
    (void)state;
    expect(SQ_CACHE_CLEAN_COLD, 20 * MIB, 20 * MIB, l2, "ok", true);
    expect(SQ_CACHE_CLEAN_COLD, 20 * MIB, 19.9 * MIB, l2, "ok", true);
    expect(SQ_CACHE_CLEAN_COLD, 20 * MIB, 55 * MIB, l2, "ok", true); /* read again and again */
    expect(SQ_CACHE_DIRTY_COLD, 800 * MIB, 798 * MIB, l2, "ok", true);
    expect(SQ_CACHE_ROTATE, 20 * MIB, 20 * MIB, l2, "ok", true);
}

static void test_cached_inputs(void **state)
{
    (void)state;
    expect(SQ_CACHE_CLEAN_COLD, 20 * MIB, 0, l2,
           "inconsistent: not clean-cold: 100.0 % of the inputs", true);
    expect(SQ_CACHE_CLEAN_COLD, 20 * MIB, 17 * MIB, l2, "inconsistent: ", true);
    expect(SQ_CACHE_ROTATE, 20 * MIB, 2 * MIB, l2, "inconsistent: not rotate: 90.0 %", true);
    /* of large inputs the L2 holds a part: a tenth of it is too much */
    expect(SQ_CACHE_CLEAN_COLD, 200 * MIB, 196 * MIB, l2, "ok", true);
    expect(SQ_CACHE_CLEAN_COLD, 200 * MIB, 194 * MIB, l2, "inconsistent: ", true);
    /* below the counter's accuracy there is no telling */
    expect(SQ_CACHE_CLEAN_COLD, 4000 * MIB, 3930 * MIB, l2, "ok", true);
    expect(SQ_CACHE_CLEAN_COLD, 20 * MIB, 17 * MIB, -1, "inconsistent: ", true);
}

static void test_what_cannot_be_judged(void **state)
{
    (void)state;
    expect(SQ_CACHE_CLEAN_COLD, 0.9 * MIB, 0, l2, "unsupported: below 1 MiB", false);
    expect(SQ_CACHE_CLEAN_COLD, 0, 0, l2, "unsupported: ", false);
    expect(SQ_CACHE_CLEAN_COLD, 20 * MIB, NAN, l2, "unsupported: no bytes were counted", false);
    expect(SQ_CACHE_CLEAN_COLD, NAN, 5, l2, "unsupported: no bytes were counted", false);
}

static void test_hot_cells_are_recorded(void **state)
{
    (void)state;
    expect(SQ_CACHE_HOT, 20 * MIB, 0.1 * MIB, l2, "ok", false);
    expect(SQ_CACHE_HOT, 200 * MIB, 190 * MIB, l2, "ok", false);
}

/* --- rows --- */

static sq_record make_row(const char *subject, sq_cache cache, double read, double counted)
{
    sq_record r;
    sq_cell cell = {.kind = SQ_KIND_OP, .cache = cache};
    snprintf(cell.subject, sizeof cell.subject, "%s", subject);
    sq_record_init(&r, &cell);
    r.status = SQ_RUN_OK;
    assert_int_equal(sq_record_add_number(&r, "bytes_read", read), SQ_OK);
    assert_int_equal(sq_record_add_number(&r, "dram_bytes_read", counted), SQ_OK); /* NAN: absent */
    return r;
}

/* Notes the row, checks the ratio's validity and the row's reason, and frees it. */
static void note(sq_cache_probes *probes, sq_record r, const char *validity, const char *reason)
{
    const sq_value *ratio = NULL;
    assert_int_equal(sq_cache_probes_note(probes, l2, &r), SQ_OK);
    for (int i = 0; i < r.n_values; i++)
        if (strcmp(r.values[i].metric, "cold_read_ratio") == 0)
            ratio = &r.values[i];
    assert_int_equal(ratio != NULL, validity != NULL);
    if (ratio)
        assert_int_equal(strncmp(ratio->validity, validity, strlen(validity)), 0);
    assert_int_equal(strncmp(r.reason, reason, strlen(reason)), 0);
    if (!*reason)
        assert_int_equal(r.reason[0], 0);
    assert_int_equal(r.status, SQ_RUN_OK);
    sq_record_free(&r);
}

static void test_rows_follow_the_probe_of_their_operator(void **state)
{
    (void)state;
    const sq_cache cold = SQ_CACHE_CLEAN_COLD;
    sq_cache_probes probes = {.n = 0};
    note(&probes, make_row("ssd", cold, 8 * MIB, NAN), NULL, ""); /* nothing is known yet */
    note(&probes, make_row("ssd", cold, 0.1 * MIB, 0), "unsupported", "");
    note(&probes, make_row("ssd", cold, 8 * MIB, 1 * MIB), "inconsistent",
         "not clean-cold: 87.5 % of the inputs were in the L2");
    note(&probes, make_row("ssd", cold, 8 * MIB, NAN), "inconsistent", "not clean-cold: 87.5 %");
    note(&probes, make_row("retention", cold, 8 * MIB, NAN), NULL, "");
    note(&probes, make_row("ssd", SQ_CACHE_ROTATE, 8 * MIB, NAN), NULL, "");
    note(&probes, make_row("ssd", cold, 8 * MIB, 8 * MIB), "ok", ""); /* its own bytes come first */
    note(&probes, make_row("retention", SQ_CACHE_HOT, 8 * MIB, 0), "ok", "");
}

static void test_a_cold_operator(void **state)
{
    (void)state;
    sq_cache_probes probes = {.n = 0};
    note(&probes, make_row("attention", SQ_CACHE_CLEAN_COLD, 8 * MIB, 8.1 * MIB), "ok", "");
    note(&probes, make_row("attention", SQ_CACHE_CLEAN_COLD, 4 * MIB, NAN), "ok", "");
}

static void test_a_row_keeps_its_own_reason(void **state)
{
    (void)state;
    sq_cache_probes probes = {.n = 0};
    sq_record r = make_row("ssd", SQ_CACHE_CLEAN_COLD, 8 * MIB, 0);
    snprintf(r.reason, sizeof r.reason, "noisy");
    note(&probes, r, "inconsistent", "noisy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cold_inputs),
        cmocka_unit_test(test_cached_inputs),
        cmocka_unit_test(test_what_cannot_be_judged),
        cmocka_unit_test(test_hot_cells_are_recorded),
        cmocka_unit_test(test_rows_follow_the_probe_of_their_operator),
        cmocka_unit_test(test_a_cold_operator),
        cmocka_unit_test(test_a_row_keeps_its_own_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
