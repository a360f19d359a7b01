/* cell: the canonical key, its hash, and the names in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/cell.h"

static const char *const positions[] = {"none", "rope", NULL};
static const sq_axis axes[] = {
    {"B", "batch", "", SQ_AXIS_INT, 8, 1, 1e6, NULL},
    {"L", "seqlen", "", SQ_AXIS_INT, 2048, 1, 1e12, NULL},
    {"scale", "scale", "", SQ_AXIS_REAL, 0.125, 0, 10, NULL},
    {"pos", "pos", "", SQ_AXIS_CHOICE, 0, 0, 1, positions},
    {.name = NULL},
};

static sq_cell attention(void)
{
    sq_cell cell = {.kind = SQ_KIND_OP, .subject = "attention", .provider = "cuda/portable",
                    .pass = SQ_PASS_FWD, .dtype = SQ_DTYPE_BF16, .axes = axes};
    sq_axis_defaults(axes, cell.value);
    return cell;
}

static void the_key_holds_everything_in_order(void **state)
{
    (void)state;
    char key[SQ_KEY_MAX];
    sq_cell cell = attention();
    sq_cell_key(&cell, key);
    assert_string_equal(key, "attention@cuda/portable/fwd/bf16/B=8,L=2048,scale=0.125,pos=none/"
                             "clean-cold,plain,unlocked");
    cell.kind = SQ_KIND_BLOCK;
    snprintf(cell.subject, sizeof cell.subject, "mamba");
    cell.pass = SQ_PASS_STEP;
    cell.cache = SQ_CACHE_HOT;
    cell.value[1] = 1e9;
    sq_cell_key(&cell, key);
    assert_string_equal(key, "block:mamba@cuda/portable/step/bf16/B=8,L=1000000000,scale=0.125,"
                             "pos=none/hot,plain,unlocked");
}

static void a_cell_without_axes_has_a_key(void **state)
{
    (void)state;
    char key[SQ_KEY_MAX];
    sq_cell cell = {.subject = "x", .provider = "cpu/ref", .axes = NULL};
    sq_cell_key(&cell, key);
    assert_string_equal(key, "x@cpu/ref/fwd/f32//clean-cold,plain,unlocked");
    assert_true(sq_cell_axis(&cell, "L", -1) == -1);
}

/* Any one field makes another key. */
static void every_field_tells(void **state)
{
    (void)state;
    sq_cell cells[12];
    char key[12][SQ_KEY_MAX];
    for (int i = 0; i < 12; i++)
        cells[i] = attention();
    cells[1].kind = SQ_KIND_BLOCK;
    cells[2].subject[0] = 'b';
    cells[3].provider[0] = 'b';
    cells[4].pass = SQ_PASS_BWD;
    cells[5].dtype = SQ_DTYPE_F16;
    cells[6].value[0] = 9;
    cells[7].value[3] = 1;
    cells[8].cache = SQ_CACHE_HOT;
    cells[9].launch = SQ_LAUNCH_GRAPH;
    cells[10].clock = 1200;
    cells[11].clock = SQ_CLOCK_BASE;
    for (int i = 0; i < 12; i++) {
        sq_cell_key(&cells[i], key[i]);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(key[i], key[k]);
    }
}

static void the_longest_key_stays_in_its_room(void **state)
{
    (void)state;
    sq_axis many[SQ_MAX_AXES + 1] = {{.name = NULL}};
    char key[SQ_KEY_MAX + 1];
    sq_cell cell = attention();
    for (int i = 0; i < SQ_MAX_AXES; i++) {
        many[i] = (sq_axis){"a_name_of_thirty_two_characters_", NULL, "", SQ_AXIS_REAL, 0, 0, 1,
                            NULL};
        cell.value[i] = 1.23456789e-100;
    }
    cell.axes = many;
    key[SQ_KEY_MAX] = '!';
    sq_cell_key(&cell, key);
    assert_int_equal(strlen(key), SQ_KEY_MAX - 1);
    assert_int_equal(key[SQ_KEY_MAX], '!');
}

/* Test vectors of the FNV-1a draft. */
static void hash_is_fnv_1a(void **state)
{
    (void)state;
    char hash[SQ_HASH_TEXT];
    sq_hash_text("", hash);
    assert_string_equal(hash, "cbf29ce484222325");
    sq_hash_text("a", hash);
    assert_string_equal(hash, "af63dc4c8601ec8c");
    sq_hash_text("foobar", hash);
    assert_string_equal(hash, "85944171f73967e8");
    sq_hash_text("\xff", hash);
    assert_string_equal(hash, "af64724c8602eb6e");
}

