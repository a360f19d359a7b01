/* ssm_op: what the operators of a diagonal state space stored by conjugate pairs (s4_kernel,
 * s4d_kernel, s4_scan) share on the host: their rules, the tensors of the state space, and complex
 * numbers as a last dim of 2.
 *
 * D channels, N states (N/2 stored), S copies of the state space: channel d has copy d mod S.
 */
#ifndef SQ_KERNELS_SHARED_SSM_OP_H
#define SQ_KERNELS_SHARED_SSM_OP_H

#include "kernels/op.h"
#include "kernels/shared/ssm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tensors of a state space, from the first of them on. */
enum { SQ_SSM_LOG_DT, SQ_SSM_A_REAL, SQ_SSM_A_IMAG };

/* Choices of an axis whose value is sq_ssm_discretise()'s rule. */
extern const char *const sq_ssm_rules[];

/* N even; S divides D, where 0 becomes D. */
sq_status sq_ssm_check(sq_axis_value states, sq_axis_value channels, sq_axis_value *copies,
                       sq_error *err);

/* log_dt (D), a_real and a_imag (S, modes), drawn as S4D-Lin starts: a = -1/2 + i pi n, dt from
 * 0.001 to 0.1. */
void sq_ssm_list(sq_tensor_spec *first, int64_t channels, int64_t copies, int64_t modes);

/* Of mode n of copy s; first: the tensor log_dt. */
sq_c64 sq_ssm_load_pole(const sq_tensor *first, int64_t s, int64_t n, double sign);
/* The gradients of a_real and a_imag from that of the pole. */
void sq_ssm_store_pole_gradient(const sq_tensor *first, int64_t s, int64_t n, sq_c64 a, double sign,
                                sq_c64 da);

/* Element (i, j, k) of a tensor with a last dim of real and imaginary part; of three dims (i, j).
 */
sq_c64 sq_pair_load(const sq_tensor *t, int64_t i, int64_t j, int64_t k);
void sq_pair_store(const sq_tensor *t, int64_t i, int64_t j, int64_t k, sq_c64 value);

#ifdef __cplusplus
}
#endif

#endif
