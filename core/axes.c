#include "core/axes.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"

enum { ITEM_MAX = 128, SHOWN = 32 };

int sq_axis_count(const sq_axis *axes)
{
    int n = 0;
    while (axes && axes[n].name)
        n++;
    return n;
}

int sq_axis_find(const sq_axis *axes, const char *name)
{
    for (int i = 0; axes && axes[i].name; i++)
        if (strcmp(axes[i].name, name) == 0 || (axes[i].flag && strcmp(axes[i].flag, name) == 0))
            return i;
    return -1;
}

void sq_axis_defaults(const sq_axis *axes, sq_axis_value *value)
{
    for (int i = 0; axes && axes[i].name; i++)
        value[i] = axes[i].def;
}

static int choice_count(const sq_axis *axis)
{
    int n = 0;
    while (axis->choices[n])
        n++;
    return n;
}

void sq_axis_format(const sq_axis *axis, sq_axis_value value, char *out, size_t size)
{
    value += 0.0; /* no "-0" */
    if (axis->kind == SQ_AXIS_CHOICE) {
        bool is_known = value >= 0 && value < choice_count(axis);
        snprintf(out, size, "%s", is_known ? axis->choices[(int)value] : "?");
    } else if (value == floor(value) && fabs(value) < 1e16) {
        snprintf(out, size, "%.0f", value);
    } else {
        snprintf(out, size, "%.9g", value);
    }
}

/* The rules every number of an axis obeys. */
static sq_status check_number(const sq_axis *axis, sq_axis_value value, sq_error *err)
{
    char shown[SHOWN], min[SHOWN], max[SHOWN];
    sq_axis_format(axis, value, shown, sizeof shown);
    sq_axis_format(axis, axis->min, min, sizeof min);
    sq_axis_format(axis, axis->max, max, sizeof max);
    if (!(value >= axis->min && value <= axis->max))
        return sq_fail(err, SQ_BAD_ARGUMENT, "axis %s: %s is outside [%s, %s]", axis->name, shown,
                       min, max);
    if (axis->kind == SQ_AXIS_INT && value != floor(value))
        return sq_fail(err, SQ_BAD_ARGUMENT, "axis %s: %s is not an integer in [%s, %s]",
                       axis->name, shown, min, max);
    return SQ_OK;
}

static sq_status parse_choice(const sq_axis *axis, const char *text, sq_axis_value *out,
                              sq_error *err)
{
    char what[80];
    int index = 0;
    snprintf(what, sizeof what, "value of axis %.60s", axis->name);
    SQ_TRY(sq_find_name(what, text, axis->choices, &index, err));
    *out = index;
    return SQ_OK;
}

sq_status sq_axis_parse(const sq_axis *axis, const char *text, sq_axis_value *out, sq_error *err)
{
    double value;
    if (axis->kind == SQ_AXIS_CHOICE)
        return parse_choice(axis, text, out, err);
    if (!sq_parse_number(text, &value))
        return sq_fail(err, SQ_BAD_ARGUMENT, "axis %s: \"%.64s\" is not a number", axis->name,
                       text);
    SQ_TRY(check_number(axis, value, err));
    *out = value + 0.0;
    return SQ_OK;
}

/* --- lists --- */

/* "first..last*step" or "first..last+step". */
typedef struct {
    double first, last, step;
    bool is_geometric;
} range;

static sq_status append(const sq_axis *axis, sq_axis_value value, sq_axis_value *out, int *count,
                        sq_error *err)
{
    if (*count == SQ_MAX_AXIS_VALUES)
        return sq_fail(err, SQ_BAD_ARGUMENT, "axis %s: more than %d values", axis->name,
                       SQ_MAX_AXIS_VALUES);
    out[(*count)++] = value;
    return SQ_OK;
}

/* False where `text` is not of the range form at all. */
static bool scan_range(const char *text, range *r)
{
    const char *at;
    if (!sq_scan_number(text, &r->first, &at) || strncmp(at, "..", 2) != 0)
        return false;
    if (!sq_scan_number(at + 2, &r->last, &at) || (*at != '*' && *at != '+'))
        return false;
    r->is_geometric = *at == '*';
    return sq_parse_number(at + 1, &r->step);
}

