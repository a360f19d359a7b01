/* rope, backward: a rotation is orthogonal, so dx is dy turned back.
 *
 *   (dx_a, dx_b) = (dy_a cos t + dy_b sin t, dy_b cos t - dy_a sin t)
 *
 * Source: the chain rule on rope.c's equation.
 */
#include "kernels/rope/rope.h"

sq_status sq_rope_backward(const sq_call *call, sq_error *err)
{
    (void)err;
    const sq_rotation rotation = sq_rope_rotation_of(call->axis);
    return sq_rotary_run(call, &rotation);
}
