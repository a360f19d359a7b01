/* peer_request: see peer_request.h. */
#include "bench/peer_request.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/peer.h"
#include "bench/proof_slice.h"
#include "bench/wire.h"

enum { ROTATED_CACHES = 5, MAX_COPIES = 4096 };

static json_t *write_axes(const sq_axis *table, const sq_axis_value *value)
{
    json_t *axes = json_object();
    for (int i = 0; axes && table[i].name; i++) {
        char text[64];
        sq_axis_format(&table[i], value[i], text, sizeof text);
        json_object_set_new(axes, table[i].name,
                            table[i].kind == SQ_AXIS_CHOICE ? json_string(text)
                            : table[i].kind == SQ_AXIS_INT  ? json_integer((json_int_t)value[i])
                                                            : json_real(value[i]));
    }
    return axes;
}

static json_t *write_defaults(const sq_axis *table)
{
    sq_axis_value value[SQ_MAX_AXES];
    sq_axis_defaults(table, value);
    return write_axes(table, value);
}

/* Nine digits bring a float back exactly. */
static json_t *write_draw(sq_draw draw)
{
    char text[128];
    if (draw.kind == SQ_DRAW_NORMAL)
        snprintf(text, sizeof text, "normal(%.9g,%.9g)", (double)draw.a, (double)draw.b);
    else if (draw.kind == SQ_DRAW_UNIFORM)
        snprintf(text, sizeof text, "uniform(%.9g,%.9g)", (double)draw.a, (double)draw.b);
    else if (draw.kind == SQ_DRAW_CONSTANT)
        snprintf(text, sizeof text, "constant(%.9g)", (double)draw.a);
    else
        snprintf(text, sizeof text, "ramp(%.9g,%.9g,%" PRId64 ")", (double)draw.a, (double)draw.b,
                 draw.period);
    return json_string(text);
}

static json_t *write_tensor(const sq_tensor_spec *spec)
{
    json_t *shape = json_array();
    for (int d = 0; d < spec->rank; d++)
        json_array_append_new(shape, json_integer(spec->dim[d]));
    return json_pack("{ss so ss}", "name", spec->name, "shape", shape, "dtype",
                     sq_dtype_name(spec->dtype));
}

static json_t *write_drawn(const sq_tensor_spec *spec, int id)
{
    json_t *drawn = write_tensor(spec);
    json_object_set_new(drawn, "draw", write_draw(spec->draw));
    json_object_set_new(drawn, "id", json_integer(id));
    return drawn;
}

static json_t *write_inputs(const sq_tensor_list *list)
{
    const int n = list->first_gradient > 0 ? list->first_gradient : list->n_in;
    json_t *inputs = json_array();
    for (int i = 0; i < n; i++)
        if (list->in[i].name)
            json_array_append_new(inputs, write_drawn(&list->in[i], i));
    return inputs;
}

/* --- gradients of outputs --- */

/* "proof": [[first, count], ...], a dim each. */
static json_t *write_window(const sq_tensor *part, const sq_tensor *whole)
{
    int64_t first[SQ_MAX_RANK];
    json_t *window = json_array();
    sq_proof_window(part, whole, first);
    for (int d = 0; d < whole->rank; d++)
        json_array_append_new(window,
                              json_pack("[I I]", (json_int_t)first[d], (json_int_t)part->dim[d]));
    return window;
}

static sq_status reserve_inputs(sq_call *call, const sq_tensor_list *list, sq_error *err)
{
    for (int i = 0; i < list->n_in; i++)
        if (list->in[i].name)
            SQ_TRY(sq_tensor_reserve(&call->in[i], err));
    return SQ_OK;
}

/* Their windows where the call is proved on a slice: `call` is laid out without memory. */
static sq_status write_windows(const sq_peer_question *q, const sq_tensor_list *list, sq_call *call,
                               json_t *gradients, sq_error *err)
{
    char what[128];
    sq_call forward, part;
    sq_pick pick = {.seed = q->seed, .max_work = q->policy->proof_work};
    SQ_TRY(reserve_inputs(call, list, err));
    SQ_TRY(sq_proof_part(call, list, pick, &forward, &part, what, sizeof what, err));
    for (int k = 0, i = 0; what[0] && k < list->first_value - list->first_gradient; k++)
        if (list->in[list->first_gradient + k].name)
            json_object_set_new(json_array_get(gradients, (size_t)i++), "proof",
                                write_window(&part.out[k], &forward.out[k]));
    return SQ_OK;
}

/* `call` is the one of `list`. */
static sq_status write_gradients(const sq_peer_question *q, const sq_tensor_list *list,
                                 sq_call *call, json_t **out, sq_error *err)
{
    *out = json_array();
    for (int i = list->first_gradient; i < list->first_value; i++)
        if (list->in[i].name)
            json_array_append_new(*out, write_drawn(&list->in[i], i));
    sq_status s = write_windows(q, list, call, *out, err);
    for (int i = 0; i < list->n_in; i++)
        sq_tensor_unreserve(&call->in[i]);
    return s;
}

