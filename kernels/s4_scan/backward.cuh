/* backward: pass bwd of s4_scan on the device (s4_scan_bwd.c). Included by s4_scan.cu alone.
 *
 * A warp has a channel of a sequence, as in pass fwd, and walks L backwards by chunks of BORDER
 * steps from the states that pass fwd left at the borders: once forward through a chunk, keeping
 * every SUB-th state in shared memory, then back by SUB steps, whose states are made once more in
 * registers. With X the gradient of x_t (also by y_t), of one step (k = p* x, s = M^-1 p* w)
 *
 *   R = 0   x' = z x + g u:  dz += conj(x) X   dg += u X   du = Re sum conj(g) X   X := conj(z) X
 *   R > 0   x' = w - h r p s:                ds = -Re sum conj(h r p) X   d(h r p) -= s X
 *           s = M^-1 p* w:   dq = M^-T ds    dM -= dq s^T    dp += 2 dq w    W = X + 2 dq p
 *           w = z x + g u - h r p k:         as above with W for X;  dk = -Re sum conj(h r p) W
 *           k = p* x:        d(h r p) -= k W    dp += 2 dk x    X := conj(z) W + 2 dk p
 *
 * Sums over steps are of f32 within a chunk and of f64 over chunks. At its end the warp turns them
 * into gradients of the parameters, which are linear in them, in f64 (parameter_sums.cuh). Rows
 * of a channel, and of the channels that share a state space, are added in a fixed order.
 */
#ifndef SQ_KERNELS_S4_SCAN_BACKWARD_CUH
#define SQ_KERNELS_S4_SCAN_BACKWARD_CUH

#include <type_traits>

#include "kernels/s4_scan/parameter_sums.cuh"

namespace sq_s4_scan
{

enum { SUB = 8, SUBS = BORDER / SUB, MOST_PARTS = 64 };

__device__ inline void add_pair(double2 *to, float2 x)
{
    to->x += x.x;
    to->y += x.y;
}

template <int MODES, int RANK>
__device__ void add_sums(step_sums<double, double2, MODES, RANK> *to,
                         const step_sums<float, float2, MODES, RANK> &x)
{
#pragma unroll
    for (int i = 0; i < MODES; i++) {
        add_pair(&to->z[i], x.z[i]);
        add_pair(&to->g[i], x.g[i]);
        add_pair(&to->c[i], x.c[i]);
        for (int k = 0; k < RANK; k++) {
            add_pair(&to->p[i][k], x.p[i][k]);
            add_pair(&to->hrp[i][k], x.hrp[i][k]);
        }
    }
    for (int j = 0; j < RANK; j++)
        for (int k = 0; k < RANK; k++)
            to->m[j][k] += x.m[j][k];
    to->skip += x.skip;
}

/* The correction turned round: X becomes W. */
template <int MODES, int RANK>
__device__ void correction_back(const lane_modes<MODES, RANK> &own, const float2 (&w)[MODES],
                                float2 (&dx)[MODES], step_sums<float, float2, MODES, RANK> *sums)
{
    constexpr int COLUMNS = lane_modes<MODES, RANK>::COLUMNS;
    float s[COLUMNS], ds[COLUMNS];
    own.solve(w, s);
    for (int j = 0; j < RANK; j++) {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            sum -= inner(own.hrp[i][j], dx[i]);
            sums->hrp[i][j] = add_scaled(sums->hrp[i][j], -s[j], dx[i]);
        }
        ds[j] = sq_warp_sum(sum);
    }
    for (int k = 0; k < RANK; k++) {
        float dq = 0;
        for (int j = 0; j < RANK; j++)
            dq = fmaf(own.inverse[j][k], ds[j], dq);
        for (int j = 0; j < RANK; j++)
            sums->m[k][j] = fmaf(-dq, s[j], sums->m[k][j]);
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            sums->p[i][k] = add_scaled(sums->p[i][k], 2 * dq, w[i]);
            dx[i] = add_scaled(dx[i], 2 * dq, own.p[i][k]);
        }
    }
}

/* One step back: own.x is the state before it, `after` the one behind it, dx the gradient of
 * `after` and then that of own.x. Returns du without the skip. */
template <int MODES, int RANK>
__device__ float step_back(const lane_modes<MODES, RANK> &own, float u, float dy,
                           const float2 (&after)[MODES], float2 (&dx)[MODES],
                           step_sums<float, float2, MODES, RANK> *sums)
{
    constexpr int COLUMNS = lane_modes<MODES, RANK>::COLUMNS;
    float before[COLUMNS], du = 0;
#pragma unroll
    for (int i = 0; i < MODES; i++) {
        const float2 by_y = make_float2(after[i].x, -after[i].y);
        sums->c[i] = add_scaled(sums->c[i], 2 * dy, by_y);
        dx[i] = add_scaled(dx[i], 2 * dy, make_float2(own.c[i].x, -own.c[i].y));
    }
    sums->skip = fmaf(dy, u, sums->skip);
    if constexpr (RANK > 0) {
        float2 w[MODES];
        own.advance(u, w, before);
        correction_back(own, w, dx, sums);
    }
    float dk[COLUMNS];
    for (int k = 0; k < RANK; k++) {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            sum -= inner(own.hrp[i][k], dx[i]);
            sums->hrp[i][k] = add_scaled(sums->hrp[i][k], -before[k], dx[i]);
        }
        dk[k] = sq_warp_sum(sum);
    }
