/* scan_backward: pass bwd of selective_scan's cuda/portable. Included by selective_scan.cu alone.
 * The equations, and their letters: selective_scan_bwd.c.
 *
 * Pass fwd leaves the state at every BORDER-th step. A block owns some tiles of CHANNELS channels
 * of one group in one batch row and walks L backwards by chunks of BORDER steps, and in a chunk
 * over its tiles:
 *
 *   prepare   (d_t, d_t u_t) and e_t, every element once
 *   forward   the states once more from the chunk's border; every SUB-th stays in shared memory
 *   backward  by SUB steps: their states and decays into registers, then the steps in reverse;
 *             LANES lanes hold the states of PAIR channels, so that half of the sum over channels
 *             is within a lane, and a warp has eight chains to go on with
 *   finish    du, ddelta, dz from sums over the states; sums over steps for dD and ddelta_bias
 *
 * STATES states at a time: more are further slices of them, each with a walk of its own.
 * Segments of L side by side where there are few channels: pass 1 (scan_back_carried) takes the
 * gradient of the state through every segment but the first, from zero; pass 2 (scan_back_carry)
 * adds what comes from behind the segment; pass 3 is the whole walk, every segment from there.
 *
 * What sums over blocks goes to the workspace and is added in a fixed order: dB and dC by part of
 * the channels (scan_back_projections), dA, dD and ddelta_bias by segment (scan_back_parameters).
 * The gradient of the state between chunks lies there too; nobody but its block reads it. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SCAN_BACKWARD_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_SCAN_BACKWARD_CUH

#include "kernels/hw/launch.cuh"
#include "kernels/selective_scan/back_finish.cuh"
#include "kernels/selective_scan/back_tile.cuh"

namespace sq_selective_scan
{

/* Grid: (parts of the tiles in all groups, B, segments). CONSTANT: B or C or both are constant in
 * time; their gradients are sums over steps like dA. */
template <typename T, bool CONSTANT>
__global__ void __launch_bounds__(back::THREADS, back::BLOCKS) scan_back(back_args<T> p)
{
    extern __shared__ uint4 shared_memory[];
    back_shared *s = (back_shared *)shared_memory;
    const back_totals totals =
        p.slices == 1
            ? back_totals{&s->step[0][0], &s->e[0][0]}
            : back_totals{(float2 *)(s + 1), (float *)(s + 1) + 2 * BORDER * back::CHANNELS};
    back_part part(p, blockIdx.z);
    for (int64_t chunk = part.end_chunk - 1; chunk >= part.first_chunk; chunk--) {
        part.take_chunk(p, chunk);
        for (int64_t tile = 0; tile < p.part_tiles && part.take_tile(p, tile); tile++) {
            for (int64_t slice = 0; slice < p.slices; slice++) {
                back_lane<CONSTANT> own(part, slice, p.f.states, p.is_quad);
                own.begin(p, part); /* on its way while the elements are prepared */
                const back_projections<T> projections(p.f, part, slice);
                if (slice == 0)
                    back_prepare(s, p, part);
                projections.store(s);
                __syncthreads();
                own.scale_decays();
                back_walk(s, &own, totals, slice == 0);
                own.end(p, part);
                __syncthreads();
                back_add_projections(s, p, part, slice, tile == 0);
            }
            back_finish(s, p, part, totals);
            __syncthreads();
            back_add_channels(*s, p, part);
        }
    }
}

/* Pass 1. One slice through the segment: the gradient of the state alone. */
template <typename T>
__device__ __forceinline__ void back_carry_slice(back_shared *s, const back_args<T> &p,
                                                 back_part *part, int64_t slice)
{
    back_lane<false> own(*part, slice, p.f.states, p.is_quad);
    const int64_t d = part->d0 + own.channel;
    const bool is_last = part->segment == p.segments - 1;
    float sum[2] = {0.0f, 0.0f};
    own.load(own.a, {p.f.a + d * p.f.a_stride, p.f.a_stride});
    own.scale_decays();
    own.load(own.carried, is_last ? back_arriving(p, *part, d) : back_rows{nullptr, 0});
    for (int64_t chunk = part->end_chunk - 1; chunk >= part->first_chunk; chunk--) {
        part->take_chunk(p, chunk);
        const back_projections<T> projections(p.f, *part, slice);
        back_prepare(s, p, *part);
        projections.store(s);
        __syncthreads();
#pragma unroll 4
        for (int t = BORDER - 1; t >= 0; t--) {
            const float4 now = own.step(*s, t);
            const float2 e2 = *(const float2 *)&s->e[t][own.channel];
            const float step[2] = {now.x, now.z}, e[2] = {e2.x, e2.y};
            back_states c;
            own.load_c(c, *s, t);
#pragma unroll
            for (int i = 0; i < back::PAIR; i++) {
                sum[i] += step[i];
#pragma unroll
                for (int j = 0; j < back::PER_LANE; j++)
                    own.carried[i][j] =
                        sq_exp2(step[i] * own.a[i][j]) * fmaf(e[i], c[i][j], own.carried[i][j]);
            }
        }
        __syncthreads();
    }
    own.store(p.out + part->state_row(p, part->segment, d), p.f.states, own.carried);
#pragma unroll
    for (int i = 0; i < back::PAIR; i++)
        if (slice == 0 && own.lane == 0 && i < own.channels)
            p.sum[(part->b * p.segments + part->segment) * p.f.channels + d + i] = sum[i];
}

