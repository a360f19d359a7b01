/* xpos on CUDA: see xpos.c for the operator.
 *
 *   cuda/naive     a thread for each element (kernels/rope/naive.cuh)
 *   cuda/portable  the kernel of rope, which grows what it turns
 */
#include "kernels/rope/naive.cuh"
#include "kernels/rope/rotary_cuda.h"
#include "kernels/xpos/xpos.h"

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    const sq_rotation rotation = sq_xpos_rotation_of(call->axis);
    return sq_rotary::naive_launch(call, &rotation, err);
}

static sq_status launch_xpos(const sq_call *call, void *, sq_error *err)
{
    const sq_rotation rotation = sq_xpos_rotation_of(call->axis);
    return sq_rotary_launch_call(call, &rotation, err);
}

extern "C" const sq_provider sq_cuda_xpos[] = {
    {.name = "cuda/naive",
     .note = "a thread for each element",
     .supports = sq_naive_supports,
     .launch = launch_naive,
     .passes = SQ_HAS_BWD | SQ_HAS_STEP},
    {.name = "cuda/portable",
     .note = "rope's kernel; sines and cosines carry the growth",
     .supports = sq_rotary_supports,
     .launch = launch_xpos,
     .passes = SQ_HAS_BWD | SQ_HAS_STEP},
    {.name = NULL},
};
