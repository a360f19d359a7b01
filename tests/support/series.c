/* series: see series.h. */
#include "tests/support/series.h"

#include <math.h>

#include "core/rng.h"
#include "core/stats.h"

double sq_draw_uniform(sq_source *s)
{
    return ((double)(sq_rng_bits(s->seed, 1, s->at++) >> 11) + 0.5) * 0x1p-53;
}

/* Box and Muller. */
double sq_draw_gaussian(sq_source *s)
{
    double radius = sqrt(-2 * log(sq_draw_uniform(s)));
    return radius * cos(6.283185307179586 * sq_draw_uniform(s));
}

static double t3(sq_source *s)
{
    double square = 0, z = sq_draw_gaussian(s);
    for (int i = 0; i < 3; i++)
        square += pow(sq_draw_gaussian(s), 2);
    return z / sqrt(square); /* of variance 3, scaled by 1 / sqrt(3) */
}

static double ar1(sq_source *s)
{
    return s->before = 0.7 * s->before + sqrt(1 - 0.49) * sq_draw_gaussian(s);
}

/* Two clocks: a third of the launches runs at the lower one. */
static double bimodal(sq_source *s)
{
    return (sq_draw_uniform(s) < 1 / 3.0 ? 1.9 : 0) + 0.4 * sq_draw_gaussian(s);
}

/* One launch in twenty is disturbed, always upwards. */
static double spiky(sq_source *s)
{
    return 0.5 * sq_draw_gaussian(s) -
           (sq_draw_uniform(s) < 0.05 ? 8 * log(sq_draw_uniform(s)) : 0);
}

/* The medians of the last two, by bisection on their distribution functions. */
const sq_series sq_all_series[SQ_SERIES] = {{"Gaussian", sq_draw_gaussian, 0},
                                            {"t3", t3, 0},
                                            {"AR(1)", ar1, 0},
                                            {"bimodal", bimodal, 0.26978},
                                            {"spiky", spiky, 0.03129}};

void sq_draw_run(const sq_series *law, sq_source *s, double between, int32_t *ns, int n)
{
    double effect = between * (law->draw == ar1 ? sq_draw_gaussian(s) : law->draw(s));
    s->before = sq_draw_gaussian(s);
    for (int i = 0; i < n; i++)
        ns[i] = (int32_t)lrint(1e5 * (1 + 0.01 * effect + 0.003 * law->draw(s)));
}

void sq_draw_medians(const sq_series *law, sq_source *s, double *medians, int n)
{
    for (int i = 0; i < n; i++) {
        int32_t ns[SQ_SERIES_SAMPLES];
        sq_draw_run(law, s, 1, ns, SQ_SERIES_SAMPLES);
        medians[i] = sq_stats_of(ns, SQ_SERIES_SAMPLES).median;
    }
}
