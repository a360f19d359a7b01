/* registry_cuda: the provider tables of the .cu files; linked into seqmark-worker only. */
#include "kernels/op.h"

#define SQ_OP(name) extern const sq_provider sq_cuda_##name[];
#include "kernels/registry.def"
#undef SQ_OP

const sq_provider *sq_providers_cuda(const sq_op *op)
{
    static const sq_provider none[] = {{.name = NULL}};
#define SQ_OP(name)                                                                                \
    if (op == &sq_op_##name)                                                                       \
        return sq_cuda_##name;
#include "kernels/registry.def"
#undef SQ_OP
    return none;
}
