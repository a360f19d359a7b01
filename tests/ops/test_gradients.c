/* The backward reference of every operator against central differences of its own forward
 * reference, in f64: loss = sum over outputs of cotangent * output. Usage: test_gradients [OP
 * [SHAPE]] */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/op.h"

#define MAX_WORK 3e5 /* multiply-adds of one forward call */
enum { SEED = 77, PROBES = 6 };

static const char *only_op, *only_shape;

/* What an operator can besides, at shapes cheap enough: its own test shapes that do it are above
 * MAX_WORK. */
static const struct {
    const char *op, *shape;
} extra_shapes[] = {
    {"attention", "B=1,L=9,Lk=12,H=2,Hkv=1,D=16,pos=rope-interleaved,rotary=12,shift=7,base=500"},
    {"attention", "B=1,L=10,Lk=7,H=2,D=8,pos=rope-interleaved,causal=0"},
    {"attention", "B=1,L=13,Lk=11,H=2,Hkv=1,D=5,causal=0,window=4"},
    {"attention", "B=2,L=11,Lk=13,H=2,Hkv=1,D=5,causal=0,window=4,ahead=3"},
    {"attention", "B=1,L=9,Lk=17,H=4,Hkv=2,D=4,causal=0,ahead=5"},
    {"attention", "B=1,L=7,Lk=11,H=3,D=8,pos=alibi,window=4"},
    {"attention", "B=1,L=9,H=5,Hkv=1,D=6,pos=alibi,causal=0"},
    {"selective_scan", "B=1,L=13,D=4,N=3,gate=0"},
    {"selective_scan", "B=1,L=13,D=4,N=3,skip=0,final=1"},
    {"selective_scan", "B=2,L=13,D=4,N=3,softplus=0"},
    {"selective_scan", "B=1,L=13,D=4,N=3,bias=0"},
    {"selective_scan", "B=1,L=9,D=4,N=3,softplus=0,bias=0,skip=0,gate=0,initial=1,final=1"},
    {"selective_scan", "B=2,L=9,D=6,N=3,G=3,initial=1,final=1"},
    {"selective_scan", "B=1,L=9,D=6,N=3,G=3,constB=1,constC=1"},
    {"causal_conv1d", "B=2,L=9,D=5,bias=0"},
    {"causal_conv1d", "B=1,L=9,D=5,W=3,bias=0,silu=0,initial=1,final=1"},
    {"hyena_filter", "B=2,L=9,D=5,E=5,F=8,inner=1,shift=0.1"},
};

/* Both calls share the forward inputs' memory. */
typedef struct {
    sq_call forward, backward;
    sq_tensor_list list; /* of backward */
} specimen;

/* The tensor in f64 with memory of its own. */
static void allocate(sq_tensor *t)
{
    if (t->rank == 0)
        return;
    *t = sq_tensor_dense(NULL, SQ_DTYPE_F64, t->rank, t->dim);
    t->data = calloc((size_t)sq_tensor_count(t) + 1, sizeof(double));
    assert_non_null(t->data);
}

static double *numbers(const sq_tensor *t)
{
    return t->data;
}

static void draw(const sq_tensor *t, const sq_tensor_spec *spec, uint32_t id)
{
    for (int64_t i = 0; i < sq_tensor_count(t); i++)
        numbers(t)[i] = sq_rng_draw(spec->draw, SEED, id, i);
}

/* False where the shape costs too much. */
static bool make(const sq_op *op, const char *shape, specimen *s)
{
    sq_error err = {.status = SQ_OK};
    if (sq_call_parse(op, SQ_PASS_FWD, SQ_DTYPE_F32, shape, &s->forward, &err) != SQ_OK)
        fail_msg("%s %s: %s", op->name, shape, err.message);
    s->backward = s->forward;
    s->backward.pass = SQ_PASS_BWD;
    if (sq_call_shape(&s->backward, &s->list, &err) != SQ_OK)
        fail_msg("%s %s: %s", op->name, shape, err.message);
    if (op->reference_work(s->forward.axis) > MAX_WORK)
        return false;
    for (int i = 0; i < s->list.first_value; i++) {
        allocate(&s->backward.in[i]);
        if (s->backward.in[i].data)
            draw(&s->backward.in[i], &s->list.in[i], (uint32_t)i);
    }
    for (int i = 0; i < SQ_MAX_OUT; i++) {
        allocate(&s->forward.out[i]);
        allocate(&s->backward.out[i]);
    }
    for (int i = 0; i < s->list.first_gradient; i++)
        s->forward.in[i] = s->backward.in[i];
    return true;
}

