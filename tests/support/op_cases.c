/* op_cases: see op_cases.h. */
#include "tests/support/op_cases_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/op_shapes.h"

bool sq_case_is_selected(const char *wanted, const char *name)
{
    return !wanted || strcmp(wanted, name) == 0;
}

bool sq_case_is_cheap(const sq_op *op, const char *shape, double max_work)
{
    sq_call call;
    return sq_call_parse(op, SQ_PASS_FWD, SQ_DTYPE_F32, shape, &call, NULL) == SQ_OK &&
           op->reference_work(call.axis) <= max_work;
}

const char *sq_case_filter_parse(int argc, char **argv, sq_case_filter *filter)
{
    const char **slot[] = {&filter->op, &filter->provider, &filter->shape, &filter->dtype,
                           &filter->pass};
    const char *option = NULL;
    *filter = (sq_case_filter){.program = argv[0]};
    for (int i = 1, n = 0; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0)
            option = option ? option : argv[i];
        else if (n < 5)
            *slot[n++] = strcmp(argv[i], "all") == 0 ? NULL : argv[i];
    }
    filter->option = option;
    return option;
}

void sq_case_count(const sq_case_filter *filter, const sq_op_case *c, sq_status status,
                   const sq_error *err, sq_case_counts *counts)
{
    counts->passed += status == SQ_OK;
    counts->is_taken[c->pass][c->dtype] |= status != SQ_UNSUPPORTED;
    counts->unsupported += status == SQ_UNSUPPORTED;
    if (status == SQ_OK || status == SQ_UNSUPPORTED)
        return;
    counts->failed++;
    printf("FAIL %s %s %s %s %s %s: %s\n     replay: %s %s %s %s %s %s%s%s\n", c->op->name,
           c->provider->name, c->shape, sq_dtype_name(c->dtype), sq_pass_name(c->pass),
           c->layout == SQ_LAYOUT_DENSE ? "dense" : "strided", err->message, filter->program,
           c->op->name, c->provider->name, c->shape, sq_dtype_name(c->dtype), sq_pass_name(c->pass),
           filter->option ? " " : "", filter->option ? filter->option : "");
    fflush(stdout);
}

/* --- one case --- */

sq_status sq_case_open(const sq_rig *rig, const sq_op_case *c, sq_job **job, sq_error *err)
{
    sq_call call;
    *job = NULL;
    SQ_TRY(sq_call_parse(c->op, c->pass, c->dtype, c->shape, &call, err));
    return sq_job_new_op(rig, &call, c->provider, c->layout, job, err);
}

static sq_status inputs_checksum(sq_job *job, uint64_t *sum, sq_error *err)
{
    const sq_place *place = sq_job_place(job);
    *sum = 0;
    const int n = place->list.first_value > 0 ? place->list.first_value : place->list.n_in;
    for (int i = 0; i < n; i++) {
        uint64_t one = 0;
        if (place->list.in[i].name)
            SQ_TRY(job->rig->backend->checksum(job->rig->device, &place->buffer[i], &one, err));
        *sum = sq_rng_mix(*sum ^ one);
    }
    return SQ_OK;
}

sq_status sq_case_launch(sq_job *job, sq_error *err)
{
    double setup_ns;
    SQ_TRY(job->ops->prepare(job, SQ_CASE_SEED, &setup_ns, err));
    return sq_job_run_once(job, err);
}

/* Launches twice and compares the bits; then the proof. */
static sq_status exercise(sq_job *job, double max_work, sq_error *err)
{
    uint64_t before, after, first, second;
    double setup_ns;
    sq_proof proof;
    SQ_TRY(job->ops->prepare(job, SQ_CASE_SEED, &setup_ns, err));
    SQ_TRY(inputs_checksum(job, &before, err));
    SQ_TRY(sq_job_run_once(job, err));
    SQ_TRY(job->ops->checksum(job, &first, err));
    SQ_TRY(job->ops->prove(job, max_work, &proof, err));
    if (!proof.is_ok)
        return sq_fail(err, SQ_MISMATCH, "%s", proof.reason);
    SQ_TRY(sq_job_run_once(job, err));
    SQ_TRY(job->ops->checksum(job, &second, err));
    SQ_TRY(inputs_checksum(job, &after, err));
    if (first != second)
        return sq_fail(err, SQ_MISMATCH, "two launches gave different bits");
    if (before != after)
        return sq_fail(err, SQ_MISMATCH, "an input was written to");
    return SQ_OK;
}

