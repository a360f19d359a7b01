/* References that round their named intermediates: which do, how much it changes, and that it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/error_rule.h"
#include "bench/worker/condition.h"
#include "kernels/op.h"
#include "kernels/shared/rounding.h"

#define MAX_WORK 1e6 /* multiply-adds of a reference: under sanitizers that must stay short */

static const sq_rounding none = {.grid = 0};

static void a_number_of_the_type_stays(void **state)
{
    (void)state;
    sq_rounding_set((sq_rounding){SQ_DTYPE_BF16, 0.7});
    assert_true(sq_named(1) == 1 && sq_named(-0.375) == -0.375 && sq_named(0) == 0);
    assert_true(isnan(sq_named(NAN)) && isinf(sq_named(INFINITY)));
    const double third = sq_named(1.0 / 3), of_five = 5 * sq_named_factor(5, 1.0 / 3);
    assert_true(third != 1.0 / 3 && fabs(third - 1.0 / 3) <= 0x1p-8 / 3);
    assert_true(fabs(of_five - sq_named(5.0 / 3)) < 1e-15);
    assert_true(sq_named_factor(0, 0.1) == 0.1);
    assert_int_equal(sq_rounding_set(none).dtype, SQ_DTYPE_BF16);
    assert_true(sq_named(1.0 / 3) == 1.0 / 3);
}

/* Grids make errors of the same size, but other ones: never beyond half of a last place at g x. */
static void grids_differ(void **state)
{
    (void)state;
    int differ = 0;
    for (int g = 0; g < 32; g++)
        for (int i = 1; i <= 200; i++) {
            const double x = sin(i);
            sq_rounding_set((sq_rounding){SQ_DTYPE_BF16, 1});
            const double plain = sq_named(x);
            sq_rounding_set((sq_rounding){SQ_DTYPE_BF16, exp2(-g / 32.0)});
            assert_true(fabs(sq_named(x) - x) <= 0x1p-8 * fabs(x));
            differ += sq_named(x) != plain;
        }
    sq_rounding_set(none);
    assert_true(differ > 31 * 150);
}

static void allocate(sq_tensor *t, const sq_tensor_spec *spec, int which)
{
    if (!spec->name)
        return;
    t->data = calloc(1, sq_tensor_bytes(t));
    assert_non_null(t->data);
    for (int64_t i = 0; which >= 0 && i < sq_tensor_count(t); i++)
        sq_store(t->data, t->dtype, i, sq_rng_draw(spec->draw, 11, (uint32_t)which, i));
}

static void clear(const sq_call *call)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        free(call->in[i].data);
    for (int i = 0; i < SQ_MAX_OUT; i++)
        free(call->out[i].data);
}

/* zero: an input that is drawn as 0, or NULL. false: the operator's reference of that shape is too much work. */
static bool run(const sq_op *op, const char *shape, sq_pass pass, const char *zero,
                sq_rounding rounding, sq_call *call)
{
    sq_error err = {.status = SQ_OK};
    sq_tensor_list list;
    assert_int_equal(sq_call_parse(op, pass, SQ_DTYPE_BF16, shape, call, &err), SQ_OK);
    if (op->reference_work(call->axis) > MAX_WORK)
        return false;
    assert_int_equal(sq_op_tensors(op, pass, SQ_DTYPE_BF16, call->axis, &list, &err), SQ_OK);
    for (int i = 0; i < list.n_in; i++) {
        if (zero && list.in[i].name && strcmp(list.in[i].name, zero) == 0)
            list.in[i].draw = (sq_draw){SQ_DRAW_CONSTANT, 0, 0, 0};
        allocate(&call->in[i], &list.in[i], i);
    }
    for (int i = 0; i < list.n_out; i++)
        allocate(&call->out[i], &list.out[i], -1);
    sq_rounding_set(rounding);
    const sq_status s = sq_op_reference(call, &err);
    sq_rounding_set(none);
    if (s != SQ_OK)
        fail_msg("%s: %s", op->name, err.message);
    return true;
}

/* The worst rel_l2 of the outputs. */
static double difference(const sq_call *a, const sq_call *b)
{
    double worst = 0;
    for (int i = 0; i < SQ_MAX_OUT; i++)
        if (a->out[i].data)
            worst = fmax(worst, sq_compare(&a->out[i], &b->out[i], (sq_tolerance){0, 0}).rel_l2);
    return worst;
}

/* By how much rounding changes a call; afterwards all is as before. */
static double change(const sq_op *op, const char *shape, sq_pass pass, const char *zero)
{
    sq_call plain, rounded, again;
    if (!run(op, shape, pass, zero, none, &plain))
        return 0;
    run(op, shape, pass, zero, (sq_rounding){SQ_DTYPE_BF16, 1}, &rounded);
    run(op, shape, pass, zero, none, &again);
    const double changed = difference(&rounded, &plain);
    assert_true(difference(&again, &plain) == 0);
    clear(&plain);
    clear(&rounded);
    clear(&again);
    return changed;
}

/* docs/intermediates.md */
static bool has_named(const char *op)
{
    static const char *const without[] = {"hyena_filter", "rope",      "s4_kernel", "s4_scan",
                                          "s4d_kernel",   "shift_ssm", "xpos",      NULL};
    for (int i = 0; without[i]; i++)
        if (strcmp(op, without[i]) == 0)
            return false;
    return true;
}

