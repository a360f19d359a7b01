/* decay_step: one step of the recurrence from an initial to a final state (decay_step_tile.cuh). */
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/chunk_core/decay_step_tile.cuh"
#include "kernels/hw/launch.cuh"

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

/* One step, t = 0 of the call's tensors. */
template <typename T, int VECTOR>
static __global__ void __launch_bounds__(SQ_STEP_THREADS, SQ_STEP_BLOCKS)
    sq_decay_step_kernel(sq_decay_params p)
{
    __shared__ sq_step_shared<VECTOR> shared;
    const sq_step_part part = sq_step_part_of<VECTOR>(p);
    const int own = (int)threadIdx.x, column = part.start + own;
    float sum[VECTOR] = {0.0f};
    for (int base = 0; base < p.keys; base += SQ_STEP_TILE)
        sq_step_tile<VECTOR>(p, part, base, &shared, sum,
                             [&] { sq_step_stage<T>(p, part, base, &shared); });
    const float total = sq_step_column<VECTOR>(&shared, sum);
    if (own >= SQ_STEP_LANES * VECTOR || column >= p.values)
        return;
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
