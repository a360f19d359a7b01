/* probe: small measured loops that find what a device can do at most.
 *
 * A backend lists its own (sq_backend.probes), vendor libraries bring theirs beside it. The harness
 * opens a probe, tries its variants, times the fastest and checks what it computed; the result is
 * the ceiling that the probe is named after (core/ceiling.h). A probe allocates in open only.
 */
#ifndef SQ_CORE_BACKEND_PROBE_H
#define SQ_CORE_BACKEND_PROBE_H

#include "core/backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the amount of a launch means: RATE: the ceiling is amount over ns (bytes: GB/s; thousands of
 * operations: TFLOP/s). STEPS: it is ns over amount. */
typedef enum { SQ_PROBE_RATE, SQ_PROBE_STEPS } sq_probe_kind;

/* How a launch is timed: on the device with a cold or a hot cache, or by the host's clock from
 * calling launch to its return, on an idle device. */
typedef enum { SQ_PROBE_COLD, SQ_PROBE_HOT, SQ_PROBE_HOST } sq_probe_timing;

/* A probe made ready; each implementation has it as its first member. */
typedef struct {
    int variants;  /* ways to do it, at least 1 */
    double amount; /* of one launch of the variant chosen */
} sq_probe_run;

typedef struct sq_probe {
    const char *name; /* of the ceiling */
    sq_probe_kind kind;
    sq_probe_timing timing;
    const char *sustained; /* the ceiling that it gives over seconds; NULL: not measured */
    int id;                /* the implementation's own */
    /* SQ_UNSUPPORTED says why the device has no such ceiling; SQ_OUT_OF_MEMORY. After a failure
     * nothing is left. */
    sq_status (*open)(const struct sq_probe *probe, sq_backend_device *device, void *stream,
                      sq_probe_run **out, sq_error *err);
    /* Makes a variant the one to launch; SQ_UNSUPPORTED: this one cannot be. */
    sq_status (*choose)(sq_probe_run *run, int variant, sq_error *err);
    sq_status (*launch)(sq_probe_run *run,
                        sq_error *err); /* asynchronous, unless timed by the host */
    /* Whether the launches so far computed what they should; SQ_MISMATCH. Synchronous. */
    sq_status (*check)(sq_probe_run *run, sq_error *err);
    void (*close)(sq_probe_run *run); /* accepts NULL */
} sq_probe;

#ifdef __cplusplus
}
#endif
#endif
