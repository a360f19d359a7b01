#include "core/axes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"

int sq_axis_count(const sq_axis *axes)
{
    int count = 0;
    while (axes[count].name)
        count++;
    return count;
}

int sq_axis_find(const sq_axis *axes, const char *name)
{
    for (int i = 0; axes[i].name; i++)
        if (strcmp(axes[i].name, name) == 0 || (axes[i].flag && strcmp(axes[i].flag, name) == 0))
            return i;
    return -1;
}

void sq_axis_defaults(const sq_axis *axes, sq_axis_value *value)
{
    for (int i = 0; axes[i].name; i++)
        value[i] = axes[i].def;
}

static sq_status check_range(const sq_axis *axis, double value, const char *text, sq_error *err)
{
    if (axis->kind == SQ_AXIS_INT && value != floor(value))
        return sq_fail(err, SQ_BAD_ARGUMENT, "axis %s: \"%s\" is not a whole number", axis->name,
                       text);
    if (!(value >= axis->min && value <= axis->max))
        return sq_fail(err, SQ_BAD_ARGUMENT, "axis %s: %s is outside %.15g..%.15g", axis->name,
                       text, axis->min, axis->max);
    return SQ_OK;
}

sq_status sq_axis_parse(const sq_axis *axis, const char *text, sq_axis_value *out, sq_error *err)
{
    if (axis->kind == SQ_AXIS_CHOICE) {
        for (int i = 0; axis->choices[i]; i++) {
            if (strcmp(axis->choices[i], text) == 0) {
                *out = i;
                return SQ_OK;
            }
        }
        return sq_fail_unknown(err, axis->name, text, axis->choices);
    }
    double value;
    if (!sq_parse_number(text, &value))
        return sq_fail(err, SQ_BAD_ARGUMENT, "axis %s: \"%s\" is not a number", axis->name, text);
    SQ_TRY(check_range(axis, value, text, err));
    *out = value;
    return SQ_OK;
}

typedef struct {
    const sq_axis *axis;
    sq_axis_value *out;
    int *count;
    sq_error *err;
} list_parser;

static sq_status append(const list_parser *p, double value)
{
    if (*p->count >= SQ_MAX_AXIS_VALUES)
        return sq_fail(p->err, SQ_BAD_ARGUMENT, "axis %s: more than %d values", p->axis->name,
                       SQ_MAX_AXIS_VALUES);
    p->out[(*p->count)++] = value;
    return SQ_OK;
}

/* "a..b*f" or "a..b+s"; `range` points at the "..". */
static sq_status append_range(const list_parser *p, char *item, char *range)
{
    const char *name = p->axis->name;
    char *operator_at = strpbrk(range + 2, "*+");
    if (p->axis->kind == SQ_AXIS_CHOICE || !operator_at)
        return sq_fail(p->err, SQ_BAD_ARGUMENT,
                       "axis %s: \"%s\" is no range; write a..b*factor or a..b+step", name, item);
    char operation = *operator_at;
    double first, last, step;
    *range = *operator_at = '\0';
    SQ_TRY(sq_axis_parse(p->axis, item, &first, p->err));
    SQ_TRY(sq_axis_parse(p->axis, range + 2, &last, p->err));
    if (!sq_parse_number(operator_at + 1, &step) ||
        !(operation == '*' ? step > 1 && first > 0 : step > 0))
        return sq_fail(p->err, SQ_BAD_ARGUMENT,
                       "axis %s: a range needs a factor above 1 (from above 0) or a step above 0, "
                       "not \"%c%s\"",
                       name, operation, operator_at + 1);
    for (double value = first; value <= last;) {
        SQ_TRY(append(p, p->axis->kind == SQ_AXIS_INT ? round(value) : value));
        double next = operation == '*' ? value * step : value + step;
        if (!(next > value))
            break;
        value = next;
    }
    return SQ_OK;
}

sq_status sq_axis_parse_list(const sq_axis *axis, const char *text, sq_axis_value *out, int *count,
                             sq_error *err)
{
    list_parser parser = {axis, out, count, err};
    *count = 0;
    char item[128];
    for (const char *start = text;; start++) {
        size_t length = strcspn(start, ",");
        if (length == 0 || length >= sizeof item)
            return sq_fail(err, SQ_BAD_ARGUMENT, "axis %s: empty or overlong item in \"%.60s\"",
                           axis->name, text);
        memcpy(item, start, length);
        item[length] = '\0';
        char *range = strstr(item, "..");
        if (range) {
            SQ_TRY(append_range(&parser, item, range));
        } else {
            double value;
            SQ_TRY(sq_axis_parse(axis, item, &value, err));
            SQ_TRY(append(&parser, value));
        }
        start += length;
        if (!*start)
            return *count ? SQ_OK
                          : sq_fail(err, SQ_BAD_ARGUMENT, "axis %s: \"%.60s\" is an empty range",
                                    axis->name, text);
    }
}

static sq_status assign(const sq_axis *axes, char *item, sq_axis_value *value, sq_error *err)
{
    char *equals = strchr(item, '=');
    if (!equals)
        return sq_fail(err, SQ_BAD_ARGUMENT, "\"%s\" is not of the form axis=value", item);
    *equals = '\0';
    int i = sq_axis_find(axes, item);
    if (i < 0) {
        const char *names[SQ_MAX_AXES + 1] = {NULL};
        for (int k = 0; axes[k].name && k < SQ_MAX_AXES; k++)
            names[k] = axes[k].name;
        return sq_fail_unknown(err, "axis", item, names);
    }
    return sq_axis_parse(&axes[i], equals + 1, &value[i], err);
}

sq_status sq_axis_parse_assignments(const sq_axis *axes, const char *text, sq_axis_value *value,
                                    sq_error *err)
{
    sq_axis_defaults(axes, value);
    char item[128];
    while (*text) {
        size_t length = strcspn(text, ",");
        if (length == 0 || length >= sizeof item)
            return sq_fail(err, SQ_BAD_ARGUMENT, "empty or overlong axis assignment at \"%.60s\"",
                           text);
        memcpy(item, text, length);
        item[length] = '\0';
        SQ_TRY(assign(axes, item, value, err));
        text += length + (text[length] == ',');
    }
    return SQ_OK;
}

void sq_axis_format(const sq_axis *axis, sq_axis_value value, char *out, size_t size)
{
    if (axis->kind == SQ_AXIS_CHOICE)
        snprintf(out, size, "%s", axis->choices[(int)value]);
    else if (axis->kind == SQ_AXIS_INT)
        snprintf(out, size, "%.0f", value);
    else
        snprintf(out, size, "%.9g", value);
}
