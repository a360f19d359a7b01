/* What a sample launches, and how long the stream is held for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/time/launcher.h"
#include "tests/support/timed_device.h"

/* --- the hold --- */

enum { COPIES = 5 };

static void a_late_sample_is_taken_again_with_a_longer_hold(void **state)
{
    (void)state;
    timing *b = timing_new(timed_steady);
    b->device.enqueue_seconds = 5e-3; /* beyond 2 and 4 ms, within 8 ms */
    timing_run(b);
    assert_int_equal(b->result.n_late, 2);
    assert_int_equal(b->result.n_unheld, 0);
    assert_int_equal(b->result.n, 10);
    free(b);
}

static void a_launch_that_waits_is_sampled_unheld_and_said_so(void **state)
{
    (void)state;
    timing *b = timing_new(timed_steady);
    b->device.enqueue_seconds = 1;
    timing_run(b);
    assert_int_equal(b->result.n_late, 6); /* 2, 4 .. 64 ms */
    assert_int_equal(b->result.n, 10);
    assert_int_equal(b->result.n_unheld, 10);
    free(b);
}

/* --- launch modes --- */

static void a_batch_makes_a_millisecond(void **state)
{
    (void)state;
    timing *b = timing_new(timed_short_launch);
    b->what.cache = SQ_CACHE_HOT;
    b->what.mode = SQ_LAUNCH_BATCH;
    timing_run(b);
    assert_in_range(b->result.batch, 200, 202); /* of 5 us */
    for (int i = 0; i < b->result.n; i++)
        assert_int_equal(b->ns[i], 5000);
    b->policy.max_seconds = 0.0055; /* of launches, not of samples */
    b->policy.target_interval = 0;
    b->policy.min_samples = 2;
    b->device.ns = timed_noisy;
    timing_run(b);
    assert_in_range(b->result.batch, 9, 11);
    assert_in_range(b->result.n, 5, 7);
    free(b);
}

static void a_batch_has_its_limits(void **state)
{
    (void)state;
    assert_int_equal(sq_launcher_batch(1), 512);
    assert_int_equal(sq_launcher_batch(0), 512);
    assert_int_equal(sq_launcher_batch(1e9), 2);
    assert_int_equal(sq_launcher_batch(NAN), 512);
    timing *b = timing_new(timed_short_launch);
    b->what.cache = SQ_CACHE_HOT;
    b->what.mode = SQ_LAUNCH_BATCH;
    b->device.enqueue_seconds = 10e-3; /* 6 within the longest hold */
    timing_run(b);
    assert_int_equal(b->result.batch, 4);
    assert_int_equal(b->result.n_unheld, 0);
    free(b);
}

static void copies_take_turns(void **state)
{
    (void)state;
    timing *b = timing_new(timed_steady);
    b->what.cache = SQ_CACHE_ROTATE;
    b->what.copies = COPIES;
    timing_run(b);
    assert_int_equal(b->device.k, b->result.warmup_launches + b->result.n);
    for (int i = 0; i < b->device.k; i++)
        assert_int_equal(b->device.turns[i], i % COPIES);
    b->what.copies = 1;
    assert_int_equal(timing_measure(b), SQ_BAD_ARGUMENT);
    b->what.cache = SQ_CACHE_HOT;
    b->what.copies = 2;
    assert_int_equal(timing_measure(b), SQ_BAD_ARGUMENT);
    free(b);
}

static void a_graph_is_captured_once_a_copy_and_replayed(void **state)
{
    (void)state;
    timing *b = timing_new(timed_steady);
    b->what.mode = SQ_LAUNCH_GRAPH;
    timing_run(b);
    assert_int_equal(b->device.captures, 1);
    /* 1 launch before the capture, 1 replay after, the warm-up, the samples */
    assert_int_equal(b->device.replays, 1 + b->result.warmup_launches + b->result.n);
    assert_int_equal(b->device.k, 1 + b->device.replays);
    b->what.cache = SQ_CACHE_ROTATE;
    b->what.copies = 3;
    b->device.captures = 0;
    timing_run(b);
    assert_int_equal(b->device.captures, 3);
    free(b);
}

static void what_cannot_be_captured_is_unsupported(void **state)
{
    (void)state;
    timing *b = timing_new(timed_steady);
    sq_backend without = timed_backend;
    b->what.mode = SQ_LAUNCH_GRAPH;
    b->device.refuses_capture = true;
    assert_int_equal(timing_measure(b), SQ_UNSUPPORTED);
    assert_int_equal(b->device.graphs, 0);
    assert_int_equal(b->device.samples, 0);
    without.capture = NULL;
    b->what.backend = &without;
    assert_int_equal(timing_measure(b), SQ_UNSUPPORTED);
    assert_non_null(strstr(b->err.message, "no graphs"));
    free(b);
}

static void figures_are_of_one_launch_among_many(void **state)
{
    (void)state;
    static const sq_launch modes[] = {SQ_LAUNCH_BATCH, SQ_LAUNCH_GRAPH};
    for (int i = 0; i < 2; i++) {
        sq_figure figure;
        timing *b = timing_new(timed_short_launch);
        assert_int_equal(sq_sampling_figure(&b->what, modes[i], 5000, &figure, &b->err), SQ_OK);
        assert_true(fabs(figure.ns - 5000) < 1e-6 && figure.spread == 0);
        assert_int_equal(figure.n, 7);
        assert_int_equal(figure.launches, 201);
        assert_int_equal(b->device.captures, i == 0 ? 0 : 201);
        assert_int_equal(b->device.graphs, 0);
        b->device.enqueue_seconds = 1;
        assert_int_equal(sq_sampling_figure(&b->what, modes[i], 5000, &figure, &b->err),
                         SQ_UNSUPPORTED);
        assert_true(isnan(figure.ns));
        b->device.refuses_capture = true;
        b->device.enqueue_seconds = 0;
        assert_int_equal(sq_sampling_figure(&b->what, modes[i], 5000, &figure, &b->err),
                         i == 0 ? SQ_OK : SQ_UNSUPPORTED);
        free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_sample_is_taken_again_with_a_longer_hold),
        cmocka_unit_test(a_launch_that_waits_is_sampled_unheld_and_said_so),
        cmocka_unit_test(a_batch_makes_a_millisecond),
        cmocka_unit_test(a_batch_has_its_limits),
        cmocka_unit_test(copies_take_turns),
        cmocka_unit_test(a_graph_is_captured_once_a_copy_and_replayed),
        cmocka_unit_test(what_cannot_be_captured_is_unsupported),
        cmocka_unit_test(figures_are_of_one_launch_among_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
