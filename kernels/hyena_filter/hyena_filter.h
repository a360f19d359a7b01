/* hyena_filter: positions of its axes and tensors, and its parts, for the files of this folder
 * alone.
 */
#ifndef SQ_KERNELS_HYENA_FILTER_HYENA_FILTER_H
#define SQ_KERNELS_HYENA_FILTER_HYENA_FILTER_H

#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_E, AXIS_F, AXIS_INNER, AXIS_SHIFT };
/* Layer i has weight IN_W0 + 2 i and bias IN_B0 + 2 i; layers beyond `inner` are absent. */
enum { IN_Z, IN_T, IN_FREQ, IN_W0, IN_B0, IN_W1, IN_B1, IN_W2, IN_B2, IN_OUT, IN_DELTA, IN_COUNT };
enum { MOST_LAYERS = 3 };

#ifdef __cplusplus
extern "C" {
#endif

/* The network at one step: x[i] before and a[i] after the sine of layer i; rows of F in the memory
 * that the caller gives (2 MOST_LAYERS F). */
typedef struct {
    int layers;
    double *x[MOST_LAYERS], *a[MOST_LAYERS];
} sq_hyena_network;

sq_hyena_network sq_hyena_network_new(const sq_call *call, double *memory);
void sq_hyena_network_run(const sq_call *call, int64_t t, sq_hyena_network *net);
/* e^(-t |delta|) of filter b of channel d. */
double sq_hyena_decay(const sq_call *call, int64_t b, int64_t d, int64_t t);

/* hyena_filter_bwd.c: the reference of pass bwd. */
sq_status sq_hyena_filter_backward(const sq_call *call, sq_error *err);

#ifdef __cplusplus
}
#endif

#endif
