/* op_cases_large: see op_cases.h. Long sequences, and tensors beyond 2^31 elements. */
#include <stdio.h>
#include <string.h>

#include "bench/proof_slice.h"
#include "tests/support/op_cases_parts.h"
#include "tests/support/op_shapes.h"

static const int64_t far = (int64_t)1 << 31;

/* is_beyond: only slices that have an element beyond 2^31. is_full: every pass, and one sequence. */
typedef struct {
    sq_rig rig; /* first: a sq_rig * is a large_rig * */
    int seeds;
    bool is_beyond, is_full;
} large_rig;

/* --- which slices --- */

static int64_t last_offset(const sq_tensor *part, const sq_tensor *whole)
{
    int64_t offset = ((const char *)part->data - (const char *)whole->data) /
                     (int64_t)sq_dtype_size(part->dtype);
    for (int d = 0; d < part->rank; d++)
        offset += (part->dim[d] - 1) * part->stride[d];
    return offset;
}

/* Has a view of the slice an element beyond 2^31, and is the slice less than the whole? */
typedef struct {
    bool is_beyond, is_whole;
} slice_facts;

static void look_at(const sq_tensor *part, const sq_tensor *whole, slice_facts *facts)
{
    if (whole->rank == 0)
        return;
    facts->is_beyond = facts->is_beyond || last_offset(part, whole) >= far;
    facts->is_whole = facts->is_whole && sq_tensor_count(part) == sq_tensor_count(whole);
}

static sq_status slice_of(const sq_place *place, sq_pick pick, slice_facts *facts, sq_error *err)
{
    sq_call forward, part;
    char what[128];
    SQ_TRY(
        sq_proof_part(&place->call, &place->list, pick, &forward, &part, what, sizeof what, err));
    *facts = (slice_facts){.is_whole = true};
    for (int i = 0; i < SQ_MAX_IN; i++)
        look_at(&part.in[i], &forward.in[i], facts);
    for (int i = 0; i < SQ_MAX_OUT; i++)
        look_at(&part.out[i], &forward.out[i], facts);
    return SQ_OK;
}

/* --- one case --- */

/* The next seed from pick->seed on whose slice is wanted. SQ_MISMATCH where there is none. */
static sq_status next_seed(const large_rig *rig, const sq_place *place, sq_pick *pick,
                           slice_facts *facts, sq_error *err)
{
    enum { MOST_SEEDS = 200 };
    for (; pick->seed < MOST_SEEDS; pick->seed++) {
        SQ_TRY(slice_of(place, *pick, facts, err));
        if (facts->is_beyond || !rig->is_beyond)
            return SQ_OK;
    }
    return sq_fail(err, SQ_MISMATCH, "too few slices lie beyond 2^31 elements");
}

/* One seed where its slice is the whole. */
static sq_status prove_seeds(const large_rig *rig, sq_job *job, double max_work, sq_error *err)
{
    sq_pick pick = {.max_work = max_work};
    slice_facts facts = {.is_whole = false};
    SQ_TRY(sq_case_launch(job, err));
    for (int n = 0; n < rig->seeds && !facts.is_whole; n++, pick.seed++) {
        SQ_TRY(next_seed(rig, sq_job_place(job), &pick, &facts, err));
        SQ_TRY(sq_case_prove_seed(job, pick.max_work, pick.seed, err));
    }
    return SQ_OK;
}

static bool has_room(const sq_rig *rig, sq_job *job, char *why, size_t size)
{
    sq_error err = {.status = SQ_OK};
    size_t available = 0, total = 0;
    if (rig->backend->memory(rig->device, &available, &total, &err) != SQ_OK) {
        snprintf(why, size, "%.200s", err.message);
        return false;
    }
    snprintf(why, size, "needs %.1f GB of %.1f free", 1e-9 * (double)job->bytes,
             1e-9 * (double)available);
    return job->bytes < available;
}

static void skip(const sq_op_case *c, const char *why, sq_case_counts *counts)
{
    printf("skip %s %s %s %s: %s\n", c->op->name, c->provider->name, c->shape,
           sq_pass_name(c->pass), why);
    counts->unsupported++;
}

