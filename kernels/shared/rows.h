/* rows: what the references and slices of the operators share: runs of contiguous elements to and
 * from double (one dtype switch a run, not an element), and drawn positions.
 */
#ifndef SQ_KERNELS_SHARED_ROWS_H
#define SQ_KERNELS_SHARED_ROWS_H

#include <stdint.h>

#include "core/tensor.h"
#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element (i, j, k) of a tensor of three dims, or (i, j, k, 0) of four: the offset, and its number.
 */
static inline int64_t sq_offset3(const sq_tensor *t, int64_t i, int64_t j, int64_t k)
{
    return i * t->stride[0] + j * t->stride[1] + k * t->stride[2];
}

static inline double sq_load3(const sq_tensor *t, int64_t i, int64_t j, int64_t k)
{
    return sq_load(t->data, t->dtype, sq_offset3(t, i, j, k));
}

static inline void sq_store3(const sq_tensor *t, int64_t i, int64_t j, int64_t k, double value)
{
    sq_store(t->data, t->dtype, sq_offset3(t, i, j, k), value);
}

/* Element i of a vector. */
static inline double sq_load1(const sq_tensor *t, int64_t i)
{
    return sq_load(t->data, t->dtype, i * t->stride[0]);
}

/* Offset of row m of the B x L rows of a (B, L, ...) tensor. */
static inline int64_t sq_row_offset(const sq_tensor *t, int64_t m)
{
    return sq_offset3(t, m / t->dim[1], m % t->dim[1], 0);
}

/* Sum of x[i] y[i]. */
double sq_row_dot(const double *x, const double *y, int64_t n);

/* out[i] = t.data[offset + i] for i < n. offset counts elements from t->data. */
void sq_row_read(const sq_tensor *t, int64_t offset, int64_t n, double *out);

/* t.data[offset + i] = in[i], rounded to the tensor's dtype. */
void sq_row_write(const sq_tensor *t, int64_t offset, int64_t n, const double *in);

/* The start of a run of `count` out of `total` positions; `which` numbers a slice's draws. */
int64_t sq_pick_start(sq_pick pick, int which, int64_t total, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
