/* What cost() says of long filters and of local attention against a walk of them (cost_walk.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/ops/cost_walk.h"

/* A real transform of n = 2^k points: half the work of a complex one's butterflies, each a product
 * (6) and two sums (4). */
static void walk_transform(sq_walk *w, int64_t n)
{
    for (int64_t span = 2; span <= n; span *= 2)
        for (int64_t at = 0; at < n; at += span)
            for (int64_t i = 0; i < span / 2; i++)
                flop(w, 10 / 2);
}

/* --- long_conv --- */

static void walk_spectra(sq_walk *w)
{
    for (int64_t k = 0; k <= w->length; k++)
        flop(w, 6);
}

/* One step of a row beside the convolution: the skip, what gates multiply, gelu (9, its erf apart);
 * with heads the sum over a head's products too. */
static void walk_conv_gates(sq_walk *w, bool has_input)
{
    const int64_t gate = sq_walk_axis(w, "gate"), gelu = sq_walk_axis(w, "gelu");
    multiply_add(w); /* bias u */
    flop(w, has_input && gate != 0);
    flop(w, gate == 1 ? 1 + (sq_walk_axis(w, "head") > 1) : 0);
    flop(w, gelu != 0 ? 9 : 0);
    special(w, gelu != 0);
}

static void walk_conv_row(sq_walk *w)
{
    walk_transform(w, 2 * w->length); /* u */
    walk_spectra(w);
    walk_transform(w, 2 * w->length); /* back */
    for (int64_t t = 0; t < w->length; t++)
        walk_conv_gates(w, true);
}

/* Gradients of the gates, the skip and gelu at one step. */
static void walk_conv_gates_back(sq_walk *w)
{
    const int64_t gate = sq_walk_axis(w, "gate"), gelu = sq_walk_axis(w, "gelu");
    multiply_add(w);                /* du += bias g */
    multiply_add(w);                /* dbias += g u */
    flop(w, gate != 0 ? 2 : 0);     /* dv, dx1 */
    flop(w, gate == 1 ? 2 : 0);     /* g = dy x0, dx0 = dy a */
    flop(w, gelu != 0 ? 9 + 6 : 0); /* gelu; its slope from that, and the product with g */
    special(w, gelu != 0 ? 2 : 0);
}

/* U, G and du; the convolution again where dx0 or the slope of gelu need its values. dh gathers its
 * spectrum over the batch. */
static void walk_conv_row_back(sq_walk *w)
{
    const bool has_values = sq_walk_axis(w, "gate") == 1 || sq_walk_axis(w, "gelu") != 0;
    for (int i = 0; i < 3 + has_values; i++)
        walk_transform(w, 2 * w->length);
    for (int i = 0; i < 2 + has_values; i++)
        walk_spectra(w);
    for (int64_t t = 0; t < w->length; t++) {
        flop(w, sq_walk_axis(w, "gate") != 0); /* u */
        if (has_values)
            multiply_add(w);
        walk_conv_gates_back(w);
    }
}

static void walk_long_conv(sq_walk *w)
{
    const int64_t width = sq_walk_axis(w, "head"), filters = sq_walk_axis(w, "D") / width;
    for (int64_t d = 0; d < filters; d++) {
        for (int i = 0; i < (sq_walk_axis(w, "causal") != 0 ? 1 : 2); i++)
            for (int k = 0; k < (w->is_bwd ? 2 : 1); k++)
                walk_transform(w, 2 * w->length);
        for (int64_t row = 0; row < w->batch * width * width; row++)
            (w->is_bwd ? walk_conv_row_back : walk_conv_row)(w);
    }
}

/* The new token's convolution with all before it, whose gated inputs are made again. */
static void walk_long_conv_step(sq_walk *w)
{
    const int64_t width = sq_walk_axis(w, "head");
    for (int64_t row = 0; row < w->batch * sq_walk_axis(w, "D") * width; row++) {
        for (int64_t s = 0; s < sq_walk_axis(w, "L"); s++) {
            flop(w, sq_walk_axis(w, "gate") != 0);
            multiply_add(w);
        }
        walk_conv_gates(w, false);
    }
}

/* cost() counts no sum over the products of a head, backward the gates as twice those of forward,
 * and in a step the new token's u twice: few flops of a row, since a filter is long. */
