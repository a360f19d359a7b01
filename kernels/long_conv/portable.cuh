/* portable: long_conv by transforms in shared memory (fft.cuh), parts of at most 8192 steps.
 *
 * L <= 8192: one part of M >= L steps, a power of two; a block transforms a row, multiplies by the
 * filter's spectrum and transforms back without leaving the SM. Longer: parts of 8192; the spectra
 * of all parts of a row go to the workspace, and part j of the output sums the j + 1 products that
 * reach it before its one inverse transform: L^2 / M products in all, few beside the transforms up
 * to L = 128k. Included by long_conv.cu alone.
 */
#ifndef SQ_KERNELS_LONG_CONV_PORTABLE_CUH
#define SQ_KERNELS_LONG_CONV_PORTABLE_CUH

#include "kernels/long_conv/fft.cuh"
#include "kernels/long_conv/rows.cuh"

namespace sq_long_conv
{

enum { MIN_LOG2_M = 8, MAX_LOG2_M = 13, MIN_BLOCK = 128 };

/* Rows of M / 16 threads in a block of MIN_BLOCK threads or more. */
template <int LOG2_M>
struct block_fft : row_fft<LOG2_M> {
    using row = row_fft<LOG2_M>;
    static constexpr int ROWS = row::THREADS < MIN_BLOCK ? MIN_BLOCK / row::THREADS : 1;
    static constexpr int BLOCK = ROWS * row::THREADS;
    static constexpr size_t BYTES = ROWS * row::SHARED * sizeof(float2);

    __device__ __forceinline__ block_fft(float2 *shared)
        : row(shared + threadIdx.x / row::THREADS * row::SHARED, threadIdx.x % row::THREADS)
    {
    }

