/* selective_scan on CUDA. The operator: selective_scan.c.
 *
 *   cuda/naive      one thread per (batch row, channel), serial in time: to be read and trusted;
 *                   bwd: naive_bwd.cuh
 *   cuda/portable   the same recurrence, its states spread over the lanes of a warp, everything
 *                   else moved out of it (up to 16 states: to other warps); segments of L in
 *                   parallel where there are few channels
 *
 * Limits: one ex2 per state and step (16 a clock and SM), then the FP32 pipe, then bandwidth.
 */
#include <cuda_runtime.h>

#include <type_traits>

#include "kernels/op.h"
#include "kernels/selective_scan/naive_bwd.cuh"
#include "kernels/selective_scan/scan_backward.cuh"
#include "kernels/selective_scan/scan_split.cuh"
#include "kernels/selective_scan/scan_step.cuh"
#include "kernels/selective_scan/scan_tile.cuh"

namespace
{

using namespace sq_selective_scan;

/* --- naive --- */

/* Row (b, t, g) of B or C; constant in time: of channel d, in f32. */
template <typename T>
struct naive_row {
    const T *varying;
    const float *constant;

    __device__ naive_row(const projection<const T> &p, const constant_rows &rows, int64_t b,
                         int64_t t, int64_t g, int64_t d)
        : varying(p.data + b * p.stride_b + t * p.stride_t + g * p.stride_g),
          constant(rows.data ? rows.row(d) : nullptr)
    {
    }
    __device__ float operator[](int n) const
    {
        return constant ? constant[n] : sq_to_f32(varying[n]);
    }
};

template <typename T, int MAX_STATES>
__global__ void scan_naive(scan_args<T> p)
{
    int64_t d = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y;
    if (d >= p.channels)
        return;
    int64_t g = d / (p.channels / p.groups);
    const float *a_d = p.a + d * p.a_stride;
    float h[MAX_STATES] = {}; /* registers up to 16 states, local memory above */
    if (p.initial)
#pragma unroll(MAX_STATES <= 16 ? MAX_STATES : 1)
        for (int n = 0; n < MAX_STATES; n++)
            if (n < p.states)
                h[n] = p.initial[b * p.initial_stride_b + d * p.initial_stride_d + n];
    for (int64_t t = 0; t < p.length; t++) {
        const naive_row<T> b_t(p.b, p.const_b, b, t, g, d), c_t(p.c, p.const_c, b, t, g, d);
        float u = sq_to_f32(p.u.data[b * p.u.stride_b + t * p.u.stride_t + d]);
        float delta = sq_to_f32(p.delta.data[b * p.delta.stride_b + t * p.delta.stride_t + d]);
        if (p.bias)
            delta += p.bias[d];
        if (p.has_softplus)
            delta = delta > 20.0f ? delta : log1pf(expf(delta));
        float y = p.skip ? p.skip[d] * u : 0.0f;
#pragma unroll(MAX_STATES <= 16 ? MAX_STATES : 1)
        for (int n = 0; n < MAX_STATES; n++) {
            if (n >= p.states)
                break;
            h[n] = expf(delta * a_d[n]) * h[n] + delta * u * b_t[n];
            y += c_t[n] * h[n];
        }
        if (p.z.data) {
            float z = sq_to_f32(p.z.data[b * p.z.stride_b + t * p.z.stride_t + d]);
            y *= z / (1.0f + expf(-z));
        }
        p.y.data[b * p.y.stride_b + t * p.y.stride_t + d] = sq_from_f32<T>(y);
    }
    if (p.final)
#pragma unroll(MAX_STATES <= 16 ? MAX_STATES : 1)
        for (int n = 0; n < MAX_STATES; n++)
            if (n < p.states)
                p.final[b * p.final_stride_b + d * p.final_stride_d + n] = h[n];
}

sq_status supports_any(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)device;
    if (call->in[IN_U].dim[0] > 65535)
        return sq_fail(why, SQ_UNSUPPORTED, "B > 65535: the batch is a grid dimension");
    return sq_supports_types(call, why);
}

sq_status launch_naive(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        if (call->pass == SQ_PASS_BWD)
            return naive_backward<T>(call, err);
        scan_args<T> args = forward_args_of<T>(call);
        dim3 grid((unsigned)sq_ceil_div(args.channels, 64), (unsigned)args.batch);
        if (args.states <= 16)
            scan_naive<T, 16><<<grid, 64, 0, sq_stream(call)>>>(args);
        else
            scan_naive<T, 256><<<grid, 64, 0, sq_stream(call)>>>(args);
        return sq_launched("selective_scan naive", err);
    });
}

/* --- portable --- */

/* Grid: (tiles of channels in all groups, runs, B). STATE_ONLY: pass 1, segments for runs. CONSTANT: B or
 * C or both are constant in time, and lie in registers. */
