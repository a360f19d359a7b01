/* timed_device: a device that exists in numbers only: each launch takes what a script says, and the
 * clock moves by that. It has graphs, a hold and an SM clock, all as told. */
#ifndef SQ_TESTS_TIMED_DEVICE_H
#define SQ_TESTS_TIMED_DEVICE_H

#include "bench/time/sampling.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TIMED_ROOM = 400 };

#define TIMED_US 1e3                 /* in nanoseconds */
#define TIMED_OVERHEAD_SECONDS 30e-6 /* of the host, a sample */

/* Nanoseconds of launch k, which starts at `seconds`; the first starts at 1000. */
typedef double (*timed_script)(const sq_backend_device *device, int k, double seconds);

struct sq_backend_device {
    timed_script ns;
    double now, slept;
    int k; /* launches so far */
    int samples;
    int fails_at;           /* the launch that fails, from 1; 0 none */
    double enqueue_seconds; /* of one launch, for the host: a shorter hold is late */
    double sample_mhz, run_mhz;
    bool is_capturing, refuses_capture;
    int graphs;            /* that live */
    int captures, replays; /* launches captured; graphs replayed */
    int turns[TIMED_ROOM]; /* the copies launched, in order */
};

extern const sq_backend timed_backend;
extern const sqt_policy timed_policy; /* as nightly */

/* One measurement and what came of it. */
typedef struct {
    sq_backend_device device;
    sq_sampling what;
    sqt_policy policy;
    sqt_result result;
    int32_t ns[TIMED_ROOM];
    sq_error err;
} timing;

timing *timing_new(timed_script ns); /* plain, clean-cold; the caller frees it */
sq_status timing_measure(timing *t);
/* The same, where it must succeed; no graph may be left. */
void timing_run(timing *t);

/* The k-th number of a fixed sequence in [0, 1). */
double timed_uniform(int k);

/* --- scripts --- */

double timed_steady(const sq_backend_device *d, int k, double s);   /* 100 us */
double timed_settling(const sq_backend_device *d, int k, double s); /* 130 us at first, tau 15 ms */
double timed_trending(const sq_backend_device *d, int k, double s); /* doubles every 50 ms */
double timed_bimodal(const sq_backend_device *d, int k, double s);  /* 100 or 110 us */
double timed_spiky(const sq_backend_device *d, int k, double s);    /* 100 us, every 20th 1 ms */
double timed_noisy(const sq_backend_device *d, int k, double s);    /* 100 to 104 us */
double timed_long_launch(const sq_backend_device *d, int k, double s);   /* 300 to 310 ms */
double timed_short_launch(const sq_backend_device *d, int k, double s);  /* 5 us */
double timed_first_is_slow(const sq_backend_device *d, int k, double s); /* 900 ms, then 1 ms */
double timed_endless(const sq_backend_device *d, int k, double s);       /* 5 s */

#ifdef __cplusplus
}
#endif
#endif
