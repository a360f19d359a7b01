/* subjects of recurrences by chunks. */
#include <math.h>
#include <string.h>

#include "bench/verify/subjects/subjects.h"

/* --- retention --- */

static sq_status retention_core(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const double scale = sq_golden_number(g, "scale", NAN), key = sq_golden_number(g, "key_dim", 1);
    const bool is_scaled = !isnan(scale) && fabs(scale * sqrt(key) - 1) > 1e-6;
    SQ_TRY(sq_subject_lacks(is_scaled, "scale but 1/sqrt(key_dim)", why));
    sq_text_printf(shape, "B=%lld,L=%lld,H=%lld,K=%lld,V=%lld,initial=%d,final=%d",
                   sq_subject_integer(g, "batch"), sq_subject_integer(g, "seqlen"),
                   sq_subject_integer(g, "heads"), sq_subject_integer(g, "key_dim"),
                   sq_subject_integer(g, "value_dim"), sq_subject_has_input(g, "initial_state"),
                   sq_subject_has_output(g, "final_state"));
    return SQ_OK;
}

static const sq_subject_tensor retention_core_tensors[] = {
    {"q", "q", "0213"},
    {"k", "k", "0213"},
    {"v", "v", "0213"},
    {"o", "o", "0213"},
    {"initial_state", "initial_state", "0123"},
    {"final_state", "final_state", "0123"},
    {NULL, NULL, NULL},
};

/* --- simple_gla, gla --- */

static sq_status gated(const sq_golden *g, sq_text *shape, sq_error *why)
{
    (void)why;
    sq_text_printf(shape, "B=%lld,L=%lld,H=%lld,K=%lld,V=%lld,scale=%.17g,initial=%d,final=%d",
                   sq_subject_integer(g, "batch"), sq_subject_integer(g, "seqlen"),
                   sq_subject_integer(g, "heads"), sq_subject_integer(g, "key_dim"),
                   sq_subject_integer(g, "value_dim"), sq_golden_number(g, "scale", 0),
                   sq_subject_has_input(g, "initial_state"),
                   sq_subject_has_output(g, "final_state"));
    return SQ_OK;
}

static const sq_subject_tensor gated_tensors[] = {
    {"q", "q", "0123"},   {"k", "k", "0123"},
    {"v", "v", "0123"},   {"g", "g", "012"},
    {"gk", "gk", "0123"}, {"initial_state", "initial_state", "0123"},
    {"o", "o", "0123"},   {"final_state", "final_state", "0123"},
    {NULL, NULL, NULL},
};

/* --- ssd --- */

/* From here on an upper limit of dt is none, in the words of the operator's axis. */
static const double no_limit = 1e6;

static sq_status ssd(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const sq_stored_tensor *skip = sq_golden_tensor(g, "input", "D");
    const bool is_by_channel = skip && skip->rank == 2;
    const double most = sq_golden_item(g, "dt_limit", 1, INFINITY);
    (void)why;
    sq_text_printf(shape, "B=%lld,L=%lld,H=%lld,P=%lld,N=%lld,G=%lld,bias=%d,softplus=%d,skip=%d",
                   sq_subject_integer(g, "batch"), sq_subject_integer(g, "seqlen"),
                   sq_subject_integer(g, "heads"), sq_subject_integer(g, "headdim"),
                   sq_subject_integer(g, "dstate"), sq_subject_integer(g, "groups"),
                   sq_subject_has_input(g, "dt_bias"), sq_golden_number(g, "dt_softplus", 0) != 0,
                   sq_subject_has_input(g, "D") ? 1 + is_by_channel : 0);
    sq_text_printf(shape, ",gate=%d,dtmin=%.17g,dtmax=%.17g,initial=%d,final=%d,documents=%d",
                   sq_subject_has_input(g, "z"), sq_golden_item(g, "dt_limit", 0, 0),
                   most < no_limit ? most : 0, sq_subject_has_input(g, "initial_states"),
                   sq_subject_has_output(g, "final_state"), sq_subject_has_input(g, "seq_idx"));
    return SQ_OK;
}

static const sq_subject_tensor ssd_tensors[] = {
    {"x", "x", "0123"},
    {"dt", "dt", "012"},
    {"A", "A", "0"},
    {"B", "B", "0123"},
    {"C", "C", "0123"},
    {"D", "D", "0"},
    {"D", "D", "01"},
    {"dt_bias", "dt_bias", "0"},
    {"z", "z", "0123"},
    {"initial_state", "initial_states", "0132"},
    {"seq_idx", "seq_idx", "01"},
    {"y", "y", "0123"},
    {"final_state", "final_state", "0132"},
    {NULL, NULL, NULL},
};

const sq_verify_subject sq_subjects_chunk[] = {
    {"gla", "gla", gated, gated_tensors},
    {"retention_core", "retention", retention_core, retention_core_tensors},
    {"simple_gla", "simple_gla", gated, gated_tensors},
    {"ssd", "ssd", ssd, ssd_tensors},
    {"ssd_seq_idx", "ssd", ssd, ssd_tensors},
    {NULL, NULL, NULL, NULL},
};
