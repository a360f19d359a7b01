/* attention: softmax attention: causal or not, grouped key/value heads, sliding window.
 *
 *   o_i = sum_j p_ij v_j,   p_ij = exp(s_ij) / sum_j' exp(s_ij'),   s_ij = q_i . k_j / sqrt(D)
 *
 * over the keys j that query i sees. Queries stand at the end of the keys (bottom-right alignment):
 * with c = Lk - L, a causal query i sees j <= i + c, with a window W of those only j > i + c - W
 * (its own key and the W - 1 before it); a query that sees no key yields 0. Query head h reads
 * key/value head h / (H / Hkv).
 *
 * Source    Vaswani et al., 1706.03762, eq. 1; grouped heads: Ainslie et al., 2305.13245;
 *           window: Beltagy et al., 2004.05150, sec. 3.1
 * Symbols   B: batch;  L: queries;  Lk: keys;  H: query heads;  Hkv: key/value heads;  D: head dim
 * in[0]     q  (B, L, H, D)     dtype       in[1]  k  (B, Lk, Hkv, D)  dtype
 * in[2]     v  (B, Lk, Hkv, D)  dtype
 * out[0]    o  (B, L, H, D)     dtype       accumulates in f32 (reference: f64)
 * Needs     Hkv divides H; a window needs causal = 1; D <= 256
 * Errors    SQ_BAD_SHAPE; SQ_UNSUPPORTED for every pass but fwd
 * Cost      4 D flop and one exp for each visible (query, key) pair and head; reads q and the keys
 *           and values that any query sees once, writes o once
 */
#include "kernels/attention/attention.h"
#include "kernels/op.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/shared/rows.h"

enum { MAX_D = 256 };

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1 << 20, NULL},
    {"L", "seqlen", "queries of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"Lk", "kv-seqlen", "keys of a sequence (0: as many as queries)", SQ_AXIS_INT, 0, 0, 1 << 24,
     NULL},
    {"H", "heads", "query heads", SQ_AXIS_INT, 16, 1, 4096, NULL},
    {"Hkv", "kv-heads", "key/value heads (0: as many as query heads)", SQ_AXIS_INT, 0, 0, 4096,
     NULL},
    {"D", "head-dim", "channels of a head", SQ_AXIS_INT, 128, 1, MAX_D, NULL},
    {"causal", "causal", "1: a query sees no later key", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"window", "window", "keys that a query sees, its own included (0: all)", SQ_AXIS_INT, 0, 0,
     1 << 24, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    if (axis[AXIS_LK] == 0)
        axis[AXIS_LK] = axis[AXIS_L];
    if (axis[AXIS_HKV] == 0)
        axis[AXIS_HKV] = axis[AXIS_H];
    if (sq_axis_int(axis, AXIS_H) % sq_axis_int(axis, AXIS_HKV) != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "H=%g is no multiple of Hkv=%g", axis[AXIS_H],
                       axis[AXIS_HKV]);
    if (axis[AXIS_WINDOW] != 0 && axis[AXIS_CAUSAL] == 0)
        return sq_fail(err, SQ_BAD_SHAPE, "window=%g needs causal=1", axis[AXIS_WINDOW]);
    return SQ_OK;
}

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    if (width < 128 || width % 128 != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "width %lld is no multiple of the head dim 128",
                       (long long)width);
    axis[AXIS_D] = 128;
    axis[AXIS_H] = axis[AXIS_HKV] = (double)(width / 128);
    return SQ_OK;
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    if (pass != SQ_PASS_FWD)
        return sq_fail(err, SQ_UNSUPPORTED, "attention has no pass %s", sq_pass_name(pass));
    const int64_t b = sq_axis_int(axis, AXIS_B), l = sq_axis_int(axis, AXIS_L);
    const int64_t lk = sq_axis_int(axis, AXIS_LK), h = sq_axis_int(axis, AXIS_H);
    const int64_t hkv = sq_axis_int(axis, AXIS_HKV), d = sq_axis_int(axis, AXIS_D);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_Q] = (sq_tensor_spec){"q", dtype, 4, {b, l, h, d}, 1, normal};
    list->in[IN_K] = (sq_tensor_spec){"k", dtype, 4, {b, lk, hkv, d}, 1, normal};
    list->in[IN_V] = (sq_tensor_spec){"v", dtype, 4, {b, lk, hkv, d}, 1, normal};
    list->out[0] = (sq_tensor_spec){"o", dtype, 4, {b, l, h, d}, 1, {0}};
    return SQ_OK;
}

