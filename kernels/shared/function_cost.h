/* function_cost: what functions count for in cost(), the same in every operator.
 *
 * A special function is an exponential, logarithm, sine, cosine, reciprocal, root, power or erf. It
 * counts as that alone: what constants add to or multiply its argument and its value (the 1 + and
 * the sign of a sigmoid, the halves of gelu) belongs to it. FLOPS are the sums and products beside
 * it. A SLOPE is the derivative at x, without the product with the gradient that it passes on.
 * Comparisons and choices (relu, limits, maxima) count for nothing.
 *
 *   sigmoid   s = 1 / (1 + e^-x)         softplus  ln(1 + e^x), slope s with the e^x at hand
 *   silu      x s                        slope  s (1 + x (1 - s)) with s at hand
 *   gelu      x Phi(x)                   slope  Phi(x) + x phi(x),  phi = e^(-x^2/2) / sqrt(2 pi)
 *   gelu_tanh x s(u), u = x (a + b x^2)  slope  s + x s (1 - s) (a + 3 b x^2)
 */
#ifndef SQ_KERNELS_SHARED_FUNCTION_COST_H
#define SQ_KERNELS_SHARED_FUNCTION_COST_H

enum {
    SQ_SIGMOID_SPECIAL = 2,
    SQ_SOFTPLUS_SPECIAL = 2,
    SQ_SOFTPLUS_SLOPE_SPECIAL = 1,
    SQ_SILU_FLOPS = 1,
    SQ_SILU_SPECIAL = SQ_SIGMOID_SPECIAL,
    SQ_SILU_SLOPE_FLOPS = 4,
    SQ_GELU_FLOPS = 1,
    SQ_GELU_SPECIAL = 1,
    SQ_GELU_SLOPE_FLOPS = 3,
    SQ_GELU_SLOPE_SPECIAL = 2,
    SQ_GELU_TANH_FLOPS = 5,
    SQ_GELU_TANH_SPECIAL = SQ_SIGMOID_SPECIAL,
    SQ_GELU_TANH_SLOPE_FLOPS = 11,
    SQ_GELU_TANH_SLOPE_SPECIAL = SQ_SIGMOID_SPECIAL,
};

#endif
