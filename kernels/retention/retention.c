/* retention: linear attention with a fixed decay per head; the mixer of RetNet.
 *
 *   S_t = gamma_h S_{t-1} + k_t v_t^T            S_{-1} = initial_state, or 0; a (K, V) matrix
 *   o_t = q_t^T S_t / sqrt(K) / m_t              gamma_h = 1 - 2^(-5 - first - h)
 *
 * that is O = ((Q K^T / sqrt(K)) o D) V with D_ts = gamma^(t-s) for s <= t, and R that matrix of
 * scores. final_state = S_{L-1}. Rotation of q and k comes before, the norm per head after; that
 * norm is invariant to the normaliser m_t, which is
 *
 *   none        1
 *   decay       c_t = sqrt(1 + gamma + ... + gamma^(past + t)): section 2.2's of D, and what
 *               TorchScale's recurrent form computes; past: steps before the call
 *   paper       c_t max(|sum_s R_ts| / c_t, 1): section 2.2, of D and R
 *   torchscale  c_t min(max(sum_s |R_ts| / c_t, 1), 5e4), the second factor without a gradient: the
 *               parallel form of the authors' code
 *
 * paper's sum is q_t . z_t / (sqrt(K) c_t), z_t = gamma z_{t-1} + k_t, the column that values of 1
 * would have in S: linear in time as all the rest is. Absolute values have no recurrence: for
 * torchscale's sum every provider goes over all scores, in time quadratic in L (and memory linear in
 * it); o and the states are then those of its own form, with m_t a factor of each row.
 *
 * Source    Sun et al.: Retentive Network (2307.08621), eq. 5 (parallel), 6 (recurrent), 7
 *           (chunkwise), 8 (gamma), section 2.2; microsoft/torchscale, multiscale_retention.py
 * Symbols   B: batch;  L: sequence length;  H: heads;  K: key dim;  V: value dim;  Q: chunk;
 *           first: index of the first head here among the model's (which may be
 *           spread over devices)
 * in[0]     q  (B, L, H, K)  dtype          in[1]  k  (B, L, H, K)  dtype
 * in[2]     v  (B, L, H, V)  dtype          in[3]  initial_state  (B, H, K, V)  f32, if initial
 * out[0]    o  (B, L, H, V)  dtype          state accumulates in f32 (reference: f64)
 * out[1]    final_state  (B, H, K, V)  f32, if final
 * Needs     with norm=paper or torchscale, which look at all scores: no initial state, no past: S is
 *           the sum of k v^T, which does not know z. (A column of ones in v, with norm=decay, keeps
 *           it: paper's sums are that column of o then.)
 * Errors    SQ_BAD_SHAPE; SQ_UNSUPPORTED for pass step with those norms
 * Cost      4 B L H K V + B L H V flop forward, 10 B L H K V backward: the recurrence without its
 *           chunks, see cost(); norm=paper 4 B L H K more, 11 backward; norm=torchscale in either
 *           pass K + 1 more of each visible pair, twice; reads q, k, v once, writes o once
 */
#include "kernels/op.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/retention/retention.h"
#include "kernels/shared/qkv_recurrence.h"
#include "kernels/shared/rows.h"

enum { MAX_KEYS = 4096 };

static const char *const norms[] = {"none", "decay", "paper", "torchscale", NULL};

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"H", "heads", "heads", SQ_AXIS_INT, 8, 1, 4096, NULL},
    {"K", "key-dim", "query and key channels of a head", SQ_AXIS_INT, 256, 1, MAX_KEYS, NULL},
    {"V", "value-dim", "value channels of a head", SQ_AXIS_INT, 512, 1, 8192, NULL},
    {"first", "first-head", "the model's index of head 0", SQ_AXIS_INT, 0, 0, 4096, NULL},
    {"chunk", "chunk", "steps of a chunk; 0: as the provider likes", SQ_AXIS_INT, 0, 0, 65536,
     NULL},
    {"norm", "norm", "normaliser of the outputs", SQ_AXIS_CHOICE, NORM_NONE, 0, 3, norms},
    {"past", "past", "steps before the first, which norm=decay counts", SQ_AXIS_INT, 0, 0, 1 << 24,
     NULL},
    {"initial", "initial", "1: the state starts from a given one", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"final", "final", "1: the last state is handed on", SQ_AXIS_INT, 0, 0, 1, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    if (sq_retention_needs_scores(axis) && (axis[AXIS_INITIAL] != 0 || axis[AXIS_PAST] != 0))
        return sq_fail(err, SQ_BAD_SHAPE,
                       "norm=%s looks at all scores: no initial state and no past",
                       norms[(int)axis[AXIS_NORM]]);
    return SQ_OK;
}

