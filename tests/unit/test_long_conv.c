/* The two ways of long_conv's reference, and its transform against the definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "kernels/op.h"

enum { IN_V, IN_X1, IN_X0, IN_H, IN_BIAS };

/* A call with drawn inputs in malloc'ed memory; y is zero. */
static sq_call drawn_call(const char *shape)
{
    sq_call call;
    sq_tensor_list list;
    sq_error err;
    assert_int_equal(sq_call_parse(&sq_op_long_conv, SQ_PASS_FWD, SQ_DTYPE_F32, shape, &call, &err),
                     SQ_OK);
    assert_int_equal(sq_call_shape(&call, &list, &err), SQ_OK);
    for (int i = 0; i < list.n_in; i++)
        if (call.in[i].rank) {
            call.in[i].data = malloc(sq_tensor_bytes(&call.in[i]));
            sq_rng_fill(&call.in[i], 0, list.in[i].draw, 5, (uint32_t)i);
        }
    call.out[0].data = calloc(1, sq_tensor_bytes(&call.out[0]));
    return call;
}

static void free_call(sq_call *call)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        free(call->in[i].data);
    free(call->out[0].data);
}

static double value(const sq_tensor *t, int64_t linear)
{
    return sq_load(t->data, t->dtype, sq_tensor_offset(t, linear));
}

static void is_near(double got, double want, double within)
{
    if (!(fabs(got - want) <= within))
        fail_msg("%.17g is not within %g of %.17g", got, within, want);
}

/* y[0, t, d] by the definition. */
static double by_definition(const sq_call *call, int64_t t, int64_t d)
{
    int64_t length = call->out[0].dim[1], channels = call->out[0].dim[2];
    double sum = 0, u = 0;
    for (int64_t s = 0; s <= t; s++) {
        u = value(&call->in[IN_V], s * channels + d) * value(&call->in[IN_X1], s * channels + d);
        sum += value(&call->in[IN_H], d * length + t - s) * u;
    }
    return value(&call->in[IN_X0], t * channels + d) * (sum + value(&call->in[IN_BIAS], d) * u);
}

static void matches_definition(const char *shape)
{
    sq_call call = drawn_call(shape);
    sq_error err;
    assert_int_equal(sq_op_long_conv.reference(&call, &err), SQ_OK);
    int64_t channels = call.out[0].dim[2];
    for (int64_t i = 0; i < sq_tensor_count(&call.out[0]); i++) {
        double want = by_definition(&call, i / channels, i % channels);
        /* Both sums are exact to 1e-12; storing in f32 costs 6e-8. */
        is_near(value(&call.out[0], i), want, 1e-7 * fabs(want) + 1e-10);
    }
    free_call(&call);
}

/* 512 is the last length that the reference sums directly. */
static void both_ways_match_the_definition(void **state)
{
    (void)state;
    matches_definition("B=1,L=1,D=2");
    matches_definition("B=1,L=512,D=2");
    matches_definition("B=1,L=513,D=3");
    matches_definition("B=1,L=1025,D=1");
}

/* h = delta at s moves u by s steps. */
static void an_impulse_delays(void **state)
{
    (void)state;
    enum { LENGTH = 1500, DELAY = 700 };
    sq_call call = drawn_call("B=1,L=1500,D=1,gate=0");
    float *v = call.in[IN_V].data, *h = call.in[IN_H].data, *y = call.out[0].data;
    sq_error err;
    for (int t = 0; t < LENGTH; t++)
        h[t] = t == DELAY;
    *(float *)call.in[IN_BIAS].data = 0;
    assert_int_equal(sq_op_long_conv.reference(&call, &err), SQ_OK);
    for (int t = 0; t < LENGTH; t++)
        is_near(y[t], t < DELAY ? 0 : v[t - DELAY], 1e-12);
    free_call(&call);
}

/* --- rows that share a transform --- */

static void scale(sq_tensor *t, float factor)
{
    for (int64_t i = 0; i < sq_tensor_count(t); i++)
        ((float *)t->data)[i] *= factor;
}

