/* rng: counter-based inputs, the same bits on host and device.
 *
 * Element i of tensor t under a seed is a pure function of (seed, t, i): any element can be made
 * alone, so a slice of a 100 GB tensor is drawn without drawing the rest. Integer hash only, a
 * normal is a sum of four uniforms (variance 1, |x| <= 2*sqrt(3)): no libm, whose bits differ by
 * machine. Included by host C, host C++ and device code.
 */
#ifndef SQ_CORE_RNG_H
#define SQ_CORE_RNG_H

#include <stdint.h>

#include "core/dtype.h"
#include "core/status.h"
#include "core/tensor.h"

#ifdef __CUDACC__
#define SQ_RNG_FN static __host__ __device__ __forceinline__
#else
#define SQ_RNG_FN static inline
#endif

/* How a tensor is drawn. NORMAL: mean a, standard deviation b. UNIFORM: [a, b). CONSTANT: a.
 * RAMP: a + b * (i mod period). STAIR: a + b * floor(i / period). Values are computed in f32 and then rounded to the tensor's
 * dtype. */
typedef enum {
    SQ_DRAW_NORMAL,
    SQ_DRAW_UNIFORM,
    SQ_DRAW_CONSTANT,
    SQ_DRAW_RAMP,
    SQ_DRAW_STAIR
} sq_draw_kind;

typedef struct {
    sq_draw_kind kind;
    float a, b;
    int64_t period; /* RAMP and STAIR only */
} sq_draw;

/* splitmix64 finaliser (Steele, Lea, Flood 2014): a bijection with full avalanche. */
SQ_RNG_FN uint64_t sq_rng_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* A product rounded on its own: never contracted into an FMA, so that every machine agrees. */
SQ_RNG_FN float sq_rng_mul(float x, float y)
{
#ifdef __CUDA_ARCH__
    return __fmul_rn(x, y);
#else
    volatile float product = x * y;
    return product;
#endif
}

SQ_RNG_FN uint64_t sq_rng_bits(uint64_t seed, uint32_t tensor, int64_t index)
{
    return sq_rng_mix(sq_rng_mix(seed ^ ((uint64_t)tensor << 40)) + (uint64_t)index);
}

SQ_RNG_FN float sq_rng_draw(sq_draw draw, uint64_t seed, uint32_t tensor, int64_t index)
{
    if (draw.kind == SQ_DRAW_CONSTANT)
        return draw.a;
    if (draw.kind == SQ_DRAW_RAMP)
        return draw.a + sq_rng_mul(draw.b, (float)(index % draw.period));
    if (draw.kind == SQ_DRAW_STAIR)
        return draw.a + sq_rng_mul(draw.b, (float)(index / draw.period));
    uint64_t bits = sq_rng_bits(seed, tensor, index);
    if (draw.kind == SQ_DRAW_UNIFORM) {
        float unit = (float)(uint32_t)(bits >> 40) * (1.0f / 16777216.0f);
        return draw.a + sq_rng_mul(unit, draw.b - draw.a);
    }
    /* Sum of four 16-bit uniforms: mean 2*65535, variance 4*(65536^2-1)/12. */
    int32_t sum = (int32_t)(bits & 0xffff) + (int32_t)(bits >> 16 & 0xffff) +
                  (int32_t)(bits >> 32 & 0xffff) + (int32_t)(bits >> 48 & 0xffff) - 131070;
    const float unit_deviation = 2.6428965e-5f; /* sqrt(3) / 65536 */
    return draw.a + sq_rng_mul((float)sum, draw.b * unit_deviation);
}

/* One term of an order-independent checksum: the sum over all 32-bit words (the last one padded
 * with zero bytes) modulo 2^64. Equal on every backend. */
SQ_RNG_FN uint64_t sq_rng_checksum_term(int64_t index, uint32_t word)
{
    return sq_rng_mix(sq_rng_mix((uint64_t)index) ^ word);
}

#ifdef __cplusplus
extern "C" {
#endif

/* Fills a host view whose element with storage offset o (in elements, relative to the base tensor)
 * is drawn at index base_index + o. For a whole dense tensor base_index is 0. */
void sq_rng_fill(const sq_tensor *view, int64_t base_index, sq_draw draw, uint64_t seed,
                 uint32_t tensor);

enum { SQ_DRAW_TEXT = 80 };

/* The text form: "normal(mean,deviation)", "uniform(low,high)", "constant(value)",
 * "ramp(start,step,period)" or "stair(start,step,period)"; numbers in as many digits as give the same bits back. */
void sq_draw_format(sq_draw draw, char out[SQ_DRAW_TEXT]);
/* SQ_BAD_ARGUMENT with the nearest kind, or the form that is meant. Numbers must be finite, a
 * period positive. */
sq_status sq_draw_parse(const char *text, sq_draw *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