static sq_status check_range(const sq_axis *axis, const char *text, const range *r, sq_error *err)
{
    const char *rule = NULL;
    if (r->is_geometric && !(r->step > 1))
        rule = "the factor must be above 1";
    else if (r->is_geometric && !(r->first > 0))
        rule = "a geometric range starts above 0";
    else if (!(r->step > 0))
        rule = "the step must be above 0";
    else if (r->first > r->last)
        rule = "it ends before it starts";
    if (rule)
        return sq_fail(err, SQ_BAD_ARGUMENT, "axis %s: range \"%.64s\": %s", axis->name, text,
                       rule);
    SQ_TRY(check_number(axis, r->first, err));
    return check_number(axis, r->last, err);
}

/* append() bounds the loop even where a step is lost in rounding. */
static sq_status expand_range(const sq_axis *axis, const char *text, sq_axis_value *out, int *count,
                              sq_error *err)
{
    range r;
    if (!scan_range(text, &r))
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "axis %s: \"%.64s\" is no range; write a..b*factor or a..b+step", axis->name,
                       text);
    SQ_TRY(check_range(axis, text, &r, err));
    double slack = 1e-9 * fmax(fabs(r.first), fabs(r.last)); /* 0.1 + 9 * 0.1 is to reach 1 */
    double value = r.first;
    for (int i = 1; value <= r.last + slack; i++) {
        double exact = fabs(value - r.last) <= slack ? r.last : value;
        SQ_TRY(check_number(axis, exact, err));
        SQ_TRY(append(axis, exact + 0.0, out, count, err));
        value = r.is_geometric ? value * r.step : r.first + i * r.step;
    }
    return SQ_OK;
}

/* Cuts the next comma-separated item of *text into item[] and moves behind its comma; *text becomes
 * NULL behind the last. */
static sq_status next_item(const char *what, const char **text, char item[ITEM_MAX], sq_error *err)
{
    const char *comma = strchr(*text, ',');
    size_t length = comma ? (size_t)(comma - *text) : strlen(*text);
    if (length == 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: empty item in the list", what);
    if (length >= ITEM_MAX)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: item \"%.40s...\" is too long", what, *text);
    memcpy(item, *text, length);
    item[length] = '\0';
    *text = comma ? comma + 1 : NULL;
    return SQ_OK;
}

sq_status sq_axis_parse_list(const sq_axis *axis, const char *text, sq_axis_value *out, int *count,
                             sq_error *err)
{
    char what[80], item[ITEM_MAX];
    int n = 0;
    snprintf(what, sizeof what, "axis %.60s", axis->name);
    while (text) {
        SQ_TRY(next_item(what, &text, item, err));
        if (axis->kind != SQ_AXIS_CHOICE && strstr(item, "..")) {
            SQ_TRY(expand_range(axis, item, out, &n, err));
        } else {
            sq_axis_value value;
            SQ_TRY(sq_axis_parse(axis, item, &value, err));
            SQ_TRY(append(axis, value, out, &n, err));
        }
    }
    *count = n;
    return SQ_OK;
}

/* --- assignments --- */

static sq_status fail_unknown_axis(const sq_axis *axes, const char *name, sq_error *err)
{
    const char *known[2 * SQ_MAX_AXES + 1];
    int n = 0;
    for (int i = 0; axes && axes[i].name && i < SQ_MAX_AXES; i++) {
        known[n++] = axes[i].name;
        if (axes[i].flag && strcmp(axes[i].flag, axes[i].name) != 0)
            known[n++] = axes[i].flag;
    }
    known[n] = NULL;
    return sq_fail_unknown(err, "axis", name, known);
}

static sq_status assign(const sq_axis *axes, char *item, sq_axis_value *value, unsigned *set,
                        sq_error *err)
{
    char *equals = strchr(item, '=');
    if (!equals)
        return sq_fail(err, SQ_BAD_ARGUMENT, "\"%.64s\" is no assignment; write axis=value", item);
    *equals = '\0';
    int i = sq_axis_find(axes, item);
    if (i < 0)
        return fail_unknown_axis(axes, item, err);
    if (*set & 1u << i)
        return sq_fail(err, SQ_BAD_ARGUMENT, "axis %s is given twice", axes[i].name);
    *set |= 1u << i;
    return sq_axis_parse(&axes[i], equals + 1, &value[i], err);
}

sq_status sq_axis_parse_assignments(const sq_axis *axes, const char *text, sq_axis_value *value,
                                    sq_error *err)
{
    char item[ITEM_MAX];
    unsigned set = 0;
    sq_axis_defaults(axes, value);
    if (!*text)
        return SQ_OK;
    while (text) {
        SQ_TRY(next_item("assignments", &text, item, err));
        SQ_TRY(assign(axes, item, value, &set, err));
    }
    return SQ_OK;
}
