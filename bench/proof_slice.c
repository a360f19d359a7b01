/* proof_slice: see proof_slice.h. */
#include "bench/proof_slice.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* A backward reference costs a few forward ones: dx and dw of each product, and the forward values
 * again. */
static const double backward_work = 4;

static bool is_backward(sq_pass pass)
{
    return pass == SQ_PASS_BWD || pass == SQ_PASS_FWDBWD;
}

double sq_proof_work(const sq_op *op, sq_pass pass, const sq_axis_value *axis)
{
    return op->reference_work(axis) * (is_backward(pass) ? backward_work : 1);
}

sq_status sq_proof_part(const sq_call *call, const sq_tensor_list *list, sq_pick pick,
                        sq_call *forward, sq_call *part, char *what, size_t size, sq_error *err)
{
    const sq_op *op = call->op;
    what[0] = 0;
    *forward = is_backward(call->pass) ? sq_call_forward(call, list) : *call;
    *part = *forward;
    if (sq_proof_work(op, call->pass, call->axis) <= pick.max_work)
        return SQ_OK;
    if (is_backward(call->pass))
        pick.max_work /= backward_work;
    sq_status status = op->slice(forward, pick, part, what, size);
    if (status != SQ_OK)
        return sq_fail(err, status, "%s: no slice of this call can be drawn", op->name);
    return SQ_OK;
}

void sq_proof_window(const sq_tensor *part, const sq_tensor *whole, int64_t first[SQ_MAX_RANK])
{
    int64_t rest = ((const char *)part->data - (const char *)whole->data) /
                   (int64_t)sq_dtype_size(whole->dtype);
    for (int d = 0; d < whole->rank; d++) {
        first[d] = rest / whole->stride[d];
        rest %= whole->stride[d];
    }
}

sq_status sq_tensor_reserve(sq_tensor *tensor, sq_error *err)
{
    const size_t bytes = sq_tensor_bytes(tensor);
    void *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no addresses for %zu bytes: %s", bytes,
                       strerror(errno));
    tensor->data = at;
    return SQ_OK;
}

void sq_tensor_unreserve(sq_tensor *tensor)
{
    if (tensor->data)
        munmap(tensor->data, sq_tensor_bytes(tensor));
    tensor->data = NULL;
}
