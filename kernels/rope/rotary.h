/* rotary: what the operators rope and xpos share: one tensor in, one out, rows that turn by their
 * position. Both tables of axes begin with B, L, H, D, rotary and offset.
 */
#ifndef SQ_KERNELS_ROPE_ROTARY_H
#define SQ_KERNELS_ROPE_ROTARY_H

#include "kernels/op.h"
#include "kernels/shared/rotation.h"

enum { ROTARY_B, ROTARY_L, ROTARY_H, ROTARY_D, ROTARY_DIMS, ROTARY_OFFSET, ROTARY_OWN };
enum { ROTARY_MAX_D = 1024, ROTARY_MAX_PAIRS = 128 };

#ifdef __cplusplus
extern "C" {
#endif
sq_status sq_rotary_check(sq_axis_value *axis, sq_error *err);
sq_status sq_rotary_at_width(int64_t width, sq_axis_value *axis, sq_error *err);
sq_status sq_rotary_tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                            sq_tensor_list *list, sq_error *err);
sq_cost sq_rotary_cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis);
double sq_rotary_work(const sq_axis_value *axis);
sq_status sq_rotary_slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what,
                          size_t size);

/* Position of the call's first row: in pass step that of the newest of L tokens. */
int64_t sq_rotary_first(const sq_call *call);
/* Pass fwd and step: out[0] = turned in[0]; bwd: out[0] from the gradient, turned back. */
sq_status sq_rotary_run(const sq_call *call, const sq_rotation *rotation);
#ifdef __cplusplus
}
#endif

#endif
