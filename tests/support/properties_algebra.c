/* properties of algebra: heads that know nothing of each other, linearity, providers that agree. */
#include <string.h>

#include "tests/support/properties_parts.h"

/* --- heads --- */

/* Operators whose heads (or channels) are independent: the axis that counts them, one that may
 * count fewer (groups or state spaces that heads share), and an axis that above `most` makes heads
 * differ by their number or belong together. */
static const struct {
    const char *op, *axis, *shared, *unless;
    double most;
} independent[] = {
    {"attention", "H", "Hkv", "pos", 2}, /* but for slopes and windows by head */
    {"causal_conv1d", "D", NULL, NULL, 0},
    {"gla", "H", NULL, NULL, 0},
    {"group_norm", "H", NULL, NULL, 0},
    {"hyena_filter", "D", NULL, NULL, 0},
    {"local_attention", "H", NULL, NULL, 0},
    {"long_conv", "D", NULL, "head", 1},
    {"rope", "H", NULL, NULL, 0},
    {"s4_kernel", "D", "S", NULL, 0},
    {"s4_scan", "D", "S", NULL, 0},
    {"s4d_kernel", "D", "S", NULL, 0},
    {"selective_scan", "D", "G", NULL, 0},
    {"shift_ssm", "D", NULL, NULL, 0},
    {"simple_gla", "H", NULL, NULL, 0},
    {"ssd", "H", "G", NULL, 0},
    {"xpos", "H", NULL, NULL, 0},
};

/* The dim of each tensor that grows with the heads; -1: none. */
static void find_dims(const sq_specimen_tensor *list, int n, const sq_tensor_spec *larger, int *dim)
{
    for (int i = 0; i < n; i++) {
        dim[i] = -1;
        for (int d = 0; list[i].host.data && d < list[i].spec.rank; d++)
            if (list[i].spec.dim[d] != larger[i].dim[d])
                dim[i] = d;
    }
}

/* Head h on dim d of `to`, which has `heads` of them, becomes head h + 1 of `from`, the last one
 * head 0. */
static void rotate(const sq_tensor *to, const sq_tensor *from, int d, int64_t heads)
{
    const int64_t one = to->dim[d] / heads;
    for (int64_t e = 0; e < sq_tensor_count(to); e++) {
        const int64_t place = e / to->stride[d] % to->dim[d], next = (place + one) % to->dim[d];
        sq_store(to->data, to->dtype, e,
                 sq_load(from->data, from->dtype, e + (next - place) * to->stride[d]));
    }
}

static sq_status run_rotated(const sq_property_subject *of, const sq_specimen *a,
                             const sq_tensor_list *larger, int64_t heads, sq_error *err)
{
    int in[SQ_SPECIMEN_MAX], out[SQ_MAX_OUT];
    sq_specimen b;
    find_dims(a->in, a->n_in, larger->in, in);
    find_dims(a->out, a->n_out, larger->out, out);
    sq_status s = sq_property_make(of, SQ_PASS_FWD, NULL, SQ_PROPERTY_SEED, &b, err);
    for (int i = 0; s == SQ_OK && i < a->n_in; i++)
        if (in[i] >= 0)
            rotate(&b.in[i].host, &a->in[i].host, in[i], heads);
    if (s == SQ_OK)
        s = sq_specimen_run(of->rig, &b, err);
    for (int i = 0; s == SQ_OK && i < a->n_out; i++) {
        if (out[i] < 0)
            continue;
        for (int64_t h = 0; s == SQ_OK && h < heads; h++) {
            const int64_t one = a->out[i].host.dim[out[i]] / heads, next = (h + 1) % heads;
            const sq_tensor got = sq_tensor_slice(&b.out[i].host, out[i], h * one, one);
            const sq_tensor want = sq_tensor_slice(&a->out[i].host, out[i], next * one, one);
            s = sq_property_compare(a, i, 2, &got, &want, "rotated heads differ", err);
        }
    }
    sq_specimen_free(&b);
    return s;
}

/* Rotating the heads of the inputs rotates the outputs. */
sq_status sq_property_heads(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    for (size_t k = 0; of->op && k < sizeof independent / sizeof independent[0]; k++) {
        if (strcmp(independent[k].op, of->op->name) != 0)
            continue;
        const double heads = sq_property_axis(a, independent[k].axis, 1);
        const double shared =
            independent[k].shared ? sq_property_axis(a, independent[k].shared, 1) : heads;
        const double differs =
            independent[k].unless ? sq_property_axis(a, independent[k].unless, 0) : 0;
        sq_axis_value axis[SQ_MAX_AXES];
        sq_tensor_list larger;
        if (heads < 2 || (shared != heads && shared != 1) || differs > independent[k].most)
            return SQ_UNSUPPORTED;
        memcpy(axis, a->axis, sizeof axis);
        axis[sq_axis_find(of->op->axes, independent[k].axis)] *= 2;
        if (independent[k].shared && shared == heads)
            axis[sq_axis_find(of->op->axes, independent[k].shared)] *= 2;
        SQ_TRY(sq_op_tensors(of->op, SQ_PASS_FWD, of->dtype, axis, &larger, err));
        return run_rotated(of, a, &larger, (int64_t)heads, err);
    }
    return SQ_UNSUPPORTED;
}

