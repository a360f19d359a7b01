/* The references against themselves: whole calls, strided inputs, slices and dtypes must agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cpu_rig.h"
#include "tests/support/op_cases.h"
#include "tests/support/op_shapes.h"

/* Multiply-adds of one reference. A shape takes a dozen runs in all dtypes and layouts and two in
 * the test of slices; under sanitizers, on a small machine, that must stay within minutes. */
#define MAX_WORK 2e6
#define SLICES_MAX_WORK 3e7
#define LARGE_MAX_WORK 2e7 /* as in tests/gpu/test_gpu_ops.c */

static sq_case_filter filter;

/* Dense device memory, strided views and the dense host copy that the proof makes: the same
 * numbers. */
static void every_shape_and_layout_agrees(void **state)
{
    (void)state;
    sq_assert_cheap_op_cases(sq_providers_cpu, &filter, MAX_WORK);
}

/* Once: one case for each shape and pass, whatever the type; all types and layouts between them. */
static void once_is_every_shape_and_pass_once(void **state)
{
    (void)state;
    sq_rig rig = sq_open_cpu_rig(sq_providers_cpu);
    sq_case_filter one = {.program = "", .op = "layernorm"};
    sq_case_counts all = {0}, unproved = {0}, once = {0}, f16 = {0};
    sq_op_cases_run_cheap(&rig, &one, 1e4, &all);
    one.is_unproved = true;
    sq_op_cases_run_cheap(&rig, &one, 1e4, &unproved);
    assert_int_equal(unproved.passed, all.passed);
    assert_int_equal(unproved.failed, 0);
    one.is_unproved = false;
    one.is_once = true;
    sq_op_cases_run_cheap(&rig, &one, 1e4, &once);
    one.dtype = "f16";
    sq_op_cases_run_cheap(&rig, &one, 1e4, &f16);
    assert_true(once.passed > 0);
    assert_int_equal(all.passed, 6 * once.passed);
    assert_int_equal(f16.passed, once.passed);
    assert_int_equal(all.failed + once.failed + f16.failed, 0);
    rig.backend->close(rig.device);
}

/* Takes the operator this axis at 1, with the defaults of the others? */
static bool may_be_1(const sq_op *op, const sq_axis *axis)
{
    char shape[64];
    sq_call call;
    snprintf(shape, sizeof shape, "%s=1", axis->name);
    return axis->kind == SQ_AXIS_INT && axis->min >= 0 &&
           sq_call_parse(op, SQ_PASS_FWD, SQ_DTYPE_F32, shape, &call, NULL) == SQ_OK;
}

static bool is_1_in_a_shape(const sq_op *op, int axis)
{
    const char *shape;
    for (int i = 0; (shape = sq_case_shape(op, i)); i++) {
        sq_call call;
        assert_int_equal(sq_call_parse(op, SQ_PASS_FWD, SQ_DTYPE_F32, shape, &call, NULL), SQ_OK);
        if (call.axis[axis] == 1)
            return true;
    }
    return false;
}

static void every_axis_is_1_in_some_shape(void **state)
{
    int missing = 0;
    (void)state;
    for (int i = 0; sq_ops[i]; i++)
        for (int k = 0; sq_ops[i]->axes[k].name; k++) {
            const sq_axis *axis = &sq_ops[i]->axes[k];
            if (!may_be_1(sq_ops[i], axis) || is_1_in_a_shape(sq_ops[i], k))
                continue;
            printf("%s: no shape has %s=1\n", sq_ops[i]->name, axis->name);
            missing++;
        }
    assert_int_equal(missing, 0);
}

/* A slice is a small call of its own; its result must be that part of the whole call's result. */
static void prove_slices_of(const sq_rig *rig, const sq_op *op, const char *shape)
{
    sq_error err = {.status = SQ_OK};
    sq_call call;
    sq_op_case c = {op, rig->providers(op), shape, SQ_DTYPE_F32, SQ_LAYOUT_STRIDED, SQ_PASS_FWD};
    assert_int_equal(sq_call_parse(op, SQ_PASS_FWD, SQ_DTYPE_F32, shape, &call, &err), SQ_OK);
    double work = op->reference_work(call.axis);
    if (work <= SLICES_MAX_WORK && sq_op_case_prove_slices(rig, &c, work / 7, 5, &err) != SQ_OK)
        fail_msg("%s %s: %s", op->name, shape, err.message);
    c.pass = SQ_PASS_BWD;
    if (work <= MAX_WORK && sq_op_case_prove_slices(rig, &c, work / 7, 5, &err) != SQ_OK)
        fail_msg("%s %s bwd: %s", op->name, shape, err.message);
    c.pass = SQ_PASS_STEP;
    sq_status step = work <= MAX_WORK ? sq_op_case_prove_slices(rig, &c, work / 7, 5, &err) : SQ_OK;
    if (step != SQ_OK && step != SQ_UNSUPPORTED)
        fail_msg("%s %s step: %s", op->name, shape, err.message);
}

