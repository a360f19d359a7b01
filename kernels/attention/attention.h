/* attention: positions of its axes and tensors, for the files of this folder alone. */
#ifndef SQ_KERNELS_ATTENTION_ATTENTION_H
#define SQ_KERNELS_ATTENTION_ATTENTION_H

enum { AXIS_B, AXIS_L, AXIS_LK, AXIS_H, AXIS_HKV, AXIS_D, AXIS_CAUSAL, AXIS_WINDOW };
enum { IN_Q, IN_K, IN_V, IN_COUNT };

#endif
