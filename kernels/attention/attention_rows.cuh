/* attention_rows: the tensors of a call as attention's kernels take them. Tiles are copied in
 * vectors of 16 bytes: a tensor that is not of such rows has a dense copy in the workspace, its rows
 * rounded up to whole vectors by zeros. Turned queries and keys are in the workspace in any case.
 */
#ifndef SQ_KERNELS_ATTENTION_ATTENTION_ROWS_CUH
#define SQ_KERNELS_ATTENTION_ATTENTION_ROWS_CUH

#include <cuda_runtime.h>

#include "kernels/attention/attention_core.h"

/* Pass bwd has all of them, the others the first four. */
enum {
    SQ_ROWS_Q,
    SQ_ROWS_K,
    SQ_ROWS_V,
    SQ_ROWS_O,
    SQ_ROWS_DO,
    SQ_ROWS_DQ,
    SQ_ROWS_DK,
    SQ_ROWS_DV,
    SQ_ROWS_COUNT
};

struct sq_attention_rows {
    sq_tensor own[SQ_ROWS_COUNT]; /* the call's */
    sq_tensor
        taken[SQ_ROWS_COUNT];      /* the same or its copy, which has no data before it is loaded */
    bool is_padded[SQ_ROWS_COUNT]; /* a copy for the sake of vectors; of an output to be stored */
    bool is_turned[SQ_ROWS_COUNT];
    int count, outputs; /* outputs: the position of the first */
    sq_rotation rotation;
    int64_t position; /* of the first query */
};

/* Elements of a row in whole vectors. */
int64_t sq_attention_wide_d(const sq_tensor *t);
/* Rows of whole, aligned vectors. Data may be NULL, see sq_is_vector_aligned. */
bool sq_attention_has_vectors(const sq_tensor *t);

/* Of a call whose inputs begin with q, k, v, and go on in pass bwd with d_o, its position, and o.
 * needs_vectors: the kernels read any rows where it is false. */
sq_attention_rows sq_attention_rows_of(const sq_attention_rules *rules, const sq_call *call,
                                       int d_o, bool needs_vectors);
/* Of the copies. */
size_t sq_attention_rows_bytes(const sq_attention_rows *rows);
/* Refuses queries and keys that cannot be turned. */
sq_status sq_attention_rows_fit(const sq_attention_rows *rows, sq_error *why);
/* Makes the copies, from byte `first` of the call's workspace on. */
sq_status sq_attention_rows_load(sq_attention_rows *rows, const sq_call *call, size_t first,
                                 sq_error *err);
/* Turns the gradients of turned rows back and writes the outputs that have a copy. */
sq_status sq_attention_rows_store(const sq_attention_rows *rows, cudaStream_t stream,
                                  sq_error *err);

#endif
