/* rmsnorm: positions of its axes and tensors, for the files of this folder alone. */
#ifndef SQ_KERNELS_RMSNORM_RMSNORM_H
#define SQ_KERNELS_RMSNORM_RMSNORM_H

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_GROUPS, AXIS_WEIGHT, AXIS_GATE, AXIS_EPS };
enum { IN_X, IN_W, IN_Z, IN_COUNT };
enum { GATE_NONE, GATE_PRE, GATE_POST };

#endif
