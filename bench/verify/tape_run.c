/* tape: see tape.h. Running. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/verify/launch.h"
#include "bench/verify/tape_steps.h"

/* --- pointwise functions --- */

static double mul_by_a(double a, double b)
{
    (void)a;
    return b;
}
static double mul_by_b(double a, double b)
{
    (void)b;
    return a;
}
static double one(double a, double b)
{
    (void)a, (void)b;
    return 1;
}
static double add(double a, double b)
{
    return a + b;
}
static double mul(double a, double b)
{
    return a * b;
}
static double sigmoid(double a, double b)
{
    (void)b;
    return 1 / (1 + exp(-a));
}
static double sigmoid_by(double a, double b)
{
    return sigmoid(a, b) * (1 - sigmoid(a, b));
}
static double silu(double a, double b)
{
    return a * sigmoid(a, b);
}
static double silu_by(double a, double b)
{
    return sigmoid(a, b) * (1 + a * (1 - sigmoid(a, b)));
}
static double gelu(double a, double b)
{
    (void)b;
    return 0.5 * a * erfc(-a / sqrt(2));
}
static double gelu_by(double a, double b)
{
    static const double pi = 3.14159265358979323846;
    (void)b;
    return 0.5 * erfc(-a / sqrt(2)) + a * exp(-0.5 * a * a) / sqrt(2 * pi);
}
static double relu(double a, double b)
{
    (void)b;
    return a > 0 ? a : 0;
}
static double relu_by(double a, double b)
{
    (void)b;
    return a > 0;
}
static double exponential(double a, double b)
{
    (void)b;
    return exp(a);
}
static double minus_exponential(double a, double b)
{
    (void)b;
    return -exp(a);
}

static double tanh_of(double a, double b)
{
    (void)b;
    return tanh(a);
}
static double tanh_by(double a, double b)
{
    (void)b;
    return 1 - tanh(a) * tanh(a);
}
static double sine(double a, double b)
{
    (void)b;
    return sin(a);
}
static double cosine(double a, double b)
{
    (void)b;
    return cos(a);
}

const sq_pointwise sq_pointwise_add = {add, one, one, false},
                   sq_pointwise_mul = {mul, mul_by_a, mul_by_b, false},
                   sq_pointwise_silu = {silu, silu_by, NULL, false},
                   sq_pointwise_gelu = {gelu, gelu_by, NULL, false},
                   sq_pointwise_relu = {relu, relu_by, NULL, true},
                   sq_pointwise_sigmoid = {sigmoid, sigmoid_by, NULL, false},
                   sq_pointwise_tanh = {tanh_of, tanh_by, NULL, false},
                   sq_pointwise_sin = {sine, cosine, NULL, false},
                   sq_pointwise_exp = {exponential, exponential, NULL, false},
                   sq_pointwise_minus_exp = {minus_exponential, minus_exponential, NULL, false};

/* --- selection --- */

static bool has_gradient(const sq_tape *tape, const sq_tape_step *s)
{
    if (!s->op)
        return tape->variable[s->out].has_gradient;
    bool has = false;
    for (int i = 0; i < s->op->list.n_out; i++)
        has = has || (s->op->out[i] >= 0 && tape->variable[s->op->out[i]].has_gradient);
    return has;
}

static bool can(const sq_tape *tape, const sq_provider *provider, const sq_call *call,
                const sq_tensor_list *list, sq_error *why)
{
    const sq_rig *rig = tape->rig;
    return sq_provider_supports(provider, call, list, rig->backend->facts(rig->device), why) ==
           SQ_OK;
}

/* The preferred provider where it can, else the first that can. */
static sq_status select_one(const sq_tape *tape, const sq_call *call, const sq_tensor_list *list,
                            const char *preferred, const sq_provider **out, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    const sq_provider *p = sq_provider_find(tape->rig->providers, call->op, preferred);
    *out = p && can(tape, p, call, list, &why) ? p : NULL;
    for (p = tape->rig->providers(call->op); p->name && !*out; p++)
        *out = can(tape, p, call, list, &why) ? p : NULL;
    return *out ? SQ_OK
                : sq_fail(err, SQ_UNSUPPORTED, "%.40s in pass %s: %.240s", call->op->name,
                          sq_pass_name(call->pass), why.message);
}

