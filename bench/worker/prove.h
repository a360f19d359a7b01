/* prove: outputs compared with the reference before anything is timed.
 *
 * Small calls are proved whole; above a work limit the operator draws a slice: a small call made of
 * views into the big one (sq_op.slice). Inputs of the slice are drawn again on the host, the
 * reference runs there, and the same part of the device's output is fetched and compared.
 *
 * A gradient by a weight is a sum over the whole call, so no slice of a backward call stands alone.
 * Gradients are linear in those of the outputs: with these set to 0 outside of the slice, the call
 * launched again gives what the slice alone would give. A peer that left its outputs in files has
 * launched it so, being told the slice (bench/proof_slice.h chooses it for both).
 */
#ifndef SQ_BENCH_WORKER_PROVE_H
#define SQ_BENCH_WORKER_PROVE_H

#include "bench/worker/place.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_CHECKS = 16 };

/* reason: the worst tensor and element where is_ok is false. */
typedef struct {
    bool is_ok;
    int n_checks;
    sq_check checks[SQ_MAX_CHECKS];
    double difference[SQ_MAX_CHECKS]; /* the worst of each, in units of the tensor */
    char reason[SQ_REASON_MAX];
} sq_proof;

/* Starts an empty proof that holds so far. */
void sq_proof_init(sq_proof *proof);

/* Fetches `got` (a device view), compares it with `want` (host, same dims) and adds a check. */
sq_status sq_prove_tensor(const sq_rig *rig, const char *name, const sq_tensor *got,
                          const sq_tensor *want, sq_tolerance tolerance, const char *slice,
                          sq_proof *proof, sq_error *err);

/* Proves the outputs of a placed call that has run, guard zones included. launch: runs it again;
 * not of a remote place. max_work: multiply-adds that the reference may cost; seed: which slice is
 * drawn. An error is a failure to prove, a wrong output is
 * proof->is_ok == false. Outputs may be those of other gradients afterwards, inputs are as before.
 */
sq_status sq_prove_place(const sq_place *place, sq_launch_fn launch, void *arg, double max_work,
                         uint64_t seed, sq_proof *proof, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
