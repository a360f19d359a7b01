/* fuzz: see fuzz.h. */
#include "bench/verify/fuzz.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/proof_slice.h"
#include "bench/worker/job.h"

enum { ATTEMPTS = 300, KINDS = 30 };
static const size_t max_bytes = (size_t)256 << 20;

typedef struct {
    uint64_t seed, count;
} dice;

/* A number below n. */
static int64_t roll(dice *d, int64_t n)
{
    return (int64_t)(sq_rng_bits(d->seed, 0, (int64_t)d->count++) % (uint64_t)n);
}

static double clamp(double value, double least, double most)
{
    return fmin(fmax(value, least), most);
}

/* Small numbers most; a tile's edge of every size that kernels use, and beside it. */
static double roll_extent(dice *d)
{
    static const int16_t likely[] = {
        1,  1,  2,  3,  4,  5,   7,   8,   9,   13,  15,  16,  17,  24,  31,  32,  33,  47,  61, 63,
        64, 65, 80, 96, 97, 112, 127, 128, 129, 160, 191, 192, 193, 255, 256, 257, 401, 512, 577};
    return likely[roll(d, sizeof likely / sizeof likely[0])];
}

static double roll_length(dice *d)
{
    return roll(d, 6) == 0 ? (double)(1 + roll(d, 3000)) : roll_extent(d);
}

static double roll_axis(dice *d, const sq_axis *axis, int position)
{
    if (axis->kind == SQ_AXIS_CHOICE)
        return (double)roll(d, (int64_t)axis->max + 1);
    if (axis->kind == SQ_AXIS_REAL)
        return roll(d, 3)
                   ? axis->def
                   : clamp(axis->def * (0.25 + 0.25 * (double)roll(d, 12)), axis->min, axis->max);
    if (position == SQ_AXIS_B)
        return (double)(1 + roll(d, 4));
    if (position == SQ_AXIS_L)
        return roll_length(d);
    if (axis->max - axis->min < 8)
        return axis->min + (double)roll(d, (int64_t)(axis->max - axis->min) + 1);
    /* What defaults to "the same as" or "none" is that half of the time. */
    if (axis->def == axis->min && roll(d, 2))
        return axis->def;
    return clamp(roll_extent(d), axis->min, axis->max);
}

/* Half of the shapes start from one of the operator's own, which hold together by design. */
static sq_status roll_shape(dice *d, const sq_op *op, sq_axis_value *value, sq_error *err)
{
    int shapes = 0;
    while (op->test_shapes[shapes])
        shapes++;
    const bool is_near = shapes > 0 && roll(d, 2);
    const char *start = is_near ? op->test_shapes[roll(d, shapes)] : "";
    SQ_TRY(sq_axis_parse_assignments(op->axes, start, value, err));
    for (int i = 0; op->axes[i].name; i++)
        if (!is_near || roll(d, 4) == 0)
            value[i] = roll_axis(d, &op->axes[i], i);
    return sq_op_check(op, value, err);
}

static const sq_op *roll_op(dice *d, const char *wanted)
{
    int count = 0;
    if (wanted)
        return sq_op_find(wanted);
    while (sq_ops[count])
        count++;
    return sq_ops[roll(d, count)];
}

static const sq_provider *roll_provider(dice *d, const sq_rig *rig, const sq_op *op,
                                        const char *wanted)
{
    const sq_provider *list = rig->providers(op);
    int count = 0;
    if (wanted)
        return sq_provider_find(rig->providers, op, wanted);
    while (list[count].name)
        count++;
    return &list[roll(d, count)];
}

/* One of the passes that both have; the reference of a step is no more than that of pass fwd. */
static sq_pass roll_pass(dice *d, const sq_op *op, const sq_provider *provider)
{
    const sq_pass pass = sq_own_passes[roll(d, SQ_OWN_PASSES)];
    const bool is_had = sq_provider_has(provider, pass) && (pass != SQ_PASS_BWD || op->backward);
    return is_had ? pass : SQ_PASS_FWD;
}