static void axis_by_name_or_flag(void **state)
{
    (void)state;
    sq_cell cell = attention();
    assert_true(sq_cell_axis(&cell, "L", -1) == 2048);
    assert_true(sq_cell_axis(&cell, "seqlen", -1) == 2048);
    assert_true(isnan(sq_cell_axis(&cell, "H", NAN)));
}

static void names_parse_back(void **state)
{
    (void)state;
    sq_error err;
    for (int i = 0; i < SQ_PASS_COUNT; i++) {
        sq_pass pass = SQ_PASS_COUNT;
        assert_int_equal(sq_pass_parse(sq_pass_name((sq_pass)i), &pass, &err), SQ_OK);
        assert_int_equal(pass, i);
    }
    for (int i = 0; i < SQ_CACHE_COUNT; i++) {
        sq_cache cache = SQ_CACHE_COUNT;
        assert_int_equal(sq_cache_parse(sq_cache_name((sq_cache)i), &cache, &err), SQ_OK);
        assert_int_equal(cache, i);
    }
    for (int i = 0; i < SQ_LAUNCH_COUNT; i++) {
        sq_launch launch = SQ_LAUNCH_COUNT;
        assert_int_equal(sq_launch_parse(sq_launch_name((sq_launch)i), &launch, &err), SQ_OK);
        assert_int_equal(launch, i);
    }
    sq_pass pass;
    sq_cache cache;
    assert_int_equal(sq_pass_parse("fwdbwb", &pass, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "\"fwdbwd\""));
    assert_int_equal(sq_cache_parse("FWD", &cache, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "clean-cold, dirty-cold, hot, rotate"));
    sq_launch launch;
    assert_int_equal(sq_launch_parse("grpah", &launch, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "\"graph\""));
}

static void clocks_parse_back(void **state)
{
    (void)state;
    static const sq_clock clocks[] = {SQ_CLOCK_UNLOCKED, SQ_CLOCK_BASE, 1, 1200, SQ_CLOCK_MOST_MHZ};
    static const char *const names[] = {"unlocked", "locked@base", "locked@1", "locked@1200",
                                        "locked@9999"};
    static const char *const wrong[] = {"",           "locked",      "locked@",    "locked@0",
                                        "locked@-1",  "locked@12x",  "locked@ 12", "locked@12000",
                                        "locked@012", "unlocked@12", "Unlocked"};
    sq_error err = {.message = ""};
    sq_clock clock;
    char text[SQ_CLOCK_TEXT];
    for (int i = 0; i < 5; i++) {
        sq_clock_format(clocks[i], text);
        assert_string_equal(text, names[i]);
        assert_int_equal(sq_clock_parse(text, &clock, &err), SQ_OK);
        assert_int_equal(clock, clocks[i]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (sq_clock_parse(wrong[i], &clock, &err) != SQ_BAD_ARGUMENT)
            fail_msg("\"%s\" is taken for a clock", wrong[i]);
}

static void a_batch_is_never_cold(void **state)
{
    (void)state;
    for (int cache = 0; cache < SQ_CACHE_COUNT; cache++) {
        bool is_cold = cache == SQ_CACHE_CLEAN_COLD || cache == SQ_CACHE_DIRTY_COLD;
        sq_error err = {.status = SQ_OK};
        assert_int_equal(sq_modes_check((sq_cache)cache, SQ_LAUNCH_BATCH, &err),
                         is_cold ? SQ_BAD_ARGUMENT : SQ_OK);
        assert_true(!is_cold || strstr(err.message, "hot or rotate"));
        assert_int_equal(sq_modes_check((sq_cache)cache, SQ_LAUNCH_GRAPH, &err), SQ_OK);
        assert_int_equal(sq_modes_check((sq_cache)cache, SQ_LAUNCH_PLAIN, &err), SQ_OK);
    }
}

static void names_of_nothing(void **state)
{
    (void)state;
    assert_string_equal(sq_kind_name(SQ_KIND_COUNT), "unknown");
    assert_string_equal(sq_pass_name((sq_pass)-1), "unknown");
    assert_string_equal(sq_launch_name(SQ_LAUNCH_COUNT), "unknown");
    assert_string_equal(sq_kind_name(SQ_KIND_BLOCK), "block");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_holds_everything_in_order),
        cmocka_unit_test(a_cell_without_axes_has_a_key),
        cmocka_unit_test(every_field_tells),
        cmocka_unit_test(the_longest_key_stays_in_its_room),
        cmocka_unit_test(hash_is_fnv_1a),
        cmocka_unit_test(axis_by_name_or_flag),
        cmocka_unit_test(names_parse_back),
        cmocka_unit_test(clocks_parse_back),
        cmocka_unit_test(a_batch_is_never_cold),
        cmocka_unit_test(names_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
