/* fft: a convolution of M points in one block's shared memory, for long_conv's cuda/portable.
 *
 * Right-angle convolution (Crandall, Pomerance: Prime Numbers, section 9.5): the product of two
 * real polynomials modulo X^M - i is lo + i hi, where lo and hi are the M coefficients of the
 * plain product below X^M and from there on. Weighted by exp(i pi t / 2M) it becomes cyclic, so
 * complex transforms of M points give all 2 M - 1 coefficients: no zero padding, no separation of
 * real spectra. A block of outputs j of a longer convolution, cut into parts of M, is
 *   sum_i lo(h_{j-i} u_i) + hi(h_{j-i-1} u_i) = Re sum_i (h_{j-i} - i h_{j-i-1}) u_i   mod X^M - i,
 * so the filter's transform l takes its taps l as real part and minus its taps l - 1 as imaginary
 * part (0 where there are none), and the inputs' none but their own.
 *
 * Transforms: decimation in frequency forward, the exact mirror of it back, so that the spectrum
 * never needs to be in order. M / 16 threads hold 16 points each in registers; the first pass has
 * radix M / 16^k (2, 4, 8 or 16), all others 16. Twiddles by sincospi and at most five products.
 */
#ifndef SQ_KERNELS_LONG_CONV_FFT_CUH
#define SQ_KERNELS_LONG_CONV_FFT_CUH

#include <cuda_runtime.h>