static void assert_all_zero(const sq_tensor *t)
{
    for (int64_t i = 0; i < sq_tensor_count(t); i++)
        assert_true(((const float *)t->data)[i] == 0);
}

/* The input and the filter share one, whatever their sizes. */
static void a_small_input_keeps_its_digits(void **state)
{
    (void)state;
    static const float factors[] = {0, 0x1p-60f, 0x1p60f};
    for (size_t k = 0; k < sizeof factors / sizeof factors[0]; k++) {
        sq_call usual = drawn_call("B=1,L=600,D=2,gate=0"),
                call = drawn_call("B=1,L=600,D=2,gate=0");
        scale(&call.in[IN_V], factors[k]);
        assert_int_equal(sq_op_long_conv.reference(&usual, NULL), SQ_OK);
        assert_int_equal(sq_op_long_conv.reference(&call, NULL), SQ_OK);
        scale(&usual.out[0], factors[k]);
        for (int64_t i = 0; i < sq_tensor_count(&usual.out[0]); i++)
            is_near(value(&call.out[0], i), value(&usual.out[0], i),
                    1e-9 * (double)factors[k]); /* y is about 1; stored by the same rounding */
        free_call(&usual);
        free_call(&call);
    }
}

/* Gradients of one forward call, with input `which` of it multiplied by `factor`. */
static sq_call gradients(int which, float factor)
{
    sq_call call;
    sq_tensor_list list;
    assert_int_equal(sq_call_parse(&sq_op_long_conv, SQ_PASS_BWD, SQ_DTYPE_F32,
                                   "B=1,L=600,D=2,gate=0", &call, NULL),
                     SQ_OK);
    assert_int_equal(sq_call_shape(&call, &list, NULL), SQ_OK);
    for (int i = 0; i < list.first_value; i++)
        if (call.in[i].rank) {
            call.in[i].data = malloc(sq_tensor_bytes(&call.in[i]));
            sq_rng_fill(&call.in[i], 0, list.in[i].draw, 5, (uint32_t)i);
        }
    for (int i = 0; i < list.n_out; i++)
        if (call.out[i].rank)
            call.out[i].data = calloc(1, sq_tensor_bytes(&call.out[i]));
    scale(&call.in[IN_BIAS], 0);
    scale(&call.in[which], factor);
    assert_int_equal(sq_op_long_conv.backward(&call, NULL), SQ_OK);
    return call;
}

static void free_gradients(sq_call *call)
{
    for (int i = 1; i < SQ_MAX_OUT; i++)
        free(call->out[i].data);
    free_call(call);
}

static void is_scaled(const sq_tensor *got, const sq_tensor *usual, double factor)
{
    double most = 0;
    for (int64_t i = 0; i < sq_tensor_count(got); i++)
        most = fmax(most, fabs(value(usual, i)));
    for (int64_t i = 0; i < sq_tensor_count(got); i++)
        is_near(value(got, i), factor * value(usual, i), 1e-9 * factor * most);
}

/* The gradients of the input and of the filter share one. */
static void gradients_of_other_sizes_keep_their_digits(void **state)
{
    (void)state;
    sq_call usual = gradients(IN_V, 1);
    for (int which = IN_V; which <= IN_H; which += IN_H - IN_V) {
        const int moved = IN_V + IN_H - which; /* dv is linear in the filter, dh in the input */
        sq_call none = gradients(which, 0), small = gradients(which, 0x1p-60f);
        assert_all_zero(&none.out[moved]);
        is_scaled(&none.out[which], &usual.out[which], 1);
        is_scaled(&small.out[moved], &usual.out[moved], 0x1p-60);
        is_scaled(&small.out[which], &usual.out[which], 1);
        free_gradients(&none);
        free_gradients(&small);
    }
    free_gradients(&usual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_match_the_definition),
        cmocka_unit_test(an_impulse_delays),
        cmocka_unit_test(a_small_input_keeps_its_digits),
        cmocka_unit_test(gradients_of_other_sizes_keep_their_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
