/* subjects of recurrences by chunks. */
#include <string.h>

#include "bench/verify/subjects/subjects.h"

/* --- retention --- */

static sq_status retention_core(const sq_golden *g, sq_text *shape, sq_error *why)
{
    (void)why;
    sq_text_printf(shape, "B=%lld,L=%lld,H=%lld,K=%lld,V=%lld", sq_subject_integer(g, "batch"),
                   sq_subject_integer(g, "seqlen"), sq_subject_integer(g, "heads"),
                   sq_subject_integer(g, "key_dim"), sq_subject_integer(g, "value_dim"));
    return SQ_OK;
}

static const sq_subject_tensor retention_core_tensors[] = {
    {"q", "q", "0213"}, {"k", "k", "0213"}, {"v", "v", "0213"},
    {"o", "o", "0213"}, {NULL, NULL, NULL},
};

/* --- ssd --- */

static sq_status ssd(const sq_golden *g, sq_text *shape, sq_error *why)
{
    SQ_TRY(sq_subject_lacks(sq_subject_has_input(g, "z"), "gate z", why));
    SQ_TRY(sq_subject_lacks(sq_subject_has_input(g, "initial_states"), "initial states", why));
    SQ_TRY(sq_subject_lacks(sq_subject_has_input(g, "seq_idx"), "document boundaries", why));
    SQ_TRY(sq_subject_lacks(sq_golden_item(g, "dt_limit", 0, -1) >= 0, "limit of dt", why));
    SQ_TRY(sq_subject_lacks(strcmp(sq_golden_text(g, "D"), "channel") == 0, "D for each channel",
                            why));
    sq_text_printf(shape, "B=%lld,L=%lld,H=%lld,P=%lld,N=%lld,G=%lld,bias=%d,softplus=%d,skip=%d",
                   sq_subject_integer(g, "batch"), sq_subject_integer(g, "seqlen"),
                   sq_subject_integer(g, "heads"), sq_subject_integer(g, "headdim"),
                   sq_subject_integer(g, "dstate"), sq_subject_integer(g, "groups"),
                   sq_subject_has_input(g, "dt_bias"), sq_golden_number(g, "dt_softplus", 0) != 0,
                   sq_subject_has_input(g, "D"));
    return SQ_OK;
}

static const sq_subject_tensor ssd_tensors[] = {
    {"x", "x", "0123"}, {"dt", "dt", "012"},         {"A", "A", "0"},
    {"B", "B", "0123"}, {"C", "C", "0123"},          {"D", "D", "0"},
    {"y", "y", "0123"}, {"dt_bias", "dt_bias", "0"}, {NULL, NULL, NULL},
};

const sq_verify_subject sq_subjects_chunk[] = {
    {"retention_core", "retention", retention_core, retention_core_tensors},
    {"ssd", "ssd", ssd, ssd_tensors},
    {NULL, NULL, NULL, NULL},
};
