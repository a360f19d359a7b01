/* decay_step: one step of the recurrence from an initial to a final state: a stream of the state
 * through the device. A block owns 16 VECTOR columns of one state and asks for 128 of its rows at
 * once; its 16 rows of threads take every sixteenth row each, neighbouring threads neighbouring
 * columns. What else the step needs comes while the state is on its way.
 */
#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/words.cuh"

/* WORDS: of the state, that a thread has in flight. BLOCKS of an SM: 96 KiB in flight. */
enum { SQ_STEP_LANES = 16, SQ_STEP_ROWS = 16, SQ_STEP_WORDS = 8, SQ_STEP_BLOCKS = 3 };
enum {
    SQ_STEP_THREADS = SQ_STEP_LANES * SQ_STEP_ROWS,
    SQ_STEP_TILE = SQ_STEP_ROWS * SQ_STEP_WORDS /* rows */
};

/* What a block owns: columns [start, start + 16 VECTOR) of the state of (b, h). */
typedef struct {
    int b, h, start;
} sq_step_part;

/* Row n of the state: S_n <- decay S_n + key input, o += query S_n. */
typedef struct __align__(16)
{
    float decay, key, query;
}
sq_step_row;

template <int VECTOR>
struct sq_step_shared {
    sq_step_row row[SQ_STEP_TILE];
    float sum[SQ_STEP_ROWS][SQ_STEP_LANES * VECTOR];
    alignas(16) float input[SQ_STEP_LANES * VECTOR]; /* w v */
};

/* A row each of the tile from row `base` on and, of the first threads, a column's input each. */
template <typename T, int VECTOR>
__device__ __forceinline__ void sq_step_stage(const sq_decay_params &p, const sq_step_part &part,
                                              int base, sq_step_shared<VECTOR> *shared)
{
    const int own = (int)threadIdx.x, n = base + own, group = part.h / p.heads_per_group;
    const int column = part.start + own;
    const bool is_row = n < p.keys, is_column = column < p.values;
    static_assert(SQ_STEP_LANES * VECTOR <= SQ_STEP_TILE, "the threads of rows have the columns");
    if (own >= SQ_STEP_TILE)
        return;
    const float key = is_row ? sq_to_f32(sq_decay_at<T>(p.k, part.b, 0, group)[n]) : 0.0f;
    const float query = is_row ? sq_to_f32(sq_decay_at<T>(p.q, part.b, 0, group)[n]) : 0.0f;
    const float v = is_column ? sq_to_f32(sq_decay_at<T>(p.v, part.b, 0, part.h)[column]) : 0.0f;
    const float dt = sq_decay_dt<T>(p, part.b, 0, part.h);
    const sq_decay_head head = sq_decay_load_head(p, part.h);
    const sq_decay_step step = sq_decay_gate(p, head, dt);
    float decay = sq_decay_factor(p, head, step);
    if (p.kind == SQ_DECAY_ROWS && is_row)
        decay = expf(sq_to_f32(sq_decay_at<T>(p.dt, part.b, 0, part.h)[n]));
    shared->row[own] = {decay, key, query};
    if (own < SQ_STEP_LANES * VECTOR)
        shared->input[own] = step.weight * v;
}

