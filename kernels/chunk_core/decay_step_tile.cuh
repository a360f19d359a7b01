/* decay_step_tile: the tile loop of one step of the recurrence: a stream of the state through the
 * device. A block owns 16 VECTOR columns of one state and asks for 128 of its rows at once; its 16
 * rows of threads take every sixteenth row each, neighbouring threads neighbouring columns. What
 * else the step needs comes while the state is on its way.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_STEP_TILE_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_STEP_TILE_CUH

#include "kernels/chunk_core/decay_params.cuh"
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

/* The update of one tile of rows; adds to sum what its rows have in o. stage(): fills shared->row and
 * shared->input while the tile is on its way. */
template <int VECTOR, typename STAGE>
__device__ __forceinline__ void sq_step_tile(const sq_decay_params &p, const sq_step_part &part,
                                             int base, sq_step_shared<VECTOR> *shared,
                                             float (&sum)[VECTOR], STAGE stage)
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
    stage();
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

/* The sum over a block's rows of what its threads have; of the first threads, a column each. */
template <int VECTOR>
__device__ __forceinline__ float sq_step_column(sq_step_shared<VECTOR> *shared,
                                                const float (&sum)[VECTOR])
{
    const int own = (int)threadIdx.x;
#pragma unroll
    for (int e = 0; e < VECTOR; e++)
        shared->sum[own / SQ_STEP_LANES][own % SQ_STEP_LANES * VECTOR + e] = sum[e];
    __syncthreads();
    float total = 0.0f;
    if (own < SQ_STEP_LANES * VECTOR)
#pragma unroll
        for (int r = 0; r < SQ_STEP_ROWS; r++)
            total += shared->sum[r][own];
    return total;
}

/* What block blockIdx.x owns: blocks go through the columns of a state, then through the states. */
template <int VECTOR>
__device__ __forceinline__ sq_step_part sq_step_part_of(const sq_decay_params &p)
{
    constexpr int width = SQ_STEP_LANES * VECTOR;
    const int blocks = (p.values + width - 1) / width, unit = (int)blockIdx.x / blocks;
    return {unit / p.heads, unit % p.heads, (int)blockIdx.x % blocks * width};
}

#endif
