/* dtype: element types, and 16-bit floats on a host that has none (they are uint16_t bit
 * patterns). */
#ifndef SQ_CORE_DTYPE_H
#define SQ_CORE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What lies beyond the count no name selects. F64: references compute in it, so that a derivative can
 * be checked by differences; no provider has it. I32: inputs that are indices. */
typedef enum {
    SQ_DTYPE_F32,
    SQ_DTYPE_BF16,
    SQ_DTYPE_F16,
    SQ_DTYPE_COUNT,
    SQ_DTYPE_F64 = SQ_DTYPE_COUNT,
    SQ_DTYPE_I32
} sq_dtype;

const char *sq_dtype_name(sq_dtype dtype); /* "f32", "bf16", "f16" */
size_t sq_dtype_size(sq_dtype dtype);      /* bytes per element */

/* Looks a name up; SQ_BAD_ARGUMENT names the nearest known one. */
sq_status sq_dtype_parse(const char *name, sq_dtype *out, sq_error *err);

/* Round to nearest even; NaN stays NaN, overflow becomes infinity. */
uint16_t sq_f32_to_bf16(float value);
float sq_bf16_to_f32(uint16_t bits);
uint16_t sq_f32_to_f16(float value);
float sq_f16_to_f32(uint16_t bits);

/* Element `index` of an array of `dtype`, as double / from double (rounded through f32, F64 not at
 * all, I32 towards 0). */
double sq_load(const void *data, sq_dtype dtype, int64_t index);
void sq_store(void *data, sq_dtype dtype, int64_t index, double value);

/* `value` as it would read back after being stored in `dtype`. */
double sq_round_to(sq_dtype dtype, double value);

#ifdef __cplusplus
}
#endif
#endif