static sq_status select_forward(sq_tape *tape, sq_tape_operator *o, const char *preferred,
                                sq_error *err)
{
    o->forward = o->backward = NULL;
    return tape->rig ? select_one(tape, &o->call, &o->list, preferred, &o->forward, err) : SQ_OK;
}

/* The call of pass bwd, without memory. */
static sq_status shape_backward(const sq_tape_operator *o, sq_call *call, sq_tensor_list *list,
                                sq_error *err)
{
    *call = o->call;
    call->pass = SQ_PASS_BWD;
    return sq_call_shape(call, list, err);
}

static sq_status select_backward(sq_tape *tape, sq_tape_operator *o, const char *preferred,
                                 sq_error *err)
{
    sq_tensor_list list;
    sq_call call;
    SQ_TRY(shape_backward(o, &call, &list, err));
    return tape->rig ? select_one(tape, &call, &list, preferred, &o->backward, err) : SQ_OK;
}

/* Marks what the loss depends on. */
static void mark_gradients(sq_tape *tape)
{
    for (int i = 0; i < tape->variables; i++)
        tape->variable[i].has_gradient = false;
    for (int i = 0; i < tape->outputs; i++)
        if (sq_golden_tensor(tape->golden, "cotangent", tape->output[i].name))
            tape->variable[tape->output[i].var].has_gradient = true;
    for (int i = tape->steps - 1; i >= 0; i--) {
        const sq_tape_step *s = &tape->step[i];
        const sq_var *in = s->op ? s->op->in : s->in;
        for (int k = 0; has_gradient(tape, s) && k < (s->op ? s->op->list.n_in : 2); k++)
            if (in[k] >= 0)
                tape->variable[in[k]].has_gradient = true;
    }
}

sq_status sq_tape_select(sq_tape *tape, const sq_rig *rig, const char *preferred, sq_pass pass,
                         sq_error *err)
{
    tape->rig = rig;
    if (pass == SQ_PASS_BWD)
        mark_gradients(tape);
    for (int i = 0; i < tape->steps; i++) {
        sq_tape_operator *o = tape->step[i].op;
        if (o)
            SQ_TRY(select_forward(tape, o, o->form ? o->form : preferred, err));
        if (o && pass == SQ_PASS_BWD && has_gradient(tape, &tape->step[i]))
            SQ_TRY(select_backward(tape, o, o->form ? o->form : preferred, err));
    }
    return SQ_OK;
}

void sq_tape_round(sq_tape *tape, double grid)
{
    tape->rounding = (sq_rounding){.dtype = tape->dtype, .grid = grid};
}

int sq_tape_uses(const sq_tape *tape, const char *provider)
{
    int uses = 0;
    for (int i = 0; i < tape->steps; i++) {
        const sq_tape_operator *o = tape->step[i].op;
        uses += o && o->forward && strcmp(o->forward->name, provider) == 0;
        uses += o && o->backward && strcmp(o->backward->name, provider) == 0;
    }
    return uses;
}

/* Whether an earlier call's operator has it. */
static bool is_repeated(const sq_tape *tape, const sq_rig *rig, int step, const char *name)
{
    for (int i = 0; i < step; i++)
        if (tape->step[i].op && sq_provider_find(rig->providers, tape->step[i].op->call.op, name))
            return true;
    return false;
}

const char *sq_tape_provider(const sq_tape *tape, const sq_rig *rig, int i)
{
    for (int s = 0; s < tape->steps; s++) {
        const sq_provider *p = tape->step[s].op ? rig->providers(tape->step[s].op->call.op) : NULL;
        for (; p && p->name; p++)
            if (!is_repeated(tape, rig, s, p->name) && i-- == 0)
                return p->name;
    }
    return NULL;
}

/* --- one step --- */

static void put(const double *from, sq_tensor *to)
{
    for (int64_t i = 0; i < sq_tensor_count(to); i++)
        sq_store(to->data, to->dtype, i, from[i]);
}

/* Near a kink rounding decides on which side a run is, and with it on a whole term of a gradient:
 * all runs that are compared take the side of the first. */
static sq_status keep_argument(const sq_tape *tape, const sq_tape_step *s, sq_error *err)
{
    sq_tape_variable *out = &tape->variable[s->out];
    const size_t bytes = (size_t)out->count * sizeof *out->argument;
    if (!s->function->is_kinked || tape->rounding.grid == 0 || out->argument)
        return SQ_OK;
    out->argument = malloc(bytes);
    if (!out->argument)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the arguments of a case");
    memcpy(out->argument, tape->variable[s->in[0]].value, bytes);
    return SQ_OK;
}