static void slices_agree_with_the_whole(void **state)
{
    (void)state;
    sq_rig rig = sq_open_cpu_rig(sq_providers_cpu);
    for (int i = 0; sq_ops[i]; i++) {
        const char *shape;
        for (int k = 0; (shape = sq_case_shape(sq_ops[i], k)); k++)
            if (sq_case_is_selected(filter.op, sq_ops[i]->name))
                prove_slices_of(&rig, sq_ops[i], shape);
    }
    rig.backend->close(rig.device);
}

/* 2^20 steps of those whose reference is cheap: nothing is quadratic, nothing ends before. */
static void a_million_steps_are_right(void **state)
{
    static const char *const cheap[] = {"causal_conv1d", "linear",     "local_attention", "rope",
                                        "s4_scan",       "s4d_kernel", "shift_ssm",       NULL};
    (void)state;
    sq_rig rig = sq_open_cpu_rig(sq_providers_cpu);
    for (int i = 0; cheap[i]; i++) {
        sq_case_counts counts = {0};
        sq_case_filter one = {.program = "", .op = cheap[i], .pass = "fwd"};
        sq_op_cases_run_million(&rig, &one, SLICES_MAX_WORK, 2, &counts);
        assert_int_equal(counts.passed, 1);
        assert_int_equal(counts.failed, 0);
    }
    rig.backend->close(rig.device);
}

static void reaches_far(const sq_rig *rig, const sq_op_case *c)
{
    enum { SEEDS = 2 };
    sq_error err = {.status = SQ_OK};
    sq_status status = sq_op_case_reaches(rig, c, LARGE_MAX_WORK, SEEDS, &err);
    if (status != SQ_OK && status != SQ_UNSUPPORTED)
        fail_msg("%s %s %s: %s", c->op->name, c->shape, sq_pass_name(c->pass), err.message);
}

/* What only a GPU has memory for: every operator has such calls in every pass, and their slices
 * reach where 32 bits end. */
static void large_calls_are_proved_beyond_31_bits(void **state)
{
    (void)state;
    sq_rig rig = sq_open_cpu_rig(sq_providers_cpu);
    for (int i = 0; sq_ops[i]; i++)
        for (int k = 0; k < SQ_OWN_PASSES; k++) {
            char shape[64];
            sq_error err = {.status = SQ_OK};
            sq_op_case c = {.op = sq_ops[i], .dtype = SQ_DTYPE_BF16, .pass = sq_own_passes[k]};
            sq_status status = sq_batch_shape(c.op, c.pass, shape, sizeof shape, &err);
            if (status == SQ_UNSUPPORTED)
                continue; /* no such pass */
            assert_int_equal(status, SQ_OK);
            c.shape = shape;
            reaches_far(&rig, &c);
            c.shape = sq_sequence_shape(c.op);
            if (c.pass != SQ_PASS_STEP)
                reaches_far(&rig, &c);
        }
    rig.backend->close(rig.device);
}

static void every_operator_has_a_million_steps(void **state)
{
    (void)state;
    for (int i = 0; sq_ops[i]; i++) {
        const sq_op_shape *row = sq_million_shapes;
        sq_call call;
        while (row->op && strcmp(row->op, sq_ops[i]->name) != 0)
            row++;
        assert_non_null(row->op);
        assert_int_equal(sq_call_parse(sq_ops[i], SQ_PASS_FWD, row->dtype, row->shape, &call, NULL),
                         SQ_OK);
        assert_true(call.axis[SQ_AXIS_L] == 1 << 20);
    }
}

/* Runs the reference of a shape at a dtype; its first output, dense, on the host. */
static sq_tensor run_reference(const sq_rig *rig, const sq_op *op, const char *shape,
                               sq_dtype dtype)
{
    sq_error err = {.status = SQ_OK};
    sq_call call;
    sq_job *job = NULL;
    double setup_ns;
    if (sq_call_parse(op, SQ_PASS_FWD, dtype, shape, &call, &err) != SQ_OK ||
        sq_job_new_op(rig, &call, rig->providers(op), SQ_LAYOUT_DENSE, &job, &err) != SQ_OK ||
        job->ops->prepare(job, SQ_CASE_SEED, &setup_ns, &err) != SQ_OK ||
        sq_job_run_once(job, &err) != SQ_OK)
        fail_msg("%s %s: %s", op->name, shape, err.message);
    const sq_tensor *out = &sq_job_place(job)->call.out[0];
    sq_tensor host = sq_tensor_dense(malloc(sq_tensor_bytes(out)), out->dtype, out->rank, out->dim);
    assert_non_null(host.data);
    assert_int_equal(rig->backend->gather(rig->device, out, host.data, &err), SQ_OK);
    sq_job_free(job);
    return host;
}

/* Has it a tensor of the call's type? */
static bool is_typed(const sq_op *op, const char *shape)
{
    sq_call call;
    bool is_any = false;
    assert_int_equal(sq_call_parse(op, SQ_PASS_FWD, SQ_DTYPE_BF16, shape, &call, NULL), SQ_OK);
    for (int i = 0; i < SQ_MAX_IN; i++)
        is_any = is_any || (call.in[i].rank > 0 && call.in[i].dtype == SQ_DTYPE_BF16);
    return is_any;
}