namespace sq_long_conv {

enum { POINTS = 16 }; /* of a thread */

__device__ __forceinline__ float2 add(float2 a, float2 b) { return {a.x + b.x, a.y + b.y}; }
__device__ __forceinline__ float2 sub(float2 a, float2 b) { return {a.x - b.x, a.y - b.y}; }
__device__ __forceinline__ float2 conj(float2 a) { return {a.x, -a.y}; }
__device__ __forceinline__ float2 mul(float2 a, float2 b)
{
    return {fmaf(a.x, b.x, -a.y * b.y), fmaf(a.x, b.y, a.y * b.x)};
}
__device__ __forceinline__ float2 mul_add(float2 a, float2 b, float2 c)
{
    return {fmaf(a.x, b.x, fmaf(-a.y, b.y, c.x)), fmaf(a.x, b.y, fmaf(a.y, b.x, c.y))};
}

/* cos(2 pi k / 64), k = 0..16 */
__device__ constexpr float cosine_64[17] = {
    1.000000000f, 0.995184727f, 0.980785280f, 0.956940336f, 0.923879533f, 0.881921264f,
    0.831469612f, 0.773010453f, 0.707106781f, 0.634393284f, 0.555570233f, 0.471396737f,
    0.382683432f, 0.290284677f, 0.195090322f, 0.098017140f, 0.000000000f};

/* exp(-2 pi i k / 64) for 0 <= k < 64; a constant where k is one after unrolling. */
__device__ __forceinline__ float2 root_64(int k)
{
    const int quarter = k / 16, rest = k % 16;
    const float2 w = {cosine_64[rest], -cosine_64[16 - rest]};
    return quarter == 0   ? w
           : quarter == 1 ? make_float2(w.y, -w.x)
           : quarter == 2 ? make_float2(-w.x, -w.y)
                          : make_float2(-w.y, w.x);
}

/* exp(-i pi angle) */
__device__ __forceinline__ float2 unit(float angle)
{
    float2 w;
    sincospif(angle, &w.y, &w.x);
    w.y = -w.y;
    return w;
}

template <bool INVERSE>
__device__ __forceinline__ float2 twiddled(float2 x, float2 w)
{
    return mul(x, INVERSE ? conj(w) : w);
}

/* --- small transforms in registers: x[0], x[STEP], ... x[(R - 1) STEP], natural order --- */

template <bool INVERSE, int STEP>
__device__ __forceinline__ void dft_2(float2 *x)
{
    const float2 a = x[0], b = x[STEP];
    x[0] = add(a, b);
    x[STEP] = sub(a, b);
}

template <bool INVERSE, int STEP>
__device__ __forceinline__ void dft_4(float2 *x)
{
    const float2 even = add(x[0], x[2 * STEP]), even_diff = sub(x[0], x[2 * STEP]);
    const float2 odd = add(x[STEP], x[3 * STEP]), odd_diff = sub(x[STEP], x[3 * STEP]);
    /* -i odd_diff forward, +i odd_diff back */
    const float2 turned = INVERSE ? make_float2(-odd_diff.y, odd_diff.x)
                                  : make_float2(odd_diff.y, -odd_diff.x);
    x[0] = add(even, odd);
    x[2 * STEP] = sub(even, odd);
    x[STEP] = add(even_diff, turned);
    x[3 * STEP] = sub(even_diff, turned);
}

/* R = 4 S, n = c + S m, k = k1 + 4 k2: S transforms of 4 over m, roots of order R, 4 of S. */
template <bool INVERSE, int R, int STEP>
__device__ __forceinline__ void dft_by_4(float2 *x)
{
    constexpr int S = R / 4;
    float2 y[R];
#pragma unroll
    for (int c = 0; c < S; c++) {
        dft_4<INVERSE, S * STEP>(x + c * STEP);
#pragma unroll
        for (int k1 = 0; k1 < 4; k1++) {
            const float2 value = x[(c + S * k1) * STEP];
            y[c + S * k1] = c * k1 == 0 ? value
                                        : twiddled<INVERSE>(value, root_64(c * k1 * (64 / R)));
        }
    }
#pragma unroll
    for (int k1 = 0; k1 < 4; k1++) {
        if constexpr (S == 2)
            dft_2<INVERSE, 1>(y + S * k1);
        else
            dft_4<INVERSE, 1>(y + S * k1);
#pragma unroll
        for (int k2 = 0; k2 < S; k2++)
            x[(k1 + 4 * k2) * STEP] = y[k2 + S * k1];
    }
}

template <bool INVERSE, int R, int STEP>
__device__ __forceinline__ void dft(float2 *x)
{
    if constexpr (R == 2)
        dft_2<INVERSE, STEP>(x);
    else if constexpr (R == 4)
        dft_4<INVERSE, STEP>(x);
    else
        dft_by_4<INVERSE, R, STEP>(x);
}

/* x[r STEP] *= first w^r, r < R (or by the conjugates). */
template <bool INVERSE, int R, int STEP>
__device__ __forceinline__ void multiply_powers(float2 *x, float2 first, float2 w)
{
    float2 power[R]; /* first w^r, each from the one that lacks its highest bit */
    power[0] = first;
    float2 doubled = w;
#pragma unroll
    for (int bit = 1; bit < R; bit *= 2) {
#pragma unroll
        for (int r = bit; r < 2 * bit; r++)
            power[r] = mul(power[r - bit], doubled);
        doubled = mul(doubled, doubled);
    }
#pragma unroll
    for (int r = 0; r < R; r++)
        x[r * STEP] = twiddled<INVERSE>(x[r * STEP], power[r]);
}

/* --- a row of M points by THREADS threads --- */

template <int LOG2_M>
struct row_fft {
    static constexpr int M = 1 << LOG2_M, THREADS = M / POINTS;
    static constexpr int FIRST = LOG2_M % 4 ? 1 << LOG2_M % 4 : 16; /* radix of the first pass */
    static constexpr int GROUPS = POINTS / FIRST; /* its butterflies of a thread */
    static constexpr int SHARED = M + M / POINTS;                   /* float2 of a row, padded */

    float2 x[POINTS]; /* outside of the passes: point thread + r THREADS */
    float2 *shared;
    int thread; /* of the row's THREADS */

    __device__ __forceinline__ row_fft(float2 *row_shared, int row_thread)
        : shared(row_shared), thread(row_thread)
    {
    }