static sq_status run_pointwise(sq_tape *tape, const sq_tape_step *s, sq_error *err)
{
    const double *a = tape->variable[s->in[0]].value;
    const double *b = s->function->by_b ? tape->variable[s->in[1]].value : a;
    sq_tape_variable *out = &tape->variable[s->out];
    for (int64_t i = 0; i < out->count; i++)
        out->value[i] = s->function->value(a[i], b[i]);
    return keep_argument(tape, s, err);
}

static void run_gather(sq_tape *tape, const sq_tape_step *s)
{
    const sq_tape_variable *a = &tape->variable[s->in[0]];
    const double *b = s->in[1] >= 0 ? tape->variable[s->in[1]].value : NULL;
    sq_tape_variable *out = &tape->variable[s->out];
    for (int64_t i = 0; i < out->count; i++)
        out->value[i] = s->map[i] < a->count ? a->value[s->map[i]] : b[s->map[i] - a->count];
}

static void run_computation(sq_tape *tape, const sq_tape_step *s)
{
    const double *in[4] = {NULL};
    for (int i = 0; i < s->computed->n_in; i++)
        in[i] = tape->variable[s->computed->in[i]].value;
    s->computed->function(in, tape->variable[s->out].value, s->computed->size);
}

/* By the provider, or by the reference, which rounds as the tape says. */
static sq_status run_call(const sq_tape *tape, const sq_provider *provider, const sq_call *host,
                          const sq_tensor_list *list, sq_error *err)
{
    const sq_rounding none = {.grid = 0};
    const sq_rounding before = sq_rounding_set(provider ? none : tape->rounding);
    const sq_status s = sq_host_call_run(tape->rig, provider, host, list, err);
    sq_rounding_set(before);
    return s;
}

static sq_status run_operator(sq_tape *tape, const sq_tape_operator *o, sq_error *err)
{
    sq_call host = o->call;
    sq_status s = sq_host_call_alloc(&host, &o->list, err);
    for (int i = 0; s == SQ_OK && i < o->list.n_in; i++)
        if (host.in[i].data)
            put(tape->variable[o->in[i]].value, &host.in[i]);
    if (s == SQ_OK)
        s = run_call(tape, o->forward, &host, &o->list, err);
    for (int i = 0; s == SQ_OK && i < o->list.n_out; i++) {
        if (!host.out[i].data)
            continue;
        sq_tape_variable *out = &tape->variable[o->out[i]];
        for (int64_t e = 0; e < out->count; e++)
            out->value[e] = sq_load(host.out[i].data, host.out[i].dtype, e);
    }
    sq_host_call_free(&host);
    return s;
}

sq_status sq_tape_forward(sq_tape *tape, sq_error *err)
{
    for (int i = 0; i < tape->variables; i++) {
        sq_tape_variable *v = &tape->variable[i];
        v->has_gradient = false;
        memset(v->gradient, 0, (size_t)v->count * sizeof *v->gradient);
        for (int64_t e = 0; v->stored && !v->is_given && e < v->count; e++)
            v->value[e] = sq_stored_number(v->stored, e);
    }
    for (int i = 0; i < tape->steps; i++) {
        const sq_tape_step *s = &tape->step[i];
        if (s->op)
            SQ_TRY(run_operator(tape, s->op, err));
        else if (s->computed)
            run_computation(tape, s);
        else if (s->map)
            run_gather(tape, s);
        else
            SQ_TRY(run_pointwise(tape, s, err));
    }
    return SQ_OK;
}

/* --- one step back --- */

static void pointwise_back(sq_tape *tape, const sq_tape_step *s)
{
    const sq_tape_variable *out = &tape->variable[s->out];
    sq_tape_variable *a = &tape->variable[s->in[0]];
    sq_tape_variable *b = s->function->by_b ? &tape->variable[s->in[1]] : a;
    a->has_gradient = b->has_gradient = true;
    for (int64_t i = 0; i < out->count; i++) {
        const double x = out->argument ? out->argument[i] : a->value[i], y = b->value[i];
        a->gradient[i] += out->gradient[i] * s->function->by_a(x, y);
        if (s->function->by_b)
            b->gradient[i] += out->gradient[i] * s->function->by_b(x, y);
    }
}

