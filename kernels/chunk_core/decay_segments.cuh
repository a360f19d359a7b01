/* decay_segments: which part of the problem a block works on, and the plan that cuts long sequences
 * of few states into segments so that the whole device has work.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_SEGMENTS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_SEGMENTS_CUH

#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/hw/launch.cuh"

/* Steps [first, last) of one segment, state columns from `column`. */
typedef struct {
    int segment, batch, head, column, first, last;
} sq_decay_unit;

/* Block -> unit, columns fastest: neighbours share q and k in L2. A block takes `heads` heads, of
 * which this is the first. */
__device__ __forceinline__ sq_decay_unit sq_decay_locate(const sq_decay_params &p, int columns,
                                                         int heads = 1)
{
    const int slices = (p.values + columns - 1) / columns;
    int index = (int)blockIdx.x;
    sq_decay_unit u;
    u.column = index % slices * columns;
    index /= slices;
    u.head = index % (p.heads / heads) * heads;
    index /= p.heads / heads;
    u.batch = index % p.batch;
    u.segment = index / p.batch;
    u.first = u.segment * p.segment_length;
    u.last = min(u.first + p.segment_length, p.length);
    return u;
}

__device__ __forceinline__ int64_t sq_decay_segment_index(const sq_decay_params &p,
                                                          const sq_decay_unit &u, int segment)
{
    return ((int64_t)segment * p.batch + u.batch) * p.heads + u.head;
}

/* The states at the ends of segment `segment`, of those that `states` holds as p.state does. */
__device__ __forceinline__ sq_decay_matrix sq_decay_states_at(const sq_decay_params &p,
                                                              float *states, int segment)
{
    const int64_t size = (int64_t)p.keys * p.values;
    return {states + (int64_t)segment * p.batch * p.heads * size, p.heads * size, size, p.values};
}

__device__ __forceinline__ sq_decay_matrix sq_decay_segment_states(const sq_decay_params &p,
                                                                   int segment)
{
    return sq_decay_states_at(p, p.state, segment);
}

/* What a unit starts from; data is NULL: from 0. */
__device__ __forceinline__ sq_decay_matrix sq_decay_state_before(const sq_decay_params &p,
                                                                 const sq_decay_unit &u)
{
    return u.segment > 0 ? sq_decay_segment_states(p, u.segment - 1) : p.initial;
}

/* Where a unit leaves its state: the segment's own, where it was asked for no more, or the final
 * one; data is NULL: nowhere. */
__device__ __forceinline__ sq_decay_matrix sq_decay_state_after(const sq_decay_params &p,
                                                                const sq_decay_unit &u,
                                                                bool is_state_only)
{
    if (is_state_only)
        return sq_decay_segment_states(p, u.segment);
    return u.segment + 1 == p.segments ? p.final : sq_decay_matrix{nullptr, 0, 0, 0};
}

/* A walk through the segments, counted as it goes: what it starts from, and of all but the last the
 * states and decays as p.state and p.decay are. */
typedef struct {
    sq_decay_matrix from;
    float *state, *decay;
} sq_decay_walk;

typedef struct {
    sq_decay_walk walk[2];
} sq_decay_walks;

/* What each segment adds to the state -> the state at its end, in place. One thread an element, a
 * walk for each row of the grid. AHEAD segments are read before the first of them is written: the
 * chain is short, a load is not. */
static __global__ void __launch_bounds__(256)
    sq_decay_chain_kernel(const __grid_constant__ sq_decay_params p,
                          const __grid_constant__ sq_decay_walks walks)
{
    constexpr int AHEAD = 8;
    sq_chain_begin_next();
    sq_chain_wait();
    const sq_decay_walk &walk = walks.walk[blockIdx.y];
    const int64_t per_state = (int64_t)p.keys * p.values, states = (int64_t)p.batch * p.heads;
    const int64_t at = (int64_t)blockIdx.x * 256 + threadIdx.x, unit = at / per_state;
    if (at >= per_state * states)
        return;
    const int row = (int)(at % per_state / p.values), column = (int)(at % p.values);
    float sum = 0.0f;
    if (walk.from.data)
        sum = sq_decay_row(walk.from, (int)(unit / p.heads), (int)(unit % p.heads), row)[column];
    for (int first = 0; first + 1 < p.segments; first += AHEAD) {
        float own[AHEAD], decay[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (first + i + 1 < p.segments) {
                own[i] = walk.state[(first + i) * per_state * states + at];
                decay[i] = walk.decay[(first + i) * states + unit];
            }
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (first + i + 1 < p.segments) {
                sum = sq_exp2(decay[i]) * sum + own[i];
                walk.state[(first + i) * per_state * states + at] = sum;
            }
        }
    }
}

/* After the kernel that has made what the segments add. */
static inline sq_status sq_decay_chain_walks(const sq_call *call, const sq_decay_params &p,
                                             const sq_decay_walks &walks, int count, sq_error *err)
{
    const int64_t elements = (int64_t)p.keys * p.values * p.batch * p.heads;
    const sq_grid grid = {dim3((unsigned)sq_ceil_div(elements, 256), (unsigned)count), 256, 0,
                          true};
    return sq_launch_chained(call, grid, "chain of segments", err, sq_decay_chain_kernel, p, walks);
}

static inline sq_status sq_decay_chain_launch(const sq_call *call, const sq_decay_params &p,
                                              sq_error *err)
{
    return sq_decay_chain_walks(call, p, {{{p.initial, p.state, p.decay}}}, 1, err);
}

/* --- host --- */

/* Blocks that an H100 holds at once: with fewer units than this, segments pay although they read k
 * and v twice. A constant, so that the result does not depend on the device. */
enum { SQ_DECAY_SMS = 132, SQ_DECAY_MIN_SEGMENT = 256 };

/* Sets segments and segment_length (a multiple of `step`) for blocks of `columns` state columns, of
 * which an SM holds blocks_per_sm. */
static inline void sq_decay_plan(sq_decay_params *p, int columns, int blocks_per_sm, int step)
{
    const int64_t units = sq_ceil_div(p->values, columns) * p->heads * p->batch;
    int64_t segments = SQ_DECAY_SMS * blocks_per_sm / units;
    if (segments > p->length / SQ_DECAY_MIN_SEGMENT)
        segments = p->length / SQ_DECAY_MIN_SEGMENT;
    if (segments < 1)
        segments = 1;
    p->segment_length = (int)(sq_ceil_div(sq_ceil_div(p->length, segments), step) * step);
    p->segments = (int)sq_ceil_div(p->length, p->segment_length);
}

/* Bytes of the states and decays of all segments but the last; 0 for one segment. */
static inline size_t sq_decay_workspace(const sq_decay_params &p)
{
    const int64_t states = (int64_t)(p.segments - 1) * p.batch * p.heads;
    return (size_t)(states * ((int64_t)p.keys * p.values + 1)) * sizeof(float);
}

static inline void sq_decay_use_workspace(sq_decay_params *p, void *workspace)
{
    p->state = (float *)workspace;
    p->decay = p->state + (int64_t)(p->segments - 1) * p->batch * p->heads * p->keys * p->values;
}

#endif
