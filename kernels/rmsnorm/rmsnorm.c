/* rmsnorm: root-mean-square normalisation of each row, with optional weight, groups and gate.
 *
 *   y = u / sqrt(mean(u^2) + eps) * w       u = x                  gate = none
 *                                           u = x * silu(z)        gate = pre
 *   y = x / sqrt(mean(x^2) + eps) * w * silu(z)                    gate = post
 *
 * The mean runs over each of `groups` equal contiguous parts of a row; silu(z) = z / (1 + e^-z).
 *
 * Source    Zhang, Sennrich, 1910.07467, eq. 4; gated and grouped: Dao, Gu, 2405.21060, and
 *           RMSNormGated in the authors' code (pre: norm_before_gate = False)
 * Symbols   B: batch;  L: sequence length;  D: channels
 * in[0]     x  (B, L, D)  dtype             in[1]  w  (D)  f32, if weight
 * in[2]     z  (B, L, D)  dtype, if gate
 * out[0]    y  (B, L, D)  dtype             accumulates in f32 (reference: f64)
 * Needs     groups divides D; eps > 0
 * Errors    SQ_BAD_SHAPE; SQ_UNSUPPORTED for every pass but fwd; SQ_OUT_OF_MEMORY (reference)
 * Cost      B L D (3 + weight + 2 gate) flop, 2 B L D special functions with a gate, one root a
 *           group; reads x, z and w once, writes y once
 */
#include "kernels/op.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/rmsnorm/rmsnorm.h"
#include "kernels/shared/rows.h"

static const char *const gates[] = {"none", "pre", "post", NULL};

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1 << 20, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 2048, 1, 1 << 22, NULL},
    {"groups", "groups", "parts of a row normalised on their own", SQ_AXIS_INT, 1, 1, 1 << 22,
     NULL},
    {"weight", "weight", "1: a weight for each channel", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"gate", "gate", "where silu(z) multiplies: before or after the norm", SQ_AXIS_CHOICE, 0, 0, 2,
     gates},
    {"eps", "eps", "added to the mean square", SQ_AXIS_REAL, 1e-5, 1e-12, 1, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    if (sq_axis_int(axis, AXIS_D) % sq_axis_int(axis, AXIS_GROUPS) != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "D=%g is no multiple of groups=%g", axis[AXIS_D],
                       axis[AXIS_GROUPS]);
    return SQ_OK;
}

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    (void)err;
    axis[AXIS_D] = (double)width;
    return SQ_OK;
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    if (pass != SQ_PASS_FWD)
        return sq_fail(err, SQ_UNSUPPORTED, "rmsnorm has no pass %s", sq_pass_name(pass));
    const int64_t b = sq_axis_int(axis, AXIS_B), l = sq_axis_int(axis, AXIS_L);
    const int64_t d = sq_axis_int(axis, AXIS_D);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    const sq_draw around_one = {SQ_DRAW_UNIFORM, 0.5f, 1.5f, 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_X] = (sq_tensor_spec){"x", dtype, 3, {b, l, d}, 1, normal};
    if (axis[AXIS_WEIGHT] != 0)
        list->in[IN_W] = (sq_tensor_spec){"w", SQ_DTYPE_F32, 1, {d}, -1, around_one};
    if (axis[AXIS_GATE] != GATE_NONE)
        list->in[IN_Z] = (sq_tensor_spec){"z", dtype, 3, {b, l, d}, 1, normal};
    list->out[0] = (sq_tensor_spec){"y", dtype, 3, {b, l, d}, 1, {0}};
    return SQ_OK;
}

static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    const double size = (double)sq_dtype_size(dtype), rows = axis[AXIS_B] * axis[AXIS_L];
    const double elements = rows * axis[AXIS_D], gate = axis[AXIS_GATE] != GATE_NONE;
    return (sq_cost){
        .flops = elements * (3 + axis[AXIS_WEIGHT] + 2 * gate),
        .special = 2 * gate * elements + rows * axis[AXIS_GROUPS],
        .bytes_read = size * elements * (1 + gate) + 4 * axis[AXIS_WEIGHT] * axis[AXIS_D],
        .bytes_written = size * elements,
    };
}

