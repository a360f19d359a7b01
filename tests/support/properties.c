/* properties: see properties.h. */
#include "tests/support/properties.h"

#include "tests/support/properties_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

sq_status sq_property_make(const sq_property_subject *of, sq_pass pass, const sq_specimen_axis *set,
                           uint64_t seed, sq_specimen *s, sq_error *err)
{
    const sq_status status =
        of->op ? sq_specimen_new_op(of->op, of->provider, pass, of->dtype, of->shape, set, s, err)
               : sq_specimen_new_block(of->family, of->provider_name, of->dtype, of->shape, set, s,
                                       err);
    if (status == SQ_OK)
        sq_specimen_draw(s, seed);
    return status;
}

double sq_property_axis(const sq_specimen *s, const char *name, double fallback)
{
    const sq_axis *axes = s->op ? s->op->axes : s->family->axes;
    int at = sq_axis_find(axes, name);
    return at < 0 ? fallback : s->axis[at];
}

/* --- elements by time --- */

/* Where element `linear` of a dense tensor lies on dim `d`. */
static int64_t place_on(const sq_tensor *t, int d, int64_t linear)
{
    return linear / t->stride[d] % t->dim[d];
}

/* Sequences of other lengths than L end together with it (cached keys): their time t0 is shifted.
 * */
static int64_t shifted_time(const sq_specimen *s, const sq_specimen_tensor *t, int64_t t0)
{
    return t0 + t->spec.dim[t->spec.time_dim] - (int64_t)s->axis[SQ_AXIS_L];
}

/* Makes `s` read what `past` reads: whatever has no time, and everything before t0. */
static void keep_past(sq_specimen *s, const sq_specimen *past, int64_t t0)
{
    for (int i = 0; i < s->n_in; i++) {
        sq_specimen_tensor *t = &s->in[i];
        bool has_time = t->spec.time_dim >= 0;
        int64_t count = t->host.data ? sq_tensor_count(&t->host) : 0;
        for (int64_t e = 0; e < count; e++)
            if (!has_time || place_on(&t->host, t->spec.time_dim, e) < shifted_time(s, t, t0))
                sq_store(t->host.data, t->spec.dtype, e,
                         sq_load(past->in[i].host.data, t->spec.dtype, e));
    }
}

static double root_mean_square(const sq_tensor *t)
{
    double sum = 0;
    int64_t count = sq_tensor_count(t);
    for (int64_t e = 0; e < count; e++)
        sum += sq_load(t->data, t->dtype, e) * sq_load(t->data, t->dtype, e);
    return sqrt(sum / (double)count);
}

bool sq_property_has_sequences(const sq_specimen *s)
{
    bool is_any = false;
    for (int i = 0; i < s->n_in; i++)
        is_any = is_any || (s->in[i].host.data && s->in[i].spec.time_dim >= 0);
    return is_any;
}

/* --- causality --- */

/* Outputs of `a` and `b` before t0. bound 0: not one bit may differ. Else relative to the rms, and
 * a 16-bit output may besides fall on the neighbouring number. */
static sq_status same_past(const sq_specimen *a, const sq_specimen *b, int64_t t0, sq_error *err)
{
    for (int i = 0; i < a->n_out; i++) {
        const sq_specimen_tensor *t = &a->out[i];
        if (!t->host.data || t->spec.time_dim < 0) /* a final state: of the whole */
            continue;
        double rms = root_mean_square(&t->host), ulp = t->spec.dtype == SQ_DTYPE_F32 ? 0 : 0.0079;
        for (int64_t e = 0; e < sq_tensor_count(&t->host); e++) {
            if (place_on(&t->host, t->spec.time_dim, e) >= t0)
                continue;
            double x = sq_load(t->host.data, t->spec.dtype, e);
            double y = sq_load(b->out[i].host.data, t->spec.dtype, e);
            double allowed = a->causality_bound > 0 ? a->causality_bound * rms + ulp * fabs(x) : 0;
            if (!(fabs(x - y) <= allowed))
                return sq_fail(err, SQ_MISMATCH,
                               "inputs changed from t=%lld on, %s changed at t=%lld: %.9g to %.9g",
                               (long long)t0, t->spec.name,
                               (long long)place_on(&t->host, t->spec.time_dim, e), x, y);
        }
    }
    return SQ_OK;
}

