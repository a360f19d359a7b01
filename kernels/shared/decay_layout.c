/* decay_layout: see decay_layout.h. */
#include "kernels/shared/decay_layout.h"

#include <math.h>
#include <stdio.h>

#include "kernels/shared/rows.h"

static double axis_or_0(const sq_axis_value *axis, int at)
{
    return at < 0 ? 0 : axis[at];
}

sq_decay_scan sq_decay_scan_of(const sq_call *call, const sq_decay_layout *layout)
{
    return (sq_decay_scan){.q = &call->in[layout->in.q],
                           .k = &call->in[layout->in.k],
                           .v = &call->in[layout->in.v],
                           .initial = &call->in[layout->in.initial],
                           .scale = sq_decay_layout_scale(layout, call->axis),
                           .chunk = (int64_t)axis_or_0(call->axis, layout->axis.chunk)};
}

sq_decay_scan_grads sq_decay_scan_grads_of(const sq_call *call, const sq_decay_layout *layout)
{
    const sq_tensor *of_outputs = &call->in[layout->in.count];
    return (sq_decay_scan_grads){.d_o = &of_outputs[SQ_DECAY_OUT_O],
                                 .d_final = &of_outputs[SQ_DECAY_OUT_FINAL],
                                 .d_q = &call->out[layout->in.q],
                                 .d_k = &call->out[layout->in.k],
                                 .d_v = &call->out[layout->in.v],
                                 .d_initial = &call->out[layout->in.initial]};
}

sq_status sq_decay_layout_reference(const sq_call *call, sq_decay_scan scan, sq_error *err)
{
    scan.o = &call->out[SQ_DECAY_OUT_O];
    scan.final = &call->out[SQ_DECAY_OUT_FINAL];
    return sq_decay_scan_reference(call, &scan, err);
}

double sq_decay_layout_work(const sq_decay_layout *layout, const sq_axis_value *axis)
{
    return sq_decay_scan_work(axis[SQ_AXIS_B], axis[SQ_AXIS_L], axis[SQ_DECAY_AXIS_H],
                              axis[layout->axis.keys], axis[layout->axis.values],
                              axis_or_0(axis, layout->axis.chunk));
}

double sq_decay_layout_scale(const sq_decay_layout *layout, const sq_axis_value *axis)
{
    const double scale = axis_or_0(axis, layout->axis.scale);
    return scale > 0 ? scale : 1 / sqrt(axis[layout->axis.keys]);
}

sq_cost sq_decay_layout_cost(const sq_decay_layout *layout, sq_pass pass, sq_dtype dtype,
                             const sq_axis_value *axis)
{
    const bool is_step = pass == SQ_PASS_STEP, is_backward = pass == SQ_PASS_BWD;
    const double tokens = sq_op_tokens(pass, axis), heads = axis[SQ_DECAY_AXIS_H];
    const double state = axis[layout->axis.keys] * axis[layout->axis.values];
    const double states = axis[SQ_AXIS_B] * heads * state, size = (double)sq_dtype_size(dtype);
    const double initial = is_step || axis[layout->axis.initial] != 0;
    const double final = is_step || axis[layout->axis.final] != 0;
    const double rows = tokens * heads * axis[layout->axis.values];
    const double columns = tokens * axis[layout->axis.groups] * axis[layout->axis.keys];
    const double flops = 2 * (is_backward ? 5 : 2) * tokens * heads * state;
    return (sq_cost){
        .flops = flops,
        .matrix_flops = dtype == SQ_DTYPE_F32 ? 0 : flops,
        .bytes_read = size * (2 * columns + (is_backward ? 2 : 1) * rows) +
                      4 * states * (initial + (is_backward ? final : 0)),
        .bytes_written = size * ((is_backward ? 2 : 0) * columns + rows) +
                         4 * states * (is_backward ? initial : final),
    };
}

/* --- slices --- */

typedef struct {
    int64_t b, h, first, count; /* columns [first, first + count) */
} part;

static void cut_dim(sq_tensor *t, int dim, int64_t start, int64_t count)
{
    if (dim >= 0 && dim < t->rank)
        *t = sq_tensor_slice(t, dim, start, count);
}

/* Cuts a tensor; an absent one stays so. One with fewer than `heads` heads is cut to p.h's group.
 */
static void cut_tensor(sq_tensor *t, sq_decay_cut by, part p, int64_t heads)
{
    const int64_t per_head = by.head >= 0 && by.head < t->rank ? heads / t->dim[by.head] : 1;
    cut_dim(t, by.batch, p.b, 1);
    cut_dim(t, by.head, p.h / per_head, 1);
    cut_dim(t, by.value, p.first, p.count);
}

int64_t sq_decay_slice(const sq_decay_layout *layout, const sq_call *whole, sq_pick pick,
                       sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const int64_t heads = sq_axis_int(axis, SQ_DECAY_AXIS_H);
    const int64_t columns = sq_axis_int(axis, layout->axis.values);
    const int64_t count = sq_decay_scan_columns(axis[SQ_AXIS_L], axis[layout->axis.keys], columns,
                                                axis_or_0(axis, layout->axis.chunk), pick.max_work);
    const part p = {.b = sq_pick_start(pick, 0, sq_axis_int(axis, SQ_AXIS_B), 1),
                    .h = sq_pick_start(pick, 1, heads, 1),
                    .first = sq_pick_start(pick, 2, columns, count),
                    .count = count};
    snprintf(what, size, "b=%lld h=%lld column=%lld..%lld", (long long)p.b, (long long)p.h,
             (long long)p.first, (long long)(p.first + count));
    *sub = *whole;
    sub->axis[SQ_AXIS_B] = sub->axis[SQ_DECAY_AXIS_H] = sub->axis[layout->axis.groups] = 1;
    sub->axis[layout->axis.values] = (double)count;
    for (int i = 0; i < layout->in.count; i++)
        cut_tensor(&sub->in[i], layout->cuts[i], p, heads);
    cut_tensor(&sub->out[SQ_DECAY_OUT_O], (sq_decay_cut){0, 2, 3}, p, heads);
    cut_tensor(&sub->out[SQ_DECAY_OUT_FINAL], (sq_decay_cut){0, 1, 3}, p, heads);
    return p.h;
}
