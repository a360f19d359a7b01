/* backend: the device services that the harness needs, behind one table of functions.
 *
 * A backend knows memory, inputs, copies and time; it knows no operator, policy or file.
 * core/backend/<b>/ implements it; backends.def lists them.
 */
#ifndef SQ_CORE_BACKEND_H
#define SQ_CORE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cell.h"
#include "core/record.h"
#include "core/rng.h"
#include "core/status.h"
#include "core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sq_backend_device sq_backend_device; /* an open device; each backend has its own */

struct sq_probe; /* core/backend/probe.h */

/* Enqueues one launch on the device's stream. */
typedef sq_status (*sq_launch_fn)(void *arg, sq_error *err);

/* One sample to be taken. */
typedef struct {
    sq_cache cache; /* the state it starts from: HOT launches once before, ROTATE does nothing */
    int launches;   /* back to back in the timed window; at least 1 */
    /* The device waits at most this long until the host has enqueued the window, so that no launch
     * latency is inside; 0: it does not wait. */
    double hold_seconds;
    sq_launch_fn launch;
    void *arg;
} sq_sample_request;

typedef struct {
    int32_t ns;    /* of one launch: the window over its launches; INT32_MAX where it is longer */
    double sm_mhz; /* SM clock within the window; NAN where unknown or the window is too short */
    bool is_late;  /* the hold ended before the host was done: its gaps may be in the window */
} sq_sample;

typedef struct sq_backend {
    const char *name; /* "cpu", "cuda" */
    /* Devices present; 0 with a reason in *why when there are none. */
    int (*count)(sq_error *why);
    sq_status (*open)(int index, sq_backend_device **out, sq_error *err);
    void (*close)(sq_backend_device *device); /* accepts NULL */
    const sq_device *(*facts)(const sq_backend_device *device);
    /* Bytes that could be allocated now, and in all. */
    sq_status (*memory)(sq_backend_device *device, size_t *free_bytes, size_t *total_bytes,
                        sq_error *err);
    /* At least 256-byte aligned. SQ_OUT_OF_MEMORY names the bytes asked for. bytes may be 0. */
    sq_status (*alloc)(sq_backend_device *device, size_t bytes, void **out, sq_error *err);
    void (*free)(sq_backend_device *device, void *data); /* accepts NULL */
    /* The stream for sq_call.stream; NULL where the backend has none. */
    void *(*stream)(sq_backend_device *device);
    /* Draws a tensor, or a view of one whose first element is the tensor's element `base`
     * (sq_rng_fill). Asynchronous. */
    sq_status (*fill)(sq_backend_device *device, const sq_tensor *view, int64_t base, sq_draw draw,
                      uint64_t seed, uint32_t id, sq_error *err);
    /* Sets every byte to 0xff: NaN in every float type. Asynchronous. */
    sq_status (*poison)(sq_backend_device *device, void *data, size_t bytes, sq_error *err);
    /* Packs a strided device view into dense host memory, in row-major order. Synchronous. */
    sq_status (*gather)(sq_backend_device *device, const sq_tensor *view, void *host,
                        sq_error *err);
    /* Copies dense host memory to the device. Synchronous. */
    sq_status (*upload)(sq_backend_device *device, void *data, const void *host, size_t bytes,
                        sq_error *err);
    /* Copies between two places of the device, as fast as it can. Asynchronous. */
    sq_status (*copy)(sq_backend_device *device, void *to, const void *from, size_t bytes,
                      sq_error *err);
    /* A 64-bit checksum of the bytes of a dense tensor, order-independent. Synchronous. */
    sq_status (*checksum)(sq_backend_device *device, const sq_tensor *tensor, uint64_t *out,
                          sq_error *err);
    /* Waits, and returns any error that launches left behind. */
    sq_status (*sync)(sq_backend_device *device, sq_error *err);
    /* Puts the cache into the clean-cold state: nothing of the inputs there, no dirty line that a
     * later launch would have to write back. Asynchronous. */
    sq_status (*cool)(sq_backend_device *device, sq_error *err);
    /* Puts the cache into the state asked for, then start, launches, stop; waits. */
    sq_status (*sample)(sq_backend_device *device, const sq_sample_request *request, sq_sample *out,
                        sq_error *err);

    /* What follows is NULL where a backend has no such thing. */

    /* All later work goes to the caller's stream, which must outlive the device. */
    sq_status (*use_stream)(sq_backend_device *device, void *stream, sq_error *err);
    /* Records `launches` launches as one graph. SQ_UNSUPPORTED, in the device's own words, for a
     * launch that cannot be captured; the device stays as usable as before. */
    sq_status (*capture)(sq_backend_device *device, sq_launch_fn launch, void *arg, int launches,
                         void **graph, sq_error *err);
    /* Enqueues a captured graph. */
    sq_status (*replay)(sq_backend_device *device, void *graph, sq_error *err);
    void (*discard)(sq_backend_device *device, void *graph); /* accepts NULL */
    /* *mhz: mean SM clock between the two calls; NAN where they are too close. */
    sq_status (*clock_start)(sq_backend_device *device, sq_error *err);
    sq_status (*clock_stop)(sq_backend_device *device, double *mhz, sq_error *err);
    /* Enqueues `ns` of doing nothing, as part of a launch: what a slower provider would be like. */
    sq_status (*idle)(sq_backend_device *device, double ns, sq_error *err);
    /* What the device can do at most, each by a loop of its own; ends with a NULL name. May be NULL. */
    const struct sq_probe *probes;
} sq_backend;

#define SQ_BACKEND(name) extern const sq_backend sq_backend_##name;
#include "core/backend/backends.def"
#undef SQ_BACKEND

#ifdef __cplusplus
}
#endif
#endif
