/* layers of RetNet: multi-scale retention in its three forms. */
#include <math.h>

#include "bench/verify/layers/layers.h"

typedef struct {
    sq_var q, k, v; /* (B, L, H, K), turned by their positions, and (B, L, H, V) */
    int64_t batch, length, heads, key, value;
} projected;

/* Turned as theta_shift does: pairs of neighbours, angles that reach 1/10000. */
static sq_var turned(sq_tape *t, const projected *p, sq_var x)
{
    const int call = sq_tape_call(t, "rope", (sq_tape_bind[]){{"x", x}, {NULL, 0}},
                                  "B=%lld,L=%lld,H=%lld,D=%lld,pairs=interleaved,angles=retnet",
                                  (long long)p->batch, (long long)p->length, (long long)p->heads,
                                  (long long)p->key);
    return sq_tape_result(t, call, "y");
}

static projected project(sq_tape *t, const sq_golden *g)
{
    const sq_var x = sq_tape_leaf(t, "x");
    const int64_t heads = sq_layer_count(t, g, "heads", 1);
    const sq_var q = sq_layer_linear(t, x, "q_proj.weight", NULL);
    const sq_var k = sq_layer_linear(t, x, "k_proj.weight", NULL);
    const sq_var v = sq_layer_linear(t, x, "v_proj.weight", NULL);
    const int64_t keys = sq_tape_dim(t, q, 2), values = sq_tape_dim(t, v, 2);
    projected p = {.batch = sq_tape_dim(t, x, 0),
                   .length = sq_tape_dim(t, x, 1),
                   .heads = heads,
                   .key = keys / heads,
                   .value = values / heads};
    p.q = turned(t, &p, sq_layer_heads(t, q, 0, keys, heads));
    p.k = turned(t, &p, sq_layer_heads(t, k, 0, keys, heads));
    p.v = sq_layer_heads(t, v, 0, values, heads);
    return p;
}

/* Tokens start..start+count; state SQ_VAR_NONE: from nothing. *final: NULL where it is not asked
 * for.
 *
 * The o of a single token is v times a number, and of its gradient the norm behind lets through only
 * what its eps makes of it: dq is what is left of a sum that cancels to 1e-5 of its terms, and
 * depends on the roundings by which o is no multiple of v. The bound is that of a run of the
 * parallel form, where a column of o is rounded once; through a state each of its rows is, too. So
 * that form it is.
 */
static sq_var retain(sq_tape *t, const projected *p, int64_t start, int64_t count, const char *norm,
                     sq_var state, sq_var *final)
{
    const sq_tape_bind binds[] = {{"q", sq_tape_part(t, p->q, 1, start, count)},
                                  {"k", sq_tape_part(t, p->k, 1, start, count)},
                                  {"v", sq_tape_part(t, p->v, 1, start, count)},
                                  {"initial_state", state},
                                  {NULL, 0}};
    const int call = sq_tape_call(
        t, "retention", binds, "B=%lld,L=%lld,H=%lld,K=%lld,V=%lld,norm=%s,initial=%d,final=%d",
        (long long)p->batch, (long long)count, (long long)p->heads, (long long)p->key,
        (long long)p->value, norm, state >= 0, final != NULL);
    if (count == 1 && !final)
        sq_tape_set_form(t, call, "cuda/parallel");
    if (final)
        *final = sq_tape_result(t, call, "final_state");
    return sq_tape_result(t, call, "o");
}

/* out_proj(gate(g_proj x) norm(core)), the norm that of each head's row, without weights. */
static sq_var finished(sq_tape *t, const sq_golden *g, const projected *p, sq_var core)
{
    const int norm = sq_tape_call(t, "group_norm", (sq_tape_bind[]){{"x", core}, {NULL, 0}},
                                  "B=%lld,L=%lld,H=%lld,D=%lld,weight=0,eps=%.17g",
                                  (long long)p->batch, (long long)p->length, (long long)p->heads,
                                  (long long)p->value, sq_golden_number(g, "layernorm_eps", 1e-6));
    const char *gate_fn = sq_golden_text(g, "gate_fn");
    const sq_var gate =
        sq_layer_activated(t, sq_layer_linear(t, sq_tape_leaf(t, "x"), "g_proj.weight", NULL),
                           *gate_fn ? gate_fn : "swish");
    const sq_var rows = sq_layer_join_heads(t, sq_tape_result(t, norm, "y"));
    return sq_layer_linear(t, sq_tape_pointwise(t, &sq_pointwise_mul, gate, rows),
                           "out_proj.weight", NULL);
}

static double decay_of(int64_t head)
{
    return 1 - exp2(-5.0 - (double)head);
}

/* 1 + gamma + ... + gamma^(count - 1) */
static double decay_sum(int64_t head, int64_t count)
{
    const double gamma = decay_of(head);
    return (1 - pow(gamma, (double)count)) / (1 - gamma);
}

/* --- the recurrent form --- */

/* The official state is (B, H, V, K), divided by the root of its own scale, and its keys by
 * sqrt(K). */