    __device__ __forceinline__ int point(int r) const { return thread + r * THREADS; }

    /* A gap after every 16 points: strides of 1, 16 and more are all free of bank conflicts. */
    template <int STRIDE>
    __device__ __forceinline__ int place(int r) const
    {
        const int i = thread / STRIDE * (16 * STRIDE) + thread % STRIDE + r * STRIDE;
        return i + i / 16;
    }

    template <int STRIDE>
    __device__ __forceinline__ void store() const
    {
#pragma unroll
        for (int r = 0; r < POINTS; r++)
            shared[place<STRIDE>(r)] = x[r];
        __syncthreads();
    }

    template <int STRIDE>
    __device__ __forceinline__ void load()
    {
#pragma unroll
        for (int r = 0; r < POINTS; r++)
            x[r] = shared[place<STRIDE>(r)];
    }

    /* The first pass with the weights exp(i pi t / 2M), which are exp(i pi r / 2R) times one factor
     * for all r of a butterfly: that one goes into its twiddles. */
    __device__ __forceinline__ void weigh(bool is_inverse)
    {
#pragma unroll
        for (int i = 0; i < GROUPS; i++)
#pragma unroll
            for (int r = 1; r < FIRST; r++) {
                float2 *z = &x[i + GROUPS * r];
                const float2 w = root_64(r * (16 / FIRST));
                *z = mul(*z, is_inverse ? w : conj(w));
            }
    }

    template <bool INVERSE>
    __device__ __forceinline__ void multiply_first()
    {
        const float2 w = unit((float)thread * (2.0f / M));
        const float2 quarter = unit((float)thread * (0.5f / M));
#pragma unroll
        for (int i = 0; i < GROUPS; i++) {
            const float2 first = conj(i == 0 ? quarter : mul(quarter, root_64(i)));
            multiply_powers<INVERSE, FIRST, GROUPS>(x + i, first,
                                                    i == 0 ? w : mul(w, root_64(4 * i)));
        }
    }

    /* The passes of radix 16 from stride STRIDE down to 1, and back up. */
    template <int STRIDE>
    __device__ __forceinline__ void forward_from()
    {
        load<STRIDE>();
        dft<false, 16, 1>(x);
        if constexpr (STRIDE > 1) {
            const float2 w = unit((float)(thread % STRIDE) * (0.125f / STRIDE));
            multiply_powers<false, 16, 1>(x, make_float2(1, 0), w);
            store<STRIDE>();
            forward_from<STRIDE / 16>();
        }
    }

    template <int STRIDE>
    __device__ __forceinline__ void inverse_to()
    {
        if constexpr (STRIDE > 1) {
            inverse_to<STRIDE / 16>();
            load<STRIDE>();
            const float2 w = unit((float)(thread % STRIDE) * (0.125f / STRIDE));
            multiply_powers<true, 16, 1>(x, make_float2(1, 0), w);
        }
        dft<true, 16, 1>(x);
        store<STRIDE>();
    }

    static constexpr int TOP = M / FIRST / 16; /* stride of the second pass */

    /* x: weighted transform of x, in the order of the last pass. */
    __device__ __forceinline__ void forward()
    {
        weigh(false);
#pragma unroll
        for (int i = 0; i < GROUPS; i++)
            dft<false, FIRST, GROUPS>(x + i);
        multiply_first<false>();
        store<THREADS>();
        forward_from<TOP>();
    }

    /* Undoes forward(), but for a factor M. Only the real parts are right to use (see the top). */
    __device__ __forceinline__ void inverse()
    {
        inverse_to<TOP>();
        load<THREADS>();
        multiply_first<true>();
#pragma unroll
        for (int i = 0; i < GROUPS; i++)
            dft<true, FIRST, GROUPS>(x + i);
        weigh(true);
    }
};

} // namespace sq_long_conv

#endif
