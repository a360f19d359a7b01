/* options: the command line as a table. One parser and one help writer for every verb. */
#ifndef SQ_BENCH_OPTIONS_H
#define SQ_BENCH_OPTIONS_H

#include <stdbool.h>

#include "core/status.h"
#include "core/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* letter: 0 for none. metavar: name of the value in the help; NULL for a switch. */
typedef struct {
    const char *name;
    char letter;
    const char *metavar, *doc;
} sq_option;

enum { SQ_MAX_GIVEN = 96 };

typedef struct {
    const sq_option *option[SQ_MAX_GIVEN]; /* in the order given */
    const char *value[SQ_MAX_GIVEN];       /* "" for a switch; points into argv */
    int count;
    const char *argument[SQ_MAX_GIVEN]; /* what is no option */
    int n_arguments;
} sq_given;

/* Reads argv[1..]. `table` ends with a NULL name; `more` (may be NULL) is a second table. "--name
 * value", "--name=value", "-o value", "--" ends the options. Unknown ones are refused with the
 * nearest known. */
sq_status sq_options_parse(const sq_option *table, const sq_option *more, int argc, char **argv,
                           sq_given *out, sq_error *err);
/* Value of the last time an option was given; `fallback` where it was not. */
const char *sq_given_value(const sq_given *given, const char *name, const char *fallback);
bool sq_given_has(const sq_given *given, const char *name);

/* "  --name VALUE   doc", wrapped to 100 columns. */
void sq_options_help(const sq_option *table, sq_text *out);

#ifdef __cplusplus
}
#endif
#endif
