/* decay_naive: the recurrence as it is written, for any shape: one warp per column of the state,
 * its K rows spread over the lanes, one step after the other. The oracle on the GPU; slow.
 */
#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"

enum { SQ_NAIVE_ROWS = 16, SQ_NAIVE_MAX_KEYS = 32 * SQ_NAIVE_ROWS, SQ_NAIVE_WARPS = 8 };

template <typename T>
static __global__ void __launch_bounds__(32 * SQ_NAIVE_WARPS)
    sq_decay_naive_kernel(sq_decay_params p)
{
    const int blocks = (p.values + SQ_NAIVE_WARPS - 1) / SQ_NAIVE_WARPS;
    const int unit = (int)blockIdx.x / blocks, h = unit % p.heads, b = unit / p.heads;
    const int lane = (int)threadIdx.x % 32;
    const int column = (int)blockIdx.x % blocks * SQ_NAIVE_WARPS + (int)threadIdx.x / 32;
    if (column >= p.values)
        return;
    const sq_decay_head head = sq_decay_load_head(p, h);
    const float skip = sq_decay_skip(p, h, column);
    float state[SQ_NAIVE_ROWS] = {0.0f};
#pragma unroll
    for (int i = 0; i < SQ_NAIVE_ROWS; i++)
        if (p.initial.data && lane + 32 * i < p.keys)
            state[i] = sq_decay_row(p.initial, b, h, lane + 32 * i)[column];
    for (int t = 0; t < p.length; t++) {
        const T *q = sq_decay_at<T>(p.q, b, t, h / p.heads_per_group);
        const T *k = sq_decay_at<T>(p.k, b, t, h / p.heads_per_group);
        const float v = sq_to_f32(sq_decay_at<T>(p.v, b, t, h)[column]);
        const sq_decay_step step = sq_decay_gate(p, head, sq_decay_dt<T>(p, b, t, h));
        const float input = step.weight * v;
        const float decay = sq_decay_starts(p, b, t) ? 0.0f : sq_decay_factor(p, head, step);
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < SQ_NAIVE_ROWS; i++) {
            const int n = lane + 32 * i;
            if (n < p.keys) {
                const float of_row = p.kind == SQ_DECAY_ROWS
                                         ? expf(sq_to_f32(sq_decay_at<T>(p.dt, b, t, h)[n]))
                                         : decay;
                state[i] = of_row * state[i] + sq_to_f32(k[n]) * input;
                sum += sq_to_f32(q[n]) * state[i];
            }
        }
        sum = sq_warp_sum(sum);
        const float o = sq_decay_output_scale(p, head, b, h, t) * sum + skip * v;
        if (lane == 0)
            ((T *)sq_decay_at<T>(p.o, b, t, h))[column] =
                sq_from_f32<T>(sq_decay_gated<T>(p, b, t, h, column, o));
    }
#pragma unroll
    for (int i = 0; i < SQ_NAIVE_ROWS; i++)
        if (p.final.data && lane + 32 * i < p.keys)
            sq_decay_row(p.final, b, h, lane + 32 * i)[column] = state[i];
}

sq_status sq_decay_naive_supports(const sq_call *call, const sq_decay_params &p,
                                  const sq_device *device, sq_error *why)
{
    (void)device;
    SQ_TRY(sq_supports_types(call, why));
    if (p.chunk != 0 && call->pass != SQ_PASS_STEP)
        return sq_fail(why, SQ_UNSUPPORTED, "goes step by step: chunk=0 only");
    if (p.keys > SQ_NAIVE_MAX_KEYS)
        return sq_fail(why, SQ_UNSUPPORTED, "%d state rows: at most %d", p.keys, SQ_NAIVE_MAX_KEYS);
    SQ_TRY(sq_decay_supports_gamma(p, why));
    return sq_decay_supports_grid(p, why);
}

sq_status sq_decay_naive_launch(const sq_call *call, const sq_decay_params &p, sq_error *err)
{
    const int64_t blocks = sq_ceil_div(p.values, SQ_NAIVE_WARPS);
    const unsigned grid = (unsigned)(blocks * p.heads * p.batch);
    return sq_with_type(call->dtype, err, [&](auto type) {
        sq_decay_naive_kernel<decltype(type)><<<grid, 32 * SQ_NAIVE_WARPS, 0, sq_stream(call)>>>(p);
        return sq_launched("recurrence", err);
    });
}
