/* night_control: were the cells in which nothing can have changed as in the baseline? */
#ifndef SQ_CORE_NIGHT_CONTROL_H
#define SQ_CORE_NIGHT_CONTROL_H

#include "core/night.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills the summary's controls, control_shift and is_unfit; `results` have their tests. */
sq_status sq_night_control(const sq_night_cell *cells, int n, const sq_night_policy *policy,
                           const sq_night_result *results, sq_night_summary *summary);

#ifdef __cplusplus
}
#endif
#endif
