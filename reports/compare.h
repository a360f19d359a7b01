/* compare: two sides of a store, cell by cell, with the run as the replicate (docs/methodology.md).
 * It shows and does not judge. */
#ifndef SQ_REPORTS_COMPARE_H
#define SQ_REPORTS_COMPARE_H

#include <stdbool.h>

#include "core/status.h"
#include "core/table.h"
#include "db/db.h"
#include "reports/joining.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SQ_ALL_RUNS = -1, SQ_EVEN_RUNS, SQ_ODD_RUNS } sq_replicates;

/* name: as it was asked for ("aa:odd"), for messages and headings. */
typedef struct {
    const char *name;
    char campaign[SQ_UUID_TEXT];
    sq_replicates replicates;
} sq_side;

/* Which cells to compare; NULL: all. width: model width the cell was shaped for, NAN where none. */
typedef sq_status (*sq_keeps_fn)(void *self, const char *key, double width, bool *keeps,
                                 sq_error *err);

typedef struct {
    sq_side a, b;        /* b is not read where is_by_provider */
    bool is_by_provider; /* the providers of a, at the same subject, pass, dtype, axes and modes */
    const char
        *reference;   /* the provider that the others are over; NULL: the fastest of each cell */
    sq_across across; /* what the sides may differ in; else they are refused */
    sq_keeps_fn keeps;
    void *self;
    int draws; /* of the bootstrap, in csv, json and jsonl; 0: none */
    sq_format format;
} sq_compare_options;

/* The comparison in the format asked for: cells, operators, bounds and what is missing on a side;
 * csv and jsonl are one row a cell. notes: a line for each thing besides the code that differs
 * between the sides. Refuses a side without a time, a reference that nothing was measured with, and
 * sides that reports/joining.h keeps apart. */
sq_status sq_report_compare(sq_db *db, const sq_compare_options *options, sq_text *out,
                            sq_text *notes, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
