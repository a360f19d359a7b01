/* attention_core: see attention_core.h. */
#include "kernels/attention/attention_core.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

enum { MAX_D = 256 };

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

static int64_t window_of(const sq_attention_rules *rules, int64_t head)
{
    return head < rules->masked ? head + 1 : rules->window;
}

sq_key_range sq_attention_keys(const sq_attention_rules *rules, int64_t head, int64_t row)
{
    const int64_t own = row + rules->keys - rules->queries, window = window_of(rules, head);
    sq_key_range seen = {0, rules->keys};
    if (window > 0)
        seen.first = clamp(own - window + 1, 0, rules->keys);
    if (rules->is_causal)
        seen.last = clamp(own + 1, 0, rules->keys);
    else if (rules->ahead > 0)
        seen.last = clamp(own + rules->ahead + 1, 0, rules->keys);
    return seen;
}

/* sum over x = .., n of clamp(x, 0, top) */
static double clamped_sum(double n, double top)
{
    if (n <= 0)
        return 0;
    return n <= top ? n * (n + 1) / 2 : top * (top + 1) / 2 + (n - top) * top;
}

/* sum over the queries of clamp(own key + offset, 0, keys) */
static double bound_sum(const sq_attention_rules *rules, double offset)
{
    const double keys = (double)rules->keys, first = keys - (double)rules->queries + offset;
    return clamped_sum(first + (double)rules->queries - 1, keys) - clamped_sum(first - 1, keys);
}

double sq_attention_pairs(const sq_attention_rules *rules, int64_t head)
{
    const double window = (double)window_of(rules, head);
    double pairs = (double)rules->queries * (double)rules->keys;
    if (rules->is_causal)
        pairs = bound_sum(rules, 1);
    else if (rules->ahead > 0)
        pairs = bound_sum(rules, (double)rules->ahead + 1);
    return window > 0 ? pairs - bound_sum(rules, 1 - window) : pairs;
}

/* Press et al., 2108.12409, sec. 3: powers of 2^(-8 / n) where n heads are a power of two; else
 * those of the next smaller one, then every second of twice as many (the authors' get_slopes). */
double sq_attention_slope(int64_t heads, int64_t head)
{
    int64_t power = 1;
    while (2 * power <= heads)
        power *= 2;
    if (head < power)
        return exp2(-8 * (double)(head + 1) / (double)power);
    return exp2(-8 * (double)(2 * (head - power) + 1) / (double)(2 * power));
}

double sq_attention_bias(const sq_attention_rules *rules, int64_t head, int64_t row, int64_t key)
{
    const int64_t distance = llabs(row + rules->keys - rules->queries - key);
    double sum = 0;
    if (rules->has_alibi)
        sum -= sq_attention_slope(rules->heads, head) * (double)distance;
    if (rules->bias)
        sum += rules->bias[head * rules->biases + clamp(distance, 0, rules->biases - 1)];
    return sum;
}

/* A row as it enters the scores: rotated, then rounded. */
void sq_attention_read(const sq_attention_rules *rules, const sq_tensor *t, int64_t offset,
                       int64_t position, double *x)
{
    const int64_t d = t->dim[3];
    sq_row_read(t, offset, d, x);
    if (rules->rotation.dims == 0)
        return;
    const bool is_16_bit = sq_dtype_size(rules->rotated) == 2;
    const sq_dtype type = is_16_bit ? rules->rotated : t->dtype;
    sq_rotate(&rules->rotation, (double)position, false, x);
    for (int64_t i = 0; i < d; i++)
        x[i] = sq_round_to(type, x[i]);
}

int64_t sq_attention_position(const sq_attention_rules *rules, int64_t row)
{
    return row + rules->keys - rules->queries + rules->shift;
}

typedef struct {
    const sq_attention_rules *rules;
    const sq_tensor *q, *k, *v, *o;
    double *key, *value; /* of one key/value head of one sequence: (k->dim[1], D) each */
    int64_t b, hkv;
} job;

static void unpack(const job *j)
{
    const sq_tensor *k = j->k, *v = j->v;
    const int64_t slots = k->dim[1], d = k->dim[3], oldest = j->rules->keys - slots;
#pragma omp parallel for
    for (int64_t key = oldest; key < j->rules->keys; key++) {
        const int64_t slot = key % slots;
        const int64_t at = sq_offset3(k, j->b, slot, j->hkv);
        if (j->rules->is_cached)
            sq_row_read(k, at, d, j->key + slot * d);
        else
            sq_attention_read(j->rules, k, at, key, j->key + slot * d);
        sq_row_read(v, sq_offset3(v, j->b, slot, j->hkv), d, j->value + slot * d);
    }
}

/* One output row; score: room for the keys in memory. */
static void attend(const job *j, int64_t h, int64_t row, double *score)
{
    const int64_t d = j->q->dim[3], slots = j->k->dim[1];
    const sq_key_range seen = sq_attention_keys(j->rules, h, row);
    double query[MAX_D], out[MAX_D] = {0}, max = -INFINITY, sum = 0;
    sq_attention_read(j->rules, j->q, sq_offset3(j->q, j->b, row, h),
                      sq_attention_position(j->rules, row), query);
    for (int64_t i = seen.first; i < seen.last; i++) {
        double *s = &score[i - seen.first];
        *s = sq_row_dot(query, j->key + i % slots * d, d) / sqrt((double)d) +
             sq_attention_bias(j->rules, h, row, i);
        max = fmax(max, *s);
    }
    for (int64_t i = seen.first; i < seen.last; i++)
        sum += score[i - seen.first] = exp(score[i - seen.first] - max);
    for (int64_t i = seen.first; i < seen.last; i++) {
        const double *v = j->value + i % slots * d;
        const double p = sq_named_factor(1 / sum, score[i - seen.first]);
        for (int64_t c = 0; c < d; c++)
            out[c] += p * v[c];
    }
    for (int64_t c = 0; c < d && sum > 0; c++)
        out[c] /= sum;
    sq_row_write(j->o, sq_offset3(j->o, j->b, row, h), d, out);
}

/* All query heads that read key/value head hkv; false when out of memory. */
static bool attend_group(const job *j)
{
    const int64_t rows = j->q->dim[1], group = j->q->dim[2] / j->k->dim[2];
    bool is_ok = true;
#pragma omp parallel reduction(&& : is_ok)
    {
        double *score = malloc((size_t)j->k->dim[1] * sizeof *score);
        is_ok = score != NULL;
#pragma omp for schedule(dynamic, 8)
        for (int64_t i = 0; i < group * rows; i++)
            if (score)
                attend(j, j->hkv * group + i / rows, i % rows, score);
        free(score);
    }
    return is_ok;
}

sq_status sq_attention_forward(const sq_attention_rules *rules, const sq_tensor *q,
                               const sq_tensor *k, const sq_tensor *v, const sq_tensor *o,
                               sq_error *err)
{
    const size_t count = (size_t)(k->dim[1] * k->dim[3]);
    job j = {.rules = rules, .q = q, .k = k, .v = v, .o = o};
    j.key = malloc(count * sizeof(double));
    j.value = malloc(count * sizeof(double));
    bool is_ok = j.key && j.value;
    for (int64_t i = 0; i < k->dim[0] * k->dim[2] && is_ok; i++) {
        j.b = i / k->dim[2], j.hkv = i % k->dim[2];
        unpack(&j);
        is_ok = attend_group(&j);
    }
    free(j.key);
    free(j.value);
    if (!is_ok)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "attention reference: %zu keys x channels", count);
    return SQ_OK;
}
