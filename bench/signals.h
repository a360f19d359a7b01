/* signals: the first SIGINT, SIGTERM or SIGHUP (a lost terminal) asks for an end after the run in
 * flight, the second for an end at once. */
#ifndef SQ_BENCH_SIGNALS_H
#define SQ_BENCH_SIGNALS_H

#ifdef __cplusplus
extern "C" {
#endif

/* Installs the handlers. */
void sq_signals_install(void);
/* How many have come: 0, 1, 2 ... */
int sq_signals_count(void);

#ifdef __cplusplus
}
#endif
#endif