static const sq_decay_cut cuts[IN_COUNT] = {
    [IN_Q] = {0, 2, -1}, [IN_K] = {0, 2, -1}, [IN_V] = {0, 2, 3}, [IN_INITIAL] = {0, 1, 3}};

const sq_decay_layout sq_retention_layout = {
    .axis = {AXIS_H, AXIS_K, AXIS_V, -1, AXIS_CHUNK, AXIS_INITIAL, AXIS_FINAL},
    .in = {IN_Q, IN_K, IN_V, -1, IN_INITIAL, IN_COUNT},
    .cuts = cuts,
};

/* RetNet's heads: values twice as wide as keys. */
static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    return sq_qkv_at_width(width, 256, 512, axis, err);
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    if (pass == SQ_PASS_STEP && sq_retention_needs_scores(axis))
        return sq_fail(err, SQ_UNSUPPORTED,
                       "retention with norm=%s has no pass step: a state knows no sums of scores",
                       norms[(int)axis[AXIS_NORM]]);
    return sq_qkv_tensors("retention", &sq_retention_layout, pass, dtype, axis, list, err);
}

/* norm=paper: z and q . z; backward both again, do . o as q . dq, that times z into dq, dz and its
 * sum with dk. */
static double paper_flops(sq_pass pass, const sq_axis_value *axis)
{
    return (pass == SQ_PASS_BWD ? 11 : 4) * sq_op_tokens(pass, axis) * axis[AXIS_H] * axis[AXIS_K];
}

/* norm=torchscale: in both passes every score, its decay and the sum of absolute values. */
static sq_cost score_sums(sq_dtype dtype, const sq_axis_value *axis)
{
    const double pairs = axis[AXIS_L] * (axis[AXIS_L] + 1) / 2 * axis[AXIS_B] * axis[AXIS_H];
    const double products = 2 * axis[AXIS_K] * pairs;
    return (sq_cost){.flops = products + 2 * pairs,
                     .matrix_flops = dtype == SQ_DTYPE_F32 ? 0 : products};
}

/* The decays are constants: no special function. */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    sq_cost c = sq_qkv_cost(&sq_retention_layout, pass, dtype, axis, 0);
    if (axis[AXIS_NORM] == NORM_PAPER)
        c.flops += paper_flops(pass, axis);
    if (axis[AXIS_NORM] == NORM_TORCHSCALE) {
        const sq_cost sums = score_sums(dtype, axis);
        c.flops += sums.flops;
        c.matrix_flops += sums.matrix_flops;
    }
    return c;
}

/* f32: the decays of a chunk come from multiples of one logarithm (2^-24 of at most 92 bits: 4e-6
 * where the decay has made the term vanish, 1e-7 elsewhere); a decay applied step by step is exact,
 * 1 - 2^-n being a number of f32 for n <= 24 (of other heads those providers say no). The state's
 * own rounding at each step adds up as a random walk over a memory of up to 4096 steps (eighth
 * head): 64 * 2^-24 = 4e-6.
 * 16 bit: sq_decay_scan_tolerance. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)axis;
    return sq_decay_scan_tolerance(pass, dtype, false);
}

/* --- reference --- */

double sq_retention_log_gamma(const sq_call *call, int64_t h)
{
    return log1p(-exp2(-fmin(5 + call->axis[AXIS_FIRST] + (double)h, SQ_DECAY_GAMMA_BITS)));
}

static sq_scan_gate gate_of(const sq_call *call, int64_t b, int64_t t, int64_t h)
{
    (void)b;
    (void)t;
    return (sq_scan_gate){.log_decay = sq_retention_log_gamma(call, h), .weight = 1};
}

double sq_retention_decay_norm(const sq_call *call, int64_t t, int64_t h)
{
    const double log_gamma = sq_retention_log_gamma(call, h);
    const double steps = sq_retention_past(call) + (double)t + 1;
    return sqrt(expm1(log_gamma) / expm1(steps * log_gamma));
}