/* Grid: (parts of the tiles in all groups, B, segments - 1). */
template <typename T>
__global__ void __launch_bounds__(back::THREADS, back::BLOCKS) scan_back_carried(back_args<T> p)
{
    extern __shared__ uint4 shared_memory[];
    back_part part(p, blockIdx.z + 1);
    for (int64_t tile = 0; tile < p.part_tiles && part.take_tile(p, tile); tile++)
        for (int64_t slice = 0; slice < p.slices; slice++)
            back_carry_slice((back_shared *)shared_memory, p, &part, slice);
}

/* Pass 2: out_s += exp(A sum_s) out_{s+1}. Grid: (D N / block, B). AHEAD segments are read before the
 * first of them is written: the chain is short, a load is not. */
template <typename T>
__global__ void scan_back_carry(back_args<T> p)
{
    constexpr int AHEAD = 8;
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t all = p.f.channels * p.f.states, row = (int64_t)blockIdx.y * p.segments;
    if (i >= all)
        return;
    const int64_t d = i / p.f.states;
    const float rate = p.f.a[d * p.f.a_stride + i % p.f.states] * SQ_LOG2E;
    float g = p.out[(row + p.segments - 1) * all + i];
    for (int64_t last = p.segments - 2; last > 0; last -= AHEAD) {
        float local[AHEAD], decay[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            if (k < last) {
                local[k] = p.out[(row + last - k) * all + i];
                decay[k] = sq_exp2(rate * p.sum[(row + last - k) * p.f.channels + d]);
            }
        }
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            if (k < last) {
                g = fmaf(decay[k], g, local[k]);
                p.out[(row + last - k) * all + i] = g;
            }
        }
    }
}

/* Grid: over (B, L, G, 2, N). */
template <typename T>
__global__ void scan_back_projections(back_args<T> p, int64_t count)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    const int64_t n = i % p.f.states, kind = i / p.f.states % 2, token = i / (2 * p.f.states);
    const int64_t g = token % p.f.groups, t = token / p.f.groups % p.f.length;
    const int64_t b = token / p.f.groups / p.f.length, width = p.slices * back::STATES;
    const float *from = &p.partial[(token * p.parts * 2 + kind) * width + n];
    float sum = 0.0f;
#pragma unroll 4
    for (int64_t part = 0; part < p.parts; part++)
        sum += from[part * 2 * width];
    const projection<T> &to = kind == 0 ? p.db : p.dc;
    if (to.data)
        to.data[b * to.stride_b + t * to.stride_t + g * to.stride_g + n] = sq_from_f32<T>(sum);
}

__device__ __forceinline__ float sum_rows(const float *from, int64_t rows, int64_t stride)
{
    float sum = 0.0f;
#pragma unroll 4
    for (int64_t row = 0; row < rows; row++)
        sum += from[row * stride];
    return sum;
}

/* Grid: over (D, N + 2): dA, dD, ddelta_bias; dB and dC that are constant in time. */
template <typename T>
__global__ void scan_back_parameters(back_args<T> p)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x,
                  all = p.f.channels * p.f.states;
    if (i >= all + 2 * p.f.channels)
        return;
    const int64_t rows = p.f.batch * p.segments, d = (i - all) % p.f.channels;
    if (i < all) {
        const int64_t channel = i / p.f.states, n = i % p.f.states;
        p.da[channel * p.da_stride + n] = sum_rows(p.da_rows + i, rows, all);
        if (p.const_db.data)
            p.const_db.row(channel)[n] = sum_rows(p.const_db_rows + i, rows, all);
        if (p.const_dc.data)
            p.const_dc.row(channel)[n] = sum_rows(p.const_dc_rows + i, rows, all);
        return;
    }
    const float sum = sum_rows(p.channel_rows + (i - all), rows, 2 * p.f.channels);
    if (float *to = i - all < p.f.channels ? p.dskip : p.dbias)
        to[d] = sum;
}

