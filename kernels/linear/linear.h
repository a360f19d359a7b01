/* linear: positions of its axes and tensors, for the files of this folder alone. */
#ifndef SQ_KERNELS_LINEAR_LINEAR_H
#define SQ_KERNELS_LINEAR_LINEAR_H

enum { AXIS_B, AXIS_L, AXIS_K, AXIS_N, AXIS_BIAS, AXIS_RESIDUAL };
enum { IN_X, IN_W, IN_BIAS, IN_R, IN_COUNT };

#endif
