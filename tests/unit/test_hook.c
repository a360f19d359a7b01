/* The words of a hook, and how one that fails is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bench/gpu_lock.h"
#include "bench/hook.h"

static void words_are_split_as_by_a_shell(void **state)
{
    (void)state;
    char room[200], *words[SQ_HOOK_WORDS + 1];
    sq_error err = {.status = SQ_OK};
    assert_int_equal(
        sq_hook_split("  notify --to 'a b'  \"c \\\" d\"x $HOME e\\ f '' ", room, words, &err),
        SQ_OK);
    const char *const wanted[] = {"notify", "--to", "a b", "c \" dx", "$HOME", "e f", ""};
    for (int i = 0; i < 7; i++)
        assert_string_equal(words[i], wanted[i]);
    assert_null(words[7]);
    assert_int_equal(sq_hook_split("a 'b", room, words, &err), SQ_BAD_ARGUMENT);
    assert_int_equal(sq_hook_split(" \n", room, words, &err), SQ_BAD_ARGUMENT);
    char many[2 * (SQ_HOOK_WORDS + 1) + 1], more[sizeof many];
    for (size_t i = 0; i < sizeof many - 1; i++)
        many[i] = i % 2 ? ' ' : 'x';
    many[sizeof many - 1] = 0;
    assert_int_equal(sq_hook_split(many, more, words, &err), SQ_BAD_ARGUMENT);
    assert_int_equal(sq_hook_split(many + 2, more, words, &err), SQ_OK);
}

static void failures_are_told(void **state)
{
    (void)state;
    sq_error err = {.status = SQ_OK};
    assert_int_equal(sq_hook_run("true", 0, "fine", &err), SQ_OK);
    assert_int_equal(sq_hook_run("test $SEQMARK_EXIT_CODE = 2", 2, "", &err), SQ_IO); /* no shell */
    assert_int_equal(sq_hook_run("sh -c 'test $SEQMARK_EXIT_CODE = 2'", 2, "", &err), SQ_OK);
    assert_int_equal(sq_hook_run("sh -c 'exit 7'", 0, "", &err), SQ_IO);
    assert_string_equal(err.message, "the hook sh ended with exit code 7");
    assert_int_equal(sq_hook_run("no-such-program", 0, "", &err), SQ_IO);
    assert_string_equal(err.message,
                        "the hook no-such-program could not be run: is it there, and executable?");
    setenv(SQ_GPU_HELD, "GPU-1", 1);
    assert_int_equal(sq_hook_run("sh -c 'test -z \"$" SQ_GPU_HELD "\"'", 0, "", &err), SQ_OK);
    unsetenv(SQ_GPU_HELD);
    assert_int_equal(sq_hook_run("sh -c 'kill -9 $$'", 0, "", &err), SQ_IO);
    assert_string_equal(err.message, "the hook sh died of signal 9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_split_as_by_a_shell),
        cmocka_unit_test(failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
