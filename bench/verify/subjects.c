/* subjects: see subjects.h. */
#include "bench/verify/subjects.h"

#include <string.h>

static long long whole(const sq_golden *g, const char *option)
{
    return (long long)sq_golden_number(g, option, 0);
}

/* Fails where the case asks for something that the operator has not. */
static sq_status refuse(bool is_asked, const char *what, sq_error *why)
{
    return is_asked ? sq_fail(why, SQ_UNSUPPORTED, "the operator has no %s", what) : SQ_OK;
}

static bool has_input(const sq_golden *g, const char *name)
{
    return sq_golden_tensor(g, "input", name) != NULL;
}

static bool has_output(const sq_golden *g, const char *name)
{
    return sq_golden_tensor(g, "output", name) != NULL;
}

/* --- attention --- */

/* Official windows count the keys beside the query's own; -1 is no bound. */
static sq_status attention(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const double left = sq_golden_item(g, "window_size", 0, -1);
    const double right = sq_golden_item(g, "window_size", 1, -1);
    const bool is_causal = sq_golden_number(g, "causal", 0) != 0;
    SQ_TRY(
        refuse(sq_golden_number(g, "alibi", 0) != 0 || has_input(g, "alibi_slopes"), "ALiBi", why));
    SQ_TRY(refuse(sq_golden_number(g, "num_masked_heads", 0) > 0, "Hard-ALiBi", why));
    SQ_TRY(refuse(sq_golden_number(g, "rotary_dim", 0) > 0, "rotary positions", why));
    SQ_TRY(refuse(sq_golden_number(g, "softcap", 0) > 0, "softcap", why));
    SQ_TRY(refuse(!is_causal && (left >= 0 || right >= 0), "window without causality", why));
    sq_text_printf(shape, "B=%lld,L=%lld,Lk=%lld,H=%lld,Hkv=%lld,D=%lld,causal=%d,window=%lld",
                   whole(g, "batch"), whole(g, "seqlen_q"), whole(g, "seqlen_k"),
                   whole(g, "heads_q"), whole(g, "heads_kv"), whole(g, "head_dim"), is_causal,
                   left >= 0 ? (long long)left + 1 : 0);
    return SQ_OK;
}

static const sq_subject_tensor attention_tensors[] = {
    {"q", "q", "0123"}, {"k", "k", "0123"}, {"v", "v", "0123"},
    {"o", "o", "0123"}, {NULL, NULL, NULL},
};

/* --- causal_conv1d --- */

static sq_status causal_conv1d(const sq_golden *g, sq_text *shape, sq_error *why)
{
    (void)why;
    sq_text_printf(shape, "B=%lld,L=%lld,D=%lld,W=%lld,silu=%d,bias=%d,initial=%d,final=%d",
                   whole(g, "batch"), whole(g, "seqlen"), whole(g, "dim"), whole(g, "width"),
                   strcmp(sq_golden_text(g, "activation"), "silu") == 0, has_input(g, "bias"),
                   has_input(g, "initial_states"), has_output(g, "final_states"));
    return SQ_OK;
}

static const sq_subject_tensor causal_conv1d_tensors[] = {
    {"x", "x", "021"},  {"w", "weight", "01"},
    {"b", "bias", "0"}, {"initial", "initial_states", "021"},
    {"y", "y", "021"},  {"final", "final_states", "021"},
    {NULL, NULL, NULL},
};

/* --- long_conv --- */

static sq_status fftconv(const sq_golden *g, sq_text *shape, sq_error *why)
{
    SQ_TRY(refuse(sq_golden_number(g, "gelu", 0) != 0, "GELU", why));
    SQ_TRY(refuse(has_input(g, "k_rev"), "filter that looks ahead", why));
    sq_text_printf(shape, "B=%lld,L=%lld,D=%lld,gate=0", whole(g, "batch"), whole(g, "seqlen"),
                   whole(g, "channels"));
    return SQ_OK;
}

static const sq_subject_tensor fftconv_tensors[] = {
    {"v", "u", "021"}, {"h", "k", "01"}, {"bias", "D", "0"}, {"y", "y", "021"}, {NULL, NULL, NULL},
};

/* --- retention --- */

static sq_status retention_core(const sq_golden *g, sq_text *shape, sq_error *why)
{
    (void)why;
    sq_text_printf(shape, "B=%lld,L=%lld,H=%lld,K=%lld,V=%lld", whole(g, "batch"),
                   whole(g, "seqlen"), whole(g, "heads"), whole(g, "key_dim"),
                   whole(g, "value_dim"));
    return SQ_OK;
}

static const sq_subject_tensor retention_core_tensors[] = {
    {"q", "q", "0213"}, {"k", "k", "0213"}, {"v", "v", "0213"},
    {"o", "o", "0213"}, {NULL, NULL, NULL},
};

/* --- rmsnorm --- */

