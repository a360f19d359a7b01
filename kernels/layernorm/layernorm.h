/* layernorm: what the files of this folder share. */
#ifndef SQ_KERNELS_LAYERNORM_LAYERNORM_H
#define SQ_KERNELS_LAYERNORM_LAYERNORM_H

#include "kernels/norm_core/norm.h"

#ifdef __cplusplus
extern "C" {
#endif
/* What checked axes ask for in a pass. */
sq_norm sq_layernorm_norm(sq_pass pass, const sq_axis_value *axis);
#ifdef __cplusplus
}
#endif

#endif
