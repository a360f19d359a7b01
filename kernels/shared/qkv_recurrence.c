/* qkv_recurrence: see qkv_recurrence.h. */
#include "kernels/shared/qkv_recurrence.h"

#include "kernels/shared/channels.h"

sq_status sq_qkv_at_width(int64_t width, int64_t keys, int64_t values, sq_axis_value *axis,
                          sq_error *err)
{
    SQ_TRY(sq_heads_at_width(width, keys, &axis[SQ_QKV_AXIS_H], err));
    axis[SQ_QKV_AXIS_K] = (double)keys;
    axis[SQ_QKV_AXIS_V] = (double)values;
    return SQ_OK;
}

sq_status sq_qkv_tensors(const char *op, const sq_decay_layout *layout, sq_pass pass,
                         sq_dtype dtype, const sq_axis_value *axis, sq_tensor_list *list,
                         sq_error *err)
{
    const bool is_step = pass == SQ_PASS_STEP;
    if (pass != SQ_PASS_FWD && !is_step)
        return sq_fail(err, SQ_UNSUPPORTED, "%s has no pass %s", op, sq_pass_name(pass));
    const int64_t b = sq_axis_int(axis, SQ_AXIS_B), l = is_step ? 1 : sq_axis_int(axis, SQ_AXIS_L);
    const int64_t h = sq_axis_int(axis, SQ_QKV_AXIS_H), k = sq_axis_int(axis, SQ_QKV_AXIS_K);
    const int64_t v = sq_axis_int(axis, SQ_QKV_AXIS_V);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    const sq_tensor_spec state = {"initial_state", SQ_DTYPE_F32, 4, {b, h, k, v}, -1, normal};
    *list = (sq_tensor_list){.n_in = layout->in.count, .n_out = SQ_DECAY_OUT_COUNT};
    list->in[layout->in.q] = (sq_tensor_spec){"q", dtype, 4, {b, l, h, k}, 1, normal};
    list->in[layout->in.k] = (sq_tensor_spec){"k", dtype, 4, {b, l, h, k}, 1, normal};
    list->in[layout->in.v] = (sq_tensor_spec){"v", dtype, 4, {b, l, h, v}, 1, normal};
    list->out[SQ_DECAY_OUT_O] = (sq_tensor_spec){"o", dtype, 4, {b, l, h, v}, 1, {0}};
    if (is_step || axis[layout->axis.initial] != 0)
        list->in[layout->in.initial] = state;
    if (is_step || axis[layout->axis.final] != 0) {
        list->out[SQ_DECAY_OUT_FINAL] = state;
        list->out[SQ_DECAY_OUT_FINAL].name = "final_state";
    }
    return SQ_OK;
}

/* The gradients of the decays: q . dq and k . dk, by row or in one sum (4 K), which begin with
 * <d_final, final_state>. */
static double decay_gradient_flops(const sq_decay_layout *layout, const sq_axis_value *axis)
{
    const double heads = axis[SQ_AXIS_B] * axis[SQ_QKV_AXIS_H], keys = axis[SQ_QKV_AXIS_K];
    const double final = axis[layout->axis.final] * keys * axis[SQ_QKV_AXIS_V];
    return heads * (4 * axis[SQ_AXIS_L] * keys + 2 * final);
}

sq_cost sq_qkv_cost(const sq_decay_layout *layout, sq_pass pass, sq_dtype dtype,
                    const sq_axis_value *axis, double decays)
{
    const double heads = sq_op_tokens(pass, axis) * axis[SQ_QKV_AXIS_H];
    const double bytes = (double)sq_dtype_size(dtype) * heads * decays;
    sq_cost c = sq_decay_layout_cost(layout, pass, dtype, axis);
    c.flops += heads * axis[SQ_QKV_AXIS_V];
    c.special = heads * decays;
    c.bytes_read += bytes;
    if (pass == SQ_PASS_BWD) {
        c.flops += decays > 0 ? decay_gradient_flops(layout, axis) : 0;
        c.bytes_written += bytes;
    }
    return c;
}

sq_tolerance sq_qkv_tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)axis;
    return sq_decay_scan_tolerance(pass, dtype, false);
}
