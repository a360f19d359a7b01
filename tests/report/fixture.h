/* fixture: a store with chosen rows, for the tests of reports. */
#ifndef SQ_TESTS_REPORT_FIXTURE_H
#define SQ_TESTS_REPORT_FIXTURE_H

#include "db/db.h"
#include "reports/report.h"

/* One run; absent texts and numbers take the defaults of fixture_add. */
typedef struct {
    const char *kind, *subject, *provider, *dtype, *status, *reason, *kernel_hash;
    int device, campaign, replicate, attempt;
    double B, L, window, width; /* window < 0: no such axis; width 0: not width-matched */
    double ms, interval;        /* interval: half width over the median */
    double flops, bytes, peak_bytes, started;
    const char *extra_axis; /* "H=16": one more axis */
} fixture_run;

/* A new folder under /tmp in `dir`, and a store in it. */
sq_db *fixture_new(char dir[64]);
/* Closes the store and removes the folder. */
void fixture_free(sq_db *db, const char *dir);

void fixture_exec(sq_db *db, const char *sql, const char *text1, const char *text2);
/* Adds the run, its cell and axes; returns the run's id. */
long fixture_add(sq_db *db, fixture_run run);
/* Six mixers (two providers each) and six blocks over nine lengths, ceilings, counters, failures.
 */
void fixture_full(sq_db *db);

/* `part` must stand in the text, or must not. */
void fixture_expect(const char *text, const char *part);
void fixture_expect_not(const char *text, const char *part);

/* The whole file dir/name; fails the test when it is absent. */
char *fixture_read(const char *dir, const char *name);
int fixture_has_file(const char *dir, const char *name);

#endif
