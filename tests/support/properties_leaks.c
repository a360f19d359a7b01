/* properties of transforms: how far what comes later may reach back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shared/rows.h"
#include "tests/support/properties_parts.h"

/* How much larger the future becomes; the constant c of docs/methodology.md, "Causality of
 * transforms"; the largest slope of gelu. */
static const double growth = 1e4, constant = 16, gelu_slope = 1.13;

/* Inputs of long_conv; NULL: there is none. */
typedef struct {
    const sq_tensor *v, *x1, *x0, *h;
} inputs;

static const sq_tensor *find_input(const sq_specimen *s, const char *name)
{
    const int i = sq_property_tensor(s->in, s->n_in, name);
    return i >= 0 && s->in[i].host.data ? &s->in[i].host : NULL;
}

static double square(double x)
{
    return x * x;
}

/* Adds to each step of `allowed` what rounding in the row of channels `first` and `second` may move
 * there, if `head` is their filter and `first` their output's gate. */
static void add_row(const sq_specimen *s, const inputs *in, int64_t b, int64_t head, int64_t first,
                    int64_t second, double *allowed)
{
    const int64_t length = in->v->dim[1];
    double u = 0, h = 0, n = 2;
    for (int64_t t = 0; t < length; t++) {
        u += square(sq_load3(in->v, b, t, first) * (in->x1 ? sq_load3(in->x1, b, t, second) : 1));
        h += square(sq_load(in->h->data, in->h->dtype, head * length + t));
    }
    while (n < 2 * (double)length)
        n *= 2;
    const double slope = sq_property_axis(s, "gelu", 0) != 0 ? gelu_slope : 1;
    const double moved = constant * 0x1p-24 * log2(n) * sqrt(u / (double)length) * sqrt(h) * slope;
    for (int64_t t = 0; t < length; t++)
        allowed[t] += moved * (in->x0 ? fabs(sq_load3(in->x0, b, t, first)) : 1);
}

/* One channel's steps before t0 of `past` and of `changed`, which has the large future. */
static sq_status check_channel(const sq_specimen *past, const sq_specimen *changed, int64_t b,
                               int64_t channel, int64_t t0, double *allowed, sq_error *err)
{
    const inputs in = {find_input(changed, "v"), find_input(changed, "x1"),
                       find_input(changed, "x0"), find_input(changed, "h")};
    const int64_t heads = in.h->dim[0], width = in.v->dim[2] / heads, head = channel % heads;
    const double ulp = past->dtype == SQ_DTYPE_F32 ? 0x1p-22 : 0x1p-7;
    memset(allowed, 0, sizeof *allowed * (size_t)in.v->dim[1]);
    for (int64_t i = 0; i < width; i++)
        add_row(changed, &in, b, head, head * width + i, head * width + channel / heads, allowed);
    for (int64_t t = 0; t < t0; t++) {
        const double x = sq_load3(&past->out[0].host, b, t, channel);
        const double y = sq_load3(&changed->out[0].host, b, t, channel);
        if (!(fabs(x - y) <= allowed[t] + ulp * fabs(x)))
            return sq_fail(err, SQ_MISMATCH,
                           "v is %g times as large from t=%lld on, and channel %lld at t=%lld "
                           "changed from %.9g to %.9g, by more than %.3g",
                           growth, (long long)t0, (long long)channel, (long long)t, x, y,
                           allowed[t]);
    }
    return SQ_OK;
}

/* v of other draws from t0 on, and larger. */
static void grow_future(sq_specimen *s, int64_t t0)
{
    const int i = sq_property_tensor(s->in, s->n_in, "v");
    const sq_tensor *v = &s->in[i].host;
    for (int64_t e = 0; e < sq_tensor_count(v); e++) {
        const double other =
            sq_rng_draw(s->in[i].spec.draw, SQ_PROPERTY_OTHER_SEED, (uint32_t)i, e);
        if (e / v->stride[1] % v->dim[1] >= t0)
            sq_store(v->data, v->dtype, e, growth * other);
    }
}

static sq_status check_start(const sq_property_subject *of, const sq_specimen *past, int64_t t0,
                             double *allowed, sq_error *err)
{
    sq_specimen changed;
    sq_status s = sq_property_make(of, SQ_PASS_FWD, NULL, SQ_PROPERTY_SEED, &changed, err);
    if (s == SQ_OK) {
        grow_future(&changed, t0);
        s = sq_specimen_run(of->rig, &changed, err);
    }
    for (int64_t b = 0; s == SQ_OK && b < past->out[0].host.dim[0]; b++)
        for (int64_t c = 0; s == SQ_OK && c < past->out[0].host.dim[2]; c++)
            s = check_channel(past, &changed, b, c, t0, allowed, err);
    sq_specimen_free(&changed);
    return s;
}

sq_status sq_property_leaks(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    const int64_t length = (int64_t)a->axis[SQ_AXIS_L];
    if (!of->op || strcmp(of->op->name, "long_conv") != 0 || length < 2 ||
        sq_property_axis(a, "causal", 1) == 0)
        return SQ_UNSUPPORTED;
    double *allowed = malloc(sizeof *allowed * (size_t)length);
    if (!allowed)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for bounds");
    sq_status s = check_start(of, a, length / 3 + 1, allowed, err);
    if (s == SQ_OK)
        s = check_start(of, a, length - 1, allowed, err);
    free(allowed);
    return s;
}
