/* discovery: see discovery.h. */
#include "core/discovery.h"

#include <math.h>
#include <stdlib.h>

#include "core/rng.h"
#include "core/special.h"

typedef struct {
    double p;
    int index;
} ranked;

static int by_p(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return (x->p > y->p) - (x->p < y->p);
}

sq_status sq_false_discovery(const double *p, int n, double *q)
{
    ranked *order = malloc((size_t)(n > 0 ? n : 1) * sizeof *order);
    if (!order)
        return SQ_OUT_OF_MEMORY;
    int tests = 0;
    for (int i = 0; i < n; i++) {
        q[i] = NAN;
        if (!isnan(p[i]))
            order[tests++] = (ranked){p[i], i};
    }
    qsort(order, (size_t)tests, sizeof *order, by_p);
    double least = 1;
    for (int rank = tests; rank >= 1; rank--) {
        const ranked *at = &order[rank - 1];
        least = fmin(least, at->p * tests / rank);
        q[at->index] = least;
    }
    free(order);
    return SQ_OK;
}

double sq_discovery_level(const double *p, const double *q, int n, double share)
{
    int tests = 0;
    double level = 0;
    for (int i = 0; i < n; i++) {
        tests += !isnan(p[i]);
        if (q[i] <= share)
            level = fmax(level, p[i]);
    }
    if (tests == 0)
        return NAN;
    return fmax(level, share / tests);
}

/* The share of successes at which `times` or more of `of` have probability `tail`: where a beta
 * distribution has that quantile. */
static double beta_quantile(double tail, double a, double b)
{
    double lo = 0, hi = 1;
    for (int step = 0; step < 60; step++) {
        double middle = (lo + hi) / 2;
        if (sq_incomplete_beta(a, b, middle) < tail)
            lo = middle;
        else
            hi = middle;
    }
    return (lo + hi) / 2;
}

sq_interval sq_rate(int64_t times, int64_t of)
{
    if (of < 1 || times < 0 || times > of)
        return (sq_interval){NAN, NAN, NAN};
    double x = (double)times, n = (double)of;
    return (sq_interval){x / n, times == 0 ? 0 : beta_quantile(0.025, x, n - x + 1),
                         times == of ? 1 : beta_quantile(0.975, x + 1, n - x)};
}

typedef struct {
    uint64_t place;
    int index;
} placed;

static int by_place(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

sq_status sq_pick_sentinels(const uint64_t *hash, int n, uint64_t seed, double share,
                            bool *is_sentinel)
{
    placed *order = malloc((size_t)(n > 0 ? n : 1) * sizeof *order);
    if (!order)
        return SQ_OUT_OF_MEMORY;
    for (int i = 0; i < n; i++) {
        order[i] = (placed){sq_rng_mix(hash[i] ^ sq_rng_mix(seed)), i};
        is_sentinel[i] = false;
    }
    qsort(order, (size_t)(n > 0 ? n : 0), sizeof *order, by_place);
    for (int rank = 0; rank < n && rank < ceil(share * n); rank++)
        is_sentinel[order[rank].index] = true;
    free(order);
    return SQ_OK;
}
