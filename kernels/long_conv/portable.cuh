/* portable: long_conv by transforms in shared memory (fft.cuh), parts of at most 8192 steps.
 *
 * L <= 8192: one part of M >= L steps, a power of two; a block transforms a row, multiplies by the
 * filter's spectrum and transforms back without leaving the SM. Longer: parts of 8192; the spectra
 * of all parts of a row go to the workspace, and part j of the output sums the products of the
 * parts that reach it, j + 1 or where the filter looks ahead all, before its one inverse transform:
 * L^2 / M products in all, few beside the transforms up to L = 128k. Included by long_conv.cu alone.
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
    float2 *filter;  /* (nd, lags, M): lags -before .. parts - 1 between two parts */
    float2 *spectra; /* (nb nd, parts, M); NULL for one part */
    filters f;
    int64_t products, parts, before; /* products: rows of one filter */
    chunk c;
};

/* filter[d][lag] = transform, divided by M, of the taps lag M .. lag M + M - 1 as real part and
 * those of the lag before as minus the imaginary part: what lies M - t ahead is the coefficient of
 * X^(t-M) = -i X^t. Tap t = 0 of that lag reaches no step. */
template <int LOG2_M>
__global__ void __launch_bounds__(block_fft<LOG2_M>::BLOCK) transform_filter(portable_args p)
{
    extern __shared__ float2 shared[];
    using fft_type = block_fft<LOG2_M>;
    fft_type fft(shared);
    const int64_t row = fft_type::index(), lags = p.before + p.parts, d = row / lags;
    const int64_t first = (row % lags - p.before) * fft.M, head = (p.c.d0 + d) / p.products;
    const bool is_valid = d < p.c.nd;
#pragma unroll
    for (int r = 0; r < POINTS; r++) {
        const int t = fft.point(r);
        const float own = is_valid ? p.f.tap(head, first + t) : 0.0f;
        const float before = is_valid && t > 0 ? p.f.tap(head, first + t - fft.M) : 0.0f;
        fft.x[r] = make_float2(own * (1.0f / fft.M), -before * (1.0f / fft.M));
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

/* spectra[r] = transform of rows[r], of n_rows parts of M steps. */
template <int LOG2_M>
__global__ void __launch_bounds__(block_fft<LOG2_M>::BLOCK)
    transform_rows(const float *rows, float2 *spectra, int64_t n_rows)
{
    extern __shared__ float2 shared[];
    using fft_type = block_fft<LOG2_M>;
    fft_type fft(shared);
    const int64_t row = fft_type::index();
    const bool is_valid = row < n_rows;
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        fft.x[r] = make_float2(is_valid ? rows[row * fft.M + fft.point(r)] : 0.0f, 0);
    fft.forward();
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        if (is_valid)
            spectra[row * fft.M + fft.point(r)] = fft.x[r];
}

/* What spectra are multiplied by before they are transformed back: nothing, the filter, or the
 * filter reversed in time, whose spectra are the conjugates. */
enum factor { FACTOR_NONE, FACTOR_FILTER, FACTOR_REVERSED };

struct back_args {
    factor by;
    const float2 *filter;
    float2 *spectra;
    float *rows;
    int64_t n_rows, nd, parts, before; /* n_rows: parts of all rows */
};

/* rows[r][j] = real part of the inverse of the sum of the products that part j gets; rows NULL: the
 * whole inverse, in the place of the spectrum. One kernel for all: each is many instructions. */
template <int LOG2_M>
__global__ void __launch_bounds__(block_fft<LOG2_M>::BLOCK) transform_back(back_args p)
{
    extern __shared__ float2 shared[];
    using fft_type = block_fft<LOG2_M>;
    fft_type fft(shared);
    const int64_t at = fft_type::index(), row = at / p.parts, lags = p.before + p.parts;
    /* the longest sums first */
    const int64_t j = p.by == FACTOR_FILTER ? p.parts - 1 - at % p.parts : at % p.parts;
    const int64_t first = p.by == FACTOR_FILTER || p.before > 0 ? 0 : j;
    const int64_t last = p.by == FACTOR_FILTER && p.before == 0 ? j : p.parts - 1;
    const bool is_valid = at < p.n_rows;
    const float2 *spectra = p.spectra + row * p.parts * fft.M;
#pragma unroll
    for (int r = 0; r < POINTS; r++)
        fft.x[r] =
            is_valid && p.by == FACTOR_NONE ? spectra[j * fft.M + fft.point(r)] : make_float2(0, 0);
    for (int64_t i = first; is_valid && p.by != FACTOR_NONE && i <= last; i++) {
        const int64_t lag = p.by == FACTOR_FILTER ? j - i : i - j;
        const float2 *filter = p.filter + (row % p.nd * lags + p.before + lag) * fft.M;
#pragma unroll
        for (int r = 0; r < POINTS; r++) {
            const float2 h = filter[fft.point(r)];
            fft.x[r] = mul_add(p.by == FACTOR_FILTER ? h : conj(h),
                               spectra[i * fft.M + fft.point(r)], fft.x[r]);
        }
    }
    fft.inverse();
#pragma unroll
    for (int r = 0; r < POINTS; r++) {
        const int64_t to = (row * p.parts + j) * fft.M + fft.point(r);
        if (is_valid && p.rows)
            p.rows[to] = fft.x[r].x;
        else if (is_valid)
            p.spectra[to] = fft.x[r];
    }
}

/* --- host --- */

/* How a row is cut, and how long are what is made of it and of its filter, in bytes. */
struct row_parts {
    int log2_m;
    int64_t parts, before, length; /* length = parts M; before: lags below 0 (portable_args) */
    int64_t row, spectrum, filter;
};

inline row_parts row_parts_of(const sq_call *call)
{
    const int64_t length = call->in[IN_V].dim[1];
    row_parts at = {};
    at.log2_m = MIN_LOG2_M;
    while (at.log2_m < MAX_LOG2_M && (int64_t)1 << at.log2_m < length)
        at.log2_m++;
    const int64_t m = (int64_t)1 << at.log2_m;
    at.parts = sq_ceil_div(length, m);
    at.before = call->axis[AXIS_CAUSAL] == 0 ? at.parts - 1 : 0;
    at.length = at.parts * m;
    at.row = at.length * (int64_t)sizeof(float);
    at.spectrum = at.length * (int64_t)sizeof(float2);
    at.filter = (at.before + at.parts) * m * (int64_t)sizeof(float2);
    return at;
}

struct portable_layout {
    row_parts cut;
    chunk size;
    size_t filter_bytes, rows_bytes, spectra_bytes; /* parts of the workspace, in this order */
};

inline portable_layout portable_layout_of(const sq_call *call)
{
    portable_layout at = {};
    at.cut = row_parts_of(call);
    const int64_t row = at.cut.row, spectrum = at.cut.spectrum;
    const bool is_cut = at.cut.parts > 1;
    at.size = chunk_of(call, is_cut ? row + spectrum : row, at.cut.filter,
                       is_cut ? 2 * scratch_bytes : scratch_bytes);
    const int64_t rows = at.size.nb * at.size.nd;
    at.filter_bytes = (size_t)(at.size.nd * at.cut.filter);
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
sq_status launch_rows(const float *rows, float2 *spectra, int64_t n_rows, cudaStream_t stream,
                      sq_error *err)
{
    using fft_type = block_fft<LOG2_M>;
    SQ_TRY(sq_allow_shared(transform_rows<LOG2_M>, fft_type::BYTES, err));
    transform_rows<LOG2_M><<<(unsigned)sq_ceil_div(n_rows, fft_type::ROWS), fft_type::BLOCK,
                             fft_type::BYTES, stream>>>(rows, spectra, n_rows);
    return sq_launched("long_conv transform", err);
}

template <int LOG2_M>
sq_status launch_back(const back_args &args, cudaStream_t stream, sq_error *err)
{
    using fft_type = block_fft<LOG2_M>;
    SQ_TRY(sq_allow_shared(transform_back<LOG2_M>, fft_type::BYTES, err));
    transform_back<LOG2_M><<<(unsigned)sq_ceil_div(args.n_rows, fft_type::ROWS), fft_type::BLOCK,
                             fft_type::BYTES, stream>>>(args);
    return sq_launched("long_conv transform back", err);
}

template <int LOG2_M>
sq_status launch_filter(const portable_args &args, cudaStream_t stream, sq_error *err)
{
    return launch_fft<LOG2_M>(transform_filter<LOG2_M>, args.c.nd * (args.before + args.parts),
                              args, stream, err);
}

template <int LOG2_M>
sq_status convolve_chunk(const portable_args &args, bool is_new_filter, cudaStream_t stream,
                         sq_error *err)
{
    const int64_t rows = args.c.nb * args.c.nd * args.parts;
    if (is_new_filter)
        SQ_TRY(launch_filter<LOG2_M>(args, stream, err));
    if (args.parts == 1)
        return launch_fft<LOG2_M>(convolve_rows<LOG2_M>, rows, args, stream, err);
    if constexpr (LOG2_M == MAX_LOG2_M) {
        const back_args back = {FACTOR_FILTER, args.filter, args.spectra, args.rows,
                                rows,          args.c.nd,   args.parts,   args.before};
        SQ_TRY(launch_rows<LOG2_M>(args.rows, args.spectra, rows, stream, err));
        SQ_TRY(launch_back<LOG2_M>(back, stream, err));
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
