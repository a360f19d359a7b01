/* retention's normalisers, score by score: as the paper and the authors' code write them, which is
 * not how the operator's reference goes about it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <math.h>

#include "kernels/retention/retention.h"

enum { L = 9, PAST = 4 };

/* With q, k and v all 1 a state is the number of its steps. */
static void counts_steps(int first)
{
    double one[L], o[L];
    char shape[128];
    sq_call call;
    sq_error err;
    snprintf(shape, sizeof shape, "B=1,L=%d,H=1,K=1,V=1,first=%d,norm=decay,past=%d", L, first,
             PAST);
    assert_int_equal(sq_call_parse(&sq_op_retention, SQ_PASS_FWD, SQ_DTYPE_F32, shape, &call, &err),
                     SQ_OK);
    for (int t = 0; t < L; t++)
        one[t] = 1;
    for (int i = IN_Q; i <= IN_V; i++)
        call.in[i] = sq_tensor_dense(one, SQ_DTYPE_F64, call.in[i].rank, call.in[i].dim);
    call.out[0] = sq_tensor_dense(o, SQ_DTYPE_F64, call.out[0].rank, call.out[0].dim);
    assert_int_equal(sq_op_reference(&call, &err), SQ_OK);
    for (int t = 0; t < L; t++) {
        const double want = (t + 1) / sqrt(PAST + t + 1);
        if (!(fabs(o[t] - want) <= 1e-14 * want))
            fail_msg("first=%d, step %d: %.17g, not %.17g", first, t, o[t], want);
    }
}

static void far_heads_count_steps(void **state)
{
    (void)state;
    const int first[] = {52, 95, 257, 1068, 1069, 1070, 4096};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        counts_steps(first[i]);
}

/* --- a call in f64 --- */

enum { STEPS = 77, HEADS = 3, KEYS = 5, VALUES = 4, FIRST = 1 };
enum { SEED = 5 };
enum { ROWS = STEPS * HEADS, OUTPUTS = ROWS * VALUES, INPUTS = ROWS * KEYS };

typedef struct {
    double q[INPUTS], k[INPUTS], v[OUTPUTS], o[OUTPUTS], d_o[OUTPUTS];
    double dq[INPUTS], dk[INPUTS], dv[OUTPUTS];
} tensors;

static void fill(double *x, int count, uint32_t id, double scale)
{
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    for (int i = 0; i < count; i++)
        x[i] = scale * sq_rng_draw(normal, SEED, id, i);
}

static tensors *make(double score_scale)
{
    tensors *x = calloc(1, sizeof *x);
    assert_non_null(x);
    fill(x->q, INPUTS, 0, score_scale);
    fill(x->k, INPUTS, 1, 1);
    fill(x->v, OUTPUTS, 2, 1);
    fill(x->d_o, OUTPUTS, 3, 1);
    return x;
}

static void bind(sq_tensor *t, double *data)
{
    *t = sq_tensor_dense(data, SQ_DTYPE_F64, t->rank, t->dim);
}

/* o, and the gradients. */
static void run(tensors *x, const char *norm)
{
    char shape[128];
    sq_call call;
    sq_tensor_list list;
    sq_error err;
    snprintf(shape, sizeof shape, "B=1,L=%d,H=%d,K=%d,V=%d,first=%d,norm=%s", STEPS, HEADS, KEYS,
             VALUES, FIRST, norm);
    assert_int_equal(sq_call_parse(&sq_op_retention, SQ_PASS_BWD, SQ_DTYPE_F32, shape, &call, &err),
                     SQ_OK);
    assert_int_equal(sq_call_shape(&call, &list, &err), SQ_OK);
    double *const in[] = {x->q, x->k, x->v}, *const out[] = {x->dq, x->dk, x->dv};
    for (int i = IN_Q; i <= IN_V; i++) {
        bind(&call.in[i], in[i]);
        bind(&call.out[i], out[i]);
    }
    bind(&call.in[list.first_gradient], x->d_o);
    bind(&call.in[list.first_value], x->o);
    sq_call forward = sq_call_forward(&call, &list);
    assert_int_equal(sq_op_reference(&forward, &err), SQ_OK);
    assert_int_equal(sq_op_reference(&call, &err), SQ_OK);
}

/* --- score by score --- */