/* SQ_OK where a provider of the rig takes it and it is small enough. */
static sq_status is_taken(const sq_rig *rig, const sq_replay *r, const sq_provider *provider,
                          double max_work, sq_error *err)
{
    const sq_op *op = r->subject.op;
    sq_call call = {.op = op, .pass = r->cell.pass, .dtype = r->cell.dtype};
    sq_job *job = NULL;
    memcpy(call.axis, r->cell.value, sizeof call.axis);
    if (sq_proof_work(op, call.pass, call.axis) > max_work)
        return sq_fail(err, SQ_UNSUPPORTED, "too large");
    SQ_TRY(sq_job_new_op(rig, &call, provider, r->layout, &job, err));
    const bool is_small = job->bytes <= max_bytes;
    sq_job_free(job);
    return is_small ? SQ_OK : sq_fail(err, SQ_UNSUPPORTED, "too large");
}

/* What a seed is about is drawn once: retries would favour what is cheap and takes everything. */
static sq_status roll_kind(dice *d, const sq_rig *rig, const char *op_name,
                           const char *provider_name, sq_replay *out, sq_error *err)
{
    const sq_op *op = roll_op(d, op_name);
    const sq_provider *provider = op ? roll_provider(d, rig, op, provider_name) : NULL;
    if (!provider)
        return sq_fail(err, SQ_UNSUPPORTED, "no such operator or provider");
    out->subject = (sq_subject){.kind = SQ_KIND_OP, .op = op};
    sq_subject_init_cell(&out->subject, &out->cell);
    snprintf(out->cell.provider, sizeof out->cell.provider, "%s", provider->name);
    out->cell.dtype = (sq_dtype)roll(d, SQ_DTYPE_COUNT);
    out->cell.pass = roll_pass(d, op, provider);
    out->values = roll(d, 2) ? SQ_VALUES_USUAL : (sq_values)roll(d, SQ_VALUES_COUNT);
    if (out->values == SQ_VALUES_GATES && out->cell.pass == SQ_PASS_BWD)
        out->values = SQ_VALUES_STRONG;
    if (out->values == SQ_VALUES_SUBNORMAL) /* of which a relative error says nothing */
        out->values = SQ_VALUES_TINY;
    return SQ_OK;
}

/* SQ_UNSUPPORTED where ATTEMPTS shapes were all refused. */
static sq_status roll_cell(dice *d, const sq_rig *rig, double max_work, sq_replay *out,
                           sq_error *err)
{
    const sq_provider *provider =
        sq_provider_find(rig->providers, out->subject.op, out->cell.provider);
    sq_status s = SQ_UNSUPPORTED;
    for (int i = 0; i < ATTEMPTS; i++) {
        out->layout = roll(d, 3) == 0 ? SQ_LAYOUT_STRIDED : SQ_LAYOUT_DENSE;
        s = roll_shape(d, out->subject.op, out->cell.value, err);
        if (s == SQ_OK)
            s = is_taken(rig, out, provider, max_work, err);
        if (s != SQ_UNSUPPORTED && s != SQ_BAD_SHAPE)
            return s;
    }
    return SQ_UNSUPPORTED;
}

sq_status sq_fuzz_draw(const sq_rig *rig, uint64_t seed, const char *op, const char *provider,
                       double max_work, sq_replay *out, sq_error *err)
{
    dice d = {.seed = sq_rng_mix(seed)};
    sq_error why = {.status = SQ_OK};
    sq_status s = SQ_UNSUPPORTED;
    *out = (sq_replay){.seed = seed};
    for (int i = 0; i < KINDS && s == SQ_UNSUPPORTED; i++) {
        s = roll_kind(&d, rig, op, provider, out, &why);
        if (s == SQ_OK)
            s = roll_cell(&d, rig, max_work, out, &why);
    }
    return s == SQ_OK ? SQ_OK : sq_fail(err, s, "no cell was found: %.300s", why.message);
}
