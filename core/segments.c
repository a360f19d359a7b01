#include "core/segments.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/serial.h"
#include "core/special.h"
#include "core/stats.h"

/* --- noise --- */

/* Beyond this share of the largest differences between nights lie the changes of the level. */
static const double trimmed = 0.1;
/* A correlation seen in so many nights is believed half, since a drift over a few looks like one; for the
 * rest it is what nights have. */
static const double correlation_prior = 40;
static const double usual_correlation = 0.1;
static const double most_correlation = 0.9;
/* No clock and no median is finer than this. */
static const double least_deviation = 1e-4;
/* Nights that follow two others of the same code: with so many, the rest is not asked. */
enum { ENOUGH_PAIRS = 10 };

static bool is_same_code(const sq_nights *s, int night, int lag)
{
    for (int k = 0; k < lag; k++)
        if (s->has_new_code[night - k])
            return false;
    return true;
}

/* Mean of the smaller |differences| of nights `lag` apart, as the standard deviation of such a
 * difference were it normal. NAN: no pair. */
static double deviation_of_lag(const sq_nights *s, int lag, bool is_code_asked, double *room)
{
    int n = 0;
    for (int i = lag; i < s->n; i++)
        if (!is_code_asked || is_same_code(s, i, lag))
            room[n++] = fabs(s->value[i] - s->value[i - lag]);
    int kept = n - (int)ceil(trimmed * n) - (lag - 1); /* a step is in `lag` differences */
    if (kept < 1)
        return NAN;
    sq_sort(room, n);
    const double twice_density = 0.7978845608028654; /* of the standard normal at 0 */
    double share = (double)kept / n, z = sq_normal_quantile((1 + share) / 2);
    return sq_mean(room, kept) * share / (twice_density * (1 - exp(-z * z / 2)));
}

static double median_error(const sq_nights *s, double *room)
{
    int n = 0;
    for (int i = 0; s->error && i < s->n; i++)
        if (isfinite(s->error[i]))
            room[n++] = s->error[i];
    return n ? sq_median(room, n) : NAN;
}

static bool has_code_pairs(const sq_nights *s)
{
    int n = 0;
    for (int i = 2; s->has_new_code && i < s->n; i++)
        n += is_same_code(s, i, 2);
    return n >= ENOUGH_PAIRS;
}

/* Of an AR(1) the squared differences of lag 2 are (1 + r) times those of lag 1, whatever steps the
 * level makes (Chakar et al., Bernoulli 23, 2017). */
static double correlation_of(double lag1, double lag2, int n)
{
    double r = lag1 > 0 ? lag2 * lag2 / (lag1 * lag1) - 1 : 0;
    double belief = 1 / (1 + pow(correlation_prior / n, 2));
    /* Steps beyond the trimmed ones make r any size. */
    return fmin(fmax(r, 0), most_correlation) * belief + usual_correlation * (1 - belief);
}

static sq_night_noise noise_of(const sq_nights *s, double *room)
{
    sq_night_noise noise = {least_deviation, 0};
    bool is_code_asked = has_code_pairs(s);
    double lag1 = deviation_of_lag(s, 1, is_code_asked, room);
    double lag2 = deviation_of_lag(s, 2, is_code_asked, room);
    if (isfinite(lag1) && isfinite(lag2))
        noise.correlation = correlation_of(lag1, lag2, s->n);
    if (isfinite(lag1))
        noise.deviation = fmax(noise.deviation, lag1 / sqrt(2 * (1 - noise.correlation)));
    noise.deviation = fmax(noise.deviation, median_error(s, room));
    return noise;
}

/* --- the test of a change --- */

/* Share of A/A series in which a change may be found, before a correlation between nights that few of
 * them cannot know has its say: with it, at most 5 % of those of tests/unit/test_segments.c. */
static const double false_series = 0.02;
/* So many deviations off the level a night counts, and no further. */
static const double clip_at = 3;
/* How many nights' worth the series' own deviation is in the variance of what is left of it. */
static const double prior_nights = 4;
/* A segment whose variance is so many times that of all is not of one level. */
static const double rough = 4;

/* A series being cut. scale: deviation of each night; weight: 1 / scale. */
typedef struct {
    const sq_nights *nights;
    sq_night_noise noise;
    double min_step;
    double *scale, *weight;
    sq_segment *segment;
    int count;
} cutting;

/* mean: of a segment's nights, clipped around its level. share: variance of that mean where each
 * night has the variance of its scale. squares: of the clipped deviations from it, in scales;
 * all_squares: of the whole deviations. */
typedef struct {
    double mean, share, squares, all_squares;
    int n;
} moments;

static double clipped(const cutting *c, int night, double level)
{
    double off = (c->nights->value[night] - level) * c->weight[night];
    return level + c->scale[night] * fmax(-clip_at, fmin(clip_at, off));
}

