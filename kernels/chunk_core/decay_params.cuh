/* decay_params: what every kernel of the decayed matrix-state recurrence is told,
 *
 *   S_t = a_t S_{t-1} + w_t k_t v_t^T        o_t = (scale r_t S_t^T q_t + skip v_t) silu(z_t)
 *
 * per batch row b and head h, S: (K, V). Retention has a_t = gamma_h, w_t = 1, simple_gla a_t =
 * exp(g_t), gla that for each row of S; ssd has C, B, x for q, k, v and a_t = exp(d_t A_h), w_t =
 * d_t, skip = D_h. The mathematics is in kernels/shared/decay_scan.h.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_PARAMS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_PARAMS_CUH

#include <stdint.h>

#include "kernels/hw/convert.cuh"
#include "kernels/op.h"
#include "kernels/shared/decay_layout.h"

/* Where the decays come from. GAMMA: of the head's number. STEP: ssd's dt. LOG: a natural logarithm
 * for each step, ROWS: for each step and row of the state. */
typedef enum { SQ_DECAY_GAMMA, SQ_DECAY_STEP, SQ_DECAY_LOG, SQ_DECAY_ROWS } sq_decay_kind;

/* Strides in elements of a (B, L, H, X) tensor; X is contiguous. */
typedef struct {
    void *data;
    int64_t batch, time, head;
} sq_decay_tensor;

/* Holds in supports() too, where no tensor has data yet. */
static inline bool sq_decay_is_there(const sq_decay_tensor &t) { return t.time != 0; }

/* States (B, H, K, V), V contiguous; data may be NULL. */
typedef struct {
    float *data;
    int64_t batch, head, row;
} sq_decay_matrix;

typedef struct {
    sq_decay_kind kind;
    sq_decay_tensor q, k, v, o;
    sq_decay_tensor z; /* data may be NULL */
    int length, batch, heads, heads_per_group, keys, values;
    int64_t chunk; /* the axis */
    float scale;
    sq_decay_tensor dt;           /* (B, L, H) or, ROWS, (B, L, H, K); GAMMA: NULL */
    const float *a, *skip, *bias; /* STEP: (H), skip and bias may be NULL */
    int64_t skip_head, skip_column;
    bool has_softplus;
    float dt_min, dt_max;
    const int *seq_idx; /* (B, L), L contiguous; may be NULL */
    int64_t seq_batch;
    sq_decay_matrix initial, final;
    /* GAMMA: first_head of the model's; with has_norm r_t = 1 / sqrt(1 + gamma + ...) over past + t
     * + 1 steps, else 1. row: scale r_t itself, (B, H, L), where has_norm and it is not NULL. */
    int first_head, past;
    bool has_norm;
    const float *row;
    /* Segmented plan: the steps are cut into `segments` runs of segment_length (a multiple of the
     * chunk). Of all segments but the last, at their ends: state (segments - 1, B, H, keys, values)
     * f32, and decay (segments - 1, B, H) f32, log2. */
    int segments, segment_length;
    float *state, *decay;
} sq_decay_params;

/* What dq and dk have of a value column of ones, which o has not: its do, (B, H, L); S of it before
 * and G after all chunks, (chunks, B, H, keys). slope: scale r_t in front of all that dq and dk are
 * made of but S and G, (B, H, L). All NULL: no such column. */
typedef struct {
    const float *d_o, *before, *after, *slope;
} sq_decay_ones;

/* The gradients of a backward call. d_o is read: do, and where there is a z do silu(z), which then
 * lies in the workspace while `raw` is do itself. */
typedef struct {
    sq_decay_ones ones;
    /* Powers of two, (B, H, chunks), that a chunk's row and slope are in units of: as they are they
     * may be too small for f16. NULL: 1. */
    const float *unit;
    sq_decay_tensor d_o, raw;
    sq_decay_tensor d_q, d_k, d_v, d_z, d_dt;
    sq_decay_matrix d_final, d_initial;
    float *d_a, *d_skip, *d_bias;
    int64_t d_skip_head, d_skip_column;
} sq_decay_grads;

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

