/* Tapes of golden data, as they are built: failures are kept, and what follows one does nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "bench/verify/tape.h"

static const int64_t one[] = {1};

/* Lists grow by 64: with so many variables, and with none, the next one asks for memory. */
static void a_refused_tape_stays_whole(int variables)
{
    sq_error err = {.status = SQ_OK};
    sq_tape *tape = sq_tape_new(NULL, SQ_DTYPE_F32);
    assert_non_null(tape);
    for (int i = 0; i < variables; i++)
        assert_int_equal(sq_tape_constant(tape, i, 1, one), i);
    sq_tape_refuse(tape, SQ_UNSUPPORTED, "no operator for %d", variables);
    sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "a later failure");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sq_tape_constant(tape, 1, 1, one), SQ_VAR_NONE);
        assert_int_equal(sq_tape_values(tape, (double[]){1}, 1, one), SQ_VAR_NONE);
    }
    assert_int_equal(sq_tape_layout(tape, 0, "0"), SQ_VAR_NONE);
    assert_int_equal(sq_tape_status(tape, &err), SQ_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no operator for"));
    sq_tape_free(tape);
}

static void a_refusal_at_the_border_of_a_block(void **state)
{
    (void)state;
    a_refused_tape_stays_whole(0);
    a_refused_tape_stays_whole(1);
    a_refused_tape_stays_whole(64);
    a_refused_tape_stays_whole(128);
}

static void expect_refused(sq_var (*arrange)(sq_tape *, sq_var, const char *), const char *order)
{
    sq_error err = {.status = SQ_OK};
    sq_tape *tape = sq_tape_new(NULL, SQ_DTYPE_F32);
    assert_non_null(tape);
    const sq_var v = sq_tape_constant(tape, 1, 2, (int64_t[]){3, 5});
    assert_int_equal(arrange(tape, v, order), SQ_VAR_NONE);
    assert_int_equal(sq_tape_status(tape, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, order));
    sq_tape_free(tape);
}

static void an_order_names_each_dim_once(void **state)
{
    (void)state;
    static const char *const wrong[] = {"0", "00", "11", "001", "012", "0.....1", "1......0"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        expect_refused(sq_tape_layout, wrong[i]);
    expect_refused(sq_tape_layout_back, "0");   /* of one dim */
    expect_refused(sq_tape_layout_back, "00");  /* one of them twice */
    expect_refused(sq_tape_layout_back, "12");  /* not the first */
    expect_refused(sq_tape_layout_back, "0.1"); /* of three dims */
}

static void orders_lead_back(void **state)
{
    (void)state;
    sq_error err = {.status = SQ_OK};
    sq_tape *tape = sq_tape_new(NULL, SQ_DTYPE_F32);
    assert_non_null(tape);
    const sq_var v = sq_tape_constant(tape, 1, 2, (int64_t[]){3, 5});
    const sq_var turned = sq_tape_layout(tape, v, "1.0");
    assert_int_equal(sq_tape_rank(tape, turned), 3);
    assert_int_equal(sq_tape_dim(tape, turned, 0), 5);
    assert_int_equal(sq_tape_dim(tape, turned, 1), 1);
    const sq_var back = sq_tape_layout_back(tape, turned, "1.0");
    assert_int_equal(sq_tape_rank(tape, back), 2);
    assert_int_equal(sq_tape_dim(tape, back, 0), 3);
    assert_int_equal(sq_tape_status(tape, &err), SQ_OK);
    sq_tape_free(tape);
}

static void dims_make_a_size(void **state)
{
    (void)state;
    const int64_t much = (int64_t)1 << 40, wrong[][2] = {{-1, 1}, {4, -4}, {much, much}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        sq_error err = {.status = SQ_OK};
        sq_tape *tape = sq_tape_new(NULL, SQ_DTYPE_F32);
        assert_non_null(tape);
        assert_int_equal(sq_tape_constant(tape, 0, 2, wrong[i]), SQ_VAR_NONE);
        assert_int_equal(sq_tape_status(tape, &err), SQ_BAD_SHAPE);
        sq_tape_free(tape);
    }
}

/* --- who runs a call --- */

static bool is_refusing;

static sq_status accept(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)call;
    (void)device;
    (void)why;
    return SQ_OK;
}

static sq_status accept_or_not(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)call;
    (void)device;
    return is_refusing ? sq_fail(why, SQ_UNSUPPORTED, "as told") : SQ_OK;
}

static const sq_provider *three(const sq_op *op)
{
    static const sq_provider list[] = {{.name = "first", .supports = accept},
                                       {.name = "second", .supports = accept},
                                       {.name = "third", .supports = accept_or_not},
                                       {.name = NULL}};
    (void)op;
    return list;
}

static const sq_device *no_facts(const sq_backend_device *device)
{
    (void)device;
    return NULL;
}

static void expect_provider(sq_tape *tape, const char *want)
{
    const sq_backend backend = {.facts = no_facts};
    const sq_rig rig = {.backend = &backend, .providers = three};
    sq_error err = {.status = SQ_OK};
    assert_int_equal(sq_tape_select(tape, &rig, "second", SQ_PASS_FWD, &err), SQ_OK);
    for (const sq_provider *p = three(NULL); p->name; p++)
        assert_int_equal(sq_tape_uses(tape, p->name), strcmp(p->name, want) == 0);
}

static void a_call_of_one_form_is_run_in_it(void **state)
{
    (void)state;
    sq_tape *tape = sq_tape_new(NULL, SQ_DTYPE_F32);
    assert_non_null(tape);
    const sq_var x = sq_tape_constant(tape, 1, 4, (int64_t[]){1, 1, 1, 4});
    const int call =
        sq_tape_call(tape, "rope", (sq_tape_bind[]){{"x", x}, {NULL, 0}}, "B=1,L=1,H=1,D=4");
    assert_true(call >= 0);
    expect_provider(tape, "second");
    sq_tape_set_form(tape, call, "third");
    expect_provider(tape, "third");
    is_refusing = true;
    expect_provider(tape, "first");
    is_refusing = false;
    sq_tape_set_form(tape, SQ_VAR_NONE, "third");
    sq_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_at_the_border_of_a_block),
        cmocka_unit_test(an_order_names_each_dim_once),
        cmocka_unit_test(orders_lead_back),
        cmocka_unit_test(dims_make_a_size),
        cmocka_unit_test(a_call_of_one_form_is_run_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