static void gather_back(sq_tape *tape, const sq_tape_step *s)
{
    const sq_tape_variable *out = &tape->variable[s->out];
    sq_tape_variable *a = &tape->variable[s->in[0]];
    sq_tape_variable *b = s->in[1] >= 0 ? &tape->variable[s->in[1]] : a;
    a->has_gradient = b->has_gradient = true;
    for (int64_t i = 0; i < out->count; i++)
        if (s->map[i] < a->count)
            a->gradient[s->map[i]] += out->gradient[i];
        else
            b->gradient[s->map[i] - a->count] += out->gradient[i];
}

/* Inputs of pass bwd: the forward inputs, the gradient of each output, each output. */
static void put_backward_inputs(const sq_tape *tape, const sq_tape_operator *o, sq_call *host)
{
    const int n = o->list.n_in, m = o->list.n_out;
    for (int i = 0; i < SQ_MAX_IN; i++) {
        if (!host->in[i].data)
            continue;
        if (i < n)
            put(tape->variable[o->in[i]].value, &host->in[i]);
        else if (i < n + m)
            put(tape->variable[o->out[i - n]].gradient, &host->in[i]);
        else
            put(tape->variable[o->out[i - n - m]].value, &host->in[i]);
    }
}

static sq_status operator_back(sq_tape *tape, const sq_tape_operator *o, sq_error *err)
{
    sq_tensor_list list;
    sq_call host;
    SQ_TRY(shape_backward(o, &host, &list, err));
    sq_status s = sq_host_call_alloc(&host, &list, err);
    if (s == SQ_OK) {
        put_backward_inputs(tape, o, &host);
        s = run_call(tape, o->backward, &host, &list, err);
    }
    for (int i = 0; s == SQ_OK && i < list.n_out; i++) {
        if (!host.out[i].data)
            continue;
        sq_tape_variable *in = &tape->variable[o->in[i]];
        in->has_gradient = true;
        for (int64_t e = 0; e < in->count; e++)
            in->gradient[e] += sq_load(host.out[i].data, host.out[i].dtype, e);
    }
    sq_host_call_free(&host);
    return s;
}

static void start_gradients(sq_tape *tape)
{
    for (int i = 0; i < tape->outputs; i++) {
        const sq_stored_tensor *cotangent =
            sq_golden_tensor(tape->golden, "cotangent", tape->output[i].name);
        sq_tape_variable *v = &tape->variable[tape->output[i].var];
        if (!cotangent || cotangent->count != v->count)
            continue;
        v->has_gradient = true;
        for (int64_t e = 0; e < v->count; e++)
            v->gradient[e] += sq_stored_number(cotangent, e);
    }
}

sq_status sq_tape_backward(sq_tape *tape, sq_error *err)
{
    start_gradients(tape);
    for (int i = tape->steps - 1; i >= 0; i--) {
        const sq_tape_step *s = &tape->step[i];
        if (!has_gradient(tape, s))
            continue;
        if (s->op)
            SQ_TRY(operator_back(tape, s->op, err));
        else if (s->map)
            gather_back(tape, s);
        else if (s->function)
            pointwise_back(tape, s);
    }
    return SQ_OK;
}

/* --- results --- */

static bool output_at(const sq_tape *tape, int i, sq_tape_outcome *out)
{
    if (i >= tape->outputs)
        return false;
    *out = (sq_tape_outcome){
        .role = "output",
        .want = sq_golden_tensor(tape->golden, "output", tape->output[i].name),
        .got = tape->variable[tape->output[i].var].value,
    };
    return true;
}

static bool gradient_at(const sq_tape *tape, int i, sq_tape_outcome *out)
{
    for (int v = 0; v < tape->variables; v++) {
        const sq_tape_variable *leaf = &tape->variable[v];
        const char *name = leaf->stored ? strchr(leaf->stored->name, '.') + 1 : NULL;
        const sq_stored_tensor *want = name ? sq_golden_tensor(tape->golden, "grad", name) : NULL;
        if (!want || want->count != leaf->count || i-- > 0)
            continue;
        *out = (sq_tape_outcome){
            .role = "grad", .want = want, .got = leaf->has_gradient ? leaf->gradient : NULL};
        return true;
    }
    return false;
}

bool sq_tape_outcome_at(const sq_tape *tape, sq_pass pass, int i, sq_tape_outcome *out)
{
    return pass == SQ_PASS_BWD ? gradient_at(tape, i, out) : output_at(tape, i, out);
}
