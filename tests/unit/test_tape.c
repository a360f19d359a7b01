/* Tapes of golden data, as they are built: failures are kept, and what follows one does nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "bench/verify/tape.h"

static const int64_t one[] = {1};

/* Lists grow by 64: with so many variables, and with none, the next one asks for memory. */
static void a_refused_tape_stays_whole(int variables)
{
    sq_error err = {.status = SQ_OK};
    sq_tape *tape = sq_tape_new(NULL, SQ_DTYPE_F32);
    assert_non_null(tape);
    for (int i = 0; i < variables; i++)
        assert_int_equal(sq_tape_constant(tape, i, 1, one), i);
    sq_tape_refuse(tape, SQ_UNSUPPORTED, "no operator for %d", variables);
    sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "a later failure");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sq_tape_constant(tape, 1, 1, one), SQ_VAR_NONE);
        assert_int_equal(sq_tape_values(tape, (double[]){1}, 1, one), SQ_VAR_NONE);
    }
    assert_int_equal(sq_tape_layout(tape, 0, "0"), SQ_VAR_NONE);
    assert_int_equal(sq_tape_status(tape, &err), SQ_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no operator for"));
    sq_tape_free(tape);
}

static void a_refusal_at_the_border_of_a_block(void **state)
{
    (void)state;
    a_refused_tape_stays_whole(0);
    a_refused_tape_stays_whole(1);
    a_refused_tape_stays_whole(64);
    a_refused_tape_stays_whole(128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_at_the_border_of_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
