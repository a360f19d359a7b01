/* libseqmark_time.so as another program uses it: through its header alone, on the CPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "bench/time/seqmark_time.h"
#include "core/rng.h"

enum { COUNT = 1003, ROOM = 40 };

static const sqt_policy policy = {.warmup_launches = 3,
                                  .warmup_seconds = 1e-3,
                                  .min_samples = 10,
                                  .max_samples = ROOM,
                                  .max_seconds = 0.02,
                                  .target_interval = 0.005,
                                  .max_launch_seconds = 0.5};

static int set_up(void **state)
{
    sqt_timer *timer = NULL;
    int code = sqt_open("cpu", NULL, &timer);
    *state = timer;
    return code;
}

static int tear_down(void **state)
{
    sqt_close(*state);
    return 0;
}

/* --- opening --- */

static void refuses_to_open(const char *device, void *stream, int code, const char *why)
{
    sqt_timer *timer = (sqt_timer *)stream;
    assert_int_equal(sqt_open(device, stream, &timer), code);
    assert_null(timer);
    if (!strstr(sqt_message(NULL), why))
        fail_msg("\"%s\" does not say \"%s\"", sqt_message(NULL), why);
}

static void a_device_that_is_none_is_refused(void **state)
{
    int something;
    (void)state;
    refuses_to_open("gpu", NULL, SQT_BAD_ARGUMENT, "\"gpu\" is neither cpu nor");
    refuses_to_open("-1", NULL, SQT_BAD_ARGUMENT, "-1");
    refuses_to_open("", NULL, SQT_BAD_ARGUMENT, "neither");
    refuses_to_open(NULL, NULL, SQT_BAD_ARGUMENT, "device is NULL");
    refuses_to_open("1023", NULL, SQT_UNSUPPORTED, "");
    refuses_to_open("cpu", &something, SQT_UNSUPPORTED, "no streams");
    assert_int_equal(sqt_open("cpu", NULL, NULL), SQT_BAD_ARGUMENT);
    sqt_close(NULL);
}

static void the_abi_is_the_headers(void **state)
{
    assert_int_equal(sqt_abi(), SQT_ABI);
    assert_null(sqt_stream(*state));
    assert_string_equal(sqt_message(*state), "");
}

/* --- inputs --- */

static void inputs_have_the_bits_of_the_generator(void **state)
{
    static const struct {
        sq_draw draw;
        const char *text;
    } draws[] = {{{SQ_DRAW_NORMAL, 0.5f, 3, 0}, "normal(0.5,3)"},
                 {{SQ_DRAW_UNIFORM, -0.1f, 0.3f, 0}, "uniform(-0.1,0.3)"},
                 {{SQ_DRAW_CONSTANT, 1.25f, 0, 0}, "constant(1.25)"},
                 {{SQ_DRAW_RAMP, 1, 0.5f, 7}, "ramp(1,0.5,7)"}};
    static const sq_dtype dtypes[] = {SQ_DTYPE_F32, SQ_DTYPE_BF16, SQ_DTYPE_F16};
    static float got[COUNT], want[COUNT];
    int64_t count = COUNT;
    for (size_t i = 0; i < sizeof draws / sizeof draws[0]; i++)
        for (size_t k = 0; k < sizeof dtypes / sizeof dtypes[0]; k++) {
            sq_tensor t = sq_tensor_dense(want, dtypes[k], 1, &count);
            memset(got, 0, sizeof got);
            memset(want, 0, sizeof want);
            sq_rng_fill(&t, 0, draws[i].draw, 77, 4);
            assert_int_equal(
                sqt_fill(*state, got, sq_dtype_name(dtypes[k]), COUNT, draws[i].text, 77, 4),
                SQT_OK);
            assert_memory_equal(got, want, sizeof got);
        }
}

