/* local_attention: SPADE's: causal softmax attention to the last `block` keys, with a bias by
 * distance.
 *
 *   o_i = sum_j softmax_j(q_i . k_j / sqrt(D) + b_{u(i-j), h}) v_j   over i - block < j <= i
 *   u(n) = n                                               n < m,  m = buckets / 2
 *          m + floor(m log(n / m) / log(distance / m))     else, at most buckets - 1
 *
 * The official code works block by block on three neighbouring blocks of keys and masks what lies
 * farther away: the same function.
 *
 * Source    Zuo et al.: Efficient long sequence modeling via state space augmented transformer,
 *           2212.08136, sec. 3, and LocalAttention in the authors' code; buckets: Raffel et al.,
 *           1910.10683, sec. 2.1 (one direction)
 * Symbols   B: batch;  L: sequence length;  H: heads;  D: head dim
 * in[0..2]  q, k, v  (B, L, H, D)   dtype    in[3]  bias  (buckets, H)  f32, if buckets > 0
 * out[0]    o        (B, L, H, D)   dtype    accumulates in f32 (reference: f64)
 * Step      one query, the last of L tokens; k and v are the cache: L keys, or with block < L a
 *           ring of `block`, key t in row t mod block
 * Needs     buckets is even, distance > buckets / 2; D <= 256
 * Errors    SQ_BAD_SHAPE, SQ_OUT_OF_MEMORY
 * Cost      fwd, step: 4 D flop and one exp for each visible pair and head, one addition more with
 *           a bias; reads and writes every tensor once
 *           bwd: 10 D flop a pair, two more with a bias; reads q, k, v, bias, o and do once
 */
#include "kernels/local_attention/local_attention.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/shared/channels.h"
#include "kernels/shared/rows.h"

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1 << 20, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"H", "heads", "heads", SQ_AXIS_INT, 8, 1, 4096, NULL},
    {"D", "head-dim", "channels of a head", SQ_AXIS_INT, 128, 1, 256, NULL},
    {"block", "block", "keys that a query sees, its own included", SQ_AXIS_INT, 512, 1, 1 << 24,
     NULL},
    {"buckets", "buckets", "biases of a head (0: none)", SQ_AXIS_INT, 32, 0, MAX_BUCKETS, NULL},
    {"distance", "max-distance", "where the last bucket begins at the latest", SQ_AXIS_INT, 128, 1,
     1 << 16, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    if (sq_axis_int(axis, AXIS_BUCKETS) % 2 != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "buckets=%g is odd", axis[AXIS_BUCKETS]);
    if (axis[AXIS_BUCKETS] > 0 && axis[AXIS_DISTANCE] <= axis[AXIS_BUCKETS] / 2)
        return sq_fail(err, SQ_BAD_SHAPE, "distance=%g is not above half of buckets=%g",
                       axis[AXIS_DISTANCE], axis[AXIS_BUCKETS]);
    return SQ_OK;
}

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    SQ_TRY(sq_heads_at_width(width, 128, &axis[AXIS_H], err));
    axis[AXIS_D] = 128;
    return SQ_OK;
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    (void)err;
    const bool is_step = pass == SQ_PASS_STEP;
    const int64_t b = sq_axis_int(axis, AXIS_B), l = is_step ? 1 : sq_axis_int(axis, AXIS_L);
    const int64_t h = sq_axis_int(axis, AXIS_H), d = sq_axis_int(axis, AXIS_D);
    const bool is_ring = is_step && axis[AXIS_BLOCK] < axis[AXIS_L];
    const int64_t keys = sq_axis_int(axis, is_ring ? AXIS_BLOCK : AXIS_L);
    const int64_t buckets = sq_axis_int(axis, AXIS_BUCKETS);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_Q] = (sq_tensor_spec){"q", dtype, 4, {b, l, h, d}, 1, normal};
    list->in[IN_K] = (sq_tensor_spec){"k", dtype, 4, {b, keys, h, d}, 1, normal};
    list->in[IN_V] = (sq_tensor_spec){"v", dtype, 4, {b, keys, h, d}, 1, normal};
    if (buckets > 0)
        list->in[IN_BIAS] = (sq_tensor_spec){"bias", SQ_DTYPE_F32, 2, {buckets, h}, -1, normal};
    list->out[0] = (sq_tensor_spec){"o", dtype, 4, {b, l, h, d}, 1, {0}};
    return SQ_OK;
}