/* --- linearity --- */

/* Inputs that an operator is linear in, where no axis of `unless` is set. */
static const struct {
    const char *op, *input, *unless[4];
} linear[] = {
    {"attention", "v", {NULL}},
    {"causal_conv1d", "x", {"silu", "bias", "initial", NULL}},
    {"gla", "v", {"initial", NULL}},
    {"hyena_filter", "out", {NULL}},
    {"linear", "x", {"bias", "residual", "act", NULL}},
    {"local_attention", "v", {NULL}},
    {"long_conv", "v", {"gelu", NULL}},
    {"retention", "v", {"initial", NULL}},
    {"rope", "x", {NULL}},
    {"s4_kernel", "c", {NULL}},
    {"s4_scan", "u", {"initial", NULL}},
    {"s4d_kernel", "c", {NULL}},
    {"selective_scan", "u", {"initial", NULL}},
    {"shift_ssm", "u", {"initial", NULL}},
    {"simple_gla", "v", {"initial", NULL}},
    {"ssd", "x", {"initial", NULL}},
    {"xpos", "x", {NULL}},
};

static bool is_linear(const sq_specimen *a, const char *const *unless)
{
    for (; *unless; unless++)
        if (sq_property_axis(a, *unless, 0) != 0)
            return false;
    return true;
}

/* f(x) + f(y) = f(x + y), x and y being values of input i. */
static sq_status check_sum(const sq_property_subject *of, const sq_specimen *x, int i,
                           sq_error *err)
{
    sq_specimen y, sum;
    memset(&sum, 0, sizeof sum);
    sq_status s = sq_property_make(of, SQ_PASS_FWD, NULL, SQ_PROPERTY_SEED, &y, err);
    if (s == SQ_OK)
        s = sq_property_make(of, SQ_PASS_FWD, NULL, SQ_PROPERTY_SEED, &sum, err);
    if (s == SQ_OK) {
        sq_rng_fill(&y.in[i].host, 0, y.in[i].spec.draw, SQ_PROPERTY_OTHER_SEED, (uint32_t)i);
        for (int64_t e = 0; e < sq_tensor_count(&sum.in[i].host); e++)
            sq_store(sum.in[i].host.data, of->dtype, e,
                     sq_load(x->in[i].host.data, of->dtype, e) +
                         sq_load(y.in[i].host.data, of->dtype, e));
        s = sq_specimen_run(of->rig, &y, err);
    }
    if (s == SQ_OK)
        s = sq_specimen_run(of->rig, &sum, err);
    for (int k = 0; s == SQ_OK && k < x->n_out; k++) {
        const sq_tensor *a = &x->out[k].host, *b = &y.out[k].host;
        if (!a->data || strncmp(x->out[k].spec.name, "final", 5) == 0)
            continue;
        for (int64_t e = 0; e < sq_tensor_count(a); e++)
            sq_store(b->data, b->dtype, e,
                     sq_load(a->data, a->dtype, e) + sq_load(b->data, b->dtype, e));
        s = sq_property_compare(x, k, 4, &sum.out[k].host, b, "f(x + y) is not f(x) + f(y)", err);
    }
    sq_specimen_free(&y);
    sq_specimen_free(&sum);
    return s;
}

/* In f32: a sum of inputs is rounded, and 16-bit types round too much of it away. */
sq_status sq_property_linearity(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    sq_status s = SQ_UNSUPPORTED;
    for (size_t k = 0; of->op && k < sizeof linear / sizeof linear[0]; k++) {
        if (strcmp(linear[k].op, of->op->name) != 0 || of->dtype != SQ_DTYPE_F32 ||
            !is_linear(a, linear[k].unless))
            continue;
        for (int i = 0; i < a->n_in; i++)
            if (a->in[i].spec.name && strcmp(a->in[i].spec.name, linear[k].input) == 0) {
                s = check_sum(of, a, i, err);
                if (s != SQ_OK)
                    return s;
            }
    }
    return s;
}

/* --- providers --- */

/* Every other provider that can gives the same: parallel, chunkwise and recurrent forms are one. */
sq_status sq_property_providers(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    const sq_provider *p = of->op ? of->rig->providers(of->op) : NULL;
    sq_status agreed = SQ_UNSUPPORTED;
    if (!p || p != of->provider) /* once for each shape: the first against the others */
        return SQ_UNSUPPORTED;
    for (p++; p->name; p++) {
        sq_property_subject other = *of;
        sq_specimen b;
        other.provider = p;
        other.provider_name = p->name;
        sq_status s = sq_property_make(&other, SQ_PASS_FWD, NULL, SQ_PROPERTY_SEED, &b, err);
        if (s == SQ_OK)
            s = sq_specimen_run(of->rig, &b, err);
        for (int i = 0; s == SQ_OK && i < a->n_out; i++)
            if (a->out[i].host.data)
                s = sq_property_compare(a, i, 2, &b.out[i].host, &a->out[i].host, p->name, err);
        sq_specimen_free(&b);
        if (s != SQ_OK && s != SQ_UNSUPPORTED)
            return s;
        agreed = s == SQ_OK ? SQ_OK : agreed;
    }
    return agreed;
}
