/* decay_slice: what the slices of the decayed recurrences share: one batch row and head, all steps,
 * a run of value columns.
 */
#ifndef SQ_KERNELS_SHARED_DECAY_SLICE_H
#define SQ_KERNELS_SHARED_DECAY_SLICE_H

#include <stdint.h>

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t b, h, first, count; /* columns [first, first + count) */
} sq_decay_part;

/* Which dim of a tensor is which, -1: none. A dim that the tensor has not is none either. */
typedef struct {
    int batch, head, value;
} sq_decay_cut;

/* A drawn part of `columns` of the `values` columns; writes its name to `what`. */
sq_decay_part sq_decay_part_pick(sq_pick pick, int64_t batch, int64_t heads, int64_t values,
                                 int64_t columns, char *what, size_t size);

/* Cuts the first n tensors, each by its row of `by`; absent ones stay so. A tensor with fewer than
 * `heads` heads is cut to the group of part.h. */
void sq_decay_cut_tensors(sq_tensor *t, const sq_decay_cut *by, int n, sq_decay_part part,
                          int64_t heads);

#ifdef __cplusplus
}
#endif
#endif
