/* table: rows of text and numbers, printed as table, md, csv, json or jsonl.
 *
 * One writer for every verb of the command line, so that all of them speak the same five forms. */
#ifndef SQ_CORE_TABLE_H
#define SQ_CORE_TABLE_H

#include <stdbool.h>

#include "core/status.h"
#include "core/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    SQ_FORMAT_TABLE,
    SQ_FORMAT_MD,
    SQ_FORMAT_CSV,
    SQ_FORMAT_JSON,
    SQ_FORMAT_JSONL
} sq_format;

typedef struct sq_table sq_table;

sq_status sq_format_parse(const char *name, sq_format *out, sq_error *err);

/* columns: NULL-ended names. NULL on out of memory; sq_table_free accepts NULL. */
sq_table *sq_table_new(const char *const *columns);
void sq_table_free(sq_table *table);

/* Appends a cell to the current row; a full row starts the next. NaN prints as an empty field (JSON
 * null). `digits` are significant digits in table and md; csv and json carry full precision. */
void sq_table_text(sq_table *table, const char *text);
void sq_table_number(sq_table *table, double value, int digits);
int sq_table_rows(const sq_table *table);

/* Renders everything into `out`. */
sq_status sq_table_render(const sq_table *table, sq_format format, sq_text *out);

#ifdef __cplusplus
}
#endif
#endif