static moments moments_of(const cutting *c, const sq_segment *segment)
{
    moments m = {.n = segment->end - segment->first};
    double weights = 0, whole = 0;
    for (int i = segment->first; i < segment->end; i++) {
        double weight = c->weight[i] * c->weight[i];
        weights += weight;
        m.mean += weight * clipped(c, i, segment->level);
        whole += weight * c->nights->value[i];
    }
    m.mean /= weights;
    whole /= weights;
    m.share = sq_serial_inflation(m.n, c->noise.correlation) / weights;
    for (int i = segment->first; i < segment->end; i++) {
        m.squares += pow((clipped(c, i, segment->level) - m.mean) * c->weight[i], 2);
        m.all_squares += pow((c->nights->value[i] - whole) * c->weight[i], 2);
    }
    return m;
}

/* Variance of a segment's mean and its degrees of freedom. A rough segment answers for itself: two
 * spikes of three nights have a median, too. */
static double variance_of(const moments *m, double common, double *df)
{
    if (m->all_squares <= rough * common * (m->n - 1))
        return common * m->share;
    *df = m->n - 1 + prior_nights;
    return (m->all_squares + prior_nights * common) / *df * m->share;
}

/* Two-sided p of the change between a and b; common, df: variance in scales that all share. */
static double p_of(const moments *a, const moments *b, double common, double df)
{
    double df_a = df, df_b = df;
    double of_a = variance_of(a, common, &df_a), of_b = variance_of(b, common, &df_b);
    double both = of_a + of_b;
    double together = both * both / (of_a * of_a / df_a + of_b * of_b / df_b);
    return 2 * sq_t_cdf(-fabs(b->mean - a->mean) / sqrt(both), fmin(together, df));
}

/* The smallest step below the least that counts, as the index of the segment after it; 0: none. */
static int smallest(const cutting *c)
{
    int found = 0;
    double least = c->min_step;
    for (int k = 1; k < c->count; k++) {
        double step = fabs(c->segment[k].level - c->segment[k - 1].level);
        if (step < least) {
            least = step;
            found = k;
        }
    }
    return found;
}

/* The change of the largest p that does not stand its test; 0: all stand. room: for count. */
static int weakest(const cutting *c, moments *room)
{
    int found = 0;
    double squares = 0, r = c->noise.correlation, nights = c->nights->n - c->count;
    double most = false_series / c->nights->n; /* a change may lie at any night */
    for (int k = 0; k < c->count; k++) {
        room[k] = moments_of(c, &c->segment[k]);
        squares += room[k].squares;
    }
    double common = (squares + prior_nights) / (nights + prior_nights);
    double df = nights * (1 - r) / (1 + r) + prior_nights;
    for (int k = 1; k < c->count; k++) {
        double p = p_of(&room[k - 1], &room[k], common, df);
        if (p > most) {
            most = p;
            found = k;
        }
    }
    return found;
}

/* --- segments --- */

static double night_scale(const sq_nights *s, const sq_night_noise *noise, double typical,
                          int night)
{
    double all = noise->deviation * noise->deviation, error = s->error ? s->error[night] : NAN;
    if (!isfinite(error))
        return noise->deviation;
    double between = fmax(all - typical * typical, 0);
    return fmax(sqrt(between + error * error), noise->deviation / 4);
}

static void set_scale(cutting *c, double typical)
{
    for (int i = 0; i < c->nights->n; i++) {
        c->scale[i] = night_scale(c->nights, &c->noise, typical, i);
        c->weight[i] = 1 / c->scale[i];
    }
}

static void join(cutting *c, int k)
{
    sq_segment *s = c->segment, whole[1];
    int first = s[k - 1].first, n = s[k].end - first;
    s[k - 1].end = s[k].end;
    if (sq_potts(c->nights->value + first, c->weight + first, n, INFINITY, whole))
        s[k - 1].level = whole[0].level;
    memmove(s + k, s + k + 1, (size_t)(c->count - k - 1) * sizeof *s);
    c->count--;
}

/* After Schwarz's criterion for absolute deviations, log n a change, as simulated; correlated nights
 * wander further. */
static double penalty_of(int n, double correlation)
{
    return (2.5 + log(n)) * sqrt((1 + correlation) / (1 - correlation));
}

static void cut(cutting *c, double *room, moments *of_segments)
{
    int n = c->nights->n;
    c->noise = noise_of(c->nights, room);
    set_scale(c, median_error(c->nights, room));
    double penalty = penalty_of(n, c->noise.correlation);
    c->count = sq_potts(c->nights->value, c->weight, n, penalty, c->segment);
    for (int k = 1; c->count > 1 && k > 0;) {
        k = smallest(c);
        k = k > 0 ? k : weakest(c, of_segments);
        if (k > 0)
            join(c, k);
    }
}

int sq_segments_of(const sq_nights *nights, double min_step, sq_segment *segment,
                   sq_night_noise *noise)
{
    size_t n = nights->n > 0 ? (size_t)nights->n : 0;
    cutting c = {.nights = nights, .min_step = min_step, .segment = segment};
    moments *of_segments = n ? malloc((n / SQ_SEGMENT_MIN + 1) * sizeof *of_segments) : NULL;
    double *room = n ? malloc(n * sizeof *room) : NULL;
    c.scale = n ? malloc(2 * n * sizeof *c.scale) : NULL;
    if (of_segments && room && c.scale) {
        c.weight = c.scale + n;
        cut(&c, room, of_segments);
    }
    *noise = c.noise;
    free(of_segments);
    free(room);
    free(c.scale);
    return c.count;
}