    /* Which row of the grid's this thread works on. */
    __device__ __forceinline__ static int64_t index()
    {
        return (int64_t)blockIdx.x * ROWS + threadIdx.x / row::THREADS;
    }
};

/* What all kernels need. Rows: (nb nd) x parts x M floats. Spectra: M float2 a part, in the order
 * of the threads that made them. */
struct portable_args {
    float *rows;
    float2 *filter;  /* (nd, parts, M) */
    float2 *spectra; /* (nb nd, parts, M); NULL for one part */
    filters f;
    int64_t products, length, parts; /* products: rows of one filter */
    chunk c;
};

/* filter[d][i] = transform of taps i M .. (i + 1) M - 1, divided by M. Tap s of a filter that looks
 * ahead is the coefficient of X^-s = -i X^(M-s), so of a single part it is an imaginary part. */
template <int LOG2_M>
__global__ void __launch_bounds__(block_fft<LOG2_M>::BLOCK) transform_filter(portable_args p)
{
    extern __shared__ float2 shared[];
    using fft_type = block_fft<LOG2_M>;
    fft_type fft(shared);
    const int64_t row = fft_type::index(), d = row / p.parts;
    const int64_t head = (p.c.d0 + d) / p.products;
    const bool is_valid = d < p.c.nd;
#pragma unroll
    for (int r = 0; r < POINTS; r++) {
        const int64_t t = row % p.parts * fft.M + fft.point(r);
        const float past = is_valid ? p.f.past(head, t) : 0.0f;
        const float ahead = is_valid && t > 0 ? p.f.ahead(head, fft.M - t) : 0.0f;
        fft.x[r] = make_float2(past * (1.0f / fft.M), -ahead * (1.0f / fft.M));
    }
    fft.forward();
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        if (is_valid)
            p.filter[row * fft.M + fft.point(r)] = fft.x[r];
}

/* One part: rows[r] = first M steps of filter * rows[r], in place. */
template <int LOG2_M>
__global__ void __launch_bounds__(block_fft<LOG2_M>::BLOCK) convolve_rows(portable_args p)
{
    extern __shared__ float2 shared[];
    using fft_type = block_fft<LOG2_M>;
    fft_type fft(shared);
    const int64_t row = fft_type::index();
    const bool is_valid = row < p.c.nb * p.c.nd;
    const float2 *filter = p.filter + row % p.c.nd * fft.M;
    float *x = p.rows + row * fft.M;
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        fft.x[r] = make_float2(is_valid ? x[fft.point(r)] : 0.0f, 0);
    fft.forward();
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        fft.x[r] = mul(fft.x[r], filter[fft.point(r)]);
    fft.inverse();
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        if (is_valid)
            x[fft.point(r)] = fft.x[r].x;
}

/* Several parts, first half: spectra[r][j] = transform of part j - i part (j - 1). */
template <int LOG2_M>
__global__ void __launch_bounds__(block_fft<LOG2_M>::BLOCK) transform_parts(portable_args p)
{
    extern __shared__ float2 shared[];
    block_fft<LOG2_M> fft(shared);
    static_assert(block_fft<LOG2_M>::ROWS == 1, "a part is a block");
    const int64_t part = blockIdx.x;
    const float *x = p.rows + part * fft.M;
    const bool is_first = part % p.parts == 0;
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        fft.x[r] = make_float2(x[fft.point(r)], is_first ? 0.0f : -x[fft.point(r) - fft.M]);
    fft.forward();
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        p.spectra[part * fft.M + fft.point(r)] = fft.x[r];
}

/* Second half: rows[r][j] = real part of the inverse of sum_i filter[i] spectra[r][j - i]. */
template <int LOG2_M>
__global__ void __launch_bounds__(block_fft<LOG2_M>::BLOCK) convolve_parts(portable_args p)
{
    extern __shared__ float2 shared[];
    block_fft<LOG2_M> fft(shared);
    const int64_t row = blockIdx.x / p.parts;
    const int64_t j = p.parts - 1 - blockIdx.x % p.parts; /* the longest sums first */
    const float2 *filter = p.filter + row % p.c.nd * p.parts * fft.M;
    const float2 *spectrum = p.spectra + (row * p.parts + j) * fft.M;
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        fft.x[r] = mul(filter[fft.point(r)], spectrum[fft.point(r)]);
    for (int64_t i = 1; i <= j; i++) {
        filter += fft.M;
        spectrum -= fft.M;
#pragma unroll
        for (int r = 0; r < POINTS; r++)
            fft.x[r] = mul_add(filter[fft.point(r)], spectrum[fft.point(r)], fft.x[r]);
    }
    fft.inverse();
    float *y = p.rows + (row * p.parts + j) * fft.M;
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        y[fft.point(r)] = fft.x[r].x;
}

/* --- host --- */

struct portable_layout {
    int log2_m;
    int64_t parts, row_length;
    chunk size;
    size_t filter_bytes, rows_bytes, spectra_bytes; /* parts of the workspace, in this order */
};

inline portable_layout portable_layout_of(const sq_call *call)
{
    const int64_t *dim = call->in[IN_V].dim;
    portable_layout at = {};
    at.log2_m = MIN_LOG2_M;
    while (at.log2_m < MAX_LOG2_M && (int64_t)1 << at.log2_m < dim[1])
        at.log2_m++;
    const int64_t m = (int64_t)1 << at.log2_m;
    at.parts = sq_ceil_div(dim[1], m);
    at.row_length = at.parts * m;
    const int64_t row = at.row_length * (int64_t)sizeof(float);
    const int64_t spectrum = at.row_length * (int64_t)sizeof(float2);
    const bool is_cut = at.parts > 1;
    at.size = chunk_of(call, is_cut ? row + spectrum : row, spectrum,
                       is_cut ? 2 * scratch_bytes : scratch_bytes);
    const int64_t rows = at.size.nb * at.size.nd;
    at.filter_bytes = (size_t)(at.size.nd * spectrum);
    at.rows_bytes = (size_t)(rows * row);
    at.spectra_bytes = is_cut ? (size_t)(rows * spectrum) : 0;
    return at;
}

/* Launches one of the kernels above for n_rows rows. */
template <int LOG2_M>
sq_status launch_fft(void (*kernel)(portable_args), int64_t n_rows, const portable_args &args,
                     cudaStream_t stream, sq_error *err)
{
    using fft_type = block_fft<LOG2_M>;
    SQ_TRY(sq_allow_shared(kernel, fft_type::BYTES, err));
    const unsigned blocks = (unsigned)sq_ceil_div(n_rows, fft_type::ROWS);
    kernel<<<blocks, fft_type::BLOCK, fft_type::BYTES, stream>>>(args);
    return sq_launched("long_conv transform", err);
}

template <int LOG2_M>
sq_status convolve_chunk(const portable_args &args, bool is_new_filter, cudaStream_t stream,
                         sq_error *err)
{
    const int64_t rows = args.c.nb * args.c.nd;
    if (is_new_filter)
        SQ_TRY(launch_fft<LOG2_M>(transform_filter<LOG2_M>, args.c.nd * args.parts, args, stream,
                                  err));
    if (args.parts == 1)
        return launch_fft<LOG2_M>(convolve_rows<LOG2_M>, rows, args, stream, err);
    if constexpr (LOG2_M == MAX_LOG2_M) {
        SQ_TRY(launch_fft<LOG2_M>(transform_parts<LOG2_M>, rows * args.parts, args, stream, err));
        SQ_TRY(launch_fft<LOG2_M>(convolve_parts<LOG2_M>, rows * args.parts, args, stream, err));
    }
    return SQ_OK;
}

inline sq_status convolve_chunk_of(int log2_m, const portable_args &args, bool is_new_filter,
                                   cudaStream_t stream, sq_error *err)
{
    switch (log2_m) {
    case 8:
        return convolve_chunk<8>(args, is_new_filter, stream, err);
    case 9:
        return convolve_chunk<9>(args, is_new_filter, stream, err);
    case 10:
        return convolve_chunk<10>(args, is_new_filter, stream, err);
    case 11:
        return convolve_chunk<11>(args, is_new_filter, stream, err);
    case 12:
        return convolve_chunk<12>(args, is_new_filter, stream, err);
    case 13:
        return convolve_chunk<13>(args, is_new_filter, stream, err);
    default:
        return sq_fail(err, SQ_INTERNAL, "no transform of 2^%d points", log2_m);
    }
}

} // namespace sq_long_conv

#endif
