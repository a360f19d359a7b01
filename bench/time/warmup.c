/* warmup: see warmup.h. */
#include "bench/time/warmup.h"

#include <math.h>
#include <time.h>

#include "core/host.h"

#define ALIVE_SECONDS 1.0
#define LEAST_REST_SECONDS 0.5e-3 /* a sleep overshoots by some 0.05 ms */

/* Twice the usual target interval: a drift below it could not be told from the result's own width.
 */
#define ALLOWED_DRIFT 0.01

/* The cap. The SM clock of a tensor-bound kernel under the software power cap was seen to fall from
 * 1980 to 1455 MHz within 100 ms of launches without rests (H100), which is 4 times the policies'
 * 25 ms. What still drifts then does so because of heat or neighbours, and waiting longer is the
 * suite's decision (warmup-time). Rests count: what they are for is that the clock does not fall. */
#define CAP_FACTOR 4

/* Launches are joined to bins of 1/50 of the warm-up time, so that thousands of short ones weigh as
 * much as a few long ones and a drift over milliseconds is seen. */
enum { BINS_PER_WARMUP = 50, MAX_BINS = CAP_FACTOR * BINS_PER_WARMUP + 8 };

double sq_sampling_clock(const sq_sampling *what)
{
    return what->clock ? what->clock(what->clock_arg) : sq_monotonic_seconds();
}

void sq_sampling_beat(const sq_sampling *what, double *last)
{
    double now = sq_sampling_clock(what);
    if (!what->alive || now - *last < ALIVE_SECONDS)
        return;
    *last = now;
    what->alive(what->alive_arg);
}

static void sleep_for(const sq_sampling *what, double seconds)
{
    if (what->sleep) {
        what->sleep(what->clock_arg, seconds);
        return;
    }
    struct timespec time = {.tv_sec = (time_t)seconds};
    time.tv_nsec = (long)(1e9 * (seconds - (double)time.tv_sec));
    nanosleep(&time, NULL); /* a signal may cut it short */
}

void sq_sampling_rest(const sq_sampling *what, const sqt_policy *policy, double busy_seconds,
                      double *owed)
{
    *owed += policy->rest * busy_seconds;
    if (*owed < LEAST_REST_SECONDS)
        return;
    sleep_for(what, fmin(*owed, SQ_LONGEST_REST_SECONDS));
    *owed = 0;
}

bool sq_is_stationary(const int32_t *ns, int n, double *drift)
{
    int third = n / 3;
    *drift = NAN;
    if (third < 1)
        return false;
    sq_stats before = sq_stats_of(ns + n - 2 * third, third);
    sq_stats last = sq_stats_of(ns + n - third, third);
    if (!(before.median > 0))
        return false;
    *drift = last.median / before.median - 1;
    return fabs(*drift) <= ALLOWED_DRIFT || (last.lo <= before.hi && before.lo <= last.hi);
}

typedef struct {
    int32_t ns[MAX_BINS]; /* of one launch: the mean over the bin */
    int n;
    double seconds; /* of the bin being filled */
    int launches;
} bins;

/* True where a bin was finished. */
static bool add_launch(bins *b, double seconds, double bin_seconds)
{
    b->seconds += seconds;
    b->launches++;
    if (b->seconds < bin_seconds || b->n == MAX_BINS)
        return false;
    double ns = 1e9 * b->seconds / b->launches;
    b->ns[b->n++] = ns < (double)INT32_MAX ? (int32_t)lround(ns) : INT32_MAX;
    b->seconds = b->launches = 0;
    return true;
}

static sq_status launch_once(sq_launcher *launcher, sq_error *err)
{
    SQ_TRY(sq_launcher_launch(launcher, err));
    return launcher->what->backend->sync(launcher->what->device, err);
}

sq_status sq_warm_up(sq_launcher *launcher, const sqt_policy *policy, sqt_result *result,
                     sq_error *err)
{
    const sq_sampling *what = launcher->what;
    double limit = fmin(policy->max_launch_seconds, SQ_LONGEST_LAUNCH_SECONDS);
    double cap = CAP_FACTOR * policy->warmup_seconds;
    double start = sq_sampling_clock(what), now = start, last_beat = start, owed = 0;
    bins b = {.n = 0};
    bool is_stationary = false;
    int least = policy->warmup_launches > 1 ? policy->warmup_launches : 1; /* loads the kernels */
    result->launch_seconds = INFINITY;
    result->warmup_drift = NAN;
    while (result->warmup_launches < least || now - start < policy->warmup_seconds ||
           (!is_stationary && now - start < cap)) {
        SQ_TRY(launch_once(launcher, err));
        double seconds = sq_sampling_clock(what) - now;
        sq_sampling_rest(what, policy, seconds, &owed);
        now = sq_sampling_clock(what);
        result->launch_seconds = fmin(result->launch_seconds, seconds);
        sq_sampling_beat(what, &last_beat);
        /* One hiccup must not skip a cell: only a launch far too long is believed at once. */
        if (result->launch_seconds > (result->warmup_launches++ == 0 ? 3 * limit : limit))
            break;
        if (add_launch(&b, seconds, policy->warmup_seconds / BINS_PER_WARMUP))
            is_stationary = sq_is_stationary(b.ns, b.n, &result->warmup_drift);
    }
    result->is_too_long = result->launch_seconds > limit;
    return SQ_OK;
}
