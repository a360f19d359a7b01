/* exchange: see exchange.h. */
#include "core/exchange.h"

#include <math.h>
#include <stdlib.h>

#include "core/special.h"
#include "core/splits.h"
#include "core/stats.h"

/* Choices of runs of a side; each of one side is combined with each of the other. All that five runs
 * have; of more, so many are drawn. */
enum { CHOICES = 10, DRAWS = CHOICES * CHOICES, RUNS_COUNTED = 5 };

sq_status sq_exchanges_open(sq_exchanges *exchanges, int cells, double most)
{
    *exchanges = (sq_exchanges){
        .p = malloc(((size_t)cells * DRAWS + 1) * sizeof(double)), .most = most, .df = NAN};
    return exchanges->p ? SQ_OK : SQ_OUT_OF_MEMORY;
}

void sq_exchanges_close(sq_exchanges *exchanges)
{
    free(exchanges->p);
}

/* Runs of one side; sums are of deviations from a middle that both sides have. */
typedef struct {
    int n, choices;
    double sum, squares, chosen[CHOICES];
} side;

/* Sums of every choice of `moved` of the n values: each a set bit of a number. */
static void count_choices(const double *values, int n, int moved, side *s)
{
    for (unsigned set = 0; set < 1u << n; set++) {
        double sum = 0;
        int members = 0;
        for (int i = 0; i < n; i++)
            if (set >> i & 1)
                sum += values[i], members++;
        if (members == moved)
            s->chosen[s->choices++] = sum;
    }
}

static void draw_choices(const double *values, int n, int moved, uint64_t seed, int64_t index,
                         side *s)
{
    for (; s->choices < CHOICES; s->choices++)
        s->chosen[s->choices] = sq_split_sum(values, n, moved, seed, index * CHOICES + s->choices);
}

static side side_of(const double *values, int n, double middle, int moved, uint64_t seed,
                    int64_t index)
{
    side s = {.n = n, .choices = 0};
    for (int i = 0; i < n; i++) {
        s.sum += values[i] - middle;
        s.squares += pow(values[i] - middle, 2);
    }
    if (n <= RUNS_COUNTED)
        count_choices(values, n, moved, &s);
    else
        draw_choices(values, n, moved, seed, index, &s);
    for (int k = 0; k < s.choices; k++)
        s.chosen[k] -= moved * middle;
    return s;
}

static void add(sq_exchanges *exchanges, const side *a, const side *b, double moved,
                const sq_variance_prior *prior)
{
    double sum_a = a->sum + moved, sum_b = b->sum - moved, df = a->n + b->n - 2;
    double squares = a->squares + b->squares - sum_a * sum_a / a->n - sum_b * sum_b / b->n;
    sq_two_sides sides = {a->n, b->n, sum_b / b->n - sum_a / a->n, fmax(squares, 0) / df, df, 0};
    double error = sq_moderated_variance(sides.variance, df, prior) * (1.0 / a->n + 1.0 / b->n);
    exchanges->drawn++;
    if (sides.difference * sides.difference >= pow(exchanges->least_t, 2) * error)
        exchanges->p[exchanges->n++] = sq_moderate(&sides, prior).p;
}

/* All that is asked for, and a little. */
static void find_least_t(sq_exchanges *exchanges, double df)
{
    if (exchanges->df == df)
        return;
    exchanges->df = df;
    exchanges->least_t = 0.999 * sq_t_quantile(1 - exchanges->most / 2, df);
}

void sq_exchanges_add(sq_exchanges *exchanges, const double *a, int n_a, const double *b, int n_b,
                      const sq_variance_prior *prior, uint64_t seed, int64_t index)
{
    int moved = (n_a < n_b ? n_a : n_b) / 2;
    if (moved < 1)
        return;
    find_least_t(exchanges, sq_moderated_df(n_a + n_b - 2, prior));
    side of_a = side_of(a, n_a, a[0], moved, seed, 2 * index),
         of_b = side_of(b, n_b, a[0], moved, seed, 2 * index + 1);
    for (int i = 0; i < of_a.choices; i++)
        for (int k = 0; k < of_b.choices; k++)
            add(exchanges, &of_a, &of_b, of_b.chosen[k] - of_a.chosen[i], prior);
}

void sq_exchanges_sort(sq_exchanges *exchanges)
{
    sq_sort(exchanges->p, exchanges->n);
}

/* How many are at most p. */
static int reached(const sq_exchanges *exchanges, double p)
{
    int lo = 0, hi = exchanges->n;
    while (lo < hi) {
        int middle = (lo + hi) / 2;
        if (exchanges->p[middle] <= p)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

double sq_exchanges_p(const sq_exchanges *exchanges, double p)
{
    if (!(p <= exchanges->most) || exchanges->drawn == 0)
        return p;
    return fmax(p, (double)reached(exchanges, p) / (double)exchanges->drawn);
}