static sq_status run_case(const sq_rig *rig, const sq_case_filter *filter, const sq_op_case *c,
                          double max_work, sq_error *err)
{
    sq_job *job;
    SQ_TRY(sq_case_open(rig, c, &job, err));
    sq_status status =
        filter->is_unproved ? sq_case_launch(job, err) : exercise(job, max_work, err);
    sq_job_free(job);
    return status;
}

sq_status sq_case_prove_seed(sq_job *job, double max_work, uint64_t seed, sq_error *err)
{
    sq_proof proof;
    SQ_TRY(sq_prove_place(sq_job_place(job), sq_job_launch, job, max_work, seed, &proof, err));
    return proof.is_ok ? SQ_OK : sq_fail(err, SQ_MISMATCH, "%s", proof.reason);
}

static sq_status prove_slices(sq_job *job, double max_work, int seeds, sq_error *err)
{
    SQ_TRY(sq_case_launch(job, err));
    for (int seed = 0; seed < seeds; seed++)
        SQ_TRY(sq_case_prove_seed(job, max_work, (uint64_t)seed, err));
    return SQ_OK;
}

sq_status sq_op_case_prove_slices(const sq_rig *rig, const sq_op_case *c, double max_work,
                                  int seeds, sq_error *err)
{
    sq_job *job;
    SQ_TRY(sq_case_open(rig, c, &job, err));
    sq_status status = prove_slices(job, max_work, seeds, err);
    sq_job_free(job);
    return status;
}

/* --- all of them --- */

enum { LAYOUTS = 2, COMBINATIONS = SQ_DTYPE_COUNT * LAYOUTS };

static sq_op_case combination(sq_op_case c, int i)
{
    c.dtype = (sq_dtype)(i % SQ_DTYPE_COUNT);
    c.layout = (sq_layout)(i / SQ_DTYPE_COUNT % LAYOUTS);
    return c;
}

static bool is_wanted(const sq_case_filter *filter, const sq_op_case *c)
{
    return sq_case_is_selected(filter->dtype, sq_dtype_name(c->dtype));
}

/* The shape's turn, or the next one after it that the provider supports. */
static void run_turn(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c, double max_work,
                     sq_case_counts *counts)
{
    sq_status status = SQ_UNSUPPORTED;
    int turn = (int)c.pass;
    const char *other;
    for (int i = 0; (other = sq_case_shape(c.op, i)) && other != c.shape; i++)
        turn++;
    for (int i = 0; i < COMBINATIONS && status == SQ_UNSUPPORTED; i++) {
        sq_error err = {.status = SQ_OK};
        c = combination(c, turn + i);
        if (!is_wanted(filter, &c))
            continue;
        status = run_case(rig, filter, &c, max_work, &err);
        if (status != SQ_UNSUPPORTED)
            sq_case_count(filter, &c, status, &err, counts);
    }
    counts->unsupported += status == SQ_UNSUPPORTED;
}

static void run_pass(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c, double max_work,
                     sq_case_counts *counts)
{
    if (filter->is_once) {
        run_turn(rig, filter, c, max_work, counts);
        return;
    }
    for (int i = 0; i < COMBINATIONS; i++) {
        sq_error err = {.status = SQ_OK};
        c = combination(c, i);
        if (is_wanted(filter, &c))
            sq_case_count(filter, &c, run_case(rig, filter, &c, max_work, &err), &err, counts);
    }
}

