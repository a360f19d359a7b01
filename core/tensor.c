#include "core/tensor.h"

#include <assert.h>

sq_tensor sq_tensor_dense(void *data, sq_dtype dtype, int rank, const int64_t *dim)
{
    sq_tensor t = {.data = data, .dtype = dtype, .rank = rank};
    int64_t stride = 1;
    for (int i = SQ_MAX_RANK - 1; i >= 0; i--) {
        t.dim[i] = i < rank ? dim[i] : 1;
        t.stride[i] = i < rank ? stride : 0;
        stride *= t.dim[i];
    }
    return t;
}

sq_tensor sq_tensor_slice(const sq_tensor *t, int axis, int64_t start, int64_t count)
{
    assert(axis >= 0 && axis < t->rank);
    assert(start >= 0 && count >= 0 && count <= t->dim[axis] - start);
    sq_tensor view = *t;
    if (view.data)
        view.data = (char *)view.data + start * t->stride[axis] * (int64_t)sq_dtype_size(t->dtype);
    view.dim[axis] = count;
    return view;
}

int64_t sq_tensor_count(const sq_tensor *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++)
        count *= t->dim[i];
    return count;
}

size_t sq_tensor_bytes(const sq_tensor *t)
{
    return (size_t)sq_tensor_count(t) * sq_dtype_size(t->dtype);
}

int64_t sq_tensor_run(const sq_tensor *t, int64_t *stride)
{
    int64_t length = 1;
    *stride = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dim[i] == 1)
            continue; /* its stride is never taken */
        if (length == 1)
            *stride = t->stride[i];
        else if (t->stride[i] != length * *stride)
            break;
        length *= t->dim[i];
    }
    return length;
}

bool sq_tensor_is_dense(const sq_tensor *t)
{
    int64_t stride;
    int64_t count = sq_tensor_count(t);
    return count == 0 || (sq_tensor_run(t, &stride) == count && stride == 1);
}

int64_t sq_tensor_offset(const sq_tensor *t, int64_t linear)
{
    int64_t offset = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        offset += linear % t->dim[i] * t->stride[i];
        linear /= t->dim[i];
    }
    return offset;
}

bool sq_mul(size_t *product, int64_t factor)
{
    size_t result;
    if (factor < 0 || __builtin_mul_overflow(*product, (size_t)factor, &result))
        return false;
    *product = result;
    return true;
}
