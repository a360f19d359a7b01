/* cost_walk: see cost_walk.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/ops/cost_walk.h"

int64_t sq_walk_axis(const sq_walk *w, const char *name)
{
    const int at = sq_axis_find(w->call->op->axes, name);
    return at < 0 ? 0 : sq_axis_int(w->call->axis, at);
}

void sq_walk_each(sq_walk *w, int64_t count, void (*visit)(sq_walk *w))
{
    for (int64_t b = 0; b < w->batch; b++)
        for (int64_t t = 0; t < w->length; t++)
            for (int64_t i = 0; i < count; i++)
                visit(w);
}

static void check_call(const sq_walk_case *c, sq_pass pass, sq_dtype dtype, const char *shape)
{
    sq_call call;
    sq_error err = {.status = SQ_OK};
    if (sq_call_parse(c->op, pass, dtype, shape, &call, &err) != SQ_OK)
        fail_msg("%s %s: %s", c->op->name, shape, err.message);
    sq_walk w = {.call = &call,
                 .batch = sq_axis_int(call.axis, SQ_AXIS_B),
                 .length = pass == SQ_PASS_STEP ? 1 : sq_axis_int(call.axis, SQ_AXIS_L),
                 .is_bwd = pass == SQ_PASS_BWD};
    c->walk(&w);
    const sq_cost cost = sq_op_cost(c->op, pass, dtype, call.axis);
    const double matrix = dtype == SQ_DTYPE_F32 ? 0 : w.matrix;
    if (cost.flops != w.flops || cost.matrix_flops != matrix || cost.special != w.special)
        fail_msg("%s %s %s %s: counted %g flop, %g by products, %g special functions; cost %g, %g, "
                 "%g",
                 c->op->name, sq_pass_name(pass), sq_dtype_name(dtype), shape, w.flops, matrix,
                 w.special, cost.flops, cost.matrix_flops, cost.special);
}

void sq_walk_check(const sq_walk_case *cases)
{
    for (const sq_walk_case *c = cases; c->op; c++)
        for (int p = 0; p < SQ_OWN_PASSES; p++)
            for (const char *const *shape = c->shapes; *shape; shape++)
                if (c->passes & SQ_HAS_PASS(sq_own_passes[p])) {
                    check_call(c, sq_own_passes[p], SQ_DTYPE_F32, *shape);
                    check_call(c, sq_own_passes[p], SQ_DTYPE_BF16, *shape);
                }
}
