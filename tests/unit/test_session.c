/* session: a provider that is wrong in any way must not get a time. The wrong ones are made here.
 * */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/worker/session.h"
#include "tests/support/any_call.h"

/* --- providers with one fault each; all compute rmsnorm's reference first --- */

static int launches; /* since the session began the cell */

static sq_status refuses(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)call, (void)device;
    return sq_fail(why, SQ_UNSUPPORTED, "not on a Tuesday");
}

static sq_status good(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    launches++;
    return call->op->reference(call, err);
}

static float *last_output(const sq_call *call)
{
    return (float *)call->out[0].data + sq_tensor_count(&call->out[0]) - 1;
}

static sq_status off_by_ten_percent(const sq_call *call, void *plan, sq_error *err)
{
    SQ_TRY(good(call, plan, err));
    *last_output(call) += 0.1f;
    return SQ_OK;
}

static sq_status one_nan(const sq_call *call, void *plan, sq_error *err)
{
    SQ_TRY(good(call, plan, err));
    *last_output(call) = NAN;
    return SQ_OK;
}

static sq_status writes_nothing(const sq_call *call, void *plan, sq_error *err)
{
    (void)call, (void)plan, (void)err;
    return SQ_OK;
}

static sq_status overruns_output(const sq_call *call, void *plan, sq_error *err)
{
    SQ_TRY(good(call, plan, err));
    last_output(call)[1] = 0;
    return SQ_OK;
}

static sq_status overruns_workspace(const sq_call *call, void *plan, sq_error *err)
{
    ((char *)call->workspace)[call->workspace_bytes] = 0;
    return good(call, plan, err);
}

static size_t small_workspace(const sq_call *call)
{
    (void)call;
    return 64;
}

/* Within the tolerance of the proof, but not the proved bits. */
static sq_status changes_with_time(const sq_call *call, void *plan, sq_error *err)
{
    SQ_TRY(good(call, plan, err));
    if (launches > 5)
        *last_output(call) = nextafterf(*last_output(call), 9);
    return SQ_OK;
}

static sq_status slow(const sq_call *call, void *plan, sq_error *err)
{
    nanosleep(&(struct timespec){0, 600000000}, NULL); /* beyond policy.max_cell_seconds */
    return good(call, plan, err);
}

static sq_status breaks(const sq_call *call, void *plan, sq_error *err)
{
    (void)call, (void)plan;
    return sq_fail(err, SQ_DEVICE, "the kernel fell over");
}

static sq_status no_plan(const sq_call *call, void **plan, sq_error *err)
{
    (void)call, (void)plan;
    return sq_fail(err, SQ_OUT_OF_MEMORY, "no room for a plan");
}

static size_t huge_workspace(const sq_call *call)
{
    (void)call;
    return (size_t)1 << 50;
}

static const sq_provider faulty[] = {
    {.name = "good", .supports = sq_supports_any, .launch = good},
    {.name = "refuses", .supports = refuses, .launch = good},
    {.name = "wrong", .supports = sq_supports_any, .launch = off_by_ten_percent},
    {.name = "nan", .supports = sq_supports_any, .launch = one_nan},
    {.name = "nothing", .supports = sq_supports_any, .launch = writes_nothing},
    {.name = "overrun", .supports = sq_supports_any, .launch = overruns_output},
    {.name = "overrun-workspace",
     .supports = sq_supports_any,
     .launch = overruns_workspace,
     .workspace = small_workspace},
    {.name = "unsteady", .supports = sq_supports_any, .launch = changes_with_time},
    {.name = "slow", .supports = sq_supports_any, .launch = slow},
    {.name = "breaks", .supports = sq_supports_any, .launch = breaks},
    {.name = "no-plan", .supports = sq_supports_any, .launch = good, .prepare = no_plan},
    {.name = "huge", .supports = sq_supports_any, .launch = good, .workspace = huge_workspace},
    {.name = NULL},
};

static const sq_provider *faulty_providers(const sq_op *op)
{
    (void)op;
    return faulty;
}

/* --- the session --- */

static int stages;

static void on_stage(void *arg, const char *stage)
{
    (void)arg;
    assert_true(stage[0]);
    stages++;
}

static sq_session session;

static int open_session(void **state)
{
    (void)state;
    sq_error err;
    session = (sq_session){.rig = {.backend = &sq_backend_cpu, .providers = faulty_providers},
                           .on_stage = on_stage};
    return session.rig.backend->open(0, &session.rig.device, &err) == SQ_OK ? 0 : -1;
}

static int close_session(void **state)
{
    (void)state;
    sq_session_close(&session);
    session.rig.backend->close(session.rig.device);
    return 0;
}

