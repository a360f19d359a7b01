/* retention: positions of its axes and tensors, for retention.c and retention.cu alone. */
#ifndef SQ_KERNELS_RETENTION_RETENTION_H
#define SQ_KERNELS_RETENTION_RETENTION_H

enum { AXIS_B, AXIS_L, AXIS_H, AXIS_K, AXIS_V, AXIS_FIRST, AXIS_CHUNK };
enum { IN_Q, IN_K, IN_V, IN_COUNT };

#endif
