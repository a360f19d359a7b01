/* What cost() says of the recurrences against a walk of them (cost_walk.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/ops/cost_walk.h"

/* --- decayed outer products: ssd, simple_gla, gla, retention --- */

/* S += k v^T, o += S^T q of one head and step; backward the state again, its gradient G += q do^T,
 * dq += S do, dk += G v and dv += G^T k. How often the state decays depends on the chunks: no part
 * of it is compulsory. */
static void walk_state(sq_walk *w, int64_t keys, int64_t values)
{
    const int products = w->is_bwd ? 5 : 2;
    for (int64_t n = 0; n < keys; n++)
        for (int64_t c = 0; c < values; c++)
            for (int i = 0; i < products; i++)
                matrix_multiply_add(w);
}

/* <dfinal, final_state> of each sequence and head, which the gradients of decays begin with. */
static void walk_end(sq_walk *w, int64_t heads, int64_t states)
{
    if (w->is_bwd && sq_walk_axis(w, "final") != 0)
        for (int64_t i = 0; i < w->batch * heads * states; i++)
            multiply_add(w);
}

/* d and its decay, and d x, of one head and step. */
static void walk_ssd_step(sq_walk *w)
{
    flop(w, sq_walk_axis(w, "bias") != 0);
    special(w, sq_walk_axis(w, "softplus") != 0 ? 2 : 0);
    flop(w, 1); /* d A */
    special(w, 1);
    for (int64_t p = 0; p < sq_walk_axis(w, "P"); p++)
        flop(w, 1); /* d x */
}

static void walk_ssd_head(sq_walk *w)
{
    walk_state(w, sq_walk_axis(w, "N"), sq_walk_axis(w, "P"));
    walk_ssd_step(w);
    for (int64_t p = 0; p < sq_walk_axis(w, "P"); p++) {
        if (sq_walk_axis(w, "skip") != 0)
            multiply_add(w);
        if (sq_walk_axis(w, "gate") == 0)
            continue;
        special(w, 2);
        flop(w, 2); /* silu(z), y silu(z) */
    }
}

/* A value and its gate: e = dy silu(z), y = C . S + D x, dz = dy y silu'(z). */
static void walk_ssd_gate_back(sq_walk *w)
{
    for (int64_t n = 0; n < sq_walk_axis(w, "N"); n++)
        matrix_multiply_add(w);
    if (sq_walk_axis(w, "skip") != 0)
        multiply_add(w);
    special(w, 2);
    flop(w, 2); /* silu(z), e */
    silu_slope(w);
    flop(w, 2); /* dz */
}

static void walk_ssd_head_back(sq_walk *w)
{
    const bool has_softplus = sq_walk_axis(w, "softplus") != 0;
    walk_state(w, sq_walk_axis(w, "N"), sq_walk_axis(w, "P"));
    walk_ssd_step(w);
    for (int64_t p = 0; p < sq_walk_axis(w, "P"); p++) {
        if (sq_walk_axis(w, "gate") != 0)
            walk_ssd_gate_back(w);
        flop(w, 1);      /* dx = d (G^T B) */
        multiply_add(w); /* dd += x (G^T B) */
        for (int i = 0; i < 2 && sq_walk_axis(w, "skip") != 0; i++)
            multiply_add(w); /* dx += D e, dD += e x */
    }
    for (int64_t n = 0; n < sq_walk_axis(w, "N"); n++)
        multiply_add(w); /* C . dC */
    multiply_add(w);     /* less B . dB, of dd */
    multiply_add(w);     /* dd += A d(ln a) */
    multiply_add(w);     /* dA += d d(ln a) */
    special(w, has_softplus);
    flop(w, has_softplus + (sq_walk_axis(w, "bias") != 0));
}

static void walk_ssd(sq_walk *w)
{
    sq_walk_each(w, sq_walk_axis(w, "H"), w->is_bwd ? walk_ssd_head_back : walk_ssd_head);
    walk_end(w, sq_walk_axis(w, "H"), sq_walk_axis(w, "N") * sq_walk_axis(w, "P"));
}

/* A head whose output, or its gradient, is scaled. */
static void walk_head(sq_walk *w)
{
    walk_state(w, sq_walk_axis(w, "K"), sq_walk_axis(w, "V"));
    for (int64_t c = 0; c < sq_walk_axis(w, "V"); c++)
        flop(w, 1);
}

static void walk_decay(sq_walk *w)
{
    special(w, 1);
}

/* q . dq less k . dk, a key's part of it. */
static void walk_decay_gradient(sq_walk *w)
{
    multiply_add(w);
    multiply_add(w);
}

