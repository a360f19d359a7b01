/* axes: the options of an operator or a model family, declared once.
 *
 * A subject (operator or family) owns one table of sq_axis, ended by a NULL name. The sweep flags,
 * YAML keys, cell keys, `seqmark list` and the store's axis rows all come from that table. The
 * value of an axis is a double: integers are exact up to 2^53, a choice is its index.
 */
#ifndef SQ_CORE_AXES_H
#define SQ_CORE_AXES_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_AXES = 16, SQ_MAX_AXIS_VALUES = 256 };

typedef enum { SQ_AXIS_INT, SQ_AXIS_REAL, SQ_AXIS_CHOICE } sq_axis_kind;

typedef double sq_axis_value;

/* name: key text ("L"). flag: long option and YAML key ("seqlen"). def: default. [min, max]: range
 * that parsing accepts. choices: NULL-ended names of a SQ_AXIS_CHOICE, else NULL. */
typedef struct {
    const char *name, *flag, *doc;
    sq_axis_kind kind;
    double def, min, max;
    const char *const *choices;
} sq_axis;

int sq_axis_count(const sq_axis *axes);

/* Index of the axis whose name or flag is `name`, or -1. */
int sq_axis_find(const sq_axis *axes, const char *name);

/* Fills value[] with the defaults. */
void sq_axis_defaults(const sq_axis *axes, sq_axis_value *value);

/* One value: "8192", "8k" (k = 1024, m, g), "0.5", or a choice's name. Errors name the axis, the
 * rule and, for a choice, the nearest name. */
sq_status sq_axis_parse(const sq_axis *axis, const char *text, sq_axis_value *out, sq_error *err);

/* A list of values: comma-separated items of "v", "a..b*f" (geometric), "a..b+s" (arithmetic).
 * At most SQ_MAX_AXIS_VALUES; *count receives how many. ("@file" is the caller's business.) */
sq_status sq_axis_parse_list(const sq_axis *axis, const char *text, sq_axis_value *out, int *count,
                             sq_error *err);

/* "B=2,L=64k,window=2048": fills value[] with the defaults, then sets the named axes. An empty
 * text is all defaults. Unknown names are refused with the nearest known one. */
sq_status sq_axis_parse_assignments(const sq_axis *axes, const char *text, sq_axis_value *value,
                                    sq_error *err);

/* Canonical text of a value as it stands in a cell key ("8192", "0.5", "none"). */
void sq_axis_format(const sq_axis *axis, sq_axis_value value, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