static double dot(const double *x, const double *y, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

/* Row t of Q K^T / sqrt(K) o D~, D~ being D divided by the roots of its sums of rows. */
static void scores_of(const tensors *x, int t, int h, double *score)
{
    const double gamma = 1 - exp2(-5.0 - FIRST - h);
    double sum = 0;
    for (int s = 0; s <= t; s++)
        sum += pow(gamma, t - s);
    for (int s = 0; s <= t; s++)
        score[s] = dot(x->q + (t * HEADS + h) * KEYS, x->k + (s * HEADS + h) * KEYS, KEYS) /
                   sqrt(KEYS) * pow(gamma, t - s) / sqrt(sum);
}

typedef double (*divisor)(const double *score, int count);

static double of_paper(const double *score, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += score[i];
    return fmax(fabs(sum), 1);
}

/* all_scores.detach().abs().sum(-1).clamp(min=1, max=5e4) */
static double of_torchscale(const double *score, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += fabs(score[i]);
    return fmin(fmax(sum, 1), 5e4);
}

static void assert_near(double got, double want, const char *what, int t, int h)
{
    if (!(fabs(got - want) <= 1e-11 * fmax(fabs(want), 1e-2)))
        fail_msg("%s at step %d, head %d: %.17g, not %.17g", what, t, h, got, want);
}

/* How many rows of o had a divisor beyond 1 (and below 5e4). */
static int check_outputs(const tensors *x, divisor of)
{
    int divided = 0;
    for (int t = 0; t < STEPS; t++)
        for (int h = 0; h < HEADS; h++) {
            double score[STEPS];
            scores_of(x, t, h, score);
            const double by = of(score, t + 1);
            divided += by > 1 && by < 5e4;
            for (int c = 0; c < VALUES; c++) {
                double o = 0;
                for (int s = 0; s <= t; s++)
                    o += score[s] * x->v[(s * HEADS + h) * VALUES + c];
                assert_near(x->o[(t * HEADS + h) * VALUES + c], o / by, "o", t, h);
            }
        }
    return divided;
}

static void outputs_are_those_of_scores(void **state)
{
    (void)state;
    const double scales[] = {0.3, 1, 1e3, 1e7};
    int divided = 0;
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        tensors *x = make(scales[i]);
        run(x, "paper");
        divided += check_outputs(x, of_paper);
        run(x, "torchscale");
        divided += check_outputs(x, of_torchscale);
        free(x);
    }
    assert_in_range(divided, 3 * ROWS, 6 * ROWS); /* each side of each bound */
}

/* --- gradients --- */

/* dL/d(score) of one row, from that of o: through the divisor too where it has a gradient. */
static void row_gradient(const tensors *x, int t, int h, bool has_gradient, divisor of,
                         const double *score, double *d_score)
{
    const double by = of(score, t + 1), *d_o = x->d_o + (t * HEADS + h) * VALUES;
    double sum = 0, d_by = 0;
    for (int s = 0; s <= t; s++) {
        d_score[s] = dot(d_o, x->v + (s * HEADS + h) * VALUES, VALUES) / by;
        d_by -= d_score[s] * score[s] / by;
        sum += score[s];
    }
    for (int s = 0; s <= t && has_gradient && by > 1; s++)
        d_score[s] += sum > 0 ? d_by : -d_by;
}

static void check_gradients(const tensors *x, bool has_gradient, divisor of)
{
    tensors *want = calloc(1, sizeof *want);
    assert_non_null(want);
    for (int t = 0; t < STEPS; t++)
        for (int h = 0; h < HEADS; h++) {
            const int row = t * HEADS + h;
            double score[STEPS], d_score[STEPS];
            scores_of(x, t, h, score);
            row_gradient(x, t, h, has_gradient, of, score, d_score);
            for (int s = 0; s <= t; s++) {
                const int from = s * HEADS + h;
                const double product = dot(x->q + row * KEYS, x->k + from * KEYS, KEYS);
                for (int n = 0; n < KEYS; n++) {
                    want->dq[row * KEYS + n] +=
                        d_score[s] * score[s] / product * x->k[from * KEYS + n];
                    want->dk[from * KEYS + n] +=
                        d_score[s] * score[s] / product * x->q[row * KEYS + n];
                }
                for (int c = 0; c < VALUES; c++)
                    want->dv[from * VALUES + c] +=
                        score[s] / of(score, t + 1) * x->d_o[row * VALUES + c];
            }
        }
    for (int i = 0; i < INPUTS; i++) {
        assert_near(x->dq[i], want->dq[i], "dq", i / KEYS / HEADS, i / KEYS % HEADS);
        assert_near(x->dk[i], want->dk[i], "dk", i / KEYS / HEADS, i / KEYS % HEADS);
    }
    for (int i = 0; i < OUTPUTS; i++)
        assert_near(x->dv[i], want->dv[i], "dv", i / VALUES / HEADS, i / VALUES % HEADS);
    free(want);
}

static void gradients_are_those_of_scores(void **state)
{
    (void)state;
    tensors *x = make(1);
    run(x, "paper");
    check_gradients(x, true, of_paper);
    run(x, "torchscale");
    check_gradients(x, false, of_torchscale);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(far_heads_count_steps),
        cmocka_unit_test(outputs_are_those_of_scores),
        cmocka_unit_test(gradients_are_those_of_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
