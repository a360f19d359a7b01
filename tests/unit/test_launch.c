/* Golden data in pass bwd: what a provider's forward pass does not write, or writes outside, shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "bench/verify/launch.h"
#include "tests/support/any_call.h"

static sq_rig rig;
static sq_status (*forward)(const sq_call *call, sq_error *err);

/* Backward it hands on what the forward pass wrote. */
static sq_status launch(const sq_call *call, void *plan, sq_error *err)
{
    sq_tensor_list list;
    (void)plan;
    if (call->pass != SQ_PASS_BWD)
        return forward(call, err);
    SQ_TRY(sq_op_tensors(call->op, call->pass, call->dtype, call->axis, &list, err));
    const sq_tensor *y = &call->in[list.first_value], *out = &call->out[0];
    for (int64_t i = 0; i < sq_tensor_count(out); i++)
        sq_store(out->data, out->dtype, i, sq_load(y->data, y->dtype, i));
    return SQ_OK;
}

static const sq_provider provider = {.name = "cpu/copy",
                                     .note = "",
                                     .supports = sq_supports_any,
                                     .launch = launch,
                                     .passes = SQ_HAS_BWD};

static sq_status write_all(const sq_call *call, sq_error *err)
{
    return sq_op_reference(call, err);
}

static sq_status write_nothing(const sq_call *call, sq_error *err)
{
    (void)call, (void)err;
    return SQ_OK;
}

static sq_status write_before(const sq_call *call, sq_error *err)
{
    SQ_TRY(sq_op_reference(call, err));
    sq_store(call->out[0].data, call->out[0].dtype, -1, 0);
    return SQ_OK;
}

static sq_status write_into_an_input(const sq_call *call, sq_error *err)
{
    SQ_TRY(sq_op_reference(call, err));
    sq_store(call->in[0].data, call->in[0].dtype, sq_tensor_count(&call->in[0]), 0);
    return SQ_OK;
}

/* *first: of the gradient that the provider made; the values in the call are 7. */
static sq_status run(sq_status (*how)(const sq_call *, sq_error *), double *first)
{
    sq_error err = {.status = SQ_OK};
    sq_call call = {.op = sq_op_find("rmsnorm"), .pass = SQ_PASS_BWD, .dtype = SQ_DTYPE_F32};
    sq_tensor_list list;
    forward = how;
    assert_int_equal(
        sq_call_parse(call.op, call.pass, call.dtype, "B=1,L=2,D=8,eps=1e-12", &call, &err), SQ_OK);
    assert_int_equal(sq_call_shape(&call, &list, &err), SQ_OK);
    assert_int_equal(sq_host_call_alloc(&call, &list, &err), SQ_OK);
    for (int i = 0; i < list.n_in; i++)
        for (int64_t e = 0; call.in[i].data && e < sq_tensor_count(&call.in[i]); e++)
            sq_store(call.in[i].data, call.in[i].dtype, e, i < list.first_value ? 1 : 7);
    const sq_status s = sq_host_call_run(&rig, &provider, &call, &list, &err);
    *first = sq_load(call.out[0].data, call.out[0].dtype, 0);
    sq_host_call_free(&call);
    return s;
}

static void a_forward_pass_that_writes_nothing_shows(void **state)
{
    (void)state;
    double first;
    assert_int_equal(run(write_all, &first), SQ_OK);
    assert_true(fabs(first - 1) < 1e-5);
    assert_int_equal(run(write_nothing, &first), SQ_OK);
    assert_true(isnan(first));
}

static void what_it_writes_outside_is_found(void **state)
{
    (void)state;
    double first;
    assert_int_equal(run(write_before, &first), SQ_MISMATCH);
    assert_int_equal(run(write_into_an_input, &first), SQ_MISMATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forward_pass_that_writes_nothing_shows),
        cmocka_unit_test(what_it_writes_outside_is_found),
    };
    sq_error err;
    rig = (sq_rig){.backend = &sq_backend_cpu};
    if (rig.backend->open(0, &rig.device, &err) != SQ_OK)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rig.backend->close(rig.device);
    return failed;
}
