/* What cost() says of norms, projections, short convolutions and rotations against a walk of them
 * (cost_walk.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/ops/cost_walk.h"

/* --- norms --- */

enum { GATE_NONE, GATE_PRE, GATE_POST };

static bool is_centred(const sq_walk *w)
{
    return w->call->op == &sq_op_layernorm ||
           (w->call->op == &sq_op_group_norm && sq_walk_axis(w, "norm") != 0);
}

/* The square of c for its mean; c is less the mean of a row, which is a sum before that. */
static void walk_moments(sq_walk *w)
{
    flop(w, is_centred(w) ? 2 : 0);
    multiply_add(w);
}

static void walk_norm_element(sq_walk *w)
{
    flop(w, sq_walk_axis(w, "residual") != 0);
    if (sq_walk_axis(w, "gate") != GATE_NONE) {
        special(w, 2);
        flop(w, 2); /* silu(z), its product */
    }
    walk_moments(w);
    flop(w, 1); /* n = c r */
    flop(w, sq_walk_axis(w, "weight") != 0);
    flop(w, sq_walk_axis(w, "bias") != 0);
}

static void walk_gate_back(sq_walk *w, bool is_post)
{
    special(w, 2);
    silu_slope(w);
    flop(w, 3); /* silu(z); dz, a product of three */
    if (is_post)
        flop(w, 1 + (sq_walk_axis(w, "weight") != 0) + (sq_walk_axis(w, "bias") != 0)); /* dy, y */
    else
        flop(w, 2); /* u, its gradient to that of s */
}

/* Backward, of s: r, n and the gate again, then dw, db, du = r (dn - n mean(dn n)), centred less
 * its mean. */
static void walk_norm_back(sq_walk *w)
{
    const int64_t gate = sq_walk_axis(w, "gate");
    if (gate != GATE_NONE)
        walk_gate_back(w, gate == GATE_POST);
    walk_moments(w);
    flop(w, 1); /* n */
    if (sq_walk_axis(w, "weight") != 0) {
        flop(w, 1);      /* dn */
        multiply_add(w); /* dw */
    }
    flop(w, sq_walk_axis(w, "bias") != 0);
    multiply_add(w); /* sum of dn n */
    multiply_add(w); /* dn less n times its mean */
    flop(w, 1);      /* times r */
    flop(w, is_centred(w) ? 2 : 0);
    flop(w, sq_walk_axis(w, "residual") != 0); /* dx = du + ds */
}

static void walk_norm(sq_walk *w)
{
    const bool is_by_head = w->call->op == &sq_op_group_norm;
    const int64_t parts = sq_walk_axis(w, is_by_head ? "H" : "groups"); /* layernorm: 0, one */
    const int64_t width = sq_walk_axis(w, "D") * (is_by_head ? parts : 1);
    sq_walk_each(w, width, w->is_bwd ? walk_norm_back : walk_norm_element);
    for (int64_t row = 0; row < w->batch * w->length; row++)
        for (int64_t i = 0; i < (parts > 0 ? parts : 1); i++)
            special(w, 1); /* the root */
}

