/* decay_step: one step of the recurrence from an initial to a final state: a stream of the state
 * through the device. A block owns 16 VECTOR columns of one state; its 16 rows of threads take
 * every sixteenth row of the state each, neighbouring threads neighbouring columns.
 */
#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/hw/launch.cuh"

enum { SQ_STEP_LANES = 16, SQ_STEP_ROWS = 16 };

template <int VECTOR>
struct sq_step_columns {
    float at[VECTOR];
};

template <int VECTOR>
__device__ __forceinline__ sq_step_columns<VECTOR> sq_step_load(const float *from)
{
    sq_step_columns<VECTOR> c;
    if constexpr (VECTOR == 4)
        *(float4 *)c.at = *(const float4 *)from;
    else
        c.at[0] = *from;
    return c;
}

template <int VECTOR>
__device__ __forceinline__ void sq_step_store(float *to, const sq_step_columns<VECTOR> &c)
{
    if constexpr (VECTOR == 4)
        *(float4 *)to = *(const float4 *)c.at;
    else
        *to = c.at[0];
}

/* One step, t = 0 of the call's tensors. */
template <typename T, int VECTOR>
static __global__ void __launch_bounds__(SQ_STEP_LANES *SQ_STEP_ROWS)
    sq_decay_step_kernel(sq_decay_params p)
{
    __shared__ float sums[SQ_STEP_ROWS][SQ_STEP_LANES * VECTOR];
    constexpr int width = SQ_STEP_LANES * VECTOR;
    const int blocks = (p.values + width - 1) / width;
    const int unit = (int)blockIdx.x / blocks, h = unit % p.heads, b = unit / p.heads;
    const int lane = (int)threadIdx.x % SQ_STEP_LANES, first = (int)threadIdx.x / SQ_STEP_LANES;
    const int start = (int)blockIdx.x % blocks * width, column = start + lane * VECTOR;
    const bool is_column = column < p.values;
    const sq_decay_head head = sq_decay_load_head(p, h);
    const sq_decay_step step = sq_decay_gate(p, head, sq_decay_dt<T>(p, b, 0, h));
    const float decay = sq_decay_factor(p, head, step);
    const T *q = sq_decay_at<T>(p.q, b, 0, h / p.heads_per_group);
    const T *k = sq_decay_at<T>(p.k, b, 0, h / p.heads_per_group);
    const T *v = sq_decay_at<T>(p.v, b, 0, h);
    float input[VECTOR], sum[VECTOR] = {0.0f};
#pragma unroll
    for (int e = 0; e < VECTOR; e++)
        input[e] = is_column ? step.weight * sq_to_f32(v[column + e]) : 0.0f;
#pragma unroll 4
    for (int n = first; n < p.keys && is_column; n += SQ_STEP_ROWS) {
        const float of_row =
            p.kind == SQ_DECAY_ROWS ? expf(sq_to_f32(sq_decay_at<T>(p.dt, b, 0, h)[n])) : decay;
        const float key = sq_to_f32(k[n]), query = sq_to_f32(q[n]);
        sq_step_columns<VECTOR> s = sq_step_load<VECTOR>(sq_decay_row(p.initial, b, h, n) + column);
#pragma unroll
        for (int e = 0; e < VECTOR; e++) {
            s.at[e] = of_row * s.at[e] + key * input[e];
            sum[e] += query * s.at[e];
        }
        sq_step_store<VECTOR>(sq_decay_row(p.final, b, h, n) + column, s);
    }
#pragma unroll
    for (int e = 0; e < VECTOR; e++)
        sums[first][lane * VECTOR + e] = sum[e];
    __syncthreads();
    const int own = (int)threadIdx.x;
    if (own >= width || start + own >= p.values)
        return;
    float total = 0.0f;
#pragma unroll
    for (int r = 0; r < SQ_STEP_ROWS; r++)
        total += sums[r][own];
    const float skip = sq_decay_skip(p, h, start + own);
    const float o =
        sq_decay_output_scale(p, head, b, h, 0) * total + skip * sq_to_f32(v[start + own]);
    ((T *)sq_decay_at<T>(p.o, b, 0, h))[start + own] =
        sq_from_f32<T>(sq_decay_gated<T>(p, b, 0, h, start + own, o));
}

static bool has_vectors(const sq_decay_params &p, const sq_decay_matrix &m)
{
    return p.values % 4 == 0 && (uintptr_t)m.data % 16 == 0 && m.batch % 4 == 0 &&
           m.head % 4 == 0 && m.row % 4 == 0;
}

sq_status sq_decay_step_launch(const sq_call *call, const sq_decay_params &p, sq_error *err)
{
    const bool is_wide = has_vectors(p, p.initial) && has_vectors(p, p.final);
    const int64_t blocks = sq_ceil_div(p.values, SQ_STEP_LANES * (is_wide ? 4 : 1));
    const unsigned grid = (unsigned)(blocks * p.heads * p.batch);
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        if (is_wide)
            sq_decay_step_kernel<T, 4>
                <<<grid, SQ_STEP_LANES * SQ_STEP_ROWS, 0, sq_stream(call)>>>(p);
        else
            sq_decay_step_kernel<T, 1>
                <<<grid, SQ_STEP_LANES * SQ_STEP_ROWS, 0, sq_stream(call)>>>(p);
        return sq_launched("step", err);
    });
}