static void put_state(sq_tape *t, const projected *p, sq_var state)
{
    double scale[256], factor[256];
    if (p->heads > 256)
        return;
    for (int64_t h = 0; h < p->heads; h++) {
        scale[h] = decay_sum(h, p->length);
        factor[h] = 1 / sqrt(scale[h] * (double)p->key);
    }
    sq_var by = sq_tape_values(t, factor, 4, (int64_t[]){1, p->heads, 1, 1});
    by = sq_tape_repeat(t, by, 0, p->batch);
    by = sq_tape_repeat(t, by, 2, p->key);
    by = sq_tape_repeat(t, by, 3, p->value);
    const sq_var scaled = sq_tape_pointwise(t, &sq_pointwise_mul, state, by);
    sq_tape_output(t, "final_prev_key_value", sq_tape_layout(t, scaled, "0132"));
    sq_tape_output(t, "final_scale", sq_tape_values(t, scale, 1, (int64_t[]){p->heads}));
}

/* --- the chunkwise form --- */

/* Sum of what the scores of row i are in size, of the keys of its own chunk. */
static double inner_sum(const double *q, const double *k, int64_t i, int64_t h, const int64_t *size)
{
    const int64_t heads = size[2], key = size[3];
    double sum = 0;
    for (int64_t j = 0; j <= i; j++) {
        double score = 0;
        for (int64_t d = 0; d < key; d++)
            score += q[(i * heads + h) * key + d] * k[(j * heads + h) * key + d];
        sum += fabs(score) * pow(decay_of(h), (double)(i - j)) / sqrt((double)key);
    }
    return sum;
}

/* The largest column sum of a head's state at the chunk's border, in the official units. */
static double cross_scale(const double *state, int64_t h, const int64_t *size)
{
    const int64_t key = size[3], value = size[4], chunk = size[5];
    double most = 0;
    for (int64_t v = 0; v < value; v++) {
        double sum = 0;
        for (int64_t d = 0; d < key; d++)
            sum += fabs(state[(h * key + d) * value + v]);
        most = fmax(most, sum);
    }
    return fmax(1, most / sqrt((double)key) / decay_sum(h, chunk));
}

/* in: q, k, o of one chunk, and the state at its border; o divided as the authors' chunkwise form
 * does, by a factor that the norm behind it takes away but for its eps. size: B, L, H, K, V, chunk.
 */
static void scale_chunk(const double *const *in, double *out, const int64_t *size)
{
    const int64_t length = size[1], heads = size[2], key = size[3], value = size[4];
    for (int64_t b = 0; b < size[0]; b++) {
        const double *q = in[0] + b * length * heads * key, *k = in[1] + b * length * heads * key;
        const double *state = in[3] + b * heads * key * value;
        for (int64_t i = 0; i < length; i++)
            for (int64_t h = 0; h < heads; h++) {
                const double root = sqrt(decay_sum(h, i + 1));
                const double inner = fmax(1, inner_sum(q, k, i, h, size) / root);
                const double by = root * fmax(inner, cross_scale(state, h, size));
                const int64_t row = ((b * length + i) * heads + h) * value;
                for (int64_t v = 0; v < value; v++)
                    out[row + v] = in[2][row + v] / by;
            }
    }
}

static sq_var by_chunks(sq_tape *t, const projected *p, int64_t chunk)
{
    const int64_t shape[] = {p->batch, p->heads, p->key, p->value};
    sq_var state = sq_tape_constant(t, 0, 4, shape), all = SQ_VAR_NONE;
    for (int64_t start = 0; start < p->length && state >= 0; start += chunk) {
        const int64_t left = p->length - start, count = left < chunk ? left : chunk;
        const sq_var border = state;
        const sq_var o = retain(t, p, start, count, "none", border, &state);
        const sq_var in[] = {sq_tape_part(t, p->q, 1, start, count),
                             sq_tape_part(t, p->k, 1, start, count), o, border, SQ_VAR_NONE};
        const int64_t size[] = {p->batch, count, p->heads, p->key, p->value, chunk, 0};
        const sq_var core = sq_tape_compute(t, scale_chunk, in, size, 4,
                                            (int64_t[]){p->batch, count, p->heads, p->value});
        all = sq_layer_append(t, all, core, 1);
    }
    return all;
}

static void multi_scale_retention(sq_tape *t, const sq_golden *g)
{
    const projected p = project(t, g);
    sq_var state;
    const sq_var parallel = retain(t, &p, 0, p.length, "torchscale", SQ_VAR_NONE, NULL);
    const sq_var recurrent = retain(t, &p, 0, p.length, "decay", SQ_VAR_NONE, &state);
    const sq_var chunkwise = by_chunks(t, &p, sq_layer_count(t, g, "recurrent_chunk_size", 512));
    sq_tape_output(t, "core_parallel", parallel);
    sq_tape_output(t, "core_recurrent", recurrent);
    sq_tape_output(t, "core_chunkwise", chunkwise);
    sq_tape_output(t, "y_parallel", finished(t, g, &p, parallel));
    sq_tape_output(t, "y_recurrent", finished(t, g, &p, recurrent));
    sq_tape_output(t, "y_chunkwise", finished(t, g, &p, chunkwise));
    put_state(t, &p, state);
}

const sq_verify_layer sq_layers_retention[] = {
    {"multi_scale_retention", multi_scale_retention},
    {NULL, NULL},
};
