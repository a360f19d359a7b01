/* rope on CUDA: see rope.c for the operator.
 *
 *   cuda/naive     a thread for each element (naive.cuh)
 *   cuda/portable  a thread turns the same few pairs of up to four heads: one sine and cosine for
 *                  all; 16-byte vectors where rows allow them
 */
#include <math.h>

#include "kernels/hw/convert.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/rope/naive.cuh"
#include "kernels/rope/rope.h"
#include "kernels/rope/rotary_cuda.h"

enum { THREADS = 256, HEADS = 4 };

/* Strides in elements: b batch, l position, h head. */
struct rotary_params {
    const void *x;
    void *y;
    int64_t x_b, x_l, x_h, y_b, y_l, y_h, count, first;
    int length, heads, head_groups, units, pairs;
    bool is_interleaved, is_gradient, grows;
    double center, angle[ROTARY_MAX_PAIRS], growth[ROTARY_MAX_PAIRS];
};

template <typename T, int V>
__device__ __forceinline__ void rotary_load(const T *from, float (&x)[V])
{
    if constexpr (V == sq_per_vector<T>)
        sq_unpack_vector<T>(sq_load16(from), x);
    else
        x[0] = sq_to_f32(*from);
}

template <typename T, int V>
__device__ __forceinline__ void rotary_store(T *to, const float (&x)[V])
{
    if constexpr (V == sq_per_vector<T>)
        sq_store16(to, sq_pack_vector<T>(x));
    else
        *to = sq_from_f32<T>(x[0]);
}

/* The angle is reduced in f64: sincosf then sees one turn at most. */
template <int V>
__device__ __forceinline__ void rotary_factors(const rotary_params &p, int pair, int l,
                                               float (&c)[V], float (&s)[V])
{
    const double position = (double)(p.first + l), turn = 6.283185307179586;
#pragma unroll
    for (int i = 0; i < V; i++) {
        const double angle = position * p.angle[pair + i];
        sincosf((float)(angle - turn * rint(angle / turn)), &s[i], &c[i]);
        if (p.grows) {
            const float growth = (float)exp2((position - p.center) * p.growth[pair + i]);
            s[i] *= growth;
            c[i] *= growth;
        }
        s[i] = p.is_gradient ? -s[i] : s[i];
    }
}

/* V pairs of one head: two vectors, `apart` elements from each other. */
template <typename T, int V>
__device__ __forceinline__ void rotary_turn(const rotary_params &p, const T *x, T *y, int apart,
                                            const float (&c)[V], const float (&s)[V])
{
    float lo[V], hi[V];
    rotary_load<T>(x, lo);
    rotary_load<T>(x + apart, hi);
    if (p.is_interleaved) {
        float flat[2 * V];
#pragma unroll
        for (int i = 0; i < V; i++)
            flat[i] = lo[i], flat[V + i] = hi[i];
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float a = flat[2 * i], b = flat[2 * i + 1];
            flat[2 * i] = a * c[i] - b * s[i];
            flat[2 * i + 1] = b * c[i] + a * s[i];
        }
#pragma unroll
        for (int i = 0; i < V; i++)
            lo[i] = flat[i], hi[i] = flat[V + i];
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float a = lo[i], b = hi[i];
            lo[i] = a * c[i] - b * s[i];
            hi[i] = b * c[i] + a * s[i];
        }
    }
    rotary_store<T>(y, lo);
    rotary_store<T>(y + apart, hi);
}

/* Units of a row: pairs / V that turn, then vectors that are copied. */
template <typename T, int V>
__global__ void __launch_bounds__(THREADS) rotary(const __grid_constant__ rotary_params p)
{
    const int64_t index = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (index >= p.count)
        return;
    const int unit = (int)(index % p.units);
    const int64_t row = index / p.units;
    const int group = (int)(row % p.head_groups);
    const int l = (int)(row / p.head_groups % p.length);
    const int64_t b = row / p.head_groups / p.length;
    const T *x = (const T *)p.x + b * p.x_b + l * p.x_l;
    T *y = (T *)p.y + b * p.y_b + l * p.y_l;
    const int pair = unit * V, last = min((group + 1) * HEADS, p.heads);
    if (pair < p.pairs) {
        const int at = p.is_interleaved ? 2 * pair : pair, apart = p.is_interleaved ? V : p.pairs;
        float c[V], s[V];
        rotary_factors<V>(p, pair, l, c, s);
        for (int h = group * HEADS; h < last; h++)
            rotary_turn<T, V>(p, x + h * p.x_h + at, y + h * p.y_h + at, apart, c, s);
    } else {
        const int at = p.pairs + pair;
        for (int h = group * HEADS; h < last; h++) {
            float kept[V];
            rotary_load<T>(x + h * p.x_h + at, kept);
            rotary_store<T>(y + h * p.y_h + at, kept);
        }
    }
}

