/* Counter sets: the files, what a user may write, and their passes by CUPTI's own scheduler, which
 * needs no GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "profile/profile.h"
#include "profile/sets.h"

static const char *const chips[] = {"GH100", "GA100", "AD102", "GB202", "GB100"};
enum { CHIPS = sizeof chips / sizeof *chips };

static const sq_set_line *line_of(const sq_counter_set *set, const char *metric)
{
    for (int i = 0; i < set->n_images; i++)
        for (int k = 0; k < set->image[i].n; k++)
            if (strcmp(set->image[i].line[k].metric, metric) == 0)
                return &set->image[i].line[k];
    return NULL;
}

static void test_every_shipped_set_loads(void **state)
{
    (void)state;
    for (int c = 0; c < CHIPS; c++) {
        for (int i = 0; sq_set_names[i]; i++) {
            sq_counter_set *set = NULL;
            sq_error err = {.message = ""};
            int stated = 0;
            if (sq_set_load(sq_set_names[i], chips[c], &set, &err) != SQ_OK)
                fail_msg("%s", err.message);
            assert_string_equal(sq_set_folder(chips[c]), chips[c]);
            assert_int_equal(set->n_extra, 0); /* all are rows of the metric table */
            for (int k = 0; k < set->n_images; k++)
                stated += set->image[k].passes;
            assert_true(stated > 0);
            assert_int_equal(set->passes, stated);
            sq_set_free(set);
        }
    }
}

/* A set means the same on every chip, so far as the chip goes: rows can be compared. */
static void test_chips_count_the_same_metrics(void **state)
{
    (void)state;
    for (int c = 1; c < CHIPS; c++) {
        sq_counter_set *all, *hopper;
        assert_int_equal(sq_set_load("all", chips[c], &all, NULL), SQ_OK);
        assert_int_equal(sq_set_load("all", NULL, &hopper, NULL), SQ_OK);
        for (int i = 0; i < hopper->n_images; i++)
            for (int k = 0; k < hopper->image[i].n; k++)
                if (!line_of(all, hopper->image[i].line[k].metric))
                    fail_msg("%s: no %s", chips[c], hopper->image[i].line[k].metric);
        sq_set_free(all);
        sq_set_free(hopper);
    }
}

/* --- passes, by CUPTI's host library --- */

/* CUPTI's host library aborts under AddressSanitizer (it loads its parts with RTLD_DEEPBIND). */
static void need_cupti(void)
{
    const char *const one[] = {"sm__inst_executed.sum"};
    sq_error err = {.message = ""};
    int passes;
#if defined(__SANITIZE_ADDRESS__)
    skip();
#endif
    if (sq_counters_offline_passes("GH100", false, one, 1, &passes, &err) != SQ_OK) {
        print_message("skipped: %s\n", err.message);
        skip();
    }
}

static void check_image(const char *chip, const sq_set_image *image, bool is_sampled)
{
    const char *names[SQ_SET_MAX_METRICS];
    int n = 0, passes = 0;
    sq_error err = {.message = ""};
    for (int i = 0; i < image->n; i++)
        if (image->line[i].cupti)
            names[n++] = image->line[i].cupti;
    if (sq_counters_offline_passes(chip, is_sampled, names, n, &passes, &err) != SQ_OK)
        fail_msg("%s %s: %s", chip, image->name, err.message);
    if (passes != image->passes)
        fail_msg("%s %s takes %d passes, not %d", chip, image->name, passes, image->passes);
}

static void test_passes_are_as_stated(void **state)
{
    (void)state;
    need_cupti();
    for (int c = 0; c < CHIPS; c++) {
        for (int i = 0; sq_set_names[i]; i++) {
            sq_counter_set *set;
            assert_int_equal(sq_set_load(sq_set_names[i], chips[c], &set, NULL), SQ_OK);
            for (int k = 0; k < set->n_images && strcmp(sq_set_names[i], "all") != 0; k++)
                check_image(chips[c], &set->image[k], strcmp(sq_set_names[i], "timeline") == 0);
            sq_set_free(set);
        }
    }
}

