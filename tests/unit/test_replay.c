/* Replays: what is wrong with a provider is found, whatever is wrong with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/proof_slice.h"
#include "bench/verify/fuzz.h"
#include "bench/worker/prove.h"
#include "tests/support/any_call.h"

static sq_rig rig;
static sq_status (*spoil)(const sq_call *call);

static sq_status launch_spoiled(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    SQ_TRY(sq_op_reference(call, err));
    return spoil(call);
}

static const sq_provider spoiled[] = {
    {.name = "cpu/spoiled",
     .note = "",
     .supports = sq_supports_any,
     .launch = launch_spoiled,
     .passes = SQ_HAS_BWD | SQ_HAS_STEP},
    {.name = NULL},
};

static const sq_provider *providers(const sq_op *op)
{
    (void)op;
    return spoiled;
}

static sq_verification replay_cell(const char *key, uint64_t seed,
                                   sq_status (*how)(const sq_call *))
{
    sq_error err = {.status = SQ_OK};
    sq_verification v;
    sq_replay r = {.seed = seed, .layout = SQ_LAYOUT_STRIDED};
    spoil = how;
    if (sq_cell_parse(key, &r.cell, &r.subject, &err) != SQ_OK ||
        sq_replay_run(&rig, &r, 1e6, &v, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return v;
}

static sq_verification replay(sq_status (*how)(const sq_call *))
{
    return replay_cell("rmsnorm@cpu/spoiled/fwd/f32/B=2,L=3,D=64/clean-cold,plain,unlocked", 5,
                       how);
}

static sq_status nothing(const sq_call *call)
{
    (void)call;
    return SQ_OK;
}

static sq_status one_element(const sq_call *call)
{
    sq_store(call->out[0].data, call->out[0].dtype, 17, 3);
    return SQ_OK;
}

static double moved_by;

static sq_status one_element_far(const sq_call *call)
{
    moved_by = fabs(300 - sq_load(call->out[0].data, call->out[0].dtype, 17));
    sq_store(call->out[0].data, call->out[0].dtype, 17, 300);
    return SQ_OK;
}

static sq_status other_bits(const sq_call *call)
{
    static int launches;
    const double v = sq_load(call->out[0].data, call->out[0].dtype, 3);
    sq_store(call->out[0].data, call->out[0].dtype, 3, v * (1 + 1e-6 * (launches++ % 2)));
    return SQ_OK;
}

static sq_status beyond_the_end(const sq_call *call)
{
    sq_store(call->out[0].data, call->out[0].dtype, sq_tensor_count(&call->out[0]), 0);
    return SQ_OK;
}

/* By the second launch, when it has read it: no output shows it. */
static sq_status an_input(const sq_call *call)
{
    static int launches;
    if (launches++ % 2 == 1)
        sq_store(call->in[0].data, call->in[0].dtype, 0,
                 2 * sq_load(call->in[0].data, call->in[0].dtype, 0));
    return SQ_OK;
}

static void expect(sq_status (*how)(const sq_call *), sq_verdict verdict, const char *reason)
{
    const sq_verification v = replay(how);
    if (v.verdict != verdict || !strstr(v.reason, reason))
        fail_msg("%s: \"%s\", not \"%s\"", sq_verdict_name(v.verdict), v.reason, reason);
}

static void what_is_wrong_is_found(void **state)
{
    (void)state;
    expect(nothing, SQ_VERDICT_OK, "");
    expect(one_element, SQ_VERDICT_MISMATCH, "y: rel_l2");
    expect(other_bits, SQ_VERDICT_MISMATCH, "two launches gave different bits");
    expect(beyond_the_end, SQ_VERDICT_MISMATCH, "wrote outside");
    expect(an_input, SQ_VERDICT_MISMATCH, "an input was written to");
}

static void the_worst_difference_is_in_units_of_the_tensor(void **state)
{
    (void)state;
    const sq_verification v = replay(one_element_far);
    assert_int_equal(v.verdict, SQ_VERDICT_MISMATCH);
    assert_true(fabs(v.max_abs - moved_by) < 1e-3);
}

static double relative_error;
static int spoiled_gradient;

