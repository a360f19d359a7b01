#include "core/dtype.h"

#include <string.h>

#include "core/text.h"

static const char *const names[] = {"f32", "bf16", "f16", NULL};
static const size_t sizes[] = {4, 2, 2, 8, 4};

const char *sq_dtype_name(sq_dtype dtype)
{
    return (unsigned)dtype < SQ_DTYPE_COUNT ? names[dtype] : "unknown";
}

size_t sq_dtype_size(sq_dtype dtype) { return sizes[dtype]; }

sq_status sq_dtype_parse(const char *name, sq_dtype *out, sq_error *err)
{
    int index = 0;
    SQ_TRY(sq_find_name("dtype", name, names, &index, err));
    *out = (sq_dtype)index;
    return SQ_OK;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t sq_f32_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u); /* quiet: the payload must not vanish */
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float sq_bf16_to_f32(uint16_t bits) { return float_of((uint32_t)bits << 16); }

uint16_t sq_f32_to_f16(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* 65520: the first that rounds to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) { /* normal */
        uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
        return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
    }
    if (magnitude < 0x33000000u) /* below half of the smallest subnormal */
        return (uint16_t)sign;
    uint32_t shift = 126u - (magnitude >> 23), mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    uint32_t half = 1u << (shift - 1u), odd = mantissa >> shift & 1u;
    return (uint16_t)(sign | (mantissa + half - 1u + odd) >> shift);
}

float sq_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, exponent = bits >> 10 & 0x1fu;
    uint32_t mantissa = bits & 0x3ffu;
    if (exponent == 0x1fu)
        return float_of(sign | 0x7f800000u | mantissa << 13);
    if (exponent != 0)
        return float_of(sign | (exponent + 112u) << 23 | mantissa << 13);
    float magnitude = (float)mantissa * 5.9604644775390625e-8f; /* 2^-24 */
    return sign ? -magnitude : magnitude;
}

double sq_load(const void *data, sq_dtype dtype, int64_t index)
{
    switch (dtype) {
    case SQ_DTYPE_BF16:
        return sq_bf16_to_f32(((const uint16_t *)data)[index]);
    case SQ_DTYPE_F16:
        return sq_f16_to_f32(((const uint16_t *)data)[index]);
    case SQ_DTYPE_F64:
        return ((const double *)data)[index];
    case SQ_DTYPE_I32:
        return ((const int32_t *)data)[index];
    default:
        return ((const float *)data)[index];
    }
}

void sq_store(void *data, sq_dtype dtype, int64_t index, double value)
{
    switch (dtype) {
    case SQ_DTYPE_BF16:
        ((uint16_t *)data)[index] = sq_f32_to_bf16((float)value);
        break;
    case SQ_DTYPE_F16:
        ((uint16_t *)data)[index] = sq_f32_to_f16((float)value);
        break;
    case SQ_DTYPE_F64:
        ((double *)data)[index] = value;
        break;
    case SQ_DTYPE_I32:
        ((int32_t *)data)[index] = (int32_t)value;
        break;
    default:
        ((float *)data)[index] = (float)value;
        break;
    }
}

double sq_round_to(sq_dtype dtype, double value)
{
    union {
        double twice;
        float single;
        uint16_t half;
        int32_t whole;
    } element;
    sq_store(&element, dtype, 0, value);
    return sq_load(&element, dtype, 0);
}