/* What scores are multiplied by: the scale, and 1 / c_t. */
static double score_scale(const sq_call *call, int64_t t, int64_t h)
{
    return sq_retention_decay_norm(call, t, h) / sqrt((double)call->in[IN_Q].dim[3]);
}

/* Of each step sum_s R_ts / c_t, by q_t . z_t with z_t = gamma z_{t-1} + k_t, to sum[t * stride]. */
static void sum_scores(const sq_call *call, int64_t b, int64_t h, double *sum, int64_t stride)
{
    const sq_tensor *q = &call->in[IN_Q], *k = &call->in[IN_K];
    const double gamma = exp(sq_retention_log_gamma(call, h));
    double z[MAX_KEYS] = {0};
    for (int64_t t = 0; t < q->dim[1]; t++) {
        double dot = 0;
        for (int64_t n = 0; n < q->dim[3]; n++) {
            z[n] = gamma * z[n] + sq_load(k->data, k->dtype, sq_offset3(k, b, t, h) + n);
            dot += sq_load(q->data, q->dtype, sq_offset3(q, b, t, h) + n) * z[n];
        }
        sum[t * stride] = dot * score_scale(call, t, h);
    }
}

/* The same of the absolute values, which have no recurrence. */
static void sum_absolute_scores(const sq_call *call, int64_t b, int64_t h, double *sum,
                                int64_t stride)
{
    const sq_tensor *q = &call->in[IN_Q], *k = &call->in[IN_K];
    const double log_gamma = sq_retention_log_gamma(call, h);
    for (int64_t t = 0; t < q->dim[1]; t++) {
        double absolute = 0;
        for (int64_t s = 0; s <= t; s++) {
            double score = 0;
            for (int64_t n = 0; n < q->dim[3]; n++)
                score += sq_load(q->data, q->dtype, sq_offset3(q, b, t, h) + n) *
                         sq_load(k->data, k->dtype, sq_offset3(k, b, s, h) + n);
            absolute += fabs(score) * exp((double)(t - s) * log_gamma);
        }
        sum[t * stride] = absolute * score_scale(call, t, h);
    }
}

/* 1 / m_t of all steps, to row[t * stride]. */
static void set_normalisers(const sq_call *call, int64_t b, int64_t h, double *row, int64_t stride)
{
    const int norm = (int)call->axis[AXIS_NORM];
    if (norm == NORM_PAPER)
        sum_scores(call, b, h, row, stride);
    if (norm == NORM_TORCHSCALE)
        sum_absolute_scores(call, b, h, row, stride);
    for (int64_t t = 0; t < call->in[IN_Q].dim[1]; t++) {
        double *at = row + t * stride, by = 1;
        if (norm == NORM_PAPER)
            by = fmax(fabs(*at), 1);
        if (norm == NORM_TORCHSCALE)
            by = fmin(fmax(*at, 1), 5e4);
        *at = sq_retention_decay_norm(call, t, h) / by;
    }
}

sq_decay_scan sq_retention_scan(const sq_call *call, double *row)
{
    const sq_tensor *v = &call->in[IN_V];
    const int64_t length = v->dim[1], heads = v->dim[2];
    sq_decay_scan scan = sq_decay_scan_of(call, &sq_retention_layout);
    scan.gate = gate_of;
    if (call->axis[AXIS_NORM] == NORM_NONE)
        return scan;
    scan.row = row;
#pragma omp parallel for collapse(2)
    for (int64_t b = 0; b < v->dim[0]; b++)
        for (int64_t h = 0; h < heads; h++)
            set_normalisers(call, b, h, row + b * length * heads + h, heads);
    return scan;
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    const int64_t *dim = call->in[IN_V].dim;
    double *row = malloc((size_t)(dim[0] * dim[1] * dim[2]) * sizeof *row);
    if (!row)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "retention: no memory for the normalisers");
    sq_status status = sq_decay_layout_reference(call, sq_retention_scan(call, row), err);
    free(row);
    return status;
}

static double sums_work(const sq_axis_value *axis)
{
    const double length = axis[AXIS_L], norm = axis[AXIS_NORM];
    const double pairs = norm == NORM_TORCHSCALE ? length * (length + 1) / 2 : length;
    return sq_retention_needs_scores(axis) ? pairs * (4 * axis[AXIS_K] + 20) : 0;
}