sq_key_range sq_attention_keys(const sq_axis_value *axis, int64_t row)
{
    const int64_t lk = sq_axis_int(axis, AXIS_LK), window = sq_axis_int(axis, AXIS_WINDOW);
    if (axis[AXIS_CAUSAL] == 0)
        return (sq_key_range){0, lk};
    int64_t last = row + lk - sq_axis_int(axis, AXIS_L) + 1;
    if (last <= 0)
        return (sq_key_range){0, 0};
    return (sq_key_range){window > 0 && last > window ? last - window : 0, last};
}

/* How many keys the first query with any sees, if no window cut them. */
static double first_count(const sq_axis_value *axis)
{
    if (axis[AXIS_CAUSAL] == 0)
        return axis[AXIS_LK];
    return fmax(1, axis[AXIS_LK] - axis[AXIS_L] + 1);
}

/* Visible (query, key) pairs of one head: the sum of min(n, W) over n = first_count .. Lk. */
static double visible_pairs(const sq_axis_value *axis)
{
    const double lk = axis[AXIS_LK], window = axis[AXIS_WINDOW], first = first_count(axis);
    if (axis[AXIS_CAUSAL] == 0)
        return axis[AXIS_L] * lk;
    const double cut = window > 0 ? fmin(window, lk) : lk; /* rows n > cut see `cut` keys */
    const double full = fmax(0, lk - fmax(cut, first - 1));
    const double ramp = first <= cut ? (cut * (cut + 1) - (first - 1) * first) / 2 : 0;
    return ramp + full * cut;
}

static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    const double size = (double)sq_dtype_size(dtype), batch = axis[AXIS_B];
    const double pairs = batch * axis[AXIS_H] * visible_pairs(axis);
    const double q = batch * axis[AXIS_L] * axis[AXIS_H] * axis[AXIS_D];
    double keys = axis[AXIS_LK];
    if (axis[AXIS_WINDOW] > 0)
        keys = fmin(keys, axis[AXIS_L] + axis[AXIS_WINDOW] - 1);
    const double kv = 2 * batch * keys * axis[AXIS_HKV] * axis[AXIS_D];
    return (sq_cost){
        .flops = 4 * axis[AXIS_D] * pairs,
        .matrix_flops = dtype == SQ_DTYPE_F32 ? 0 : 4 * axis[AXIS_D] * pairs,
        .special = pairs,
        .bytes_read = size * (q + kv),
        .bytes_written = size * q,
    };
}

/* sum over m = 1..n of min(1, e/m), by the integral. */
static double variance_sum(double n)
{
    const double e = 2.718281828459045;
    return n <= e ? n : e * (1 + log(n / e));
}

/* With q, k, v of variance 1 an output of n keys is a mean of about n/e independent values:
 * variance min(1, e/n). So the first rows are the largest, and an error relative to them may be
 * many times the root mean square of a long sequence.
 *   16 bit: rounding o and rounding each p cost one half-ulp each (rms 1.7e-3 for bf16), together
 *           2.4e-3, and rounding the reference another 1.7e-3: 2.9e-3 in all.
 *   f32: a few ulp of exp2 and of the scores, and sums of Lk terms: rounding grows as sqrt(Lk).
 * The worst element is a few times the root mean square of its row's error. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    const double first = first_count(axis), lk = axis[AXIS_LK], window = axis[AXIS_WINDOW];
    double relative = 3e-6 + 3e-8 * sqrt(lk);
    if (dtype != SQ_DTYPE_F32)
        relative = dtype == SQ_DTYPE_BF16 ? 4e-3 : 5e-4;
    double largest = fmin(1, 2.718281828459045 / first), mean = largest;
    if (axis[AXIS_CAUSAL] != 0) {
        const double cut = window > 0 ? fmin(window, lk) : lk;
        double sum = cut > first ? variance_sum(cut) - variance_sum(first - 1) : largest;
        sum += (lk - fmax(cut, first)) * fmin(1, 2.718281828459045 / cut);
        largest = fmin(1, 2.718281828459045 / fmin(first, cut));
        mean = sum / axis[AXIS_L];
    }
    return (sq_tolerance){.rel_l2 = relative, .max_abs = 16 * relative * sqrt(largest / mean)};
}

/* One key/value head of one sequence, unpacked: (Lk, D) each. */
typedef struct {
    double *k, *v;
} unpacked;

