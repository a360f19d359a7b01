/* local_attention, backward: attention_bwd.c's gradients of q, k, v and of the bias by distance; a
 * bucket's is the sum over its distances. Source: the chain rule on local_attention.c's equation.
 */
#include <stdlib.h>

#include "kernels/local_attention/local_attention.h"

static void write_bias(const sq_call *call, const double *by_distance)
{
    const sq_tensor *to = &call->out[IN_BIAS];
    const int64_t biases = sq_local_attention_biases(call->axis);
    for (int64_t h = 0; h < to->dim[1]; h++)
        for (int64_t bucket = 0; bucket < to->dim[0]; bucket++) {
            double sum = 0;
            for (int64_t d = 0; d < biases; d++)
                if (sq_local_attention_bucket(call->axis, d) == bucket)
                    sum += by_distance[h * biases + d];
            sq_store(to->data, to->dtype, bucket * to->stride[0] + h * to->stride[1], sum);
        }
}

sq_status sq_local_attention_backward(const sq_call *call, sq_error *err)
{
    const bool has_bias = call->in[IN_BIAS].rank > 0;
    sq_attention_rules rules = sq_local_attention_rules(SQ_PASS_BWD, call->axis);
    double *table = sq_local_attention_table(call->axis, &call->in[IN_BIAS]);
    rules.bias = table;
    rules.biases = sq_local_attention_biases(call->axis);
    double *gradient = calloc((size_t)(rules.heads * rules.biases), sizeof *gradient);
    sq_attention_gradients t = sq_attention_gradients_of(call, IN_DO);
    t.bias = has_bias ? gradient : NULL;
    sq_status status = SQ_OK;
    if (!gradient || (has_bias && !table))
        status = sq_fail(err, SQ_OUT_OF_MEMORY, "local_attention: no memory for the biases");
    if (status == SQ_OK)
        status = sq_attention_gradient(&rules, &t, err);
    if (status == SQ_OK && has_bias)
        write_bias(call, gradient);
    free(table);
    free(gradient);
    return status;
}
