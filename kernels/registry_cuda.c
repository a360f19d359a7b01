/* registry_cuda: the tables of the .cu files; linked into seqmark-worker only. */
#include "kernels/fusion.h"
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

extern const sq_fusion sq_fused_retention[], sq_fused_ssd[];

const sq_fusion *sq_fusions_cuda(const sq_op *mixer)
{
    return mixer == &sq_op_ssd         ? sq_fused_ssd
           : mixer == &sq_op_retention ? sq_fused_retention
                                       : NULL;
}
