/* long_conv through cuFFT: gather -> real-to-complex -> product of spectra -> complex-to-real ->
 * scatter, in f32, a chunk of rows at a time (rows.cuh; bwd: backward.cuh).
 *
 * A row holds n + 2 floats: n real points (n >= 2 L - 1, a product of 2, 3, 5 and 7), transformed
 * in place into n/2 + 1 complex ones. Workspace: filter rows, rows, and the work area of cuFFT's
 * plans.
 */
#include "kernels/long_conv/cufft.h"

#include <new>

#include "kernels/hw/cufft_rows.cuh"
#include "kernels/long_conv/backward.cuh"

namespace
{

using namespace sq_long_conv;

struct layout {
    int64_t n, row_stride; /* points of a transform; floats of a row, both even */
    chunk size;
    /* Parts of the workspace, in this order: filters (bwd: and their gradients), rows (bwd: of u,
     * of a or du, of g), cuFFT's. */
    size_t filter_bytes, rows_bytes, work_bytes;
    int filter_parts, row_parts;
};

struct plans {
    cufftHandle filter, filter_back, forward, inverse; /* -1: not made; filter_back: bwd alone */
    void *work; /* ours only where cuFFT wants more than the workspace holds */
    layout at;
};

bool is_smooth(int64_t n)
{
    for (int64_t p : {2, 3, 5, 7})
        while (n % p == 0)
            n /= p;
    return n == 1;
}

/* The smallest even n >= 2 length - 1 without a prime factor above 7: those cuFFT transforms
 * without Bluestein's detour. */
int64_t fast_points(int64_t length)
{
    int64_t n = 2 * length;
    while (!is_smooth(n))
        n += 2;
    return n;
}

size_t align_up(int64_t bytes)
{
    return (size_t)sq_ceil_div(bytes, 256) * 256;
}

layout layout_of(const sq_call *call)
{
    const int64_t *dim = call->in[IN_V].dim;
    layout at = {};
    at.n = fast_points(dim[1]);
    at.row_stride = at.n + 2;
    const int64_t row_bytes = at.row_stride * (int64_t)sizeof(float);
    const bool is_forward = call->pass == SQ_PASS_FWD;
    at.filter_parts = is_forward ? 1 : 2;
    at.row_parts = is_forward ? 1 : 3;
    at.size = chunk_of(call, at.row_parts * row_bytes, at.filter_parts * row_bytes,
                       at.row_parts * scratch_bytes);
    at.filter_bytes = align_up(at.size.nd * row_bytes);
    at.rows_bytes = align_up(at.size.nb * at.size.nd * row_bytes);
    at.work_bytes = sq_cufft_work_bytes(at.rows_bytes);
    return at;
}

sq_status make_plans(plans *p, sq_error *err)
{
    const layout *at = &p->at;
    const int64_t rows = at->size.nb * at->size.nd;
    size_t work_bytes = 0;
    SQ_TRY(sq_cufft_plan(at->n, at->row_stride, at->size.nd, true, &p->filter, &work_bytes, err));
    SQ_TRY(sq_cufft_plan(at->n, at->row_stride, rows, true, &p->forward, &work_bytes, err));
    SQ_TRY(sq_cufft_plan(at->n, at->row_stride, rows, false, &p->inverse, &work_bytes, err));
    if (at->filter_parts > 1)
        SQ_TRY(sq_cufft_plan(at->n, at->row_stride, at->size.nd, false, &p->filter_back,
                             &work_bytes, err));
    return sq_cufft_extra_work(work_bytes, at->work_bytes, &p->work, err);
}

/* out[r][k] = filter[r % nd][k] rows[r][k] / n, the filter conjugated or not: the only scaling of
 * the two unnormalised transforms. */
template <bool CONJUGATE>
__global__ void multiply_spectra(const float2 *rows, float2 *out, const float2 *filter,
                                 int64_t n_rows, int64_t nd, int64_t bins, int64_t stride,
                                 float scale)
{
    const int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= bins)
        return;
    for (int64_t r = blockIdx.y; r < n_rows; r += gridDim.y) {
        float2 h = filter[r % nd * stride + k];
        const float2 x = rows[r * stride + k];
        h.y = CONJUGATE ? -h.y : h.y;
        out[r * stride + k] =
            make_float2((x.x * h.x - x.y * h.y) * scale, (x.x * h.y + x.y * h.x) * scale);
    }
}

template <bool CONJUGATE>
sq_status launch_product(const sq_call *call, const layout *at, chunk c, const void *rows,
                         void *out, const void *filter, sq_error *err)
{
    const int64_t n_rows = c.nb * c.nd, bins = at->n / 2 + 1;
    const dim3 grid((unsigned)sq_ceil_div(bins, 256), (unsigned)min(n_rows, (int64_t)65535));
    multiply_spectra<CONJUGATE><<<grid, 256, 0, sq_stream(call)>>>(
        (const float2 *)rows, (float2 *)out, (const float2 *)filter, n_rows, c.nd, bins,
        at->row_stride / 2, 1.0f / (float)at->n);
    return sq_launched("long_conv product of spectra", err);
}

/* A chunk smaller than the plans' still transforms the whole scratch: the rows beyond are stale,
 * and nobody reads them. */
