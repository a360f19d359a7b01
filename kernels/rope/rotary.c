/* rotary: see rotary.h. */
#include "kernels/rope/rotary.h"

#include <math.h>
#include <stdio.h>

#include "kernels/shared/channels.h"
#include "kernels/shared/rows.h"

sq_status sq_rotary_check(sq_axis_value *axis, sq_error *err)
{
    if (axis[ROTARY_DIMS] == 0)
        axis[ROTARY_DIMS] = fmin(axis[ROTARY_D], 2 * ROTARY_MAX_PAIRS);
    const int64_t dims = sq_axis_int(axis, ROTARY_DIMS);
    if (dims % 2 != 0 || dims > sq_axis_int(axis, ROTARY_D))
        return sq_fail(err, SQ_BAD_SHAPE, "rotary=%g is odd or more than D=%g", axis[ROTARY_DIMS],
                       axis[ROTARY_D]);
    return SQ_OK;
}

sq_status sq_rotary_at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    SQ_TRY(sq_heads_at_width(width, 128, &axis[ROTARY_H], err));
    axis[ROTARY_D] = 128;
    return SQ_OK;
}

sq_status sq_rotary_tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                            sq_tensor_list *list, sq_error *err)
{
    (void)err;
    const int64_t l = pass == SQ_PASS_STEP ? 1 : sq_axis_int(axis, ROTARY_L);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    sq_tensor_spec x = {
        "x",
        dtype,
        4,
        {sq_axis_int(axis, ROTARY_B), l, sq_axis_int(axis, ROTARY_H), sq_axis_int(axis, ROTARY_D)},
        1,
        normal};
    *list = (sq_tensor_list){.n_in = 1, .n_out = 1};
    list->in[0] = x;
    x.name = "y";
    x.draw = (sq_draw){0};
    list->out[0] = x;
    return SQ_OK;
}

/* Angle, sine and cosine are one of a position and pair, for all sequences and heads. */
sq_cost sq_rotary_cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const double length = pass == SQ_PASS_STEP ? 1 : axis[ROTARY_L];
    const double angles = length * axis[ROTARY_DIMS] / 2;
    const double heads = axis[ROTARY_B] * axis[ROTARY_H],
                 elements = heads * length * axis[ROTARY_D];
    const double bytes = (double)sq_dtype_size(dtype) * elements;
    return (sq_cost){
        .flops = angles + 6 * heads * angles,
        .special = 2 * angles,
        .bytes_read = bytes,
        .bytes_written = bytes,
    };
}

/* A turned pair costs about as much as 20 products. */
double sq_rotary_work(const sq_axis_value *axis)
{
    return axis[ROTARY_B] * axis[ROTARY_L] * axis[ROTARY_H] *
           (axis[ROTARY_D] + 10 * axis[ROTARY_DIMS]);
}

/* Some positions of a head: their first is the offset of the sub-call. */
sq_status sq_rotary_slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const double row = whole->axis[ROTARY_D] + 10 * whole->axis[ROTARY_DIMS];
    const int64_t l = whole->in[0].dim[1], most = (int64_t)fmax(1, pick.max_work / row);
    const int64_t count = most < l ? most : l;
    const int64_t b = sq_pick_start(pick, 0, whole->in[0].dim[0], 1);
    const int64_t first = sq_pick_start(pick, 1, l, count);
    const int64_t h = sq_pick_start(pick, 2, whole->in[0].dim[2], 1);
    const int64_t at[3] = {b, first, h}, cut[3] = {1, count, 1};
    *sub = *whole;
    sub->axis[ROTARY_B] = sub->axis[ROTARY_H] = 1;
    if (whole->pass != SQ_PASS_STEP) /* there L is where the token stands */
        sub->axis[ROTARY_L] = (double)count;
    sub->axis[ROTARY_OFFSET] += (double)first;
    for (int i = 0; i < 3; i++) {
        sub->in[0] = sq_tensor_slice(&sub->in[0], i, at[i], cut[i]);
        sub->out[0] = sq_tensor_slice(&sub->out[0], i, at[i], cut[i]);
    }
    snprintf(what, size, "b=%lld h=%lld steps=%lld..%lld", (long long)b, (long long)h,
             (long long)first, (long long)(first + count));
    return SQ_OK;
}

int64_t sq_rotary_first(const sq_call *call)
{
    const int64_t offset = sq_axis_int(call->axis, ROTARY_OFFSET);
    return call->pass == SQ_PASS_STEP ? offset + sq_axis_int(call->axis, ROTARY_L) - 1 : offset;
}

sq_status sq_rotary_run(const sq_call *call, const sq_rotation *rotation)
{
    const bool is_gradient = call->pass == SQ_PASS_BWD;
    const sq_tensor *x = &call->in[is_gradient ? 1 : 0], *y = &call->out[0];
    const int64_t first = sq_rotary_first(call), d = x->dim[3];
#pragma omp parallel for collapse(2)
    for (int64_t b = 0; b < x->dim[0]; b++)
        for (int64_t l = 0; l < x->dim[1]; l++)
            for (int64_t h = 0; h < x->dim[2]; h++) {
                double row[ROTARY_MAX_D];
                sq_row_read(x, sq_offset3(x, b, l, h), d, row);
                sq_rotate(rotation, (double)(first + l), is_gradient, row);
                sq_row_write(y, sq_offset3(y, b, l, h), d, row);
            }
    return SQ_OK;
}
