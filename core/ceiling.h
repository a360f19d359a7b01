/* ceiling: the ceilings of a device by name, and what its architecture allows at most.
 *
 * A measured ceiling is stored under its name here; the name carries the unit. The theoretical peak
 * beside it comes from device attributes times the observed SM clock and a table of rates per clock
 * and SM, by compute capability. Nothing here measures.
 */
#ifndef SQ_CORE_CEILING_H
#define SQ_CORE_CEILING_H

#include <stdbool.h>

#include "core/dtype.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What bounds a ceiling from above. */
typedef enum {
    SQ_PEAK_NONE,
    SQ_PEAK_DRAM,   /* bus width times memory clock, two transfers a clock */
    SQ_PEAK_L2,     /* per clock and SM from here on: bytes read over the port to L2 */
    SQ_PEAK_SHARED, /* bytes read of shared memory */
    SQ_PEAK_HALF,   /* bf16 and f16 tensor operations; a multiply-add counts 2 */
    SQ_PEAK_TF32,
    SQ_PEAK_FP8,
    SQ_PEAK_INT8,
    SQ_PEAK_SIMT, /* f32 on the CUDA cores */
    SQ_PEAK_MUFU, /* ex2 and the like */
    SQ_PEAK_COUNT
} sq_peak;

typedef struct {
    const char *name, *unit;
    const char *section; /* of the data sheet */
    const char *doc;
    sq_peak peak;
} sq_ceiling_def;

/* In the order of the data sheet; NULL-ended. */
extern const sq_ceiling_def sq_ceiling_defs[];
const sq_ceiling_def *sq_ceiling_find(const char *name); /* NULL: none of ours */

/* A ceiling of that name and its unit, nothing measured yet: every number NAN. */
sq_ceiling sq_ceiling_new(const char *name);
/* Value of the ceiling called `name`; NAN where the list has none. */
double sq_ceiling_value(const sq_ceiling *list, int n, const char *name);

/* The peak in GB/s, TFLOP/s, TOP/s or Gop/s. sm_mhz is not used for SQ_PEAK_DRAM. NAN where the
 * architecture has no such unit or is not in the table, or an attribute is unknown. */
double sq_peak_rate(const sq_device *device, sq_peak peak, double sm_mhz);
/* The most that operations of this element type can reach on any unit, in TFLOP/s. */
double sq_peak_flops(const sq_device *device, sq_dtype dtype, double sm_mhz);

#ifdef __cplusplus
}
#endif
#endif
