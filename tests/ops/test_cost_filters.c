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
        complex_product(w);
}

/* A product; of heads, part of the sum over a head's. */
static void walk_conv_product(sq_walk *w)
{
    flop(w, sq_walk_axis(w, "head") > 1 ? 2 : 1);
}

/* One step of a row beside the convolution: the skip, gelu (a product with its erf), x0. */
static void walk_conv_output(sq_walk *w)
{
    const bool has_gelu = sq_walk_axis(w, "gelu") != 0;
    multiply_add(w); /* bias u */
    flop(w, has_gelu);
    special(w, has_gelu);
    if (sq_walk_axis(w, "gate") == 1)
        walk_conv_product(w);
}

static void walk_conv_input(sq_walk *w)
{
    flop(w, sq_walk_axis(w, "gate") != 0);
}

static void walk_conv_row(sq_walk *w)
{
    walk_transform(w, 2 * w->length); /* u */
    walk_spectra(w);
    walk_transform(w, 2 * w->length); /* back */
    for (int64_t t = 0; t < w->length; t++) {
        walk_conv_input(w);
        walk_conv_output(w);
    }
}

/* Gradients of the gates, the skip and gelu at one step. */
static void walk_conv_gates_back(sq_walk *w)
{
    const int64_t gate = sq_walk_axis(w, "gate"), gelu = sq_walk_axis(w, "gelu");
    multiply_add(w); /* du += bias g */
    multiply_add(w); /* dbias += g u */
    for (int i = 0; i < 2 && gate != 0; i++)
        walk_conv_product(w); /* dv, dx1 */
    if (gate == 1) {
        flop(w, 1);           /* g = dy x0 */
        walk_conv_product(w); /* dx0 = dy act(a) */
        flop(w, gelu != 0);   /* a Phi(a) */
    }
    if (gelu != 0) {
        special(w, 2);   /* Phi(a), phi(a) */
        flop(w, 1);      /* a^2 */
        multiply_add(w); /* Phi(a) + a phi(a) */
        flop(w, 1);      /* g times that */
    }
}

/* U, G and du; the convolution again where dx0 or the slope of gelu need its values. dh's spectrum is
 * a sum over rows. */
static void walk_conv_row_back(sq_walk *w)
{
    const bool has_values = sq_walk_axis(w, "gate") == 1 || sq_walk_axis(w, "gelu") != 0;
    for (int i = 0; i < 3 + has_values; i++)
        walk_transform(w, 2 * w->length);
    for (int i = 0; i < 1 + has_values; i++)
        walk_spectra(w);
    for (int64_t k = 0; k <= w->length; k++)
        complex_multiply_add(w);
    for (int64_t t = 0; t < w->length; t++) {
        walk_conv_input(w);
        if (has_values)
            multiply_add(w);
        walk_conv_gates_back(w);
    }
}

/* A filter that looks ahead is the other half of a row of 2 L points. */
static void walk_long_conv(sq_walk *w)
{
    const int64_t width = sq_walk_axis(w, "head"), filters = sq_walk_axis(w, "D") / width;
    for (int64_t d = 0; d < filters; d++) {
        for (int i = 0; i < (w->is_bwd ? 2 : 1); i++)
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
            walk_conv_input(w);
            multiply_add(w);
        }
        walk_conv_output(w);
    }
}