sq_status convolve_chunk(const sq_call *call, const plans *p, chunk c, bool is_new_filter,
                         sq_error *err)
{
    const layout *at = &p->at;
    char *filter = (char *)call->workspace, *rows = filter + at->filter_bytes;
    void *work = p->work ? p->work : rows + at->rows_bytes;
    if (is_new_filter) {
        SQ_TRY(launch_filter_rows(call, c, at->n, at->row_stride, (float *)filter, err));
        SQ_TRY(sq_cufft_execute(p->filter, filter, CUFFT_FORWARD, work, call, err));
    }
    SQ_TRY(launch_gather(call, c, at->n, at->row_stride, (float *)rows, err));
    SQ_TRY(sq_cufft_execute(p->forward, rows, CUFFT_FORWARD, work, call, err));
    SQ_TRY(launch_product<false>(call, at, c, rows, rows, filter, err));
    SQ_TRY(sq_cufft_execute(p->inverse, rows, CUFFT_INVERSE, work, call, err));
    return launch_scatter(call, c, at->row_stride, (const float *)rows, err);
}

/* In the rows of the workspace: u and U; a, later du; g and G. */
sq_status backward_chunk(const sq_call *call, const plans *p, chunk c, bool is_new_filter,
                         sq_error *err)
{
    const layout *at = &p->at;
    char *filter = (char *)call->workspace, *dfilter = filter + at->filter_bytes;
    char *u = dfilter + at->filter_bytes, *a = u + at->rows_bytes, *g = a + at->rows_bytes;
    void *work = p->work ? p->work : g + at->rows_bytes;
    const int64_t n = at->n, stride = at->row_stride;
    if (is_new_filter) {
        SQ_TRY(launch_filter_rows(call, c, n, stride, (float *)filter, err));
        SQ_TRY(sq_cufft_execute(p->filter, filter, CUFFT_FORWARD, work, call, err));
    }
    SQ_TRY(launch_gather(call, c, n, stride, (float *)u, err));
    SQ_TRY(sq_cufft_execute(p->forward, u, CUFFT_FORWARD, work, call, err));
    if (needs_value(call)) {
        SQ_TRY(launch_product<false>(call, at, c, u, a, filter, err));
        SQ_TRY(sq_cufft_execute(p->inverse, a, CUFFT_INVERSE, work, call, err));
    }
    SQ_TRY(launch_gather_gradient(call, c, n, stride, needs_value(call) ? (float *)a : NULL,
                                  (float *)g, err));
    SQ_TRY(sq_cufft_execute(p->forward, g, CUFFT_FORWARD, work, call, err));
    SQ_TRY(launch_sum_spectra(call, (const float2 *)u, (const float2 *)g, c,
                              {1, 0, n / 2 + 1, stride / 2}, 1.0f / (float)n, (float2 *)dfilter,
                              err));
    SQ_TRY(launch_product<true>(call, at, c, g, a, filter, err));
    SQ_TRY(sq_cufft_execute(p->inverse, a, CUFFT_INVERSE, work, call, err));
    SQ_TRY(launch_scatter_gradient(call, c, stride, (const float *)a, err));
    if (c.b0 + c.nb < call->in[IN_V].dim[0])
        return SQ_OK;
    SQ_TRY(sq_cufft_execute(p->filter_back, dfilter, CUFFT_INVERSE, work, call, err));
    return launch_write_filters(call, c, circle_taps{(const float *)dfilter, n, stride}, err);
}

} // namespace

extern "C" sq_status sq_long_conv_cufft_supports(const sq_call *call, const sq_device *device,
                                                 sq_error *why)
{
    (void)device;
    return sq_supports_types(call, why);
}

extern "C" size_t sq_long_conv_cufft_workspace(const sq_call *call)
{
    layout at = layout_of(call);
    return at.filter_parts * at.filter_bytes + at.row_parts * at.rows_bytes + at.work_bytes;
}

extern "C" sq_status sq_long_conv_cufft_prepare(const sq_call *call, void **plan, sq_error *err)
{
    plans *p = new (std::nothrow) plans();
    if (!p)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "cuFFT plans: %zu bytes", sizeof *p);
    p->filter = p->filter_back = p->forward = p->inverse = -1;
    p->at = layout_of(call);
    sq_status status = make_plans(p, err);
    if (status != SQ_OK) {
        sq_long_conv_cufft_release(p);
        return status;
    }
    *plan = p;
    return SQ_OK;
}

extern "C" sq_status sq_long_conv_cufft_launch(const sq_call *call, void *plan, sq_error *err)
{
    const plans *p = (const plans *)plan;
    const int64_t *dim = call->in[IN_V].dim;
    return for_each_chunk(p->at.size, dim[0], products_of(call), [&](chunk c, bool is_new_filter) {
        return call->pass == SQ_PASS_FWD ? convolve_chunk(call, p, c, is_new_filter, err)
                                         : backward_chunk(call, p, c, is_new_filter, err);
    });
}

extern "C" void sq_long_conv_cufft_release(void *plan)
{
    plans *p = (plans *)plan;
    if (!p)
        return;
    for (cufftHandle handle : {p->filter, p->filter_back, p->forward, p->inverse})
        if (handle >= 0)
            cufftDestroy(handle);
    cudaFree(p->work);
    delete p;
}
