/* ssm_op: see ssm_op.h. */
#include "kernels/shared/ssm_op.h"

#include "kernels/shared/rows.h"

const char *const sq_ssm_rules[] = {
    [SQ_SSM_ZOH] = "zoh", [SQ_SSM_BILINEAR] = "bilinear", [SQ_SSM_BILINEAR + 1] = NULL};

sq_status sq_ssm_check(sq_axis_value states, sq_axis_value channels, sq_axis_value *copies,
                       sq_error *err)
{
    if (fmod(states, 2) != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "N=%g: states are pairs", states);
    if (*copies == 0)
        *copies = channels;
    if (fmod(channels, *copies) != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "S=%g does not divide D=%g", *copies, channels);
    return SQ_OK;
}

void sq_ssm_list(sq_tensor_spec *first, int64_t channels, int64_t copies, int64_t modes)
{
    const sq_draw steps = {SQ_DRAW_UNIFORM, -6.9078f, -2.3026f, 0};
    const sq_draw decay = {SQ_DRAW_NORMAL, -0.6931f, 0.2f, 0};
    const sq_draw frequency = {SQ_DRAW_RAMP, 0.0f, 3.14159265f, modes};
    first[SQ_SSM_LOG_DT] = (sq_tensor_spec){"log_dt", SQ_DTYPE_F32, 1, {channels}, -1, steps};
    first[SQ_SSM_A_REAL] = (sq_tensor_spec){"a_real", SQ_DTYPE_F32, 2, {copies, modes}, -1, decay};
    first[SQ_SSM_A_IMAG] =
        (sq_tensor_spec){"a_imag", SQ_DTYPE_F32, 2, {copies, modes}, -1, frequency};
}

sq_c64 sq_ssm_load_pole(const sq_tensor *first, int64_t s, int64_t n, double sign)
{
    return sq_ssm_pole(sq_load3(&first[SQ_SSM_A_REAL], s, n, 0),
                       sq_load3(&first[SQ_SSM_A_IMAG], s, n, 0), sign);
}

void sq_ssm_store_pole_gradient(const sq_tensor *first, int64_t s, int64_t n, sq_c64 a, double sign,
                                sq_c64 da)
{
    sq_store3(&first[SQ_SSM_A_REAL], s, n, 0, sq_ssm_d_a_real(a, da));
    sq_store3(&first[SQ_SSM_A_IMAG], s, n, 0, sq_ssm_d_a_imag(sign, da));
}

sq_c64 sq_pair_load(const sq_tensor *t, int64_t i, int64_t j, int64_t k)
{
    const int64_t at = sq_offset3(t, i, j, k), step = t->stride[t->rank - 1];
    return sq_c64_of(sq_load(t->data, t->dtype, at), sq_load(t->data, t->dtype, at + step));
}

void sq_pair_store(const sq_tensor *t, int64_t i, int64_t j, int64_t k, sq_c64 value)
{
    const int64_t at = sq_offset3(t, i, j, k);
    sq_store(t->data, t->dtype, at, value.re);
    sq_store(t->data, t->dtype, at + t->stride[t->rank - 1], value.im);
}
