/* profile: one page about one run: where its time goes, how near it is to each ceiling, and what
 * holds it back. Made from a store, on any machine. */
#ifndef SQ_REPORTS_PROFILE_H
#define SQ_REPORTS_PROFILE_H

#include <stdint.h>

#include "core/curve.h"
#include "core/status.h"
#include "core/text.h"
#include "db/db.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t run_id;
    const char *out_dir;      /* created when absent */
    const char *gnuplot;      /* program; NULL: "gnuplot" from PATH */
    const sq_curve *sustain;  /* seconds, launches/s, SM MHz, W, C; NULL: not asked */
    const sq_curve *timeline; /* seconds, then PM samples in percent; NULL: not asked */
} sq_profile_options;

typedef struct {
    char page[1024]; /* path of the HTML page */
    char note[256];  /* one line when something was left out */
} sq_profile_result;

/* Writes out_dir/<hash>.html, and its figures into out_dir/<hash>/. A run without counters, kernels
 * or even a time makes a page that says so. SQ_BAD_ARGUMENT: no such run. */
sq_status sq_profile_render(sq_db *db, const sq_profile_options *options, sq_profile_result *result,
                            sq_error *err);

/* The same as text in `format` of core/table.h. table: the terminal page. json: one object with
 * everything, the verdict and every value with its validity. csv, jsonl: the values alone. */
sq_status sq_profile_print(sq_db *db, const sq_profile_options *options, int format, sq_text *out,
                           sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