static void bad_inputs_are_refused(void **state)
{
    float data[4] = {7, 7, 7, 7};
    assert_int_equal(sqt_fill(*state, data, "fp32", 4, "normal(0,1)", 1, 1), SQT_BAD_ARGUMENT);
    assert_non_null(strstr(sqt_message(*state), "did you mean \"f32\""));
    assert_int_equal(sqt_fill(*state, data, "f32", 4, "normla(0,1)", 1, 1), SQT_BAD_ARGUMENT);
    assert_non_null(strstr(sqt_message(*state), "did you mean \"normal\""));
    assert_int_equal(sqt_fill(*state, data, "f32", -1, "normal(0,1)", 1, 1), SQT_BAD_ARGUMENT);
    assert_int_equal(sqt_fill(*state, NULL, "f32", 4, "normal(0,1)", 1, 1), SQT_BAD_ARGUMENT);
    assert_int_equal(sqt_fill(*state, data, NULL, 4, "normal(0,1)", 1, 1), SQT_BAD_ARGUMENT);
    assert_int_equal(sqt_fill(*state, data, "f32", 4, NULL, 1, 1), SQT_BAD_ARGUMENT);
    assert_int_equal(sqt_fill(NULL, data, "f32", 4, "normal(0,1)", 1, 1), SQT_BAD_ARGUMENT);
    for (int i = 0; i < 4; i++)
        assert_true(data[i] == 7);
    assert_int_equal(sqt_fill(*state, data, "f32", 4, "constant(1)", 1, 1), SQT_OK);
    assert_string_equal(sqt_message(*state), "");
}

/* --- measuring --- */

typedef struct {
    int launches, fails_at; /* fails_at: 0 never */
    bool seen[8];           /* copies */
    long pause_ns;
} counted;

static int launch(void *arg, int copy)
{
    counted *c = arg;
    struct timespec pause = {c->pause_ns / 1000000000, c->pause_ns % 1000000000};
    c->launches++;
    assert_in_range(copy, 0, 7);
    c->seen[copy] = true;
    nanosleep(&pause, NULL);
    return c->launches == c->fails_at ? 3 : 0;
}

static void samples_are_counted(void **state)
{
    static const struct {
        const char *cache, *mode;
        int copies;
    } modes[] = {{"clean-cold", "plain", 1}, {"dirty-cold", "plain", 1}, {"hot", "plain", 1},
                 {"rotate", "plain", 3},     {"hot", "batch", 1},        {"rotate", "batch", 3}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        counted c = {.pause_ns = 50000};
        int32_t ns[ROOM] = {0};
        sqt_result r;
        bool is_batch = strcmp(modes[i].mode, "batch") == 0;
        if (sqt_measure(*state, &policy, modes[i].cache, modes[i].mode, modes[i].copies, launch, &c,
                        ns, &r) != SQT_OK)
            fail_msg("%s", sqt_message(*state));
        assert_in_range(r.n, 10, ROOM);
        for (int k = 0; k < r.n; k++)
            assert_true(ns[k] >= 50000);
        assert_int_equal(r.n_dropped + r.n_late + r.n_unheld + r.is_too_long, 0);
        assert_true(r.warmup_launches >= 3 && r.launch_seconds >= 50e-6);
        assert_true(is_batch ? r.batch >= 2 : r.batch == 1);
        assert_true(c.launches >= r.warmup_launches + r.n * r.batch);
        assert_true(isnan(r.sm_mhz));
        for (int k = 0; k < 8; k++)
            assert_int_equal(c.seen[k], k < modes[i].copies);
    }
}

static void refuses(sqt_timer *timer, const char *cache, const char *mode, int copies, int code,
                    const char *why)
{
    counted c = {.launches = 0};
    int32_t ns[ROOM];
    sqt_result r;
    assert_int_equal(sqt_measure(timer, &policy, cache, mode, copies, launch, &c, ns, &r), code);
    if (!strstr(sqt_message(timer), why))
        fail_msg("\"%s\" does not say \"%s\"", sqt_message(timer), why);
}

