/* cooldown: see cooldown.h. */
#include "bench/worker/cooldown.h"

#include <math.h>
#include <poll.h>

#include "bench/worker/job.h"

const sq_cooldown_limits sq_cooldown_limits_default = {
    .hot_c = 10, .cool_c = 20, .longest_seconds = 180, .poll_seconds = 0.5};

typedef struct {
    sq_alive_fn alive;
    void *arg;
    double poll_seconds;
} pause_between;

static void rest(const pause_between *p, double seconds)
{
    p->alive(p->arg);
    poll(NULL, 0, (int)ceil(1e3 * fmin(seconds, p->poll_seconds)));
}

sq_cooldown sq_cooldown_rest(double seconds, const sq_cooldown_limits *limits, sq_nvml *nvml,
                             sq_alive_fn alive, void *alive_arg)
{
    pause_between p = {.alive = alive, .arg = alive_arg, .poll_seconds = limits->poll_seconds};
    sq_cooldown done = {.headroom_c = sq_nvml_headroom_c(nvml)};
    double start = sq_job_clock();
    if (seconds >= 0) {
        for (; done.seconds < seconds; done.seconds = sq_job_clock() - start)
            rest(&p, seconds - done.seconds);
        return done;
    }
    if (!(done.headroom_c < limits->hot_c))
        return done;
    while (done.headroom_c < limits->cool_c && done.seconds < limits->longest_seconds) {
        rest(&p, limits->longest_seconds - done.seconds);
        done.headroom_c = sq_nvml_headroom_c(nvml);
        done.seconds = sq_job_clock() - start;
    }
    done.is_still_hot = done.headroom_c < limits->cool_c;
    return done;
}
