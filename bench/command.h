/* command: what the verbs of the command line share. Only main.c and cmd_*.c include this.
 *
 * A verb writes its data to stdout and its talk to stderr, and leaves its exit code and the reason
 * in *outcome; main.c prints the reason as the last line of stderr.
 */
#ifndef SQ_BENCH_COMMAND_H
#define SQ_BENCH_COMMAND_H

#include <stdint.h>

#include "bench/filter.h"
#include "bench/options.h"
#include "bench/target.h"
#include "core/status.h"
#include "core/table.h"
#include "core/text.h"
#include "db/baselines.h"
#include "db/db.h"

/* docs/architecture.md, section 7. */
enum {
    SQ_EXIT_FINE = 0,
    SQ_EXIT_ERROR = 1,
    SQ_EXIT_REGRESSION = 2,
    SQ_EXIT_INCONCLUSIVE = 3,
    SQ_EXIT_WRONG = 4,
    SQ_EXIT_UNFIT = 5,
    SQ_EXIT_FAILED = 6,
    SQ_EXIT_INTERRUPTED = 130
};

typedef struct {
    int code;
    char why[1024]; /* "" prints nothing */
} sq_outcome;

typedef void (*sq_command_fn)(int argc, char **argv, sq_outcome *outcome);

#define SQ_COMMAND(name, help) void sq_cmd_##name(int argc, char **argv, sq_outcome *outcome);
#include "bench/commands.def"
#undef SQ_COMMAND

/* --- cmd_common.c --- */

#define SQ_OPTION_DB                                                                               \
    {                                                                                              \
        "db", 0, "FILE", "the store (default seqmark.db)"                                          \
    }
#define SQ_OPTION_OUTPUT                                                                           \
    {                                                                                              \
        "output", 'o', "FORMAT", "table (default), md, csv, json, jsonl"                           \
    }
#define SQ_OPTION_DEVICE                                                                           \
    {                                                                                              \
        "device", 0, "DEVICE", "cpu, or the number of a GPU; default: the best present"            \
    }
#define SQ_OPTION_HELP                                                                             \
    {                                                                                              \
        "help", 'h', NULL, "this text"                                                             \
    }

/* The text of a verb: usage line, one paragraph, its options. */
typedef struct {
    const char *usage, *text;
    const sq_option *options, *more; /* more: accepted, not listed in the help; may be NULL */
} sq_verb;

/* Parses argv. False when there is nothing more to do: --help was printed, or *outcome says what
 * was wrong with it. */
bool sq_verb_parse(const sq_verb *verb, int argc, char **argv, sq_given *given,
                   sq_outcome *outcome);
/* Parses argv and runs a verb that ends well or with an error: *outcome. */
typedef sq_status (*sq_verb_fn)(const sq_given *given, sq_error *err);
void sq_verb_run(const sq_verb *verb, int argc, char **argv, sq_verb_fn execute,
                 sq_outcome *outcome);
/* An error of a library, as the end of a verb. SQ_DEVICE: exit 5. */
void sq_outcome_error(sq_outcome *outcome, sq_status status, const sq_error *err);
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void sq_outcome_set(sq_outcome *outcome, int code, const char *format, ...);

/* "seqmark run ...", each word as a shell takes it. free() it; NULL: no memory. */
char *sq_command_line(int argc, char **argv);
/* Keeps other campaigns from a GPU that is to be measured (sq_target_hold) by this command. */
sq_status sq_command_hold(sq_target *target, int argc, char **argv, sq_error *err);
/* A new campaign of this program: uuid, start, version and commit; the rest is the caller's. */
sq_status sq_campaign_new(const char *suite, const char *label, sq_campaign *out, sq_error *err);

/* --filter; NULL where none is given. The caller frees it. */
sq_status sq_given_filter(const sq_given *given, sq_filter **out, sq_error *err);
/* Whether such a filter keeps the cell of that key: sq_keeps_fn of the reports. */
sq_status sq_keeps_cell(void *filter, const char *key, double width, bool *keeps, sq_error *err);

/* The age of a baseline in days; to stderr, where it is old or a clock was ahead. */
double sq_warn_of_age(const sq_baseline *baseline);

const char *sq_given_db(const sq_given *given);
/* Opens the store that was given for writing; unlike sq_db_open it makes none. */
sq_status sq_given_open_store(const sq_given *given, sq_db **out, sq_error *err);
sq_status sq_given_format(const sq_given *given, sq_format *out, sq_error *err);
/* The same for a verb that also takes "html": *is_html, and *out is then the table. */
sq_status sq_given_page_format(const sq_given *given, sq_format *out, bool *is_html, sq_error *err);
/* Renders to stdout and frees the table; a failed write to stdout is SQ_IO. */
sq_status sq_table_print(sq_table *table, sq_format format, sq_error *err);
sq_status sq_text_print(const sq_text *text, sq_error *err);

/* Rows of a query as a table, columns named as in the query. ?1 and ?2 are bound where not NULL. */
sq_status sq_query_table(sqlite3 *handle, const char *sql, const char *first, const char *second,
                         sq_table **out, sq_error *err);

#endif
