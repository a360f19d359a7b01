/* norm: the parameters of the kernels of norm.cu and norm_bwd.cu, and rows in registers: LANES
 * threads hold one run (a group of a row), VECTORS 16-byte vectors each; vector v of a lane is
 * lane + v * LANES of the run.
 */
#ifndef SQ_KERNELS_NORM_CORE_NORM_CUH
#define SQ_KERNELS_NORM_CORE_NORM_CUH

#include "kernels/hw/convert.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/norm_core/norm.h"

/* Strides in elements: batch, position, group. data NULL: absent. */
struct norm_rows {
    void *data;
    int64_t b, l, g;
};

/* r, s and their gradients are f32 where is_kept_f32, else of the type of the rest. In pass bwd s
 * is an input: x, or the sum that fwd handed on. */
struct norm_params {
    norm_rows x, z, r, y, s;      /* fwd */
    norm_rows dy, ds, dx, dz, dr; /* bwd, besides */
    const float *w, *bias;        /* NULL: 1, 0 */
    int64_t rows, length;
    int groups, width, gate;
    bool is_centred, is_kept_f32;
    float eps;
};

/* The largest number of rows' groups: they are counted in 32 bits. */
static const int64_t norm_max_runs = INT32_MAX;

static inline norm_rows norm_rows_of(const sq_norm *norm, const sq_tensor *t)
{
    if (!t->rank)
        return {};
    return {t->data, t->stride[0], t->stride[1], norm->is_by_head ? t->stride[2] : norm->width};
}

/* Inputs of pass bwd, behind those of pass fwd. */
enum { NORM_IN_DY = SQ_NORM_IN, NORM_IN_DS, NORM_IN_Y, NORM_IN_S };

/* Of any pass. */
static inline norm_params norm_params_of(const sq_norm *norm, const sq_call *call)
{
    norm_params p = {};
    p.x = norm_rows_of(norm, &call->in[SQ_NORM_X]);
    p.z = norm_rows_of(norm, &call->in[SQ_NORM_Z]);
    p.w = (const float *)call->in[SQ_NORM_W].data;
    p.bias = (const float *)call->in[SQ_NORM_B].data;
    p.length = call->in[SQ_NORM_X].dim[1];
    p.rows = call->in[SQ_NORM_X].dim[0] * p.length;
    p.groups = (int)norm->groups, p.width = (int)norm->width, p.gate = norm->gate;
    p.is_centred = norm->is_centred;
    p.is_kept_f32 = norm->residual == SQ_NORM_RESIDUAL_F32;
    p.eps = (float)norm->eps;
    if (call->pass != SQ_PASS_BWD) {
        p.r = norm_rows_of(norm, &call->in[SQ_NORM_R]);
        p.y = norm_rows_of(norm, &call->out[SQ_NORM_Y]);
        p.s = norm_rows_of(norm, &call->out[SQ_NORM_S]);
        return p;
    }
    p.s = norm_rows_of(norm, &call->in[norm->residual ? (int)NORM_IN_S : (int)SQ_NORM_X]);
    p.dy = norm_rows_of(norm, &call->in[NORM_IN_DY]);
    p.ds = norm_rows_of(norm, &call->in[NORM_IN_DS]);
    p.dx = norm_rows_of(norm, &call->out[SQ_NORM_X]);
    p.dz = norm_rows_of(norm, &call->out[SQ_NORM_Z]);
    p.dr = norm_rows_of(norm, &call->out[SQ_NORM_R]);
    return p;
}

/* Can a run be read in 16-byte vectors? */
static inline bool norm_is_vector(const sq_norm *norm, const sq_call *call)
{
    if (norm->width % (16 / (int64_t)sq_dtype_size(call->dtype)) != 0)
        return false;
    for (int i = 0; i < SQ_MAX_IN + SQ_MAX_OUT; i++) {
        const sq_tensor *t = i < SQ_MAX_IN ? &call->in[i] : &call->out[i - SQ_MAX_IN];
        if (t->rank && !sq_is_vector_aligned(t))
            return false;
    }
    return true;
}

/* --- where a run lies --- */

struct norm_place {
    int64_t b, l;
    int g;
};

