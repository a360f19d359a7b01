/* text: a growing string, names that are nearly right, and numbers as people write them. */
#ifndef SQ_CORE_TEXT_H
#define SQ_CORE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A growing string. Zero-initialise; sq_text_free when done. Out of memory is remembered in
 * is_failed and later calls do nothing, so a writer checks once at the end. data is never NULL
 * after the first successful call. */
typedef struct {
    char *data;
    size_t length, capacity;
    bool is_failed;
} sq_text;

void sq_text_add(sq_text *text, const char *string);
void sq_text_add_n(sq_text *text, const char *string, size_t length);
void sq_text_printf(sq_text *text, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
/* Escapers: `string` as HTML text or attribute; inside a JSON string (without the quotes); as one
 * CSV field (quoted when needed); as plain text of one line (a table cell); as a cell of a Markdown
 * table. Tabs and line breaks stay in HTML and, inside quotes, in CSV; no other control character
 * passes through raw, and bytes that are not UTF-8 become U+FFFD. */
void sq_text_add_html(sq_text *text, const char *string);
void sq_text_add_json(sq_text *text, const char *string);
void sq_text_add_csv(sq_text *text, const char *string);
void sq_text_add_plain(sq_text *text, const char *string);
void sq_text_add_md(sq_text *text, const char *string);
/* One word of a POSIX shell command, quoted where it must be; the bytes are kept as they are. */
void sq_text_add_shell(sq_text *text, const char *string);
/* Code points of a UTF-8 text: the columns it takes in a terminal. */
int sq_text_width(const char *string);
void sq_text_free(sq_text *text);

/* The candidate (NULL-ended list) nearest to `name` by edit distance, or NULL when none is near. */
const char *sq_nearest(const char *name, const char *const *candidates);

/* Fails with: unknown <what> "<name>"; did you mean "<nearest>"? Known: a, b, c ... */
sq_status sq_fail_unknown(sq_error *err, const char *what, const char *name,
                          const char *const *candidates);

/* *index = position of `name` in the NULL-ended names; else fails as sq_fail_unknown does. */
sq_status sq_find_name(const char *what, const char *name, const char *const *names, int *index,
                       sq_error *err);

/* Reads the longest number that `text` starts with, with its k/m/g suffix; *end is set behind it.
 * "4..8" starts with 4. False, and *end = text, where there is none or it is not finite. */
bool sq_scan_number(const char *text, double *out, const char **end);
/* "1k" -> 1024, "16K", "2m", "1g", "0.5"; the whole text must be a number. */
bool sq_parse_number(const char *text, double *out);
/* A share of 0 to 1: "2%" or "0.02". */
bool sq_parse_share(const char *text, double *out);
/* Digits alone, of a number below 2^64: strtoull would take blanks and signs. */
bool sq_parse_seed(const char *text, uint64_t *out);
/* "9m", "90s", "2h", "500ms", bare number = seconds. */
bool sq_parse_duration(const char *text, double *seconds);
/* "2026-11-01", a day there is: its beginning in UTC, as Unix time. */
bool sq_parse_day(const char *text, double *begin);

/* "12.3 us", "1.20 GB", "3.0e12": short human forms into out. */
void sq_format_ns(double ns, char *out, size_t size);
void sq_format_bytes(double bytes, char *out, size_t size);
/* Unix time as "2026-11-01 09:30", in UTC; "" where it is NAN or thousands of years away.
 */
void sq_format_utc(double seconds, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
