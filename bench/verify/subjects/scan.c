/* subjects of short convolutions and selective scans. */
#include "bench/verify/subjects/subjects.h"

/* --- causal_conv1d --- */

static sq_status causal_conv1d(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const bool is_known = sq_golden_is_silu(g) || !*sq_golden_text(g, "activation");
    SQ_TRY(sq_subject_lacks(!is_known, "activation but SiLU", why));
    sq_text_printf(shape, "B=%lld,L=%lld,D=%lld,W=%lld,silu=%d,bias=%d,initial=%d,final=%d",
                   sq_subject_integer(g, "batch"), sq_subject_integer(g, "seqlen"),
                   sq_subject_integer(g, "dim"), sq_subject_integer(g, "width"),
                   sq_golden_is_silu(g), sq_subject_has_input(g, "bias"),
                   sq_subject_has_input(g, "initial_states"),
                   sq_subject_has_output(g, "final_states"));
    return SQ_OK;
}

static const sq_subject_tensor causal_conv1d_tensors[] = {
    {"x", "x", "021"},  {"w", "weight", "01"},
    {"b", "bias", "0"}, {"initial", "initial_states", "021"},
    {"y", "y", "021"},  {"final", "final_states", "021"},
    {NULL, NULL, NULL},
};

/* --- selective_scan --- */

static sq_status selective_scan(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const long long groups = sq_subject_integer(g, "groups");
    (void)why;
    sq_text_printf(shape, "B=%lld,L=%lld,D=%lld,N=%lld,G=%lld,bias=%d,softplus=%d,skip=%d,gate=%d",
                   sq_subject_integer(g, "batch"), sq_subject_integer(g, "seqlen"),
                   sq_subject_integer(g, "dim"), sq_subject_integer(g, "dstate"),
                   groups > 0 ? groups : 1, sq_subject_has_input(g, "delta_bias"),
                   sq_golden_number(g, "delta_softplus", 0) != 0, sq_subject_has_input(g, "D"),
                   sq_subject_has_input(g, "z"));
    sq_text_printf(
        shape, ",constB=%d,constC=%d,final=%d", sq_golden_number(g, "variable_B", 1) == 0,
        sq_golden_number(g, "variable_C", 1) == 0, sq_subject_has_output(g, "last_state"));
    return SQ_OK;
}

static const sq_subject_tensor selective_scan_tensors[] = {
    {"u", "u", "021"},  {"delta", "delta", "021"},
    {"A", "A", "01"},   {"B", "B", "02.1"},
    {"B", "B", "0312"}, {"B", "B", "01"},
    {"C", "C", "02.1"}, {"C", "C", "0312"},
    {"C", "C", "01"},   {"D", "D", "0"},
    {"z", "z", "021"},  {"delta_bias", "delta_bias", "0"},
    {"y", "y", "021"},  {"final_state", "last_state", "012"},
    {NULL, NULL, NULL},
};

const sq_verify_subject sq_subjects_scan[] = {
    {"causal_conv1d", "causal_conv1d", causal_conv1d, causal_conv1d_tensors},
    {"selective_scan", "selective_scan", selective_scan, selective_scan_tensors},
    {NULL, NULL, NULL, NULL},
};
