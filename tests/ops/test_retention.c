/* retention's normaliser of heads whose gamma is 1 to any type: it counts the steps. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(far_heads_count_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