/* --- launch --- */

/* A block walks far, so one wave of them: two a multiprocessor of an H100. Segments only where
 * all channels leave most of the device idle, since passes 1 and 2 come on top: as few as fill it,
 * though fewer parts would have fewer dB and dC; none with B or C constant in time, for which there
 * is no pass 1. The same on every device: so is the workspace. */
template <typename T>
void back_partition(const sq_call *call, back_args<T> *args)
{
    const int64_t *dim = call->in[IN_U].dim, wave = 264, least_chunks = 4;
    const int64_t groups = groups_of(call), states = call->in[IN_A].dim[1];
    const int64_t tiles = sq_ceil_div(dim[2] / groups, back::CHANNELS);
    const int64_t rows = dim[0] * groups;
    const int64_t most = has_constants(call) ? 1 : sq_ceil_div(dim[1], least_chunks * BORDER);
    const int64_t parts = max((int64_t)1, min(tiles, wave / rows));
    args->part_tiles = sq_ceil_div(tiles, parts);
    args->parts = sq_ceil_div(tiles, args->part_tiles);
    args->chunks = sq_ceil_div(dim[1], BORDER);
    args->slices = sq_ceil_div(states, back::STATES);
    const int64_t segments = max((int64_t)1, min(most, wave / (rows * args->parts)));
    args->segment_chunks = sq_ceil_div(args->chunks, segments);
    args->segments = sq_ceil_div(args->chunks, args->segment_chunks);
}

/* Lays the workspace out from `memory` on; returns its bytes. */
template <typename T>
size_t back_place(const sq_call *call, back_args<T> *args, float *memory)
{
    const int64_t *dim = call->in[IN_U].dim, states = call->in[IN_A].dim[1];
    const int64_t rows = dim[0] * args->segments * dim[2];
    const int64_t cut_rows = args->segments > 1 ? rows : 0;
    const int64_t width = args->parts * 2 * args->slices * back::STATES;
    const int64_t tokens = dim[0] * dim[1] * groups_of(call);
    args->carried = memory;
    args->da_rows = args->carried + rows * states;
    args->const_db_rows = args->da_rows + rows * states;
    args->const_dc_rows = args->const_db_rows + (call->in[IN_B].rank == 2 ? rows * states : 0);
    args->out = args->const_dc_rows + (call->in[IN_C].rank == 2 ? rows * states : 0);
    args->sum = args->out + cut_rows * states;
    args->channel_rows = args->sum + cut_rows;
    /* On 16 bytes, as every row of four states in front of `sum` is. */
    args->partial = memory + sq_ceil_div(args->channel_rows + 2 * rows - memory, 4) * 4;
    return (size_t)(args->partial - memory + tokens * width) * sizeof(float);
}

static inline size_t back_workspace(const sq_call *call)
{
    back_args<float> args = {};
    back_partition(call, &args);
    return back_place(call, &args, NULL);
}

static inline size_t back_shared_bytes(int64_t slices)
{
    const size_t totals = 3 * BORDER * back::CHANNELS * sizeof(float);
    return sizeof(back_shared) + (slices > 1 ? totals : 0);
}

static inline bool is_back_vector(const sq_call *call)
{
    const sq_tensor *in = call->in, *out = call->out;
    const sq_tensor *all[] = {&in[IN_U],  &in[IN_DELTA],  &in[IN_Z], &in[IN_DY],
                              &out[IN_U], &out[IN_DELTA], &out[IN_Z]};
    for (const sq_tensor *t : all)
        if (!sq_is_vector_aligned(t))
            return false;
    const int64_t per_group = in[IN_U].dim[2] / groups_of(call);
    return per_group * (int64_t)sq_dtype_size(call->dtype) % 16 == 0;
}

