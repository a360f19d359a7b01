/* op_shapes: see op_shapes.h. */
#include "tests/support/op_shapes.h"

#include <string.h>

typedef struct {
    const char *op, *shape;
} op_shape;

static const op_shape unit_shapes[] = {
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
    {"retention", "B=2,L=40,H=2,K=136,V=64,initial=1,final=1"}, /* one chunk, two, three, four */
    {"retention", "B=2,L=100,H=3,K=256,V=72,initial=1,final=1"},
    {"retention", "B=1,L=128,H=2,K=256,V=64,norm=decay,final=1"},
    {"retention", "B=2,L=150,H=3,K=192,V=136,norm=decay,past=3,initial=1,final=1"},
    {"retention", "B=1,L=192,H=1,K=256,V=64"},
    {"retention", "B=2,L=250,H=1,K=256,V=128,first=3,initial=1,final=1"},
    {"retention", "B=1,L=256,H=2,K=200,V=64,initial=1"},
    {"retention", "B=1,L=2060,H=1,K=136,V=64,initial=1,final=1"},
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

/* By decay_native_plan.cuh: 5 segments of 4 chunks for 1030 steps (17 chunks), 4 for 770. */
static const op_shape segmented_shapes[] = {
    {"ssd", "B=1,L=1030,H=2,P=8,N=8,initial=1,final=1"},         /* a pair of heads */
    {"ssd", "B=1,L=770,H=1,P=8,N=136,gate=1,initial=1,final=1"}, /* 256 keys, with gates */
    {"simple_gla", "B=1,L=1030,H=1,K=8,V=72,initial=1,final=1"}, /* two tiles of columns */
    {"retention", "B=1,L=770,H=1,K=136,V=8,initial=1,final=1"},  /* 256 keys */
    {NULL, NULL},
};

#define MILLION "B=1,L=1048576,"

/* A provider runs the first that it takes: the tiles of tensor cores want rows of 8. */
const sq_op_shape sq_million_shapes[] = {
    {"attention", MILLION "H=1,D=8,window=16", SQ_DTYPE_BF16},
    {"causal_conv1d", MILLION "D=1", SQ_DTYPE_F32},
    {"gla", MILLION "H=1,K=1,V=1", SQ_DTYPE_F32},
    {"gla", MILLION "H=1,K=8,V=8", SQ_DTYPE_BF16},
    {"group_norm", MILLION "H=1,D=8", SQ_DTYPE_F32},
    {"hyena_filter", MILLION "D=1,E=1,F=1,inner=0", SQ_DTYPE_F32},
    {"layernorm", MILLION "D=8", SQ_DTYPE_F32},
    {"linear", MILLION "K=8,N=8", SQ_DTYPE_F32},
    {"local_attention", MILLION "H=1,D=1,block=4,buckets=4,distance=3", SQ_DTYPE_F32},
    {"long_conv", MILLION "D=1", SQ_DTYPE_F32},
    {"retention", MILLION "H=1,K=1,V=1", SQ_DTYPE_F32},
    {"retention", MILLION "H=1,K=8,V=8", SQ_DTYPE_BF16},
    {"rmsnorm", MILLION "D=8", SQ_DTYPE_F32},
    {"rope", MILLION "H=1,D=2", SQ_DTYPE_F32},
    {"s4_kernel", MILLION "D=1,N=2", SQ_DTYPE_F32},
    {"s4_scan", MILLION "D=1,N=2", SQ_DTYPE_F32},
    {"s4d_kernel", MILLION "D=1,N=2", SQ_DTYPE_F32},
    {"selective_scan", MILLION "D=1,N=1", SQ_DTYPE_F32},
    {"shift_ssm", MILLION "D=1,N=4", SQ_DTYPE_F32},
    {"simple_gla", MILLION "H=1,K=1,V=1", SQ_DTYPE_F32},
    {"simple_gla", MILLION "H=1,K=8,V=8", SQ_DTYPE_BF16},
    {"ssd", MILLION "H=1,P=1,N=1", SQ_DTYPE_F32},
    {"ssd", MILLION "H=1,P=8,N=8", SQ_DTYPE_BF16},
    {"xpos", MILLION "H=1,D=2,center=524288,S=262144", SQ_DTYPE_F32},
    {.op = NULL},
};

/* Decays that remember from a few to thousands of steps; of retention 2^13. */
#define DRIFT "B=1,L=262144,initial=1,final=1,"

static const op_shape drift_shapes[] = {
    {"gla", DRIFT "H=1,K=8,V=8"},        {"retention", DRIFT "H=1,K=8,V=8,first=8"},
    {"selective_scan", DRIFT "D=8,N=4"}, {"simple_gla", DRIFT "H=1,K=8,V=8"},
    {"ssd", DRIFT "H=2,P=8,N=8"},        {NULL, NULL},
};

/* One sequence whose largest tensor has 9/8 * 2^31 elements. Where the reference of a slice goes
 * through all steps these are few, and wide. */
static const op_shape sequence_shapes[] = {
    {"attention", "B=1,L=1179648,H=16,D=128,window=64"},
    {"causal_conv1d", "B=1,L=16384,D=147456"},
    {"gla", "B=1,L=16384,H=1152,K=128,V=128"},
    {"group_norm", "B=1,L=589824,H=8,D=512"},
    {"hyena_filter", "B=1,L=16384,D=147456"},
    {"layernorm", "B=1,L=1179648,D=2048"},
    {"linear", "B=1,L=1179648,K=2048,N=2048"},
    {"local_attention", "B=1,L=2304,H=4096,D=256,block=4,buckets=4,distance=3"},
    {"long_conv", "B=1,L=16384,D=147456"},
    {"retention", "B=1,L=16384,H=288,K=256,V=512"},
    {"rmsnorm", "B=1,L=1179648,D=2048"},
    {"rope", "B=1,L=1179648,H=16,D=128"},
    {"s4_kernel", "B=1,L=16384,D=147456"},
    {"s4_scan", "B=1,L=16384,D=147456"},
    {"s4d_kernel", "B=1,L=16384,D=147456"},
    {"selective_scan", "B=1,L=16384,D=147456"},
    {"shift_ssm", "B=1,L=16384,D=147456"},
    {"simple_gla", "B=1,L=16384,H=1152,K=128,V=128"},
    {"ssd", "B=1,L=16384,H=2304,P=64,N=128"},
    {"xpos", "B=1,L=1179648,H=16,D=128,center=589824,S=294912"},
    {NULL, NULL},
};

/* Where B alone, in its range, makes no tensor of a step that large. */
static const op_shape step_widths[] = {
    {"causal_conv1d", ",D=262144"},
    {"layernorm", ",D=65536"},
    {"linear", ",K=4096,N=4096"},
    {"rmsnorm", ",D=65536"},
    {"rope", ",H=512"},
    {"group_norm", ",H=128"},
    {"xpos", ",H=512"},
    {NULL, NULL},
};

const char *sq_case_shape(const sq_op *op, int i)
{
    int n = 0;
    while (op->test_shapes[n])
        n++;
    if (i < n)
        return op->test_shapes[i];
    for (const op_shape *unit = unit_shapes; unit->op; unit++)
        if (strcmp(unit->op, op->name) == 0 && n++ == i)
            return unit->shape;
    return NULL;
}

const char *sq_segmented_shape(const sq_op *op, int i)
{
    for (const op_shape *of = segmented_shapes; of->op; of++)
        if (strcmp(of->op, op->name) == 0 && i-- == 0)
            return of->shape;
    return NULL;
}

static const char *find(const op_shape *table, const sq_op *op, const char *otherwise)
{
    for (; table->op; table++)
        if (strcmp(table->op, op->name) == 0)
            return table->shape;
    return otherwise;
}

const char *sq_drift_shape(const sq_op *op)
{
    return find(drift_shapes, op, NULL);
}

const char *sq_sequence_shape(const sq_op *op)
{
    return find(sequence_shapes, op, "B=1");
}

const char *sq_step_widths(const sq_op *op)
{
    return find(step_widths, op, "");
}
