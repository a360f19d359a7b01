/* subject: see subject.h. */
#include "bench/subject.h"

#include <stdlib.h>
#include <string.h>

#include "core/text.h"

sq_status sq_subject_find(sq_kind kind, const char *name, sq_subject *out, sq_error *err)
{
    *out = (sq_subject){.kind = kind};
    if (kind == SQ_KIND_OP) {
        out->op = sq_op_find(name);
        return out->op ? SQ_OK : sq_fail_unknown(err, "operator", name, sq_op_names());
    }
    out->family = sq_family_find(name);
    return out->family ? SQ_OK : sq_fail_unknown(err, "family", name, sq_family_names());
}

const char *sq_subject_name(const sq_subject *subject)
{
    return subject->op ? subject->op->name : subject->family->name;
}

const sq_axis *sq_subject_axes(const sq_subject *subject)
{
    return subject->op ? subject->op->axes : subject->family->axes;
}

void sq_subject_init_cell(const sq_subject *subject, sq_cell *cell)
{
    *cell = (sq_cell){.kind = subject->kind,
                      .pass = SQ_PASS_FWD,
                      .dtype = SQ_DTYPE_BF16,
                      .axes = sq_subject_axes(subject)};
    strncpy(cell->subject, sq_subject_name(subject), sizeof cell->subject - 1);
    sq_axis_defaults(cell->axes, cell->value);
}

void sq_subject_each_axis(bool (*visit)(const sq_axis *axis, void *arg), void *arg)
{
    for (int i = 0; sq_ops[i]; i++)
        for (const sq_axis *a = sq_ops[i]->axes; a->name; a++)
            if (!visit(a, arg))
                return;
    for (int i = 0; sq_families[i]; i++)
        for (const sq_axis *a = sq_families[i]->axes; a->name; a++)
            if (!visit(a, arg))
                return;
}

sq_status sq_subject_check(const sq_subject *subject, sq_cell *cell, sq_error *err)
{
    return subject->op ? sq_op_check(subject->op, cell->value, err)
                       : subject->family->check(cell->value, err);
}

sq_status sq_subject_at_width(const sq_subject *subject, int64_t width, sq_cell *cell,
                              sq_error *err)
{
    sq_status (*at_width)(int64_t, sq_axis_value *, sq_error *) =
        subject->op ? subject->op->at_width : subject->family->at_width;
    if (!at_width)
        return sq_fail(err, SQ_BAD_SHAPE, "a model width has no meaning for %s",
                       sq_subject_name(subject));
    return at_width(width, cell->value, err);
}

/* --- key --- */

/* Cuts the text after the last '/' off; NULL where there is none. */
static char *cut_last_part(char *text)
{
    char *slash = strrchr(text, '/');
    if (!slash)
        return NULL;
    *slash = 0;
    return slash + 1;
}

static sq_status parse_modes(char *modes, sq_cell *cell, sq_error *err)
{
    char *launch = strchr(modes, ',');
    char *clock = launch ? strchr(launch + 1, ',') : NULL;
    if (!clock)
        return sq_fail(err, SQ_BAD_ARGUMENT, "cell key: \"%s\" is not cache,launch,clock", modes);
    *launch++ = 0;
    *clock++ = 0;
    SQ_TRY(sq_cache_parse(modes, &cell->cache, err));
    SQ_TRY(sq_launch_parse(launch, &cell->launch, err));
    SQ_TRY(sq_modes_check(cell->cache, cell->launch, err));
    return sq_clock_parse(clock, &cell->clock, err);
}

static sq_status parse_parts(char *text, sq_cell *cell, sq_subject *subject, sq_error *err)
{
    char *at = strchr(text, '@');
    char *modes = cut_last_part(text), *axes = modes ? cut_last_part(text) : NULL;
    char *dtype = axes ? cut_last_part(text) : NULL, *pass = dtype ? cut_last_part(text) : NULL;
    if (!at || !pass || pass < at)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "cell key \"%s\" is not subject@provider/pass/dtype/axes/modes", text);
    *at = 0;
    const char *block = strncmp(text, "block:", 6) == 0 ? text + 6 : NULL;
    SQ_TRY(sq_subject_find(block ? SQ_KIND_BLOCK : SQ_KIND_OP, block ? block : text, subject, err));
    sq_subject_init_cell(subject, cell);
    if (strlen(at + 1) >= sizeof cell->provider || !at[1])
        return sq_fail(err, SQ_BAD_ARGUMENT, "cell key: bad provider \"%s\"", at + 1);
    strcpy(cell->provider, at + 1);
    SQ_TRY(sq_pass_parse(pass, &cell->pass, err));
    SQ_TRY(sq_dtype_parse(dtype, &cell->dtype, err));
    SQ_TRY(sq_axis_parse_assignments(cell->axes, axes, cell->value, err));
    SQ_TRY(parse_modes(modes, cell, err));
    return sq_subject_check(subject, cell, err);
}

sq_status sq_cell_parse(const char *key, sq_cell *cell, sq_subject *subject, sq_error *err)
{
    char text[SQ_KEY_MAX];
    if (strlen(key) >= sizeof text)
        return sq_fail(err, SQ_BAD_ARGUMENT, "cell key longer than %d characters", SQ_KEY_MAX - 1);
    strcpy(text, key);
    return parse_parts(text, cell, subject, err);
}

/* --- cost --- */

static double list_bytes(const sq_tensor_spec *spec, int n)
{
    double bytes = 0;
    for (int i = 0; i < n; i++) {
        if (!spec[i].name)
            continue;
        double b = (double)sq_dtype_size(spec[i].dtype);
        for (int d = 0; d < spec[i].rank; d++)
            b *= (double)spec[i].dim[d];
        bytes += b;
    }
    return bytes;
}

static sq_status op_cost(const sq_op *op, const sq_cell *cell, sq_cost *cost, double *bytes,
                         sq_error *err)
{
    sq_tensor_list list;
    SQ_TRY(sq_op_tensors(op, cell->pass, cell->dtype, cell->value, &list, err));
    *cost = sq_op_cost(op, cell->pass, cell->dtype, cell->value);
    *bytes = list_bytes(list.in, list.n_in) + list_bytes(list.out, list.n_out);
    return SQ_OK;
}

static sq_status family_cost(const sq_family *family, const sq_cell *cell, sq_cost *cost,
                             double *bytes, sq_error *err)
{
    sq_graph *graph = sq_graph_new(cell->dtype);
    if (!graph)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the graph of %s", family->name);
    sq_status s;
    if ((s = family->build(graph, cell->pass, cell->value, err)) != SQ_OK)
        goto done;
    if ((s = sq_graph_plan(graph, err)) != SQ_OK)
        goto done;
    *cost = sq_graph_cost(graph);
    *bytes = (double)sq_graph_arena_bytes(graph);
done:
    sq_graph_free(graph);
    return s;
}

sq_status sq_subject_cost(const sq_subject *subject, const sq_cell *cell, sq_cost *cost,
                          double *tensor_bytes, sq_error *err)
{
    if (subject->op)
        return op_cost(subject->op, cell, cost, tensor_bytes, err);
    return family_cost(subject->family, cell, cost, tensor_bytes, err);
}