static bool is_due(const sq_case_filter *filter, const sq_op_case *c)
{
    return sq_provider_has(c->provider, c->pass) &&
           sq_case_is_selected(filter->pass, sq_pass_name(c->pass)) &&
           sq_case_is_selected(filter->dtype, sq_dtype_name(c->dtype)) &&
           sq_case_is_selected(filter->shape, c->shape);
}

/* Counts it, and skips what there is no room for. Of what is SQ_UNSUPPORTED *err says why. */
static sq_status run_one(const large_rig *rig, const sq_case_filter *filter, const sq_op_case *c,
                         double max_work, sq_case_counts *counts, sq_error *err)
{
    char why[256];
    sq_job *job = NULL;
    sq_status status = sq_case_open(&rig->rig, c, &job, err);
    if (status == SQ_UNSUPPORTED)
        return status;
    if (status == SQ_OK && !has_room(&rig->rig, job, why, sizeof why)) {
        skip(c, why, counts);
    } else {
        if (status == SQ_OK)
            status = prove_seeds(rig, job, max_work, err);
        sq_case_count(filter, c, status, err, counts);
    }
    sq_job_free(job);
    return SQ_OK;
}

/* --- 2^20 steps --- */

/* All scores of 2^20 steps take minutes. */
static bool is_quadratic(const sq_provider *provider)
{
    return strcmp(provider->name, "cuda/parallel") == 0;
}

/* The first of the operator's shapes that the provider takes. */
static void run_million_pass(const large_rig *rig, const sq_case_filter *filter, sq_op_case c,
                             double max_work, sq_case_counts *counts)
{
    sq_error err = {.status = SQ_OK};
    sq_status status = SQ_OK;
    for (const sq_op_shape *row = sq_million_shapes; row->op; row++) {
        c.shape = row->shape, c.dtype = row->dtype;
        if (strcmp(row->op, c.op->name) != 0 || !is_due(filter, &c))
            continue;
        if (is_quadratic(c.provider))
            status = sq_fail(&err, SQ_UNSUPPORTED, "quadratic in L");
        else
            status = run_one(rig, filter, &c, max_work, counts, &err);
        if (status == SQ_OK)
            return;
    }
    if (status == SQ_UNSUPPORTED) {
        c.shape = "L=1048576";
        skip(&c, err.message, counts);
    }
}

static void run_million(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c,
                        double max_work, sq_case_counts *counts)
{
    for (int i = 0; i < SQ_OWN_PASSES; i++) {
        c.pass = sq_own_passes[i];
        run_million_pass((const large_rig *)rig, filter, c, max_work, counts);
    }
}

void sq_op_cases_run_million(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                             int seeds, sq_case_counts *counts)
{
    large_rig any = {.rig = *rig, .seeds = seeds};
    sq_case_each_provider(&any.rig, filter, max_work, run_million, counts);
}

/* --- beyond 2^31 elements --- */

static int64_t larger(const sq_tensor *tensor, int64_t most)
{
    const int64_t count = tensor->rank > 0 ? sq_tensor_count(tensor) : 0;
    return count > most ? count : most;
}

static int64_t largest_tensor(const sq_call *call)
{
    int64_t most = 0;
    for (int i = 0; i < SQ_MAX_IN; i++)
        most = larger(&call->in[i], most);
    for (int i = 0; i < SQ_MAX_OUT; i++)
        most = larger(&call->out[i], most);
    return most;
}

sq_status sq_batch_shape(const sq_op *op, sq_pass pass, char *shape, size_t size, sq_error *err)
{
    enum { MANY = 65536 }; /* larger than any weight, and in every range */
    sq_call call;
    char many[64];
    const char *widths = pass == SQ_PASS_STEP ? sq_step_widths(op) : "";
    snprintf(many, sizeof many, "B=%d%s", MANY, widths);
    SQ_TRY(sq_call_parse(op, pass == SQ_PASS_STEP ? pass : SQ_PASS_FWD, SQ_DTYPE_BF16, many, &call,
                         err));
    const int64_t wanted = far + far / 8, row = largest_tensor(&call) / MANY;
    snprintf(shape, size, "B=%lld%s", (long long)(wanted / row + 1), widths);
    return SQ_OK;
}