static double reference_work(const sq_axis_value *axis)
{
    return axis[AXIS_B] * axis[AXIS_H] * sums_work(axis) +
           sq_decay_layout_work(&sq_retention_layout, axis);
}

/* `first` names the slice's head. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    pick.max_work -= sums_work(whole->axis);
    const int64_t head = sq_decay_slice(&sq_retention_layout, whole, pick, sub, what, size);
    sub->axis[AXIS_FIRST] += (double)head;
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=2,L=1,H=2,K=16,V=32",
    "B=1,L=2,H=1,K=5,V=3",
    "B=3,L=7,H=3,K=8,V=8",
    "B=1,L=63,H=2,K=64,V=64",
    "B=1,L=64,H=2,K=128,V=64",
    "B=2,L=65,H=3,K=16,V=72",
    "B=2,L=127,H=2,K=128,V=256",
    "B=1,L=257,H=2,K=256,V=512",
    "B=1,L=191,H=10,K=40,V=136",
    "B=1,L=100,H=2,K=32,V=64,first=7",
    "B=1,L=130,H=2,K=16,V=16,chunk=64",
    "B=1,L=97,H=2,K=8,V=8,chunk=16",
    "B=1,L=97,H=2,K=12,V=20,chunk=256",
    "B=1,L=2053,H=8,K=32,V=64",
    "B=1,L=5000,H=2,K=64,V=64,first=6",
    "B=1,L=1031,H=2,K=256,V=128",
    "B=2,L=70,H=2,K=8,V=16,norm=decay,final=1",
    "B=1,L=65,H=3,K=16,V=8,norm=decay,past=100,initial=1",
    "B=2,L=70,H=2,K=8,V=16,first=4096,norm=decay,past=4,final=1",
    "B=2,L=67,H=2,K=8,V=16,norm=paper",
    "B=2,L=1,H=4,K=8,V=8,norm=paper",
    "B=1,L=200,H=3,K=72,V=13,norm=paper,first=2",
    "B=2,L=65,H=2,K=9,V=80,norm=torchscale",
    "B=1,L=130,H=2,K=16,V=8,norm=torchscale,final=1",
    "B=1,L=129,H=2,K=64,V=64,norm=torchscale",
    "B=1,L=129,H=2,K=64,V=64,norm=paper",
    "B=2,L=1,H=3,K=8,V=8,norm=paper,final=1",
    "B=2,L=193,H=3,K=1,V=1,norm=paper,final=1",
    "B=1,L=130,H=2,K=300,V=5,norm=paper,final=1",
    "B=1,L=257,H=2,K=256,V=136,norm=paper,chunk=64",
    "B=1,L=2053,H=4,K=64,V=64,norm=paper,first=5,final=1",
    "B=1,L=1031,H=2,K=128,V=64,norm=paper,first=4096,final=1",
    "B=2,L=1,H=2,K=8,V=8,norm=torchscale",
    "B=2,L=193,H=3,K=1,V=1,norm=torchscale,first=17",
    "B=1,L=97,H=2,K=300,V=5,norm=torchscale,final=1",
    "B=1,L=257,H=1,K=256,V=128,norm=torchscale,chunk=64",
    "B=1,L=577,H=2,K=16,V=16,norm=torchscale,first=4096,final=1",
    "B=2,L=97,H=2,K=8,V=8,initial=1,final=1,chunk=64",
    "B=27,L=130,H=3,K=16,V=32,initial=1,final=1",
    "B=2,L=1,H=2,K=8,V=8,initial=1,final=1",
    "B=1,L=1500,H=2,K=128,V=64,norm=decay,initial=1,final=1",
    "B=150,L=3,H=1,K=136,V=136,norm=decay,initial=1,final=1",
    "B=2,L=193,H=3,K=200,V=72,initial=1,final=1",
    "B=1,L=1157,H=1,K=8,V=8,first=8,initial=1,final=1",
    "B=1,L=1100,H=1,K=136,V=8,first=7,initial=1,final=1",
    NULL,
};

const sq_op sq_op_retention = {
    .name = "retention",
    .source = "Sun et al.: Retentive Network, arXiv 2307.08621, eq. 5-8",
    .doc = "S_t = gamma_h S_{t-1} + k_t v_t^T; o_t = q_t^T S_t / sqrt(K)",
    .is_mixer = true,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_retention_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
