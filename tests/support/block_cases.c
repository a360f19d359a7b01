/* block_cases: see block_cases.h. */
#include "tests/support/block_cases.h"

#include <stdio.h>

/* A multiple of no tile; a batch; one step; a width whose heads are 64 and 128 wide. */
static const char *const shapes[] = {"B=2,L=131,D=256", "B=3,L=1,D=256", "B=1,L=300,D=512", NULL};
static const sq_pass passes[] = {SQ_PASS_FWD, SQ_PASS_STEP};

static sq_status exercise(sq_job *job, double max_work, sq_error *err)
{
    uint64_t first, second;
    double setup_ns;
    sq_proof proof;
    SQ_TRY(job->ops->prepare(job, SQ_CASE_SEED, &setup_ns, err));
    SQ_TRY(sq_job_run_once(job, err));
    SQ_TRY(job->ops->checksum(job, &first, err));
    SQ_TRY(job->ops->prove(job, max_work, &proof, err));
    if (!proof.is_ok)
        return sq_fail(err, SQ_MISMATCH, "%s", proof.reason);
    SQ_TRY(sq_job_run_once(job, err));
    SQ_TRY(job->ops->checksum(job, &second, err));
    if (first != second)
        return sq_fail(err, SQ_MISMATCH, "two launches gave different bits");
    return SQ_OK;
}

static sq_status run_case(const sq_rig *rig, const sq_family *family, const char *provider,
                          const char *shape, sq_dtype dtype, sq_pass pass, double max_work,
                          sq_error *err)
{
    sq_cell cell = {.kind = SQ_KIND_BLOCK, .pass = pass, .dtype = dtype, .axes = family->axes};
    sq_job *job;
    snprintf(cell.subject, sizeof cell.subject, "%s", family->name);
    snprintf(cell.provider, sizeof cell.provider, "%s", provider);
    SQ_TRY(sq_axis_parse_assignments(family->axes, shape, cell.value, err));
    SQ_TRY(family->check(cell.value, err));
    SQ_TRY(sq_job_new_block(rig, family, &cell, &job, err));
    sq_status status = exercise(job, max_work, err);
    sq_job_free(job);
    return status;
}

static void count(const sq_case_filter *filter, const sq_family *family, const char *provider,
                  const char *shape, sq_dtype dtype, sq_pass pass, sq_status status,
                  const sq_error *err, sq_case_counts *counts)
{
    const char *type = sq_dtype_name(dtype), *name = sq_pass_name(pass);
    counts->passed += status == SQ_OK;
    counts->unsupported += status == SQ_UNSUPPORTED;
    if (status == SQ_OK || status == SQ_UNSUPPORTED)
        return;
    counts->failed++;
    printf("FAIL block %s %s %s %s %s: %s\n     replay: %s %s %s %s %s %s\n", family->name,
           provider, shape, type, name, err->message, filter->program, family->name, provider,
           shape, type, name);
}

static void run_shape(const sq_rig *rig, const sq_case_filter *filter, const sq_family *family,
                      const char *provider, const char *shape, double max_work,
                      sq_case_counts *counts)
{
    for (int dtype = 0; dtype < SQ_DTYPE_COUNT; dtype++) {
        if (!sq_case_is_selected(filter->dtype, sq_dtype_name((sq_dtype)dtype)))
            continue;
        for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
            sq_error err = {.status = SQ_OK};
            if (!sq_case_is_selected(filter->pass, sq_pass_name(passes[i])))
                continue;
            const sq_status status =
                run_case(rig, family, provider, shape, (sq_dtype)dtype, passes[i], max_work, &err);
            count(filter, family, provider, shape, (sq_dtype)dtype, passes[i], status, &err,
                  counts);
        }
    }
}

void sq_block_cases_run(const sq_rig *rig, const sq_case_filter *filter, const char *provider,
                        double max_work, sq_case_counts *counts)
{
    for (int i = 0; sq_families[i]; i++) {
        if (!sq_case_is_selected(filter->op, sq_families[i]->name) ||
            !sq_case_is_selected(filter->provider, provider))
            continue;
        for (const char *const *shape = shapes; *shape; shape++)
            if (sq_case_is_selected(filter->shape, *shape))
                run_shape(rig, filter, sq_families[i], provider, *shape, max_work, counts);
    }
}
