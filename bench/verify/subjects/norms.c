/* subjects of norms and other row operators. */
#include <math.h>

#include "bench/verify/subjects/subjects.h"

/* How rows of any rank count (subjects.h): batch, length, width, from the option "shape". */
typedef struct {
    long long batch, length, width;
} rows;

static rows rows_of(const sq_golden *g)
{
    rows r = {.batch = 1, .length = 1, .width = 1};
    for (int at = 0; at < SQ_MAX_RANK && sq_golden_integer_item(g, "shape", at, -1) >= 0; at++) {
        r.batch = (long long)fmin((double)r.batch * (double)r.length, 0x1p53);
        r.length = r.width;
        r.width = sq_golden_integer_item(g, "shape", at, 0);
    }
    return r;
}

/* The options that all norms of rows share. */
static void print_shared(const sq_golden *g, sq_text *shape)
{
    const rows r = rows_of(g);
    sq_text_printf(
        shape, "B=%lld,L=%lld,D=%lld,weight=%d,bias=%d,residual=%s,eps=%.17g", r.batch, r.length,
        r.width, sq_subject_has_input(g, "weight"), sq_subject_has_input(g, "bias"),
        sq_subject_has_input(g, "residual") ? "same" : "none", sq_golden_number(g, "eps", 1e-5));
}

static sq_status rms_norm(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const long long width = rows_of(g).width, group = sq_golden_integer(g, "group_size", width);
    const char *gate = !sq_subject_has_input(g, "z")                     ? "none"
                       : sq_golden_number(g, "norm_before_gate", 1) != 0 ? "post"
                                                                         : "pre";
    SQ_TRY(sq_subject_lacks(group < 1 || width % group != 0, "groups of unlike sizes", why));
    print_shared(g, shape);
    sq_text_printf(shape, ",groups=%lld,gate=%s", width / group, gate);
    return SQ_OK;
}

static sq_status layer_norm(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const long long width = rows_of(g).width;
    SQ_TRY(sq_subject_lacks(sq_subject_has_input(g, "z"), "gate", why));
    SQ_TRY(sq_subject_lacks(sq_golden_integer(g, "group_size", width) != width, "groups", why));
    print_shared(g, shape);
    return SQ_OK;
}

static const sq_subject_tensor norm_tensors[] = {
    {"x", "x", NULL},
    {"w", "weight", "0"},
    {"z", "z", NULL},
    {"b", "bias", "0"},
    {"r", "residual", NULL},
    {"y", "y", NULL},
    {"s", "residual_out", NULL},
    {NULL, NULL, NULL},
};

static sq_status head_norm(const sq_golden *g, sq_text *shape, sq_error *why)
{
    (void)why;
    sq_text_printf(shape, "B=%lld,L=%lld,H=%lld,D=%lld,weight=%d,eps=%.17g",
                   sq_subject_integer(g, "batch"), sq_subject_integer(g, "seqlen"),
                   sq_subject_integer(g, "heads"), sq_subject_integer(g, "head_dim"),
                   sq_subject_has_input(g, "weight"), sq_golden_number(g, "eps", 1e-6));
    return SQ_OK;
}

static const sq_subject_tensor head_norm_tensors[] = {
    {"x", "x", "0123"},
    {"w", "weight", "0"},
    {"y", "y", "0123"},
    {NULL, NULL, NULL},
};

const sq_verify_subject sq_subjects_norms[] = {
    {"gated_rms_norm", "rmsnorm", rms_norm, norm_tensors},
    {"layer_norm", "layernorm", layer_norm, norm_tensors},
    {"retnet_head_norm", "group_norm", head_norm, head_norm_tensors},
    {"rms_norm", "rmsnorm", rms_norm, norm_tensors},
    {NULL, NULL, NULL, NULL},
};
