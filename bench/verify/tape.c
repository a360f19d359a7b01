/* tape: see tape.h. Building. */
#include "bench/verify/tape.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/verify/tape_steps.h"
#include "core/text.h"

sq_tape *sq_tape_new(const sq_golden *golden, sq_dtype dtype)
{
    sq_tape *tape = calloc(1, sizeof *tape);
    bool *is_read = calloc(golden ? (size_t)golden->file.count + 1 : 1, sizeof *is_read);
    if (tape && is_read) {
        *tape =
            (sq_tape){.golden = golden, .dtype = dtype, .call_dtype = dtype, .is_read = is_read};
        return tape;
    }
    free(is_read);
    free(tape);
    return NULL;
}

void sq_tape_free(sq_tape *tape)
{
    if (!tape)
        return;
    for (int i = 0; i < tape->variables; i++) {
        free(tape->variable[i].value);
        free(tape->variable[i].gradient);
        free(tape->variable[i].argument);
    }
    for (int i = 0; i < tape->steps; i++) {
        free(tape->step[i].map);
        free(tape->step[i].op);
        free(tape->step[i].computed);
    }
    free(tape->variable);
    free(tape->step);
    free(tape->output);
    free(tape->is_read);
    free(tape);
}

sq_status sq_tape_status(const sq_tape *tape, sq_error *err)
{
    return tape->status == SQ_OK ? SQ_OK
                                 : sq_fail(err, tape->status, "%.450s", tape->error.message);
}

void sq_tape_refuse(sq_tape *tape, sq_status status, const char *format, ...)
{
    char message[400];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (tape->status == SQ_OK)
        tape->status = sq_fail(&tape->error, status, "%s", message);
}

/* Room for one more of a list that grows by one. NULL after a failure, with the list as it was. */
static void *grow(sq_tape *tape, void *list, int count, size_t size)
{
    if (tape->status != SQ_OK)
        return NULL;
    void *grown = count % 64 ? list : realloc(list, (size_t)(count + 64) * size);
    if (!grown)
        sq_tape_refuse(tape, SQ_OUT_OF_MEMORY, "no memory for the steps of a case");
    return grown;
}

/* --- tensors --- */

const sq_tape_variable *sq_tape_variable_at(const sq_tape *tape, sq_var v)
{
    return tape->status == SQ_OK && v >= 0 && v < tape->variables ? &tape->variable[v] : NULL;
}

/* False where the dims are too many, or make no size. */
static bool count_elements(int rank, const int64_t *dim, int64_t *count)
{
    size_t bytes = sizeof(double);
    bool is_size = rank <= SQ_MAX_RANK;
    for (int d = 0; is_size && d < rank; d++)
        is_size = sq_mul(&bytes, dim[d]);
    *count = (int64_t)(bytes / sizeof(double));
    return is_size;
}

sq_var sq_tape_add_variable(sq_tape *tape, int rank, const int64_t *dim)
{
    int64_t count = 0;
    if (!count_elements(rank, dim, &count)) {
        sq_tape_refuse(tape, SQ_BAD_SHAPE, "a tensor of %d dims makes no size", rank);
        return SQ_VAR_NONE;
    }
    void *grown = grow(tape, tape->variable, tape->variables, sizeof *tape->variable);
    if (!grown)
        return SQ_VAR_NONE;
    tape->variable = grown;
    sq_tape_variable *v = &tape->variable[tape->variables];
    *v = (sq_tape_variable){.rank = rank, .count = count};
    memcpy(v->dim, dim, (size_t)rank * sizeof *dim);
    v->value = calloc((size_t)v->count + 1, sizeof *v->value);
    v->gradient = calloc((size_t)v->count + 1, sizeof *v->gradient);
    tape->variables++;
    if (v->value && v->gradient)
        return tape->variables - 1;
    sq_tape_refuse(tape, SQ_OUT_OF_MEMORY, "no memory for the tensors of a case");
    return SQ_VAR_NONE;
}

const sq_stored_tensor *sq_tape_find(const sq_tape *tape, const char *name)
{
    const sq_stored_tensor *input = sq_golden_tensor(tape->golden, "input", name);
    return input ? input : sq_golden_tensor(tape->golden, "param", name);
}

const sq_stored_tensor *sq_tape_stored(sq_tape *tape, const char *name)
{
    const sq_stored_tensor *stored = sq_tape_find(tape, name);
    if (stored)
        tape->is_read[stored - tape->golden->file.tensor] = true;
    return stored;
}

