/* bound: what the time of a cell is bound by, from what is stored. */
#ifndef SQ_REPORTS_BOUND_H
#define SQ_REPORTS_BOUND_H

#include <stdint.h>

#include "core/status.h"
#include "reports/query.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The larger of compulsory bytes over the copy ceiling and matrix operations over that of the type's
 * products, where it is at least half of the time; else something else of the SM. Below 20 us
 * neither. */
typedef enum {
    SQ_CLASS_MEMORY,
    SQ_CLASS_TENSOR,
    SQ_CLASS_OTHER,
    SQ_CLASS_SHORT,
    SQ_CLASS_UNKNOWN,
    SQ_CLASS_COUNT
} sq_cell_class;

/* The ceilings that classes need; NAN unknown. */
typedef struct {
    double copy_gbytes_per_s, gemm_f32_tflops, gemm_16_tflops;
} sq_roofs;

/* Of the campaign where it has any, else the newest of the device. */
sq_status sq_roofs_read(const sq_scope *scope, int64_t device_id, sq_roofs *out, sq_error *err);

/* bytes, matrix_flops: compulsory ones; NAN unknown. */
sq_cell_class sq_class_of(const sq_roofs *roofs, const char *dtype, double ns, double bytes,
                          double matrix_flops);

#ifdef __cplusplus
}
#endif
#endif
