/* hyena_start: what hyena_filter is given beside its network: the features z of each position, the time t
 * of the window, and the rates delta that its channels decay with.
 *
 *   t_l = l / (L - 1),  0 where L = 1                                     from 0 to 1, without unit
 *   z_l = (t_l, cos(f_1 w_l) .. cos(f_K w_l), -sin(f_1 w_l) .. -sin(f_K w_l))
 *   w_l = 2 pi l / L;  f_k: K = (E - 1)/2 numbers from 1e-4 to K - 1 at equal distances
 *   delta_d: D numbers from log(target)/slow to log(target)/fast at equal distances, in 1/t
 *
 * so that the window e^(-t |delta|) falls to `target` after `fast` of the sequence in the last channel
 * and would after `slow` of it in the first. L: the longest sequence; a shorter one takes the first
 * rows.
 *
 * Source    Poli et al.: Hyena Hierarchy (2302.10866), section 3.3 (positional
 *           encoding, window); order of the features, 1e-4 and the rates as in the authors' program
 */
#ifndef SQ_KERNELS_HYENA_FILTER_HYENA_START_H
#define SQ_KERNELS_HYENA_FILTER_HYENA_START_H

#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* z (length, features) and t (length), either may be NULL. features is odd: time, cosines, sines.
 * SQ_BAD_SHAPE for a length below 1 and features that are even or below 3. */
sq_status sq_hyena_positions(int64_t length, int64_t features, double *z, double *t, sq_error *err);

/* The authors' rates. */
#define SQ_HYENA_FAST 0.3
#define SQ_HYENA_SLOW 1.5
#define SQ_HYENA_TARGET 0.01

/* delta (count): a window for each channel and filter. SQ_BAD_SHAPE for a count below 1;
 * SQ_BAD_ARGUMENT where fast and slow are not positive, or target is not inside (0, 1). */
sq_status sq_hyena_rates(int64_t count, double fast, double slow, double target, double *delta,
                         sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