static void walk_decay_gradients(sq_walk *w)
{
    const int64_t heads = sq_walk_axis(w, "H"), keys = sq_walk_axis(w, "K");
    if (w->is_bwd)
        sq_walk_each(w, heads * keys, walk_decay_gradient);
    walk_end(w, heads, keys * sq_walk_axis(w, "V"));
}

static void walk_retention(sq_walk *w)
{
    sq_walk_each(w, sq_walk_axis(w, "H"), walk_head);
}

static void walk_simple_gla(sq_walk *w)
{
    walk_retention(w);
    sq_walk_each(w, sq_walk_axis(w, "H"), walk_decay);
    walk_decay_gradients(w);
}

static void walk_gla(sq_walk *w)
{
    walk_retention(w);
    sq_walk_each(w, sq_walk_axis(w, "H") * sq_walk_axis(w, "K"), walk_decay);
    walk_decay_gradients(w);
}

/* norm=paper, a key of the sum of the scores: z = gamma z + k, q . z. */
static void walk_score_sum(sq_walk *w)
{
    multiply_add(w);
    multiply_add(w);
    if (!w->is_bwd)
        return;
    multiply_add(w); /* do . o, which is q . dq */
    multiply_add(w); /* dq += dr z */
    multiply_add(w); /* dz = dr q + gamma dz */
    flop(w, 1);      /* dk += dz */
}

static void walk_paper(sq_walk *w)
{
    walk_retention(w);
    sq_walk_each(w, sq_walk_axis(w, "H") * sq_walk_axis(w, "K"), walk_score_sum);
}

/* norm=torchscale: each score that a query sees, times its decay, its absolute value summed. */
static void walk_torchscale(sq_walk *w)
{
    walk_retention(w);
    for (int64_t row = 0; row < w->batch * sq_walk_axis(w, "H"); row++)
        for (int64_t t = 0; t < w->length; t++)
            for (int64_t s = 0; s <= t; s++) {
                for (int64_t n = 0; n < sq_walk_axis(w, "K"); n++)
                    matrix_multiply_add(w);
                flop(w, 2);
            }
}