/* --- outputs --- */

static json_t *write_outputs(const sq_tensor_list *list, const sq_peer_outputs *files)
{
    json_t *outputs = json_array();
    for (int i = 0, k = 0; i < list->n_out; i++) {
        if (!list->out[i].name)
            continue;
        json_t *output = write_tensor(&list->out[i]);
        if (files)
            json_object_set_new(output, "file", json_string(files->path[k++]));
        json_array_append_new(outputs, output);
    }
    return outputs;
}

/* The call of a cell, without memory, and its tensors. */
static sq_status lay_out(const sq_cell *cell, sq_call *call, sq_tensor_list *list, sq_error *err)
{
    sq_subject subject;
    if (cell->kind != SQ_KIND_OP)
        return sq_fail(err, SQ_UNSUPPORTED, "peers measure operators, not blocks");
    if (cell->pass == SQ_PASS_FWDBWD)
        return sq_fail(err, SQ_UNSUPPORTED, "peers measure no pass %s", sq_pass_name(cell->pass));
    SQ_TRY(sq_subject_find(cell->kind, cell->subject, &subject, err));
    *call = (sq_call){.op = subject.op, .pass = cell->pass, .dtype = cell->dtype};
    memcpy(call->axis, cell->value, sizeof call->axis);
    return sq_call_shape(call, list, err);
}

sq_status sq_peer_list_outputs(const sq_cell *cell, const char *folder, sq_peer_outputs *out,
                               sq_error *err)
{
    sq_tensor_list list;
    sq_call call;
    *out = (sq_peer_outputs){.n = 0};
    SQ_TRY(lay_out(cell, &call, &list, err));
    for (int i = 0; i < list.n_out; i++) {
        if (!list.out[i].name)
            continue;
        snprintf(out->path[out->n++], sizeof out->path[0], "%s/%s", folder, list.out[i].name);
        out->bytes += sq_tensor_bytes(&call.out[i]);
    }
    return SQ_OK;
}

/* Sets of inputs: enough that a launch never meets its own lines in the cache. */
static int count_copies(const sq_peer_question *q, const sq_tensor_list *list, const sq_call *call)
{
    double bytes = 0, cache = (double)q->device->l2_bytes;
    if (q->cell->cache != SQ_CACHE_ROTATE)
        return 1;
    for (int i = 0; i < list->n_in; i++)
        bytes += list->in[i].name ? (double)sq_tensor_bytes(&call->in[i]) : 0;
    if (!(cache > 0) || !(bytes > 0))
        return 2;
    return (int)fmin(MAX_COPIES, fmax(2, ceil(ROTATED_CACHES * cache / bytes)));
}

/* All of a request but the gradients. */
static json_t *write_cell(const char *verb, const sq_peer_question *q, const sq_tensor_list *list,
                          const sq_call *call, const sq_peer_outputs *files)
{
    char key[SQ_KEY_MAX], adapter[32], seed[24];
    const char *implementation = "";
    sq_cell_key(q->cell, key);
    sq_provider_split(q->cell->provider, adapter, &implementation);
    snprintf(seed, sizeof seed, "%" PRIu64, q->seed);
    return json_pack("{ss ss ss ss ss ss so so so so ss so ss ss si}", "do", verb, "cell", key,
                     "operator", q->cell->subject, "implementation", implementation, "pass",
                     sq_pass_name(q->cell->pass), "dtype", sq_dtype_name(q->cell->dtype), "axes",
                     write_axes(q->cell->axes, q->cell->value), "defaults",
                     write_defaults(q->cell->axes), "inputs", write_inputs(list), "outputs",
                     write_outputs(list, q->folder ? files : NULL), "seed", seed, "policy",
                     sq_wire_policy(q->policy), "cache", sq_cache_name(q->cell->cache), "launch",
                     sq_launch_name(q->cell->launch), "copies", count_copies(q, list, call));
}

sq_status sq_peer_request(const char *verb, const sq_peer_question *q, json_t **out, sq_error *err)
{
    sq_tensor_list list;
    sq_call call;
    sq_peer_outputs files;
    json_t *gradients = NULL;
    *out = NULL;
    SQ_TRY(lay_out(q->cell, &call, &list, err));
    SQ_TRY(sq_peer_list_outputs(q->cell, q->folder ? q->folder : "", &files, err));
    *out = write_cell(verb, q, &list, &call, &files);
    if (!*out)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request");
    if (list.first_value == 0)
        return SQ_OK;
    sq_status s = write_gradients(q, &list, &call, &gradients, err);
    json_object_set_new(*out, "gradients", gradients);
    if (s == SQ_OK)
        return SQ_OK;
    json_decref(*out);
    *out = NULL;
    return s;
}