sq_attention_rules sq_local_attention_rules(sq_pass pass, const sq_axis_value *axis)
{
    return (sq_attention_rules){
        .queries = pass == SQ_PASS_STEP ? 1 : sq_axis_int(axis, AXIS_L),
        .keys = sq_axis_int(axis, AXIS_L),
        .heads = sq_axis_int(axis, AXIS_H),
        .is_causal = true,
        .window = sq_axis_int(axis, AXIS_BLOCK),
    };
}

int64_t sq_local_attention_biases(const sq_axis_value *axis)
{
    return (int64_t)fmin(axis[AXIS_DISTANCE] + 1, fmin(axis[AXIS_BLOCK], axis[AXIS_L]));
}

int64_t sq_local_attention_bucket(const sq_axis_value *axis, int64_t distance)
{
    const int64_t buckets = sq_axis_int(axis, AXIS_BUCKETS), exact = buckets / 2;
    if (distance < exact)
        return distance;
    const double m = (double)exact, n = (double)distance;
    const int64_t far = exact + (int64_t)(log(n / m) / log(axis[AXIS_DISTANCE] / m) * m);
    return far < buckets ? far : buckets - 1;
}

double *sq_local_attention_table(const sq_axis_value *axis, const sq_tensor *bias)
{
    const int64_t biases = sq_local_attention_biases(axis), heads = sq_axis_int(axis, AXIS_H);
    if (bias->rank == 0)
        return NULL;
    double *table = malloc((size_t)(heads * biases) * sizeof *table);
    for (int64_t i = 0; table && i < heads * biases; i++) {
        const int64_t bucket = sq_local_attention_bucket(axis, i % biases);
        table[i] = sq_load(bias->data, bias->dtype,
                           bucket * bias->stride[0] + i / biases * bias->stride[1]);
    }
    return table;
}

static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const sq_attention_rules rules = sq_local_attention_rules(pass, axis);
    const bool is_bwd = pass == SQ_PASS_BWD;
    const double size = (double)sq_dtype_size(dtype), sequences = axis[AXIS_B] * axis[AXIS_H];
    const double pairs = sequences * sq_attention_pairs(&rules, 0), has = axis[AXIS_BUCKETS] > 0;
    const double q = size * sequences * axis[AXIS_D] * (double)rules.queries;
    const double seen = pass == SQ_PASS_STEP ? fmin(axis[AXIS_BLOCK], axis[AXIS_L]) : axis[AXIS_L];
    const double kv = 2 * size * sequences * axis[AXIS_D] * seen;
    const double bias = axis[AXIS_BUCKETS] * axis[AXIS_H] * sizeof(float);
    const double matrix = (is_bwd ? 10 : 4) * axis[AXIS_D] * pairs;
    return (sq_cost){
        .flops = matrix + (is_bwd ? 2 : 1) * has * pairs,
        .matrix_flops = dtype == SQ_DTYPE_F32 ? 0 : matrix,
        .special = pairs,
        .bytes_read = (is_bwd ? 3 : 1) * q + kv + bias,
        .bytes_written = is_bwd ? q + kv + bias : q,
    };
}