bool sq_tape_has(const sq_tape *tape, const char *name)
{
    return sq_tape_find(tape, name) != NULL;
}

sq_var sq_tape_leaf(sq_tape *tape, const char *name)
{
    const sq_stored_tensor *stored = sq_tape_find(tape, name);
    if (!stored) {
        sq_tape_refuse(tape, SQ_UNSUPPORTED, "the case has no input or parameter %.80s", name);
        return SQ_VAR_NONE;
    }
    for (int i = 0; i < tape->variables; i++)
        if (tape->variable[i].stored == stored)
            return i;
    const sq_var v = sq_tape_add_variable(tape, stored->rank, stored->dim);
    if (v >= 0)
        tape->variable[v].stored = stored;
    return v;
}

sq_var sq_tape_leaf_as(sq_tape *tape, const char *name, const double *value, int64_t count)
{
    const sq_var v = sq_tape_leaf(tape, name);
    if (v < 0)
        return v;
    if (tape->variable[v].count != count) {
        sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "%.80s: its shape is not that of the options", name);
        return SQ_VAR_NONE;
    }
    tape->variable[v].is_given = true;
    memcpy(tape->variable[v].value, value, (size_t)count * sizeof *value);
    return v;
}

sq_var sq_tape_values(sq_tape *tape, const double *value, int rank, const int64_t *dim)
{
    const sq_var v = sq_tape_add_variable(tape, rank, dim);
    if (v >= 0)
        memcpy(tape->variable[v].value, value, (size_t)tape->variable[v].count * sizeof *value);
    return v;
}

sq_var sq_tape_constant(sq_tape *tape, double value, int rank, const int64_t *dim)
{
    const sq_var v = sq_tape_add_variable(tape, rank, dim);
    for (int64_t i = 0; v >= 0 && i < tape->variable[v].count; i++)
        tape->variable[v].value[i] = value;
    return v;
}

int sq_tape_rank(const sq_tape *tape, sq_var v)
{
    const sq_tape_variable *of = sq_tape_variable_at(tape, v);
    return of ? of->rank : 0;
}

int64_t sq_tape_dim(const sq_tape *tape, sq_var v, int dim)
{
    const sq_tape_variable *of = sq_tape_variable_at(tape, v);
    return of && dim >= 0 && dim < of->rank ? of->dim[dim] : 1;
}

void sq_tape_output(sq_tape *tape, const char *name, sq_var v)
{
    const sq_stored_tensor *stored = sq_golden_tensor(tape->golden, "output", name);
    const sq_tape_variable *of = sq_tape_variable_at(tape, v);
    if (of)
        tape->variable[v].is_result = true;
    if (!stored || !of)
        return; /* not every case stores all that can be computed */
    bool is_same = stored->rank == of->rank;
    for (int d = 0; is_same && d < of->rank; d++)
        is_same = stored->dim[d] == of->dim[d];
    if (!is_same) {
        sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "%.100s: its shape is not that of the options",
                       stored->name);
        return;
    }
    void *grown = grow(tape, tape->output, tape->outputs, sizeof *tape->output);
    if (!grown)
        return;
    tape->output = grown;
    tape->output[tape->outputs].var = v;
    snprintf(tape->output[tape->outputs].name, sizeof tape->output[0].name, "%s", name);
    tape->outputs++;
}

/* --- steps --- */

sq_tape_step *sq_tape_add_step(sq_tape *tape, sq_tape_step step)
{
    void *grown = grow(tape, tape->step, tape->steps, sizeof *tape->step);
    if (!grown)
        return NULL;
    tape->step = grown;
    tape->step[tape->steps] = step;
    return &tape->step[tape->steps++];
}

/* out[i] = joined[map[i]], where joined is a followed by b; the map's elements are to be set. */
static int64_t *add_gather(sq_tape *tape, sq_var a, sq_var b, int rank, const int64_t *dim,
                           sq_var *out)
{
    *out = sq_tape_add_variable(tape, rank, dim);
    if (*out < 0)
        return NULL;
    int64_t *map = malloc(((size_t)tape->variable[*out].count + 1) * sizeof *map);
    if (!map) {
        sq_tape_refuse(tape, SQ_OUT_OF_MEMORY, "no memory to rearrange a tensor");
        return NULL;
    }
    if (!sq_tape_add_step(tape, (sq_tape_step){.in = {a, b}, .out = *out, .map = map})) {
        free(map);
        return NULL;
    }
    return map;
}

/* Row-major index of element `linear` of a box of dims `dim` inside one of dims `whole`, moved by
 * start on dim `at`; a dim of 1 of `whole` is not left. */
