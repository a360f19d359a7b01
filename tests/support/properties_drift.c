/* properties of many steps: what a recurrence loses over 2^18 of them. */
#include <stdio.h>
#include <string.h>

#include "tests/support/op_cases_parts.h"
#include "tests/support/op_shapes.h"
#include "tests/support/properties_parts.h"

#define MAX_REL_L2 2e-2
enum { STEPS = 256 };

/* Whatever an operator allows of a call, no output may be further off. */
static sq_status judge(const sq_proof *proof, sq_error *err)
{
    if (!proof->is_ok)
        return sq_fail(err, SQ_MISMATCH, "%s", proof->reason);
    for (int i = 0; i < proof->n_checks; i++)
        if (!(proof->checks[i].rel_l2 <= MAX_REL_L2))
            return sq_fail(err, SQ_MISMATCH, "%s: rel_l2 %.3g", proof->checks[i].tensor,
                           proof->checks[i].rel_l2);
    return SQ_OK;
}

static sq_status prove(const sq_rig *rig, const sq_op_case *c, double max_work, sq_error *err)
{
    sq_job *job;
    sq_proof proof;
    sq_status status = sq_case_open(rig, c, &job, err);
    if (status == SQ_OK)
        status = sq_case_launch(job, err);
    if (status == SQ_OK)
        status = job->ops->prove(job, max_work, &proof, err);
    if (status == SQ_OK)
        status = judge(&proof, err);
    sq_job_free(job);
    return status;
}

/* The whole, and the last steps one by one from the state before them. */
static sq_status step(const sq_rig *rig, const sq_op_case *c, sq_error *err)
{
    const sq_property_subject of = {.rig = rig,
                                    .op = c->op,
                                    .provider = c->provider,
                                    .provider_name = c->provider->name,
                                    .shape = c->shape,
                                    .dtype = c->dtype};
    sq_specimen whole;
    sq_status status = sq_property_make(&of, SQ_PASS_FWD, NULL, SQ_PROPERTY_SEED, &whole, err);
    if (status == SQ_OK)
        status = sq_specimen_run(rig, &whole, err);
    if (status == SQ_OK)
        status = sq_property_last_steps(&of, &whole, STEPS, err);
    sq_specimen_free(&whole);
    return status;
}

static void run_provider(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c,
                         double max_work, sq_case_counts *counts)
{
    c.dtype = SQ_DTYPE_BF16;
    c.shape = sq_drift_shape(c.op);
    for (int i = 0; c.shape && i < SQ_OWN_PASSES; i++) {
        sq_error err = {.status = SQ_OK};
        c.pass = sq_own_passes[i];
        if (!sq_provider_has(c.provider, c.pass) ||
            !sq_case_is_selected(filter->pass, sq_pass_name(c.pass)) ||
            !sq_case_is_selected(filter->dtype, sq_dtype_name(c.dtype)) ||
            !sq_case_is_selected(filter->shape, c.shape))
            continue;
        const sq_status status =
            c.pass == SQ_PASS_STEP ? step(rig, &c, &err) : prove(rig, &c, max_work, &err);
        sq_case_count(filter, &c, status, &err, counts);
    }
}

void sq_properties_of_drift(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                            sq_case_counts *counts)
{
    sq_case_each_provider(rig, filter, max_work, run_provider, counts);
}