static void long_convolutions(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_long_conv,
         FORWARD | BACKWARD,
         walk_long_conv,
         {"B=2,L=8,D=3", "B=1,L=4,D=2,gate=0", "B=3,L=16,D=1,gate=2,gelu=1,causal=0", "B=1,L=1,D=2",
          "B=2,L=16,D=8,head=4"}},
        {&sq_op_long_conv,
         FORWARD | BACKWARD,
         walk_long_conv,
         {"B=2,L=64,D=2,gate=2,causal=0", "B=1,L=32,D=4,head=2,gelu=1", "B=1,L=64,D=2,gelu=1",
          "B=1,L=8,D=2,gate=0,gelu=1,causal=0"}},
        {&sq_op_long_conv,
         STEP,
         walk_long_conv_step,
         {"B=2,L=8,D=3,gate=0", "B=1,L=1,D=2,gate=0", "B=2,L=32,D=3", "B=1,L=64,D=2,gate=2,gelu=1",
          "B=1,L=64,D=4,head=2"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- hyena_filter --- */

/* One layer of the network at one position. */
static void walk_layer(sq_walk *w, int64_t from)
{
    for (int64_t f = 0; f < sq_walk_axis(w, "F"); f++) {
        for (int64_t k = 0; k < from; k++)
            multiply_add(w);
        flop(w, 2); /* the bias, freq */
        special(w, 1);
    }
}

/* Backward: dx = da freq cos(freq x), dfreq += da x cos(freq x), db += dx; dw and the gradient of what
 * came before, at last of the features. */
static void walk_layer_back(sq_walk *w, int64_t from)
{
    for (int64_t f = 0; f < sq_walk_axis(w, "F"); f++) {
        special(w, 1);
        flop(w, 2 + 1);
        multiply_add(w);
        for (int64_t k = 0; k < from; k++) {
            multiply_add(w);
            multiply_add(w);
        }
    }
}

static void walk_network(sq_walk *w, void (*layer)(sq_walk *w, int64_t from))
{
    layer(w, sq_walk_axis(w, "E"));
    for (int64_t i = 0; i < sq_walk_axis(w, "inner"); i++)
        layer(w, sq_walk_axis(w, "F"));
}

/* out . a times the window; backward that, dout and da. */
static void walk_tap(sq_walk *w)
{
    for (int64_t f = 0; f < sq_walk_axis(w, "F"); f++)
        for (int i = 0; i < (w->is_bwd ? 3 : 1); i++)
            multiply_add(w);
    flop(w, 2); /* t |delta|, the product with the window */
    flop(w, w->call->axis[sq_axis_find(w->call->op->axes, "shift")] != 0);
    special(w, 1);
    if (w->is_bwd) {
        flop(w, 2); /* dh m e^(...) */
        multiply_add(w);
        multiply_add(w); /* that times t and |delta|, summed */
    }
}

static void walk_hyena_filter(sq_walk *w)
{
    for (int64_t t = 0; t < w->length; t++) {
        walk_network(w, walk_layer);
        if (w->is_bwd)
            walk_network(w, walk_layer_back);
        for (int64_t row = 0; row < w->batch * sq_walk_axis(w, "D"); row++)
            walk_tap(w);
    }
}

static void hyena_filters(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_hyena_filter,
         FORWARD | BACKWARD,
         walk_hyena_filter,
         {"B=2,L=5,D=3,E=3,F=4", "B=1,L=4,D=2,E=5,F=2,inner=0,shift=0.05",
          "B=1,L=3,D=1,E=1,F=3,inner=1", "B=2,L=3,D=1,E=65,F=32,inner=1,shift=-1"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- filters of state spaces --- */

/* Of each mode and tap a power of z, and Re c z^t for each filter; backward sums of dh and t dh. */
static void walk_s4d_kernel(sq_walk *w)
{
    const int64_t modes = sq_walk_axis(w, "N") / 2;
    for (int64_t d = 0; d < sq_walk_axis(w, "D"); d++)
        for (int64_t t = 0; t < w->length; t++) {
            for (int64_t n = 0; n < modes; n++) {
                complex_product(w);
                for (int64_t i = 0; i < 2 * w->batch * (w->is_bwd ? 2 : 1); i++)
                    multiply_add(w);
            }
            for (int64_t b = 0; b < w->batch && w->is_bwd; b++)
                flop(w, 1); /* t dh */
        }
}

/* 1 / (q - g a): its complex product and difference, re^2 + im^2, a reciprocal, the result. */
static void walk_resolvent(sq_walk *w)
{
    complex_multiply_add(w);
    flop(w, 1 + 2);
    special(w, 1);
    flop(w, 2);
}

/* dr to that of a: r^2, times dr, times g. */
static void walk_resolvent_back(sq_walk *w)
{
    complex_product(w);
    complex_product(w);
    complex_multiply_add(w);
}

/* Sum and difference of a pair's resolvents, or of their gradients. */
static void walk_both(sq_walk *w)
{
    flop(w, 2 * 2);
}

/* v r of a mode, or Re v (r + r') + i Im v (r - r') of a pair: four real multiply-adds either way, and
 * as many for the gradients of v and of r. */
static void walk_s4_sum(sq_walk *w)
{
    for (int i = 0; i < 4 * (w->is_bwd ? 3 : 1); i++)
        multiply_add(w);
}

/* A mode at a point: sums (c b) and (c p) for each filter, (p b) and (p p). */
static void walk_s4_mode(sq_walk *w)
{
    const int64_t rank = sq_walk_axis(w, "R");
    const bool has_pair = sq_walk_axis(w, "pairs") != 0;
    for (int i = 0; i < (has_pair ? 2 : 1); i++) {
        walk_resolvent(w);
        if (w->is_bwd)
            walk_resolvent_back(w);
    }
    for (int i = 0; has_pair && i < (w->is_bwd ? 2 : 1); i++)
        walk_both(w);
    for (int64_t left = 0; left < w->batch + rank; left++)
        for (int64_t right = 0; right < 1 + rank; right++)
            walk_s4_sum(w);
}

static void walk_s4_kernel(sq_walk *w)
{
    for (int64_t d = 0; d < sq_walk_axis(w, "D"); d++) {
        for (int64_t n = 0; n < sq_walk_axis(w, "N") / 2; n++)
            for (int64_t j = 0; j <= w->length / 2; j++)
                walk_s4_mode(w);
        for (int64_t b = 0; b < w->batch; b++)
            walk_transform(w, w->length);
    }
}

static void filters_of_state_spaces(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_s4d_kernel,
         FORWARD | BACKWARD,
         walk_s4d_kernel,
         {"B=2,L=5,D=3,N=4", "B=1,L=7,D=4,N=2,S=2,disc=bilinear,input=0"}},
        {&sq_op_s4_kernel,
         FORWARD | BACKWARD,
         walk_s4_kernel,
         {"B=1,L=64,D=2,N=8,pairs=0", "B=2,L=64,D=3,N=4,R=2,pairs=0", "B=1,L=64,D=2,N=8",
          "B=2,L=32,D=3,N=4,R=2", "B=1,L=1,D=4,N=16,S=2"}},
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