static int64_t index_in(int rank, const int64_t *dim, const int64_t *whole, int at, int64_t start,
                        int64_t linear)
{
    int64_t index = 0, step = 1;
    for (int d = rank - 1; d >= 0; d--) {
        const int64_t i = linear % dim[d] + (d == at ? start : 0);
        linear /= dim[d];
        index += (whole[d] == 1 ? 0 : i) * step;
        step *= whole[d];
    }
    return index;
}

/* Index in v of the element `linear` of the tensor that `order` makes of it. */
static int64_t index_before(const sq_tape_variable *v, const char *order, int64_t linear)
{
    int64_t stride[SQ_MAX_RANK], step = 1, index = 0;
    for (int d = v->rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= v->dim[d];
    }
    for (int d = (int)strlen(order) - 1; d >= 0; d--)
        if (order[d] != '.') {
            const int from = order[d] - '0';
            index += linear % v->dim[from] * stride[from];
            linear /= v->dim[from];
        }
    return index;
}

/* Whether order names each of `rank` dims once, and makes no more dims than a tensor may have. */
static bool is_order(const char *order, int rank)
{
    unsigned seen = 0;
    const bool is_short = strlen(order) <= SQ_MAX_RANK;
    for (; *order; order++) {
        const unsigned dim = *order == '.' ? 0 : 1u << (unsigned)(*order - '0');
        if (seen & dim)
            return false;
        seen |= dim;
    }
    return is_short && seen == (1u << (unsigned)rank) - 1;
}

int sq_tape_order_rank(const char *order)
{
    int rank = 0;
    for (; *order; order++)
        rank += *order != '.';
    return rank;
}

sq_var sq_tape_layout(sq_tape *tape, sq_var v, const char *order)
{
    const sq_tape_variable *of = sq_tape_variable_at(tape, v);
    const int rank = (int)strlen(order);
    int64_t dim[SQ_MAX_RANK];
    sq_var out;
    if (!of)
        return SQ_VAR_NONE;
    if (!is_order(order, of->rank)) {
        sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "a tensor of %d dims has no order %s", of->rank,
                       order);
        return SQ_VAR_NONE;
    }
    for (int d = 0; d < rank; d++)
        dim[d] = order[d] == '.' ? 1 : of->dim[order[d] - '0'];
    int64_t *map = add_gather(tape, v, SQ_VAR_NONE, rank, dim, &out);
    for (int64_t i = 0; map && i < tape->variable[out].count; i++)
        map[i] = index_before(&tape->variable[v], order, i);
    return out;
}

sq_var sq_tape_layout_back(sq_tape *tape, sq_var v, const char *order)
{
    const sq_tape_variable *of = sq_tape_variable_at(tape, v);
    const int rank = sq_tape_order_rank(order);
    int64_t dim[SQ_MAX_RANK];
    sq_var out;
    if (!of)
        return SQ_VAR_NONE;
    if ((int)strlen(order) != of->rank || !is_order(order, rank)) {
        sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "a tensor of %d dims was not ordered by %s", of->rank,
                       order);
        return SQ_VAR_NONE;
    }
    for (int d = 0; d < of->rank; d++)
        if (order[d] != '.')
            dim[order[d] - '0'] = of->dim[d];
    int64_t *map = add_gather(tape, v, SQ_VAR_NONE, rank, dim, &out);
    for (int64_t i = 0; map && i < tape->variable[out].count; i++)
        map[index_before(&tape->variable[out], order, i)] = i;
    return out;
}

sq_var sq_tape_shape(sq_tape *tape, sq_var v, int rank, const int64_t *dim)
{
    const sq_tape_variable *of = sq_tape_variable_at(tape, v);
    int64_t count = 0;
    sq_var out;
    if (!of)
        return SQ_VAR_NONE;
    if (!count_elements(rank, dim, &count) || count != of->count) {
        sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "a tensor of %lld elements is no shape of %lld",
                       (long long)of->count, (long long)count);
        return SQ_VAR_NONE;
    }
    int64_t *map = add_gather(tape, v, SQ_VAR_NONE, rank, dim, &out);
    for (int64_t i = 0; map && i < count; i++)
        map[i] = i;
    return out;
}

