/* linear_rows: the B x L rows of a tensor as one matrix, where their spacing allows it. */
#ifndef SQ_KERNELS_LINEAR_ROWS_H
#define SQ_KERNELS_LINEAR_ROWS_H

#include "core/tensor.h"

/* Leading dimension of (B, L, C) seen as (B * L, C); 0 where the rows are not evenly spaced. */
static inline int64_t linear_row_stride(const sq_tensor *t)
{
    if (t->dim[1] == 1)
        return t->dim[0] == 1 ? t->dim[2] : t->stride[0];
    if (t->dim[0] == 1 || t->stride[0] == t->dim[1] * t->stride[1])
        return t->stride[1];
    return 0;
}

#endif