static void norms(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_rmsnorm,
         FORWARD | STEP,
         walk_norm,
         {"B=2,L=3,D=8", "B=1,L=2,D=12,groups=3,weight=0,gate=pre", "B=1,L=3,D=6,gate=post,bias=1",
          "B=2,L=2,D=5,residual=same", "B=2,L=2,D=5,residual=f32,bias=1"}},
        {&sq_op_rmsnorm,
         BACKWARD,
         walk_norm,
         {"B=2,L=3,D=8", "B=1,L=2,D=12,groups=3", "B=2,L=2,D=5,residual=same",
          "B=2,L=2,D=5,weight=0", "B=1,L=2,D=9,bias=1,residual=f32"}},
        {&sq_op_rmsnorm,
         BACKWARD,
         walk_norm,
         {"B=1,L=2,D=12,groups=3,gate=pre", "B=1,L=3,D=6,gate=post", "B=1,L=3,D=6,gate=post,bias=1",
          "B=2,L=1,D=7,gate=post,weight=0", "B=2,L=1,D=8,gate=pre,weight=0,bias=1"}},
        {&sq_op_layernorm,
         FORWARD | STEP,
         walk_norm,
         {"B=2,L=3,D=8", "B=1,L=2,D=5,weight=0,bias=0", "B=2,L=2,D=5,bias=0,residual=same"}},
        {&sq_op_layernorm,
         BACKWARD,
         walk_norm,
         {"B=2,L=3,D=8", "B=1,L=2,D=5,weight=0,bias=0", "B=2,L=2,D=5,residual=f32",
          "B=2,L=2,D=5,bias=0,residual=same"}},
        {&sq_op_group_norm,
         FORWARD | STEP,
         walk_norm,
         {"B=2,L=3,H=2,D=8", "B=1,L=2,H=3,D=5,norm=layer,bias=1", "B=1,L=3,H=1,D=4,weight=1"}},
        {&sq_op_group_norm,
         BACKWARD,
         walk_norm,
         {"B=2,L=3,H=2,D=8,weight=1", "B=1,L=2,H=3,D=5,norm=layer",
          "B=1,L=3,H=2,D=4,norm=layer,weight=1,bias=1", "B=2,L=3,H=2,D=8",
          "B=1,L=3,H=2,D=4,weight=1,bias=1"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- linear --- */

enum { ACT_NONE, ACT_RELU, ACT_GELU, ACT_GELU_TANH, ACT_SILU };

/* act(a): a times erf or a sigmoid, the latter of a (1 + c a^2) for gelu_tanh. */
static void walk_act(sq_walk *w)
{
    const int64_t act = sq_walk_axis(w, "act");
    if (act == ACT_NONE || act == ACT_RELU)
        return;
    if (act == ACT_GELU_TANH) {
        flop(w, 2); /* a^2, the product with a */
        multiply_add(w);
    }
    special(w, act == ACT_GELU ? 1 : 2);
    flop(w, 1);
}

/* dy act'(a). */
static void walk_act_back(sq_walk *w)
{
    const int64_t act = sq_walk_axis(w, "act");
    if (act == ACT_NONE || act == ACT_RELU)
        return;
    special(w, 2); /* erf and the density, or a sigmoid */
    if (act == ACT_GELU) {
        flop(w, 1); /* a^2 */
        multiply_add(w);
    }
    if (act == ACT_GELU_TANH) {
        flop(w, 2); /* a^2 and u = a (1 + c a^2) */
        multiply_add(w);
        flop(w, 3);      /* a s (1 - s) */
        multiply_add(w); /* u' */
        multiply_add(w); /* s + that times u' */
    }
    if (act == ACT_SILU)
        silu_slope(w);
    flop(w, 1);
}

/* One output: its sum over K and the options. Backward the products of its gradient with w and x. */
static void walk_feature(sq_walk *w)
{
    for (int64_t k = 0; k < sq_walk_axis(w, "K"); k++)
        for (int i = 0; i < (w->is_bwd ? 2 : 1); i++)
            matrix_multiply_add(w);
    flop(w, sq_walk_axis(w, "bias") != 0);
    flop(w, !w->is_bwd && sq_walk_axis(w, "residual") != 0);
    (w->is_bwd ? walk_act_back : walk_act)(w);
}

static void walk_linear(sq_walk *w)
{
    sq_walk_each(w, sq_walk_axis(w, "N"), walk_feature);
}

static void projections(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_linear,
         ALL,
         walk_linear,
         {"B=2,L=3,K=5,N=4", "B=1,L=4,K=3,N=7,bias=1", "B=2,L=2,K=2,N=3,residual=1,act=relu",
          "B=1,L=3,K=4,N=2,bias=1,residual=1,act=gelu", "B=1,L=2,K=1,N=3,act=silu",
          "B=1,L=2,K=3,N=2,act=gelu_tanh"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- causal_conv1d --- */

static void walk_conv_sum(sq_walk *w)
{
    for (int64_t i = 0; i < sq_walk_axis(w, "W"); i++)
        multiply_add(w);
    flop(w, sq_walk_axis(w, "bias") != 0);
}

static void walk_conv_element(sq_walk *w)
{
    walk_conv_sum(w);
    if (sq_walk_axis(w, "silu") != 0) {
        special(w, 2);
        flop(w, 1);
    }
}

/* Of SiLU the sum once more and its slope times dy; of each tap dw and dx, and db. */
static void walk_conv_element_back(sq_walk *w)
{
    if (sq_walk_axis(w, "silu") != 0) {
        walk_conv_sum(w);
        special(w, 2);
        silu_slope(w);
        flop(w, 1);
    }
    for (int64_t i = 0; i < sq_walk_axis(w, "W"); i++) {
        multiply_add(w);
        multiply_add(w);
    }
    flop(w, sq_walk_axis(w, "bias") != 0);
}

static void walk_causal_conv1d(sq_walk *w)
{
    sq_walk_each(w, sq_walk_axis(w, "D"), w->is_bwd ? walk_conv_element_back : walk_conv_element);
}

static void short_convolutions(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_causal_conv1d,
         ALL,
         walk_causal_conv1d,
         {"B=2,L=5,D=3", "B=1,L=3,D=2,W=2,bias=0", "B=2,L=4,D=3,W=3,initial=1,final=1",
          "B=2,L=5,D=3,silu=0", "B=1,L=3,D=2,W=2,silu=0,bias=0"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- rotations --- */

/* An angle, its sine and cosine for each position and pair, which sequences and heads share; (a cos
 * - b sin, b cos + a sin) in each. Backward turns the gradient back. xpos: the power's exponent, its
 * products with sine and cosine. */
static void walk_position(sq_walk *w)
{
    const int64_t all = sq_walk_axis(w, "D"), some = sq_walk_axis(w, "rotary");
    for (int64_t i = 0; i < (some > 0 ? some : all); i += 2) {
        flop(w, w->call->op == &sq_op_xpos ? 4 : 1);
        special(w, w->call->op == &sq_op_xpos ? 3 : 2);
        for (int64_t row = 0; row < w->batch * sq_walk_axis(w, "H"); row++) {
            flop(w, 2);
            multiply_add(w);
            multiply_add(w);
        }
    }
}

static void walk_rotation(sq_walk *w)
{
    for (int64_t t = 0; t < w->length; t++)
        walk_position(w);
}

static void rotations(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_rope, ALL, walk_rotation, {"B=2,L=3,H=2,D=8", "B=1,L=5,H=3,D=8,rotary=4"}},
        {&sq_op_xpos, ALL, walk_rotation, {"B=2,L=3,H=2,D=8", "B=1,L=5,H=3,D=8,rotary=4,keys=1"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms),
        cmocka_unit_test(projections),
        cmocka_unit_test(short_convolutions),
        cmocka_unit_test(rotations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