sq_var sq_tape_part(sq_tape *tape, sq_var v, int at, int64_t start, int64_t count)
{
    const sq_tape_variable *of = sq_tape_variable_at(tape, v);
    int64_t dim[SQ_MAX_RANK];
    sq_var out;
    if (!of)
        return SQ_VAR_NONE;
    if (at >= of->rank || start < 0 || count < 0 || start + count > of->dim[at]) {
        sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "a tensor of %lld has no part %lld+%lld",
                       (long long)sq_tape_dim(tape, v, at), (long long)start, (long long)count);
        return SQ_VAR_NONE;
    }
    memcpy(dim, of->dim, sizeof dim);
    dim[at] = count;
    int64_t *map = add_gather(tape, v, SQ_VAR_NONE, of->rank, dim, &out);
    of = &tape->variable[v];
    for (int64_t i = 0; map && i < tape->variable[out].count; i++)
        map[i] = index_in(of->rank, dim, of->dim, at, start, i);
    return out;
}

sq_var sq_tape_join(sq_tape *tape, sq_var a, sq_var b, int at)
{
    const sq_tape_variable *x = sq_tape_variable_at(tape, a), *y = sq_tape_variable_at(tape, b);
    int64_t dim[SQ_MAX_RANK];
    sq_var out;
    if (!x || !y)
        return SQ_VAR_NONE;
    bool is_alike = x->rank == y->rank && at < x->rank;
    for (int d = 0; is_alike && d < x->rank; d++) {
        dim[d] = x->dim[d] + (d == at ? y->dim[d] : 0);
        is_alike = d == at || x->dim[d] == y->dim[d];
    }
    if (!is_alike) {
        sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "tensors of unlike shapes cannot be joined");
        return SQ_VAR_NONE;
    }
    int64_t *map = add_gather(tape, a, b, x->rank, dim, &out);
    int64_t inner = 1;
    for (int d = at + 1; d < tape->variable[a].rank; d++)
        inner *= dim[d];
    const int64_t first = tape->variable[a].dim[at], second = dim[at] - first;
    for (int64_t i = 0; map && i < tape->variable[out].count; i++) {
        const int64_t outer = i / (inner * dim[at]), place = i / inner % dim[at], in = i % inner;
        map[i] = place < first
                     ? (outer * first + place) * inner + in
                     : tape->variable[a].count + (outer * second + place - first) * inner + in;
    }
    return out;
}

sq_var sq_tape_repeat(sq_tape *tape, sq_var v, int at, int64_t count)
{
    const sq_tape_variable *of = sq_tape_variable_at(tape, v);
    int64_t dim[SQ_MAX_RANK];
    sq_var out;
    if (!of || at >= of->rank || of->dim[at] != 1) {
        sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "only a dim of 1 can be repeated");
        return SQ_VAR_NONE;
    }
    memcpy(dim, of->dim, sizeof dim);
    dim[at] = count;
    int64_t *map = add_gather(tape, v, SQ_VAR_NONE, of->rank, dim, &out);
    of = &tape->variable[v];
    for (int64_t i = 0; map && i < tape->variable[out].count; i++)
        map[i] = index_in(of->rank, dim, of->dim, -1, 0, i);
    return out;
}

sq_var sq_tape_pointwise(sq_tape *tape, const sq_pointwise *function, sq_var a, sq_var b)
{
    const sq_tape_variable *x = sq_tape_variable_at(tape, a), *y = sq_tape_variable_at(tape, b);
    if (!x || (function->by_b && (!y || y->count != x->count))) {
        sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "a pointwise function of unlike tensors");
        return SQ_VAR_NONE;
    }
    const int64_t rank = x->rank;
    int64_t dim[SQ_MAX_RANK];
    memcpy(dim, x->dim, sizeof dim);
    const sq_var out = sq_tape_add_variable(tape, (int)rank, dim);
    if (out >= 0)
        sq_tape_add_step(tape, (sq_tape_step){.in = {a, b}, .out = out, .function = function});
    return out;
}

sq_var sq_tape_scale(sq_tape *tape, sq_var v, double factor)
{
    const sq_tape_variable *of = sq_tape_variable_at(tape, v);
    if (!of)
        return SQ_VAR_NONE;
    int64_t dim[SQ_MAX_RANK];
    memcpy(dim, of->dim, sizeof dim);
    const sq_var by = sq_tape_constant(tape, factor, of->rank, dim);
    return sq_tape_pointwise(tape, &sq_pointwise_mul, v, by);
}

sq_var sq_tape_sum(sq_tape *tape, sq_var v, int at)
{
    sq_var sum = sq_tape_part(tape, v, at, 0, 1);
    for (int64_t i = 1; i < sq_tape_dim(tape, v, at); i++)
        sum = sq_tape_pointwise(tape, &sq_pointwise_add, sum, sq_tape_part(tape, v, at, i, 1));
    return sum;
}