template <typename T, typename C, bool STATE_ONLY, bool CONSTANT>
__global__ void __launch_bounds__(C::THREADS, C::BLOCKS) scan_portable(scan_args<T> p, segments s)
{
    extern __shared__ uint4 shared_memory[];
    sq_chain_begin_next();
    auto *tiles = (shared_tiles<T, C> *)shared_memory;
    const block_part part = part_of<C, STATE_ONLY>(p, s);
    const pair_of_channels<C> pair(p, part);
    lane_states<C, CONSTANT> own;
    own.lane = (int)threadIdx.x % C::LANES;
    own.channel = (int)threadIdx.x / C::LANES;
    own.sum = 0;
    const int64_t d = part.d0 + own.channel;
    const int64_t row = row_of<STATE_ONLY>(s, part.b);
    const bool is_owner = own.channel < part.channels;
#pragma unroll
    for (int i = 0; i < C::PER_LANE; i++) {
        const int64_t n = own.state(i);
        own.a[i] = n < p.states && is_owner ? p.a[d * p.a_stride + n] * SQ_LOG2E : 0.0f;
        own.h[i] = 0.0f;
    }
    if constexpr (CONSTANT) {
        own.load_constants(p, d, is_owner);
    }
    sq_chain_wait(); /* for the states of segments */
    if (blockIdx.y == 0 && p.initial && is_owner)
        own.load_state(p.initial + part.b * p.initial_stride_b + d * p.initial_stride_d, p.states);
    else if (!STATE_ONLY && blockIdx.y > 0 && is_owner)
        own.load_state(&s.state[(row * p.channels + d) * p.states], p.states);

    const int64_t n_tiles = (part.steps + C::STEPS - 1) / C::STEPS;
    copy_tile<C, STATE_ONLY, CONSTANT>(&tiles->raw[0], p, part, 0);
    sq_copy_commit();
    for (int64_t tile = 0; tile < n_tiles; tile++) {
        sq_copy_wait<0>();
        __syncthreads(); /* and everyone is done with the previous tile */
        const raw_tile<T, C> &raw = tiles->raw[tile & 1];
        if (tile + 1 < n_tiles)
            copy_tile<C, STATE_ONLY, CONSTANT>(&tiles->raw[(tile + 1) & 1], p, part, tile + 1);
        sq_copy_commit();
        prepare<C, STATE_ONLY>(tiles, raw, pair,
                               (int)min((int64_t)C::STEPS, part.steps - tile * C::STEPS),
                               p.has_softplus);
        __syncthreads();
        scan_tile<C, STATE_ONLY, CONSTANT>(tiles, &own);
        if constexpr (!STATE_ONLY) {
            const int64_t done = part.t0 + (tile + 1) * C::STEPS;
            if (p.saved && is_owner && done % BORDER == 0 && done < p.length)
                own.store_state(p.saved_row(part.b, done / BORDER - 1, d), p.states);
            __syncthreads();
            finish<C>(tiles, raw, p, part, pair, tile);
        }
    }
    if constexpr (STATE_ONLY) {
        if (is_owner)
            own.store_state(&s.state[(row * p.channels + d) * p.states], p.states);
        if (is_owner && own.lane == 0)
            s.sum[row * p.channels + d] = own.sum;
    } else if (p.final && blockIdx.y == gridDim.y - 1 && is_owner) {
        own.store_state(p.final + part.b * p.final_stride_b + d * p.final_stride_d, p.states);
    }
}

/* Pass 2: h_s = exp(A sum_s) h_{s-1} + local_s, in place. Grid: (D N / 32, B). A warp has 32 states in
 * CARRY_AHEAD segments, the block's warps segments one behind the other, in turn until all are done:
 * their reads are all under way at once. What enters a warp's segments is what the warps before it
 * make of the state. */
enum { CARRY_AHEAD = 8, CARRY_WARPS = 16 };

