/* predict: how long a cell will take, from its compulsory work. For planning only; never stored. */
#ifndef SQ_BENCH_PREDICT_H
#define SQ_BENCH_PREDICT_H

#include <stdbool.h>

#include "bench/policy.h"
#include "core/record.h"
#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a device does in a second. */
typedef struct {
    double bytes, matrix_flops, flops, special, reference_work, launch_ns;
    bool rests;            /* after launches, as the policy says */
    double set_up_seconds; /* of a run: memory, inputs, check, messages; counters on a GPU */
} sq_rates;

/* From the device's facts; guesses where they are unknown. */
sq_rates sq_rates_nominal(const sq_device *device);
/* A measured ceiling (copy, bf16 and f32 products of core/ceiling.h) replaces the guess; the others
 * change nothing. */
void sq_rates_use(sq_rates *rates, const sq_ceiling *ceiling);

/* One launch, in ns: the largest floor over the usual share of it that `provider` reaches. */
double sq_predict_launch_ns(const sq_rates *rates, const sq_cost *cost, sq_dtype dtype,
                            const char *provider);
/* A whole run in seconds: proof, warm-up and samples under the policy. */
double sq_predict_run_seconds(const sq_rates *rates, const sq_policy *policy, const sq_cost *cost,
                              double launch_ns);

#ifdef __cplusplus
}
#endif
#endif
