/* naive: cuda/naive of s4_kernel, pass fwd, in f64: a thread for each point of the spectrum, which
 * goes through the workspace, then one for each tap, which sums the inverse transform directly.
 * Included by s4_kernel.cu alone.
 */
#ifndef SQ_KERNELS_S4_KERNEL_NAIVE_CUH
#define SQ_KERNELS_S4_KERNEL_NAIVE_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/s4_kernel/row_modes.cuh"

namespace sq_s4
{

static const double naive_most_sums = 1LL << 37; /* half a second of an H100 */

/* The sums of filter b of channel d at a point. */
__device__ inline sq_s4_sums naive_sums(const row_modes &m, int64_t b, int64_t d,
                                        const sq_s4_point *at)
{
    sq_s4_sums sums = {};
    for (int n = 0; n < m.count; n++) {
        const sq_s4_mode mode = m.of(d, n);
        sq_s4_add_mode(&sums, &mode, m.output(b, d, n), at, m.rank);
    }
    return sums;
}

/* V(w_j) of filter b of channel d; spectrum: (B, D, L / 2 + 1). */
struct naive_point {
    row_modes m;
    sq_c64 *spectrum;
    int64_t length, channels;

    __device__ void operator()(int64_t i) const
    {
        const int64_t points = length / 2 + 1, j = i % points;
        const int64_t d = i / points % channels, b = i / points / channels;
        const sq_s4_point at = sq_s4_point_of(j, length);
        const sq_s4_sums sums = naive_sums(m, b, d, &at);
        const sq_s4_solution solved = sq_s4_solve(&sums, at.g, m.rank);
        spectrum[i] = sq_s4_value(&sums, &solved, at.g, m.rank);
    }
};

/* L h_t = Re V(1) + 2 Re sum_{0 < j < L/2} V(w_j) e^(2 pi i j t/L) + (L even) (-1)^t Re V(-1). */
struct naive_tap {
    const sq_c64 *spectrum;
    sq_naive_tensor<float> h;
    int64_t length, channels;

    __device__ void operator()(int64_t i) const
    {
        const int64_t t = i % length, row = i / length;
        const sq_c64 *v = spectrum + row * (length / 2 + 1);
        double sum = v[0].re;
        for (int64_t j = 1; 2 * j < length; j++) {
            double s, c;
            sincospi(2.0 * (double)(j * t % length) / (double)length, &s, &c);
            sum += 2 * (v[j].re * c - v[j].im * s);
        }
        if (length % 2 == 0)
            sum += t % 2 == 0 ? v[length / 2].re : -v[length / 2].re;
        h.store((float)(sum / (double)length), row / channels, row % channels, t);
    }
};

inline sq_status naive_supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    const sq_tensor *h = call->pass == SQ_PASS_BWD ? &call->in[IN_COUNT] : &call->out[0];
    if ((double)sq_tensor_count(h) * (double)h->dim[2] > naive_most_sums)
        return sq_fail(why, SQ_UNSUPPORTED, "B D L^2 > 2^37: a direct transform, quadratic in L");
    return sq_naive_supports(call, device, why);
}

inline size_t naive_workspace(const sq_call *call)
{
    const sq_tensor *h = &call->out[0];
    return (size_t)(h->dim[0] * h->dim[1] * (h->dim[2] / 2 + 1)) * sizeof(sq_c64);
}

inline sq_status naive_launch(const sq_call *call, void *, sq_error *err)
{
    const sq_tensor *h = &call->out[0];
    sq_c64 *spectrum = (sq_c64 *)call->workspace;
    const int64_t length = h->dim[2], channels = h->dim[1], points = length / 2 + 1;
    const naive_point point = {modes_of(call), spectrum, length, channels};
    SQ_TRY(sq_naive_run(call, point, h->dim[0] * channels * points, err));
    const naive_tap tap = {spectrum, sq_naive_of<float>(*h), length, channels};
    return sq_naive_run(call, tap, sq_tensor_count(h), err);
}

} // namespace sq_s4

#endif
