/* sampling: the loop that every time of seqmark comes from: warm-up, then samples until the median
 * is known well enough or the policy's cap is reached.
 *
 * Used by the worker (measure.c) and, behind a C ABI, by other programs (seqmark_time.h).
 */
#ifndef SQ_BENCH_TIME_SAMPLING_H
#define SQ_BENCH_TIME_SAMPLING_H

#include "bench/time/seqmark_time.h"
#include "core/backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A sample is an int32 of nanoseconds: no launch may be longer. */
#define SQ_LONGEST_LAUNCH_SECONDS 2.1

/* A rest is at most so many times the launch before it, and so long. */
#define SQ_LONGEST_REST 100
#define SQ_LONGEST_REST_SECONDS 0.1

/* Enqueues one launch that uses the set `copy` of the inputs. */
typedef sq_status (*sq_turn_fn)(void *arg, int copy, sq_error *err);

/* Asked before the first sample, and then after every 20 ms or more of them: was the device slowed
 * by heat, hardware slowdown or power brake since the last question? `why` is then one phrase. The
 * software power cap is no such thing: it is the normal state of tensor-bound work. */
typedef struct {
    bool (*was_slowed)(void *arg, char *why,
                       size_t size); /* NULL: nobody knows, nothing is dropped */
    void *arg;
} sq_watch;

typedef struct {
    const sq_backend *backend;
    sq_backend_device *device;
    sq_cache cache;
    sq_launch mode;
    int copies; /* sets of inputs, taken in turn; more than 1 with SQ_CACHE_ROTATE only */
    sq_turn_fn launch;
    void *arg;
    sq_watch watch;
    void (*alive)(void *arg); /* called about once a second; may be NULL */
    void *alive_arg;
    void (*warmed)(void *arg); /* called once, between warm-up and samples; may be NULL */
    void *warmed_arg;
    double (*clock)(void *arg); /* seconds; NULL: the monotonic clock. Tests bring their own */
    void (*sleep)(void *arg, double seconds); /* of the clock's arg; NULL: sleeps */
    void *clock_arg;
} sq_sampling;

/* Warms up and samples. ns: room for policy->max_samples; result->n are written, in the order
 * taken. A launch that is too long is no error: result->is_too_long, and no sample. SQ_BAD_ARGUMENT
 * for a policy or modes that cannot be, SQ_UNSUPPORTED for a launch that cannot be captured; else
 * an error of the launch or the device. */
sq_status sq_sampling_run(const sq_sampling *what, const sqt_policy *policy, int32_t *ns,
                          sqt_result *result, sq_error *err);

/* Time of one launch among many without gaps between them. */
typedef struct {
    double ns;     /* median over the repeats */
    double spread; /* (max - min) / median */
    int n;         /* repeats */
    int launches;  /* in each */
} sq_figure;

/* Measures warmed-up launches, hot, about 1 ms of them at a time: SQ_LAUNCH_BATCH back to back,
 * SQ_LAUNCH_GRAPH as one graph. launch_ns: what one takes, roughly. `what`'s own modes do not
 * matter; copy 0 is used. */
sq_status sq_sampling_figure(const sq_sampling *what, sq_launch mode, double launch_ns,
                             sq_figure *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