static void long_convolutions(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_long_conv,
         FORWARD,
         walk_long_conv,
         0,
         {"B=2,L=8,D=3", "B=1,L=4,D=2,gate=0", "B=3,L=16,D=1,gate=2,gelu=1,causal=0",
          "B=1,L=1,D=2"}},
        {&sq_op_long_conv, FORWARD, walk_long_conv, 0.02, {"B=2,L=16,D=8,head=4"}},
        {&sq_op_long_conv,
         BACKWARD,
         walk_long_conv,
         0.03,
         {"B=2,L=64,D=3", "B=1,L=64,D=2,gate=0", "B=2,L=64,D=2,gate=2,causal=0",
          "B=1,L=64,D=4,head=2", "B=1,L=64,D=2,gelu=1"}},
        {&sq_op_long_conv,
         STEP,
         walk_long_conv_step,
         0,
         {"B=2,L=8,D=3,gate=0", "B=1,L=1,D=2,gate=0"}},
        {&sq_op_long_conv,
         STEP,
         walk_long_conv_step,
         0.02,
         {"B=2,L=32,D=3", "B=1,L=64,D=2,gate=2,gelu=1", "B=1,L=64,D=4,head=2"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- hyena_filter --- */

/* One layer of the network at one position; here a sine is a flop too. */
static void walk_layer(sq_walk *w, int64_t from)
{
    for (int64_t f = 0; f < sq_walk_axis(w, "F"); f++) {
        for (int64_t k = 0; k < from; k++)
            multiply_add(w);
        flop(w, 3); /* the bias, freq, sine */
        special(w, 1);
    }
}

static void walk_network(sq_walk *w)
{
    walk_layer(w, sq_walk_axis(w, "E"));
    for (int64_t i = 0; i < sq_walk_axis(w, "inner"); i++)
        walk_layer(w, sq_walk_axis(w, "F"));
}

/* out . a times the window; backward that, dout and da. */
static void walk_tap(sq_walk *w)
{
    for (int64_t f = 0; f < sq_walk_axis(w, "F"); f++)
        for (int i = 0; i < (w->is_bwd ? 3 : 1); i++)
            multiply_add(w);
    flop(w, 4); /* t |delta|, its exponential, the shift, the product */
    special(w, 1);
    flop(w, w->is_bwd ? 6 : 0); /* dh m e^(...), ddelta, dt */
}

/* Backward the network again, and of each of its products two: dw and the gradient before it, with
 * a cosine for each sine. */
static void walk_hyena_filter(sq_walk *w)
{
    for (int64_t t = 0; t < w->length; t++) {
        const double before = w->special;
        walk_network(w);
        const double sines = w->special - before;
        for (int i = 0; i < 2 && w->is_bwd; i++)
            walk_network(w);
        w->special = before + sines * (w->is_bwd ? 2 : 1);
        for (int64_t row = 0; row < w->batch * sq_walk_axis(w, "D"); row++)
            walk_tap(w);
    }
}

/* Backward cost() leaves out that ddelta needs out . a again: few rows beside the network. */
static void hyena_filters(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_hyena_filter,
         FORWARD,
         walk_hyena_filter,
         0,
         {"B=2,L=5,D=3,E=3,F=4", "B=1,L=4,D=2,E=5,F=2,inner=0", "B=1,L=3,D=1,E=1,F=3,inner=1"}},
        {&sq_op_hyena_filter,
         BACKWARD,
         walk_hyena_filter,
         0.03,
         {"B=1,L=5,D=2,E=3,F=16", "B=2,L=3,D=1,E=65,F=32,inner=1"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- filters of state spaces --- */

/* Of each mode and tap a power of z, and Re c z^t for each filter; backward two sums for each. */
static void walk_s4d_kernel(sq_walk *w)
{
    for (int64_t d = 0; d < sq_walk_axis(w, "D"); d++)
        for (int64_t n = 0; n < sq_walk_axis(w, "N") / 2; n++)
            for (int64_t t = 0; t < w->length; t++) {
                flop(w, 6);
                for (int64_t i = 0; i < 2 * w->batch * (w->is_bwd ? 2 : 1); i++)
                    multiply_add(w);
            }
}

/* 1 / (q - g a): its complex product and difference, |.|^2, a reciprocal (a flop here), the result.
 */
static void walk_resolvent(sq_walk *w)
{
    complex_multiply_add(w);
    multiply_add(w);
    multiply_add(w);
    flop(w, 1 + 2);
}

/* dr to those of a and ln dt, by way of r^2. */
static void walk_resolvent_back(sq_walk *w)
{
    flop(w, 6 + 6 + 6); /* r^2, times g, times q */
    complex_multiply_add(w);
    multiply_add(w);
    multiply_add(w);
}

/* A mode at a point, its conjugate being one more: sums (c b) and (c p) for each filter, (p b) and
 * (p p); backward the gradients of r and, gathered over the points, of the product in each. */
static void walk_s4_mode(sq_walk *w)
{
    const int64_t rank = sq_walk_axis(w, "R");
    walk_resolvent(w);
    if (w->is_bwd)
        walk_resolvent_back(w);
    for (int64_t left = 0; left < w->batch + rank; left++)
        for (int64_t right = 0; right < 1 + rank; right++)
            for (int i = 0; i < (w->is_bwd ? 3 : 1); i++)
                complex_multiply_add(w);
}

static void walk_s4_kernel(sq_walk *w)
{
    for (int64_t d = 0; d < sq_walk_axis(w, "D"); d++) {
        for (int64_t n = 0; n < sq_walk_axis(w, "N") / 2; n++)
            for (int64_t j = 0; j <= w->length / 2; j++)
                for (int i = 0; i < (sq_walk_axis(w, "pairs") != 0 ? 2 : 1); i++)
                    walk_s4_mode(w);
        for (int64_t b = 0; b < w->batch; b++)
            walk_transform(w, w->length);
    }
}

/* s4_kernel: cost() takes the logarithm of L + 1 points, so that one point costs something; its 30 a
 * sum backward is between gathering what does not depend on the point, as here, and not. Its 12 for
 * a sum of a pair is between two complex multiply-adds and one, of r's sum and difference. */
static void filters_of_state_spaces(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_s4d_kernel,
         FORWARD | BACKWARD,
         walk_s4d_kernel,
         0,
         {"B=2,L=5,D=3,N=4", "B=1,L=7,D=4,N=2,S=2,disc=bilinear,input=0"}},
        {&sq_op_s4_kernel,
         FORWARD,
         walk_s4_kernel,
         0.001,
         {"B=1,L=64,D=2,N=8,pairs=0", "B=2,L=64,D=3,N=4,R=2,pairs=0"}},
        {&sq_op_s4_kernel,
         BACKWARD,
         walk_s4_kernel,
         0.2,
         {"B=1,L=64,D=2,N=8,pairs=0", "B=2,L=64,D=3,N=4,R=2,pairs=0"}},
        {&sq_op_s4_kernel,
         FORWARD | BACKWARD,
         walk_s4_kernel,
         0.25,
         {"B=1,L=64,D=2,N=8", "B=2,L=64,D=3,N=4,R=2", "B=1,L=32,D=4,N=16,S=2"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- local attention --- */

/* A query and a key that it sees: the score and the value, an exponential, a bias; backward the
 * score again, dp, dv, dq and dk. */
static void walk_pair(sq_walk *w)
{
    for (int64_t d = 0; d < sq_walk_axis(w, "D"); d++)
        for (int i = 0; i < (w->is_bwd ? 5 : 2); i++)
            matrix_multiply_add(w);
    special(w, 1);
    if (sq_walk_axis(w, "buckets") > 0)
        flop(w, w->is_bwd ? 2 : 1);
}

static void walk_local_attention(sq_walk *w)
{
    const int64_t keys = sq_walk_axis(w, "L"), block = sq_walk_axis(w, "block");
    for (int64_t b = 0; b < w->batch; b++)
        for (int64_t h = 0; h < sq_walk_axis(w, "H"); h++)
            for (int64_t i = keys - w->length; i < keys; i++)
                for (int64_t j = 0; j <= i; j++)
                    if (j > i - block)
                        walk_pair(w);
}

static void local_attention(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_local_attention,
         ALL,
         walk_local_attention,
         0,
         {"B=2,L=7,H=2,D=4,block=3,buckets=0", "B=1,L=9,H=3,D=2,block=4,buckets=4,distance=7",
          "B=2,L=5,H=1,D=3,buckets=8,distance=9"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_convolutions),
        cmocka_unit_test(hyena_filters),
        cmocka_unit_test(filters_of_state_spaces),
        cmocka_unit_test(local_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