/* bf16 differs from f32 by the rounding of inputs and intermediates: percent, not more. */
static void bf16_is_near_f32(void **state)
{
    (void)state;
    sq_rig rig = sq_open_cpu_rig(sq_providers_cpu);
    for (int i = 0; sq_ops[i]; i++) {
        if (!sq_case_is_selected(filter.op, sq_ops[i]->name))
            continue;
        const char *shape = sq_ops[i]->test_shapes[2];
        if (!is_typed(sq_ops[i], shape))
            continue; /* all f32: the two runs would be one */
        sq_tensor f32 = run_reference(&rig, sq_ops[i], shape, SQ_DTYPE_F32);
        sq_tensor bf16 = run_reference(&rig, sq_ops[i], shape, SQ_DTYPE_BF16);
        sq_compare_result r = sq_compare(&bf16, &f32, (sq_tolerance){0.05, 1});
        if (!r.is_ok)
            fail_msg("%s %s: rel_l2 %g, worst %g rms", sq_ops[i]->name, shape, r.rel_l2, r.max_abs);
        free(f32.data);
        free(bf16.data);
    }
    rig.backend->close(rig.device);
}

/* f32 has no tensor cores here: what they could do is 0, and never more than all. Operators that
 * make filters move f32 in every type. */
static void matrix_flops_are_of_16_bit_types(void **state)
{
    (void)state;
    for (int i = 0; sq_ops[i]; i++) {
        sq_call call;
        const char *shape = sq_ops[i]->test_shapes[2];
        assert_int_equal(sq_call_parse(sq_ops[i], SQ_PASS_FWD, SQ_DTYPE_F32, shape, &call, NULL),
                         SQ_OK);
        sq_cost f32 = sq_ops[i]->cost(SQ_PASS_FWD, SQ_DTYPE_F32, call.axis);
        sq_cost bf16 = sq_ops[i]->cost(SQ_PASS_FWD, SQ_DTYPE_BF16, call.axis);
        assert_true(f32.matrix_flops == 0);
        assert_true(bf16.matrix_flops <= bf16.flops);
        assert_true(f32.flops == bf16.flops);
        const double extra =
            f32.bytes_read + f32.bytes_written - bf16.bytes_read - bf16.bytes_written;
        assert_true(is_typed(sq_ops[i], shape) ? extra > 0 : extra == 0);
    }
}

/* --- shapes that are cut into segments --- */

static int launched;

static sq_status supports_16_bit(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)device;
    return call->dtype == SQ_DTYPE_BF16 ? SQ_OK : sq_fail(why, SQ_UNSUPPORTED, "bf16 alone");
}

static sq_status count_launch(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    (void)err;
    assert_true(sq_axis_int(call->axis, SQ_AXIS_L) > 768); /* three segments at least */
    launched++;
    return SQ_OK;
}

static const sq_provider *like_native(const sq_op *op)
{
    static const sq_provider one[] = {{.name = "cuda/native",
                                       .note = "test",
                                       .supports = supports_16_bit,
                                       .launch = count_launch,
                                       .passes = SQ_HAS_BWD},
                                      {.name = NULL}};
    (void)op;
    return one;
}

/* A sanitizer sees them, in every layout and in passes fwd, bwd and fwdbwd, however dear their references are; a proof
 * does not take them. */
static void segments_are_watched(void **state)
{
    static const struct {
        const char *op;
        int shapes;
    } cases[] = {{"ssd", 2}, {"simple_gla", 1}, {"retention", 1}, {"gla", 0}};
    sq_rig rig = sq_open_cpu_rig(like_native);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sq_case_filter of = {.program = "", .op = cases[i].op, .dtype = "bf16"};
        sq_case_counts counts = {0};
        launched = 0;
        sq_op_cases_run_cheap(&rig, &of, 0, &counts);
        assert_int_equal(launched, 0);
        of.is_unproved = true;
        sq_op_cases_run_cheap(&rig, &of, 0, &counts);
        assert_int_equal(counts.passed, 6 * cases[i].shapes);
        assert_true(launched >= counts.passed); /* pass bwd has a forward pass before it */
    }
    rig.backend->close(rig.device);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_and_layout_agrees),
        cmocka_unit_test(once_is_every_shape_and_pass_once),
        cmocka_unit_test(every_axis_is_1_in_some_shape),
        cmocka_unit_test(slices_agree_with_the_whole),
        cmocka_unit_test(every_operator_has_a_million_steps),
        cmocka_unit_test(a_million_steps_are_right),
        cmocka_unit_test(large_calls_are_proved_beyond_31_bits),
        cmocka_unit_test(bf16_is_near_f32),
        cmocka_unit_test(matrix_flops_are_of_16_bit_types),
        cmocka_unit_test(segments_are_watched),
    };
    sq_case_filter_parse(argc, argv, &filter);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
