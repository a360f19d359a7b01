/* s4_kernel, backward. With V(w) the value of a point (s4_kernel.c) and DH the transform of dh,
 *
 *   dV(w_j) = DH_j / L, and twice that where j has a conjugate beside it
 *   dcb = dV    dcp = -conj(g M^-1 pb) dV    dpb = -conj(g cp M^-1) dV
 *   dpp = conj(g^2 (cp M^-1)^T (M^-1 pb)^T) dV
 *
 * and from the sums their factors and resolvents, a point after the other (s4_kernel.h).
 *
 * Source: the chain rule on s4_kernel.c's equation.
 */
#include "kernels/s4_kernel/s4_kernel.h"

#include <stdlib.h>

#include "kernels/shared/rows.h"

enum { IN_DH = IN_COUNT };

/* One filter of a channel: mode[n] grows; its c is written. z: L points. */
static void run_row(const sq_call *call, int64_t b, int64_t d, const sq_any_fft *fft, sq_c64 *z,
                    sq_c64 *scratch, sq_s4_mode_gradient *mode)
{
    const int64_t length = fft->n, modes = call->in[IN_C].dim[2];
    const int rank = (int)call->axis[AXIS_R];
    for (int64_t t = 0; t < length; t++)
        z[t] = sq_c64_of(sq_load3(&call->in[IN_DH], b, d, t), 0);
    sq_any_fft_forward(fft, z, scratch);
    for (int64_t n = 0; n < modes; n++)
        mode[n].c = sq_c64_of(0, 0);
    for (int64_t j = 0; j <= length / 2; j++) {
        const double weight = (j == 0 || 2 * j == length ? 1 : 2) / (double)length;
        const sq_s4_point at = sq_s4_point_of(j, length);
        const sq_s4_sums sums = sq_s4_sums_of(call, b, d, &at);
        const sq_s4_solution solved = sq_s4_solve(&sums, at.g, rank);
        const sq_s4_sums dsums = sq_s4_sums_back(&solved, at.g, rank, sq_c64_scale(z[j], weight));
        for (int64_t n = 0; n < modes; n++) {
            const sq_s4_mode m = sq_s4_mode_of(call, d, n);
            sq_s4_mode_back(&dsums, &m, sq_pair_load(&call->in[IN_C], b, d, n), &at, rank,
                            &mode[n]);
        }
    }
    for (int64_t n = 0; n < modes; n++)
        sq_pair_store(&call->out[IN_C], b, d, n, mode[n].c);
}

/* false: no memory. */
static bool run_channel(const sq_call *call, int64_t d, const sq_any_fft *fft,
                        sq_s4_mode_gradient *mode)
{
    sq_c64 *z = malloc((size_t)(fft->n + fft->fft.n) * sizeof *z);
    for (int64_t b = 0; z && b < call->in[IN_C].dim[0]; b++)
        run_row(call, b, d, fft, z, z + fft->n, mode);
    free(z);
    return z != NULL;
}

/* Mode n of copy s: the sum over its channels. mode: (D, modes). */
static void write_mode(const sq_call *call, int64_t s, int64_t n, const sq_s4_mode_gradient *mode)
{
    const int64_t copies = call->out[IN_A_REAL].dim[0], modes = call->out[IN_A_REAL].dim[1];
    const int rank = (int)call->axis[AXIS_R];
    sq_s4_mode_gradient sum = {.log_dt = 0};
    for (int64_t d = s; d < call->in[IN_LOG_DT].dim[0]; d += copies) {
        const sq_s4_mode_gradient *one = &mode[d * modes + n];
        sum.a = sq_c64_add(sum.a, one->a);
        sum.b = sq_c64_add(sum.b, one->b);
        for (int k = 0; k < rank; k++)
            sum.p[k] = sq_c64_add(sum.p[k], one->p[k]);
    }
    const double sign = call->axis[AXIS_CONJUGATE] != 0 ? -1 : 1;
    sq_ssm_store_pole_gradient(&call->out[IN_LOG_DT], s, n, sq_s4_mode_of(call, s, n).a, sign,
                               sum.a);
    sq_pair_store(&call->out[IN_GAIN], s, n, 0, sum.b);
    for (int k = 0; k < rank; k++)
        sq_pair_store(&call->out[IN_P], k, s, n, sum.p[k]);
}

static void write_modes(const sq_call *call, const sq_s4_mode_gradient *mode)
{
    const sq_tensor *log_dt = &call->out[IN_LOG_DT];
    const int64_t modes = call->in[IN_C].dim[2];
    for (int64_t s = 0; s < call->in[IN_A_REAL].dim[0]; s++)
        for (int64_t n = 0; n < modes; n++)
            write_mode(call, s, n, mode);
    for (int64_t d = 0; d < log_dt->dim[0]; d++) {
        double sum = 0;
        for (int64_t n = 0; n < modes; n++)
            sum += mode[d * modes + n].log_dt;
        sq_store(log_dt->data, log_dt->dtype, d * log_dt->stride[0], sum);
    }
}

sq_status sq_s4_kernel_backward(const sq_call *call, sq_error *err)
{
    const int64_t channels = call->in[IN_C].dim[1], modes = call->in[IN_C].dim[2];
    sq_s4_mode_gradient *mode = calloc((size_t)(channels * modes) + 1, sizeof *mode);
    bool is_short = !mode;
    sq_any_fft fft = {.chirp = NULL};
    sq_status s = sq_any_fft_init(&fft, call->in[IN_DH].dim[2], err);
#pragma omp parallel for schedule(dynamic) reduction(|| : is_short) if (s == SQ_OK && mode)
    for (int64_t d = 0; d < channels; d++)
        if (s == SQ_OK && mode)
            is_short = !run_channel(call, d, &fft, &mode[d * modes]) || is_short;
    if (s == SQ_OK && !is_short)
        write_modes(call, mode);
    sq_any_fft_free(&fft);
    free(mode);
    SQ_TRY(s);
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "s4_kernel backward: %lld modes",
                              (long long)(channels * modes))
                    : SQ_OK;
}
