/* channels: what the operators share whose axes begin with B, L, D (channels): their shape at a
 * model width, and slices of one batch row, all steps and some neighbouring channels. And the shape
 * at a model width of those with heads.
 */
#ifndef SQ_KERNELS_SHARED_CHANNELS_H
#define SQ_KERNELS_SHARED_CHANNELS_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_AXIS_CHANNELS = 2 };

/* sq_op.at_width: D = width. */
sq_status sq_channels_at_width(int64_t width, sq_axis_value *axis, sq_error *err);

/* *heads of `dim` channels. */
sq_status sq_heads_at_width(int64_t width, int64_t dim, sq_axis_value *heads, sq_error *err);

/* Batch row b, channels [d, d + count). */
typedef struct {
    int64_t b, d, count;
} sq_channel_part;

/* How many channels max_work allows, where one costs `work`: whole turns of `turn`, at least one.
 */
int64_t sq_channels_within(const sq_call *whole, sq_pick pick, double work, int64_t turn);

/* Draws a part of `count` channels that starts at a multiple of `turn`. *sub becomes the whole call
 * with that part's axes; `what` is its name. */
sq_channel_part sq_channel_part_pick(const sq_call *whole, sq_pick pick, int64_t count,
                                     int64_t turn, sq_call *sub, char *what, size_t size);

/* Cuts t by its dims of the batch and of channels, -1: it has none. An absent tensor stays so. */
void sq_channel_cut(sq_tensor *t, int batch_dim, int channel_dim, sq_channel_part part);

#ifdef __cplusplus
}
#endif

#endif
