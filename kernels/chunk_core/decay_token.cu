/* decay_token: one token from a block's projection to the next, in one kernel: short convolution
 * where there is one, step of the recurrence, gated norm.
 *
 * The tiles of the state are decay_step's. Queries, keys and values are made by the convolution, of
 * every block for itself; its new state is written by the block that has the channel, or, of keys
 * and queries, by the first of those that share them. The norm's mean runs over many blocks: each
 * leaves its values and the sum of their squares in the workspace and takes a ticket; the one that
 * gets the last adds the sums in the order of blocks and writes y. Tickets wrap to 0. What the
 * calls would hand on to each other is rounded as it would be.
 */
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/chunk_core/decay_step_tile.cuh"
#include "kernels/chunk_core/decay_token.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/rmsnorm/rmsnorm.h"

enum {
    SQ_TOKEN_TAPS = 4,
    SQ_TOKEN_VECTOR = 4,
    SQ_TOKEN_COLUMNS = SQ_STEP_LANES * SQ_TOKEN_VECTOR,
    SQ_TOKEN_QUADS = 4, /* of y, that a thread of the last block has in flight */
    SQ_TOKEN_STRIDE = SQ_STEP_THREADS * 4
};
static_assert(SQ_STEP_THREADS == 2 * SQ_STEP_TILE, "half of the threads have keys, half queries");

/* Rows of (B, rows, D), D contiguous. */
typedef struct {
    void *data;
    int64_t batch, row;
} sq_token_rows;

/* v, k, q: the channel that each begins with. */
typedef struct {
    sq_token_rows x, initial, final; /* x: one row */
    const void *w, *bias;            /* (D, taps), (D) */
    int64_t w_stride;
    int taps, v, k, q;
    bool has_silu;
} sq_token_conv;

/* Groups of `heads` heads, `width` channels and `blocks` blocks each. */
typedef struct {
    sq_token_rows y, z; /* one row */
    const float *w, *bias;
    int groups, heads, width, blocks, gate;
    float eps;
} sq_token_norm;

typedef struct {
    sq_decay_params p;
    sq_token_conv conv;
    sq_token_norm norm;
    float *value, *square; /* (B, H, V); of each block */
    unsigned *ticket;      /* (B, groups) */
} sq_token_params;

/* What the convolution makes of a channel, as conv_step does. is_owner: of its new state. */
template <typename T>
__device__ __forceinline__ float sq_token_convolve(const sq_token_conv &c, int b, int channel,
                                                   bool is_owner)
{
    const T *w = (const T *)c.w + channel * c.w_stride;
    const T *initial = (const T *)c.initial.data + b * c.initial.batch + channel;
    T *final = (T *)c.final.data + b * c.final.batch + channel;
    float in[SQ_TOKEN_TAPS], tap[SQ_TOKEN_TAPS];
    float sum = c.bias ? sq_to_f32(((const T *)c.bias)[channel]) : 0.0f;
#pragma unroll
    for (int k = 0; k < SQ_TOKEN_TAPS; k++) { /* all of them, before a store holds one up */
        const T *at = k < c.taps - 1 ? initial + k * c.initial.row
                                     : (const T *)c.x.data + b * c.x.batch + channel;
        in[k] = k < c.taps ? sq_to_f32(*at) : 0.0f;
        tap[k] = k < c.taps ? sq_to_f32(w[k]) : 0.0f;
    }
#pragma unroll
    for (int k = 0; k < SQ_TOKEN_TAPS; k++) {
        if (k < c.taps)
            sum = fmaf(tap[k], in[k], sum);
        if (k > 0 && k < c.taps && is_owner)
            final[(k - 1) * c.final.row] = sq_from_f32<T>(in[k]);
    }
    return sq_to_f32(sq_from_f32<T>(c.has_silu ? sq_silu(sum) : sum));
}