__global__ void __launch_bounds__(CARRY_WARPS * 32)
    carry_states(segments s, const float *a, int64_t a_stride, int64_t channels, int64_t states)
{
    __shared__ float made[CARRY_WARPS][32], kept[CARRY_WARPS][32];
    sq_chain_begin_next();
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int warps = (int)blockDim.x / 32;
    const int64_t i = (int64_t)blockIdx.x * 32 + lane, all = channels * states;
    const int64_t d = min(i, all - 1) / states, count = i < all ? s.count() : 0;
    const float rate = a[d * a_stride + i % states] * SQ_LOG2E;
    float *state = s.state + (int64_t)blockIdx.y * s.count() * all + i;
    const float *sum = s.sum + (int64_t)blockIdx.y * s.count() * channels + d;
    float h = 0; /* before this turn */
    sq_chain_wait();
    for (int64_t turn = 0; turn < s.count(); turn += warps * CARRY_AHEAD) {
        const int64_t first = turn + warp * CARRY_AHEAD;
        float local[CARRY_AHEAD], decay[CARRY_AHEAD], own = 0, share = 1;
#pragma unroll
        for (int k = 0; k < CARRY_AHEAD; k++) {
            local[k] = first + k < count ? state[(first + k) * all] : 0.0f;
            decay[k] = first + k < count ? sq_exp2(rate * sum[(first + k) * channels]) : 1.0f;
        }
#pragma unroll
        for (int k = 0; k < CARRY_AHEAD; k++) {
            own = fmaf(decay[k], own, local[k]);
            share *= decay[k];
        }
        made[warp][lane] = own;
        kept[warp][lane] = share;
        __syncthreads();
        float now = h;
        for (int of = 0; of < warps; of++) {
            now = of == warp ? h : now;
            h = fmaf(kept[of][lane], h, made[of][lane]);
        }
#pragma unroll
        for (int k = 0; k < CARRY_AHEAD; k++) {
            now = fmaf(decay[k], now, local[k]);
            if (first + k < count)
                state[(first + k) * all] = now;
        }
        __syncthreads(); /* before the next turn's are put there */
    }
}

/* Blocks of one run: tiles of channels, in every group, in every batch row. */
template <typename C>
int64_t blocks_of(const sq_call *call)
{
    const int64_t groups = groups_of(call), *dim = call->in[IN_U].dim;
    return dim[0] * groups * sq_ceil_div(dim[2] / groups, C::CHANNELS);
}

/* Up to 16 states. */
sq_split_plan split_plan_of(const sq_call *call)
{
    const int64_t tiles = sq_ceil_div(call->in[IN_U].dim[1], tiling_split<1>::STEPS);
    return sq_split_choose(blocks_of<tiling_split<1>>(call), blocks_of<tiling_split<2>>(call),
                           tiles);
}

/* Two of them are enough for B or C constant in time. */
template <typename F>
auto with_tiling(const sq_call *call, F f)
{
    const int64_t states = call->in[IN_A].dim[1];
    if (has_constants(call))
        return states <= tiling_16::STATES ? f(tiling_16{}) : f(tiling_256{});
    if (states <= tiling_split<1>::STATES)
        return split_plan_of(call).shares == 1 ? f(tiling_split<1>{}) : f(tiling_split<2>{});
    return states <= tiling_64::STATES ? f(tiling_64{}) : f(tiling_256{});
}

sq_status supports_portable(const sq_call *call, const sq_device *device, sq_error *why)
{
    SQ_TRY(supports_any(call, device, why));
    if (call->pass == SQ_PASS_BWD)
        return sq_supports_shared(
            device, back_shared_bytes(sq_ceil_div(call->in[IN_A].dim[1], back::STATES)), why);
    return sq_with_type(call->dtype, why, [&](auto element) {
        using T = decltype(element);
        return with_tiling(call, [&](auto c) {
            return sq_supports_shared(device, sizeof(typename decltype(c)::template shared<T>),
                                      why);
        });
    });
}

template <typename C>
constexpr bool is_split = false;
template <int SHARES>
constexpr bool is_split<tiling_split<SHARES>> = true;

/* More than 16 states: passes 1 and 2 nearly double the work, so L is cut only where its blocks would
 * leave most of the device idle, and then into at least two; never with B or C constant in time, for
 * which there is no pass 1. */
template <typename C>
segments segments_of_tiling(const sq_call *call)
{
    const int64_t least_tiles = 4, length = call->in[IN_U].dim[1];
    const int64_t blocks = blocks_of<C>(call), tiles = sq_ceil_div(length, C::STEPS);
    segments s = {1, 1, tiles * C::STEPS, NULL, NULL};
    const int64_t most = tiles / least_tiles;
    if (blocks >= C::FEW_BLOCKS || most < 4 || has_constants(call))
        return s;
    const int64_t count = min(most, max((int64_t)2, C::MANY_BLOCKS / blocks));
    s.steps = sq_ceil_div(tiles, count) * C::STEPS;
    s.runs = sq_ceil_div(length, s.steps);
    return s;
}

/* The same on every device: so is the workspace. */
segments segments_of(const sq_call *call)
{
    return with_tiling(call, [&](auto c) {
        using C = decltype(c);
        if constexpr (is_split<C>) {
            const sq_split_plan plan = split_plan_of(call);
            return segments{plan.runs, plan.merged, plan.tiles * C::STEPS, NULL, NULL};
        } else {
            return segments_of_tiling<C>(call);
        }
    });
}

