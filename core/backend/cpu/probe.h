/* probe: the ceilings of the host: memory bandwidth and f32 arithmetic over all cores. */
#ifndef SQ_CORE_BACKEND_CPU_PROBE_H
#define SQ_CORE_BACKEND_CPU_PROBE_H

#include "core/backend/probe.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const sq_probe sq_cpu_probes[]; /* ends with a NULL name */

#ifdef __cplusplus
}
#endif
#endif
