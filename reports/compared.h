/* compared: what the files of `compare` share: the runs of a side as they are read, and the pairs
 * of cells as they are judged. Not for other modules; they include reports/compare.h. */
#ifndef SQ_REPORTS_COMPARED_H
#define SQ_REPORTS_COMPARED_H

#include <stdint.h>

#include "core/cell.h"
#include "core/infer.h"
#include "core/record.h"
#include "reports/bound.h"
#include "reports/compare.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- compare_read.c: one side --- */

/* The timed runs of one cell. ns, cycles and samples have n elements; cycles are NAN where unknown,
 * samples are empty where they were not kept. reason: why the latest run without a time has none.
 */
typedef struct {
    char key[SQ_KEY_MAX], shape[SQ_KEY_MAX]; /* shape: the key without its provider */
    char join[SQ_KEY_MAX];                   /* cells of the same text are a pair of two sides */
    char subject[SQ_NAME_MAX], provider[SQ_NAME_MAX], pass[16], dtype[16],
        kernel_hash[SQ_HASH_TEXT];
    double bytes, matrix_flops; /* compulsory; NAN unknown */
    int n;
    double *ns, *cycles;
    sq_run_samples *samples;
    char reason[SQ_REASON_MAX + 16];
} sq_cell_runs;

/* Cells in the order in which they are shown: those of one shape together. */
typedef struct {
    sq_cell_runs *cell;
    int n_cells, n_timed;
    char device[128], device_uuid[64], power_limit[32];        /* W, "" unknown */
    uint64_t seed;                                             /* of the campaign */
    sq_roofs roofs;
    double *numbers;                                           /* of all cells */
    sq_run_samples *samples;
} sq_side_runs;

sq_status sq_side_read(sq_db *db, const sq_side *side, const sq_compare_options *options,
                       sq_side_runs *out, sq_error *err);
void sq_side_free(sq_side_runs *side);

/* --- compare.c: pairs --- */

/* b over a. Where a side has no time, `missing` says why and all numbers are NAN; the cell of that
 * side is NULL where it is not even in the campaign. */
typedef struct {
    const sq_cell_runs *a, *b;
    const char *missing; /* NULL: both have a time */
    sq_cell_class cls;
    double a_ns, b_ns, a_cycles, b_cycles; /* medians of run medians */
    sq_interval ns, cycles;                /* ratios */
    double cv, cycles_cv;
} sq_pair;

/* --- compare_tables.c --- */

/* across: what the sides differ in and were allowed to; "" where nothing. */
sq_status sq_compare_render(const sq_pair *pair, int n, const sq_compare_options *options,
                            const char *across, uint64_t seed, sq_text *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
