/* split_plan: how selective_scan cuts channels and steps into blocks. The model's times are not asserted,
 * only what follows from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/selective_scan/split_plan.h"

enum { STEPS = 32 }; /* of a tile */

static sq_split_plan plan_of(int64_t batch, int64_t length, int64_t channels)
{
    return sq_split_choose(batch * sq_split_ceil(channels, 64), batch * sq_split_ceil(channels, 32),
                           sq_split_ceil(length, STEPS));
}

static void is_one_run(sq_split_plan plan, int64_t shares, int64_t length)
{
    assert_int_equal(plan.shares, shares);
    assert_int_equal(plan.runs, 1);
    assert_int_equal(plan.merged * plan.tiles, sq_split_ceil(length, STEPS));
    assert_int_equal(sq_split_segments(plan), 0);
}

static void enough_blocks_are_one_run(void **state)
{
    (void)state;
    is_one_run(plan_of(32, 512, 4096), 1, 512);
    is_one_run(plan_of(8, 2048, 4096), 1, 2048);
    is_one_run(plan_of(2, 8192, 4096), 1, 8192);
    for (int64_t blocks = SQ_SPLIT_SMS + 1; blocks < 3000; blocks += 7)
        assert_int_equal(sq_split_choose(blocks, 2 * blocks, 4096).runs, 1);
}

static void too_short_to_cut_is_one_run_of_halves(void **state)
{
    (void)state;
    is_one_run(plan_of(1, 1, 64), 2, 1);
    is_one_run(plan_of(1, 1024, 4096), 2, 1024);
}

/* One sequence: two blocks of the main pass for each SM, and pass 1 in more of them. */
static void few_blocks_are_cut(void **state)
{
    (void)state;
    const sq_split_plan wide = plan_of(1, 32768, 4096), narrow = plan_of(1, 65536, 256);
    assert_int_equal(wide.shares, 1);
    assert_int_equal(wide.runs, 4);
    assert_true(wide.merged > 1);
    assert_int_equal(narrow.shares, 1);
    assert_int_equal(narrow.runs, 64);
    assert_true(narrow.merged > 1);
}

static void is_whole(sq_split_plan plan, int64_t blocks, int64_t half_blocks, int64_t tiles)
{
    const sq_split_plan one = {1, 1, 1, tiles};
    const int64_t run = plan.merged * plan.tiles;
    assert_true(plan.runs * run >= tiles);
    assert_true((plan.runs - 1) * run < tiles); /* the last run has steps */
    assert_true(sq_split_ns(plan, plan.shares == 1 ? blocks : half_blocks) <=
                sq_split_ns(one, blocks));
    if (plan.runs == 1)
        return;
    assert_int_equal(plan.shares, 1); /* which alone have a pass 1 */
    assert_true(plan.tiles >= SQ_SPLIT_MIN_TILES);
    assert_true(blocks * plan.runs <= SQ_SPLIT_SMS * SQ_SPLIT_MAIN_BLOCKS);
    assert_true(sq_split_segments(plan) < 65536); /* grid's y */
}

static void every_plan_has_all_steps(void **state)
{
    (void)state;
    for (int64_t blocks = 1; blocks <= 300; blocks += 1 + blocks / 8)
        for (int64_t tiles = 1; tiles <= (1 << 19); tiles += 1 + tiles / 3)
            for (int64_t halves = blocks; halves <= 2 * blocks; halves += blocks)
                is_whole(sq_split_choose(blocks, halves, tiles), blocks, halves, tiles);
}

/* Waves of one pass: a block more than an SM each costs what two on an SM do; full waves add up. */
static void a_pass_is_waves_of_blocks(void **state)
{
    (void)state;
    static const double tile_ns[] = {10, 15};
    const int64_t sms = SQ_SPLIT_SMS;
    assert_true(sq_split_pass_ns(1, 9, tile_ns, 2) == 100);
    assert_true(sq_split_pass_ns(sms, 9, tile_ns, 2) == 100);
    assert_true(sq_split_pass_ns(sms + 1, 9, tile_ns, 2) == 150);
    assert_true(sq_split_pass_ns(2 * sms, 9, tile_ns, 2) == 150);
    assert_true(sq_split_pass_ns(2 * sms + 1, 9, tile_ns, 2) == 250);
    assert_true(sq_split_pass_ns(4 * sms, 9, tile_ns, 2) == 300);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enough_blocks_are_one_run),
        cmocka_unit_test(too_short_to_cut_is_one_run_of_halves),
        cmocka_unit_test(few_blocks_are_cut),
        cmocka_unit_test(every_plan_has_all_steps),
        cmocka_unit_test(a_pass_is_waves_of_blocks),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
