/* scan_args: what the kernels of selective_scan take. Included by its .cuh files.
 */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SCAN_ARGS_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_SCAN_ARGS_CUH

#include <stdint.h>

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/selective_scan/selective_scan.h"

namespace sq_selective_scan
{

/* A (B, L, D) tensor: unit stride over channels. */
template <typename T>
struct sequence {
    T *data;
    int64_t stride_b, stride_t;
};

/* A (B, L, G, N) tensor: unit stride over states. */
template <typename T>
struct projection {
    T *data;
    int64_t stride_b, stride_t, stride_g;
};

/* B or C (or a gradient) that is constant in time, (D, N) with unit stride over states; data: NULL
 * where it is not. */
struct constant_rows {
    float *data;
    int64_t stride;

    __device__ __forceinline__ float *row(int64_t d) const { return data + d * stride; }
};

/* Every BORDER-th state is kept for pass bwd: a multiple of every tiling's STEPS. */
constexpr int BORDER = 64;

template <typename T>
struct scan_args {
    sequence<const T> u, delta, z; /* z.data: NULL without a gate */
    sequence<T> y;
    projection<const T> b, c; /* data: NULL where const_b, const_c have it */
    constant_rows const_b, const_c;
    const float *a; /* (D, N), rows a_stride apart */
    int64_t a_stride;
    const float *skip, *bias; /* (D) or NULL */
    const float *initial;     /* (B, D, N) or NULL, unit stride over states */
    float *final;
    float *saved; /* (B, (L-1) / BORDER, D, N), the states at the borders; or NULL */
    int64_t initial_stride_b, initial_stride_d, final_stride_b, final_stride_d;
    int64_t batch, length, channels, groups, states;
    bool has_softplus;
    /* 16-byte chunks of channels (u, delta, z, y) and of states (B, C) are aligned and whole. */
    bool is_sequence_vector, is_projection_vector;

    /* The states of channel d after step (border + 1) BORDER - 1. */
    __device__ __forceinline__ float *saved_row(int64_t b, int64_t border, int64_t d) const
    {
        return saved + ((b * ((length - 1) / BORDER) + border) * channels + d) * states;
    }
};

template <typename T>
sequence<T> sequence_of(const sq_tensor *t)
{
    return {(T *)t->data, t->stride[0], t->stride[1]};
}

template <typename T>
projection<T> projection_of(const sq_tensor *t)
{
    return {t->rank == 2 ? nullptr : (T *)t->data, t->stride[0], t->stride[1], t->stride[2]};
}

static inline constant_rows constant_rows_of(const sq_tensor *t)
{
    return {t->rank == 2 ? (float *)t->data : nullptr, t->stride[0]};
}

static inline bool has_constants(const sq_call *call)
{
    return call->in[IN_B].rank == 2 || call->in[IN_C].rank == 2;
}

static inline int64_t groups_of(const sq_call *call)
{
    return (int64_t)call->axis[AXIS_G];
}

static inline bool is_sequence_vector(const sq_call *call)
{
    const int64_t per_group = call->in[IN_U].dim[2] / groups_of(call);
    return per_group * (int64_t)sq_dtype_size(call->dtype) % 16 == 0 &&
           sq_is_vector_aligned(&call->in[IN_U]) && sq_is_vector_aligned(&call->in[IN_DELTA]) &&
           sq_is_vector_aligned(&call->in[IN_Z]) && sq_is_vector_aligned(&call->out[OUT_Y]);
}

static inline bool is_projection_vector(const sq_call *call)
{
    return call->in[IN_A].dim[1] * (int64_t)sq_dtype_size(call->dtype) % 16 == 0 &&
           sq_is_vector_aligned(&call->in[IN_B]) && sq_is_vector_aligned(&call->in[IN_C]);
}

/* What every pass reads. */
template <typename T>
scan_args<T> args_of(const sq_call *call)
{
    const sq_tensor *in = call->in;
    scan_args<T> args = {};
    args.u = sequence_of<const T>(&in[IN_U]);
    args.delta = sequence_of<const T>(&in[IN_DELTA]);
    args.z = sequence_of<const T>(&in[IN_Z]);
    args.b = projection_of<const T>(&in[IN_B]);
    args.c = projection_of<const T>(&in[IN_C]);
    args.const_b = constant_rows_of(&in[IN_B]);
    args.const_c = constant_rows_of(&in[IN_C]);
    args.a = (const float *)in[IN_A].data;
    args.a_stride = in[IN_A].stride[0];
    args.skip = (const float *)in[IN_SKIP].data;
    args.bias = (const float *)in[IN_BIAS].data;
    args.initial = (const float *)in[IN_INITIAL].data;
    args.initial_stride_b = in[IN_INITIAL].stride[0];
    args.initial_stride_d = in[IN_INITIAL].stride[1];
    args.batch = in[IN_U].dim[0];
    args.length = in[IN_U].dim[1];
    args.channels = in[IN_U].dim[2];
    args.groups = groups_of(call);
    args.states = in[IN_A].dim[1];
    args.has_softplus = call->axis[AXIS_SOFTPLUS] != 0;
    args.saved = (float *)call->saved;
    return args;
}

/* Of passes fwd and step. */
template <typename T>
scan_args<T> forward_args_of(const sq_call *call)
{
    const sq_tensor *final = &call->out[OUT_FINAL];
    scan_args<T> args = args_of<T>(call);
    args.y = sequence_of<T>(&call->out[OUT_Y]);
    args.final = (float *) final->data;
    args.final_stride_b = final->stride[0];
    args.final_stride_d = final->stride[1];
    args.is_sequence_vector = is_sequence_vector(call);
    args.is_projection_vector = is_projection_vector(call);
    return args;
}

} // namespace sq_selective_scan

#endif
