/* rotation: rotary positions (RoPE, xPos and RetNet's variant) of one row of channels, for the
 * references, and their angles, for host code that prepares tables.
 */
#ifndef SQ_KERNELS_SHARED_ROTATION_H
#define SQ_KERNELS_SHARED_ROTATION_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Pair i of the n = dims / 2 turns by position * base^(-i / n). */
typedef struct {
    int64_t dims;        /* channels that turn, the first ones of a row; even; 0: none */
    bool is_interleaved; /* pairs (2 i, 2 i + 1), else (i, i + n) */
    bool has_end_point;  /* base^(-i / (n - 1)) instead: RetNet */
    double base;
    double scale_base; /* xPos: pair i grows by s_i^((position - center) / scale_base) with
                        * s_i = (2 i + 0.4 dims) / (1.4 dims); negative for keys; 0: no growth */
    double center;
} sq_rotation;

/* Angle of pair i at position 1, and log2 of its growth from one position to the next. */
double sq_rotation_angle(const sq_rotation *r, int64_t i);
double sq_rotation_growth(const sq_rotation *r, int64_t i);

/* x, in place, as it stands at `position`; or, is_gradient, the gradient of what stood there as one
 * of what came in: the transposed matrix. */
void sq_rotate(const sq_rotation *r, double position, bool is_gradient, double *x);

#ifdef __cplusplus
}
#endif
#endif