static void unpack(const sq_call *call, int64_t b, int64_t hkv, unpacked *kv)
{
    const sq_tensor *k = &call->in[IN_K], *v = &call->in[IN_V];
    const int64_t d = k->dim[3];
#pragma omp parallel for
    for (int64_t j = 0; j < k->dim[1]; j++) {
        sq_row_read(k, b * k->stride[0] + j * k->stride[1] + hkv * k->stride[2], d, kv->k + j * d);
        sq_row_read(v, b * v->stride[0] + j * v->stride[1] + hkv * v->stride[2], d, kv->v + j * d);
    }
}

/* One output row; score: room for Lk numbers. */
static void attend(const sq_call *call, int64_t b, int64_t h, int64_t row, const unpacked *kv,
                   double *score)
{
    const sq_tensor *q = &call->in[IN_Q], *o = &call->out[0];
    const int64_t d = q->dim[3];
    const sq_key_range seen = sq_attention_keys(call->axis, row);
    double query[MAX_D], out[MAX_D] = {0}, max = -INFINITY, sum = 0;
    sq_row_read(q, b * q->stride[0] + row * q->stride[1] + h * q->stride[2], d, query);
    for (int64_t j = seen.first; j < seen.last; j++) {
        score[j] = sq_row_dot(query, kv->k + j * d, d) / sqrt((double)d);
        max = fmax(max, score[j]);
    }
    for (int64_t j = seen.first; j < seen.last; j++) {
        const double p = exp(score[j] - max), *v = kv->v + j * d;
        sum += p;
        for (int64_t i = 0; i < d; i++)
            out[i] += p * v[i];
    }
    for (int64_t i = 0; i < d && sum > 0; i++)
        out[i] /= sum;
    sq_row_write(o, b * o->stride[0] + row * o->stride[1] + h * o->stride[2], d, out);
}

/* All query heads that read key/value head hkv; false when out of memory. */
static bool attend_group(const sq_call *call, int64_t b, int64_t hkv, const unpacked *kv)
{
    const int64_t rows = call->in[IN_Q].dim[1], keys = call->in[IN_K].dim[1];
    const int64_t group = call->in[IN_Q].dim[2] / call->in[IN_K].dim[2];
    bool is_ok = true;
#pragma omp parallel reduction(&& : is_ok)
    {
        double *score = malloc((size_t)keys * sizeof *score);
        is_ok = score != NULL;
#pragma omp for schedule(dynamic, 8)
        for (int64_t i = 0; i < group * rows; i++)
            if (score)
                attend(call, b, hkv * group + i / rows, i % rows, kv, score);
        free(score);
    }
    return is_ok;
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    const sq_tensor *k = &call->in[IN_K];
    const size_t count = (size_t)(k->dim[1] * k->dim[3]);
    unpacked kv = {malloc(count * sizeof(double)), malloc(count * sizeof(double))};
    bool is_ok = kv.k && kv.v;
    for (int64_t i = 0; i < k->dim[0] * k->dim[2] && is_ok; i++) {
        unpack(call, i / k->dim[2], i % k->dim[2], &kv);
        is_ok = attend_group(call, i / k->dim[2], i % k->dim[2], &kv);
    }
    free(kv.k);
    free(kv.v);
    if (!is_ok)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "attention reference: %zu keys x channels", count);
    return SQ_OK;
}