/* A changed future must also change the output somewhere, or the test sees nothing. (One last step
 * may not: an RMS norm over one channel knows only the sign.) */
static bool is_same_everywhere(const sq_specimen *a, const sq_specimen *b)
{
    for (int i = 0; i < a->n_out; i++)
        if (a->out[i].host.data &&
            memcmp(a->out[i].host.data, b->out[i].host.data, sq_tensor_bytes(&a->out[i].host)) != 0)
            return false;
    return true;
}

static sq_status causality(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    int64_t length = (int64_t)a->axis[SQ_AXIS_L];
    if (sq_property_axis(a, "causal", 1) == 0 || length < 2 || !sq_property_has_sequences(a))
        return SQ_UNSUPPORTED;
    sq_specimen b;
    sq_status status = sq_property_make(of, SQ_PASS_FWD, NULL, SQ_PROPERTY_OTHER_SEED, &b, err);
    const int64_t times[] = {length / 3 + 1, length - 1};
    for (int i = 0; i < 2 && status == SQ_OK; i++) {
        sq_specimen_draw(&b, SQ_PROPERTY_OTHER_SEED);
        keep_past(&b, a, times[i]);
        if ((status = sq_specimen_run(of->rig, &b, err)) == SQ_OK)
            status = same_past(a, &b, times[i], err);
        if (status == SQ_OK && i == 0 && is_same_everywhere(a, &b))
            status = sq_fail(err, SQ_MISMATCH, "the future changes no output at all");
    }
    sq_specimen_free(&b);
    return status;
}

/* --- comparing a part --- */

sq_status sq_property_compare(const sq_specimen *s, int i, double factor, const sq_tensor *got,
                              const sq_tensor *want, const char *what, sq_error *err)
{
    const sq_tolerance bound = {factor * s->tolerance.rel_l2, factor * s->tolerance.max_abs};
    sq_compare_result r = sq_compare(got, want, bound);
    if (r.is_ok)
        return SQ_OK;
    return sq_fail(err, SQ_MISMATCH,
                   "%s: %s: rel_l2 %.3g, worst %.3g rms at element %lld: %.6g and %.6g", what,
                   s->out[i].spec.name, r.rel_l2, r.max_abs, (long long)r.worst, r.got_worst,
                   r.want_worst);
}

void sq_property_copy(sq_tensor *to, const sq_tensor *from, int at, int64_t start)
{
    sq_tensor part = *from;
    if (at >= 0)
        part.data =
            (char *)from->data + (size_t)(start * from->stride[at]) * sq_dtype_size(from->dtype);
    for (int d = 0; d < to->rank; d++)
        part.dim[d] = to->dim[d];
    for (int64_t e = 0; e < sq_tensor_count(to); e++)
        sq_store(to->data, to->dtype, e,
                 sq_load(part.data, part.dtype, sq_tensor_offset(&part, e)));
}

/* --- prefix invariance --- */

/* True where every sequence of `cut` is that of `whole` without the last `less` steps. */
static bool is_cut(const sq_specimen *whole, const sq_specimen *cut, int64_t less)
{
    for (int i = 0; i < whole->n_in; i++) {
        const sq_tensor_spec *w = &whole->in[i].spec, *c = &cut->in[i].spec;
        if (whole->in[i].host.data && w->time_dim >= 0 &&
            c->dim[w->time_dim] != w->dim[w->time_dim] - less)
            return false;
    }
    return true;
}

static sq_status run_prefix(const sq_property_subject *of, const sq_specimen *whole,
                            sq_specimen *cut, int64_t less, sq_error *err)
{
    if (!is_cut(whole, cut, less))
        return SQ_UNSUPPORTED;
    for (int i = 0; i < whole->n_in; i++)
        if (whole->in[i].host.data)
            sq_property_copy(&cut->in[i].host, &whole->in[i].host, -1, 0);
    SQ_TRY(sq_specimen_run(of->rig, cut, err));
    for (int i = 0; i < whole->n_out; i++) {
        sq_tensor part = whole->out[i].host;
        if (!part.data || whole->out[i].spec.time_dim < 0)
            continue;
        for (int d = 0; d < part.rank; d++)
            part.dim[d] = cut->out[i].host.dim[d];
        SQ_TRY(sq_property_compare(whole, i, 1, &cut->out[i].host, &part, "a prefix differs", err));
    }
    return SQ_OK;
}

