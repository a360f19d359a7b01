/* subjects of long convolutions and the filters of state spaces. */
#include "bench/verify/subjects/subjects.h"

static sq_status fftconv(const sq_golden *g, sq_text *shape, sq_error *why)
{
    (void)why;
    sq_text_printf(shape, "B=%lld,L=%lld,D=%lld,gate=0,gelu=%d,causal=%d",
                   sq_subject_integer(g, "batch"), sq_subject_integer(g, "seqlen"),
                   sq_subject_integer(g, "channels"), sq_golden_number(g, "gelu", 0) != 0,
                   !sq_subject_has_input(g, "k_rev"));
    return SQ_OK;
}

static const sq_subject_tensor fftconv_tensors[] = {
    {"v", "u", "021"},    {"h", "k", "01"},  {"bias", "D", "0"},
    {"r", "k_rev", "01"}, {"y", "y", "021"}, {NULL, NULL, NULL},
};

const sq_verify_subject sq_subjects_long_conv[] = {
    {"fftconv", "long_conv", fftconv, fftconv_tensors},
    {NULL, NULL, NULL, NULL},
};
