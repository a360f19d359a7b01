/* pairs: (B, D, N/2, 2) tensors of complex numbers, as kernels take them. */
#ifndef SQ_KERNELS_HW_PAIRS_CUH
#define SQ_KERNELS_HW_PAIRS_CUH

#include "core/tensor.h"

/* data: NULL where there is none. */
struct sq_pairs {
    float *data;
    int64_t stride_b, stride_d, stride_n;

    __device__ float *at(int64_t b, int64_t d, int64_t n) const
    {
        return data + b * stride_b + d * stride_d + n * stride_n;
    }
};

inline sq_pairs sq_pairs_of(const sq_tensor *t)
{
    return {(float *)t->data, t->stride[0], t->stride[1], t->stride[2]};
}

#endif
