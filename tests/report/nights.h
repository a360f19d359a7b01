/* nights: a store of campaigns a day apart, for the tests of the history. */
#ifndef SQ_TESTS_REPORT_NIGHTS_H
#define SQ_TESTS_REPORT_NIGHTS_H

#include "reports/history.h"

enum { FIRST_NIGHT = 100, DAY = 86400 };

extern const sq_history_options all; /* every campaign; changes of 1 % count */

void execute(sq_db *db, const char *sql);
/* Night i is campaign 100 + i, of commit c<i>. */
void add_campaign(sq_db *db, int i, const char *suite, const char *label);
void add_nights(sq_db *db, int n);
/* Of one cell; the run's id. */
long add_run(sq_db *db, int night, int replicate, double ms);
double noise_of(int night, int replicate);
/* Three replicates a night around `ms`. */
void add_level(sq_db *db, int from, int to, double ms);
/* From that night on. */
void new_driver(sq_db *db, int night);

#endif