/* Row n of the state of (b, h). */
__device__ __forceinline__ float *sq_decay_row(const sq_decay_matrix &m, int b, int h, int n)
{
    return m.data + b * m.batch + h * m.head + n * m.row;
}

/* What a head's steps have in common: read once. rate: log2 of the decay of a unit step. gamma:
 * retention's decay itself: one ulp of error in it would be 2^-24 a step over thousands of steps;
 * lost: 1 - gamma. */
typedef struct {
    float rate, gamma, lost, bias;
} sq_decay_head;

__device__ __forceinline__ sq_decay_head sq_decay_load_head(const sq_decay_params &p, int h)
{
    sq_decay_head head;
    head.lost = exp2f(-(float)min(5 + p.first_head + h, SQ_DECAY_GAMMA_BITS)); /* exact */
    head.gamma = 1.0f - head.lost;
    head.rate = (p.kind == SQ_DECAY_STEP    ? p.a[h]
                 : p.kind == SQ_DECAY_GAMMA ? log1pf(-head.lost)
                                            : 1.0f) *
                SQ_LOG2E;
    head.bias = p.bias ? p.bias[h] : 0.0f;
    return head;
}

__device__ __forceinline__ float sq_decay_skip(const sq_decay_params &p, int h, int column)
{
    return p.skip ? p.skip[h * p.skip_head + column * p.skip_column] : 0.0f;
}

/* ssd's step before its limits. softplus in full f32: its result is a weight. */
__device__ __forceinline__ float sq_decay_softplus(const sq_decay_params &p, float raw)
{
    return p.has_softplus && raw <= 20.0f ? log1pf(expf(raw)) : raw;
}

/* d(step) / d(dt + bias). */
__device__ __forceinline__ float sq_decay_slope(const sq_decay_params &p, float raw)
{
    const float step = sq_decay_softplus(p, raw);
    if (step < p.dt_min || step > p.dt_max)
        return 0.0f;
    return p.has_softplus && raw <= 20.0f ? 1.0f / (1.0f + expf(-raw)) : 1.0f;
}

/* dt: the step's element of p.dt (ignored where it has none). */
__device__ __forceinline__ sq_decay_step sq_decay_gate(const sq_decay_params &p,
                                                       const sq_decay_head &head, float dt)
{
    if (p.kind == SQ_DECAY_GAMMA)
        return {head.rate, 1.0f};
    if (p.kind == SQ_DECAY_ROWS)
        return {0.0f, 1.0f};
    if (p.kind == SQ_DECAY_LOG)
        return {dt * head.rate, 1.0f};
    const float d = fminf(fmaxf(sq_decay_softplus(p, dt + head.bias), p.dt_min), p.dt_max);
    return {d * head.rate, d};
}

/* The decay of one step, for the kernels that go step by step. */
__device__ __forceinline__ float sq_decay_factor(const sq_decay_params &p,
                                                 const sq_decay_head &head, sq_decay_step step)
{
    return p.kind == SQ_DECAY_GAMMA ? head.gamma : exp2f(step.log2_decay);
}

template <typename T>
__device__ __forceinline__ float sq_decay_dt(const sq_decay_params &p, int b, int64_t t, int h)
{
    return p.kind == SQ_DECAY_STEP || p.kind == SQ_DECAY_LOG
               ? sq_to_f32(*sq_decay_at<T>(p.dt, b, t, h))
               : 0.0f;
}

/* Does a document start at step t? What is before step 0 belongs to the first. */
__device__ __forceinline__ bool sq_decay_starts(const sq_decay_params &p, int b, int64_t t)
{
    if (!p.seq_idx || t == 0)
        return false;
    const int *at = p.seq_idx + b * p.seq_batch + t;
    return at[0] != at[-1];
}

/* scale r_t of head h; beyond the end that of the last step. */
__device__ __forceinline__ float
sq_decay_output_scale(const sq_decay_params &p, const sq_decay_head &head, int b, int h, int64_t t)
{
    if (!p.has_norm)
        return p.scale;
    if (p.row)
        return p.row[((int64_t)b * p.heads + h) * p.length + min(t, (int64_t)p.length - 1)];
    const float steps = (float)(p.past + t + 1);
    return p.scale * sqrtf(head.lost / -expm1f(steps * log1pf(-head.lost)));
}

