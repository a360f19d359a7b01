/* subjects of norms and other row operators. */
#include "bench/verify/subjects/subjects.h"

static sq_status rms_norm(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const double width = sq_golden_item(g, "shape", 2, 0),
                 group = sq_golden_number(g, "group_size", width);
    const bool has_gate = sq_golden_number(g, "has_z", 0) != 0;
    SQ_TRY(sq_subject_lacks(sq_golden_number(g, "residual", 0) != 0, "residual", why));
    SQ_TRY(sq_subject_lacks(sq_golden_number(g, "bias", 0) != 0, "bias", why));
    const char *gate = !has_gate                                         ? "none"
                       : sq_golden_number(g, "norm_before_gate", 0) != 0 ? "post"
                                                                         : "pre";
    sq_text_printf(shape, "B=%lld,L=%lld,D=%lld,groups=%lld,weight=%d,gate=%s,eps=%.17g",
                   (long long)sq_golden_item(g, "shape", 0, 0),
                   (long long)sq_golden_item(g, "shape", 1, 0), (long long)width,
                   group > 0 ? (long long)(width / group) : 0, sq_subject_has_input(g, "weight"),
                   gate, sq_golden_number(g, "eps", 1e-5));
    return SQ_OK;
}

static const sq_subject_tensor rms_norm_tensors[] = {
    {"x", "x", "012"}, {"w", "weight", "0"}, {"z", "z", "012"},
    {"y", "y", "012"}, {NULL, NULL, NULL},
};

const sq_verify_subject sq_subjects_norms[] = {
    {"gated_rms_norm", "rmsnorm", rms_norm, rms_norm_tensors},
    {"rms_norm", "rmsnorm", rms_norm, rms_norm_tensors},
    {NULL, NULL, NULL, NULL},
};
