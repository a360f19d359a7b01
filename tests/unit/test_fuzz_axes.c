/* fuzz: random bytes and random mixtures of the grammar's own pieces for the parsers of core.
 *
 * Nothing may crash, overrun (the sanitizer preset watches) or loop, and whatever is accepted obeys
 * the axis. A failure prints the seed and the text; SQ_FUZZ_SEED and SQ_FUZZ_ROUNDS replay and
 * lengthen it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/axes.h"
#include "core/dtype.h"
#include "core/rng.h"
#include "core/text.h"

static const char *const positions[] = {"none", "rope", "alibi", NULL};
static const sq_axis axes[] = {
    {"B", "batch", "", SQ_AXIS_INT, 8, 1, 65536, NULL},
    {"L", "seqlen", "", SQ_AXIS_INT, 2048, 1, 16777216, NULL},
    {"x", "x", "", SQ_AXIS_REAL, 0, -1e300, 1e300, NULL},
    {"pos", "position", "", SQ_AXIS_CHOICE, 0, 0, 2, positions},
    {.name = NULL},
};

enum { TEXT_MAX = 64, GUARD = 0x5a };

typedef struct {
    uint64_t seed;
    uint32_t round;
    int64_t drawn;
} source;

static uint32_t draw(source *s, uint32_t below)
{
    return (uint32_t)(sq_rng_bits(s->seed, s->round, s->drawn++) >> 32) % below;
}

/* Even rounds: pieces of the grammar; odd ones: any byte but NUL. */
static void draw_text(source *s, char text[TEXT_MAX])
{
    static const char *const pieces[] = {
        "1",  "2", "8",  "64",  "0",   "..",   "*",    "+",    ",",     "=",    ".",
        "k",  "M", "g",  "e",   "-",   "1e9",  "1e308", "-1",  "0.5",   "B",    "L",
        "seqlen", "pos", "rope", "none", "nan", "inf",  "0x1", "..8*2", "..9+1", " "};
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t n = draw(s, 12); n > 0; n--) {
        if (s->round % 2) {
            text[used++] = (char)(1 + draw(s, 255));
            text[used] = '\0';
            continue;
        }
        const char *piece = pieces[draw(s, sizeof pieces / sizeof *pieces)];
        if (used + strlen(piece) >= TEXT_MAX)
            return;
        used += (size_t)snprintf(text + used, TEXT_MAX - used, "%s", piece);
    }
}

static bool obeys(const sq_axis *axis, double value)
{
    return value >= axis->min && value <= axis->max &&
           (axis->kind == SQ_AXIS_REAL || value == floor(value));
}

/* A refusal says so, names the axis, and ends within its room. */
static bool is_refusal(sq_status status, const sq_error *err)
{
    return status == SQ_BAD_ARGUMENT && err->status == SQ_BAD_ARGUMENT && err->message[0] &&
           memchr(err->message, '\0', sizeof err->message);
}

static bool try_list(const sq_axis *axis, const char *text)
{
    struct {
        double value[SQ_MAX_AXIS_VALUES];
        unsigned char guard[64];
    } room;
    memset(room.guard, GUARD, sizeof room.guard);
    sq_error err = {.message = ""};
    int count = 0;
    sq_status status = sq_axis_parse_list(axis, text, room.value, &count, &err);
    for (size_t i = 0; i < sizeof room.guard; i++)
        if (room.guard[i] != GUARD)
            return false;
    if (status != SQ_OK)
        return is_refusal(status, &err) && strstr(err.message, axis->name);
    if (count < 1 || count > SQ_MAX_AXIS_VALUES)
        return false;
    for (int i = 0; i < count; i++)
        if (!obeys(axis, room.value[i]))
            return false;
    return true;
}

/* What is accepted prints canonically, and the canonical text means the same. */
static bool try_value(const sq_axis *axis, const char *text)
{
    sq_error err = {.message = ""};
    double value = 0, again = 0;
    char shown[64];
    sq_status status = sq_axis_parse(axis, text, &value, &err);
    if (status != SQ_OK)
        return is_refusal(status, &err);
    sq_axis_format(axis, value, shown, sizeof shown);
    return obeys(axis, value) && sq_axis_parse(axis, shown, &again, NULL) == SQ_OK &&
           fabs(again - value) <= 1e-8 * fabs(value);
}

static bool try_assignments(const char *text)
{
    double value[SQ_MAX_AXES];
    sq_error err = {.message = ""};
    sq_status status = sq_axis_parse_assignments(axes, text, value, &err);
    if (status != SQ_OK)
        return is_refusal(status, &err);
    for (int i = 0; axes[i].name; i++)
        if (!obeys(&axes[i], value[i]))
            return false;
    return true;
}

static bool try_numbers(const char *text)
{
    double value = 0;
    const char *end = NULL;
    bool is_scanned = sq_scan_number(text, &value, &end);
    if (end < text || end > text + strlen(text) || is_scanned != (end > text) || !isfinite(value))
        return false;
    if (sq_parse_number(text, &value) && (!isfinite(value) || !is_scanned))
        return false;
    return !sq_parse_duration(text, &value) || (isfinite(value) && value >= 0);
}

static bool try_names(const char *text)
{
    sq_error err = {.message = ""};
    sq_dtype dtype;
    const char *nearest = sq_nearest(text, positions);
    sq_status status = sq_dtype_parse(text, &dtype, &err);
    return (!nearest || strlen(nearest) > 0) && (status == SQ_OK || is_refusal(status, &err));
}

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 0) : otherwise;
}

static void parsers_survive_and_keep_their_word(void **state)
{
    (void)state;
    source s = {.seed = (uint64_t)setting("SQ_FUZZ_SEED", 20260729)};
    long rounds = setting("SQ_FUZZ_ROUNDS", 60000);
    long accepted = 0;
    for (long round = 0; round < rounds; round++) {
        char text[TEXT_MAX];
        s.round = (uint32_t)round;
        s.drawn = 0;
        draw_text(&s, text);
        bool is_good = try_numbers(text) && try_names(text) && try_assignments(text);
        for (int i = 0; axes[i].name; i++) {
            double value[SQ_MAX_AXIS_VALUES];
            int count = 0;
            is_good = is_good && try_list(&axes[i], text) && try_value(&axes[i], text);
            accepted += sq_axis_parse_list(&axes[i], text, value, &count, NULL) == SQ_OK;
        }
        if (!is_good)
            fail_msg("SQ_FUZZ_SEED=%llu, round %ld: \"%s\"", (unsigned long long)s.seed, round,
                     text);
    }
    assert_true(accepted > rounds / 100); /* the fuzz reaches beyond the first refusal */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parsers_survive_and_keep_their_word)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
