/* prove_files: outputs that another program left in files, proved as those of a worker are.
 *
 * The inputs are never made whole: any part of them is drawn again on the host. So a call whose
 * tensors would not fit into this machine is proved on its slice all the same. Gradients of a call
 * that is proved on a slice are those by gradients of the outputs that are 0 outside of it.
 */
#ifndef SQ_BENCH_WORKER_PROVE_FILES_H
#define SQ_BENCH_WORKER_PROVE_FILES_H

#include "bench/worker/prove.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is to be proved. paths[i]: output i, dense, little-endian, nothing before or behind it. */
typedef struct {
    const sq_op *op;
    const sq_cell *cell;
    uint64_t seed;
    double max_work; /* multiply-adds that the reference may cost */
    const char *const *paths;
    int n_paths;
    const char *proved; /* checksum of outputs that need no reference; "" where none is known */
} sq_proof_files;

/* Proves on `rig`, whose backend must be the host. checksum: of all outputs, as record->checksum has
 * it. A file that is too short or too long is a wrong output: proof->is_ok is false. SQ_IO: it cannot
 * be read. */
sq_status sq_prove_files(const sq_rig *rig, const sq_proof_files *files, sq_proof *proof,
                         char checksum[SQ_HASH_TEXT], sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
