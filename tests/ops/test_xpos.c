/* The reference of xpos against the paper's equation, written out again: pairs turned as complex
 * numbers and multiplied by zeta_i^position (2212.10554, algorithm 1, gamma = 0.4), and the scores
 * that the equation is there for. */
#include <complex.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "kernels/op.h"

enum { SEED = 5, L = 19, H = 2, D = 12, COUNT = L * H * D };

/* A call's axes; `turned` channels of D turn. */
typedef struct {
    int turned, offset, center, is_half, is_keys;
    double base, scale_base;
} positions;

static void apply(const positions *p, const double *x, double *y)
{
    char shape[256];
    sq_error err = {.status = SQ_OK};
    sq_call call;
    snprintf(shape, sizeof shape,
             "B=1,L=%d,H=%d,D=%d,rotary=%d,offset=%d,pairs=%s,base=%.17g,S=%.17g,center=%d,keys=%d",
             L, H, D, p->turned, p->offset, p->is_half ? "half" : "interleaved", p->base,
             p->scale_base, p->center, p->is_keys);
    if (sq_call_parse(sq_op_find("xpos"), SQ_PASS_FWD, SQ_DTYPE_F32, shape, &call, &err) != SQ_OK)
        fail_msg("%s: %s", shape, err.message);
    const int64_t dims[] = {1, L, H, D};
    call.in[0] = sq_tensor_dense((void *)(uintptr_t)x, SQ_DTYPE_F64, 4, dims);
    call.out[0] = sq_tensor_dense(y, SQ_DTYPE_F64, 4, dims);
    assert_int_equal(sq_op_reference(&call, &err), SQ_OK);
}

static void draw(double *x, uint32_t id)
{
    const sq_draw normal = {SQ_DRAW_NORMAL, 0, 1, 0};
    for (int i = 0; i < COUNT; i++)
        x[i] = sq_rng_draw(normal, SEED, id, i);
}

/* Pair i of one head at position n, as the paper has it. */
static double complex paper(const positions *p, double complex x, int i, int n)
{
    const double pairs = p->turned / 2, theta = pow(p->base, -i / pairs);
    const double zeta = (i / pairs + 0.4) / 1.4;
    const double power = (n - p->center) / p->scale_base;
    return x * cexp(I * (n * theta)) * pow(zeta, p->is_keys ? -power : power);
}

static void expect_paper(const positions *p)
{
    static double x[COUNT], y[COUNT];
    draw(x, 1);
    apply(p, x, y);
    for (int l = 0; l < L; l++)
        for (int h = 0; h < H; h++) {
            const double *from = &x[(l * H + h) * D], *to = &y[(l * H + h) * D];
            for (int i = 0; i < p->turned / 2; i++) {
                const int a = p->is_half ? i : 2 * i;
                const int b = p->is_half ? i + p->turned / 2 : 2 * i + 1;
                const double complex want = paper(p, from[a] + I * from[b], i, p->offset + l);
                assert_true(fabs(to[a] - creal(want)) <= 1e-12 * (1 + cabs(want)));
                assert_true(fabs(to[b] - cimag(want)) <= 1e-12 * (1 + cabs(want)));
            }
            for (int c = p->turned; c < D; c++)
                assert_true(to[c] == from[c]);
        }
}

static const positions usual = {.turned = D, .base = 10000, .scale_base = 512};

static void values_are_those_of_the_paper(void **state)
{
    (void)state;
    expect_paper(&usual);
    for (int variant = 0; variant < 16; variant++)
        expect_paper(&(positions){.turned = variant & 1 ? 8 : D,
                                  .offset = variant & 2 ? 1000 : 0,
                                  .center = variant & 2 ? 1010 : 7,
                                  .is_half = (variant & 4) != 0,
                                  .is_keys = (variant & 8) != 0,
                                  .base = variant & 4 ? 10000 : 500,
                                  .scale_base = variant & 1 ? 20 : 512});
}

/* Scores of every query with every key of each head. */
static void scores(positions p, double *score)
{
    static double q[COUNT], k[COUNT], turned_q[COUNT], turned_k[COUNT];
    draw(q, 2);
    draw(k, 3);
    p.is_keys = 0;
    apply(&p, q, turned_q);
    p.is_keys = 1;
    apply(&p, k, turned_k);
    for (int n = 0; n < L; n++)
        for (int m = 0; m < L; m++)
            for (int h = 0; h < H; h++) {
                double sum = 0;
                for (int c = 0; c < D; c++)
                    sum += turned_q[(n * H + h) * D + c] * turned_k[(m * H + h) * D + c];
                score[(n * L + m) * H + h] = sum;
            }
}

static double farthest(const double *a, const double *b)
{
    double most = 0;
    for (int i = 0; i < L * L * H; i++)
        most = fmax(most, fabs(a[i] - b[i]) / (1 + fabs(a[i])));
    return most;
}

static void scores_know_distances_alone(void **state)
{
    static double at_start[L * L * H], centred[L * L * H], later[L * L * H], other[L * L * H];
    positions p = usual;
    (void)state;
    p.scale_base = 40;
    scores(p, at_start);
    p.center = 10;
    scores(p, centred);
    p.offset = 300, p.center = 290;
    scores(p, later);
    p.scale_base = 41;
    scores(p, other);
    assert_true(farthest(at_start, centred) <= 1e-11);
    assert_true(farthest(at_start, later) <= 1e-11);
    assert_true(farthest(later, other) > 1e-3);
}

/* Between a query of ones and a key of ones d positions before it the score is
 * sum_i 2 cos(d theta_i) zeta_i^(d / S); it grows for keys that come later. */
static void scores_decay_with_the_distance(void **state)
{
    static double ones[COUNT], q[COUNT], k[COUNT];
    positions p = {.turned = D, .base = 1e9, .scale_base = 1};
    (void)state;
    for (int i = 0; i < COUNT; i++)
        ones[i] = 1;
    apply(&p, ones, q);
    p.is_keys = 1;
    apply(&p, ones, k);
    for (int n = 0; n < L; n++)
        for (int m = 0; m < L; m++) {
            double got = 0, want = 0;
            for (int c = 0; c < D; c++)
                got += q[n * H * D + c] * k[m * H * D + c];
            for (int i = 0; i < D / 2; i++)
                want += 2 * cos((n - m) * pow(1e9, -i / (D / 2.0))) *
                        pow((i / (D / 2.0) + 0.4) / 1.4, n - m);
            assert_true(fabs(got - want) <= 1e-9 * (1 + fabs(want)));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_the_paper),
        cmocka_unit_test(scores_know_distances_alone),
        cmocka_unit_test(scores_decay_with_the_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
