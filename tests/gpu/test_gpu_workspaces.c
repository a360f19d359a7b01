/* Nothing is quadratic in memory: what the CUDA providers ask for beside their tensors grows as the
 * sequence does. No device is needed, since a workspace depends on the call alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "kernels/op.h"

/* A sequence of 8 times the length may ask for so many times as much (a transform's length may fit by
 * chance at one of the two; a square asks for 64 times as much), and for what a vendor's library gets
 * for products of any size. No limit beside the call's tensors: a filter's network has rows of any width
 * that no tensor has. */
#define LONGER 8
#define TIMES 16
#define CONSTANT ((int64_t)64 << 20)

static const sq_device h100 = {.backend = "cuda",
                               .compute_major = 9,
                               .shared_bytes_per_block = 232448,
                               .sm_count = 132,
                               .memory_bytes = (int64_t)80 << 30,
                               .l2_bytes = 50 << 20};

/* The call of a shape of that length, in keys too; false where the operator has none. */
static bool call_at(const sq_op *op, sq_pass pass, sq_dtype dtype, const char *shape,
                    int64_t length, sq_call *call, sq_tensor_list *list)
{
    sq_error err;
    *call = (sq_call){.op = op, .pass = pass, .dtype = dtype};
    if (sq_axis_parse_assignments(op->axes, shape, call->axis, &err) != SQ_OK)
        fail_msg("%s %s: %s", op->name, shape, err.message);
    const int keys = sq_axis_find(op->axes, "Lk");
    call->axis[SQ_AXIS_L] = (double)length;
    if (keys >= 0)
        call->axis[keys] = 0;
    return sq_op_check(op, call->axis, &err) == SQ_OK && sq_call_shape(call, list, &err) == SQ_OK;
}

/* Workspace, and what pass fwd keeps for bwd; -1 where the provider does not take the call. */
static int64_t asked(const sq_provider *p, const sq_call *call, const sq_tensor_list *list)
{
    sq_error err;
    if (sq_provider_supports(p, call, list, &h100, &err) != SQ_OK)
        return -1;
    const sq_call forward = call->pass == SQ_PASS_BWD ? sq_call_forward(call, list) : *call;
    const bool is_kept = p->saved && call->pass != SQ_PASS_STEP;
    return (int64_t)((p->workspace ? p->workspace(call) : 0) + (is_kept ? p->saved(&forward) : 0));
}

static bool is_linear(int64_t shorter, int64_t longer)
{
    return longer <= TIMES * shorter + CONSTANT;
}

static bool check(const sq_op *op, const sq_provider *p, sq_pass pass, sq_dtype dtype,
                  const char *shape)
{
    const int64_t first = 1 << 14, last = 1 << 20;
    bool is_compared = false;
    int64_t shorter = -1;
    for (int64_t length = first; length <= last; length *= LONGER) {
        sq_call call;
        sq_tensor_list list;
        const bool has_call = call_at(op, pass, dtype, shape, length, &call, &list);
        const int64_t bytes = has_call ? asked(p, &call, &list) : -1;
        is_compared = is_compared || (shorter >= 0 && bytes >= 0);
        if (shorter >= 0 && bytes >= 0 && !is_linear(shorter, bytes))
            fail_msg("%s %s %s %s %s: %lld bytes at L=%lld, %lld at %d times that", op->name,
                     p->name, sq_pass_name(pass), sq_dtype_name(dtype), shape, (long long)shorter,
                     (long long)length / LONGER, (long long)bytes, LONGER);
        shorter = bytes;
    }
    return is_compared;
}

static void check_provider(const sq_op *op, const sq_provider *p, int *count)
{
    for (int i = 0; i < SQ_OWN_PASSES; i++) {
        int taken = 0;
        for (const char *const *shape = op->test_shapes; *shape; shape++)
            for (int dtype = SQ_DTYPE_F32; dtype <= SQ_DTYPE_F16; dtype++)
                if (sq_provider_has(p, sq_own_passes[i]))
                    taken += check(op, p, sq_own_passes[i], (sq_dtype)dtype, *shape);
        if (taken == 0 && sq_provider_has(p, sq_own_passes[i]))
            printf("%s %s %s takes no long sequence\n", op->name, p->name, sq_pass_name(sq_own_passes[i]));
        *count += taken;
    }
}

static void memory_grows_with_the_sequence(void **state)
{
    int count = 0;
    (void)state;
    for (int i = 0; sq_ops[i]; i++)
        for (const sq_provider *p = sq_providers_cuda(sq_ops[i]); p->name; p++)
            check_provider(sq_ops[i], p, &count);
    printf("%d shapes of a pass and type\n", count);
    assert_true(count > 1000);
}

/* Scores of one head of one channel, in bf16: the least that a square could be. */
static void a_square_is_seen(void **state)
{
    (void)state;
    assert_false(is_linear((int64_t)2 << 28, (int64_t)2 << 34));
    assert_false(is_linear((int64_t)2 << 34, (int64_t)2 << 40));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_grows_with_the_sequence),
        cmocka_unit_test(a_square_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
