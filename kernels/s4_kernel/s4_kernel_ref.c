/* s4_kernel, the reference of pass fwd. */
#include "kernels/s4_kernel/s4_kernel.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rows.h"

sq_s4_mode sq_s4_mode_of(const sq_call *call, int64_t d, int64_t n)
{
    const int64_t s = d % call->in[IN_A_REAL].dim[0], rank = sq_axis_int(call->axis, AXIS_R);
    sq_s4_mode m = {.dt = exp(sq_load1(&call->in[IN_LOG_DT], d)),
                    .is_pair = call->axis[AXIS_PAIRS] != 0};
    m.a = sq_ssm_load_pole(&call->in[IN_LOG_DT], s, n, call->axis[AXIS_CONJUGATE] != 0 ? -1 : 1);
    m.b = sq_pair_load(&call->in[IN_GAIN], s, n, 0);
    for (int64_t k = 0; k < rank; k++)
        m.p[k] = sq_pair_load(&call->in[IN_P], k, s, n);
    return m;
}

sq_s4_sums sq_s4_sums_of(const sq_call *call, int64_t b, int64_t d, const sq_s4_point *at)
{
    const int rank = (int)call->axis[AXIS_R];
    sq_s4_sums sums = {.cb = {0, 0}};
    for (int64_t n = 0; n < call->in[IN_C].dim[2]; n++) {
        const sq_s4_mode m = sq_s4_mode_of(call, d, n);
        sq_s4_add_mode(&sums, &m, sq_pair_load(&call->in[IN_C], b, d, n), at, rank);
    }
    return sums;
}

/* z: L points; scratch: of the transform. */
static void run_row(const sq_call *call, int64_t b, int64_t d, const sq_any_fft *fft, sq_c64 *z,
                    sq_c64 *scratch)
{
    const sq_tensor *h = &call->out[0];
    const int64_t length = fft->n;
    const int rank = (int)call->axis[AXIS_R];
    for (int64_t j = 0; j <= length / 2; j++) {
        const sq_s4_point at = sq_s4_point_of(j, length);
        const sq_s4_sums sums = sq_s4_sums_of(call, b, d, &at);
        const sq_s4_solution solved = sq_s4_solve(&sums, at.g, rank);
        const sq_c64 value = sq_s4_value(&sums, &solved, at.g, rank);
        /* Of a real row; the transform below runs forward, so the spectrum is conjugated. */
        z[j] = sq_c64_conj(value);
        z[(length - j) % length] = value;
        if (j == 0 || 2 * j == length)
            z[j].im = 0;
    }
    sq_any_fft_forward(fft, z, scratch);
    for (int64_t t = 0; t < length; t++)
        sq_store3(h, b, d, t, z[t].re / (double)length);
}

sq_status sq_s4_kernel_reference(const sq_call *call, sq_error *err)
{
    const sq_tensor *h = &call->out[0];
    bool is_short = false;
    sq_any_fft fft = {.chirp = NULL};
    sq_status s = sq_any_fft_init(&fft, h->dim[2], err);
#pragma omp parallel for collapse(2) schedule(dynamic) reduction(|| : is_short) if (s == SQ_OK)
    for (int64_t b = 0; b < h->dim[0]; b++)
        for (int64_t d = 0; d < h->dim[1]; d++) {
            sq_c64 *z = s == SQ_OK ? malloc((size_t)(fft.n + fft.fft.n) * sizeof *z) : NULL;
            is_short = is_short || !z;
            if (z)
                run_row(call, b, d, &fft, z, z + fft.n);
            free(z);
        }
    sq_any_fft_free(&fft);
    SQ_TRY(s);
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "s4_kernel: a row of %lld points",
                              (long long)h->dim[2])
                    : SQ_OK;
}
