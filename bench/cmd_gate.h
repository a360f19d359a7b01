/* cmd_gate: what `seqmark gate` and `seqmark nightly` share. */
#ifndef SQ_BENCH_CMD_GATE_H
#define SQ_BENCH_CMD_GATE_H

#include "bench/command.h"
#include "reports/gate.h"

/* clang-format off */
#define SQ_GATE_OPTIONS                                                                            \
    {"across", 0, "FIELDS", "allows sides that differ in these: device, driver, toolkit, harness, policy"}, \
    {"min-effect", 0, "SHARE", "the smallest change that counts, of time (default 2%)"},           \
    {"setup-effect", 0, "SHARE", "the same of set-up time (default 10%)"},                         \
    {"max-inconclusive", 0, "SHARE", "of the cells; more is exit code 3 (default: the suite's, 25%)"}, \
    {"junit", 0, "FILE", "also writes JUnit XML"},                                                 \
    {"markdown", 0, "FILE", "also writes Markdown, for a job's summary"},                          \
    {"html", 0, "DIR", "also writes a page, DIR/index.html"}
/* clang-format on */

/* A share like "2%" or "0.02"; *out is left alone where the option was not given. */
sq_status sq_given_share(const sq_given *given, const char *name, double *out, sq_error *err);
/* Everything but the campaigns. */
sq_status sq_gate_given(const sq_given *given, sq_gate_options *out, sq_error *err);
/* The baseline A of "baseline:NAME" or another name of a campaign. */
sq_status sq_gate_baseline(sq_db *db, const char *text, sq_gate_options *out, sq_error *err);
/* To stdout in the format asked for, notes to stderr, and the files asked for. */
sq_status sq_gate_publish(const sq_judging *gate, const sq_given *given, sq_error *err);

#endif
