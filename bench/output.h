/* output: the progress of a campaign on a terminal (one line that is rewritten) or in a log (a line
 * a run). Writes to the stream it is given and to nothing else. */
#ifndef SQ_BENCH_OUTPUT_H
#define SQ_BENCH_OUTPUT_H

#include <stdio.h>

#include "bench/runner.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    FILE *stream;
    bool is_terminal;
    int total, done, failed;
    double started, predicted_total, predicted_done; /* seconds */
    int shown;                                       /* characters of the line on the terminal */
} sq_progress;

/* Counts what of the plan is still to be done. */
void sq_progress_begin(sq_progress *progress, const sq_plan *plan, FILE *stream, bool is_terminal);
sq_observer sq_progress_observer(sq_progress *progress);
/* Leaves the rewritten line. */
void sq_progress_end(sq_progress *progress);

#ifdef __cplusplus
}
#endif
#endif
