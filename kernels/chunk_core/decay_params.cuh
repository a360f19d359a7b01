/* decay_params: what every kernel of the decayed matrix-state recurrence is told,
 *
 *   S_t = a_t S_{t-1} + w_t k_t v_t^T        o_t = scale S_t^T q_t + skip v_t
 *
 * per batch row b and head h, S: (K, V). Retention has a_t = gamma_h, w_t = 1; ssd has C, B, x for
 * q, k, v and a_t = exp(d_t A_h), w_t = d_t, skip = D_h. The mathematics is in
 * kernels/shared/decay_scan.h.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_PARAMS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_PARAMS_CUH

#include <stdint.h>

#include "kernels/hw/convert.cuh"
#include "kernels/op.h"

/* Strides in elements of a (B, L, H, X) tensor; X is contiguous. */
typedef struct {
    void *data;
    int64_t batch, time, head;
} sq_decay_tensor;

typedef struct {
    sq_decay_tensor q, k, v, o;
    int length, batch, heads, heads_per_group, keys, values;
    float scale;
    /* ssd: dt (B, L, H); A, skip, bias (H), skip and bias may be NULL. Retention: dt.data NULL. */
    sq_decay_tensor dt;
    const float *a, *skip, *bias;
    bool has_softplus;
    int first_head;
    /* Segmented plan: the steps are cut into `segments` runs of segment_length (a multiple of the
     * chunk). Of all segments but the last, at their ends: state (segments - 1, B, H, keys, values)
     * f32, and decay (segments - 1, B, H) f32, log2. */
    int segments, segment_length;
    float *state, *decay;
} sq_decay_params;

/* log2 of the decay of a step, and the weight of its input. */
typedef struct {
    float log2_decay, weight;
} sq_decay_step;

template <typename T>
__device__ __forceinline__ const T *sq_decay_at(const sq_decay_tensor &t, int b, int64_t step,
                                                int h)
{
    return (const T *)t.data + b * t.batch + step * t.time + h * t.head;
}

/* What a head's steps have in common: read once. rate: log2 of the decay of a unit step. gamma:
 * retention's decay itself: one ulp of error in it would be 2^-24 a step over thousands of steps.
 */
typedef struct {
    float rate, gamma, bias, skip;
} sq_decay_head;

__device__ __forceinline__ sq_decay_head sq_decay_load_head(const sq_decay_params &p, int h)
{
    const float lost = exp2f(-5.0f - (float)(p.first_head + h)); /* 1 - gamma, exact */
    sq_decay_head head;
    head.gamma = 1.0f - lost;
    head.rate = (p.dt.data ? p.a[h] : log1pf(-lost)) * SQ_LOG2E;
    head.bias = p.bias ? p.bias[h] : 0.0f;
    head.skip = p.skip ? p.skip[h] : 0.0f;
    return head;
}

/* dt: the step's element of p.dt (ignored by retention). softplus in full f32: its result is a
 * weight. */
__device__ __forceinline__ sq_decay_step sq_decay_gate(const sq_decay_params &p,
                                                       const sq_decay_head &head, float dt)
{
    if (!p.dt.data)
        return {head.rate, 1.0f};
    float d = dt + head.bias;
    if (p.has_softplus && d <= 20.0f)
        d = log1pf(expf(d));
    return {d * head.rate, d};
}

/* The decay of one step, for the kernels that go step by step. */
__device__ __forceinline__ float sq_decay_factor(const sq_decay_params &p,
                                                 const sq_decay_head &head, sq_decay_step step)
{
    return p.dt.data ? exp2f(step.log2_decay) : head.gamma;
}

template <typename T>
__device__ __forceinline__ float sq_decay_dt(const sq_decay_params &p, int b, int64_t t, int h)
{
    return p.dt.data ? sq_to_f32(*sq_decay_at<T>(p.dt, b, t, h)) : 0.0f;
}

/* --- host --- */

/* Blocks are counted in 31 bits; a block takes 8 state columns or more. */
static inline sq_status sq_decay_supports_grid(const sq_decay_params &p, sq_error *why)
{
    const double blocks = (double)p.batch * p.heads * ((p.values + 7) / 8);
    if (blocks < 2147483648.0)
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "%g blocks: at most 2^31 - 1", blocks);
}

static inline sq_decay_tensor sq_decay_view(const sq_tensor *t)
{
    return {t->data, t->stride[0], t->stride[1], t->stride[2]};
}

#endif