static const sq_policy policy = {.warmup_launches = 3,
                                 .min_samples = 10,
                                 .max_samples = 20,
                                 .max_seconds = 0.05,
                                 .target_interval = 0.005,
                                 .max_interval = 1e6,
                                 .max_cell_seconds = 0.5,
                                 .proof_work = 1e6};

static sq_task task_of(const char *subject, const char *provider, const char *shape)
{
    char key[SQ_KEY_MAX];
    sq_error err;
    sq_task task = {.seed = 3, .policy = policy};
    snprintf(key, sizeof key, "%s@%s/fwd/f32/%s/clean-cold,plain,unlocked", subject, provider,
             shape);
    if (sq_cell_parse(key, &task.cell, &task.subject, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return task;
}

static sq_task norm_task(const char *provider)
{
    return task_of("rmsnorm", provider, "B=2,L=5,D=32");
}

static sq_record run_task(const sq_task *task)
{
    sq_record record;
    launches = 0;
    sq_session_run(&session, task, &record);
    return record;
}

static sq_record run(const char *provider)
{
    sq_task task = norm_task(provider);
    return run_task(&task);
}

static void expect(const char *provider, sq_run_status status, const char *reason)
{
    sq_record record = run(provider);
    if (record.status != status || !strstr(record.reason, reason))
        fail_msg("%s: %s: %s", provider, sq_run_status_name(record.status), record.reason);
    assert_int_equal(record.n_samples, 0);
    assert_true(record.stats.n == 0);
    sq_record_free(&record);
}

static void a_right_provider_is_timed(void **state)
{
    (void)state;
    stages = 0;
    sq_record record = run("good");
    if (record.status != SQ_RUN_OK)
        fail_msg("%s", record.reason);
    assert_true(stages >= 3);
    assert_true(record.n_samples >= 10 && record.n_samples <= 20);
    assert_int_equal(launches, 1 + 3 + record.n_samples); /* proof, warm-up, samples */
    assert_true(record.stats.median > 0 && record.started > 1e9);
    assert_int_equal(record.n_checks, 1);
    assert_true(record.checks[0].rel_l2 > 0); /* against f64: it is rounded to f32 itself */
    assert_true(record.checks[0].rel_l2 < 0x1p-24);
    assert_true(record.peak_bytes >= 2 * 2 * 5 * 32 * 4);
    sq_record_free(&record);
}

static void a_wrong_number_is_a_mismatch(void **state)
{
    (void)state;
    expect("wrong", SQ_RUN_MISMATCH, "element 319");
    expect("nan", SQ_RUN_MISMATCH, "got nan");
    expect("nothing", SQ_RUN_MISMATCH, "nan");
}

static void writing_outside_is_a_mismatch(void **state)
{
    (void)state;
    expect("overrun", SQ_RUN_MISMATCH, "wrote outside y");
    expect("overrun-workspace", SQ_RUN_MISMATCH, "workspace");
}

static void bits_must_stay_those_of_the_proof(void **state)
{
    (void)state;
    expect("unsteady", SQ_RUN_MISMATCH, "changed between launches");
}

static const sq_value *find_value(const sq_record *record, const char *metric)
{
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return &record->values[i];
    return NULL;
}

static void its_phases_are_told_once_each(void **state)
{
    (void)state;
    static const char *const phases[] = {"phase_setup_ms",  "phase_proof_ms",
                                         "phase_warmup_ms", "phase_samples_ms",
                                         "phase_vitals_ms", "phase_teardown_ms"};
    struct timespec start, end;
    double sum_ms = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    sq_record record = run("good");
    clock_gettime(CLOCK_MONOTONIC, &end);
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
        const sq_value *value = find_value(&record, phases[i]);
        assert_non_null(value);
        assert_true(value->value >= 0);
        sum_ms += value->value;
    }
    double samples_ms = 0;
    for (int i = 0; i < record.n_samples; i++)
        samples_ms += 1e-6 * record.samples[i];
    assert_true(find_value(&record, "phase_samples_ms")->value >= samples_ms);
    assert_true(sum_ms <= 1e3 * (double)(end.tv_sec - start.tv_sec) +
                              1e-6 * (double)(end.tv_nsec - start.tv_nsec));
    for (int i = 0; i < record.n_values; i++)
        assert_ptr_equal(find_value(&record, record.values[i].metric), &record.values[i]);
    sq_record_free(&record);
}

static sq_record run_proved(const char *provider, const char *proved)
{
    sq_task task = norm_task(provider);
    strcpy(task.proved, proved);
    return run_task(&task);
}

static void bits_that_were_proved_need_no_proof(void **state)
{
    (void)state;
    sq_record first = run("good");
    assert_int_equal(strlen(first.checksum), 16);
    assert_null(find_value(&first, "proof_reused"));
    sq_record second = run_proved("good", first.checksum);
    assert_int_equal(second.status, SQ_RUN_OK);
    assert_int_equal(second.n_checks, 0);
    assert_true(second.n_samples >= 10);
    assert_string_equal(second.checksum, first.checksum);
    assert_true(find_value(&second, "proof_reused")->value == 1);
    sq_record_free(&second);
    sq_record_free(&first);
}

static void other_bits_are_proved_again(void **state)
{
    (void)state;
    const char *other = "0123456789abcdef";
    sq_record right = run_proved("good", other);
    assert_int_equal(right.status, SQ_RUN_OK);
    assert_int_equal(right.n_checks, 1);
    assert_true(isnan(find_value(&right, "proof_reused")->value));
    assert_non_null(strstr(find_value(&right, "proof_reused")->validity, "inconsistent"));
    assert_string_not_equal(right.checksum, other);
    sq_record wrong = run_proved("wrong", right.checksum);
    assert_int_equal(wrong.status, SQ_RUN_MISMATCH);
    assert_non_null(strstr(wrong.reason, "element 319"));
    assert_string_equal(wrong.checksum, "");
    sq_record unsteady = run_proved("unsteady", right.checksum); /* right at first */
    assert_int_equal(unsteady.status, SQ_RUN_MISMATCH);
    assert_string_equal(unsteady.checksum, "");
    sq_record_free(&unsteady);
    sq_record_free(&wrong);
    sq_record_free(&right);
}

static void other_failures_have_their_own_status(void **state)
{
    (void)state;
    expect("refuses", SQ_RUN_UNSUPPORTED, "not on a Tuesday");
    expect("absent", SQ_RUN_UNSUPPORTED, "no provider absent");
    expect("breaks", SQ_RUN_ERROR, "fell over");
    expect("no-plan", SQ_RUN_OOM, "no room for a plan");
    expect("huge", SQ_RUN_OOM, "GB are free");
    expect("slow", SQ_RUN_SKIPPED, "the limit is 0.5 s");
}

/* The fault is in the mixer alone: the other nodes take the first provider, which is right. */
static void a_block_is_proved_too(void **state)
{
    (void)state;
    static const char *const names[] = {"good", "wrong", "nan", "overrun-workspace"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sq_task task = task_of("block:mamba", names[i], "B=1,L=9,D=64");
        sq_record record = run_task(&task);
        sq_run_status wanted = i == 0 ? SQ_RUN_OK : SQ_RUN_MISMATCH;
        if (record.status != wanted)
            fail_msg("%s: %s: %s", names[i], sq_run_status_name(record.status), record.reason);
        assert_true((record.n_samples > 0) == (i == 0));
        sq_record_free(&record);
    }
}

static void check_foretells(void **state)
{
    (void)state;
    sq_fit fit;
    sq_task task = norm_task("good");
    sq_session_check(&session, &task, &fit);
    assert_true(fit.is_supported && fit.free_bytes > 0);
    assert_true(fit.bytes >= 2 * (2 * 5 * 32 * 4));
    task = norm_task("refuses");
    sq_session_check(&session, &task, &fit);
    assert_false(fit.is_supported);
    assert_string_equal(fit.reason, "not on a Tuesday");
}

static void numbers_carry_a_floor_once_there_are_ceilings(void **state)
{
    (void)state;
    sq_ceilings none = session.ceilings;
    sq_record without = run("good");
    session.ceilings =
        (sq_ceilings){.n = 1, .ceiling = {{"copy_gbytes_per_s", "GB/s", 2, 2, 2, NAN}}};
    sq_record with = run("good");
    session.ceilings = none;
    assert_int_equal(with.n_values, without.n_values + 1);
    double bytes = 0, floor_ns = 0;
    for (int i = 0; i < with.n_values; i++) {
        bytes = strcmp(with.values[i].metric, "bytes") == 0 ? with.values[i].value : bytes;
        floor_ns = strcmp(with.values[i].metric, "floor_ns") == 0 ? with.values[i].value : floor_ns;
    }
    assert_true(bytes > 0 && floor_ns == bytes / 2);
    sq_record_free(&with);
    sq_record_free(&without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_provider_is_timed),
        cmocka_unit_test(a_wrong_number_is_a_mismatch),
        cmocka_unit_test(writing_outside_is_a_mismatch),
        cmocka_unit_test(bits_must_stay_those_of_the_proof),
        cmocka_unit_test(its_phases_are_told_once_each),
        cmocka_unit_test(bits_that_were_proved_need_no_proof),
        cmocka_unit_test(other_bits_are_proved_again),
        cmocka_unit_test(other_failures_have_their_own_status),
        cmocka_unit_test(a_block_is_proved_too),
        cmocka_unit_test(check_foretells),
        cmocka_unit_test(numbers_carry_a_floor_once_there_are_ceilings),
    };
    return cmocka_run_group_tests(tests, open_session, close_session);
}
