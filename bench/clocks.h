/* clocks: the SM clock held while a campaign measures, and given back however the campaign ends.
 *
 * A process of its own, the keeper, locks the clocks, waits until the campaign's process closes the
 * connection or dies of whatever, unlocks them and ends. Signals of the terminal do not reach it.
 */
#ifndef SQ_BENCH_CLOCKS_H
#define SQ_BENCH_CLOCKS_H

#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sq_clocks sq_clocks;

/* Locks the clocks of a CUDA device; *out is NULL for SQ_CLOCK_UNLOCKED and after a failure, and
 * nothing is locked then. Errors: those of sq_nvml_open and sq_nvml_lock_clocks; SQ_IO where there
 * is no process to be had; SQ_TIMEOUT where the driver does not answer: what it was asked for is
 * undone when it does. */
sq_status sq_clocks_lock(const sq_device *device, sq_clock clock, sq_clocks **out, sq_error *err);

/* Unlocks, and waits until that is done. NULL: nothing to do. After an error the clocks may still
 * be locked. */
sq_status sq_clocks_unlock(sq_clocks *clocks, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