static void modes_that_cannot_be_are_refused(void **state)
{
    refuses(*state, "clen-cold", "plain", 1, SQT_BAD_ARGUMENT, "did you mean \"clean-cold\"");
    refuses(*state, "hot", "grahp", 1, SQT_BAD_ARGUMENT, "did you mean \"graph\"");
    refuses(*state, "clean-cold", "batch", 1, SQT_BAD_ARGUMENT, "hot or rotate");
    refuses(*state, "rotate", "plain", 1, SQT_BAD_ARGUMENT, "2 or more");
    refuses(*state, "hot", "plain", 2, SQT_BAD_ARGUMENT, "it needs 1");
    refuses(*state, "hot", "graph", 1, SQT_UNSUPPORTED, "backend cpu has no graphs");
    refuses(*state, NULL, "plain", 1, SQT_BAD_ARGUMENT, "NULL");
    refuses(NULL, "hot", "plain", 1, SQT_BAD_ARGUMENT, "NULL");
}

static void nothing_where_something_is_needed_is_refused(void **state)
{
    counted c = {.launches = 0};
    int32_t ns[ROOM];
    sqt_result r;
    sqt_policy none = policy, reversed = policy;
    none.max_seconds = 0;
    reversed.min_samples = ROOM + 1;
    assert_int_equal(sqt_measure(*state, NULL, "hot", "plain", 1, launch, &c, ns, &r),
                     SQT_BAD_ARGUMENT);
    assert_int_equal(sqt_measure(*state, &policy, "hot", "plain", 1, NULL, &c, ns, &r),
                     SQT_BAD_ARGUMENT);
    assert_int_equal(sqt_measure(*state, &policy, "hot", "plain", 1, launch, &c, NULL, &r),
                     SQT_BAD_ARGUMENT);
    assert_int_equal(sqt_measure(*state, &policy, "hot", "plain", 1, launch, &c, ns, NULL),
                     SQT_BAD_ARGUMENT);
    assert_int_equal(sqt_measure(*state, &none, "hot", "plain", 1, launch, &c, ns, &r),
                     SQT_BAD_ARGUMENT);
    assert_int_equal(sqt_measure(*state, &reversed, "hot", "plain", 1, launch, &c, ns, &r),
                     SQT_BAD_ARGUMENT);
    assert_int_equal(c.launches, 0);
}

static void the_cache_can_be_cooled(void **state)
{
    assert_int_equal(sqt_cool(*state), SQT_OK);
    assert_string_equal(sqt_message(*state), "");
    assert_int_equal(sqt_cool(NULL), SQT_BAD_ARGUMENT);
    assert_non_null(strstr(sqt_message(NULL), "sqt_cool"));
}

static void a_launch_that_fails_ends_it(void **state)
{
    static const int when[] = {1, 2, 8}; /* warm-up, warm-up, samples */
    for (size_t i = 0; i < sizeof when / sizeof when[0]; i++) {
        counted c = {.fails_at = when[i], .pause_ns = 500000};
        int32_t ns[ROOM];
        sqt_result r;
        assert_int_equal(sqt_measure(*state, &policy, "clean-cold", "plain", 1, launch, &c, ns, &r),
                         SQT_LAUNCH_FAILED);
        assert_non_null(strstr(sqt_message(*state), "returned 3"));
        assert_int_equal(c.launches, when[i]);
    }
}

static void a_launch_too_long_is_not_sampled(void **state)
{
    counted c = {.pause_ns = 2000000};
    int32_t ns[ROOM];
    sqt_result r;
    sqt_policy strict = policy;
    strict.max_launch_seconds = 1e-3;
    assert_int_equal(sqt_measure(*state, &strict, "hot", "plain", 1, launch, &c, ns, &r), SQT_OK);
    assert_int_equal(r.n, 0);
    assert_int_equal(r.is_too_long, 1);
    assert_true(r.launch_seconds >= 2e-3);
    assert_in_range(c.launches, 1, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_is_none_is_refused),
        cmocka_unit_test(the_abi_is_the_headers),
        cmocka_unit_test(inputs_have_the_bits_of_the_generator),
        cmocka_unit_test(bad_inputs_are_refused),
        cmocka_unit_test(samples_are_counted),
        cmocka_unit_test(modes_that_cannot_be_are_refused),
        cmocka_unit_test(nothing_where_something_is_needed_is_refused),
        cmocka_unit_test(the_cache_can_be_cooled),
        cmocka_unit_test(a_launch_that_fails_ends_it),
        cmocka_unit_test(a_launch_too_long_is_not_sampled),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
