/* chained_kernels: the chains of kernels/hw/launch.cuh at work, for test_gpu_chain.c. */
#ifndef SQ_TESTS_GPU_CHAINED_KERNELS_H
#define SQ_TESTS_GPU_CHAINED_KERNELS_H

#include <stdbool.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Each block of a link reads what its right neighbour of the link before has left, waits, and leaves
 * one more, in the place that the link before has read from. Every other link has more blocks than
 * the device holds at once. */
enum { CHAINED_LINKS = 5, CHAINED_BLOCKS = 1000, CHAINED_CALLS = 3 };

typedef struct {
    int numbers[CHAINED_BLOCKS]; /* after all calls; at first 0, 1, 2 ... */
    int early;                   /* of the captured graph: edges that let the next link begin */
    int major, minor;            /* of the device */
} chained_output;

/* CHAINED_CALLS chains one after the other, as launches or as a graph. SQ_UNSUPPORTED: no device. */
sq_status chained_run(bool is_graph, chained_output *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
