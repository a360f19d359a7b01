/* Policies as the options of a command line: what is printed measures the same again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "bench/settings.h"

static void says(const sq_policy *policy, const char *options)
{
    sq_text text = {.data = NULL};
    sq_policy_options(policy, &text);
    assert_string_equal(text.data, options);
    sq_text_free(&text);
}

static void test_built_in_policies_are_their_names(void **state)
{
    (void)state;
    for (int i = 0; sq_policy_names[i]; i++) {
        char options[64] = " --policy ";
        strcat(options, sq_policy_names[i]);
        says(sq_policy_find(sq_policy_names[i]), options);
    }
    assert_null(sq_policy_find("quik"));
}

static void test_what_differs_is_said(void **state)
{
    (void)state;
    sq_policy policy = *sq_policy_find("paper");
    policy.max_seconds = 0.1;
    policy.max_samples = 77;
    policy.try_oom = true;
    policy.target_interval = 0.001;
    policy.rest = 0;
    says(&policy, " --policy paper --max-samples 77 --max-time 0.1s --target-interval 0.001 "
                  "--rest 0 --try-oom on");
}

static void test_a_rest_without_end_is_refused(void **state)
{
    (void)state;
    sq_settings settings = {.count = 0};
    sq_policy policy;
    assert_int_equal(sq_settings_set(&settings, "rest", "100", "test", NULL), SQ_OK);
    assert_int_equal(sq_settings_policy(&settings, &policy, NULL), SQ_OK);
    assert_true(policy.rest == 100);
    assert_int_equal(sq_settings_set(&settings, "rest", "101", "test", NULL), SQ_OK);
    assert_int_equal(sq_settings_policy(&settings, &policy, NULL), SQ_BAD_ARGUMENT);
    sq_settings_free(&settings);
}

static void test_cooldown_has_words(void **state)
{
    (void)state;
    static const char *const words[] = {"auto", "off", "7"};
    sq_settings settings = {.count = 0};
    sq_policy policy = *sq_policy_find("quick");
    for (int i = 0; i < 3; i++) {
        char text[32];
        assert_int_equal(sq_settings_set(&settings, "cooldown", words[i], "test", NULL), SQ_OK);
        assert_int_equal(sq_settings_policy(&settings, &policy, NULL), SQ_OK);
        for (const sq_policy_field *f = sq_policy_fields; f->setting; f++)
            if (f->kind == SQ_POLICY_COOLDOWN)
                sq_policy_format(&policy, f, text, sizeof text);
        assert_string_equal(text, words[i]);
    }
    says(&policy, " --policy quick --cooldown 7");
    assert_int_equal(sq_settings_set(&settings, "cooldown", "cold", "test", NULL), SQ_OK);
    assert_int_equal(sq_settings_policy(&settings, &policy, NULL), SQ_BAD_ARGUMENT);
    sq_settings_free(&settings);
}

/* Every field has a setting, and the setting sets that field and no other. */
static void test_each_setting_sets_its_field(void **state)
{
    (void)state;
    for (const sq_policy_field *f = sq_policy_fields; f->setting; f++) {
        sq_settings settings = {.count = 0};
        sq_policy policy, *quick = &(sq_policy){.warmup_launches = 0};
        const char *value = f->kind == SQ_POLICY_SWITCH ? "on" : "33";
        char text[32];
        *quick = *sq_policy_find("quick");
        assert_int_equal(sq_settings_set(&settings, f->setting, value, "test", NULL), SQ_OK);
        assert_int_equal(sq_settings_policy(&settings, &policy, NULL), SQ_OK);
        sq_policy_format(&policy, f, text, sizeof text);
        assert_string_equal(text, value);
        for (const sq_policy_field *other = sq_policy_fields; other->setting; other++) {
            char was[32];
            sq_policy_format(quick, other, was, sizeof was);
            sq_policy_format(&policy, other, text, sizeof text);
            if (other != f)
                assert_string_equal(text, was);
        }
        sq_settings_free(&settings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_built_in_policies_are_their_names),
        cmocka_unit_test(test_what_differs_is_said),
        cmocka_unit_test(test_a_rest_without_end_is_refused),
        cmocka_unit_test(test_cooldown_has_words),
        cmocka_unit_test(test_each_setting_sets_its_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
