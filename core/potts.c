/* potts: the exact minimum of the L1 Potts functional (segments.h). */
#include "core/segments.h"

#include <math.h>
#include <stdlib.h>

/* The nights from some night on, as a list by value from which the last one is taken away again and
 * again; beside it the weighted median, and what lies below and above it. Nights go by their place
 * in the order of all values; n stands at either end of the list. */
typedef struct {
    int n, *night, *place;  /* night[place], place[night] */
    double *value, *weight; /* by place */
    int *next, *prev;
    int middle;
    double below, above;         /* weights */
    double sum_below, sum_above; /* weights times values */
} falling;

static void move_up(falling *f)
{
    int from = f->middle, to = f->next[from];
    f->below += f->weight[from];
    f->sum_below += f->weight[from] * f->value[from];
    f->above -= f->weight[to];
    f->sum_above -= f->weight[to] * f->value[to];
    f->middle = to;
}

static void move_down(falling *f)
{
    int from = f->middle, to = f->prev[from];
    f->above += f->weight[from];
    f->sum_above += f->weight[from] * f->value[from];
    f->below -= f->weight[to];
    f->sum_below -= f->weight[to] * f->value[to];
    f->middle = to;
}

/* Brings the middle to where neither side weighs more than half. */
static void balance(falling *f)
{
    while (f->prev[f->middle] != f->n && f->below > f->above + f->weight[f->middle])
        move_down(f);
    while (f->next[f->middle] != f->n && f->above > f->below + f->weight[f->middle])
        move_up(f);
}

static void begin_at(falling *f, int first)
{
    int last = f->n;
    f->below = f->sum_below = f->above = f->sum_above = 0;
    for (int k = 0; k < f->n; k++) {
        if (f->night[k] < first)
            continue;
        f->prev[k] = last;
        f->next[last] = k;
        f->above += f->weight[k];
        f->sum_above += f->weight[k] * f->value[k];
        last = k;
    }
    f->next[last] = f->n;
    f->prev[f->n] = last;
    f->middle = f->next[f->n];
    f->above -= f->weight[f->middle];
    f->sum_above -= f->weight[f->middle] * f->value[f->middle];
    balance(f);
}

static void take_away(falling *f, int night)
{
    int k = f->place[night];
    if (k == f->middle && f->next[k] != f->n)
        move_up(f);
    else if (k == f->middle)
        move_down(f);
    if (k < f->middle) {
        f->below -= f->weight[k];
        f->sum_below -= f->weight[k] * f->value[k];
    } else {
        f->above -= f->weight[k];
        f->sum_above -= f->weight[k] * f->value[k];
    }
    f->next[f->prev[k]] = f->next[k];
    f->prev[f->next[k]] = f->prev[k];
    balance(f);
}

static double cost_of(const falling *f)
{
    double level = f->value[f->middle];
    return level * (f->below - f->above) - f->sum_below + f->sum_above;
}

typedef struct {
    double value;
    int night;
} ranked;

static int by_value(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->value != y->value ? (x->value > y->value) - (x->value < y->value)
                                : x->night - y->night;
}

/* One block of memory, which *f begins with `value`; false: none. */
static bool make_falling(falling *f, const double *value, const double *weight, int n)
{
    size_t size = (size_t)n + 1;
    ranked *order = malloc(size * sizeof *order);
    f->n = n;
    f->value = malloc(size * (2 * sizeof *f->value + 4 * sizeof *f->next));
    if (!order || !f->value) {
        free(order);
        free(f->value);
        return false;
    }
    f->weight = f->value + size;
    f->next = (int *)(f->weight + size);
    f->prev = f->next + size;
    f->night = f->prev + size;
    f->place = f->night + size;
    for (int i = 0; i < n; i++)
        order[i] = (ranked){value[i], i};
    qsort(order, (size_t)n, sizeof *order, by_value);
    for (int k = 0; k < n; k++) {
        f->night[k] = order[k].night;
        f->place[order[k].night] = k;
        /* From the middle one on: sums of small numbers lose nothing when they are taken back. */
        f->value[k] = order[k].value - order[n / 2].value;
        f->weight[k] = weight[order[k].night];
    }
    free(order);
    return true;
}

/* The best cut of the nights before `end`: what it costs, where its last segment begins. */
typedef struct {
    double cost, level;
    int first;
} best_cut;

/* Every segment from `first` on, the longest first. */
static void extend(falling *f, best_cut *best, int first, double penalty)
{
    double before = first > 0 ? best[first].cost + penalty : 0;
    begin_at(f, first);
    for (int end = f->n; end >= first + SQ_SEGMENT_MIN; end--) {
        double cost = before + cost_of(f);
        if (cost < best[end].cost)
            best[end] = (best_cut){cost, f->value[f->middle], first};
        take_away(f, end - 1);
    }
}

static int trace(const best_cut *best, int n, double shift, sq_segment *segment)
{
    int count = 0;
    for (int end = n; end > 0; end = best[end].first)
        count++;
    for (int end = n, k = count; end > 0; end = best[end].first)
        segment[--k] = (sq_segment){best[end].first, end, best[end].level + shift};
    return count;
}

int sq_potts(const double *value, const double *weight, int n, double penalty, sq_segment *segment)
{
    falling f = {.n = 0};
    if (n < 1 || !make_falling(&f, value, weight, n))
        return 0;
    best_cut *best = malloc(((size_t)n + 1) * sizeof *best);
    int count = 0;
    if (best) {
        for (int end = 0; end <= n; end++)
            best[end] = (best_cut){INFINITY, 0, 0};
        best[0].cost = 0;
        for (int first = 0; first <= n - SQ_SEGMENT_MIN; first++)
            if (isfinite(best[first].cost))
                extend(&f, best, first, penalty);
        if (n < SQ_SEGMENT_MIN) {
            begin_at(&f, 0);
            best[n] = (best_cut){0, f.value[f.middle], 0};
        }
        count = trace(best, n, value[f.night[n / 2]], segment);
    }
    free(best);
    free(f.value);
    return count;
}
