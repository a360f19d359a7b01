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

/* What ssd does for one head and step beside the state. */
static void walk_ssd_elements(sq_walk *w)
{
    flop(w, sq_walk_axis(w, "bias") != 0);
    special(w, sq_walk_axis(w, "softplus") != 0 ? 2 : 0);
    flop(w, 1); /* d A */
    special(w, 1);
    for (int64_t p = 0; p < sq_walk_axis(w, "P"); p++) {
        flop(w, 1); /* d x */
        if (sq_walk_axis(w, "skip") != 0)
            multiply_add(w);
        if (sq_walk_axis(w, "gate") == 0)
            continue;
        special(w, 2);
        flop(w, 2); /* silu(z), y silu(z) */
    }
}

/* Backward counts what is done for the elements twice. */
static void walk_ssd_head(sq_walk *w)
{
    walk_state(w, sq_walk_axis(w, "N"), sq_walk_axis(w, "P"));
    walk_ssd_elements(w);
    if (w->is_bwd)
        walk_ssd_elements(w);
}

static void walk_ssd(sq_walk *w)
{
    sq_walk_each(w, sq_walk_axis(w, "H"), walk_ssd_head);
}

/* A head whose output, or its gradient, is scaled. The gradients of the decays, sums of O(K), are
 * not counted. */
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

static void walk_retention(sq_walk *w)
{
    sq_walk_each(w, sq_walk_axis(w, "H"), walk_head);
}

static void walk_simple_gla(sq_walk *w)
{
    walk_retention(w);
    sq_walk_each(w, sq_walk_axis(w, "H"), walk_decay);
}

static void walk_gla(sq_walk *w)
{
    walk_retention(w);
    sq_walk_each(w, sq_walk_axis(w, "H") * sq_walk_axis(w, "K"), walk_decay);
}

static void walk_score_sum(sq_walk *w)
{
    walk_state(w, sq_walk_axis(w, "K"), 1);
}

/* norm=paper: the sum of the scores is a column more of the state, of values that are 1; no product
 * of matrices. */
static void walk_paper(sq_walk *w)
{
    walk_retention(w);
    const double matrix = w->matrix;
    sq_walk_each(w, sq_walk_axis(w, "H"), walk_score_sum);
    w->matrix = matrix;
}

static void decayed_outer_products(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_ssd,
         ALL,
         walk_ssd,
         0,
         {"B=2,L=5,H=4,P=3,N=2,G=2", "B=1,L=4,H=2,P=2,N=5,bias=0,softplus=0,skip=0",
          "B=2,L=3,H=3,P=2,N=3,gate=1,skip=2", "B=1,L=7,H=1,P=5,N=1,gate=1,skip=0,softplus=0",
          "B=1,L=6,H=2,P=2,N=2,bias=0,documents=1,initial=1,final=1"}},
        {&sq_op_simple_gla,
         ALL,
         walk_simple_gla,
         0,
         {"B=2,L=5,H=3,K=4,V=2", "B=1,L=3,H=1,K=2,V=5,initial=1,final=1"}},
        {&sq_op_gla,
         ALL,
         walk_gla,
         0,
         {"B=2,L=5,H=3,K=4,V=2", "B=1,L=3,H=1,K=2,V=5,initial=1,final=1"}},
        {&sq_op_retention,
         ALL,
         walk_retention,
         0,
         {"B=2,L=5,H=3,K=4,V=2", "B=1,L=3,H=1,K=2,V=5,norm=decay,initial=1,final=1"}},
        {&sq_op_retention,
         FORWARD | BACKWARD,
         walk_paper,
         0,
         {"B=2,L=5,H=3,K=4,V=2,norm=paper", "B=1,L=3,H=1,K=2,V=5,norm=paper,final=1"}},
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
    flop(w, 6); /* 1 - s, s (1 + z that): 3; its product with dy and y: 2 */
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

/* Backward cost() allows a flop more for each state, and a few for each channel; without a gate it
 * makes C . h once more all the same, which only dz needs. */
static void selective_scan(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_selective_scan,
         FORWARD | STEP,
         walk_selective_scan,
         0,
         {"B=2,L=5,D=3,N=4", "B=1,L=3,D=4,N=1,G=2,bias=0,softplus=0,skip=0,gate=0",
          "B=1,L=4,D=2,N=3,skip=0,initial=1,final=1", "B=2,L=2,D=2,N=5,gate=0,constB=1,constC=1"}},
        {&sq_op_selective_scan,
         BACKWARD,
         walk_selective_scan,
         0.06,
         {"B=2,L=5,D=3,N=16", "B=1,L=3,D=4,N=16,G=2,bias=0,initial=1,final=1",
          "B=2,L=2,D=2,N=32,skip=0,softplus=0"}},
        {&sq_op_selective_scan,
         BACKWARD,
         walk_selective_scan,
         0.2,
         {"B=2,L=5,D=3,N=16,gate=0", "B=1,L=3,D=4,N=16,gate=0,bias=0,softplus=0"}},
        {.op = NULL},
    };
    (void)state;
    sq_walk_check(cases);
}

