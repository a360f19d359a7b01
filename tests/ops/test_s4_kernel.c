/* s4_kernel without its conjugates: stored beside their states, they are the pairs again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "kernels/s4_kernel/s4_kernel.h"

enum { MOST = 4096, SEED = 5 };

typedef struct {
    sq_call call;
    double memory[IN_COUNT + 1][MOST];
} specimen;

static void make(specimen *s, const char *shape)
{
    sq_error err;
    sq_tensor_list list;
    assert_int_equal(
        sq_call_parse(&sq_op_s4_kernel, SQ_PASS_FWD, SQ_DTYPE_F32, shape, &s->call, &err), SQ_OK);
    assert_int_equal(sq_call_shape(&s->call, &list, &err), SQ_OK);
    for (int i = 0; i <= IN_COUNT; i++) {
        sq_tensor *t = i < IN_COUNT ? &s->call.in[i] : &s->call.out[0];
        assert_true(sq_tensor_count(t) <= MOST);
        *t = sq_tensor_dense(s->memory[i], SQ_DTYPE_F64, t->rank, t->dim);
        for (int64_t e = 0; i < IN_COUNT && e < sq_tensor_count(t); e++)
            s->memory[i][e] = sq_rng_draw(list.in[i].draw, SEED, (uint32_t)i, e);
    }
}

/* Rows of n numbers, or of n pairs, and behind each its conjugates. */
static void mirror(const double *from, double *to, int64_t rows, int64_t n, int parts)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++)
            for (int k = 0; k < parts; k++) {
                const double x = from[(r * n + i) * parts + k];
                to[(2 * r * n + i) * parts + k] = x;
                to[((2 * r + 1) * n + i) * parts + k] = k == 1 ? -x : x;
            }
}

static void check(const char *pairs, const char *singles)
{
    specimen *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    sq_error err;
    assert_true(a && b);
    make(a, pairs);
    make(b, singles);
    const int64_t n = a->call.in[IN_A_REAL].dim[1];
    for (int i = 0; i < IN_COUNT; i++) {
        const sq_tensor *t = &a->call.in[i];
        const int parts = i >= IN_GAIN ? 2 : 1;
        if (i == IN_LOG_DT)
            continue;
        mirror(a->memory[i], b->memory[i], sq_tensor_count(t) / (n * parts), n, parts);
    }
    /* a_imag has one number of the two. */
    for (int64_t e = 0; e < sq_tensor_count(&b->call.in[IN_A_IMAG]); e++)
        b->memory[IN_A_IMAG][e] *= e / n % 2 ? -1 : 1;
    assert_int_equal(sq_op_reference(&a->call, &err), SQ_OK);
    assert_int_equal(sq_op_reference(&b->call, &err), SQ_OK);
    for (int64_t e = 0; e < sq_tensor_count(&a->call.out[0]); e++) {
        const double want = a->memory[IN_COUNT][e], got = b->memory[IN_COUNT][e];
        if (!(fabs(got - want) <= 1e-12 * (1 + fabs(want))))
            fail_msg("%s: tap %lld is %.17g, not %.17g", singles, (long long)e, got, want);
    }
    free(a);
    free(b);
}

static void pairs_are_states_beside_their_conjugates(void **state)
{
    (void)state;
    check("B=2,L=37,D=4,N=8,R=2,S=2", "B=2,L=37,D=4,N=16,R=2,S=2,pairs=0");
    check("B=1,L=64,D=3,N=6,conjugate=1", "B=1,L=64,D=3,N=12,conjugate=1,pairs=0");
    check("B=1,L=1,D=2,N=2", "B=1,L=1,D=2,N=4,pairs=0");
}

/* One state without a correction: V_j = c b dt / (1 - w - (1 + w) dt a/2), of which h is the
 * inverse real transform, summed term by term. */
static void a_single_state_is_its_half_spectrum(void **state)
{
    (void)state;
    enum { L = 6 };
    const double pi = 3.141592653589793238462643;
    specimen *s = calloc(1, sizeof *s);
    sq_error err;
    assert_non_null(s);
    make(s, "B=1,L=6,D=1,N=2,pairs=0");
    s->memory[IN_P][0] = s->memory[IN_P][1] = 0;
    assert_int_equal(sq_op_reference(&s->call, &err), SQ_OK);
    const sq_c64 a = sq_c64_of(-exp(s->memory[IN_A_REAL][0]), s->memory[IN_A_IMAG][0]);
    const sq_c64 cb = sq_c64_mul(sq_c64_of(s->memory[IN_C][0], s->memory[IN_C][1]),
                                 sq_c64_of(s->memory[IN_GAIN][0], s->memory[IN_GAIN][1]));
    const double dt = exp(s->memory[IN_LOG_DT][0]);
    for (int t = 0; t < L; t++) {
        double want = 0;
        for (int j = 0; j <= L / 2; j++) {
            const sq_c64 w = sq_c64_of(cos(2 * pi * j / L), -sin(2 * pi * j / L));
            const sq_c64 half = sq_c64_scale(sq_c64_mul(sq_c64_of(1 + w.re, w.im), a), dt / 2);
            const sq_c64 v = sq_c64_mul(sq_c64_scale(cb, dt),
                                        sq_c64_inv(sq_c64_sub(sq_c64_of(1 - w.re, -w.im), half)));
            const double angle = 2 * pi * j * t / L, real = v.re * cos(angle) - v.im * sin(angle);
            const double ends = v.re * (j == 0 || t % 2 == 0 ? 1 : -1);
            want += (j == 0 || j == L / 2 ? ends : 2 * real) / L;
        }
        assert_true(fabs(s->memory[IN_COUNT][t] - want) <= 1e-12 * (1 + fabs(want)));
    }
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_states_beside_their_conjugates),
        cmocka_unit_test(a_single_state_is_its_half_spectrum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