/* Every vector lies within the pairs' first or second halves, or behind them. */
static bool takes_vectors(const sq_rotation *r, const sq_tensor *x, const sq_tensor *y)
{
    const int64_t vector = 16 / (int64_t)sq_dtype_size(x->dtype);
    return r->dims / 2 % vector == 0 && x->dim[3] % vector == 0 && sq_is_vector_aligned(x) &&
           sq_is_vector_aligned(y);
}

static rotary_params params_of(const sq_rotation *r, const sq_tensor *x, const sq_tensor *y,
                               int64_t first, bool is_gradient, int vector)
{
    rotary_params p = {};
    p.x = x->data, p.x_b = x->stride[0], p.x_l = x->stride[1], p.x_h = x->stride[2];
    p.y = y->data, p.y_b = y->stride[0], p.y_l = y->stride[1], p.y_h = y->stride[2];
    p.first = first, p.length = (int)x->dim[1], p.heads = (int)x->dim[2];
    p.head_groups = (int)sq_ceil_div(p.heads, HEADS);
    p.pairs = (int)(r->dims / 2);
    p.units = ((int)x->dim[3] - p.pairs) / vector;
    p.count = x->dim[0] * x->dim[1] * p.head_groups * p.units;
    p.is_interleaved = r->is_interleaved, p.is_gradient = is_gradient;
    p.grows = r->scale_base != 0, p.center = r->center;
    for (int i = 0; i < p.pairs; i++) {
        p.angle[i] = sq_rotation_angle(r, i);
        p.growth[i] = sq_rotation_growth(r, i);
    }
    return p;
}

template <typename T, int V>
static sq_status launch(const rotary_params *p, cudaStream_t stream, sq_error *err)
{
    rotary<T, V><<<(unsigned)sq_ceil_div(p->count, THREADS), THREADS, 0, stream>>>(*p);
    return sq_launched("rotation cuda/portable", err);
}

sq_status sq_rotary_launch(const sq_rotation *rotation, const sq_tensor *x, const sq_tensor *y,
                           int64_t first, bool is_gradient, void *stream, sq_error *err)
{
    const bool is_wide = takes_vectors(rotation, x, y);
    return sq_with_type(x->dtype, err, [&](auto type) {
        using T = decltype(type);
        constexpr int wide = sq_per_vector<T>;
        const rotary_params p = params_of(rotation, x, y, first, is_gradient, is_wide ? wide : 1);
        return is_wide ? launch<T, wide>(&p, (cudaStream_t)stream, err)
                       : launch<T, 1>(&p, (cudaStream_t)stream, err);
    });
}

sq_status sq_rotary_fits(const sq_tensor *x, sq_error *why)
{
    const int64_t units = x->dim[0] * x->dim[1] * sq_ceil_div(x->dim[2], HEADS) * x->dim[3];
    if (sq_ceil_div(units, THREADS) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*L*(H/%d)*D over 2^39", HEADS);
    return SQ_OK;
}

sq_status sq_rotary_supports(const sq_call *call, const sq_device *, sq_error *why)
{
    SQ_TRY(sq_rotary_fits(&call->out[0], why));
    return sq_supports_types(call, why);
}

sq_status sq_rotary_launch_call(const sq_call *call, const sq_rotation *rotation, sq_error *err)
{
    const bool is_gradient = call->pass == SQ_PASS_BWD;
    return sq_rotary_launch(rotation, &call->in[is_gradient ? 1 : 0], &call->out[0],
                            sq_rotary_first(call), is_gradient, call->stream, err);
}

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    const sq_rotation rotation = sq_rope_rotation_of(call->axis);
    return sq_rotary::naive_launch(call, &rotation, err);
}

static sq_status launch_rope(const sq_call *call, void *, sq_error *err)
{
    const sq_rotation rotation = sq_rope_rotation_of(call->axis);
    return sq_rotary_launch_call(call, &rotation, err);
}

extern "C" const sq_provider sq_cuda_rope[] = {
    {.name = "cuda/naive",
     .note = "a thread for each element",
     .supports = sq_naive_supports,
     .launch = launch_naive,
     .passes = SQ_HAS_BWD | SQ_HAS_STEP},
    {.name = "cuda/portable",
     .note = "a thread turns a vector of pairs of four heads",
     .supports = sq_rotary_supports,
     .launch = launch_rope,
     .passes = SQ_HAS_BWD | SQ_HAS_STEP},
    {.name = NULL},
};
