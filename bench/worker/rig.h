/* rig: what a cell is run on: a backend, one open device of it, and the providers there are. */
#ifndef SQ_BENCH_WORKER_RIG_H
#define SQ_BENCH_WORKER_RIG_H

#include "bench/time/sampling.h"
#include "core/backend/backend.h"
#include "kernels/fusion.h"
#include "kernels/op.h"

typedef struct {
    const sq_backend *backend;
    sq_backend_device *device;
    sq_providers_fn providers;
    sq_fusions_fn fusions; /* NULL: none */
    const struct sq_probe *vendor_probes; /* of vendor libraries, beside the backend's; may be NULL */
    sq_watch watch; /* of the device's throttling; zero: nobody knows of any */
} sq_rig;

#endif
