/* xpos, backward: dx is dy turned back and grown as x was.
 *
 *   (dx_a, dx_b) = g (dy_a cos t + dy_b sin t, dy_b cos t - dy_a sin t)
 *
 * Source: the chain rule on xpos.c's equation.
 */
#include "kernels/xpos/xpos.h"

sq_status sq_xpos_backward(const sq_call *call, sq_error *err)
{
    (void)err;
    const sq_rotation rotation = sq_xpos_rotation_of(call->axis);
    return sq_rotary_run(call, &rotation);
}
