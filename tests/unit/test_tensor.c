/* tensor: dense forms, views into them, runs, and sizes that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/tensor.h"

static sq_tensor cube(float *data)
{
    return sq_tensor_dense(data, SQ_DTYPE_F32, 3, (int64_t[]){4, 3, 5});
}

static void dense_is_row_major(void **state)
{
    (void)state;
    sq_tensor t = cube(NULL);
    assert_int_equal(t.stride[0], 15);
    assert_int_equal(t.stride[1], 5);
    assert_int_equal(t.stride[2], 1);
    for (int i = 3; i < SQ_MAX_RANK; i++) {
        assert_int_equal(t.dim[i], 1);
        assert_int_equal(t.stride[i], 0);
    }
    assert_int_equal(sq_tensor_count(&t), 60);
    assert_int_equal(sq_tensor_bytes(&t), 240);
    assert_true(sq_tensor_is_dense(&t));
    for (int64_t i = 0; i < 60; i++)
        assert_int_equal(sq_tensor_offset(&t, i), i);
}

static void a_slice_is_a_view(void **state)
{
    (void)state;
    float data[60];
    sq_tensor t = cube(data);
    sq_tensor view = sq_tensor_slice(&t, 1, 1, 2);
    view = sq_tensor_slice(&view, 2, 3, 2);
    assert_ptr_equal(view.data, data + 5 + 3);
    assert_int_equal(sq_tensor_count(&view), 16);
    assert_false(sq_tensor_is_dense(&view));
    int64_t linear = 0;
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < 2; b++)
            for (int c = 0; c < 2; c++)
                assert_int_equal(sq_tensor_offset(&view, linear++), a * 15 + b * 5 + c);
    sq_tensor rows = sq_tensor_slice(&t, 0, 1, 2);
    assert_true(sq_tensor_is_dense(&rows));
    sq_tensor planned = cube(NULL);
    assert_null(sq_tensor_slice(&planned, 0, 2, 1).data);
}

static void a_slice_of_16_bits_moves_by_two_bytes(void **state)
{
    (void)state;
    uint16_t data[12];
    sq_tensor t = sq_tensor_dense(data, SQ_DTYPE_F16, 2, (int64_t[]){3, 4});
    assert_ptr_equal(sq_tensor_slice(&t, 0, 2, 1).data, data + 8);
}

static void empty_and_scalar(void **state)
{
    (void)state;
    sq_tensor scalar = sq_tensor_dense(NULL, SQ_DTYPE_BF16, 0, NULL);
    assert_int_equal(sq_tensor_count(&scalar), 1);
    assert_true(sq_tensor_is_dense(&scalar));
    sq_tensor empty = sq_tensor_dense(NULL, SQ_DTYPE_F32, 2, (int64_t[]){0, 7});
    assert_int_equal(sq_tensor_bytes(&empty), 0);
    assert_true(sq_tensor_is_dense(&empty));
}

/* Walking the runs visits what sq_tensor_offset says. */
static void check_runs(const sq_tensor *t, int64_t want_length)
{
    int64_t stride, length = sq_tensor_run(t, &stride);
    assert_int_equal(length, want_length);
    for (int64_t i = 0; i < sq_tensor_count(t); i++) {
        int64_t start = sq_tensor_offset(t, i - i % length);
        assert_int_equal(start + i % length * stride, sq_tensor_offset(t, i));
    }
}

static void runs_are_as_long_as_they_can_be(void **state)
{
    (void)state;
    sq_tensor t = cube(NULL);
    check_runs(&t, 60);
    sq_tensor rows = sq_tensor_slice(&t, 1, 1, 2);
    check_runs(&rows, 10);
    sq_tensor column = sq_tensor_slice(&t, 2, 4, 1);
    check_runs(&column, 12); /* one element in five, all the way */
    sq_tensor one = sq_tensor_slice(&rows, 1, 0, 1);
    check_runs(&one, 5);
    sq_tensor broadcast = t;
    broadcast.stride[2] = 0;
    check_runs(&broadcast, 5);
    sq_tensor transposed = t;
    transposed.dim[0] = 5, transposed.stride[0] = 1;
    transposed.dim[2] = 4, transposed.stride[2] = 15;
    check_runs(&transposed, 4);
    sq_tensor odd = sq_tensor_dense(NULL, SQ_DTYPE_F32, 3, (int64_t[]){4, 1, 5});
    odd.stride[1] = 99; /* never taken */
    check_runs(&odd, 20);
    assert_true(sq_tensor_is_dense(&odd));
}

static void offsets_are_64_bit(void **state)
{
    (void)state;
    sq_tensor t = sq_tensor_dense(NULL, SQ_DTYPE_F32, 3, (int64_t[]){8, 1 << 20, 4096});
    assert_int_equal(sq_tensor_count(&t), INT64_C(1) << 35);
    assert_int_equal(sq_tensor_bytes(&t), UINT64_C(1) << 37);
    int64_t last = (INT64_C(1) << 35) - 1;
    assert_int_equal(sq_tensor_offset(&t, last), last);
}

static void mul_refuses_what_does_not_fit(void **state)
{
    (void)state;
    size_t n = 4;
    assert_true(sq_mul(&n, INT64_C(1) << 40));
    assert_int_equal(n, UINT64_C(1) << 42);
    assert_false(sq_mul(&n, INT64_C(1) << 22));
    assert_false(sq_mul(&n, -1));
    assert_false(sq_mul(&n, INT64_MIN));
    assert_int_equal(n, UINT64_C(1) << 42);
    assert_true(sq_mul(&n, 0));
    assert_int_equal(n, 0);
    n = SIZE_MAX;
    assert_true(sq_mul(&n, 1));
    assert_false(sq_mul(&n, 2));
    assert_true(n == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_is_row_major),
        cmocka_unit_test(a_slice_is_a_view),
        cmocka_unit_test(a_slice_of_16_bits_moves_by_two_bytes),
        cmocka_unit_test(empty_and_scalar),
        cmocka_unit_test(runs_are_as_long_as_they_can_be),
        cmocka_unit_test(offsets_are_64_bit),
        cmocka_unit_test(mul_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
