/* verify: does an operator compute what the official code computed? Runs a case of golden data on a
 * rig, by every provider that can, and compares.
 *
 * Bounds: f32 max(1e-5, 4 times what the official code itself loses in f32, at most 0.01); 16-bit types twice the
 * error of the CPU reference with its named intermediates in that type, gradients also 5e-3 where
 * that reference keeps it (docs/intermediates.md).
 */
#ifndef SQ_BENCH_VERIFY_VERIFY_H
#define SQ_BENCH_VERIFY_VERIFY_H

#include "bench/worker/rig.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SQ_VERDICT_OK, SQ_VERDICT_MISMATCH, SQ_VERDICT_UNSUPPORTED } sq_verdict;

const char *sq_verdict_name(sq_verdict verdict); /* "ok", "mismatch", "unsupported" */

/* tensor: the worst one, as the case names it; its numbers are NAN where nothing was compared.
 * max_abs: worst difference, in units of the tensor. */
typedef struct {
    char name[SQ_KEY_MAX], kind[32], subject[64];
    sq_verdict verdict;
    char reason[SQ_REASON_MAX]; /* empty when ok */
    char provider[SQ_NAME_MAX], tensor[96];
    double rel_l2, max_abs, tolerance;
} sq_verification;

/* An error means that the case itself cannot be read, or that the device failed. */
sq_status sq_verify_case(const sq_rig *rig, const char *folder, sq_dtype dtype,
                         sq_verification *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
