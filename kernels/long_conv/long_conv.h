/* long_conv: positions of its axes and tensors, and its parts, for the files of this folder alone.
 */
#ifndef SQ_KERNELS_LONG_CONV_LONG_CONV_H
#define SQ_KERNELS_LONG_CONV_LONG_CONV_H

#include "kernels/op.h"
#include "kernels/shared/fft.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_GATE, AXIS_GELU, AXIS_CAUSAL, AXIS_HEAD };
enum { IN_V, IN_X1, IN_X0, IN_H, IN_BIAS, IN_R, IN_COUNT };

#ifdef __cplusplus
extern "C" {
#endif

/* A row of the reference: channels i and j of head h (i = j = 0 where a head is one channel). */
typedef struct {
    int64_t b, h, i, j;
} sq_long_conv_row;

/* long_conv_ref.c: the references of the passes, what they share, and multiply-adds of a row. */
sq_status sq_long_conv_reference(const sq_call *call, sq_error *err);
double sq_long_conv_row_work(int64_t length);
double sq_long_conv_gelu(double a);
double sq_long_conv_gelu_slope(double a);
/* u_t. */
double sq_long_conv_input(const sq_call *call, const sq_long_conv_row *row, int64_t t);
/* z = both filters of head h around the circle of n points, imaginary parts 0. */
void sq_long_conv_filter(const sq_call *call, int64_t h, int64_t n, sq_c64 *z);
/* The power of two that gives `other` the size of `most`, 0 where either is 0: real rows that share one
 * complex transform leave the rounding of the larger one in the smaller. */
double sq_long_conv_balance(double most, double other);

/* long_conv_bwd.c */
sq_status sq_long_conv_backward(const sq_call *call, sq_error *err);

#ifdef __cplusplus
}
#endif

#endif
