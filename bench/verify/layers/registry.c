/* layers: see layers.h. */
#include "bench/verify/layers/layers.h"

#include <string.h>

static const sq_verify_layer *const families[] = {
    sq_layers_attention,   sq_layers_long_conv, sq_layers_mamba,
    sq_layers_retention,   sq_layers_spade,     sq_layers_start,
    sq_layers_state_space, sq_layers_step,      NULL};

const sq_verify_layer *sq_verify_layer_find(const char *subject)
{
    for (const sq_verify_layer *const *family = families; *family; family++)
        for (const sq_verify_layer *l = *family; l->subject; l++)
            if (strcmp(l->subject, subject) == 0)
                return l;
    return NULL;
}

int64_t sq_layer_count(sq_tape *tape, const sq_golden *golden, const char *option, int64_t fallback)
{
    enum { MOST = 1000000 };
    const int64_t count = sq_golden_integer(golden, option, fallback);
    if (count >= 1 && count <= MOST)
        return count;
    sq_tape_refuse(tape, SQ_UNSUPPORTED, "%s: %lld is not from 1 to %d", option, (long long)count,
                   MOST);
    return 1;
}

sq_var sq_layer_activated(sq_tape *tape, sq_var x, const char *name)
{
    static const struct {
        const char *name;
        const sq_pointwise *function;
    } known[] = {
        {"", NULL},
        {"id", NULL},
        {"identity", NULL},
        {"linear", NULL},
        {"gelu", &sq_pointwise_gelu},
        {"relu", &sq_pointwise_relu},
        {"sigmoid", &sq_pointwise_sigmoid},
        {"silu", &sq_pointwise_silu},
        {"swish", &sq_pointwise_silu},
        {"tanh", &sq_pointwise_tanh},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i].name) == 0)
            return known[i].function ? sq_tape_pointwise(tape, known[i].function, x, SQ_VAR_NONE)
                                     : x;
    sq_tape_refuse(tape, SQ_UNSUPPORTED, "the layer has no activation %.40s", name);
    return SQ_VAR_NONE;
}

void sq_layer_choice(sq_tape *tape, const sq_golden *golden, const char *option,
                     const char *const *known)
{
    const char *text = sq_golden_text(golden, option);
    bool is_known = false;
    for (; *known && !is_known; known++)
        is_known = strcmp(text, *known) == 0;
    if (!is_known)
        sq_tape_refuse(tape, SQ_UNSUPPORTED, "%s: no \"%.60s\" here", option, text);
}

void sq_layer_without(sq_tape *tape, const sq_golden *golden, const char *option)
{
    if (sq_golden_number(golden, option, 0) != 0)
        sq_tape_refuse(tape, SQ_UNSUPPORTED, "the layer has no %s", option);
}

sq_var sq_layer_linear(sq_tape *tape, sq_var x, const char *weight, const char *bias)
{
    const sq_var w = sq_tape_leaf(tape, weight);
    const sq_var b = bias ? sq_tape_leaf(tape, bias) : SQ_VAR_NONE;
    const int call =
        sq_tape_call(tape, "linear", (sq_tape_bind[]){{"x", x}, {"w", w}, {"b", b}, {NULL, 0}},
                     "B=%lld,L=%lld,K=%lld,N=%lld,bias=%d", (long long)sq_tape_dim(tape, x, 0),
                     (long long)sq_tape_dim(tape, x, 1), (long long)sq_tape_dim(tape, x, 2),
                     (long long)sq_tape_dim(tape, w, 0), bias != NULL);
    return sq_tape_result(tape, call, "y");
}

sq_var sq_layer_append(sq_tape *tape, sq_var list, sq_var v, int dim)
{
    return list == SQ_VAR_NONE ? v : sq_tape_join(tape, list, v, dim);
}

sq_var sq_layer_heads(sq_tape *tape, sq_var x, int64_t start, int64_t count, int64_t heads)
{
    const sq_var part = sq_tape_part(tape, x, 2, start, count);
    if (heads <= 0)
        return part;
    return sq_tape_shape(
        tape, part, 4,
        (int64_t[]){sq_tape_dim(tape, x, 0), sq_tape_dim(tape, x, 1), heads, count / heads});
}

sq_var sq_layer_join_heads(sq_tape *tape, sq_var x)
{
    return sq_tape_shape(tape, x, 3,
                         (int64_t[]){sq_tape_dim(tape, x, 0), sq_tape_dim(tape, x, 1),
                                     sq_tape_dim(tape, x, 2) * sq_tape_dim(tape, x, 3)});
}