static sq_status a_gradient(const sq_call *call)
{
    const sq_tensor *t = &call->out[spoiled_gradient];
    if (call->pass == SQ_PASS_BWD)
        sq_store(t->data, t->dtype, 0, sq_load(t->data, t->dtype, 0) * (1 + relative_error));
    return SQ_OK;
}

/* Of the gradient by b0, which is one number. */
static sq_verdict with_error(uint64_t seed, double error)
{
    relative_error = error;
    spoiled_gradient = 4;
    return replay_cell("hyena_filter@cpu/spoiled/bwd/f32/B=1,L=206,D=1,E=1,F=1,inner=2,shift=0/"
                       "clean-cold,plain,unlocked",
                       seed, a_gradient)
        .verdict;
}

static void what_is_left_of_a_sum_may_be_off_by_what_its_terms_are(void **state)
{
    (void)state;
    const uint64_t plain = 1, cancelled = 4;
    assert_int_equal(with_error(plain, 0), SQ_VERDICT_OK);
    assert_int_equal(with_error(plain, 2e-5), SQ_VERDICT_MISMATCH);
    assert_int_equal(with_error(cancelled, 1e-4), SQ_VERDICT_OK);
    assert_int_equal(with_error(cancelled, 5e-2), SQ_VERDICT_MISMATCH);
}

/* Of the gradient by the D of one head. */
static sq_verdict with_error_of_f16(uint64_t seed, double error)
{
    relative_error = error;
    spoiled_gradient = 5;
    return replay_cell("ssd@cpu/spoiled/bwd/f16/B=1,L=50,H=1,P=8,N=8,documents=1,gate=1/"
                       "clean-cold,plain,unlocked",
                       seed, a_gradient)
        .verdict;
}

static void in_16_bit_the_terms_are_off_by_their_rounding(void **state)
{
    (void)state;
    const uint64_t plain = 1, cancelled = 34;
    assert_int_equal(with_error_of_f16(plain, 0), SQ_VERDICT_OK);
    assert_int_equal(with_error_of_f16(plain, 2e-2), SQ_VERDICT_MISMATCH);
    assert_int_equal(with_error_of_f16(cancelled, 0.2), SQ_VERDICT_OK);
    assert_int_equal(with_error_of_f16(cancelled, 0.9), SQ_VERDICT_MISMATCH);
}

static sq_status a_forward_output(const sq_call *call)
{
    const sq_tensor *t = &call->out[0];
    if (call->pass == SQ_PASS_FWD)
        sq_store(t->data, t->dtype, 0, sq_load(t->data, t->dtype, 0) * (1 + relative_error));
    return SQ_OK;
}

static sq_verification with_forward_error(const char *pass, double error)
{
    char key[SQ_KEY_MAX];
    relative_error = error;
    snprintf(key, sizeof key, "rmsnorm@cpu/spoiled/%s/f32/B=2,L=3,D=64/clean-cold,plain,unlocked",
             pass);
    return replay_cell(key, 5, a_forward_output);
}

static void the_worst_tensor_of_pass_bwd_is_a_gradient(void **state)
{
    (void)state;
    const double within = 3e-6, beyond = 1e-2;
    assert_string_equal(with_forward_error("fwd", within).tensor, "y");
    assert_true(with_forward_error("fwd", within).rel_l2 > 0);
    static const char *const passes[] = {"bwd", "fwdbwd"};
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        const sq_verification good = with_forward_error(passes[i], within);
        const sq_verification bad = with_forward_error(passes[i], beyond);
        assert_int_equal(good.verdict, SQ_VERDICT_OK);
        assert_memory_equal(good.tensor, "d_", 2);
        assert_int_equal(bad.verdict, SQ_VERDICT_MISMATCH);
        assert_string_equal(bad.tensor, "y");
    }
}

static void a_seed_is_a_cell(void **state)
{
    (void)state;
    int other = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        char a[SQ_KEY_MAX], b[SQ_KEY_MAX];
        sq_error err = {.status = SQ_OK};
        sq_replay first, second;
        assert_int_equal(sq_fuzz_draw(&rig, seed, NULL, NULL, 1e5, &first, &err), SQ_OK);
        assert_int_equal(sq_fuzz_draw(&rig, seed, NULL, NULL, 1e5, &second, &err), SQ_OK);
        sq_cell_key(&first.cell, a);
        sq_cell_key(&second.cell, b);
        assert_string_equal(a, b);
        assert_true(first.layout == second.layout && first.values == second.values);
        assert_true(sq_proof_work(first.subject.op, first.cell.pass, first.cell.value) <= 1e5);
        other += first.values != SQ_VALUES_USUAL;
    }
    assert_in_range(other, 5, 35);
}