#pragma unroll
    for (int i = 0; i < MODES; i++) {
        sums->z[i] = conj_mul_add(sums->z[i], own.x[i], dx[i]);
        sums->g[i] = add_scaled(sums->g[i], u, dx[i]);
        du += inner(own.g[i], dx[i]);
        dx[i] = conj_mul_add(dx[i], own.z[i], dx[i]);
        for (int k = 0; k < RANK; k++) {
            sums->p[i][k] = add_scaled(sums->p[i][k], 2 * dk[k], own.x[i]);
            dx[i] = add_scaled(dx[i], 2 * dk[k], own.p[i][k]);
        }
    }
    return sq_warp_sum(du);
}

/* What a lane has of the sequences of a chunk: steps `lane` and AHEAD + lane. */
struct lane_chunk {
    float u[2], dy[2], du[2];

    __device__ void load(const backward_args &p, int64_t b, int64_t t0, int64_t d)
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int64_t t = t0 + half * AHEAD + threadIdx.x % 32;
            const bool is_inside = t < p.q.length;
            u[half] = is_inside ? p.u.load(b, t, d) : 0.0f;
            dy[half] = is_inside ? p.dy.load(b, t, d) : 0.0f;
        }
    }
    __device__ void store(const backward_args &p, int64_t b, int64_t t0, int64_t d) const
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int64_t t = t0 + half * AHEAD + threadIdx.x % 32;
            if (t < p.q.length)
                p.du.store(b, t, d, du[half]);
        }
    }

    /* Of any step of the chunk; all lanes must ask for the same. */
    __device__ static float of(const float (&x)[2], int step)
    {
        return __shfl_sync(0xffffffffu, step < AHEAD ? x[0] : x[1], step % AHEAD);
    }
    __device__ void put_du(int step, float value)
    {
        const bool is_mine = (int)threadIdx.x % 32 == step % AHEAD;
        du[0] = is_mine && step < AHEAD ? value : du[0];
        du[1] = is_mine && step >= AHEAD ? value : du[1];
    }
};

/* SUB steps of a chunk, of which `steps` are there, back from their border in own->x. */
template <int MODES, int RANK>
__device__ void sub_back(lane_modes<MODES, RANK> *own, lane_chunk *chunk, int first, int steps,
                         float skip, float2 (&dx)[MODES],
                         step_sums<float, float2, MODES, RANK> *sums)
{
    float2 x[SUB + 1][MODES]; /* x[k]: before step first + k */
#pragma unroll
    for (int k = 0; k <= SUB; k++) {
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            x[k][i] = own->x[i];
        }
        if (k < SUB && first + k < steps)
            own->step(lane_chunk::of(chunk->u, first + k));
    }
#pragma unroll
    for (int k = SUB - 1; k >= 0; k--) {
        if (first + k >= steps)
            continue;
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            own->x[i] = x[k][i];
        }
        const float u = lane_chunk::of(chunk->u, first + k);
        const float dy = lane_chunk::of(chunk->dy, first + k);
        const float du = step_back(*own, u, dy, x[k + 1], dx, sums);
        chunk->put_du(first + k, fmaf(skip, dy, du));
    }
}

