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
