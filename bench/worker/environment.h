/* environment: driver, libraries, compiler and host, as facts that are kept with every campaign. */
#ifndef SQ_BENCH_WORKER_ENVIRONMENT_H
#define SQ_BENCH_WORKER_ENVIRONMENT_H

#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is unknown stays empty. `device` says whose driver and libraries to ask for. */
void sq_environment_read(const sq_device *device, sq_environment *out);

#ifdef __cplusplus
}
#endif
#endif
