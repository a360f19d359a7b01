/* retention: linear attention with a fixed decay per head; the mixer of RetNet.
 *
 *   S_t = gamma_h S_{t-1} + k_t v_t^T            S_{-1} = 0, a (K, V) matrix
 *   o_t = q_t^T S_t / sqrt(K)                    gamma_h = 1 - 2^(-5 - first - h)
 *
 * that is O = ((Q K^T / sqrt(K)) o D) V with D_ts = gamma^(t-s) for s <= t. Without the row
 * normaliser of the paper's section 2.2: the norm that follows is invariant to it. Rotation of q
 * and k comes before.
 *
 * Source    Sun et al.: Retentive Network (2307.08621), eq. 5 (parallel), 6 (recurrent), 7
 *           (chunkwise), 8 (gamma)
 * Symbols   B: batch;  L: sequence length;  H: heads;  K: key dim;  V: value dim;  Q: chunk;
 *           first: index of the first head here among the model's (which may be
 *           spread over devices)
 * in[0]     q  (B, L, H, K)  dtype          in[1]  k  (B, L, H, K)  dtype
 * in[2]     v  (B, L, H, V)  dtype
 * out[0]    o  (B, L, H, V)  dtype          state accumulates in f32 (reference: f64)
 * Needs     nothing beyond the ranges of the axes
 * Errors    SQ_UNSUPPORTED for every pass but fwd
 * Cost      4 B L H K V + B L H V flop: the recurrence without its chunks, see cost(); reads q, k,
 *           v once, writes o once
 */
#include "kernels/op.h"

#include <math.h>
#include <stdio.h>

#include "kernels/retention/retention.h"
#include "kernels/shared/decay_scan.h"
#include "kernels/shared/rows.h"

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"H", "heads", "heads", SQ_AXIS_INT, 8, 1, 4096, NULL},
    {"K", "key-dim", "query and key channels of a head", SQ_AXIS_INT, 256, 1, 4096, NULL},
    {"V", "value-dim", "value channels of a head", SQ_AXIS_INT, 512, 1, 8192, NULL},
    {"first", "first-head", "the model's index of head 0", SQ_AXIS_INT, 0, 0, 4096, NULL},
    {"chunk", "chunk", "steps of a chunk; 0: as the provider likes", SQ_AXIS_INT, 0, 0, 65536,
     NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    (void)axis;
    (void)err;
    return SQ_OK;
}

/* RetNet's heads: 256 key channels, values twice as wide. */
static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    if (width < 256 || width % 256 != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "width %lld is not a multiple of K=256",
                       (long long)width);
    axis[AXIS_H] = (double)(width / 256);
    axis[AXIS_K] = 256;
    axis[AXIS_V] = 512;
    return SQ_OK;
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    if (pass != SQ_PASS_FWD)
        return sq_fail(err, SQ_UNSUPPORTED, "retention has no pass %s", sq_pass_name(pass));
    int64_t b = sq_axis_int(axis, AXIS_B), l = sq_axis_int(axis, AXIS_L);
    int64_t h = sq_axis_int(axis, AXIS_H), k = sq_axis_int(axis, AXIS_K);
    int64_t v = sq_axis_int(axis, AXIS_V);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_Q] = (sq_tensor_spec){"q", dtype, 4, {b, l, h, k}, 1, normal};
    list->in[IN_K] = (sq_tensor_spec){"k", dtype, 4, {b, l, h, k}, 1, normal};
    list->in[IN_V] = (sq_tensor_spec){"v", dtype, 4, {b, l, h, v}, 1, normal};
    list->out[0] = (sq_tensor_spec){"o", dtype, 4, {b, l, h, v}, 1, {0}};
    return SQ_OK;
}

/* Two multiply-adds per state element and step (update, read-out), both matrix products in the
 * chunkwise form. That is the limit of small chunks: the T H (K + V) Q flop of the products inside
 * chunks of Q, and the decay of S at every step of the plain recurrence, are each avoidable by the
 * other form, so neither is compulsory. The decays are constants: no special function. */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    double rows = axis[AXIS_B] * axis[AXIS_L] * axis[AXIS_H], k = axis[AXIS_K], v = axis[AXIS_V];
    double size = (double)sq_dtype_size(dtype);
    return (sq_cost){
        .flops = rows * (4 * k * v + v),
        .matrix_flops = dtype == SQ_DTYPE_F32 ? 0 : rows * 4 * k * v,
        .bytes_read = size * rows * (2 * k + v),
        .bytes_written = size * rows * v,
    };
}