/* Row `base` + half's own of the keys and queries, and at the first rows v of the own column. */
template <typename T, bool HAS_CONV>
__device__ __forceinline__ void sq_token_stage(const sq_token_params &t, const sq_step_part &part,
                                               int base, sq_step_shared<SQ_TOKEN_VECTOR> *shared,
                                               float *v)
{
    const sq_decay_params &p = t.p;
    const int own = (int)threadIdx.x, group = part.h / p.heads_per_group;
    const int row = own % SQ_STEP_TILE, n = base + row, column = part.start + own;
    const bool is_key = own < SQ_STEP_TILE, is_row = n < p.keys;
    const bool is_column = base == 0 && own < SQ_TOKEN_COLUMNS && column < p.values;
    float fetched = 0.0f;
    if constexpr (HAS_CONV) {
        const bool is_first = part.h % p.heads_per_group == 0 && part.start == 0;
        if (is_row)
            fetched = sq_token_convolve<T>(
                t.conv, part.b, (is_key ? t.conv.k : t.conv.q) + group * p.keys + n, is_first);
        /* Not at once with the row's: there are no registers for both beside the tile's words. */
        if (is_column)
            *v = sq_token_convolve<T>(t.conv, part.b, t.conv.v + part.h * p.values + column, true);
    } else {
        const T *rows =
            is_key ? sq_decay_at<T>(p.k, part.b, 0, group) : sq_decay_at<T>(p.q, part.b, 0, group);
        if (is_row)
            fetched = sq_to_f32(rows[n]);
        if (is_column)
            *v = sq_to_f32(sq_decay_at<T>(p.v, part.b, 0, part.h)[column]);
    }
    if (!is_key) {
        shared->row[row].query = fetched;
        return;
    }
    const sq_decay_head head = sq_decay_load_head(p, part.h);
    const sq_decay_step step = sq_decay_gate(p, head, sq_decay_dt<T>(p, part.b, 0, part.h));
    shared->row[row].decay = sq_decay_factor(p, head, step);
    shared->row[row].key = fetched;
    if (base == 0 && own < SQ_TOKEN_COLUMNS)
        shared->input[own] = step.weight * *v;
}

/* Adds the squares of this block's values up in the workspace and hands all on. True of the last
 * block of the group. */
__device__ __forceinline__ bool sq_token_hand_on(const sq_token_params &t, unsigned ticket,
                                                 float square)
{
    __shared__ float sums[SQ_TOKEN_COLUMNS / 32];
    __shared__ bool is_last;
    const int own = (int)threadIdx.x;
    if (own < SQ_TOKEN_COLUMNS) {
        square = sq_warp_sum(square);
        if (own % 32 == 0)
            sums[own / 32] = square;
    }
    __syncthreads();
    if (own == 0) { /* the fences are of the block: what it did before a barrier goes with them */
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < SQ_TOKEN_COLUMNS / 32; i++)
            sum += sums[i];
        t.square[blockIdx.x] = sum;
        const unsigned last = (unsigned)t.norm.blocks - 1;
        __threadfence(); /* values and squares, before the ticket is taken */
        is_last = atomicInc(&t.ticket[ticket], last) == last;
        __threadfence(); /* no value is read before it */
    }
    __syncthreads();
    return is_last;
}

template <typename T>
struct alignas(4 * sizeof(T)) sq_token_quad {
    T at[4];
};

/* y of four channels, from values that are normalised but for `scale`. */
template <typename T>
__device__ __forceinline__ void sq_token_write(const sq_token_norm &norm, int b, int channel,
                                               float4 value, sq_token_quad<T> z, float scale)
{
    const float at[4] = {value.x, value.y, value.z, value.w};
    sq_token_quad<T> y;
#pragma unroll
    for (int e = 0; e < 4; e++) {
        float one = fmaf(at[e] * scale, norm.w ? norm.w[channel + e] : 1.0f,
                         norm.bias ? norm.bias[channel + e] : 0.0f);
        if (norm.gate == SQ_NORM_GATE_POST)
            one *= sq_silu(sq_to_f32(z.at[e]));
        y.at[e] = sq_from_f32<T>(one);
    }
    *(sq_token_quad<T> *)((T *)norm.y.data + b * norm.y.batch + channel) = y;
}

