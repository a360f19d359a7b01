/* profile_fixture: a store with one profiled cell whose numbers an H100 could have given. */
#ifndef SQ_TESTS_REPORT_PROFILE_FIXTURE_H
#define SQ_TESTS_REPORT_PROFILE_FIXTURE_H

#include "fixture.h"
#include "reports/profile.h"

/* Causal attention, B=8 L=2048 H=16 D=128 in bf16, 417 us, two kernels, roofline and stall
 * counters, proved, with the ceilings of a characterisation. Returns the run's id. */
long profile_fixture_attention(sq_db *db);
/* Replaces a value's number by an absence: NULL with this validity. */
void profile_fixture_refuse(sq_db *db, const char *metric, const char *validity);
/* A product that is drawn down by the power cap within a second; free it. */
sq_curve profile_fixture_sustain(void);
/* Five launches in 2.5 ms, sampled every 10 us. */
sq_curve profile_fixture_timeline(void);

#endif
