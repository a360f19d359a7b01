/* host_call: see host_call.h. */
#include "bench/worker/host_call.h"

#include <stdlib.h>

static sq_status alloc_host(sq_tensor *t, const char *name, sq_error *err)
{
    if (!name)
        return SQ_OK;
    *t = sq_tensor_dense(malloc(sq_tensor_bytes(t) + 1), t->dtype, t->rank, t->dim);
    return t->data ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no host memory for %.60s", name);
}

sq_status sq_host_call_alloc(sq_call *call, const sq_tensor_list *list, sq_error *err)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        call->in[i].data = NULL;
    for (int i = 0; i < SQ_MAX_OUT; i++)
        call->out[i].data = NULL;
    for (int i = 0; i < list->n_in; i++)
        SQ_TRY(alloc_host(&call->in[i], list->in[i].name, err));
    for (int i = 0; i < list->n_out; i++)
        SQ_TRY(alloc_host(&call->out[i], list->out[i].name, err));
    return SQ_OK;
}

void sq_host_call_free(sq_call *call)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        free(call->in[i].data);
    for (int i = 0; i < SQ_MAX_OUT; i++)
        free(call->out[i].data);
}