/* y of group g, by one block. */
template <typename T>
__device__ __forceinline__ void sq_token_normalise(const sq_token_params &t, int b, int g)
{
    __shared__ float scratch[SQ_STEP_THREADS / 32];
    const sq_token_norm &norm = t.norm;
    const int own = (int)threadIdx.x, start = g * norm.width;
    const float *value = t.value + (int64_t)b * norm.groups * norm.width + start;
    const float *square = t.square + ((int64_t)b * norm.groups + g) * norm.blocks;
    const T *z = (const T *)norm.z.data + b * norm.z.batch + start;
    float sum[1] = {0.0f};
    for (int i = own; i < norm.blocks; i += SQ_STEP_THREADS)
        sum[0] += __ldcg(square + i);
    float scale = 0.0f;
    for (int base = own * 4; base - own * 4 < norm.width;
         base += SQ_TOKEN_QUADS * SQ_TOKEN_STRIDE) {
        float4 four[SQ_TOKEN_QUADS] = {};
        sq_token_quad<T> gate[SQ_TOKEN_QUADS] = {};
#pragma unroll
        for (int i = 0; i < SQ_TOKEN_QUADS; i++) {
            const int at = base + i * SQ_TOKEN_STRIDE;
            if (at < norm.width)
                four[i] = __ldcg((const float4 *)(value + at));
            if (at < norm.width && norm.gate == SQ_NORM_GATE_POST)
                gate[i] = *(const sq_token_quad<T> *)(z + at);
        }
        if (base == own * 4) { /* once, while the values are on their way */
            sq_lanes_sum<SQ_STEP_THREADS>(sum, scratch);
            scale = rsqrtf(sum[0] / (float)norm.width + norm.eps);
        }
#pragma unroll
        for (int i = 0; i < SQ_TOKEN_QUADS; i++) {
            const int at = base + i * SQ_TOKEN_STRIDE;
            if (at < norm.width)
                sq_token_write<T>(norm, b, start + at, four[i], gate[i], scale);
        }
    }
}

template <typename T, bool HAS_CONV>
static __global__ void __launch_bounds__(SQ_STEP_THREADS, SQ_STEP_BLOCKS)
    sq_decay_token_kernel(const __grid_constant__ sq_token_params t)
{
    __shared__ sq_step_shared<SQ_TOKEN_VECTOR> shared;
    const sq_decay_params &p = t.p;
    const sq_step_part part = sq_step_part_of<SQ_TOKEN_VECTOR>(p);
    const int own = (int)threadIdx.x, column = part.start + own;
    float sum[SQ_TOKEN_VECTOR] = {0.0f}, v = 0.0f, square = 0.0f;
    for (int base = 0; base < p.keys; base += SQ_STEP_TILE)
        sq_step_tile<SQ_TOKEN_VECTOR>(p, part, base, &shared, sum, [&] {
            sq_token_stage<T, HAS_CONV>(t, part, base, &shared, &v);
        });
    const float total = sq_step_column<SQ_TOKEN_VECTOR>(&shared, sum);
    if (own < SQ_TOKEN_COLUMNS && column < p.values) {
        const int64_t channel = part.h * p.values + column;
        const sq_decay_head head = sq_decay_load_head(p, part.h);
        const float o = sq_decay_output_scale(p, head, part.b, part.h, 0) * total +
                        sq_decay_skip(p, part.h, column) * v;
        float u = sq_to_f32(sq_from_f32<T>(sq_decay_gated<T>(p, part.b, 0, part.h, column, o)));
        if (t.norm.gate == SQ_NORM_GATE_PRE)
            u *= sq_silu(sq_to_f32(((const T *)t.norm.z.data)[part.b * t.norm.z.batch + channel]));
        t.value[(int64_t)part.b * p.heads * p.values + channel] = u;
        square = u * u;
    }
    const int group = part.h / t.norm.heads;
    if (sq_token_hand_on(t, (unsigned)(part.b * t.norm.groups + group), square))
        sq_token_normalise<T>(t, part.b, group);
}

/* --- host --- */

static int64_t blocks_of_head(const sq_decay_params &p)
{
    return sq_ceil_div(p.values, SQ_TOKEN_COLUMNS);
}

static int64_t values_of(const sq_decay_params &p)
{
    return (int64_t)p.batch * p.heads * p.values;
}

static bool lies_in(const sq_tensor *part, const sq_tensor *whole)
{
    const char *start = (const char *)whole->data;
    return part->rank && (const char *)part->data >= start &&
           (const char *)part->data < start + sq_tensor_bytes(whole);
}

/* How many inputs of the call are what `made` is. */
static int inputs_in(const sq_call *call, const sq_tensor *made)
{
    int count = 0;
    for (int i = 0; i < SQ_MAX_IN; i++)
        count += lies_in(&call->in[i], made);
    return count;
}