static void run_shape(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c,
                      double max_work, sq_case_counts *counts)
{
    for (int pass = 0; pass < SQ_PASS_COUNT; pass++) {
        c.pass = (sq_pass)pass;
        if (sq_provider_has(c.provider, c.pass) &&
            sq_case_is_selected(filter->pass, sq_pass_name(c.pass)))
            run_pass(rig, filter, c, max_work, counts);
    }
}

static bool has_tensors(sq_op_case c)
{
    sq_error err = {.status = SQ_OK};
    sq_call call;
    sq_tensor_list list;
    return sq_call_parse(c.op, c.pass, SQ_DTYPE_F32, c.shape, &call, &err) == SQ_OK &&
           sq_op_tensors(c.op, c.pass, call.dtype, call.axis, &list, &err) == SQ_OK;
}

/* The shapes that the filter selects, one after the other; NULL behind the last. */
static const char *wanted_shape(const sq_case_filter *filter, const sq_op *op, int i)
{
    if (!filter->shape)
        return sq_case_shape(op, i);
    return i == 0 ? filter->shape : NULL;
}

/* Fails where the provider takes none of the operator's shapes in a pass that both have. */
static void run_provider_pass(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c,
                              double max_work, sq_case_counts *counts)
{
    sq_case_counts own = {0};
    bool is_due = false;
    for (int i = 0; (c.shape = wanted_shape(filter, c.op, i)); i++) {
        run_pass(rig, filter, c, max_work, &own);
        is_due = is_due || (!filter->shape && has_tensors(c));
    }
    if (is_due && own.passed + own.failed == 0) {
        printf("FAIL %s %s %s: it supports none of the %d cases\n", c.op->name, c.provider->name,
               sq_pass_name(c.pass), own.unsupported);
        own.failed++;
    }
    for (int type = 0; type < SQ_DTYPE_COUNT; type++)
        counts->is_taken[c.pass][type] |= own.is_taken[c.pass][type];
    counts->passed += own.passed;
    counts->failed += own.failed;
    counts->unsupported += own.unsupported;
}

static void run_provider(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c,
                         double max_work, sq_case_counts *counts)
{
    for (int pass = 0; pass < SQ_PASS_COUNT; pass++) {
        c.pass = (sq_pass)pass;
        if (sq_provider_has(c.provider, c.pass) &&
            sq_case_is_selected(filter->pass, sq_pass_name(c.pass)))
            run_provider_pass(rig, filter, c, max_work, counts);
    }
}

void sq_case_each_provider(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                           sq_case_provider_fn fn, sq_case_counts *counts)
{
    for (int i = 0; sq_ops[i]; i++)
        for (const sq_provider *p = rig->providers(sq_ops[i]); p->name; p++)
            if (sq_case_is_selected(filter->op, sq_ops[i]->name) &&
                sq_case_is_selected(filter->provider, p->name) &&
                !(filter->without && strcmp(filter->without, p->name) == 0))
                fn(rig, filter, (sq_op_case){.op = sq_ops[i], .provider = p}, max_work, counts);
}

/* What a sanitizer watches are the operator's own shapes: a case takes it a second. */
static const char *cheap_shape(const sq_case_filter *filter, const sq_op *op, int i)
{
    return filter->is_unproved ? op->test_shapes[i] : sq_case_shape(op, i);
}

static void run_cheap(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c,
                      double max_work, sq_case_counts *counts)
{
    for (int i = 0; (c.shape = cheap_shape(filter, c.op, i)); i++)
        if (sq_case_is_selected(filter->shape, c.shape) &&
            sq_case_is_cheap(c.op, c.shape, max_work))
            run_shape(rig, filter, c, max_work, counts);
    if (!filter->is_unproved || strcmp(c.provider->name, "cuda/native") != 0)
        return;
    for (int i = 0; (c.shape = sq_segmented_shape(c.op, i)); i++)
        if (sq_case_is_selected(filter->shape, c.shape))
            run_shape(rig, filter, c, max_work, counts);
}

