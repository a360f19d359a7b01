/* fuzz: cells drawn by seed, where operators break: axes of 1, primes, a tile's edge and the
 * numbers beside it, options in every combination, providers, passes, types, strided inputs whose
 * slack is NaN, and extreme values.
 */
#ifndef SQ_BENCH_VERIFY_FUZZ_H
#define SQ_BENCH_VERIFY_FUZZ_H

#include "bench/verify/replay.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Draws a cell that a provider of the rig supports, whose reference costs at most max_work
 * multiply-adds: the same for the same seed, filters and providers. op, provider: NULL is any.
 * SQ_UNSUPPORTED where none was found. */
sq_status sq_fuzz_draw(const sq_rig *rig, uint64_t seed, const char *op, const char *provider,
                       double max_work, sq_replay *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
