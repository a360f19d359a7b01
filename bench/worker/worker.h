/* worker: proves, times and counts cells, one at a time, as its parent asks over a pipe.
 *
 * The same code is seqmark-worker (CUDA) and `seqmark --worker` (CPU): what differs is the set
 * passed in. A worker holds one device; a sticky device error ends the process and the parent
 * starts another.
 */
#ifndef SQ_BENCH_WORKER_H
#define SQ_BENCH_WORKER_H

#include "core/backend/backend.h"
#include "kernels/fusion.h"
#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const sq_backend *backend;
    sq_providers_fn providers;
    sq_fusions_fn fusions;                /* NULL: none */
    const struct sq_probe *vendor_probes; /* core/backend/probe.h; NULL: none */
    int device;
    int in_fd, out_fd;
} sq_worker_options;

/* Exit codes of a worker. STICKY: the device can no longer be used by this process; the record that
 * says why has been sent. */
enum { SQ_WORKER_DONE = 0, SQ_WORKER_FAILED = 1, SQ_WORKER_NO_DEVICE = 5, SQ_WORKER_STICKY = 8 };

/* Serves requests (bench/wire.h) until end of file; the exit code of the process. Without a device
 * it answers {"is":"error"} with the reason at once. */
int sq_worker_serve(const sq_worker_options *options);

#ifdef __cplusplus
}
#endif
#endif