static void release(specimen *s)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        free(s->backward.in[i].data);
    for (int i = 0; i < SQ_MAX_OUT; i++) {
        free(s->forward.out[i].data);
        free(s->backward.out[i].data);
    }
}

static double loss(specimen *s)
{
    double sum = 0;
    sq_error err;
    assert_int_equal(s->forward.op->reference(&s->forward, &err), SQ_OK);
    for (int k = 0; s->list.first_gradient + k < s->list.first_value; k++) {
        const sq_tensor *out = &s->forward.out[k], *w = &s->backward.in[s->list.first_gradient + k];
        for (int64_t i = 0; out->data && i < sq_tensor_count(out); i++)
            sum += numbers(out)[i] * numbers(w)[i];
    }
    return sum;
}

static double loss_at(specimen *s, double *x, double value)
{
    *x = value;
    return loss(s);
}

static double root_mean_square(const sq_tensor *t)
{
    double sum = 0;
    for (int64_t i = 0; i < sq_tensor_count(t); i++)
        sum += numbers(t)[i] * numbers(t)[i];
    return sqrt(sum / (double)sq_tensor_count(t));
}

/* Element `at` of input i: the analytic derivative against the slope. */
static void probe(specimen *s, int i, int64_t at, const char *shape)
{
    double *x = &numbers(&s->backward.in[i])[at], held = *x;
    const double h = 1e-5 * fmax(fabs(held), 0.1), whole = root_mean_square(&s->backward.out[i]);
    const double above = loss_at(s, x, held + h), below = loss_at(s, x, held - h);
    const double far = loss_at(s, x, held + 2 * h) - loss_at(s, x, held - 2 * h);
    *x = held;
    /* Of fourth order: a filter's phase turns hundreds of times as fast as its parameter. */
    const double slope = (8 * (above - below) - far) / (12 * h);
    const double got = numbers(&s->backward.out[i])[at];
    /* Rounding of the two sums: 1e-16 of them over h. */
    const double noise = 1e-15 * (fabs(above) + 1) / h;
    if (!(fabs(got - slope) <= 1e-6 * (fabs(slope) + whole) + noise))
        fail_msg("%s %s: gradient of %s[%lld] is %.12g, the slope %.12g", s->forward.op->name,
                 shape, s->list.in[i].name, (long long)at, got, slope);
}

static int check_shape(const sq_op *op, const char *shape)
{
    specimen s;
    sq_error err = {.status = SQ_OK};
    memset(&s, 0, sizeof s);
    if (!make(op, shape, &s))
        return 0;
    if (op->backward(&s.backward, &err) != SQ_OK)
        fail_msg("%s %s: %s", op->name, shape, err.message);
    for (int i = 0; i < s.list.first_gradient; i++)
        for (int k = 0; s.backward.out[i].data && k < PROBES; k++) {
            const uint64_t bits = sq_rng_bits(SEED, (uint32_t)(100 + i), (uint64_t)k);
            probe(&s, i, (int64_t)(bits % (uint64_t)sq_tensor_count(&s.backward.in[i])), shape);
        }
    release(&s);
    return 1;
}

/* None of them may be passed over. */
static int check_extra_shapes(const sq_op *op)
{
    int checked = 0;
    for (size_t i = 0; i < sizeof extra_shapes / sizeof extra_shapes[0]; i++) {
        if (strcmp(extra_shapes[i].op, op->name) != 0)
            continue;
        if (!check_shape(op, extra_shapes[i].shape))
            fail_msg("%s %s costs too much", op->name, extra_shapes[i].shape);
        checked++;
    }
    return checked;
}

static void gradients_are_slopes(void **state)
{
    (void)state;
    for (int i = 0; sq_ops[i]; i++) {
        int checked = 0;
        if (only_op && strcmp(only_op, sq_ops[i]->name) != 0)
            continue;
        assert_non_null(sq_ops[i]->backward);
        if (only_shape)
            checked += check_shape(sq_ops[i], only_shape);
        for (int k = 0; !only_shape && sq_ops[i]->test_shapes[k]; k++)
            checked += check_shape(sq_ops[i], sq_ops[i]->test_shapes[k]);
        if (!only_shape)
            checked += check_extra_shapes(sq_ops[i]);
        printf("%s: %d shapes\n", sq_ops[i]->name, checked);
        assert_true(checked > 0);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_are_slopes)};
    only_op = argc > 1 ? argv[1] : NULL;
    only_shape = argc > 2 ? argv[2] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