static void every_kind_of_values_is_drawn(void **state)
{
    (void)state;
    int count[SQ_VALUES_COUNT] = {0};
    for (uint64_t seed = 0; seed < 300; seed++) {
        sq_error err = {.status = SQ_OK};
        sq_replay r;
        assert_int_equal(sq_fuzz_draw(&rig, seed, "gla", NULL, 1e4, &r, &err), SQ_OK);
        assert_true(r.values != SQ_VALUES_GATES || r.cell.pass != SQ_PASS_BWD);
        count[r.values]++;
    }
    for (int i = 0; i < SQ_VALUES_COUNT; i++)
        assert_true((count[i] > 0) == (i != SQ_VALUES_SUBNORMAL));
}

/* Inputs of a launch whose numbers all lie within. */
static double least_seen, most_seen;
static int seen;

static sq_status look(const sq_call *call)
{
    seen = 0;
    for (int i = 0; i < SQ_MAX_IN; i++) {
        const sq_tensor *t = &call->in[i];
        bool is_within = t->data != NULL;
        for (int64_t k = 0; is_within && k < sq_tensor_count(t); k++) {
            const double x = sq_load(t->data, t->dtype, sq_tensor_offset(t, k));
            is_within = x >= least_seen && x <= most_seen;
        }
        seen += is_within;
    }
    return SQ_OK;
}

static int count_within(sq_values values, double least, double most)
{
    sq_error err = {.status = SQ_OK};
    sq_verification v;
    sq_replay r = {.seed = 3, .values = values};
    spoil = look;
    least_seen = least;
    most_seen = most;
    assert_int_equal(sq_cell_parse("gla@cpu/spoiled/fwd/f32/B=1,L=9,H=2,K=4,V=4/clean-cold,plain,"
                                   "unlocked",
                                   &r.cell, &r.subject, &err),
                     SQ_OK);
    assert_int_equal(sq_replay_run(&rig, &r, 1e6, &v, &err), SQ_OK);
    assert_int_equal(v.verdict, SQ_VERDICT_OK);
    return seen;
}

static void values_are_what_they_are_called(void **state)
{
    (void)state;
    assert_int_equal(count_within(SQ_VALUES_USUAL, -60, -40), 0);
    assert_int_equal(count_within(SQ_VALUES_GATES, -60, -40), 1);
    assert_int_equal(count_within(SQ_VALUES_USUAL, -0x1p-126, 0x1p-126), 0);
    assert_int_equal(count_within(SQ_VALUES_SUBNORMAL, -0x1p-126, 0x1p-126), 1);
    assert_int_equal(count_within(SQ_VALUES_ZERO, 0, 0), 1);
}

static void unknown_operators_are_refused(void **state)
{
    (void)state;
    sq_error err = {.status = SQ_OK};
    sq_replay r;
    assert_int_equal(sq_fuzz_draw(&rig, 1, "atention", NULL, 1e5, &r, &err), SQ_UNSUPPORTED);
    assert_int_equal(sq_fuzz_draw(&rig, 1, NULL, "cuda/naive", 1e5, &r, &err), SQ_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_found),
        cmocka_unit_test(the_worst_difference_is_in_units_of_the_tensor),
        cmocka_unit_test(what_is_left_of_a_sum_may_be_off_by_what_its_terms_are),
        cmocka_unit_test(in_16_bit_the_terms_are_off_by_their_rounding),
        cmocka_unit_test(the_worst_tensor_of_pass_bwd_is_a_gradient),
        cmocka_unit_test(a_seed_is_a_cell),
        cmocka_unit_test(every_kind_of_values_is_drawn),
        cmocka_unit_test(values_are_what_they_are_called),
        cmocka_unit_test(unknown_operators_are_refused),
    };
    sq_error err;
    rig = (sq_rig){.backend = &sq_backend_cpu, .providers = providers};
    if (rig.backend->open(0, &rig.device, &err) != SQ_OK)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rig.backend->close(rig.device);
    return failed;
}