/* --- state spaces --- */

/* A diagonal one, in states x / (f b), so that their input is u itself and c takes the factor. */
static void walk_s4_token(sq_walk *w)
{
    for (int64_t n = 0; n < sq_walk_axis(w, "N") / 2; n++) {
        complex_multiply_add(w); /* x = z x + u */
        multiply_add(w);         /* Re c x */
        multiply_add(w);
    }
    multiply_add(w); /* skip u */
}

static void walk_s4_back(sq_walk *w)
{
    for (int64_t n = 0; n < sq_walk_axis(w, "N") / 2; n++) {
        complex_multiply_add(w); /* the states again */
        complex_multiply_add(w); /* X = conj(z) X + dy */
        complex_multiply_add(w); /* dz += conj(x) X */
        for (int i = 0; i < 4; i++)
            multiply_add(w); /* dc += dy conj(x), du += Re c X */
    }
    for (int i = 0; i < 2; i++)
        multiply_add(w); /* du, dskip */
}

/* One with a low rank, line by line: a x + 2 b u, x + h that, times r; for each column p* x, p times
 * that, p* w, r p times that. */
static void walk_s4_low_rank(sq_walk *w)
{
    for (int64_t n = 0; n < sq_walk_axis(w, "N") / 2; n++) {
        complex_multiply_add(w);
        flop(w, 2 + 6);
        for (int64_t i = 0; i < 2 + 2 + 8 * sq_walk_axis(w, "R"); i++)
            multiply_add(w); /* h, Re c x, the columns' */
    }
    multiply_add(w);
}

static void walk_s4_scan_low_rank(sq_walk *w)
{
    for (int i = 0; i < (w->is_bwd ? 3 : 1); i++)
        sq_walk_each(w, sq_walk_axis(w, "D"), walk_s4_low_rank);
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

/* y_t = sum of the N last inputs, or of an initial state where they are earlier, times k, and the
 * skip; backward du and dk, each such a sum. */
static void walk_shift_ssm(sq_walk *w)
{
    const int64_t states = sq_walk_axis(w, "N");
    for (int64_t d = 0; d < sq_walk_axis(w, "D"); d++)
        walk_shift_filter(w, states);
    for (int64_t b = 0; b < w->batch; b++)
        for (int64_t t = 0; t < w->length; t++)
            for (int64_t d = 0; d < sq_walk_axis(w, "D"); d++)
                for (int64_t j = 0; j <= states; j++)
                    for (int k = 0; k < (w->is_bwd ? 2 : 1); k++)
                        if (sq_walk_axis(w, "initial") != 0 || j <= t || j == states)
                            multiply_add(w);
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

/* s4_scan backward is three times forward, by convention; with a low rank 12 + 20 R stands for 24 +
 * 16 R. shift_ssm's sums count as if each had N terms, also where the sequence begins (without an
 * initial state) or, in du, ends. */
static void state_spaces(void **state)
{
    static const sq_walk_case cases[] = {
        {&sq_op_s4_scan,
         FORWARD | STEP,
         walk_s4_scan,
         0,
         {"B=2,L=5,D=3,N=4,disc=zoh", "B=1,L=3,D=4,N=6,S=2,initial=1,final=1"}},
        {&sq_op_s4_scan,
         BACKWARD,
         walk_s4_scan,
         0.15,
         {"B=2,L=5,D=3,N=64", "B=1,L=3,D=4,N=16,S=2,initial=1,final=1,conjugate=1"}},
        {&sq_op_s4_scan,
         ALL,
         walk_s4_scan_low_rank,
         0.25,
         {"B=2,L=5,D=3,N=8,R=1", "B=1,L=3,D=4,N=16,R=2,S=2,initial=1,final=1"}},
        {&sq_op_shift_ssm,
         FORWARD,
         walk_shift_ssm,
         0,
         {"B=2,L=5,D=3,N=4,initial=1", "B=1,L=7,D=2,N=1"}},
        {&sq_op_shift_ssm,
         FORWARD | BACKWARD,
         walk_shift_ssm,
         0.05,
         {"B=2,L=97,D=3,N=4", "B=1,L=200,D=2,N=8"}},
        {&sq_op_shift_ssm, STEP, walk_shift_step, 0, {"B=2,L=5,D=3,N=4", "B=1,L=7,D=2,N=1"}},
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