template <int MODES, int RANK>
__global__ void __launch_bounds__(THREADS) scan_back(backward_args p)
{
    __shared__ float2 border[WARPS][SUBS][MODES][32];
    const parameters &q = p.q;
    const int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    const int64_t batch = row / q.channels, d = row % q.channels;
    const int lane = threadIdx.x % 32;
    if (batch >= q.batch)
        return;
    float2(*mine)[MODES][32] = border[threadIdx.x / 32]; /* a lane reads its own alone */
    const float skip = q.in.skip[d * q.in.skip_stride];
    lane_modes<MODES, RANK> own;
    float2 dx[MODES];
    own.read(q, d);
    own.load_states(p.dfinal.data ? p.dfinal.at(batch, d, 0) : nullptr, p.dfinal.stride_n, q.count);
#pragma unroll
    for (int i = 0; i < MODES; i++)
        dx[i] = own.x[i];
    step_sums<double, double2, MODES, RANK> sums = {};
    for (int64_t at = (q.length - 1) / BORDER; at >= 0; at--) {
        const int steps = (int)min((int64_t)BORDER, q.length - at * BORDER);
        const int last = (steps - 1) / SUB;
        lane_chunk chunk = {};
        step_sums<float, float2, MODES, RANK> of_chunk = {};
        chunk.load(p, batch, at * BORDER, d);
        if (at > 0)
            own.load_states((const float *)q.saved_row(batch, d, at - 1), 2, q.count);
        else
            own.load_states(q.initial.data ? q.initial.at(batch, d, 0) : nullptr,
                            q.initial.stride_n, q.count);
        for (int sub = 0; sub <= last; sub++) {
#pragma unroll
            for (int i = 0; i < MODES; i++)
                mine[sub][i][lane] = own.x[i];
            for (int k = 0; k < SUB && sub < last; k++)
                own.step(lane_chunk::of(chunk.u, sub * SUB + k));
        }
        for (int sub = last; sub >= 0; sub--) {
#pragma unroll
            for (int i = 0; i < MODES; i++)
                own.x[i] = mine[sub][i][lane];
            sub_back(&own, &chunk, sub * SUB, steps, skip, dx, &of_chunk);
        }
        chunk.store(p, batch, at * BORDER, d);
        add_sums(&sums, of_chunk);
    }
#pragma unroll
    for (int i = 0; i < MODES; i++)
        own.x[i] = dx[i];
    if (p.dinitial.data)
        own.store_states(p.dinitial.at(batch, d, 0), p.dinitial.stride_n, q.count);
    put_row(p, row, sums);
}

/* --- host --- */

/* Calls f with the modes a lane has and the rank, as types. */
template <typename F>
sq_status with_modes(const sq_call *call, F f)
{
    using one = std::integral_constant<int, 1>;
    const auto by_rank = [&](auto modes) {
        switch ((int)call->axis[AXIS_R]) {
        case 0:
            return f(modes, std::integral_constant<int, 0>{});
        case 1:
            return f(modes, one{});
        default:
            return f(modes, std::integral_constant<int, 2>{});
        }
    };
    return call->in[IN_C].dim[1] <= 32 ? by_rank(one{}) : by_rank(std::integral_constant<int, 4>{});
}

/* Enough blocks for the device where many rows make one. */
inline int parts_for(int64_t rows)
{
    return (int)max((int64_t)1, min(rows / (4 * SUM_ROWS), (int64_t)MOST_PARTS));
}

/* Lays the workspace out from `memory` on; returns its bytes. */
inline size_t backward_place(const sq_call *call, backward_args *args, double *memory)
{
    const int64_t *dim = call->in[IN_U].dim, rows = dim[0] * dim[2];
    const int64_t copies = call->in[IN_A_REAL].dim[0];
    args->row = row_layout_of(call);
    args->channel_count = parts_for(dim[0]);
    args->space_count = parts_for(rows / copies);
    args->channel_rows = memory;
    args->space_rows = args->channel_rows + rows * args->row.channel;
    args->channel_parts = args->space_rows + rows * args->row.space;
    args->space_parts = args->channel_parts + args->channel_count * dim[2] * args->row.channel;
    const int64_t parts = args->channel_count * dim[2] * args->row.channel +
                          args->space_count * copies * args->row.space;
    return (size_t)(rows * (args->row.channel + args->row.space) + parts) * sizeof(double);
}

inline size_t backward_workspace(const sq_call *call)
{
    backward_args args = {};
    return backward_place(call, &args, NULL);
}

inline backward_args backward_args_of(const sq_call *call)
{
    backward_args args = backward_tensors_of(call);
    backward_place(call, &args, (double *)call->workspace);
    return args;
}

inline sq_status launch_sums(const sq_call *call, const double *rows, int elements, int64_t copies,
                             double *parts, int count, sq_error *err)
{
    const int64_t *dim = call->in[IN_U].dim;
    const dim3 grid((unsigned)(copies * sq_ceil_div(elements, 32)), (unsigned)count);
    sum_rows<<<grid, 32 * SUM_ROWS, 0, sq_stream(call)>>>(rows, elements, dim[0], dim[2], copies,
                                                          parts);
    return sq_launched("s4_scan bwd sums", err);
}

inline sq_status launch_backward(const sq_call *call, sq_error *err)
{
    const backward_args args = backward_args_of(call);
    const parameters &q = args.q;
    const unsigned blocks = (unsigned)sq_ceil_div(q.batch * q.channels, WARPS);
    SQ_TRY(with_modes(call, [&](auto modes, auto rank) {
        scan_back<decltype(modes)::value, decltype(rank)::value>
            <<<blocks, THREADS, 0, sq_stream(call)>>>(args);
        return sq_launched("s4_scan bwd", err);
    }));
    SQ_TRY(launch_sums(call, args.channel_rows, args.row.channel, q.channels, args.channel_parts,
                       args.channel_count, err));
    SQ_TRY(launch_sums(call, args.space_rows, args.row.space, q.copies, args.space_parts,
                       args.space_count, err));
    return launch_puts(call, args, err);
}

} // namespace sq_s4_scan

#endif