static void run_shape(const large_rig *rig, const sq_case_filter *filter, sq_op_case c,
                      double max_work, sq_case_counts *counts)
{
    sq_error err = {.status = SQ_OK};
    if (is_due(filter, &c) && run_one(rig, filter, &c, max_work, counts, &err) == SQ_UNSUPPORTED)
        skip(&c, err.message, counts);
}

static void run_batch(const large_rig *rig, const sq_case_filter *filter, sq_op_case c,
                      double max_work, sq_case_counts *counts)
{
    char shape[64] = "";
    sq_error err = {.status = SQ_OK};
    sq_status status = sq_batch_shape(c.op, c.pass, shape, sizeof shape, &err);
    c.shape = shape;
    if (status == SQ_OK)
        run_shape(rig, filter, c, max_work, counts);
    else
        sq_case_count(filter, &c, status, &err, counts);
}

/* cuda/naive and all scores would take long, and have the same offsets as in a batch. */
static bool takes_sequence(const sq_op_case *c)
{
    return c->pass != SQ_PASS_STEP && !is_quadratic(c->provider) &&
           strcmp(c->provider->name, "cuda/naive") != 0;
}

static void run_large(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c,
                      double max_work, sq_case_counts *counts)
{
    const bool is_full = ((const large_rig *)rig)->is_full;
    c.dtype = SQ_DTYPE_BF16;
    for (int i = 0; i < (is_full ? SQ_OWN_PASSES : 1); i++) {
        c.pass = sq_own_passes[i];
        if (!sq_provider_has(c.provider, c.pass))
            continue;
        run_batch((const large_rig *)rig, filter, c, max_work, counts);
        c.shape = sq_sequence_shape(c.op);
        if (is_full && takes_sequence(&c))
            run_shape((const large_rig *)rig, filter, c, max_work, counts);
    }
}

void sq_op_cases_run_large(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                           int seeds, bool is_full, sq_case_counts *counts)
{
    large_rig large = {.rig = *rig, .seeds = seeds, .is_beyond = true, .is_full = is_full};
    sq_case_each_provider(&large.rig, filter, max_work, run_large, counts);
}

/* --- without memory --- */

static void unreserve(sq_place *place)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        sq_tensor_unreserve(&place->call.in[i]);
    for (int i = 0; i < SQ_MAX_OUT; i++)
        sq_tensor_unreserve(&place->call.out[i]);
}

static sq_status reserve(sq_place *place, sq_error *err)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        if (place->call.in[i].rank > 0)
            SQ_TRY(sq_tensor_reserve(&place->call.in[i], err));
    for (int i = 0; i < SQ_MAX_OUT; i++)
        if (place->call.out[i].rank > 0)
            SQ_TRY(sq_tensor_reserve(&place->call.out[i], err));
    return SQ_OK;
}

static sq_status draw_seeds(const large_rig *rig, const sq_place *place, double max_work,
                            sq_error *err)
{
    sq_pick pick = {.max_work = max_work};
    slice_facts facts;
    for (int n = 0; n < rig->seeds; n++, pick.seed++)
        SQ_TRY(next_seed(rig, place, &pick, &facts, err));
    return SQ_OK;
}

sq_status sq_op_case_reaches(const sq_rig *rig, const sq_op_case *c, double max_work, int seeds,
                             sq_error *err)
{
    const large_rig large = {.rig = *rig, .seeds = seeds, .is_beyond = true};
    sq_place place;
    sq_call call;
    SQ_TRY(sq_call_parse(c->op, c->pass, c->dtype, c->shape, &call, err));
    SQ_TRY(sq_place_plan(rig, &call, SQ_LAYOUT_DENSE, &place, err));
    sq_status status = reserve(&place, err);
    if (status == SQ_OK)
        status = draw_seeds(&large, &place, max_work, err);
    unreserve(&place);
    return status;
}