/* f32: the decays of a chunk come from multiples of one logarithm (2^-24 of at most 92 bits: 4e-6
 * where the decay has made the term vanish, 1e-7 elsewhere); a decay applied step by step is exact,
 * 1 - 2^-n being a number of f32 for n <= 24 (of other heads those providers say no). The state's
 * own rounding at each step adds up as a random walk over a memory of up to 4096 steps (eighth
 * head): 64 * 2^-24 = 4e-6.
 *
 * bf16: rounding of o is 1.7e-3 rms. A chunkwise provider also rounds the weighted scores (1.7e-3
 * of the part from inside the chunk), or the state and the weighted keys (2.4e-3 of the part
 * carried in), independently per element: sqrt(1.7^2 + 2.4^2) = 2.9e-3 for many steps; a single
 * step's one rounded score is off by up to 2^-9 for its whole row: with y's rounding 4.3e-3 at
 * worst. Single elements: 5 such deviations of an |o| of up to 10 rms. f16 has 3 bits more. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    (void)axis;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = 1e-5, .max_abs = 2e-4};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 5e-4, .max_abs = 0.02};
    return (sq_tolerance){.rel_l2 = 4.5e-3, .max_abs = 0.15};
}

/* --- reference --- */

sq_scan_gate sq_retention_gate(const sq_call *call, int64_t b, int64_t t, int64_t h)
{
    (void)b;
    (void)t;
    double head = call->axis[AXIS_FIRST] + (double)h;
    return (sq_scan_gate){.log_decay = log1p(-exp2(-5 - head)), .weight = 1};
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    sq_decay_scan scan = {.q = &call->in[IN_Q],
                          .k = &call->in[IN_K],
                          .v = &call->in[IN_V],
                          .o = &call->out[0],
                          .gate = sq_retention_gate};
    scan.scale = 1 / sqrt(call->axis[AXIS_K]);
    scan.chunk = sq_axis_int(call->axis, AXIS_CHUNK);
    return sq_decay_scan_reference(call, &scan, err);
}

static double reference_work(const sq_axis_value *axis)
{
    return sq_decay_scan_work(axis[AXIS_B], axis[AXIS_L], axis[AXIS_H], axis[AXIS_K], axis[AXIS_V],
                              axis[AXIS_CHUNK]);
}

/* One batch row and head (which `first` names), all steps, as many value columns as the work allows
 * (at least one). */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    int64_t columns = sq_axis_int(axis, AXIS_V);
    int64_t count =
        sq_decay_scan_columns(axis[AXIS_L], axis[AXIS_K], columns, axis[AXIS_CHUNK], pick.max_work);
    int64_t b = sq_pick_start(pick, 0, sq_axis_int(axis, AXIS_B), 1);
    int64_t h = sq_pick_start(pick, 1, sq_axis_int(axis, AXIS_H), 1);
    *sub = *whole;
    sub->axis[AXIS_B] = sub->axis[AXIS_H] = 1;
    sub->axis[AXIS_FIRST] += (double)h;
    sub->axis[AXIS_V] = (double)count;
    int64_t v = sq_pick_start(pick, 2, columns, count);
    sq_tensor *tensors_of_head[] = {&sub->in[IN_Q], &sub->in[IN_K], &sub->in[IN_V], &sub->out[0]};
    for (int i = 0; i < 4; i++) {
        sq_tensor row = sq_tensor_slice(tensors_of_head[i], 0, b, 1);
        *tensors_of_head[i] = sq_tensor_slice(&row, 2, h, 1);
    }
    sub->in[IN_V] = sq_tensor_slice(&sub->in[IN_V], 3, v, count);
    sub->out[0] = sq_tensor_slice(&sub->out[0], 3, v, count);
    snprintf(what, size, "b=%lld h=%lld v=%lld..%lld", (long long)b, (long long)h, (long long)v,
             (long long)(v + count));
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
