/* portable_bwd: pass bwd of cuda/portable for one part, L <= 8192 (portable.cuh, backward.cuh).
 *
 * Spectra are values of polynomials at the roots of X^M = i, which lie on the unit circle, so that
 * of F(1/X), with real coefficients, is conj(F). Its products with others have exponents from 1 - M
 * on, and X^-s = -i X^(M-s): the real part holds the wanted coefficients, the imaginary part those
 * of negative exponents, negated. Included by long_conv.cu alone.
 */
#ifndef SQ_KERNELS_LONG_CONV_PORTABLE_BWD_CUH
#define SQ_KERNELS_LONG_CONV_PORTABLE_BWD_CUH

#include "kernels/long_conv/backward.cuh"
#include "kernels/long_conv/portable.cuh"

namespace sq_long_conv
{

/* u: rows and their spectra; value: a, later du; g: rows and their spectra. dfilter: (nd, M). */
struct backward_args {
    portable_args forward; /* rows, spectra unused */
    float *u, *value, *g;
    float2 *u_spectra, *g_spectra, *dfilter;
};

/* spectra[r] = transform of rows[r]. */
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

/* What a spectrum is multiplied by before it is transformed back. */
enum factor { FACTOR_NONE, FACTOR_FILTER, FACTOR_CONJUGATE };

/* rows[r] = real part of the inverse of spectra[r] times its filter; rows NULL: the whole inverse,
 * in the place of the spectrum. One kernel for all: each is many instructions. */
template <int LOG2_M>
__global__ void __launch_bounds__(block_fft<LOG2_M>::BLOCK)
    transform_back(factor by, const float2 *filter, float2 *spectra, float *rows, int64_t n_rows,
                   int64_t nd)
{
    extern __shared__ float2 shared[];
    using fft_type = block_fft<LOG2_M>;
    fft_type fft(shared);
    const int64_t row = fft_type::index();
    const bool is_valid = row < n_rows;
    filter += row % nd * fft.M;
#pragma unroll
    for (int r = 0; r < POINTS; r++) {
        const float2 x = is_valid ? spectra[row * fft.M + fft.point(r)] : make_float2(0, 0);
        const float2 h = by == FACTOR_NONE ? make_float2(1, 0) : filter[fft.point(r)];
        fft.x[r] = mul(x, by == FACTOR_CONJUGATE ? conj(h) : h);
    }
    fft.inverse();
#pragma unroll
    for (int r = 0; r < POINTS; r++) {
        const int64_t at = row * fft.M + fft.point(r);
        if (is_valid && rows)
            rows[at] = fft.x[r].x;
        else if (is_valid)
            spectra[at] = fft.x[r];
    }
}

/* --- host --- */

struct backward_layout {
    int log2_m;
    int64_t m;
    chunk size;
    size_t filter_bytes, rows_bytes; /* of one array of nd spectra; of one of nb nd rows */
};

inline backward_layout backward_layout_of(const sq_call *call)
{
    backward_layout at = {};
    at.log2_m = MIN_LOG2_M;
    while ((int64_t)1 << at.log2_m < call->in[IN_V].dim[1])
        at.log2_m++;
    at.m = (int64_t)1 << at.log2_m;
    const int64_t row = at.m * (int64_t)sizeof(float), spectrum = at.m * (int64_t)sizeof(float2);
    at.size = chunk_of(call, 3 * row + 2 * spectrum, 2 * spectrum, 3 * scratch_bytes);
    at.filter_bytes = (size_t)(at.size.nd * spectrum);
    at.rows_bytes = (size_t)(at.size.nb * at.size.nd * row);
    return at;
}

inline size_t backward_workspace(const sq_call *call)
{
    const backward_layout at = backward_layout_of(call);
    return 2 * at.filter_bytes + 7 * at.rows_bytes; /* a spectrum is two rows long */
}

template <int LOG2_M>
sq_status launch_forward(const sq_call *call, const float *rows, float2 *spectra, int64_t n_rows,
                         sq_error *err)
{
    using fft_type = block_fft<LOG2_M>;
    SQ_TRY(sq_allow_shared(transform_rows<LOG2_M>, fft_type::BYTES, err));
    transform_rows<LOG2_M><<<(unsigned)sq_ceil_div(n_rows, fft_type::ROWS), fft_type::BLOCK,
                             fft_type::BYTES, sq_stream(call)>>>(rows, spectra, n_rows);
    return sq_launched("long_conv transform", err);
}

template <int LOG2_M>
sq_status launch_back(const sq_call *call, factor by, const float2 *filter, float2 *spectra,
                      float *rows, int64_t n_rows, int64_t nd, sq_error *err)
{
    using fft_type = block_fft<LOG2_M>;
    SQ_TRY(sq_allow_shared(transform_back<LOG2_M>, fft_type::BYTES, err));
    transform_back<LOG2_M>
        <<<(unsigned)sq_ceil_div(n_rows, fft_type::ROWS), fft_type::BLOCK, fft_type::BYTES,
           sq_stream(call)>>>(by, filter, spectra, rows, n_rows, nd);
    return sq_launched("long_conv transform back", err);
}

template <int LOG2_M>
sq_status backward_chunk(const sq_call *call, const backward_args &p, chunk c, bool is_new_filter,
                         sq_error *err)
{
    constexpr int64_t m = (int64_t)1 << LOG2_M;
    const int64_t rows = c.nb * c.nd;
    const float2 *filter = p.forward.filter;
    float *value = needs_value(call) ? p.value : NULL;
    if (is_new_filter)
        SQ_TRY(launch_fft<LOG2_M>(transform_filter<LOG2_M>, c.nd, p.forward, sq_stream(call), err));
    SQ_TRY(launch_gather(call, c, m, m, p.u, err));
    SQ_TRY(launch_forward<LOG2_M>(call, p.u, p.u_spectra, rows, err));
    if (value)
        SQ_TRY(
            launch_back<LOG2_M>(call, FACTOR_FILTER, filter, p.u_spectra, value, rows, c.nd, err));
    SQ_TRY(launch_gather_gradient(call, c, m, m, value, p.g, err));
    SQ_TRY(launch_forward<LOG2_M>(call, p.g, p.g_spectra, rows, err));
    SQ_TRY(launch_sum_spectra(call, p.u_spectra, p.g_spectra, c, m, m, 1.0f / (float)m, p.dfilter,
                              err));
    SQ_TRY(
        launch_back<LOG2_M>(call, FACTOR_CONJUGATE, filter, p.g_spectra, p.value, rows, c.nd, err));
    SQ_TRY(launch_scatter_gradient(call, c, m, p.value, err));
    if (c.b0 + c.nb < call->in[IN_V].dim[0])
        return SQ_OK;
    SQ_TRY(launch_back<LOG2_M>(call, FACTOR_NONE, filter, p.dfilter, NULL, c.nd, c.nd, err));
    return launch_write_filters(call, c, (const float *)p.dfilter, m, 2 * m, 2, 1, -1.0f, err);
}

inline sq_status backward_chunk_of(int log2_m, const sq_call *call, const backward_args &p, chunk c,
                                   bool is_new_filter, sq_error *err)
{
    switch (log2_m) {
    case 8:
        return backward_chunk<8>(call, p, c, is_new_filter, err);
    case 9:
        return backward_chunk<9>(call, p, c, is_new_filter, err);
    case 10:
        return backward_chunk<10>(call, p, c, is_new_filter, err);
    case 11:
        return backward_chunk<11>(call, p, c, is_new_filter, err);
    case 12:
        return backward_chunk<12>(call, p, c, is_new_filter, err);
    case 13:
        return backward_chunk<13>(call, p, c, is_new_filter, err);
    default:
        return sq_fail(err, SQ_INTERNAL, "no transform of 2^%d points", log2_m);
    }
}

inline sq_status launch_backward(const sq_call *call, sq_error *err)
{
    const backward_layout at = backward_layout_of(call);
    char *next = (char *)call->workspace;
    const auto take = [&](size_t bytes) {
        char *part = next;
        next += bytes;
        return part;
    };
    backward_args p = {};
    p.forward.f = filters_of(call);
    p.forward.products = products_of(call) / call->in[IN_H].dim[0];
    p.forward.length = call->in[IN_V].dim[1];
    p.forward.parts = 1;
    p.forward.filter = (float2 *)take(at.filter_bytes);
    p.dfilter = (float2 *)take(at.filter_bytes);
    p.u_spectra = (float2 *)take(2 * at.rows_bytes);
    p.g_spectra = (float2 *)take(2 * at.rows_bytes);
    p.u = (float *)take(at.rows_bytes);
    p.value = (float *)take(at.rows_bytes);
    p.g = (float *)take(at.rows_bytes);
    return for_each_chunk(at.size, call->in[IN_V].dim[0], products_of(call),
                          [&](chunk c, bool is_new_filter) {
                              p.forward.c = c;
                              return backward_chunk_of(at.log2_m, call, p, c, is_new_filter, err);
                          });
}

} // namespace sq_long_conv

#endif