static double reference_work(const sq_axis_value *axis)
{
    return axis[AXIS_B] * axis[AXIS_H] * (2 * axis[AXIS_D] + 20) * visible_pairs(axis);
}

/* Some query rows of one head, at the end of the sequence (longest sums) or anywhere, and the keys
 * from the first to the last that they see, so that the bottom-right alignment still holds. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const int64_t l = sq_axis_int(axis, AXIS_L), lk = sq_axis_int(axis, AXIS_LK);
    const int64_t group = sq_axis_int(axis, AXIS_H) / sq_axis_int(axis, AXIS_HKV);
    const double keys = axis[AXIS_WINDOW] > 0 ? fmin(axis[AXIS_WINDOW], axis[AXIS_LK]) : (double)lk;
    const double fit = pick.max_work / (keys * (2 * axis[AXIS_D] + 20));
    const int64_t count = (int64_t)fmax(1, fmin((double)l, fit));
    const int64_t b = sq_pick_start(pick, 0, whole->in[IN_Q].dim[0], 1);
    const int64_t h = sq_pick_start(pick, 1, whole->in[IN_Q].dim[2], 1);
    int64_t row = sq_pick_start(pick, 2, l, count);
    if (sq_rng_bits(pick.seed, 0, 3) % 2 == 0 || sq_attention_keys(axis, row + count - 1).last == 0)
        row = l - count;
    const sq_key_range first = sq_attention_keys(axis, row),
                       last = sq_attention_keys(axis, row + count - 1);

    *sub = *whole;
    sub->axis[AXIS_B] = sub->axis[AXIS_H] = sub->axis[AXIS_HKV] = 1;
    sub->axis[AXIS_L] = (double)count;
    sub->axis[AXIS_LK] = (double)(last.last - first.first);
    const int64_t at[3] = {b, row, h}, at_kv[3] = {b, first.first, h / group};
    const int64_t cut[3] = {1, count, 1}, cut_kv[3] = {1, last.last - first.first, 1};
    for (int i = 0; i < 3; i++) {
        sub->in[IN_Q] = sq_tensor_slice(&sub->in[IN_Q], i, at[i], cut[i]);
        sub->in[IN_K] = sq_tensor_slice(&sub->in[IN_K], i, at_kv[i], cut_kv[i]);
        sub->in[IN_V] = sq_tensor_slice(&sub->in[IN_V], i, at_kv[i], cut_kv[i]);
        sub->out[0] = sq_tensor_slice(&sub->out[0], i, at[i], cut[i]);
    }
    snprintf(what, size, "b=%lld h=%lld rows=%lld..%lld", (long long)b, (long long)h,
             (long long)row, (long long)(row + count));
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=1,L=1,H=2,D=64",
    "B=2,L=1,Lk=97,H=4,Hkv=2,D=128",
    "B=2,L=37,H=3,D=64",
    "B=1,L=127,H=4,Hkv=1,D=128",
    "B=1,L=64,H=2,D=64,causal=0",
    "B=2,L=130,Lk=71,H=2,D=64,causal=0",
    "B=1,L=311,H=2,Hkv=1,D=128",
    "B=1,L=257,H=2,D=64,window=1",
    "B=1,L=300,H=2,D=128,window=65",
    "B=1,L=515,H=2,Hkv=1,D=64,window=128",
    "B=1,L=40,Lk=25,H=2,Hkv=1,D=64",
    "B=1,L=200,Lk=17,H=2,D=128,window=8",
    "B=2,L=5,Lk=190,H=4,Hkv=1,D=64,window=70",
    "B=1,L=129,Lk=400,H=2,D=128",
    "B=1,L=131,H=3,D=80",
    "B=1,L=67,H=2,D=8",
    "B=1,L=33,H=2,D=37",
    "B=1,L=70,H=2,D=256",
    "B=1,L=1025,H=1,D=128",
    NULL,
};

const sq_op sq_op_attention = {
    .name = "attention",
    .source = "Vaswani et al., arXiv 1706.03762, eq. 1",
    .doc = "o_i = sum_j softmax_j(q_i . k_j / sqrt(D)) v_j over the keys j that query i sees",
    .is_mixer = true,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_attention_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
