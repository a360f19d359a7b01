/* characterize: a worker asked for every ceiling of its device (bench/wire.h). */
#ifndef SQ_BENCH_CHARACTERIZE_H
#define SQ_BENCH_CHARACTERIZE_H

#include "bench/target.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    void *self;
    sq_status (*ceiling)(void *self, const sq_ceiling *ceiling, sq_error *err);
    void (*absent)(void *self, const char *name, const char *reason);
} sq_ceiling_observer;

/* Starts a worker and tells each ceiling as it comes. SQ_INTERRUPTED after a signal: the worker is
 * ended and what was told stands. SQ_TIMEOUT, SQ_IO: it fell silent or died. */
sq_status sq_ask_characterize(const sq_target *target, const sq_ceiling_observer *observer,
                              sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
