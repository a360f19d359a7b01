/* filter: an expression over a cell's axes and fields ("L<=8k and dtype==bf16 and subject~scan").
 *
 *   expr       = and-expr { "or" and-expr }        and-expr = not-expr { "and" not-expr }
 *   not-expr   = "not" not-expr | "(" expr ")" | comparison
 *   comparison = name op value                     op = == (or =) != < <= > >= ~ (contains)
 *
 * Fields: subject, kind, provider, pass, dtype, cache, width, tokens, and every axis by name or
 * flag. A comparison of an axis that a cell's subject has not is false. Errors give the column.
 */
#ifndef SQ_BENCH_FILTER_H
#define SQ_BENCH_FILTER_H

#include <stdbool.h>

#include "core/cell.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sq_filter sq_filter;

sq_status sq_filter_parse(const char *text, sq_filter **out, sq_error *err);
void sq_filter_free(sq_filter *filter); /* accepts NULL */
/* width: the model width the cell was shaped for, 0 where none. A NULL filter keeps everything. */
bool sq_filter_keeps(const sq_filter *filter, const sq_cell *cell, int64_t width);

#ifdef __cplusplus
}
#endif
#endif
