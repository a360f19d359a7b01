/* attention's reference, token by token on a cache, gives what it gives for the sequence as a
 * whole: with contiguous caches and with rings, whose rows hold the last keys in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <math.h>

#include "kernels/attention/attention.h"
#include "kernels/shared/rows.h"

enum { SEED = 5, L = 23 };

static void draw(sq_tensor *t, uint32_t id)
{
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    *t = sq_tensor_dense(NULL, SQ_DTYPE_F64, t->rank, t->dim);
    t->data = calloc((size_t)sq_tensor_count(t), sizeof(double));
    assert_non_null(t->data);
    for (int64_t i = 0; i < sq_tensor_count(t); i++)
        ((double *)t->data)[i] = sq_rng_draw(normal, SEED, id, i);
}

static void release(sq_call *call)
{
    for (int i = 0; i < IN_COUNT; i++)
        free(call->in[i].data);
    free(call->out[0].data);
}

static double *row_of(const sq_tensor *t, int64_t b, int64_t l, int64_t h)
{
    return (double *)t->data + sq_offset3(t, b, l, h);
}

/* Writes key or value t of the sequence into row t % slots of the cache, keys as they stand there.
 */
static void put(const sq_call *whole, sq_call *step, int i, int64_t t)
{
    const sq_attention_rules rules = sq_attention_rules_of(SQ_PASS_FWD, whole->axis);
    const sq_tensor *from = &whole->in[i], *to = &step->in[i];
    for (int64_t b = 0; b < from->dim[0]; b++)
        for (int64_t h = 0; h < from->dim[2]; h++) {
            double *row = row_of(to, b, t % to->dim[1], h);
            memcpy(row, row_of(from, b, t, h), (size_t)from->dim[3] * sizeof *row);
            if (i == IN_K && rules.rotation.dims > 0)
                sq_rotate(&rules.rotation, (double)t, false, row);
        }
}

static void compare_step(const sq_call *whole, const sq_call *step, int64_t t, const char *shape)
{
    const sq_tensor *o = &whole->out[0];
    for (int64_t b = 0; b < o->dim[0]; b++)
        for (int64_t h = 0; h < o->dim[2]; h++)
            for (int64_t c = 0; c < o->dim[3]; c++) {
                const double want = row_of(o, b, t, h)[c];
                const double got = row_of(&step->out[0], b, 0, h)[c];
                if (!(fabs(got - want) <= 1e-12))
                    fail_msg("%s, step %lld: %.17g, the whole has %.17g", shape, (long long)t, got,
                             want);
            }
}

/* The step after t tokens, with its cache filled from the sequence. */
static void run_step(const sq_call *whole, int64_t t, const char *shape, int *rings)
{
    char at[256];
    sq_call step;
    sq_error err;
    snprintf(at, sizeof at, "%s,L=%lld", shape, (long long)(t + 1));
    assert_int_equal(sq_call_parse(whole->op, SQ_PASS_STEP, SQ_DTYPE_F32, at, &step, &err), SQ_OK);
    for (int i = 0; i < IN_COUNT; i++)
        draw(&step.in[i], (uint32_t)(10 + i));
    draw(&step.out[0], 20);
    const int64_t slots = step.in[IN_K].dim[1];
    *rings += slots <= t;
    for (int64_t key = t + 1 - slots; key <= t; key++) {
        put(whole, &step, IN_K, key);
        put(whole, &step, IN_V, key);
    }
    for (int64_t b = 0; b < whole->in[IN_Q].dim[0]; b++)
        memcpy(row_of(&step.in[IN_Q], b, 0, 0), row_of(&whole->in[IN_Q], b, t, 0),
               (size_t)(whole->in[IN_Q].dim[2] * whole->in[IN_Q].dim[3]) * sizeof(double));
    assert_int_equal(sq_op_reference(&step, &err), SQ_OK);
    compare_step(whole, &step, t, at);
    release(&step);
}

static void steps_are_the_whole(void **state)
{
    static const char *const shapes[] = {
        "B=2,H=4,Hkv=2,D=8",
        "B=1,H=2,D=8,window=5",
        "B=1,H=6,D=4,pos=alibi,window=9",
        "B=1,H=6,Hkv=3,D=4,pos=hard-alibi,masked=4,window=7",
        "B=1,H=3,D=4,pos=hard-alibi,masked=3,window=2",
        "B=1,H=2,Hkv=1,D=12,pos=rope,rotary=8,window=6",
        "B=1,H=2,D=8,pos=rope-interleaved,shift=3",
    };
    int rings = 0;
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        char at[256];
        sq_call whole;
        sq_error err;
        snprintf(at, sizeof at, "%s,L=%d", shapes[i], L);
        assert_int_equal(
            sq_call_parse(sq_op_find("attention"), SQ_PASS_FWD, SQ_DTYPE_F32, at, &whole, &err),
            SQ_OK);
        for (int k = 0; k < IN_COUNT; k++)
            draw(&whole.in[k], (uint32_t)k);
        draw(&whole.out[0], 9);
        assert_int_equal(sq_op_reference(&whole, &err), SQ_OK);
        for (int64_t t = 0; t < L; t++)
            run_step(&whole, t, shapes[i], &rings);
        release(&whole);
    }
    assert_true(rings > 4 * L / 2); /* four of the shapes keep a ring */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_are_the_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
