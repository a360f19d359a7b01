/* channels: see channels.h. */
#include "kernels/shared/channels.h"

#include <math.h>
#include <stdio.h>

#include "kernels/shared/rows.h"

sq_status sq_channels_at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    (void)err;
    axis[SQ_AXIS_CHANNELS] = (double)width;
    return SQ_OK;
}

sq_status sq_heads_at_width(int64_t width, int64_t dim, sq_axis_value *heads, sq_error *err)
{
    if (width < dim || width % dim != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "width %lld is no multiple of the head dim %lld",
                       (long long)width, (long long)dim);
    *heads = (double)(width / dim);
    return SQ_OK;
}

int64_t sq_channels_within(const sq_call *whole, sq_pick pick, double work, int64_t turn)
{
    const int64_t turns = sq_axis_int(whole->axis, SQ_AXIS_CHANNELS) / turn;
    return turn * (int64_t)fmax(1, fmin((double)turns, pick.max_work / work / (double)turn));
}

sq_channel_part sq_channel_part_pick(const sq_call *whole, sq_pick pick, int64_t count,
                                     int64_t turn, sq_call *sub, char *what, size_t size)
{
    const int64_t turns = sq_axis_int(whole->axis, SQ_AXIS_CHANNELS) / turn;
    const sq_channel_part part = {
        .b = sq_pick_start(pick, 0, sq_axis_int(whole->axis, SQ_AXIS_B), 1),
        .d = turn * sq_pick_start(pick, 1, turns, count / turn),
        .count = count};
    *sub = *whole;
    sub->axis[SQ_AXIS_B] = 1;
    sub->axis[SQ_AXIS_CHANNELS] = (double)count;
    snprintf(what, size, "b=%lld d=%lld..%lld", (long long)part.b, (long long)part.d,
             (long long)(part.d + count));
    return part;
}

void sq_channel_cut(sq_tensor *t, int batch_dim, int channel_dim, sq_channel_part part)
{
    if (t->rank == 0)
        return;
    if (batch_dim >= 0)
        *t = sq_tensor_slice(t, batch_dim, part.b, 1);
    if (channel_dim >= 0)
        *t = sq_tensor_slice(t, channel_dim, part.d, part.count);
}
