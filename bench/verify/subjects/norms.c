/* subjects of norms and other row operators. */
#include "bench/verify/subjects/subjects.h"

/* Rows of two dims are one sequence. */
static long long dim(const sq_golden *g, int from_last)
{
    const int rank = sq_golden_item(g, "shape", 2, 0) > 0 ? 3 : 2, at = rank - 1 - from_last;
    return at < 0 ? 1 : sq_golden_integer_item(g, "shape", at, 0);
}

/* The options that all norms of rows share. */
static void print_shared(const sq_golden *g, sq_text *shape)
{
    sq_text_printf(
        shape, "B=%lld,L=%lld,D=%lld,weight=%d,bias=%d,residual=%s,eps=%.17g", dim(g, 2), dim(g, 1),
        dim(g, 0), sq_subject_has_input(g, "weight"), sq_subject_has_input(g, "bias"),
        sq_subject_has_input(g, "residual") ? "same" : "none", sq_golden_number(g, "eps", 1e-5));
}

static sq_status rms_norm(const sq_golden *g, sq_text *shape, sq_error *why)
{
    (void)why;
    const long long group = sq_golden_integer(g, "group_size", dim(g, 0));
    const char *gate = !sq_subject_has_input(g, "z")                     ? "none"
                       : sq_golden_number(g, "norm_before_gate", 0) != 0 ? "post"
                                                                         : "pre";
    print_shared(g, shape);
    sq_text_printf(shape, ",groups=%lld,gate=%s", group > 0 ? dim(g, 0) / group : 0, gate);
    return SQ_OK;
}

static sq_status layer_norm(const sq_golden *g, sq_text *shape, sq_error *why)
{
    SQ_TRY(sq_subject_lacks(sq_subject_has_input(g, "z"), "gate", why));
    print_shared(g, shape);
    return SQ_OK;
}

static const sq_subject_tensor norm_tensors[] = {
    {"x", "x", "012"},
    {"x", "x", ".01"},
    {"w", "weight", "0"},
    {"z", "z", "012"},
    {"z", "z", ".01"},
    {"b", "bias", "0"},
    {"r", "residual", "012"},
    {"r", "residual", ".01"},
    {"y", "y", "012"},
    {"y", "y", ".01"},
    {"s", "residual_out", "012"},
    {"s", "residual_out", ".01"},
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
