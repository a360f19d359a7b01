/* peer_request: see peer_request.h. */
#include "bench/peer_request.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/peer.h"
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

static json_t *write_inputs(const sq_tensor_list *list)
{
    json_t *inputs = json_array();
    for (int i = 0; i < list->n_in; i++) {
        if (!list->in[i].name)
            continue;
        json_t *input = write_tensor(&list->in[i]);
        json_object_set_new(input, "draw", write_draw(list->in[i].draw));
        json_object_set_new(input, "id", json_integer(i));
        json_array_append_new(inputs, input);
    }
    return inputs;
}

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

static sq_status list_tensors(const sq_cell *cell, sq_tensor_list *list, sq_error *err)
{
    sq_subject subject;
    if (cell->kind != SQ_KIND_OP)
        return sq_fail(err, SQ_UNSUPPORTED, "peers measure operators, not blocks");
    if (cell->pass == SQ_PASS_BWD || cell->pass == SQ_PASS_FWDBWD)
        return sq_fail(err, SQ_UNSUPPORTED, "peers measure no pass %s", sq_pass_name(cell->pass));
    SQ_TRY(sq_subject_find(cell->kind, cell->subject, &subject, err));
    return sq_op_tensors(subject.op, cell->pass, cell->dtype, cell->value, list, err);
}

sq_status sq_peer_list_outputs(const sq_cell *cell, const char *folder, sq_peer_outputs *out,
                               sq_error *err)
{
    sq_tensor_list list;
    *out = (sq_peer_outputs){.n = 0};
    SQ_TRY(list_tensors(cell, &list, err));
    for (int i = 0; i < list.n_out; i++) {
        const sq_tensor_spec *spec = &list.out[i];
        if (!spec->name)
            continue;
        sq_tensor tensor = sq_tensor_dense(NULL, spec->dtype, spec->rank, spec->dim);
        snprintf(out->path[out->n++], sizeof out->path[0], "%s/%s", folder, spec->name);
        out->bytes += sq_tensor_bytes(&tensor);
    }
    return SQ_OK;
}

/* Sets of inputs: enough that a launch never meets its own lines in the cache. */
static int count_copies(const sq_peer_question *q, const sq_tensor_list *list)
{
    double bytes = 0, cache = (double)q->device->l2_bytes;
    if (q->cell->cache != SQ_CACHE_ROTATE)
        return 1;
    for (int i = 0; i < list->n_in; i++) {
        const sq_tensor_spec *spec = &list->in[i];
        sq_tensor tensor = sq_tensor_dense(NULL, spec->dtype, spec->rank, spec->dim);
        bytes += spec->name ? (double)sq_tensor_bytes(&tensor) : 0;
    }
    if (!(cache > 0) || !(bytes > 0))
        return 2;
    return (int)fmin(MAX_COPIES, fmax(2, ceil(ROTATED_CACHES * cache / bytes)));
}

sq_status sq_peer_request(const char *verb, const sq_peer_question *q, json_t **out, sq_error *err)
{
    char key[SQ_KEY_MAX], adapter[32], seed[24];
    const char *implementation = "";
    sq_tensor_list list;
    sq_peer_outputs files;
    *out = NULL;
    SQ_TRY(list_tensors(q->cell, &list, err));
    SQ_TRY(sq_peer_list_outputs(q->cell, q->folder ? q->folder : "", &files, err));
    sq_cell_key(q->cell, key);
    sq_provider_split(q->cell->provider, adapter, &implementation);
    snprintf(seed, sizeof seed, "%" PRIu64, q->seed);
    *out = json_pack("{ss ss ss ss ss ss so so so so ss so ss ss si}", "do", verb, "cell", key,
                     "operator", q->cell->subject, "implementation", implementation, "pass",
                     sq_pass_name(q->cell->pass), "dtype", sq_dtype_name(q->cell->dtype), "axes",
                     write_axes(q->cell->axes, q->cell->value), "defaults",
                     write_defaults(q->cell->axes), "inputs", write_inputs(&list), "outputs",
                     write_outputs(&list, q->folder ? &files : NULL), "seed", seed, "policy",
                     sq_wire_policy(q->policy), "cache", sq_cache_name(q->cell->cache), "launch",
                     sq_launch_name(q->cell->launch), "copies", count_copies(q, &list));
    return *out ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request");
}
