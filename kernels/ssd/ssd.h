/* ssd: positions of its axes and tensors, for ssd.c and ssd.cu alone. */
#ifndef SQ_KERNELS_SSD_SSD_H
#define SQ_KERNELS_SSD_SSD_H

enum {
    AXIS_B,
    AXIS_L,
    AXIS_H,
    AXIS_P,
    AXIS_N,
    AXIS_G,
    AXIS_BIAS,
    AXIS_SOFTPLUS,
    AXIS_SKIP,
    AXIS_CHUNK
};
enum { IN_X, IN_DT, IN_A, IN_B, IN_C, IN_D, IN_BIAS, IN_COUNT };

#endif
