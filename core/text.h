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
 * is_failed and later calls do nothing, so a writer checks once at the end. data is never NULL after
 * the first successful call. */
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
 * CSV field (quoted when needed). Control characters never pass through raw. */
void sq_text_add_html(sq_text *text, const char *string);
void sq_text_add_json(sq_text *text, const char *string);
void sq_text_add_csv(sq_text *text, const char *string);
void sq_text_free(sq_text *text);

/* The candidate (NULL-ended list) nearest to `name` by edit distance, or NULL when none is near. */
const char *sq_nearest(const char *name, const char *const *candidates);

/* Fails with: unknown <what> "<name>"; did you mean "<nearest>"? Known: a, b, c ... */
sq_status sq_fail_unknown(sq_error *err, const char *what, const char *name,
                          const char *const *candidates);

/* "1k" -> 1024, "16K", "2m", "1g", "0.5"; the whole text must be a number. */
bool sq_parse_number(const char *text, double *out);
/* "9m", "90s", "2h", "500ms", bare number = seconds. */
bool sq_parse_duration(const char *text, double *seconds);

/* "12.3 us", "1.20 GB", "3.0e12": short human forms into out. */
void sq_format_ns(double ns, char *out, size_t size);
void sq_format_bytes(double bytes, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
