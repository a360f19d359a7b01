/* characterize: every ceiling of a device, one after the other; two minutes at most. */
#ifndef SQ_BENCH_WORKER_CHARACTERIZE_H
#define SQ_BENCH_WORKER_CHARACTERIZE_H

#include "bench/worker/probing.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Idle power first, while the device is at rest; then the backend's probes and the vendor
 * libraries' products, burst and sustained, with power and clock under that load. Errors as of
 * sq_probe_measure. */
sq_status sq_characterize(const sq_rig *rig, const sq_ceiling_listener *listener, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
