/* naive: what the cuda/naive providers share: one thread for each element of an output, which reads
 * all that it needs from memory by itself.
 */
#ifndef SQ_KERNELS_HW_NAIVE_CUH
#define SQ_KERNELS_HW_NAIVE_CUH

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"

enum { SQ_NAIVE_THREADS = 256, SQ_NAIVE_PART = 128 };

/* A tensor of any strides, in elements, and at most four dims. data NULL: absent. */
template <typename T>
struct sq_naive_tensor {
    T *data;
    int64_t stride[4];

    __device__ __forceinline__ T *at(int64_t i, int64_t j = 0, int64_t k = 0, int64_t l = 0) const
    {
        return data + i * stride[0] + j * stride[1] + k * stride[2] + l * stride[3];
    }
    __device__ __forceinline__ float load(int64_t i, int64_t j = 0, int64_t k = 0,
                                          int64_t l = 0) const
    {
        return sq_to_f32(*at(i, j, k, l));
    }
    __device__ __forceinline__ void store(float x, int64_t i, int64_t j = 0, int64_t k = 0,
                                          int64_t l = 0) const
    {
        *at(i, j, k, l) = sq_from_f32<T>(x);
    }
};

template <typename T>
static inline sq_naive_tensor<T> sq_naive_of(const sq_tensor &t)
{
    sq_naive_tensor<T> view = {(T *)t.data, {}};
    for (int i = 0; i < t.rank && i < 4; i++)
        view.stride[i] = t.stride[i];
    return view;
}

/* Sum of f(i), first <= i < last, in parts, so that rounding does not grow with their number. */
template <typename F>
__device__ __forceinline__ float sq_naive_sum(int64_t first, int64_t last, F f)
{
    float sum = 0.0f;
    for (int64_t start = first; start < last; start += SQ_NAIVE_PART) {
        const int64_t end = start + SQ_NAIVE_PART < last ? start + SQ_NAIVE_PART : last;
        float part = 0.0f;
        for (int64_t i = start; i < end; i++)
            part += f(i);
        sum += part;
    }
    return sum;
}

template <typename F>
__global__ void __launch_bounds__(SQ_NAIVE_THREADS)
    sq_naive_kernel(const __grid_constant__ F f, int64_t count)
{
    const int64_t i = (int64_t)blockIdx.x * SQ_NAIVE_THREADS + threadIdx.x;
    if (i < count)
        f(i);
}

/* f(i) of every i < count, each in a thread of its own. */
template <typename F>
static inline sq_status sq_naive_run(const sq_call *call, const F &f, int64_t count, sq_error *err)
{
    const unsigned blocks = (unsigned)sq_ceil_div(count, SQ_NAIVE_THREADS);
    sq_naive_kernel<<<blocks, SQ_NAIVE_THREADS, 0, sq_stream(call)>>>(f, count);
    return sq_launched(call->op->name, err);
}

/* supports(): the CUDA element types, and outputs that a launch has threads for. */
static inline sq_status sq_naive_supports(const sq_call *call, const sq_device *, sq_error *why)
{
    for (int i = 0; i < SQ_MAX_OUT; i++)
        if (call->out[i].rank > 0 &&
            sq_tensor_count(&call->out[i]) > (int64_t)SQ_NAIVE_THREADS * INT32_MAX)
            return sq_fail(why, SQ_UNSUPPORTED, "an output of over 2^39 elements");
    return sq_supports_types(call, why);
}

#endif
