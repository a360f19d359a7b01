/* cmd_nightly: what the parts of `seqmark nightly` share. */
#ifndef SQ_BENCH_CMD_NIGHTLY_H
#define SQ_BENCH_CMD_NIGHTLY_H

#include "bench/cmd_gate.h"
#include "bench/cmd_run.h"

/* One night. Zero-initialise; the run is freed by sq_run_free. */
typedef struct {
    sq_run run;
    sq_gate_options gate;
    sq_baseline baseline;
    char baseline_text[96]; /* "baseline:main" */
    int max_suspects;
    int argc;
    char **argv;
} sq_night;

/* --- cmd_nightly_preflight.c --- */

/* SQ_DEVICE where a night could not be compared with the baseline, or others use the GPU. */
sq_status sq_night_preflight(sq_night *night, sq_db *db, sq_error *err);

/* The program that is kept with the baseline is there, and as it was. */
sq_status sq_night_check_program(const sq_baseline *baseline, sq_error *err);

/* --- cmd_nightly_confirm.c --- */

/* Measures the suspects again, by tonight's program and the one kept with the baseline, in blocks A B
 * B A, and says what they are. SQ_INTERRUPTED: a signal came; what was measured is kept, and the
 * gate is pending. */
sq_status sq_night_confirm(sq_night *night, sq_db *db, sq_judging *gate, sq_error *err);

#endif