__device__ __forceinline__ norm_place norm_place_of(const norm_params &p, uint32_t row, uint32_t g)
{
    return {row / (uint32_t)p.length, row % (uint32_t)p.length, (int)g};
}

template <typename T>
__device__ __forceinline__ T *norm_at(const norm_rows &t, const norm_place &at)
{
    return (T *)t.data + at.b * t.b + at.l * t.l + at.g * t.g;
}

/* --- a run in registers --- */

/* Zeros past the end of the run, which has `vectors` vectors. */
template <typename T, int LANES, int VECTORS>
__device__ __forceinline__ void norm_fetch(uint4 (&raw)[VECTORS], const T *from, int lane,
                                           int vectors)
{
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        raw[v] = make_uint4(0, 0, 0, 0);
        if (lane + v * LANES < vectors)
            raw[v] = sq_load16_stream(from + (lane + v * LANES) * sq_per_vector<T>);
    }
}

template <typename T>
__device__ __forceinline__ void norm_load_f32(float (&x)[sq_per_vector<T>], const float *from)
{
#pragma unroll
    for (int i = 0; i < sq_per_vector<T>; i += 4) {
        const uint4 raw = sq_load16_stream(from + i);
        x[i] = __uint_as_float(raw.x), x[i + 1] = __uint_as_float(raw.y);
        x[i + 2] = __uint_as_float(raw.z), x[i + 3] = __uint_as_float(raw.w);
    }
}

/* A run of r, s or their gradients; zeros past its end. */
template <typename T, int LANES, int VECTORS>
__device__ __forceinline__ void norm_load_kept(float (&x)[VECTORS][sq_per_vector<T>],
                                               const norm_params &p, const norm_rows &t,
                                               const norm_place &at, int lane, int vectors)
{
    constexpr int N = sq_per_vector<T>;
    if (sizeof(T) < 4 && p.is_kept_f32) {
        const float *from = norm_at<float>(t, at);
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
#pragma unroll
            for (int i = 0; i < N; i++)
                x[v][i] = 0.0f;
            if (lane + v * LANES < vectors)
                norm_load_f32<T>(x[v], from + (lane + v * LANES) * N);
        }
        return;
    }
    uint4 raw[VECTORS];
    norm_fetch<T, LANES>(raw, norm_at<T>(t, at), lane, vectors);
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
        sq_unpack_vector<T>(raw[v], x[v]);
}

/* Vector v of a run of r, s or their gradients. */
template <typename T, int LANES>
__device__ __forceinline__ void norm_store_kept(const float (&x)[sq_per_vector<T>],
                                                const norm_params &p, const norm_rows &t,
                                                const norm_place &at, int vector)
{
    constexpr int N = sq_per_vector<T>;
    if (sizeof(T) < 4 && p.is_kept_f32) {
        float *to = norm_at<float>(t, at) + vector * N;
#pragma unroll
        for (int i = 0; i < N; i += 4)
            *(float4 *)(to + i) = make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
    } else {
        sq_store16(norm_at<T>(t, at) + vector * N, sq_pack_vector<T>(x));
    }
}

/* N channels of w or b. */
template <int N>
__device__ __forceinline__ void norm_load_channels(float (&x)[N], const float *from, float absent)
{
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        const float4 four =
            from ? *(const float4 *)(from + i) : make_float4(absent, absent, absent, absent);
        x[i] = four.x, x[i + 1] = four.y, x[i + 2] = four.z, x[i + 3] = four.w;
    }
}

/* --- scalars, for runs that no vectors fit --- */

template <typename T>
__device__ __forceinline__ float norm_kept(const norm_params &p, const norm_rows &t,
                                           const norm_place &at, int i)
{
    return p.is_kept_f32 ? norm_at<const float>(t, at)[i] : sq_to_f32(norm_at<const T>(t, at)[i]);
}

template <typename T>
__device__ __forceinline__ void norm_keep(const norm_params &p, const norm_rows &t,
                                          const norm_place &at, int i, float x)
{
    if (p.is_kept_f32)
        norm_at<float>(t, at)[i] = x;
    else
        norm_at<T>(t, at)[i] = sq_from_f32<T>(x);
}

#endif