static sq_status rms_norm(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const double width = sq_golden_item(g, "shape", 2, 0),
                 group = sq_golden_number(g, "group_size", width);
    const bool has_gate = sq_golden_number(g, "has_z", 0) != 0;
    SQ_TRY(refuse(sq_golden_number(g, "residual", 0) != 0, "residual", why));
    SQ_TRY(refuse(sq_golden_number(g, "bias", 0) != 0, "bias", why));
    const char *gate = !has_gate                                         ? "none"
                       : sq_golden_number(g, "norm_before_gate", 0) != 0 ? "post"
                                                                         : "pre";
    sq_text_printf(shape, "B=%lld,L=%lld,D=%lld,groups=%lld,weight=%d,gate=%s,eps=%.17g",
                   (long long)sq_golden_item(g, "shape", 0, 0),
                   (long long)sq_golden_item(g, "shape", 1, 0), (long long)width,
                   group > 0 ? (long long)(width / group) : 0, has_input(g, "weight"), gate,
                   sq_golden_number(g, "eps", 1e-5));
    return SQ_OK;
}

static const sq_subject_tensor rms_norm_tensors[] = {
    {"x", "x", "012"}, {"w", "weight", "0"}, {"z", "z", "012"},
    {"y", "y", "012"}, {NULL, NULL, NULL},
};

/* --- selective_scan --- */

static sq_status selective_scan(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const bool is_constant =
        sq_golden_number(g, "variable_B", 1) == 0 || sq_golden_number(g, "variable_C", 1) == 0;
    const long long groups = whole(g, "groups");
    SQ_TRY(refuse(is_constant, "B or C that is constant in time", why));
    sq_text_printf(shape, "B=%lld,L=%lld,D=%lld,N=%lld,G=%lld,bias=%d,softplus=%d,skip=%d,gate=%d",
                   whole(g, "batch"), whole(g, "seqlen"), whole(g, "dim"), whole(g, "dstate"),
                   groups > 0 ? groups : 1, has_input(g, "delta_bias"),
                   sq_golden_number(g, "delta_softplus", 0) != 0, has_input(g, "D"),
                   has_input(g, "z"));
    return SQ_OK;
}

static const sq_subject_tensor selective_scan_tensors[] = {
    {"u", "u", "021"},  {"delta", "delta", "021"},
    {"A", "A", "01"},   {"B", "B", "02.1"},
    {"B", "B", "0312"}, {"C", "C", "02.1"},
    {"C", "C", "0312"}, {"D", "D", "0"},
    {"z", "z", "021"},  {"delta_bias", "delta_bias", "0"},
    {"y", "y", "021"},  {NULL, NULL, NULL},
};

/* --- ssd --- */

static sq_status ssd(const sq_golden *g, sq_text *shape, sq_error *why)
{
    SQ_TRY(refuse(has_input(g, "z"), "gate z", why));
    SQ_TRY(refuse(has_input(g, "initial_states"), "initial states", why));
    SQ_TRY(refuse(has_input(g, "seq_idx"), "document boundaries", why));
    SQ_TRY(refuse(sq_golden_item(g, "dt_limit", 0, -1) >= 0, "limit of dt", why));
    SQ_TRY(refuse(strcmp(sq_golden_text(g, "D"), "channel") == 0, "D for each channel", why));
    sq_text_printf(shape, "B=%lld,L=%lld,H=%lld,P=%lld,N=%lld,G=%lld,bias=%d,softplus=%d,skip=%d",
                   whole(g, "batch"), whole(g, "seqlen"), whole(g, "heads"), whole(g, "headdim"),
                   whole(g, "dstate"), whole(g, "groups"), has_input(g, "dt_bias"),
                   sq_golden_number(g, "dt_softplus", 0) != 0, has_input(g, "D"));
    return SQ_OK;
}

static const sq_subject_tensor ssd_tensors[] = {
    {"x", "x", "0123"}, {"dt", "dt", "012"},         {"A", "A", "0"},
    {"B", "B", "0123"}, {"C", "C", "0123"},          {"D", "D", "0"},
    {"y", "y", "0123"}, {"dt_bias", "dt_bias", "0"}, {NULL, NULL, NULL},
};

static const sq_verify_subject subjects[] = {
    {"attention", "attention", attention, attention_tensors},
    {"causal_conv1d", "causal_conv1d", causal_conv1d, causal_conv1d_tensors},
    {"fftconv", "long_conv", fftconv, fftconv_tensors},
    {"gated_rms_norm", "rmsnorm", rms_norm, rms_norm_tensors},
    {"retention_core", "retention", retention_core, retention_core_tensors},
    {"rms_norm", "rmsnorm", rms_norm, rms_norm_tensors},
    {"selective_scan", "selective_scan", selective_scan, selective_scan_tensors},
    {"ssd", "ssd", ssd, ssd_tensors},
};

const sq_verify_subject *sq_verify_subject_find(const char *subject)
{
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        if (strcmp(subjects[i].subject, subject) == 0)
            return &subjects[i];
    return NULL;
}

static int digits(const char *order)
{
    int n = 0;
    for (; *order; order++)
        n += *order != '.';
    return n;
}

const sq_subject_tensor *sq_subject_tensor_find(const sq_verify_subject *subject,
                                                const sq_golden *golden, const char *role,
                                                const char *ours)
{
    for (const sq_subject_tensor *t = subject->tensors; t->ours; t++) {
        const sq_stored_tensor *stored = sq_golden_tensor(golden, role, t->golden);
        if (strcmp(t->ours, ours) == 0 && stored && stored->rank == digits(t->order))
            return t;
    }
    return NULL;
}
