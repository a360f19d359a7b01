/* series: what run medians look like when nothing changes. Noise with a standard deviation of about 1,
 * seeded, the same on every machine but for libm's last digits. */
#ifndef SQ_TESTS_SERIES_H
#define SQ_TESTS_SERIES_H

#include <stdint.h>

typedef struct {
    uint64_t seed;
    int64_t at;
    double before; /* of AR(1) */
} sq_source;

typedef struct {
    const char *name;
    double (*draw)(sq_source *);
    double median;
} sq_series;

enum { SQ_GAUSSIAN, SQ_T3, SQ_AR1, SQ_BIMODAL, SQ_SPIKY, SQ_SERIES };
extern const sq_series sq_all_series[SQ_SERIES];

double sq_draw_uniform(sq_source *s); /* in (0, 1) */
double sq_draw_gaussian(sq_source *s);

/* One run: an effect of its own (`between`, of the same law unless it is AR(1)) and samples around
 * it, in ns around 100 us with a spread of 0.3 % within and 1 % between runs. */
void sq_draw_run(const sq_series *law, sq_source *s, double between, int32_t *ns, int n);

enum { SQ_SERIES_SAMPLES = 30 };
/* Medians of n runs of that many samples. */
void sq_draw_medians(const sq_series *law, sq_source *s, double *medians, int n);

#endif
