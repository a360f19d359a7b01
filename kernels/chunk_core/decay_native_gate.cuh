/* decay_native_gate: for the backward pass on Hopper, what z makes of do, once y is there. */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_GATE_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_GATE_CUH

#include "kernels/chunk_core/decay_tiles.cuh"
#include "kernels/hw/launch.cuh"

enum { SQ_NATIVE_GATE_THREADS = 256 };

/* dz = do y silu'(z), and do silu(z) in the place of y; 16 bytes of each a thread. */
template <typename T>
static __global__ void __launch_bounds__(SQ_NATIVE_GATE_THREADS)
    sq_native_gate_kernel(const __grid_constant__ sq_decay_tiled c)
{
    constexpr int vector = sq_per_vector<T>;
    sq_chain_begin_next();
    sq_chain_wait();
    const int per_row = c.p.values / vector;
    const int64_t index = (int64_t)blockIdx.x * SQ_NATIVE_GATE_THREADS + threadIdx.x;
    const int64_t row = index / per_row;
    if (row >= (int64_t)c.p.batch * c.p.length * c.p.heads)
        return;
    const int column = (int)(index % per_row) * vector, h = (int)(row % c.p.heads);
    const int64_t t = row / c.p.heads % c.p.length;
    const int b = (int)(row / c.p.heads / c.p.length);
    const auto at = [&](const sq_decay_tensor &x) {
        return (T *)sq_decay_at<T>(x, b, t, h) + column;
    };
    float d_o[vector], z[vector], y[vector];
    sq_unpack_vector<T>(sq_load16(at(c.g.raw)), d_o);
    sq_unpack_vector<T>(sq_load16(at(c.p.z)), z);
    sq_unpack_vector<T>(sq_load16(at(c.g.d_o)), y);
#pragma unroll
    for (int i = 0; i < vector; i++) {
        const float s = 1.0f / (1.0f + expf(-z[i])), gated = d_o[i] * z[i] * s;
        y[i] *= d_o[i] * s * (1.0f + z[i] * (1.0f - s));
        d_o[i] = gated;
    }
    sq_store16(at(c.g.d_z), sq_pack_vector<T>(y));
    sq_store16(at(c.g.d_o), sq_pack_vector<T>(d_o));
}

template <typename T>
static sq_status sq_native_gate(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    const int64_t vectors =
        (int64_t)c.p.batch * c.p.length * c.p.heads * (c.p.values / sq_per_vector<T>);
    const sq_grid grid = {dim3((unsigned)sq_ceil_div(vectors, SQ_NATIVE_GATE_THREADS)),
                          SQ_NATIVE_GATE_THREADS, 0, true};
    return sq_launch_chained(call, grid, "gated output gradient and gradient of the gate", err,
                             sq_native_gate_kernel<T>, c);
}

#endif