static inline bool is_back_quad(const sq_call *call)
{
    const sq_tensor *in = call->in, *out = call->out;
    const sq_tensor *all[] = {&in[IN_A], &in[IN_INITIAL], &in[IN_DFINAL], &out[IN_INITIAL]};
    for (const sq_tensor *t : all)
        if (!sq_is_vector_aligned(t))
            return false;
    for (int i = IN_B; i <= IN_C; i++) /* in f32 where they are constant in time */
        if (in[i].rank == 2 && !sq_is_vector_aligned(&in[i]))
            return false;
    return in[IN_A].dim[1] % 4 == 0 && (uintptr_t)call->saved % 16 == 0;
}

template <typename T>
back_args<T> back_args_of(const sq_call *call, const scan_args<T> &forward)
{
    const sq_tensor *in = call->in, *out = call->out;
    back_args<T> args = {};
    args.f = forward;
    args.is_vector = is_back_vector(call);
    args.is_quad = is_back_quad(call);
    args.dy = sequence_of<const T>(&in[IN_DY]);
    args.du = sequence_of<T>(&out[IN_U]);
    args.ddelta = sequence_of<T>(&out[IN_DELTA]);
    args.dz = sequence_of<T>(&out[IN_Z]);
    args.db = projection_of<T>(&out[IN_B]);
    args.dc = projection_of<T>(&out[IN_C]);
    args.const_db = constant_rows_of(&out[IN_B]);
    args.const_dc = constant_rows_of(&out[IN_C]);
    args.da = (float *)out[IN_A].data;
    args.da_stride = out[IN_A].stride[0];
    args.dskip = (float *)out[IN_SKIP].data;
    args.dbias = (float *)out[IN_BIAS].data;
    args.dfinal = (const float *)in[IN_DFINAL].data;
    args.dfinal_stride_b = in[IN_DFINAL].stride[0];
    args.dfinal_stride_d = in[IN_DFINAL].stride[1];
    args.dinitial = (float *)out[IN_INITIAL].data;
    args.dinitial_stride_b = out[IN_INITIAL].stride[0];
    args.dinitial_stride_d = out[IN_INITIAL].stride[1];
    back_partition(call, &args);
    back_place(call, &args, (float *)call->workspace);
    return args;
}

/* Passes 1 and 2 of segments. */
template <typename T>
sq_status launch_back_carry(const sq_call *call, const back_args<T> &args, size_t bytes,
                            sq_error *err)
{
    if (args.segments == 1)
        return SQ_OK;
    const dim3 cut((unsigned)(args.f.groups * args.parts), (unsigned)args.f.batch,
                   (unsigned)(args.segments - 1));
    SQ_TRY(sq_allow_shared(scan_back_carried<T>, bytes, err));
    scan_back_carried<T><<<cut, back::THREADS, bytes, sq_stream(call)>>>(args);
    SQ_TRY(sq_launched("selective_scan bwd pass 1", err));
    const int64_t states = args.f.channels * args.f.states;
    const dim3 all((unsigned)sq_ceil_div(states, 256), (unsigned)args.f.batch);
    scan_back_carry<T><<<all, 256, 0, sq_stream(call)>>>(args);
    return sq_launched("selective_scan bwd pass 2", err);
}

template <typename T>
sq_status launch_back(const sq_call *call, const scan_args<T> &forward, sq_error *err)
{
    const back_args<T> args = back_args_of(call, forward);
    const size_t bytes = back_shared_bytes(args.slices);
    const int64_t projections =
        forward.batch * forward.length * forward.groups * 2 * forward.states;
    const int64_t parameters = forward.channels * (forward.states + 2);
    dim3 grid((unsigned)(forward.groups * args.parts), (unsigned)forward.batch,
              (unsigned)args.segments);
    SQ_TRY(launch_back_carry(call, args, bytes, err));
    const auto kernel = has_constants(call) ? scan_back<T, true> : scan_back<T, false>;
    SQ_TRY(sq_allow_shared(kernel, bytes, err));
    kernel<<<grid, back::THREADS, bytes, sq_stream(call)>>>(args);
    SQ_TRY(sq_launched("selective_scan bwd", err));
    scan_back_projections<T>
        <<<(unsigned)sq_ceil_div(projections, 256), 256, 0, sq_stream(call)>>>(args, projections);
    SQ_TRY(sq_launched("selective_scan bwd projections", err));
    scan_back_parameters<T>
        <<<(unsigned)sq_ceil_div(parameters, 256), 256, 0, sq_stream(call)>>>(args);
    return sq_launched("selective_scan bwd parameters", err);
}

} // namespace sq_selective_scan

#endif
