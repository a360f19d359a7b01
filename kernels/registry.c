/* registry: the operators by name, and the reference as a provider. */
#include "kernels/op.h"

#include <string.h>

const sq_op *const sq_ops[] = {
#define SQ_OP(name) &sq_op_##name,
#include "kernels/registry.def"
#undef SQ_OP
    NULL,
};

static const char *const op_names[] = {
#define SQ_OP(name) #name,
#include "kernels/registry.def"
#undef SQ_OP
    NULL,
};

const char *const *sq_op_names(void)
{
    return op_names;
}

const sq_op *sq_op_find(const char *name)
{
    for (int i = 0; sq_ops[i]; i++)
        if (strcmp(sq_ops[i]->name, name) == 0)
            return sq_ops[i];
    return NULL;
}

sq_status sq_op_check(const sq_op *op, sq_axis_value *axis, sq_error *err)
{
    return op->check ? op->check(axis, err) : SQ_OK;
}

static sq_status check_bytes(const char *op, const sq_tensor_spec *spec, int n, sq_error *err)
{
    const size_t most = (size_t)1 << 56;
    for (int i = 0; i < n; i++) {
        size_t bytes = sq_dtype_size(spec[i].dtype);
        bool is_counted = true;
        for (int d = 0; d < spec[i].rank && is_counted; d++)
            is_counted = sq_mul(&bytes, spec[i].dim[d]);
        if (spec[i].name && (!is_counted || bytes > most))
            return sq_fail(err, SQ_BAD_SHAPE, "%s: tensor %s has more than 2^56 bytes", op,
                           spec[i].name);
    }
    return SQ_OK;
}

/* The gradient of a tensor is as large as the tensor; indices have none. */
static sq_tensor_spec gradient_of(const sq_tensor_spec *spec)
{
    sq_tensor_spec gradient = *spec;
    if (spec->dtype == SQ_DTYPE_I32)
        gradient.name = NULL;
    gradient.draw = (sq_draw){SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    return gradient;
}

static sq_status backward_tensors(const sq_op *op, sq_dtype dtype, const sq_axis_value *axis,
                                  sq_tensor_list *list, sq_error *err)
{
    sq_tensor_list f = {.n_in = 0};
    if (!op->backward)
        return sq_fail(err, SQ_UNSUPPORTED, "%s has no pass bwd", op->name);
    SQ_TRY(op->tensors(SQ_PASS_FWD, dtype, axis, &f, err));
    if (f.n_in + 2 * f.n_out > SQ_MAX_IN || f.n_in > SQ_MAX_OUT)
        return sq_fail(err, SQ_INTERNAL, "%s: too many tensors for pass bwd", op->name);
    *list = (sq_tensor_list){.n_in = f.n_in + 2 * f.n_out,
                             .n_out = f.n_in,
                             .first_gradient = f.n_in,
                             .first_value = f.n_in + f.n_out};
    for (int i = 0; i < f.n_in; i++) {
        list->in[i] = f.in[i];
        list->out[i] = gradient_of(&f.in[i]);
    }
    for (int i = 0; i < f.n_out; i++) {
        list->in[list->first_gradient + i] = gradient_of(&f.out[i]);
        list->in[list->first_value + i] = f.out[i];
    }
    return SQ_OK;
}

static bool is_backward(sq_pass pass)
{
    return pass == SQ_PASS_BWD || pass == SQ_PASS_FWDBWD;
}

sq_status sq_op_tensors(const sq_op *op, sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                        sq_tensor_list *list, sq_error *err)
{
    *list = (sq_tensor_list){.n_in = 0};
    if (is_backward(pass))
        SQ_TRY(backward_tensors(op, dtype, axis, list, err));
    else
        SQ_TRY(op->tensors(pass, dtype, axis, list, err));
    SQ_TRY(check_bytes(op->name, list->in, list->n_in, err));
    return check_bytes(op->name, list->out, list->n_out, err);
}

sq_cost sq_op_cost(const sq_op *op, sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    if (pass != SQ_PASS_FWDBWD)
        return op->cost(pass, dtype, axis);
    sq_cost a = op->cost(SQ_PASS_FWD, dtype, axis), b = op->cost(SQ_PASS_BWD, dtype, axis);
    return (sq_cost){.flops = a.flops + b.flops,
                     .matrix_flops = a.matrix_flops + b.matrix_flops,
                     .special = a.special + b.special,
                     .bytes_read = a.bytes_read + b.bytes_read,
                     .bytes_written = a.bytes_written + b.bytes_written};
}

double sq_op_tokens(sq_pass pass, const sq_axis_value *axis)
{
    return axis[SQ_AXIS_B] * (pass == SQ_PASS_STEP ? 1 : axis[SQ_AXIS_L]);
}

/* --- providers --- */

bool sq_provider_has(const sq_provider *provider, sq_pass pass)
{
    const unsigned passes = provider->passes ? provider->passes : SQ_HAS_PASS(SQ_PASS_FWD);
    const unsigned wanted = is_backward(pass) ? SQ_HAS_BWD : SQ_HAS_PASS(pass);
    return (passes & wanted) == wanted;
}

sq_status sq_provider_supports(const sq_provider *provider, const sq_call *call,
                               const sq_tensor_list *list, const sq_device *device, sq_error *why)
{
    if (!sq_provider_has(provider, call->pass))
        return sq_fail(why, SQ_UNSUPPORTED, "%s of %s has no pass %s", provider->name,
                       call->op->name, sq_pass_name(call->pass));
    if (!is_backward(call->pass))
        return provider->supports(call, device, why);
    sq_call forward = sq_call_forward(call, list), backward = *call;
    backward.pass = SQ_PASS_BWD;
    SQ_TRY(provider->supports(&forward, device, why));
    return provider->supports(&backward, device, why);
}

static sq_status supports_any(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)device;
    sq_tensor_list list;
    return sq_op_tensors(call->op, call->pass, call->dtype, call->axis, &list, why);
}