/* o, gated by silu(z) where there is a z. */
template <typename T>
__device__ __forceinline__ float sq_decay_gated(const sq_decay_params &p, int b, int64_t t, int h,
                                                int column, float o)
{
    if (!p.z.data)
        return o;
    const float z = sq_to_f32(sq_decay_at<T>(p.z, b, t, h)[column]);
    return o * z / (1.0f + expf(-z));
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

/* Kernels that go step by step multiply by gamma itself, 1 - 2^-(5 + head): a number of f32 up to
 * head 19 and rounded to 1 beyond, which thousands of steps would show. */
static inline sq_status sq_decay_supports_gamma(const sq_decay_params &p, sq_error *why)
{
    const int last = p.first_head + p.heads - 1;
    if (p.kind != SQ_DECAY_GAMMA || last <= 19)
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "head %d: step by step, heads up to 19 only", last);
}

static inline bool sq_decay_has_vectors(const sq_decay_tensor &t, int vector)
{
    return (uintptr_t)t.data % 16 == 0 && t.batch % vector == 0 && t.time % vector == 0 &&
           t.head % vector == 0;
}

static inline bool sq_decay_has_vectors(const sq_decay_matrix &m)
{
    return (uintptr_t)m.data % 16 == 0 && m.batch % 4 == 0 && m.head % 4 == 0 && m.row % 4 == 0;
}

static inline sq_decay_tensor sq_decay_view(const sq_tensor *t)
{
    return {t->data, t->stride[0], t->stride[1], t->stride[2]};
}

static inline sq_decay_matrix sq_decay_states(const sq_tensor *t)
{
    return {(float *)t->data, t->stride[0], t->stride[1], t->stride[2]};
}

/* What every operator has of the above; its kind and the rest are its own. */
static inline sq_decay_params sq_decay_params_of(const sq_call *call, const sq_decay_layout *layout)
{
    const sq_axis_value *axis = call->axis;
    sq_decay_params p = {};
    p.q = sq_decay_view(&call->in[layout->in.q]);
    p.k = sq_decay_view(&call->in[layout->in.k]);
    p.v = sq_decay_view(&call->in[layout->in.v]);
    if (layout->in.gate >= 0)
        p.dt = sq_decay_view(&call->in[layout->in.gate]);
    p.initial = sq_decay_states(&call->in[layout->in.initial]);
    if (call->pass != SQ_PASS_BWD) {
        p.o = sq_decay_view(&call->out[SQ_DECAY_OUT_O]);
        p.final = sq_decay_states(&call->out[SQ_DECAY_OUT_FINAL]);
    }
    p.length = (int)call->in[layout->in.v].dim[1];
    p.batch = (int)axis[SQ_AXIS_B];
    p.heads = (int)axis[SQ_DECAY_AXIS_H];
    p.heads_per_group = p.heads / (int)axis[layout->axis.groups];
    p.keys = (int)axis[layout->axis.keys];
    p.values = (int)axis[layout->axis.values];
    p.chunk = layout->axis.chunk < 0 ? 0 : sq_axis_int(axis, layout->axis.chunk);
    p.scale = (float)sq_decay_layout_scale(layout, axis);
    p.segments = 1;
    return p;
}

static inline sq_decay_grads sq_decay_grads_of(const sq_call *call, const sq_decay_layout *layout)
{
    const sq_tensor *of_outputs = &call->in[layout->in.count];
    sq_decay_grads g = {};
    g.d_o = sq_decay_view(&of_outputs[SQ_DECAY_OUT_O]);
    g.d_final = sq_decay_states(&of_outputs[SQ_DECAY_OUT_FINAL]);
    g.d_q = sq_decay_view(&call->out[layout->in.q]);
    g.d_k = sq_decay_view(&call->out[layout->in.k]);
    g.d_v = sq_decay_view(&call->out[layout->in.v]);
    if (layout->in.gate >= 0)
        g.d_dt = sq_decay_view(&call->out[layout->in.gate]);
    g.d_initial = sq_decay_states(&call->out[layout->in.initial]);
    return g;
}

#endif
