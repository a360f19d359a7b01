/* naive: the rotations of rope and xpos, a thread for each element. Included by rope.cu and xpos.cu
 * alone.
 */
#ifndef SQ_KERNELS_ROPE_NAIVE_CUH
#define SQ_KERNELS_ROPE_NAIVE_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/rope/rotary_cuda.h"

namespace sq_rotary
{

/* angle, growth: of each pair, as sq_rotation_angle() and sq_rotation_growth() have them. */
template <typename T>
struct naive_turn {
    sq_naive_tensor<T> x, y;
    int64_t length, heads, width, pairs, first;
    bool is_interleaved, is_gradient;
    double center, angle[ROTARY_MAX_PAIRS], growth[ROTARY_MAX_PAIRS];

    __device__ void operator()(int64_t i) const
    {
        const int64_t c = i % width, h = i / width % heads;
        const int64_t l = i / width / heads % length, b = i / width / heads / length;
        const float own = x.load(b, l, h, c);
        if (c >= 2 * pairs)
            return y.store(own, b, l, h, c);
        const bool is_second = is_interleaved ? c % 2 == 1 : c >= pairs;
        const int64_t pair = is_interleaved ? c / 2 : c % pairs;
        const int64_t apart = is_interleaved ? 1 : pairs;
        const float other = x.load(b, l, h, is_second ? c - apart : c + apart);
        const double position = (double)(first + l),
                     turns = position * angle[pair] / 6.283185307179586;
        const float size = (float)exp2((position - center) * growth[pair]);
        const float t = (float)(6.283185307179586 * (turns - rint(turns)));
        const float sine = is_second == is_gradient ? -sinf(t) : sinf(t);
        y.store(size * (own * cosf(t) + other * sine), b, l, h, c);
    }
};

static inline sq_status naive_launch(const sq_call *call, const sq_rotation *r, sq_error *err)
{
    const bool is_gradient = call->pass == SQ_PASS_BWD;
    const sq_tensor &x = call->in[is_gradient ? 1 : 0], &y = call->out[0];
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        naive_turn<T> f = {sq_naive_of<T>(x), sq_naive_of<T>(y)};
        f.length = x.dim[1], f.heads = x.dim[2], f.width = x.dim[3], f.pairs = r->dims / 2;
        f.first = sq_rotary_first(call);
        f.is_interleaved = r->is_interleaved, f.is_gradient = is_gradient, f.center = r->center;
        for (int i = 0; i < f.pairs; i++) {
            f.angle[i] = sq_rotation_angle(r, i);
            f.growth[i] = sq_rotation_growth(r, i);
        }
        return sq_naive_run(call, f, sq_tensor_count(&y), err);
    });
}

} // namespace sq_rotary

#endif
