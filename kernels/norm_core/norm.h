/* norm: what rmsnorm, layernorm and group_norm have in common. A row is cut into `groups` parts of
 * `width` channels; each part is brought to mean square 1.
 *
 *   s = x + r                             residual: s is handed on;  else s = x
 *   u = s silu(z)                         gate pre;  else u = s
 *   c = u - mean(u)                       centred;   else c = u
 *   n = c / sqrt(mean(c^2) + eps)
 *   y = n w + b                           w, b of each channel: 1, 0 where absent
 *   y = (n w + b) silu(z)                 gate post
 *
 * silu(z) = z / (1 + e^-z). Each of the three fills a sq_norm from its own axes; the tensors lie at
 * the positions below in all of them.
 */
#ifndef SQ_KERNELS_NORM_CORE_NORM_H
#define SQ_KERNELS_NORM_CORE_NORM_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_NORM_X, SQ_NORM_W, SQ_NORM_Z, SQ_NORM_B, SQ_NORM_R, SQ_NORM_IN };
enum { SQ_NORM_Y, SQ_NORM_S, SQ_NORM_OUT };

enum { SQ_NORM_GATE_NONE, SQ_NORM_GATE_PRE, SQ_NORM_GATE_POST };
extern const char *const sq_norm_gates[]; /* choices of an axis, as are: */
/* x + r is kept in the type of x, or in f32 whatever x is, as r is. */
enum { SQ_NORM_RESIDUAL_NONE, SQ_NORM_RESIDUAL_SAME, SQ_NORM_RESIDUAL_F32 };
extern const char *const sq_norm_residuals[];

/* is_by_head: x, z, y, r and s are (B, L, groups, width), else (B, L, groups * width). */
typedef struct {
    int64_t batch, length, groups, width;
    bool is_by_head, is_centred, has_weight, has_bias;
    int gate, residual;
    double eps;
} sq_norm;

sq_status sq_norm_tensors(const sq_norm *norm, sq_dtype dtype, sq_tensor_list *list);
sq_cost sq_norm_cost(const sq_norm *norm, sq_pass pass, sq_dtype dtype);
sq_tolerance sq_norm_tolerance(const sq_norm *norm, sq_pass pass, sq_dtype dtype);
double sq_norm_reference_work(const sq_norm *norm);

/* The references; SQ_OUT_OF_MEMORY. */
sq_status sq_norm_forward(const sq_norm *norm, const sq_call *call, sq_error *err);
sq_status sq_norm_backward(const sq_norm *norm, const sq_call *call, sq_error *err);

/* Some neighbouring rows of one sequence, all channels. */
sq_status sq_norm_slice(const sq_norm *norm, const sq_call *whole, sq_pick pick, sq_call *sub,
                        char *what, size_t size);

/* The functions of a sq_op that rmsnorm, layernorm and group_norm have alike: each asks the core
 * about what `norm_of(pass, axis)` reads from the operator's own axes. */
#define SQ_NORM_FUNCTIONS(norm_of)                                                                 \
    static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,              \
                             sq_tensor_list *list, sq_error *err)                                  \
    {                                                                                              \
        const sq_norm norm = norm_of(pass, axis);                                                  \
        (void)err;                                                                                 \
        return sq_norm_tensors(&norm, dtype, list);                                                \
    }                                                                                              \
    static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)                   \
    {                                                                                              \
        const sq_norm norm = norm_of(pass, axis);                                                  \
        return sq_norm_cost(&norm, pass, dtype);                                                   \
    }                                                                                              \
    static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)         \
    {                                                                                              \
        const sq_norm norm = norm_of(pass, axis);                                                  \
        return sq_norm_tolerance(&norm, pass, dtype);                                              \
    }                                                                                              \
    static sq_status reference(const sq_call *call, sq_error *err)                                 \
    {                                                                                              \
        const sq_norm norm = norm_of(call->pass, call->axis);                                      \
        return sq_norm_forward(&norm, call, err);                                                  \
    }                                                                                              \
    static sq_status backward(const sq_call *call, sq_error *err)                                  \
    {                                                                                              \
        const sq_norm norm = norm_of(call->pass, call->axis);                                      \
        return sq_norm_backward(&norm, call, err);                                                 \
    }                                                                                              \
    static double reference_work(const sq_axis_value *axis)                                        \
    {                                                                                              \
        const sq_norm norm = norm_of(SQ_PASS_FWD, axis);                                           \
        return sq_norm_reference_work(&norm);                                                      \
    }                                                                                              \
    static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what,           \
                           size_t size)                                                            \
    {                                                                                              \
        const sq_norm norm = norm_of(whole->pass, whole->axis);                                    \
        return sq_norm_slice(&norm, whole, pick, sub, what, size);                                 \
    }

/* Element 0 of group g of row m in a tensor of one of the two forms. */
static inline int64_t sq_norm_offset(const sq_norm *norm, const sq_tensor *t, int64_t m, int64_t g)
{
    return m / t->dim[1] * t->stride[0] + m % t->dim[1] * t->stride[1] +
           g * (norm->is_by_head ? t->stride[2] : norm->width);
}

#ifdef __cplusplus
}
#endif
#endif