static void decayed_outer_products(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_ssd,
         ALL,
         walk_ssd,
         {"B=2,L=5,H=4,P=3,N=2,G=2", "B=1,L=4,H=2,P=2,N=5,bias=0,softplus=0,skip=0",
          "B=2,L=3,H=3,P=2,N=3,gate=1,skip=2", "B=1,L=7,H=1,P=5,N=1,gate=1,skip=0,softplus=0",
          "B=1,L=6,H=2,P=2,N=2,bias=0,documents=1,initial=1,final=1"}},
        {&sq_op_ssd,
         ALL,
         walk_ssd,
         {"B=2,L=5,H=4,P=3,N=2,gate=1,bias=0,initial=1,final=1", "B=1,L=4,H=2,P=4,N=3,dtmax=0.5"}},
        {&sq_op_simple_gla,
         ALL,
         walk_simple_gla,
         {"B=2,L=5,H=3,K=4,V=2", "B=1,L=3,H=1,K=2,V=5,initial=1,final=1"}},
        {&sq_op_gla,
         ALL,
         walk_gla,
         {"B=2,L=5,H=3,K=4,V=2", "B=1,L=3,H=1,K=2,V=5,initial=1,final=1"}},
        {&sq_op_retention,
         ALL,
         walk_retention,
         {"B=2,L=5,H=3,K=4,V=2", "B=1,L=3,H=1,K=2,V=5,norm=decay,initial=1,final=1"}},
        {&sq_op_retention,
         FORWARD | BACKWARD,
         walk_paper,
         {"B=2,L=5,H=3,K=4,V=2,norm=paper", "B=1,L=3,H=1,K=2,V=5,norm=paper,final=1"}},
        {&sq_op_retention,
         FORWARD | BACKWARD,
         walk_torchscale,
         {"B=2,L=5,H=3,K=4,V=2,norm=torchscale", "B=1,L=1,H=1,K=2,V=5,norm=torchscale,final=1"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- selective_scan --- */

/* d, d u, and the states of one channel and step. */
static void walk_scan_states(sq_walk *w)
{
    flop(w, sq_walk_axis(w, "bias") != 0);
    special(w, sq_walk_axis(w, "softplus") != 0 ? 2 : 0);
    flop(w, 1); /* d u */
    for (int64_t n = 0; n < sq_walk_axis(w, "N"); n++) {
        flop(w, 2); /* d A, B (d u) */
        special(w, 1);
        multiply_add(w); /* h = a h + that */
    }
}

/* C . h + D u */
static void walk_scan_sum(sq_walk *w)
{
    for (int64_t n = 0; n < sq_walk_axis(w, "N"); n++)
        multiply_add(w);
    if (sq_walk_axis(w, "skip") != 0)
        multiply_add(w);
}

static void walk_scan_token(sq_walk *w)
{
    walk_scan_states(w);
    walk_scan_sum(w);
    if (sq_walk_axis(w, "gate") == 0)
        return;
    special(w, 2);
    flop(w, 2); /* silu(z), and its product */
}

/* dz = dy y silu'(z) and e = dy silu(z), with silu'(z) = s + z s (1 - s). */
static void walk_scan_gate_back(sq_walk *w)
{
    walk_scan_sum(w);
    special(w, 2);
    flop(w, 2); /* silu(z), e */
    silu_slope(w);
    flop(w, 2); /* its product with dy and y */
}

static void walk_scan_back(sq_walk *w)
{
    walk_scan_states(w);
    if (sq_walk_axis(w, "gate") != 0)
        walk_scan_gate_back(w);
    for (int64_t n = 0; n < sq_walk_axis(w, "N"); n++) {
        multiply_add(w); /* g = e C + carried */
        flop(w, 2);      /* carried = a g, times h_{t-1} */
        for (int i = 0; i < 5; i++)
            multiply_add(w); /* dC, dB, dA, dd by way of a, sum of g B */
    }
    flop(w, 1);      /* du = d sum */
    multiply_add(w); /* dd += u sum */
    for (int i = 0; i < 2 && sq_walk_axis(w, "skip") != 0; i++)
        multiply_add(w); /* du, dD */
    special(w, sq_walk_axis(w, "softplus") != 0);
    flop(w, (sq_walk_axis(w, "softplus") != 0) + (sq_walk_axis(w, "bias") != 0));
}

static void walk_selective_scan(sq_walk *w)
{
    sq_walk_each(w, sq_walk_axis(w, "D"), w->is_bwd ? walk_scan_back : walk_scan_token);
}

static void selective_scan(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_selective_scan,
         FORWARD | STEP,
         walk_selective_scan,
         {"B=2,L=5,D=3,N=4", "B=1,L=3,D=4,N=1,G=2,bias=0,softplus=0,skip=0,gate=0",
          "B=1,L=4,D=2,N=3,skip=0,initial=1,final=1", "B=2,L=2,D=2,N=5,gate=0,constB=1,constC=1"}},
        {&sq_op_selective_scan,
         BACKWARD,
         walk_selective_scan,
         {"B=2,L=5,D=3,N=16", "B=1,L=3,D=4,N=5,G=2,bias=0,initial=1,final=1",
          "B=2,L=2,D=2,N=3,skip=0,softplus=0", "B=2,L=5,D=3,N=4,gate=0",
          "B=1,L=3,D=4,N=1,gate=0,bias=0,softplus=0,skip=0"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- state spaces --- */

/* Re q* x of every column, and p times that, for one mode. */
static void walk_s4_columns(sq_walk *w)
{
    for (int64_t i = 0; i < 2 * 2 * sq_walk_axis(w, "R"); i++)
        multiply_add(w);
}

/* In states x / (f b), so that their input is u itself and c takes the factor; dA, discretised once,
 * is diagonal but for R columns. */
static void walk_s4_token(sq_walk *w)
{
    for (int64_t n = 0; n < sq_walk_axis(w, "N") / 2; n++) {
        complex_multiply_add(w); /* x = z x + u */
        walk_s4_columns(w);
        multiply_add(w); /* Re c x */
        multiply_add(w);
    }
    multiply_add(w); /* skip u */
}

static void walk_s4_back(sq_walk *w)
{
    for (int64_t n = 0; n < sq_walk_axis(w, "N") / 2; n++) {
        complex_multiply_add(w); /* the states again */
        walk_s4_columns(w);
        complex_multiply_add(w); /* X = conj(z) X + dy */
        walk_s4_columns(w);
        complex_multiply_add(w); /* dz += conj(x) X */
        walk_s4_columns(w);      /* dq += x (p* X), dp += X (q* x): real products */
        for (int i = 0; i < 4; i++)
            multiply_add(w); /* dc += dy conj(x), du += Re c X */
    }
    for (int i = 0; i < 2; i++)
        multiply_add(w); /* du, dskip */
}

static void walk_s4_scan(sq_walk *w)
{
    sq_walk_each(w, sq_walk_axis(w, "D"), w->is_bwd ? walk_s4_back : walk_s4_token);
}

/* k_j = sum_i b_i c_{i+j}; backward db and dc from dk too. */
static void walk_shift_filter(sq_walk *w, int64_t states)
{
    for (int64_t j = 0; j < states; j++)
        for (int64_t i = 0; i + j < states; i++)
            for (int k = 0; k < (w->is_bwd ? 3 : 1); k++)
                multiply_add(w);
}

/* y_t: the N last inputs times k; of an initial state, which has m + 1 steps before step 0 in x[m],
 * what has not left by then; the skip. */
static void walk_shift_output(sq_walk *w, int64_t t)
{
    const int64_t states = sq_walk_axis(w, "N");
    for (int64_t j = 0; j < states && j <= t; j++)
        multiply_add(w);
    for (int64_t m = 0; m + t + 1 < states && sq_walk_axis(w, "initial") != 0; m++)
        multiply_add(w);
    multiply_add(w);
}

/* x_{L-1}[n]: inputs of the last n + 1 steps times b, and x_{-1}[n - L]. */
static void walk_shift_final(sq_walk *w, int64_t n)
{
    for (int64_t j = 0; j <= n && j < w->length; j++)
        multiply_add(w);
    flop(w, n >= w->length && sq_walk_axis(w, "initial") != 0);
}

/* du_t and dk from dy_{t+j}; u_t through the final state's j-th last step, and db; dinitial and dc,
 * from the steps that see it; the skip's. */
static void walk_shift_back(sq_walk *w, int64_t t)
{
    const int64_t states = sq_walk_axis(w, "N"), left = w->length - 1 - t;
    for (int i = 0; i < 2; i++) {
        for (int64_t j = 0; j < states && t + j < w->length; j++)
            multiply_add(w);
        for (int64_t n = left; n < states && sq_walk_axis(w, "final") != 0; n++)
            multiply_add(w);
        for (int64_t m = 0; m + t + 1 < states && sq_walk_axis(w, "initial") != 0; m++)
            multiply_add(w);
        multiply_add(w);
    }
}

static void walk_shift_ssm(sq_walk *w)
{
    const int64_t states = sq_walk_axis(w, "N"), channels = sq_walk_axis(w, "D");
    for (int64_t d = 0; d < channels; d++)
        walk_shift_filter(w, states);
    for (int64_t row = 0; row < w->batch * channels; row++) {
        for (int64_t t = 0; t < w->length; t++)
            (w->is_bwd ? walk_shift_back : walk_shift_output)(w, t);
        for (int64_t n = 0; n < states && !w->is_bwd && sq_walk_axis(w, "final") != 0; n++)
            walk_shift_final(w, n);
    }
}

/* x[n] = x[n-1] + b_n u, y = sum of c_n x[n], and the skip. */
static void walk_shift_step(sq_walk *w)
{
    for (int64_t b = 0; b < w->batch; b++)
        for (int64_t d = 0; d < sq_walk_axis(w, "D"); d++) {
            for (int64_t n = 0; n < sq_walk_axis(w, "N"); n++)
                for (int k = 0; k < 2; k++)
                    multiply_add(w);
            multiply_add(w);
        }
}

static void state_spaces(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_s4_scan,
         ALL,
         walk_s4_scan,
         {"B=2,L=5,D=3,N=4,disc=zoh", "B=1,L=3,D=4,N=6,S=2,initial=1,final=1,conjugate=1",
          "B=2,L=5,D=3,N=8,R=1", "B=1,L=3,D=4,N=16,R=2,S=2,initial=1,final=1"}},
        {&sq_op_shift_ssm,
         FORWARD | BACKWARD,
         walk_shift_ssm,
         {"B=2,L=5,D=3,N=4", "B=1,L=7,D=2,N=1", "B=2,L=3,D=2,N=8",
          "B=2,L=9,D=3,N=4,initial=1,final=1", "B=1,L=3,D=2,N=7,initial=1,final=1"}},
        {&sq_op_shift_ssm,
         FORWARD | BACKWARD,
         walk_shift_ssm,
         {"B=2,L=4,D=3,N=4,final=1", "B=1,L=2,D=2,N=7,initial=1",
          "B=1,L=4,D=2,N=1,initial=1,final=1"}},
        {&sq_op_shift_ssm, STEP, walk_shift_step, {"B=2,L=5,D=3,N=4", "B=1,L=7,D=2,N=1"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decayed_outer_products),
        cmocka_unit_test(selective_scan),
        cmocka_unit_test(state_spaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
