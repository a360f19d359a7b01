/* portable_bwd: pass bwd of cuda/portable (portable.cuh, backward.cuh).
 *
 * Spectra are values of polynomials at the roots of X^M = i, which lie on the unit circle, so that
 * of F(1/X), with real coefficients, is conj(F), and that of a filter reversed in time, lag by lag,
 * conj of the opposite lag's. Products of a part's spectrum with the conjugate of another's have
 * exponents from 1 - M on, and X^-s = -i X^(M-s): the real part holds the coefficients of the lags
 * from the parts' distance on, the imaginary part those below, negated. Included by long_conv.cu
 * alone.
 */
#ifndef SQ_KERNELS_LONG_CONV_PORTABLE_BWD_CUH
#define SQ_KERNELS_LONG_CONV_PORTABLE_BWD_CUH

#include "kernels/long_conv/backward.cuh"
#include "kernels/long_conv/portable.cuh"

namespace sq_long_conv
{

/* u: rows and their spectra; value: a, later du; g: rows and their spectra. dfilter: as filter. */
struct backward_args {
    portable_args forward; /* rows, spectra unused */
    float *u, *value, *g;
    float2 *u_spectra, *g_spectra, *dfilter;
};

/* The gradients by tap of a chunk's products, from spectra of sums by lag, transformed back. */
struct lag_taps {
    const float2 *sums; /* (products, before + parts, m) */
    int64_t m, parts, before;

    __device__ __forceinline__ const float2 *of(int64_t product, int64_t lag) const
    {
        return sums + (product * (before + parts) + before + lag) * m;
    }
    __device__ __forceinline__ float past(int64_t product, int64_t s) const
    {
        const int64_t lag = s / m, t = s % m;
        const float own = of(product, lag)[t].x;
        return t > 0 && lag + 1 < parts ? own - of(product, lag + 1)[t].y : own;
    }
    __device__ __forceinline__ float ahead(int64_t product, int64_t s) const
    {
        const int64_t lag = -(s / m), t = s % m;
        if (t == 0)
            return of(product, lag)[0].x;
        const float own = -of(product, lag)[m - t].y;
        return -lag < before ? own + of(product, lag - 1)[m - t].x : own;
    }
};

/* --- host --- */

struct backward_layout {
    row_parts cut;
    chunk size;
    size_t filter_bytes, rows_bytes; /* of one array of filters; of one of nb nd rows */
};

inline backward_layout backward_layout_of(const sq_call *call)
{
    backward_layout at = {};
    at.cut = row_parts_of(call);
    at.size =
        chunk_of(call, 3 * at.cut.row + 2 * at.cut.spectrum, 2 * at.cut.filter, 3 * scratch_bytes);
    at.filter_bytes = (size_t)(at.size.nd * at.cut.filter);
    at.rows_bytes = (size_t)(at.size.nb * at.size.nd * at.cut.row);
    return at;
}

inline size_t backward_workspace(const sq_call *call)
{
    const backward_layout at = backward_layout_of(call);
    return 2 * at.filter_bytes + 7 * at.rows_bytes; /* a spectrum is two rows long */
}

template <int LOG2_M>
sq_status backward_chunk(const sq_call *call, const backward_args &p, chunk c, bool is_new_filter,
                         sq_error *err)
{
    constexpr int64_t m = (int64_t)1 << LOG2_M;
    const portable_args &f = p.forward;
    const int64_t rows = c.nb * c.nd * f.parts, steps = f.parts * m, lags = f.before + f.parts;
    float *value = needs_value(call) ? p.value : NULL;
    const back_args to_value = {FACTOR_FILTER, f.filter, p.u_spectra, value,
                                rows,          c.nd,     f.parts,     f.before};
    const back_args to_du = {FACTOR_REVERSED, f.filter, p.g_spectra, p.value, rows, c.nd,
                             f.parts,         f.before};
    const back_args to_taps = {FACTOR_NONE, NULL, p.dfilter, NULL, c.nd * lags, c.nd, 1, 0};
    const cudaStream_t stream = sq_stream(call);
    if (is_new_filter)
        SQ_TRY(launch_filter<LOG2_M>(f, stream, err));
    SQ_TRY(launch_gather(call, c, steps, steps, p.u, err));
    SQ_TRY(launch_rows<LOG2_M>(p.u, p.u_spectra, rows, stream, err));
    if (value)
        SQ_TRY(launch_back<LOG2_M>(to_value, stream, err));
    SQ_TRY(launch_gather_gradient(call, c, steps, steps, value, p.g, err));
    SQ_TRY(launch_rows<LOG2_M>(p.g, p.g_spectra, rows, stream, err));
    SQ_TRY(launch_sum_spectra(call, p.u_spectra, p.g_spectra, c, {f.parts, f.before, m, m},
                              1.0f / (float)m, p.dfilter, err));
    SQ_TRY(launch_back<LOG2_M>(to_du, stream, err));
    SQ_TRY(launch_scatter_gradient(call, c, steps, p.value, err));
    if (c.b0 + c.nb < call->in[IN_V].dim[0])
        return SQ_OK;
    SQ_TRY(launch_back<LOG2_M>(to_taps, stream, err));
    return launch_write_filters(call, c, lag_taps{p.dfilter, m, f.parts, f.before}, err);
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
    p.forward.parts = at.cut.parts;
    p.forward.before = at.cut.before;
    p.forward.filter = (float2 *)take(at.filter_bytes);
    p.dfilter = (float2 *)take(at.filter_bytes);
    p.u_spectra = (float2 *)take(2 * at.rows_bytes);
    p.g_spectra = (float2 *)take(2 * at.rows_bytes);
    p.u = (float *)take(at.rows_bytes);
    p.value = (float *)take(at.rows_bytes);
    p.g = (float *)take(at.rows_bytes);
    return for_each_chunk(
        at.size, call->in[IN_V].dim[0], products_of(call), [&](chunk c, bool is_new_filter) {
            p.forward.c = c;
            return backward_chunk_of(at.cut.log2_m, call, p, c, is_new_filter, err);
        });
}

} // namespace sq_long_conv

#endif
