/* seqmark_time: the timing core of seqmark behind a C ABI, for programs that time their own code
 * the way seqmark's worker times its cells (libseqmark_time.so; the worker links the same objects).
 *
 * A caller opens a timer on a device, draws its inputs by seed, and hands sqt_measure a function
 * that enqueues one launch. Warm-up, cache state, the held stream, dropped samples and the stopping
 * rule are docs/methodology.md's. Every function but sqt_abi and sqt_message returns SQT_OK or the
 * code of a failure, which sqt_message puts into words. A timer belongs to one thread at a time.
 *
 * The ABI grows at the end of structs only together with SQT_ABI: ask sqt_abi() first.
 */
#ifndef SEQMARK_TIME_H
#define SEQMARK_TIME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SQT_ABI 2

#if defined(__GNUC__)
#define SQT_API __attribute__((visibility("default")))
#else
#define SQT_API
#endif

enum {
    SQT_OK = 0,
    SQT_BAD_ARGUMENT = 1,
    SQT_UNSUPPORTED = 2, /* no such device here, or a launch that a CUDA graph cannot hold */
    SQT_OUT_OF_MEMORY = 3,
    SQT_DEVICE_FAILED = 4,
    SQT_LAUNCH_FAILED = 5, /* the caller's function returned something else than 0 */
    SQT_INTERNAL = 6
};

typedef struct sqt_timer sqt_timer;

typedef struct {
    int warmup_launches;    /* at least this many unmeasured launches ... */
    double warmup_seconds;  /* ... and this long; up to 4 times as long until they are stationary */
    int min_samples;        /* at least; 3 are enough where a launch takes more than 0.2 s */
    int max_samples;        /* at most; >= min_samples */
    double max_seconds;     /* no further sample once the sum of the launches reaches this */
    double target_interval; /* enough: 95 % interval of the median over the median (0.005) */
    double max_launch_seconds; /* a launch that takes longer is not sampled; at most 2.1 */
    double rest; /* the device's rest after a launch, in multiples of what it took; 0: none */
} sqt_policy;

typedef struct {
    int n;                 /* samples kept */
    int n_dropped;         /* taken while the device was slowed by heat or power brake: not kept */
    int n_late;            /* retaken: the stream's hold ended before the host was done */
    int n_unheld;          /* kept, but taken without a hold: the host's gaps are inside */
    int batch;             /* launches behind one sample; a sample is their mean */
    int warmup_launches;   /* made */
    double warmup_drift;   /* last third of the warm-up over the third before, minus 1; NAN */
    double sm_mhz;         /* SM clock while the samples were taken; NAN where unknown */
    double launch_seconds; /* shortest launch of the warm-up, as the host sees it */
    int is_too_long;       /* 1: longer than max_launch_seconds, nothing was sampled */
    char drop_reason[96];  /* "" where nothing was dropped */
} sqt_result;

/* SQT_ABI of the library that was loaded. */
SQT_API int sqt_abi(void);

/* device: "cpu", or a CUDA device's number. stream: the cudaStream_t that launches will be enqueued
 * on (the legacy default stream is the handle 1 and cannot be captured), or NULL for one of the
 * timer's own. *out is NULL after a failure; sqt_message(NULL) then has this thread's reason. */
SQT_API int sqt_open(const char *device, void *stream, sqt_timer **out);
SQT_API void sqt_close(sqt_timer *timer); /* accepts NULL */

/* The reason of the last failure of this timer; valid until its next call. */
SQT_API const char *sqt_message(const sqt_timer *timer);

/* The stream that launches must be enqueued on; NULL on the CPU, where launches are synchronous. */
SQT_API void *sqt_stream(sqt_timer *timer);

/* Draws `count` elements at `data` (on the device) as seqmark draws its inputs: the same bits for
 * the same (draw, seed, id). dtype: "bf16", "f16", "f32". draw: "normal(mean,deviation)",
 * "uniform(low,high)", "constant(value)" or "ramp(start,step,period)". Asynchronous. */
SQT_API int sqt_fill(sqt_timer *timer, void *data, const char *dtype, int64_t count,
                     const char *draw, uint64_t seed, uint32_t id);

/* Enqueues what clean-cold does before each sample: nothing of the caller's data is then in the L2
 * cache, and no dirty line that a later launch would have to write back. Asynchronous. */
SQT_API int sqt_cool(sqt_timer *timer);

/* Enqueues one launch; 0 where that went well. copy: which set of inputs to use; 0 unless rotating.
 */
typedef int (*sqt_launch)(void *arg, int copy);

/* Warms up and samples `launch`. cache: "clean-cold", "dirty-cold", "hot" or "rotate"; mode:
 * "plain", "graph" or "batch" (with hot or rotate only). copies: the sets of inputs that rotate
 * takes in turn
 * (>= 2, in all at least 5 times the L2 cache); 1 for the others. samples: room for max_samples, ns
 * of one launch each, in the order taken; result->n of them are written. */
SQT_API int sqt_measure(sqt_timer *timer, const sqt_policy *policy, const char *cache,
                        const char *mode, int copies, sqt_launch launch, void *arg,
                        int32_t *samples, sqt_result *result);

#ifdef __cplusplus
}
#endif
#endif
