/* tensor: a typed, strided view of memory that somebody else owns (host or device). */
#ifndef SQ_CORE_TENSOR_H
#define SQ_CORE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/dtype.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_RANK = 6 };

/* stride counts elements; dim and stride beyond `rank` are 1 and 0. */
typedef struct {
    void *data;
    sq_dtype dtype;
    int rank;
    int64_t dim[SQ_MAX_RANK], stride[SQ_MAX_RANK];
} sq_tensor;

/* A dense row-major tensor over `data` (which may be NULL while planning). */
sq_tensor sq_tensor_dense(void *data, sq_dtype dtype, int rank, const int64_t *dim);

/* A view of `t` with axis `axis` cut to [start, start + count). */
sq_tensor sq_tensor_slice(const sq_tensor *t, int axis, int64_t start, int64_t count);

int64_t sq_tensor_count(const sq_tensor *t); /* elements */
size_t sq_tensor_bytes(const sq_tensor *t);  /* bytes of the dense form */
bool sq_tensor_is_dense(const sq_tensor *t);

/* Element offset (in elements from data) of the `linear`-th element in row-major order of dims. */
int64_t sq_tensor_offset(const sq_tensor *t, int64_t linear);

/* Length of the longest run of trailing elements (a product of trailing dims) that one stride
 * walks; *stride receives it. The whole tensor is count / length such runs, in row-major order. */
int64_t sq_tensor_run(const sq_tensor *t, int64_t *stride);

/* *product *= factor; false (and *product untouched) on overflow or a negative factor. */
bool sq_mul(size_t *product, int64_t factor);

#ifdef __cplusplus
}
#endif
#endif