static sq_status prefix_invariance(const sq_property_subject *of, sq_specimen *whole, sq_error *err)
{
    int64_t length = (int64_t)whole->axis[SQ_AXIS_L], k = length - length / 3;
    if (sq_property_axis(whole, "causal", 1) == 0 || k == length ||
        !sq_property_has_sequences(whole))
        return SQ_UNSUPPORTED;
    sq_specimen cut;
    const sq_specimen_axis set[] = {{"L", (double)k}, {NULL, 0}};
    sq_status status = sq_property_make(of, SQ_PASS_FWD, set, SQ_PROPERTY_SEED, &cut, err);
    if (status == SQ_OK)
        status = run_prefix(of, whole, &cut, length - k, err);
    sq_specimen_free(&cut);
    return status;
}

/* --- batch permutation --- */

/* Row b of `to` becomes row b + 1 of `from`, the last one row 0. */
static void rotate_rows(const sq_tensor *to, const sq_tensor *from)
{
    size_t row = sq_tensor_bytes(from) / (size_t)from->dim[0], bytes = sq_tensor_bytes(from);
    memcpy(to->data, (const char *)from->data + row, bytes - row);
    memcpy((char *)to->data + (bytes - row), from->data, row);
}

static sq_status run_rotated(const sq_property_subject *of, const sq_specimen *a, sq_specimen *b,
                             sq_error *err)
{
    for (int i = 0; i < a->n_in; i++)
        if (a->in[i].host.data && a->in[i].is_batched)
            rotate_rows(&b->in[i].host, &a->in[i].host);
    SQ_TRY(sq_specimen_run(of->rig, b, err));
    for (int i = 0; i < a->n_out; i++) {
        int64_t rows = a->out[i].host.data ? a->out[i].host.dim[0] : 0;
        for (int64_t row = 0; row < rows; row++) {
            sq_tensor got = sq_tensor_slice(&b->out[i].host, 0, row, 1);
            sq_tensor want = sq_tensor_slice(&a->out[i].host, 0, (row + 1) % rows, 1);
            SQ_TRY(sq_property_compare(a, i, 1, &got, &want, "rotated batch rows differ", err));
        }
    }
    return SQ_OK;
}

static sq_status batch_permutation(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    if (a->axis[SQ_AXIS_B] < 2)
        return SQ_UNSUPPORTED;
    sq_specimen b;
    sq_status status = sq_property_make(of, SQ_PASS_FWD, NULL, SQ_PROPERTY_SEED, &b, err);
    if (status == SQ_OK)
        status = run_rotated(of, a, &b, err);
    sq_specimen_free(&b);
    return status;
}

/* --- chunk invariance --- */

static sq_status chunk_invariance(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    static const double chunks[] = {16, 32, 64, 128, 256};
    const double own = sq_property_axis(a, "chunk", -1);
    sq_status outcome = SQ_UNSUPPORTED; /* until another chunk has been compared */
    if (own < 0)
        return SQ_UNSUPPORTED;
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        sq_specimen b;
        const sq_specimen_axis set[] = {{"chunk", chunks[i]}, {NULL, 0}};
        if (chunks[i] == own)
            continue;
        sq_status status = sq_property_make(of, SQ_PASS_FWD, set, SQ_PROPERTY_SEED, &b, err);
        if (status == SQ_OK)
            status = sq_specimen_run(of->rig, &b, err);
        for (int k = 0; k < a->n_out && status == SQ_OK; k++)
            if (a->out[k].host.data)
                status = sq_property_compare(a, k, 1, &b.out[k].host, &a->out[k].host,
                                             "another chunk differs", err);
        sq_specimen_free(&b);
        if (status != SQ_OK && status != SQ_BAD_SHAPE && status != SQ_UNSUPPORTED)
            return status;
        if (status == SQ_OK)
            outcome = SQ_OK;
    }
    return outcome;
}

/* --- all of them --- */

