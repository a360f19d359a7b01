/* layers: what official code computes by several operators: a tape each. One file a family, one row
 * a subject.
 */
#ifndef SQ_BENCH_VERIFY_LAYERS_LAYERS_H
#define SQ_BENCH_VERIFY_LAYERS_LAYERS_H

#include "bench/verify/tape.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *subject;
    void (*build)(sq_tape *tape, const sq_golden *golden); /* failures stay in the tape */
} sq_verify_layer;

/* NULL where no composition computes it. */
const sq_verify_layer *sq_verify_layer_find(const char *subject);

/* Ended by a NULL subject. */
extern const sq_verify_layer sq_layers_attention[], sq_layers_long_conv[], sq_layers_mamba[],
    sq_layers_retention[], sq_layers_spade[], sq_layers_start[], sq_layers_state_space[],
    sq_layers_step[];

/* --- parts --- */

/* An option that counts things, and may therefore divide: refuses one below 1 or beyond a million,
 * and is 1 then. */
int64_t sq_layer_count(sq_tape *tape, const sq_golden *golden, const char *option,
                       int64_t fallback);

/* y = x W^T (+ b): x (B, L, K); weight a leaf (N, K), bias a leaf (N) or NULL. */
sq_var sq_layer_linear(sq_tape *tape, sq_var x, const char *weight, const char *bias);
/* (B, L, start..start+count) of the last axis, split into heads where heads > 0. */
sq_var sq_layer_heads(sq_tape *tape, sq_var x, int64_t start, int64_t count, int64_t heads);
/* (B, L, H, P) -> (B, L, H P). */
sq_var sq_layer_join_heads(sq_tape *tape, sq_var x);
/* An activation by its official name; "" and its synonyms: x itself. Refuses what is not known. */
sq_var sq_layer_activated(sq_tape *tape, sq_var x, const char *name);
/* Refuses an option that says something else than one of `known` (ended by NULL; "": also where it is
 * absent), since its word is of what is not computed here. */
void sq_layer_choice(sq_tape *tape, const sq_golden *golden, const char *option,
                     const char *const *known);
/* Refuses an option that is set: the official code does then what is not computed here. */
void sq_layer_without(sq_tape *tape, const sq_golden *golden, const char *option);
/* v behind `list` along dim; list SQ_VAR_NONE: v is its start. */
sq_var sq_layer_append(sq_tape *tape, sq_var list, sq_var v, int dim);

#ifdef __cplusplus
}
#endif
#endif
