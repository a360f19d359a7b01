/* counts: see counts.h. */
#include "profile/counts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REPEATS = 16 };

sq_status sq_counts_add_absent(sq_record *record, const char *metric, const char *validity)
{
    sq_value value = {.value = NAN, .spread = NAN, .sm_mhz = NAN};
    snprintf(value.metric, sizeof value.metric, "%s", metric);
    snprintf(value.validity, sizeof value.validity, "%.95s", validity);
    return sq_record_add_value(record, &value);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

sq_value sq_counts_summary(const char *metric, const double *repeats, int n)
{
    double sorted[MAX_REPEATS];
    sq_value out = {.value = NAN, .spread = NAN, .sm_mhz = NAN, .validity = "ok"};
    snprintf(out.metric, sizeof out.metric, "%s", metric);
    for (int i = 0; i < n; i++) {
        sorted[i] = repeats[i];
        if (isnan(repeats[i])) {
            snprintf(out.validity, sizeof out.validity, "inconsistent: not collected");
            return out;
        }
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    out.n = n;
    out.value = sorted[n / 2];
    if (out.value != 0 && n > 1)
        out.spread = (sorted[n - 1] - sorted[0]) / fabs(out.value);
    return out;
}

/* --- one image --- */

static const sq_set_line *find_line(const sq_set_image *image, const char *metric)
{
    for (int i = 0; i < image->n; i++)
        if (strcmp(image->line[i].metric, metric) == 0)
            return &image->line[i];
    return NULL;
}

/* The column of a CUPTI name, or -1. */
static int column_of(const sq_image_counts *counts, const char *cupti)
{
    for (size_t i = 0; cupti && i < counts->n_known; i++)
        if (strcmp(counts->known[i], cupti) == 0)
            return (int)i;
    return -1;
}

static sq_value summary_of(const sq_image_counts *counts, const char *metric, int column)
{
    double repeats[SQ_COUNT_REPEATS];
    for (int r = 0; r < SQ_COUNT_REPEATS; r++)
        repeats[r] = counts->value[r][column];
    return sq_counts_summary(metric, repeats, SQ_COUNT_REPEATS);
}

/* NAN where the image did not count it. */
static sq_value find_counted(const sq_image_counts *counts, const char *metric, int *column)
{
    const sq_set_line *line = find_line(counts->image, metric);
    *column = line && !counts->refused[0] ? column_of(counts, line->cupti) : -1;
    sq_value none = {.value = NAN, .spread = NAN};
    return *column < 0 ? none : summary_of(counts, metric, *column);
}

/* --- were the launches alike? --- */

static const char *const invariants[] = {"instructions", "issue_cycles", NULL};

static void bounds(const sq_image_counts *counts, int column, double *lo, double *hi)
{
    *lo = INFINITY;
    *hi = -INFINITY;
    for (int r = 0; r < SQ_COUNT_REPEATS; r++) {
        *lo = fmin(*lo, counts->value[r][column]);
        *hi = fmax(*hi, counts->value[r][column]);
    }
}

/* How far the repeats of two images lie apart, relative to the larger; 0 where they overlap. */
static double gap(const sq_image_counts *a, int column_a, const sq_image_counts *b, int column_b)
{
    double lo_a, hi_a, lo_b, hi_b;
    bounds(a, column_a, &lo_a, &hi_a);
    bounds(b, column_b, &lo_b, &hi_b);
    double apart = fmax(lo_a - hi_b, lo_b - hi_a);
    return apart > 0 ? apart / fmax(hi_a, hi_b) : 0;
}

/* Compares with the first earlier image that counted the same. Writes the validity of image `i`. */
static void judge_image(const sq_image_counts *counts, int i, char validity[96])
{
    snprintf(validity, 96, "ok");
    for (int k = 0; invariants[k]; k++) {
        int here, before = -1, j = 0;
        sq_value value = find_counted(&counts[i], invariants[k], &here);
        if (here < 0)
            continue;
        if (value.spread > SQ_COUNT_SCATTER) {
            snprintf(validity, 96, "inconsistent: %s differ by %.0f %% between launches",
                     invariants[k], 100 * value.spread);
            return;
        }
        for (j = 0; j < i && before < 0; j++)
            find_counted(&counts[j], invariants[k], &before);
        double apart = before < 0 ? 0 : gap(&counts[i], here, &counts[j - 1], before);
        if (apart > SQ_COUNT_TOLERANCE) {
            snprintf(validity, 96, "inconsistent: %s differ by %.1f %% between passes",
                     invariants[k], 100 * apart);
            return;
        }
    }
}

/* --- values --- */

static const sq_value *find_value(const sq_record *record, const char *metric)
{
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return &record->values[i];
    return NULL;
}

static bool is_kept(const sq_record *record, int first, const char *metric)
{
    for (int i = first; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return true;
    return false;
}

static sq_status keep_line(const sq_image_counts *counts, const sq_set_line *line, const char *chip,
                           const char *validity, double sm_hz, sq_record *record)
{
    int column = column_of(counts, line->cupti);
    char why[192];
    if (column < 0) {
        snprintf(why, sizeof why, "unsupported: %s has no counter %s", chip,
                 line->cupti ? line->cupti : "for it");
        return sq_counts_add_absent(record, line->metric, why);
    }
    sq_value value = summary_of(counts, line->metric, column);
    if (strcmp(value.validity, "ok") != 0 || strcmp(validity, "ok") != 0)
        return sq_counts_add_absent(record, line->metric,
                                    strcmp(validity, "ok") ? validity : value.validity);
    value.sm_mhz = sm_hz / 1e6;
    return sq_record_add_value(record, &value);
}

/* first: the record's values before this call. Counted values go before absent ones. */
static sq_status keep_image(const sq_image_counts *counts, int i, const char *chip, bool is_counted,
                            int first, sq_record *record)
{
    const sq_image_counts *c = &counts[i];
    char validity[96];
    int column;
    double sm_hz = find_counted(c, "counter_sm_hz", &column).value;
    judge_image(counts, i, validity);
    for (int k = 0; k < c->image->n; k++) {
        const sq_set_line *line = &c->image->line[k];
        bool is_here = !c->refused[0] && column_of(c, line->cupti) >= 0;
        if (is_here != is_counted || is_kept(record, first, line->metric))
            continue;
        if (c->refused[0] && line->cupti)
            SQ_TRY(sq_counts_add_absent(record, line->metric, c->refused));
        else
            SQ_TRY(keep_line(c, line, chip, validity, sm_hz, record));
    }
    return SQ_OK;
}

/* additions + multiplications + 2 multiply-adds, where all three were counted. */
static sq_status keep_flops(sq_record *record)
{
    static const struct {
        const char *metric, *parts[3];
    } sums[] = {
        {"counted_flops_f32", {"thread_fadd", "thread_fmul", "thread_ffma"}},
        {"counted_flops_f64", {"thread_dadd", "thread_dmul", "thread_dfma"}},
        {"counted_flops_f16", {"thread_hadd", "thread_hmul", "thread_hfma"}},
    };
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        double sum = 0;
        for (int k = 0; k < 3; k++) {
            const sq_value *part = find_value(record, sums[i].parts[k]);
            sum += part ? (k == 2 ? 2 : 1) * part->value : NAN;
        }
        SQ_TRY(sq_record_add_number(record, sums[i].metric, sum));
    }
    return SQ_OK;
}

sq_status sq_counts_keep(const sq_image_counts *counts, int n, const char *chip, sq_record *record)
{
    int first = record->n_values;
    for (int is_counted = 1; is_counted >= 0; is_counted--)
        for (int i = 0; i < n; i++)
            SQ_TRY(keep_image(counts, i, chip, is_counted, first, record));
    return keep_flops(record);
}