/* The channel of the convolution's output that `part` begins with. */
static int64_t channel_of(const sq_call *conv, const sq_decay_tensor &part)
{
    return ((const char *)part.data - (const char *)conv->out[OUT_Y].data) /
           (int64_t)sq_dtype_size(conv->dtype);
}

/* Is `part`, heads of `width` channels, dense rows' cut of the convolution's output? */
static bool is_cut_of(const sq_call *conv, const sq_decay_tensor &part, int heads, int width)
{
    const sq_tensor *y = &conv->out[OUT_Y];
    const int64_t first = channel_of(conv, part), channels = y->dim[2];
    return first >= 0 && first + (int64_t)heads * width <= channels &&
           (heads == 1 || part.head == width) && (y->dim[0] == 1 || part.batch == y->stride[0]);
}

static bool are_apart(int64_t a, int64_t a_count, int64_t b, int64_t b_count)
{
    return a + a_count <= b || b + b_count <= a;
}

static sq_status supports_conv(const sq_call *const *calls, const sq_decay_params &p, sq_error *why)
{
    const sq_call *conv = calls[0];
    const int groups = p.heads / p.heads_per_group;
    if (!is_cut_of(conv, p.v, p.heads, p.values) || !is_cut_of(conv, p.k, groups, p.keys) ||
        !is_cut_of(conv, p.q, groups, p.keys) || inputs_in(calls[1], &conv->out[OUT_Y]) != 3 ||
        inputs_in(calls[2], &conv->out[OUT_Y]) != 0)
        return sq_fail(why, SQ_UNSUPPORTED, "the convolution makes queries, keys and values only");
    const int64_t values = p.heads * (int64_t)p.values, keys = groups * (int64_t)p.keys;
    const int64_t v = channel_of(conv, p.v), k = channel_of(conv, p.k), q = channel_of(conv, p.q);
    if (!are_apart(v, values, k, keys) || !are_apart(v, values, q, keys) ||
        !are_apart(k, keys, q, keys) || conv->out[OUT_Y].dim[2] != values + 2 * keys)
        return sq_fail(why, SQ_UNSUPPORTED, "channels of the convolution that nobody owns");
    if (conv->in[IN_W].stride[1] != 1 || conv->in[IN_W].dim[1] > SQ_TOKEN_TAPS)
        return sq_fail(why, SQ_UNSUPPORTED, "up to %d taps, one after the other", SQ_TOKEN_TAPS);
    return SQ_OK;
}

static bool is_quad(const sq_tensor *t)
{
    const uintptr_t bytes = 4 * sq_dtype_size(t->dtype);
    return !t->rank ||
           ((uintptr_t)t->data % bytes == 0 && (t->dim[0] == 1 || t->stride[0] % 4 == 0));
}

static sq_status supports_norm(const sq_call *mixer, const sq_call *call, const sq_decay_params &p,
                               sq_error *why)
{
    const sq_norm norm = sq_rmsnorm_norm(call->pass, call->axis);
    const sq_tensor *o = &mixer->out[SQ_DECAY_OUT_O], *x = &call->in[SQ_NORM_X];
    if (x->data != o->data || !sq_tensor_is_dense(x) || !sq_tensor_is_dense(o) ||
        inputs_in(call, o) != 1)
        return sq_fail(why, SQ_UNSUPPORTED, "the norm is not of the recurrence alone");
    if (norm.residual != SQ_NORM_RESIDUAL_NONE || norm.width % p.values != 0)
        return sq_fail(why, SQ_UNSUPPORTED, "a norm with a residual, or of parts of a head");
    if ((norm.gate == SQ_NORM_GATE_POST && !is_quad(&call->in[SQ_NORM_Z])) ||
        !is_quad(&call->out[SQ_NORM_Y]))
        return sq_fail(why, SQ_UNSUPPORTED, "rows of four channels are not aligned");
    return SQ_OK;
}

