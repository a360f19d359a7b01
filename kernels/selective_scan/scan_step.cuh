/* scan_step: pass step of selective_scan's cuda/portable, one token. Included by selective_scan.cu
 * alone. A channel's states lie over some lanes of a warp, VEC neighbours a lane: every state is
 * read and written once, in whole lines.
 */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SCAN_STEP_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_SCAN_STEP_CUH

#include "kernels/hw/launch.cuh"
#include "kernels/selective_scan/scan_tile.cuh"

namespace sq_selective_scan
{

enum { STEP_THREADS = 128 };

template <typename T, int VEC>
struct alignas(VEC * sizeof(T)) pack {
    T value[VEC];
};

/* B or C of group g, or of channel d where it is constant in time, from state n on. */
template <typename T, int VEC>
__device__ __forceinline__ pack<float, VEC> step_row(const projection<const T> &p,
                                                     const constant_rows &constant, int64_t b,
                                                     int64_t g, int64_t d, int64_t n)
{
    if (constant.data)
        return *(const pack<float, VEC> *)&constant.row(d)[n];
    const pack<T, VEC> raw = *(const pack<T, VEC> *)&p.data[b * p.stride_b + g * p.stride_g + n];
    pack<float, VEC> out;
#pragma unroll
    for (int v = 0; v < VEC; v++)
        out.value[v] = sq_to_f32(raw.value[v]);
    return out;
}

/* Grid: (channels times lanes, B). lanes: a power of two, at most 32. */
template <typename T, int VEC>
__global__ void __launch_bounds__(STEP_THREADS) scan_step(scan_args<T> p, int lanes)
{
    const int64_t i = (int64_t)blockIdx.x * STEP_THREADS + threadIdx.x, b = blockIdx.y;
    const int64_t d = i / lanes, g = d / (p.channels / p.groups);
    const int lane = (int)(i % lanes);
    const bool is_valid = d < p.channels;
    float u = 0.0f, delta = 0.0f, y = 0.0f;
    if (is_valid) {
        u = sq_to_f32(p.u.data[b * p.u.stride_b + d]);
        delta = sq_to_f32(p.delta.data[b * p.delta.stride_b + d]) + (p.bias ? p.bias[d] : 0.0f);
        if (p.has_softplus)
            delta = softplus(delta);
    }
    for (int64_t n = lane * VEC; is_valid && n < p.states; n += lanes * VEC) {
        using states = pack<float, VEC>;
        const states a = *(const states *)&p.a[d * p.a_stride + n];
        const states b_t = step_row<T, VEC>(p.b, p.const_b, b, g, d, n);
        const states c_t = step_row<T, VEC>(p.c, p.const_c, b, g, d, n);
        states h = *(const states *)&p.initial[b * p.initial_stride_b + d * p.initial_stride_d + n];
#pragma unroll
        for (int v = 0; v < VEC; v++) {
            h.value[v] = fmaf(sq_exp2(delta * (a.value[v] * SQ_LOG2E)), h.value[v],
                              delta * u * b_t.value[v]);
            y = fmaf(c_t.value[v], h.value[v], y);
        }
        *(states *)&p.final[b * p.final_stride_b + d * p.final_stride_d + n] = h;
    }
    for (int half = lanes / 2; half > 0; half /= 2)
        y += __shfl_xor_sync(0xffffffffu, y, half);
    if (!is_valid || lane > 0)
        return;
    if (p.skip)
        y = fmaf(p.skip[d], u, y);
    if (p.z.data)
        y *= sq_silu(sq_to_f32(p.z.data[b * p.z.stride_b + d]));
    p.y.data[b * p.y.stride_b + d] = sq_from_f32<T>(y);
}

/* Do four neighbouring states of every row form one aligned access? */
static inline bool is_quad_aligned(const sq_tensor *t)
{
    for (int i = 0; i + 1 < t->rank; i++)
        if (t->dim[i] > 1 && t->stride[i] % 4 != 0)
            return false;
    return (uintptr_t)t->data % (4 * sq_dtype_size(t->dtype)) == 0 && t->dim[t->rank - 1] % 4 == 0;
}

template <typename T>
sq_status launch_step(const sq_call *call, const scan_args<T> &args, sq_error *err)
{
    const bool is_quad = is_quad_aligned(&call->in[IN_A]) && is_quad_aligned(&call->in[IN_B]) &&
                         is_quad_aligned(&call->in[IN_C]) &&
                         is_quad_aligned(&call->in[IN_INITIAL]) &&
                         is_quad_aligned(&call->out[OUT_FINAL]);
    int lanes = 1;
    while (lanes < 32 && lanes * (is_quad ? 4 : 1) < args.states)
        lanes *= 2;
    dim3 grid((unsigned)sq_ceil_div(args.channels * lanes, STEP_THREADS), (unsigned)args.batch);
    if (is_quad)
        scan_step<T, 4><<<grid, STEP_THREADS, 0, sq_stream(call)>>>(args, lanes);
    else
        scan_step<T, 1><<<grid, STEP_THREADS, 0, sq_stream(call)>>>(args, lanes);
    return sq_launched("selective_scan step", err);
}

} // namespace sq_selective_scan

#endif
