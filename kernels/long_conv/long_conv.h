/* long_conv: positions of its axes and tensors, for the files of this folder alone. */
#ifndef SQ_KERNELS_LONG_CONV_LONG_CONV_H
#define SQ_KERNELS_LONG_CONV_LONG_CONV_H

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_GATE };
enum { IN_V, IN_X1, IN_X0, IN_H, IN_BIAS, IN_COUNT };

#endif