/* f32: a sum of D positive terms in f32 (relative error far below sqrt(D) ulp, whatever the order)
 * and a few roundings. 16 bit: only the rounding of y, rms 1.7e-3 (bf16) or 2.1e-4 (f16), in the
 * reference too. The worst element is one ulp of the largest |y|: 5 rms, or 28 rms with a gate,
 * whose product of two drawn numbers has a long tail. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    const double tail = axis[AXIS_GATE] != GATE_NONE ? 5 : 1;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = 1e-6, .max_abs = 6e-6 * tail};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 4e-4, .max_abs = 0.005 * tail};
    return (sq_tolerance){.rel_l2 = 3e-3, .max_abs = 0.04 * tail};
}

static double silu(double z)
{
    return z / (1 + exp(-z));
}

/* One group of n channels in place: x becomes y; w and z NULL where absent. */
static void normalise(double *x, const double *w, const double *z, int64_t n, int gate, double eps)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (gate == GATE_PRE)
            x[i] *= silu(z[i]);
        sum += x[i] * x[i];
    }
    const double scale = 1 / sqrt(sum / (double)n + eps);
    for (int64_t i = 0; i < n; i++) {
        x[i] *= scale * (w ? w[i] : 1);
        if (gate == GATE_POST)
            x[i] *= silu(z[i]);
    }
}

/* Row m of B x L; scratch: room for 3 D numbers. */
static void row(const sq_call *call, int64_t m, double *scratch)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W], *z = &call->in[IN_Z];
    const sq_tensor *y = &call->out[0];
    const int64_t d = x->dim[2], group = d / sq_axis_int(call->axis, AXIS_GROUPS);
    const int64_t b = m / x->dim[1], t = m % x->dim[1];
    double *weight = w->data ? scratch + d : NULL, *gate = z->data ? scratch + 2 * d : NULL;
    sq_row_read(x, b * x->stride[0] + t * x->stride[1], d, scratch);
    if (weight)
        sq_row_read(w, 0, d, weight);
    if (gate)
        sq_row_read(z, b * z->stride[0] + t * z->stride[1], d, gate);
    for (int64_t i = 0; i < d; i += group)
        normalise(scratch + i, weight ? weight + i : NULL, gate ? gate + i : NULL, group,
                  (int)call->axis[AXIS_GATE], call->axis[AXIS_EPS]);
    sq_row_write(y, b * y->stride[0] + t * y->stride[1], d, scratch);
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    const sq_tensor *x = &call->in[IN_X];
    bool is_ok = true;
#pragma omp parallel reduction(&& : is_ok)
    {
        double *scratch = malloc((size_t)(3 * x->dim[2]) * sizeof *scratch);
        is_ok = scratch != NULL;
#pragma omp for
        for (int64_t m = 0; m < x->dim[0] * x->dim[1]; m++)
            if (scratch)
                row(call, m, scratch);
        free(scratch);
    }
    if (!is_ok)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "rmsnorm reference: D=%lld", (long long)x->dim[2]);
    return SQ_OK;
}

static double reference_work(const sq_axis_value *axis)
{
    const double gate = axis[AXIS_GATE] != GATE_NONE;
    return axis[AXIS_B] * axis[AXIS_L] * axis[AXIS_D] * (6 + 20 * gate);
}

/* Some neighbouring rows of one sequence, all channels. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const int64_t l = sq_axis_int(axis, AXIS_L);
    const double row_work = reference_work(axis) / (axis[AXIS_B] * axis[AXIS_L]);
    const int64_t rows = (int64_t)fmax(1, fmin((double)l, pick.max_work / row_work));
    const int64_t b = sq_pick_start(pick, 0, whole->in[IN_X].dim[0], 1);
    const int64_t first = sq_pick_start(pick, 1, l, rows);

    *sub = *whole;
    sub->axis[AXIS_B] = 1;
    sub->axis[AXIS_L] = (double)rows;
    sq_tensor *const by_row[3] = {&sub->in[IN_X], &sub->in[IN_Z], &sub->out[0]};
    for (int i = 0; i < 3; i++)
        if (by_row[i]->rank) {
            *by_row[i] = sq_tensor_slice(by_row[i], 0, b, 1);
            *by_row[i] = sq_tensor_slice(by_row[i], 1, first, rows);
        }
    snprintf(what, size, "b=%lld rows=%lld..%lld", (long long)b, (long long)first,
             (long long)(first + rows));
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=1,L=1,D=64",
    "B=2,L=3,D=2048",
    "B=1,L=7,D=1",
    "B=1,L=37,D=96",
    "B=2,L=13,D=130,weight=0",
    "B=1,L=5,D=4096,gate=pre",
    "B=2,L=11,D=1000,gate=post",
    "B=1,L=17,D=2048,groups=16",
    "B=3,L=9,D=96,groups=4,gate=pre",
    "B=1,L=4,D=4096,groups=8,gate=post,weight=0",
    "B=1,L=2,D=16384,eps=0.1",
    "B=1,L=3,D=20008",
    "B=1,L=1031,D=256",
    NULL,
};

const sq_op sq_op_rmsnorm = {
    .name = "rmsnorm",
    .source = "Zhang, Sennrich, arXiv 1910.07467, eq. 4; gate: Dao, Gu, arXiv 2405.21060",
    .doc = "y = x / sqrt(mean(x^2) + eps) * w, gated by silu(z) before or after",
    .is_mixer = false,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_rmsnorm_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