static void references_round_what_is_named(void **state)
{
    static const sq_pass passes[] = {SQ_PASS_FWD, SQ_PASS_BWD};
    (void)state;
    for (int i = 0; sq_ops[i]; i++)
        for (int p = 0; p < 2; p++) {
            double worst = 0;
            for (const char *const *shape = sq_ops[i]->test_shapes; *shape; shape++)
                worst = fmax(worst, change(sq_ops[i], *shape, passes[p], NULL));
            if ((worst > 0) != has_named(sq_ops[i]->name) || worst > 0.1)
                fail_msg("%s %s: rounded intermediates change it by %g", sq_ops[i]->name,
                         sq_pass_name(passes[p]), worst);
        }
}

/* Without decays, and with a scale that is a power of two, S before a chunk and G after it are all that
 * pass bwd rounds. Their errors do not add up from chunk to chunk. */
static void states_of_chunks_are_rounded_in_pass_bwd(void **state)
{
    static const struct {
        const char *shape;
        double least, most;
    } cases[] = {
        {"B=1,L=64,H=2,K=16,V=8", 0, 0},
        {"B=1,L=65,H=2,K=16,V=8", 1e-4, 6e-3},
        {"B=1,L=64,H=2,K=16,V=8,final=1", 1e-4, 6e-3},
        {"B=1,L=3,H=2,K=16,V=8,initial=1", 1e-4, 6e-3},
        {"B=1,L=1157,H=1,K=16,V=8,final=1", 1e-4, 6e-3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const double by = change(sq_op_find("simple_gla"), cases[i].shape, SQ_PASS_BWD, "g");
        if (by < cases[i].least || by > cases[i].most)
            fail_msg("%s: %g", cases[i].shape, by);
    }
}

static void assert_near(double got, double want)
{
    assert_true(fabs(got - want) <= 1e-12);
}

static void assert_widened(bool is_gradient, double moved, double rounded, double rel_l2,
                           double max_abs)
{
    const sq_tolerance narrow = {.rel_l2 = 1e-3, .max_abs = 1e-2};
    const sq_move move = {.moved = {moved, 10 * moved}, .rounded = {rounded, 10 * rounded}};
    const sq_tolerance wide = sq_condition_bound(narrow, INFINITY, is_gradient, move);
    assert_near(wide.rel_l2, rel_l2);
    assert_near(wide.max_abs, max_abs);
}

static void roundings_widen_a_bound(void **state)
{
    (void)state;
    for (int is_gradient = 0; is_gradient < 2; is_gradient++) {
        assert_widened(is_gradient, 0, 0, 1e-3, 1e-2);
        assert_widened(is_gradient, 1e-4, 0, 1.6e-3, 1.6e-2);
        assert_widened(is_gradient, 0.4, 0, 0.01, 0.1);
        assert_widened(is_gradient, 0, 0.002, 0.004, 0.04);
        assert_widened(is_gradient, 0, 0.01, 0.02, 0.2);
        assert_widened(is_gradient, 0, 0.4, 0.5, 5); /* half, no more */
        assert_widened(is_gradient, 0, 1, 2, 20);    /* nothing is left of it in the type */
    }
    assert_widened(false, 0, 0.004, 0.008, 0.08);
    assert_widened(true, 0, 0.004, 0.005, 0.08); /* what the type holds within it */
}

/* Bounds that a condition does not widen. */
static void a_rule_may_ask_for_less(void **state)
{
    const sq_tolerance own = {.rel_l2 = 2.5e-2, .max_abs = 0.5};
    const sq_tolerance bound = sq_condition_bound(own, 3e-3, true, (sq_move){{0, 0}, {0, 0}});
    (void)state;
    assert_near(bound.rel_l2, 3e-3);
    assert_near(bound.max_abs, 0.5);
}

static bool is_beyond(const sq_op *op, sq_pass pass, const sq_axis_value *axis)
{
    return op->tolerance(pass, SQ_DTYPE_F32, axis).rel_l2 > SQ_RULE_F32;
}

/* In f32 no operator asks for more than the rule but norms of rows of one or two channels, of whose
 * gradient next to nothing is left. */
static void operators_keep_the_rule_in_f32(void **state)
{
    (void)state;
    for (int i = 0; sq_ops[i]; i++) {
        const bool is_norm = strstr(sq_ops[i]->name, "norm") != NULL;
        for (int p = 0; p < SQ_OWN_PASSES; p++)
            for (const char *const *shape = sq_ops[i]->test_shapes; *shape; shape++) {
                sq_call call;
                if (sq_call_parse(sq_ops[i], sq_own_passes[p], SQ_DTYPE_F32, *shape, &call, NULL) != SQ_OK)
                    continue;
                const int width = sq_axis_find(sq_ops[i]->axes, "D");
                const bool is_left = !is_norm || call.axis[width] > 2;
                if (is_left && is_beyond(sq_ops[i], sq_own_passes[p], call.axis))
                    fail_msg("%s %s %s", sq_ops[i]->name, sq_pass_name(sq_own_passes[p]), *shape);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_of_the_type_stays),
        cmocka_unit_test(grids_differ),
        cmocka_unit_test(references_round_what_is_named),
        cmocka_unit_test(states_of_chunks_are_rounded_in_pass_bwd),
        cmocka_unit_test(roundings_widen_a_bound),
        cmocka_unit_test(a_rule_may_ask_for_less),
        cmocka_unit_test(operators_keep_the_rule_in_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