static void test_what_a_campaign_and_a_timeline_cost(void **state)
{
    (void)state;
    static const struct {
        const char *set;
        int passes;
    } hopper[] = {{"basic", 1}, {"roofline", 4}, {"stalls", 4}, {"flops", 1}, {"timeline", 1}};
    for (size_t i = 0; i < sizeof hopper / sizeof *hopper; i++) {
        sq_counter_set *set;
        assert_int_equal(sq_set_load(hopper[i].set, "GH100", &set, NULL), SQ_OK);
        assert_int_equal(set->passes, hopper[i].passes);
        sq_set_free(set);
    }
    for (int c = 0; c < CHIPS; c++) {
        sq_counter_set *set;
        assert_int_equal(sq_set_load("basic,timeline", chips[c], &set, NULL), SQ_OK);
        assert_int_equal(set->passes, 2);
        assert_int_equal(set->n_images, 2);
        sq_set_free(set);
    }
}

/* --- a user's file --- */

static sq_status load_text(const char *text, sq_counter_set **out, sq_error *err)
{
    char path[] = "/tmp/seqmark-set-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    sq_status s = sq_set_load(path, "GB202", out, err);
    unlink(path);
    return s;
}

static void test_a_file_of_the_users_own(void **state)
{
    (void)state;
    sq_counter_set *set;
    sq_error err = {.message = ""};
    sq_status s = load_text("# mine\n  passes 3 # as ncu says\ninstructions\n\n"
                            "dram_bytes_read dram__bytes_op_read.sum\n"
                            "my_hits lts__t_sectors_lookup_hit.sum\n"
                            "lts__t_requests.sum\ninclude flops\n",
                            &set, &err);
    if (s != SQ_OK)
        fail_msg("%s", err.message);
    assert_int_equal(set->n_images, 2);
    assert_int_equal(set->image[0].passes, 3);
    assert_string_equal(line_of(set, "instructions")->cupti, "sm__inst_executed.sum");
    assert_string_equal(line_of(set, "dram_bytes_read")->cupti, "dram__bytes_op_read.sum");
    assert_int_equal(set->n_extra, 2);
    assert_string_equal(set->extra[0].name, "my_hits");
    assert_string_equal(set->extra[0].source, "cupti:lts__t_sectors_lookup_hit.sum");
    assert_string_equal(set->extra[1].name, "lts__t_requests.sum");
    assert_non_null(line_of(set, "thread_ffma"));
    sq_set_free(set);
}

static void test_bad_sets_are_refused_with_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"instructions\nnonsense\n", "line 2: neither a metric of seqmark nor a CUPTI name"},
        {"instructions\ninstructions\n", "line 2: a second time"},
        {"flops\n", "line 1: not a counted metric"},
        {"passes many\ninstructions\n", "line 1: no number of passes"},
        {"\ninclude nothing\n", "line 2: unknown set \"nothing\""},
        {"instructions sm__inst_executed.sum more\n", "line 1: more than two words"},
        {"my_own -\n", "line 1: neither"},
        {"# only words\n", "names no metric"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sq_counter_set *set;
        sq_error err = {.message = ""};
        assert_int_equal(load_text(bad[i].text, &set, &err), SQ_BAD_ARGUMENT);
        assert_null(set);
        if (!strstr(err.message, bad[i].says))
            fail_msg("\"%s\" lacks \"%s\"", err.message, bad[i].says);
    }
}

static void test_unknown_names_of_sets(void **state)
{
    (void)state;
    sq_counter_set *set;
    sq_error err = {.message = ""};
    assert_int_equal(sq_set_load("rooflin", NULL, &set, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "did you mean \"roofline\""));
    assert_int_equal(sq_set_load("./nowhere.txt", NULL, &set, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "nowhere.txt"));
    assert_int_equal(sq_set_load("", NULL, &set, &err), SQ_BAD_ARGUMENT);
}

static void test_chips_without_sets_use_the_nearest(void **state)
{
    (void)state;
    assert_string_equal(sq_set_folder("GB203"), "GB202");
    assert_string_equal(sq_set_folder("AD104"), "AD102");
    assert_string_equal(sq_set_folder("GB102"), "GB100");
    assert_string_equal(sq_set_folder("GA102"), "AD102");
    assert_string_equal(sq_set_folder("XY900"), "GH100");
    assert_string_equal(sq_set_folder(NULL), "GH100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_shipped_set_loads),
        cmocka_unit_test(test_chips_count_the_same_metrics),
        cmocka_unit_test(test_passes_are_as_stated),
        cmocka_unit_test(test_what_a_campaign_and_a_timeline_cost),
        cmocka_unit_test(test_a_file_of_the_users_own),
        cmocka_unit_test(test_bad_sets_are_refused_with_their_line),
        cmocka_unit_test(test_unknown_names_of_sets),
        cmocka_unit_test(test_chips_without_sets_use_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