/* A pass that is taken in one type is in all. */
static void expect_all_types(const sq_op *op, sq_case_counts *counts)
{
    for (int pass = 0; pass < SQ_PASS_COUNT; pass++) {
        bool is_any = false;
        for (int type = 0; type < SQ_DTYPE_COUNT; type++)
            is_any = is_any || counts->is_taken[pass][type];
        for (int type = 0; is_any && type < SQ_DTYPE_COUNT; type++) {
            if (counts->is_taken[pass][type])
                continue;
            printf("FAIL %s %s: no provider takes %s\n", op->name, sq_pass_name((sq_pass)pass),
                   sq_dtype_name((sq_dtype)type));
            counts->failed++;
        }
    }
}

static void each_operator(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                          sq_case_provider_fn fn, sq_case_counts *counts)
{
    const bool is_part = filter->provider || filter->shape || filter->dtype || filter->is_once;
    for (int i = 0; sq_ops[i]; i++) {
        sq_case_filter one = *filter;
        if (!sq_case_is_selected(filter->op, sq_ops[i]->name))
            continue;
        one.op = sq_ops[i]->name;
        memset(counts->is_taken, 0, sizeof counts->is_taken);
        sq_case_each_provider(rig, &one, max_work, fn, counts);
        if (!is_part)
            expect_all_types(sq_ops[i], counts);
    }
}

void sq_op_cases_run_cheap(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                           sq_case_counts *counts)
{
    each_operator(rig, filter, max_work, run_cheap, counts);
}

void sq_op_cases_run(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                     sq_case_counts *counts)
{
    each_operator(rig, filter, max_work, run_provider, counts);
}

/* --- probabilities below the normal numbers of f16 --- */

/* Each is about 1/Lk = 2^-17, and their sums over the queries, dV, are normal numbers. */
static const char *const long_shape = "B=1,L=128,Lk=131072,H=1,D=16,causal=0";

/* The largest elements are 40 times the root mean square, and rounding them alone leaves max_abs:
 * rel_l2 is judged. */
static sq_status judge_rel_l2(const sq_proof *proof, sq_error *err)
{
    if (proof->n_checks == 0)
        return sq_fail(err, SQ_MISMATCH, "%s", proof->reason);
    for (int i = 0; i < proof->n_checks; i++) {
        const sq_check *check = &proof->checks[i];
        if (!(check->rel_l2 <= check->tolerance_rel_l2))
            return sq_fail(err, SQ_MISMATCH, "%s: rel_l2 %.3g (allowed %.3g)", check->tensor,
                           check->rel_l2, check->tolerance_rel_l2);
    }
    return SQ_OK;
}

static sq_status prove_long(sq_job *job, sq_error *err)
{
    sq_proof proof;
    SQ_TRY(sq_case_launch(job, err));
    SQ_TRY(job->ops->prove(job, INFINITY, &proof, err));
    return judge_rel_l2(&proof, err);
}

static void run_long(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c, double max_work,
                     sq_case_counts *counts)
{
    sq_error err = {.status = SQ_OK};
    sq_job *job;
    (void)max_work;
    c.shape = long_shape, c.dtype = SQ_DTYPE_F16, c.pass = SQ_PASS_BWD;
    if (!sq_provider_has(c.provider, c.pass) || !sq_case_is_selected(filter->shape, c.shape) ||
        !sq_case_is_selected(filter->dtype, sq_dtype_name(c.dtype)) ||
        !sq_case_is_selected(filter->pass, sq_pass_name(c.pass)))
        return;
    sq_status status = sq_case_open(rig, &c, &job, &err);
    if (status == SQ_OK)
        status = prove_long(job, &err);
    sq_job_free(job);
    sq_case_count(filter, &c, status, &err, counts);
}

void sq_op_cases_run_long(const sq_rig *rig, const sq_case_filter *filter, sq_case_counts *counts)
{
    sq_case_filter attention = *filter;
    attention.op = "attention";
    if (sq_case_is_selected(filter->op, attention.op))
        sq_case_each_provider(rig, &attention, INFINITY, run_long, counts);
}