/* attention.c has the reasons. A bias of variance 1 beside scores of variance 1 makes the weights
 * of few keys larger: an output is a mean of about n / e^2 values of its n keys. The gradient of a
 * bias is a sum over all pairs of a bucket, whose errors average out. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const bool is_bwd = pass == SQ_PASS_BWD;
    const double keys = fmin(axis[AXIS_BLOCK], axis[AXIS_L]), spread = pass == SQ_PASS_STEP;
    double relative = is_bwd ? 1e-5 : fmin(1e-5, 3e-6 + 3e-8 * sqrt(keys));
    if (dtype != SQ_DTYPE_F32)
        relative = (is_bwd ? 5e-3 : 4e-3) / (dtype == SQ_DTYPE_BF16 ? 1 : 8);
    const double largest = spread != 0 ? 1 : sqrt(fmax(1, keys / 7.4));
    return (sq_tolerance){.rel_l2 = relative, .max_abs = (is_bwd ? 32 : 16) * relative * largest};
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    sq_attention_rules rules = sq_local_attention_rules(call->pass, call->axis);
    double *table = sq_local_attention_table(call->axis, &call->in[IN_BIAS]);
    if (!table && call->in[IN_BIAS].rank > 0)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "local_attention: no memory for the biases");
    rules.bias = table;
    rules.biases = sq_local_attention_biases(call->axis);
    const sq_status status = sq_attention_forward(&rules, &call->in[IN_Q], &call->in[IN_K],
                                                  &call->in[IN_V], &call->out[0], err);
    free(table);
    return status;
}

static double reference_work(const sq_axis_value *axis)
{
    const sq_attention_rules rules = sq_local_attention_rules(SQ_PASS_FWD, axis);
    return axis[AXIS_B] * axis[AXIS_H] *
           ((2 * axis[AXIS_D] + 20) * sq_attention_pairs(&rules, 0) + axis[AXIS_L]);
}

/* The first steps of one head; pass step: all keys of one head. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const bool is_step = whole->pass == SQ_PASS_STEP;
    const double row = fmin(axis[AXIS_BLOCK], axis[AXIS_L]) * (2 * axis[AXIS_D] + 20);
    const int64_t l = whole->in[IN_K].dim[1], most = (int64_t)fmax(1, pick.max_work / row);
    const int64_t count = is_step || most > l ? l : most;
    const int64_t b = sq_pick_start(pick, 0, whole->in[IN_Q].dim[0], 1);
    const int64_t h = sq_pick_start(pick, 1, whole->in[IN_Q].dim[2], 1);
    const int64_t at[3] = {b, 0, h}, cut[3] = {1, count, 1};
    *sub = *whole;
    sub->axis[AXIS_B] = sub->axis[AXIS_H] = 1;
    if (!is_step)
        sub->axis[AXIS_L] = (double)count;
    for (int i = 0; i < 3; i++) {
        const int64_t rows = i == 1 && is_step ? 1 : cut[i];
        sub->in[IN_Q] = sq_tensor_slice(&sub->in[IN_Q], i, at[i], rows);
        sub->in[IN_K] = sq_tensor_slice(&sub->in[IN_K], i, at[i], cut[i]);
        sub->in[IN_V] = sq_tensor_slice(&sub->in[IN_V], i, at[i], cut[i]);
        sub->out[0] = sq_tensor_slice(&sub->out[0], i, at[i], rows);
    }
    if (sub->in[IN_BIAS].rank > 0)
        sub->in[IN_BIAS] = sq_tensor_slice(&sub->in[IN_BIAS], 1, h, 1);
    snprintf(what, size, "b=%lld h=%lld rows=0..%lld", (long long)b, (long long)h,
             (long long)count);
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=1,L=1,H=1,D=8",
    "B=2,L=37,H=2,D=16,block=10,buckets=8,distance=9",
    "B=1,L=131,H=3,D=64,block=48,buckets=0",
    "B=1,L=200,H=2,D=128,block=64,buckets=32,distance=128",
    "B=2,L=23,H=2,D=8,block=512,buckets=4,distance=7",
    "B=1,L=700,H=1,D=64",
    "B=2,L=61,H=4,D=1,block=17,buckets=4,distance=9",
    "B=1,L=53,H=2,D=3,buckets=0",
    "B=2,L=37,H=4,D=4,block=16,buckets=8,distance=9",
    "B=1,L=53,H=2,D=12,block=10,buckets=8,distance=16",
    "B=1,L=131,H=3,D=33,block=48",
    NULL,
};

const sq_op sq_op_local_attention = {
    .name = "local_attention",
    .source = "Zuo et al., arXiv 2212.08136, sec. 3",
    .doc = "o_i = sum_j softmax_j(q_i . k_j / sqrt(D) + b_u(i-j)) v_j over the last `block` keys",
    .is_mixer = true,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_local_attention_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
