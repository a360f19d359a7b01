/* attention_core: softmax attention as a function of rules, for the operators attention and
 * local_attention: who sees whom, what is added to a score, and the references of both passes.
 */
#ifndef SQ_KERNELS_ATTENTION_ATTENTION_CORE_H
#define SQ_KERNELS_ATTENTION_ATTENTION_CORE_H

#include "kernels/op.h"
#include "kernels/shared/rotation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which keys a query sees and what is added to their scores. Query i stands at key i + keys -
 * queries. */
typedef struct {
    int64_t queries, keys, heads;
    bool is_causal;
    int64_t window; /* keys seen up to and with the query's own; 0: all */
    int64_t ahead;  /* without causality, keys seen beyond the query's own; 0: all */
    int64_t masked; /* Hard-ALiBi: head h < masked has window h + 1 */
    bool has_alibi;
    sq_rotation rotation;
    sq_dtype
        rotated;   /* the call's type; turned rows are rounded to a 16-bit one, else to their own */
    int64_t shift; /* rotary position of a query beyond the key that it stands at */
    bool is_cached; /* keys are turned already */
    /* Relative bias by distance (local_attention): distance d < biases of head h adds
     * bias[h * biases + d], a larger one that of the largest d. */
    const double *bias;
    int64_t biases;
} sq_attention_rules;

/* Keys [first, last). */
typedef struct {
    int64_t first, last;
} sq_key_range;

sq_key_range sq_attention_keys(const sq_attention_rules *rules, int64_t head, int64_t row);
/* Visible (query, key) pairs of a head. */
double sq_attention_pairs(const sq_attention_rules *rules, int64_t head);
/* Factor of the distance in head h of `heads`, for any count of heads. */
double sq_attention_slope(int64_t heads, int64_t head);
/* What is added to a scaled score. */
double sq_attention_bias(const sq_attention_rules *rules, int64_t head, int64_t row, int64_t key);

/* A row of q or k at `position` as it enters the scores: rotated, then rounded to its type. */
void sq_attention_read(const sq_attention_rules *rules, const sq_tensor *t, int64_t offset,
                       int64_t position, double *x);
int64_t sq_attention_position(const sq_attention_rules *rules, int64_t row); /* of a query */

/* o; k, v: (B, Lk, Hkv, D), or the last dim[1] of the keys, key j in row j % dim[1]. */
sq_status sq_attention_forward(const sq_attention_rules *rules, const sq_tensor *q,
                               const sq_tensor *k, const sq_tensor *v, const sq_tensor *o,
                               sq_error *err);

/* attention_bwd.c. bias (may be NULL): gradient of rules->bias, zeroed by the caller. */
typedef struct {
    const sq_tensor *q, *k, *v, *d_o, *dq, *dk, *dv;
    double *bias;
} sq_attention_gradients;

/* Of a backward call whose inputs begin with q, k, v; d_o: the position of its gradient. */
sq_attention_gradients sq_attention_gradients_of(const sq_call *call, int d_o);

sq_status sq_attention_gradient(const sq_attention_rules *rules, const sq_attention_gradients *t,
                                sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