/* The update of one tile of rows; adds to sum what its rows have in o. */
template <typename T, int VECTOR>
__device__ __forceinline__ void sq_step_tile(const sq_decay_params &p, const sq_step_part &part,
                                             int base, sq_step_shared<VECTOR> *shared,
                                             float (&sum)[VECTOR])
{
    const int lane = (int)threadIdx.x % SQ_STEP_LANES, first = (int)threadIdx.x / SQ_STEP_LANES;
    const int column = part.start + lane * VECTOR;
    const int rows = column < p.values ? p.keys - base : 0;
    const float *from = sq_decay_row(p.initial, part.b, part.h, base + first) + column;
    float *to = sq_decay_row(p.final, part.b, part.h, base + first) + column;
    sq_word<VECTOR> s[SQ_STEP_WORDS];
#pragma unroll
    for (int i = 0; i < SQ_STEP_WORDS; i++)
        if (first + i * SQ_STEP_ROWS < rows)
            s[i] = sq_stream_in<VECTOR>(from + i * SQ_STEP_ROWS * p.initial.row);
    if (base > 0)
        __syncthreads(); /* everyone is done with the previous tile's rows */
    sq_step_stage<T, VECTOR>(p, part, base, shared);
    __syncthreads();
    const sq_word<VECTOR> input = *(const sq_word<VECTOR> *)&shared->input[lane * VECTOR];
#pragma unroll
    for (int i = 0; i < SQ_STEP_WORDS; i++) {
        if (first + i * SQ_STEP_ROWS >= rows)
            break;
        const sq_step_row row = shared->row[first + i * SQ_STEP_ROWS];
#pragma unroll
        for (int e = 0; e < VECTOR; e++) {
            s[i].at[e] = row.decay * s[i].at[e] + row.key * input.at[e];
            sum[e] += row.query * s[i].at[e];
        }
        sq_stream_out<VECTOR>(to + i * SQ_STEP_ROWS * p.final.row, s[i]);
    }
}

/* One step, t = 0 of the call's tensors. */
template <typename T, int VECTOR>
static __global__ void __launch_bounds__(SQ_STEP_THREADS, SQ_STEP_BLOCKS)
    sq_decay_step_kernel(sq_decay_params p)
{
    __shared__ sq_step_shared<VECTOR> shared;
    constexpr int width = SQ_STEP_LANES * VECTOR;
    const int blocks = (p.values + width - 1) / width, unit = (int)blockIdx.x / blocks;
    const sq_step_part part = {unit / p.heads, unit % p.heads, (int)blockIdx.x % blocks * width};
    const int own = (int)threadIdx.x, column = part.start + own;
    float sum[VECTOR] = {0.0f};
    for (int base = 0; base < p.keys; base += SQ_STEP_TILE)
        sq_step_tile<T, VECTOR>(p, part, base, &shared, sum);
#pragma unroll
    for (int e = 0; e < VECTOR; e++)
        shared.sum[own / SQ_STEP_LANES][own % SQ_STEP_LANES * VECTOR + e] = sum[e];
    __syncthreads();
    if (own >= width || column >= p.values)
        return;
    float total = 0.0f;
#pragma unroll
    for (int r = 0; r < SQ_STEP_ROWS; r++)
        total += shared.sum[r][own];
    const float v = sq_to_f32(sq_decay_at<T>(p.v, part.b, 0, part.h)[column]);
    const sq_decay_head head = sq_decay_load_head(p, part.h);
    const float o = sq_decay_output_scale(p, head, part.b, part.h, 0) * total +
                    sq_decay_skip(p, part.h, column) * v;
    ((T *)sq_decay_at<T>(p.o, part.b, 0, part.h))[column] =
        sq_from_f32<T>(sq_decay_gated<T>(p, part.b, 0, part.h, column, o));
}

sq_status sq_decay_step_launch(const sq_call *call, const sq_decay_params &p, sq_error *err)
{
    const bool is_wide =
        p.values % 4 == 0 && sq_decay_has_vectors(p.initial) && sq_decay_has_vectors(p.final);
    const int64_t blocks = sq_ceil_div(p.values, SQ_STEP_LANES * (is_wide ? 4 : 1));
    const unsigned grid = (unsigned)(blocks * p.heads * p.batch);
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        if (is_wide)
            sq_decay_step_kernel<T, 4><<<grid, SQ_STEP_THREADS, 0, sq_stream(call)>>>(p);
        else
            sq_decay_step_kernel<T, 1><<<grid, SQ_STEP_THREADS, 0, sq_stream(call)>>>(p);
        return sq_launched("step", err);
    });
}
