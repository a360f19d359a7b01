/* hopper_primitives: kernels/hw/{tma,wgmma}_sm90.cuh at work, one by one, for test_gpu_hopper.c. */
#ifndef SQ_TESTS_GPU_HOPPER_PRIMITIVES_H
#define SQ_TESTS_GPU_HOPPER_PRIMITIVES_H

#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    HOPPER_SIDE = 64,
    HOPPER_KEYS = 128,
    /* A tensor (batches, times, heads, columns) that tiles stick out of. */
    HOPPER_BATCHES = 2,
    HOPPER_TIMES = 70,
    HOPPER_HEADS = 3,
    HOPPER_COLUMNS = 72,
    HOPPER_ELEMENTS = HOPPER_BATCHES * HOPPER_TIMES * HOPPER_HEADS * HOPPER_COLUMNS
};

/* Elements of bf16 are given as their bits. */
typedef struct {
    uint16_t q[HOPPER_SIDE][HOPPER_KEYS], k[HOPPER_SIDE][HOPPER_KEYS], v[HOPPER_SIDE][HOPPER_SIDE];
    uint16_t ragged[HOPPER_ELEMENTS];
} hopper_input;

typedef struct {
    uint16_t tile[HOPPER_SIDE * HOPPER_SIDE]; /* as it lies in shared memory: of ragged, from
                                               * b 1, t 64, h 1, x 64 on */
    uint16_t stored[HOPPER_ELEMENTS];       /* that tile, stored from there on; 0xffff elsewhere */
    float scores[HOPPER_SIDE][HOPPER_SIDE]; /* (i, j) Q K^T */
    float part[HOPPER_SIDE][HOPPER_SIDE];   /* (i, j) Q K^T from two halves of every other 8 j */
    float state[HOPPER_SIDE][HOPPER_KEYS];  /* (v, n) V^T K */
    float plain[HOPPER_SIDE][HOPPER_KEYS];  /* (i, n) V K */
    float narrow[HOPPER_SIDE][HOPPER_SIDE]; /* (v, n) the first 64 columns of state */
    float query[HOPPER_SIDE][HOPPER_SIDE];  /* (v, i) state Q^T */
    float values[HOPPER_SIDE][HOPPER_SIDE]; /* (v, i) V^T scores^T */
    uint16_t out[HOPPER_SIDE][HOPPER_SIDE]; /* (i, v) of values / 16 */
} hopper_output;

/* SQ_UNSUPPORTED: no device of sm_90. */
sq_status hopper_run(const hopper_input *in, hopper_output *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