sq_status sq_op_reference(const sq_call *call, sq_error *err)
{
    return call->pass == SQ_PASS_BWD ? call->op->backward(call, err)
                                     : call->op->reference(call, err);
}

static sq_status launch_reference(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return sq_op_reference(call, err);
}

static const sq_provider cpu_providers[] = {
    {.name = "cpu/ref",
     .note = "the reference: plain loops, double accumulation",
     .supports = supports_any,
     .launch = launch_reference,
     .passes = SQ_HAS_BWD | SQ_HAS_STEP},
    {.name = NULL},
};

const sq_provider *sq_providers_cpu(const sq_op *op)
{
    (void)op;
    return cpu_providers;
}

const sq_provider *sq_provider_find(sq_providers_fn providers, const sq_op *op, const char *name)
{
    for (const sq_provider *p = providers(op); p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static sq_tensor shaped(const sq_tensor_spec *spec)
{
    if (!spec->name)
        return (sq_tensor){.rank = 0};
    return sq_tensor_dense(NULL, spec->dtype, spec->rank, spec->dim);
}

sq_status sq_call_shape(sq_call *call, sq_tensor_list *list, sq_error *err)
{
    SQ_TRY(sq_op_tensors(call->op, call->pass, call->dtype, call->axis, list, err));
    for (int i = 0; i < SQ_MAX_IN; i++)
        call->in[i] = i < list->n_in ? shaped(&list->in[i]) : (sq_tensor){.rank = 0};
    for (int i = 0; i < SQ_MAX_OUT; i++)
        call->out[i] = i < list->n_out ? shaped(&list->out[i]) : (sq_tensor){.rank = 0};
    return SQ_OK;
}

sq_call sq_call_forward(const sq_call *backward, const sq_tensor_list *list)
{
    sq_call forward = *backward;
    forward.pass = SQ_PASS_FWD;
    for (int i = 0; i < SQ_MAX_IN; i++)
        if (i >= list->first_gradient)
            forward.in[i] = (sq_tensor){.rank = 0};
    for (int i = 0; i < SQ_MAX_OUT; i++) {
        bool is_value = i < list->n_in - list->first_value;
        forward.out[i] = is_value ? backward->in[list->first_value + i] : (sq_tensor){.rank = 0};
    }
    return forward;
}

sq_status sq_call_parse(const sq_op *op, sq_pass pass, sq_dtype dtype, const char *shape,
                        sq_call *call, sq_error *err)
{
    *call = (sq_call){.op = op, .pass = pass, .dtype = dtype};
    SQ_TRY(sq_axis_parse_assignments(op->axes, shape, call->axis, err));
    SQ_TRY(sq_op_check(op, call->axis, err));
    sq_tensor_list list;
    return sq_call_shape(call, &list, err);
}