/* in_f16: what bits or states, not only bounds, decide. */
static const struct {
    const char *name;
    sq_property_fn check;
    bool in_f16;
} properties[] = {
    {"causality", causality, true},
    {"backward causality", sq_property_backward, false},
    {"leaks", sq_property_leaks, false},
    {"prefix invariance", prefix_invariance, false},
    {"batch permutation", batch_permutation, false},
    {"chunk invariance", chunk_invariance, false},
    {"steps", sq_property_steps, true},
    {"documents", sq_property_documents, true},
    {"idle steps", sq_property_idle, false},
    {"forgetting", sq_property_forgetting, false},
    {"heads", sq_property_heads, false},
    {"linearity", sq_property_linearity, false},
    {"providers", sq_property_providers, false},
};

static void count(const sq_property_subject *of, const char *property, const char *program,
                  sq_status status, const sq_error *err, sq_case_counts *counts)
{
    counts->passed += status == SQ_OK;
    counts->unsupported += status == SQ_UNSUPPORTED;
    if (status == SQ_OK || status == SQ_UNSUPPORTED)
        return;
    const char *name = of->op ? of->op->name : of->family->name;
    counts->failed++;
    printf("FAIL %s: %s %s %s %s: %s\n     replay: %s %s %s %s %s\n", property, name,
           of->provider_name, of->shape, sq_dtype_name(of->dtype), err->message, program, name,
           of->provider_name, of->shape, sq_dtype_name(of->dtype));
    fflush(stdout);
}

static void check_subject(const sq_property_subject *of, const char *program,
                          sq_case_counts *counts)
{
    sq_error err = {.status = SQ_OK};
    sq_specimen a;
    sq_status status = sq_property_make(of, SQ_PASS_FWD, NULL, SQ_PROPERTY_SEED, &a, &err);
    if (status == SQ_OK)
        status = sq_specimen_run(of->rig, &a, &err);
    if (status != SQ_OK)
        count(of, "a run", program, status, &err, counts);
    for (size_t i = 0; status == SQ_OK && i < sizeof properties / sizeof properties[0]; i++)
        if (of->dtype != SQ_DTYPE_F16 || properties[i].in_f16)
            count(of, properties[i].name, program, properties[i].check(of, &a, &err), &err, counts);
    sq_specimen_free(&a);
}

static void check_dtypes(sq_property_subject of, const sq_case_filter *filter, bool is_in_f16,
                         sq_case_counts *counts)
{
    static const sq_dtype dtypes[] = {SQ_DTYPE_F32, SQ_DTYPE_BF16, SQ_DTYPE_F16};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        of.dtype = dtypes[i];
        if ((of.dtype != SQ_DTYPE_F16 || is_in_f16) &&
            sq_case_is_selected(filter->dtype, sq_dtype_name(of.dtype)))
            check_subject(&of, filter->program, counts);
    }
}

void sq_properties_of_ops(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                          sq_case_counts *counts)
{
    for (int i = 0; sq_ops[i]; i++)
        for (const sq_provider *p = rig->providers(sq_ops[i]); p->name; p++)
            for (const char *const *shape = sq_ops[i]->test_shapes; *shape; shape++) {
                sq_property_subject of = {.rig = rig,
                                          .op = sq_ops[i],
                                          .provider = p,
                                          .provider_name = p->name,
                                          .shape = *shape};
                if (sq_case_is_selected(filter->op, sq_ops[i]->name) &&
                    sq_case_is_selected(filter->provider, p->name) &&
                    sq_case_is_selected(filter->shape, *shape) &&
                    sq_case_is_cheap(sq_ops[i], *shape, max_work))
                    check_dtypes(of, filter, sq_case_is_cheap(sq_ops[i], *shape, max_work / 10),
                                 counts);
            }
}

void sq_properties_of_blocks(const sq_rig *rig, const sq_case_filter *filter, const char *provider,
                             sq_case_counts *counts)
{
    for (int i = 0; sq_families[i]; i++) {
        sq_property_subject of = {.rig = rig,
                                  .family = sq_families[i],
                                  .provider_name = provider,
                                  .shape = "B=2,L=37,D=128"};
        if (sq_case_is_selected(filter->op, sq_families[i]->name) &&
            sq_case_is_selected(filter->provider, provider))
            check_dtypes(of, filter, true, counts);
    }
}
