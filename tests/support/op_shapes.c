/* op_shapes: see op_shapes.h. */
#include "tests/support/op_shapes.h"

#include <string.h>

typedef struct {
    const char *op, *shape;
} unit_shape;

static const unit_shape unit_shapes[] = {
    {"attention", "B=1,L=1,H=1,D=1"},
    {"attention", "B=2,L=37,Lk=1,H=2,Hkv=1,D=16,causal=0"},
    {"attention", "B=1,L=67,H=1,D=1,rotary=1"},
    {"attention", "B=1,L=67,H=2,D=16,causal=0,ahead=1"},
    {"attention", "B=1,L=67,H=3,D=16,pos=hard-alibi,masked=1,window=9"},
    {"causal_conv1d", "B=2,L=67,D=1"},
    {"causal_conv1d", "B=1,L=1,D=1,W=2,initial=1,final=1"},
    {"gla", "B=2,L=67,H=2,K=1,V=8"},
    {"gla", "B=1,L=130,H=1,K=8,V=1,final=1"},
    {"gla", "B=2,L=65,H=3,K=1,V=1,initial=1,final=1"},
    {"linear", "B=2,L=67,K=8,N=1"},
    {"linear", "B=1,L=1,K=33,N=1,bias=1,residual=1"},
    {"linear", "B=1,L=130,K=1,N=1,bias=1"},
    {"local_attention", "B=2,L=37,H=2,D=8,block=1,buckets=8,distance=9"},
    {"local_attention", "B=1,L=67,H=1,D=1,block=1,buckets=0"},
    {"long_conv", "B=2,L=67,D=1"},
    {"long_conv", "B=1,L=1,D=1,gate=0"},
    {"long_conv", "B=1,L=9001,D=1,causal=0"},
    {"retention", "B=2,L=67,H=2,K=1,V=8"},
    {"retention", "B=1,L=130,H=1,K=8,V=1,initial=1,final=1"},
    {"retention", "B=1,L=67,H=2,K=8,V=8,first=1,chunk=1"},
    {"retention", "B=1,L=67,H=2,K=8,V=8,norm=decay,past=1,initial=1"},
    {"s4_scan", "B=2,L=67,D=1,N=2,initial=1,final=1"},
    {"s4_scan", "B=1,L=130,D=1,N=6,R=1,S=1"},
    {"selective_scan", "B=2,L=67,D=1,N=16"},
    {"selective_scan", "B=1,L=130,D=5,N=1,initial=1,final=1"},
    {"selective_scan", "B=1,L=1030,D=1,N=1"},
    {"shift_ssm", "B=2,L=67,D=1,N=5"},
    {"shift_ssm", "B=1,L=37,D=1,N=1,initial=1,final=1"},
    {"simple_gla", "B=2,L=67,H=2,K=1,V=8"},
    {"simple_gla", "B=1,L=130,H=1,K=8,V=1,final=1"},
    {"simple_gla", "B=2,L=65,H=3,K=1,V=1,initial=1,final=1"},
    {"simple_gla", "B=1,L=67,H=2,K=8,V=8,chunk=1"},
    {"ssd", "B=2,L=67,H=2,P=1,N=5"},
    {"ssd", "B=1,L=130,H=1,P=8,N=1,gate=1,initial=1,final=1"},
    {"ssd", "B=2,L=65,H=3,P=1,N=1,documents=1,final=1"},
    {"ssd", "B=1,L=67,H=2,P=8,N=8,chunk=1"},
    {NULL},
};

const char *sq_case_shape(const sq_op *op, int i)
{
    int n = 0;
    while (op->test_shapes[n])
        n++;
    if (i < n)
        return op->test_shapes[i];
    for (const unit_shape *unit = unit_shapes; unit->op; unit++)
        if (strcmp(unit->op, op->name) == 0 && n++ == i)
            return unit->shape;
    return NULL;
}
