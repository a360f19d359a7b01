/* The rule that results are judged by (bench/error_rule.h), met by providers that err on purpose:
 * what a straightforward implementation in a type loses is allowed, in every operator and pass, and
 * some times that is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "kernels/shared/rounding.h"
#include "tests/support/any_call.h"
#include "tests/support/cpu_rig.h"
#include "tests/support/op_cases.h"

#define MAX_WORK 2e5 /* multiply-adds of one reference */

#define PROVIDER(name_, launch_)                                                                   \
    {                                                                                              \
        .name = name_, .note = "test", .supports = sq_supports_any, .launch = launch_,             \
        .passes = SQ_HAS_BWD | SQ_HAS_STEP                                                         \
    }

static sq_case_filter filter;

/* Its named intermediates in the call's type, on a grid that the judge does not try. */
static sq_status launch_rounded(const sq_call *call, void *plan, sq_error *err)
{
    const sq_dtype dtype = call->dtype;
    (void)plan;
    if (dtype == SQ_DTYPE_F32)
        return sq_op_reference(call, err);
    const sq_rounding before = sq_rounding_set((sq_rounding){dtype, 0.73});
    const sq_status s = sq_op_reference(call, err);
    sq_rounding_set(before);
    return s;
}

static void scale(const sq_tensor *t, double factor)
{
    for (int64_t i = 0; t->data && i < sq_tensor_count(t); i++) {
        const int64_t at = sq_tensor_offset(t, i);
        sq_store(t->data, t->dtype, at, factor * sq_load(t->data, t->dtype, at));
    }
}

/* All results too large, by 20 roundings of 16 bit or 100 times what is allowed in f32. */
static sq_status launch_off(const sq_call *call, void *plan, sq_error *err)
{
    const double by = call->dtype == SQ_DTYPE_F32    ? 1e-3
                      : call->dtype == SQ_DTYPE_BF16 ? 20 * 0x1p-9
                                                     : 20 * 0x1p-12;
    SQ_TRY(launch_rounded(call, plan, err));
    for (int i = 0; i < SQ_MAX_OUT; i++)
        scale(&call->out[i], 1 + by);
    return SQ_OK;
}

static const sq_provider *rounded(const sq_op *op)
{
    static const sq_provider one[] = {PROVIDER("cpu/rounded", launch_rounded), {.name = NULL}};
    (void)op;
    return one;
}

static const sq_provider *off(const sq_op *op)
{
    static const sq_provider one[] = {PROVIDER("cpu/off", launch_off), {.name = NULL}};
    (void)op;
    return one;
}

static void what_a_type_loses_is_allowed(void **state)
{
    (void)state;
    sq_assert_cheap_op_cases(rounded, &filter, MAX_WORK);
}

/* One shape of each: draws that may show more take a while. */
static void more_is_not(void **state)
{
    static const char *const dtypes[] = {"f32", "bf16"};
    (void)state;
    sq_rig rig = sq_open_cpu_rig(off);
    for (int i = 0; sq_ops[i]; i++)
        for (int k = 0; k < 2; k++) {
            sq_case_counts counts = {0};
            sq_case_filter one = {.program = "", .op = sq_ops[i]->name, .dtype = dtypes[k]};
            one.shape = sq_ops[i]->test_shapes[2];
            sq_op_cases_run(&rig, &one, MAX_WORK, &counts);
            if (counts.failed == 0 || counts.passed > 0)
                fail_msg("%s %s %s: %d of %d pass", one.op, one.shape, one.dtype, counts.passed,
                         counts.passed + counts.failed);
        }
    rig.backend->close(rig.device);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_type_loses_is_allowed),
        cmocka_unit_test(more_is_not),
    };
    sq_case_filter_parse(argc, argv, &filter);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