size_t workspace_portable(const sq_call *call)
{
    const int64_t *dim = call->in[IN_U].dim;
    if (call->pass == SQ_PASS_BWD)
        return back_workspace(call);
    if (call->pass == SQ_PASS_STEP)
        return 0;
    const int64_t rows = dim[0] * segments_of(call).count() * dim[2];
    return (size_t)(rows * (call->in[IN_A].dim[1] + 1)) * sizeof(float);
}

size_t saved_portable(const sq_call *forward)
{
    const int64_t *dim = forward->in[IN_U].dim, borders = (dim[1] - 1) / BORDER;
    return (size_t)(dim[0] * borders * dim[2] * forward->in[IN_A].dim[1]) * sizeof(float);
}

template <typename T, typename C, bool STATE_ONLY, bool CONSTANT>
auto kernel_of()
{
    if constexpr (is_split<C>)
        return scan_split<T, C::SHARES, STATE_ONLY>;
    else
        return scan_portable<T, C, STATE_ONLY, CONSTANT>;
}

template <typename T, typename C, bool STATE_ONLY, bool CONSTANT>
sq_status launch_scan(const sq_call *call, const scan_args<T> &args, const segments &s,
                      sq_error *err)
{
    const size_t bytes = sizeof(typename C::template shared<T>);
    const auto kernel = kernel_of<T, C, STATE_ONLY, CONSTANT>();
    const dim3 blocks((unsigned)(blocks_of<C>(call) / args.batch),
                      (unsigned)(STATE_ONLY ? s.count() : s.runs), (unsigned)args.batch);
    const sq_grid grid = {blocks, C::THREADS, bytes, !STATE_ONLY && s.runs > 1};
    SQ_TRY(sq_allow_shared(kernel, bytes, err));
    return sq_launch_chained(call, grid,
                             STATE_ONLY ? "selective_scan pass 1" : "selective_scan portable", err,
                             kernel, args, s);
}

/* Passes 1 and 2. */
template <typename T, typename C>
sq_status launch_carry(const sq_call *call, const scan_args<T> &args, const segments &s,
                       sq_error *err)
{
    SQ_TRY((launch_scan<T, C, true, false>(call, args, s, err)));
    const int64_t warps = min((int64_t)CARRY_WARPS, sq_ceil_div(s.count(), CARRY_AHEAD));
    const int64_t blocks = sq_ceil_div(args.channels * args.states, 32);
    const sq_grid grid = {dim3((unsigned)blocks, (unsigned)args.batch), (int)warps * 32, 0, true};
    return sq_launch_chained(call, grid, "selective_scan pass 2", err, carry_states, s, args.a,
                             args.a_stride, args.channels, args.states);
}

template <typename T, typename C>
sq_status launch_passes(const sq_call *call, const scan_args<T> &args, const segments &s,
                        sq_error *err)
{
    if constexpr (!std::is_same<C, tiling_split<2>>::value) { /* which has one run always */
        if (s.runs > 1)
            SQ_TRY((launch_carry<T, C>(call, args, s, err)));
    }
    return launch_scan<T, C, false, false>(call, args, s, err);
}

template <typename T>
sq_status launch_forward(const sq_call *call, sq_error *err)
{
    segments s = segments_of(call);
    const int64_t *dim = call->in[IN_U].dim, states = call->in[IN_A].dim[1];
    s.state = (float *)call->workspace;
    s.sum = s.state + dim[0] * s.count() * dim[2] * states;
    return with_tiling(call, [&](auto c) {
        using C = decltype(c);
        const scan_args<T> args = forward_args_of<T>(call);
        if constexpr (std::is_same<C, tiling_16>::value) {
            return launch_scan<T, C, false, true>(call, args, s, err);
        } else {
            if constexpr (std::is_same<C, tiling_256>::value) {
                if (has_constants(call))
                    return launch_scan<T, C, false, true>(call, args, s, err);
            }
            return launch_passes<T, C>(call, args, s, err);
        }
    });
}

sq_status launch_portable(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        if (call->pass == SQ_PASS_BWD)
            return launch_back<T>(call, args_of<T>(call), err);
        if (call->pass == SQ_PASS_STEP)
            return launch_step<T>(call, forward_args_of<T>(call), err);
        return launch_forward<T>(call, err);
    });
}

} // namespace

extern "C" const sq_provider sq_cuda_selective_scan[] = {
    {"cuda/naive", "one thread per channel, serial in time; bwd: per state, then per element",
     supports_any, naive_workspace, NULL, launch_naive, NULL, SQ_HAS_BWD | SQ_HAS_STEP},
    {"cuda/portable",
     "states over lanes, warps that feed them, segments of L where channels are few",
     supports_portable, workspace_portable, NULL, launch_portable, NULL, SQ_HAS_BWD | SQ_HAS_STEP,
     saved_portable},
    {NULL},
};
