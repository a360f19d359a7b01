/* replay: one cell proved again, from nothing but its key, a seed and how its inputs are drawn. */
#ifndef SQ_BENCH_VERIFY_REPLAY_H
#define SQ_BENCH_VERIFY_REPLAY_H

#include "bench/subject.h"
#include "bench/verify/verify.h"
#include "bench/worker/place.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How inputs are drawn: as the operator says; one of them 30 times as large (strong decays, large
 * scores; s4_kernel's poles as far as f64 holds their resolvents), so small that what decays from it
 * becomes subnormal, subnormal itself, or zero, where the seed says which one; or the gates of a
 * recurrence about -50, so that a step keeps e^-50 of a state and less. (Nothing is left of the
 * gradients of such gates, in f64 either: pass bwd is not for them.) */
typedef enum {
    SQ_VALUES_USUAL,
    SQ_VALUES_STRONG,
    SQ_VALUES_TINY,
    SQ_VALUES_SUBNORMAL,
    SQ_VALUES_ZERO,
    SQ_VALUES_GATES,
    SQ_VALUES_COUNT
} sq_values;

const char *sq_values_name(sq_values values); /* "usual", ... */
sq_status sq_values_parse(const char *name, sq_values *out, sq_error *err);
const char *sq_layout_name(sq_layout layout); /* "dense", "strided" */
sq_status sq_layout_parse(const char *name, sq_layout *out, sq_error *err);

/* layout and values other than the first: operators alone. */
typedef struct {
    sq_cell cell; /* checked; its modes have no meaning */
    sq_subject subject;
    sq_layout layout;
    sq_values values;
    uint64_t seed;
} sq_replay;

/* Launches twice and proves: the same bits, inputs untouched, nothing written outside, and outputs
 * within the operator's tolerance of the reference, of the whole or, above max_work multiply-adds,
 * of a drawn slice. Extreme values widen the bound of the worst element, which is a multiple of a
 * root mean square that they make small. The worst tensor of passes bwd and fwdbwd is a gradient,
 * unless a forward output is wrong. An error: the cell cannot be made, or the device failed.
 */
sq_status sq_replay_run(const sq_rig *rig, const sq_replay *replay, double max_work,
                        sq_verification *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
