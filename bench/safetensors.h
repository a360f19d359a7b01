/* safetensors: reads a container of tensors (huggingface/safetensors, "Format"): 8 bytes
 * little-endian header length, a JSON header, raw little-endian data without strides.
 *
 * The file is mapped; nothing of it is believed before it is checked, so a hostile one is an error.
 */
#ifndef SQ_BENCH_SAFETENSORS_H
#define SQ_BENCH_SAFETENSORS_H

#include <stdint.h>

#include "core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SQ_STORED_F32, SQ_STORED_BF16, SQ_STORED_F16, SQ_STORED_I32 } sq_stored_type;

typedef struct {
    char *name;
    sq_stored_type type;
    int rank;
    int64_t dim[SQ_MAX_RANK], count;
    const void *data; /* in the mapping; may be unaligned */
} sq_stored_tensor;

/* Zero-initialise. */
typedef struct {
    void *map;
    size_t bytes;
    sq_stored_tensor *tensor;
    int count;
} sq_safetensors;

/* SQ_IO: cannot be read; SQ_BAD_ARGUMENT: not such a file, with what is wrong. Tensors of other
 * types (F64, I64, BOOL ...) or of more than SQ_MAX_RANK dims are refused by name.
 * sq_safetensors_close is due also after a failure. */
sq_status sq_safetensors_open(const char *path, sq_safetensors *out, sq_error *err);
void sq_safetensors_close(sq_safetensors *file);

/* NULL where there is none of that name. */
const sq_stored_tensor *sq_safetensors_find(const sq_safetensors *file, const char *name);

/* Element `index` (row-major) as a number. */
double sq_stored_number(const sq_stored_tensor *tensor, int64_t index);

#ifdef __cplusplus
}
#endif
#endif