sq_status sq_decay_token_supports(const sq_call *const *calls, int mixer, const sq_decay_params &p,
                                  const sq_device *device, sq_error *why)
{
    if (calls[mixer]->pass != SQ_PASS_STEP || calls[mixer]->dtype != SQ_DTYPE_BF16 ||
        p.kind == SQ_DECAY_ROWS)
        return sq_fail(why, SQ_UNSUPPORTED, "one token in bf16, a decay for a head");
    if (p.values % 4 != 0 || !sq_decay_has_vectors(p.initial) || !sq_decay_has_vectors(p.final))
        return sq_fail(why, SQ_UNSUPPORTED, "states that are no vectors of 16 bytes");
    SQ_TRY(sq_decay_supports_grid(p, why));
    /* Each block makes what it needs of the convolution, and waits for that: where one wave of blocks
     * follows another, node by node is faster (docs/kernels/recurrence.md). */
    if (blocks_of_head(p) * p.heads * p.batch > (int64_t)SQ_STEP_BLOCKS * device->sm_count)
        return sq_fail(why, SQ_UNSUPPORTED, "more blocks than the device holds at once");
    SQ_TRY(supports_norm(calls[mixer], calls[mixer + 1], p, why));
    return mixer ? supports_conv(calls, p, why) : SQ_OK;
}

size_t sq_decay_token_workspace(const sq_decay_params &p)
{
    const int64_t blocks = blocks_of_head(p) * p.heads * p.batch;
    return (size_t)(values_of(p) + blocks) * sizeof(float);
}

static sq_token_rows rows_of(const sq_tensor *t)
{
    return {t->data, t->stride[0], t->stride[1]};
}

static sq_token_conv conv_of(const sq_call *call, const sq_decay_params &p)
{
    sq_token_conv c = {};
    c.x = rows_of(&call->in[IN_X]);
    c.initial = rows_of(&call->in[IN_INITIAL]);
    c.final = rows_of(&call->out[OUT_FINAL]);
    c.w = call->in[IN_W].data;
    c.bias = call->in[IN_BIAS].data;
    c.w_stride = call->in[IN_W].stride[0];
    c.taps = (int)call->in[IN_W].dim[1];
    c.has_silu = call->axis[AXIS_SILU] != 0;
    c.v = (int)channel_of(call, p.v);
    c.k = (int)channel_of(call, p.k);
    c.q = (int)channel_of(call, p.q);
    return c;
}

static sq_token_norm norm_of(const sq_call *call, const sq_decay_params &p)
{
    const sq_norm norm = sq_rmsnorm_norm(call->pass, call->axis);
    sq_token_norm n = {};
    n.y = rows_of(&call->out[SQ_NORM_Y]);
    n.z = rows_of(&call->in[SQ_NORM_Z]);
    n.w = (const float *)call->in[SQ_NORM_W].data;
    n.bias = (const float *)call->in[SQ_NORM_B].data;
    n.groups = (int)norm.groups;
    n.width = (int)norm.width;
    n.heads = n.width / p.values;
    n.blocks = (int)(n.heads * blocks_of_head(p));
    n.gate = norm.gate;
    n.eps = (float)norm.eps;
    return n;
}

sq_status sq_decay_token_prepare(const sq_call *const *calls, int mixer, void **plan, sq_error *err)
{
    const sq_call *call = calls[mixer + 1];
    const sq_norm norm = sq_rmsnorm_norm(call->pass, call->axis);
    const size_t bytes = (size_t)(norm.batch * norm.groups) * sizeof(unsigned);
    const cudaError_t error = cudaMalloc(plan, bytes);
    if (error == cudaErrorMemoryAllocation)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "tickets: %zu bytes", bytes);
    SQ_TRY(sq_cuda_check(error, "tickets", err));
    return sq_cuda_check(cudaMemsetAsync(*plan, 0, bytes, sq_stream(calls[0])), "tickets", err);
}

sq_status sq_decay_token_launch(const sq_call *const *calls, int mixer, const sq_decay_params &p,
                                void *plan, sq_error *err)
{
    sq_token_params t = {};
    t.p = p;
    t.norm = norm_of(calls[mixer + 1], p);
    t.value = (float *)calls[0]->workspace;
    t.square = t.value + values_of(p);
    t.ticket = (unsigned *)plan;
    const unsigned grid = (unsigned)(blocks_of_head(p) * p.heads * p.batch);
    if (mixer) {
        t.conv = conv_of(calls[0], p);
        sq_decay_token_kernel<__nv_bfloat16, true>
            <<<grid, SQ_STEP_THREADS, 0, sq_stream(calls[0])>>>(t);
    } else {
        sq_decay_token_kernel<__nv_bfloat16, false>
            <<<grid, SQ_STEP_THREADS, 0, sq_stream(calls[0])>>>(t);
    }
    return sq_launched("token", err);
}

void sq_decay_token_release(void *plan)
{
    cudaFree(plan);
}
