/* script: a figure's series as gnuplot data and settings; the drawing itself is figures/<id>.gp. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/figures.h"
#include "reports/gnuplot.h"

enum { PROVIDER_STYLE = 100, SUBJECT_STYLE = 200, MAX_MARKS = 32 };

/* An interval is drawn where it is longer than its marker: 5 % of y on these axes. */
static const double visible_interval = 1.05;

typedef struct {
    double x_lo, x_hi, y_lo, y_hi;
} sq_span;

static sq_span span_of(const sq_series_set *set)
{
    sq_span span = {INFINITY, 0, INFINITY, 0};
    for (int i = 0; i < set->n_series; i++)
        for (int k = 0; k < set->series[i].n_points; k++) {
            const sq_point *p = &set->series[i].points[k];
            span.x_lo = fmin(span.x_lo, p->x);
            span.x_hi = fmax(span.x_hi, p->x);
            span.y_lo = fmin(span.y_lo, fmin(p->y, p->lo)); /* both ignore NAN */
            span.y_hi = fmax(span.y_hi, fmax(p->y, p->hi));
        }
    return span;
}

static bool is_near(double a, double b, double factor)
{
    return a < b * factor && b < a * factor;
}

/* Whether the two ends of a trace stand apart, so that each can be named. */
static bool is_extended(const sq_series *series)
{
    const sq_point *a = &series->points[0], *b = &series->points[series->n_points - 1];
    return !is_near(a->x, b->x, 1.5) || !is_near(a->y, b->y, 1.25);
}

/* Whether an end of an earlier trace carries the same length at the same place. */
static bool is_named_before(const sq_series_set *set, int series, const sq_point *point)
{
    for (int i = 0; i < series; i++)
        for (int k = 0; k < 2; k++) {
            const sq_series *other = &set->series[i];
            const sq_point *end = &other->points[k ? other->n_points - 1 : 0];
            if (is_extended(other) && end->length == point->length &&
                is_near(end->x, point->x, 1.2) && is_near(end->y, point->y, 1.1))
                return true;
        }
    return false;
}

/* x, y and a name: the length, at the ends of the traces of a roofline only. */
static void add_point(sq_text *script, const sq_series_set *set, int i, int k)
{
    const sq_series *series = &set->series[i];
    const sq_point *point = &series->points[k];
    char length[SQ_LENGTH_TEXT];
    sq_format_length(point->length, length);
    bool is_named = (k == 0 || k == series->n_points - 1) && is_extended(series) &&
                    !is_named_before(set, i, point);
    sq_text_printf(script, " %.9g %.9g %s\n", point->x, point->y, is_named ? length : "\"\"");
}

static void add_data(sq_text *script, const sq_series_set *set)
{
    sq_text_add(script, "$data << END_OF_DATA\n");
    for (int i = 0; i < set->n_series; i++) {
        for (int k = 0; k < set->series[i].n_points; k++)
            add_point(script, set, i, k);
        sq_text_add(script, "\n\n");
    }
    sq_text_add(script, "END_OF_DATA\n");
}

static void add_bars(sq_text *script, const sq_series_set *set)
{
    bool has_bars = false;
    sq_text_add(script, "$bars << END_OF_DATA\n");
    for (int i = 0; i < set->n_series; i++) {
        const sq_series *series = &set->series[i];
        const char *colour = sq_series_colour(series->subject, series->window);
        for (int k = 0; k < series->n_points; k++) {
            const sq_point *p = &series->points[k];
            if (!(p->lo > 0) || !(p->hi / p->lo > visible_interval))
                continue;
            has_bars = true;
            sq_text_printf(script, " %.9g %.9g %.9g 0x%s\n", p->x, p->lo, p->hi, colour + 1);
        }
    }
    sq_text_printf(script, "END_OF_DATA\nhas_bars = %d\n", has_bars);
}

static bool is_first_label(const sq_series_set *set, int i)
{
    return i == 0 || strcmp(set->series[i].label, set->series[i - 1].label) != 0;
}

static bool is_first_provider(const sq_series_set *set, int i)
{
    for (int k = 0; k < i; k++)
        if (!strcmp(set->series[k].provider, set->series[i].provider))
            return false;
    return true;
}

/* Line styles 1..n for the series, and the legend in two parts: colours for subjects, lines and
 * markers for providers. */
static void add_styles(sq_text *script, const sq_series_set *set)
{
    int subjects = 0, providers = 0;
    sq_text_printf(script, "n_series = %d\narray subject[%d]\narray provider[%d]\n", set->n_series,
                   set->n_series, set->n_series);
    for (int i = 0; i < set->n_series; i++) {
        const sq_series *series = &set->series[i];
        const char *colour = sq_series_colour(series->subject, series->window);
        const char *style = sq_provider_style(series->provider);
        sq_text_printf(script, "set style line %d lc rgb '%s' lw 1.8 %s\n", i + 1, colour, style);
        if (is_first_label(set, i)) {
            subjects++;
            sq_text_printf(script, "set style line %d lc rgb '%s' lw 4 dt 1 pt 0\nsubject[%d] = ",
                           SUBJECT_STYLE + subjects, colour, subjects);
            sq_gnuplot_quote(script, series->label);
            sq_text_add(script, "\n");
        }
        if (is_first_provider(set, i)) {
            providers++;
            sq_text_printf(script, "set style line %d lc rgb '#555555' lw 1.8 %s\nprovider[%d] = ",
                           PROVIDER_STYLE + providers, style, providers);
            sq_gnuplot_quote(script, series->provider);
            sq_text_add(script, "\n");
        }
    }
    sq_text_printf(script, "n_subjects = %d\nn_providers = %d\n", subjects, providers);
}

static void add_length_axis(sq_text *script, const sq_span *span)
{
    int first = (int)floor(log2(span->x_lo)), last = (int)ceil(log2(span->x_hi));
    int step = last - first > 12 ? 2 : 1;
    sq_text_printf(script, "set logscale x 2\nset xrange [%.9g:%.9g]\nset xtics (",
                   span->x_lo * 0.84, span->x_hi * 1.19);
    for (int k = first; k <= last; k++) {
        char length[SQ_LENGTH_TEXT];
        sq_format_length(ldexp(1, k), length);
        sq_text_printf(script, "%s'%s' %.9g", k > first ? ", " : "",
                       (k - first) % step ? "" : length, ldexp(1, k));
    }
    sq_text_add(script, ")\n");
}

/* A range of less than this factor would blow noise up. */
static const double least_range = 4;

/* Whether a tick at digit * 10^k has a label: all digits in one decade, 1 2 5 in a few. */
static bool is_labelled(int digit, double decades)
{
    if (digit == 1)
        return true;
    return decades < 1 ? digit <= 6 || digit == 8 : decades < 2.6 && (digit == 2 || digit == 5);
}

void sq_figure_value_axis(sq_text *script, double lo, double hi)
{
    double widen = hi / lo < least_range ? sqrt(least_range / (hi / lo)) : 1;
    lo /= widen;
    hi *= widen;
    double decades = log10(hi / lo), margin = pow(10, 0.06 * decades + 0.02);
    lo /= margin;
    hi *= margin;
    sq_text_printf(script, "set yrange [%.9g:%.9g]\nset ytics (", lo, hi);
    const char *comma = "";
    for (int k = (int)floor(log10(lo)); k <= (int)ceil(log10(hi)); k++)
        for (int digit = 1; digit <= 9; digit++) {
            double value = digit * pow(10, k);
            sq_text_add(script, comma);
            if (is_labelled(digit, decades))
                sq_text_printf(script, "gprintf(value_format, %.9g) %.9g", value, value);
            else
                sq_text_printf(script, "'' %.9g 1", value);
            comma = ", ";
        }
    sq_text_add(script, ")\n");
}

typedef struct {
    double length;
    const char *colour;
} sq_mark;

static int by_length(const void *a, const void *b)
{
    double x = ((const sq_mark *)a)->length, y = ((const sq_mark *)b)->length;
    return (x > y) - (x < y);
}

static int find_marks(const sq_series_set *set, sq_mark *marks)
{
    int count = 0;
    for (int i = 0; i < set->n_series; i++) {
        const sq_series *series = &set->series[i];
        sq_crossing crossing[MAX_MARKS];
        int found = sq_series_crossings(series, crossing, MAX_MARKS - count);
        for (int k = 0; k < found; k++)
            marks[count++] =
                (sq_mark){crossing[k].length, sq_series_colour(series->subject, series->window)};
    }
    qsort(marks, (size_t)count, sizeof *marks, by_length);
    return count;
}

/* A ring where a ratio passes 1 and a thin line down to its length; close neighbours are stacked.
 */
static void add_crossings(sq_text *script, const sq_series_set *set)
{
    sq_mark marks[MAX_MARKS];
    int count = find_marks(set, marks), tier = 0;
    for (int i = 0; i < count; i++) {
        char length[SQ_LENGTH_TEXT];
        sq_format_crossing(marks[i].length, length);
        tier = i && is_near(marks[i].length, marks[i - 1].length, 1.5) ? tier + 1 : 0;
        sq_text_printf(script,
                       "set label %d '' at %.9g,1 front point pt 6 ps 1.5 lw 2 lc rgb '%s'\n"
                       "set arrow %d from %.9g,1 to %.9g,graph 0 nohead lw 1 dt (2,3) lc rgb '%s'\n"
                       "set label %d '%s' at %.9g,graph %.3g left offset 0.5,0 front noenhanced "
                       "textcolor rgb '%s'\n",
                       2 * i + 1, marks[i].length, marks[i].colour, i + 1, marks[i].length,
                       marks[i].length, marks[i].colour, 2 * i + 2, length, marks[i].length,
                       0.03 + 0.042 * tier, marks[i].colour);
    }
}

static void add_title(sq_text *script, const sq_figure *figure, const sq_group *group)
{
    char detail[320];
    snprintf(detail, sizeof detail, "%s, %s %s, D = %.0f, %.0f %s", group->device, group->dtype,
             group->pass, group->width, group->amount,
             group->is_tokens    ? "tokens"
             : group->amount > 1 ? "sequences"
                                 : "sequence");
    sq_text_add(script, "title_text = ");
    sq_gnuplot_quote(script, figure->title);
    sq_text_add(script, "\ndetail_text = ");
    sq_gnuplot_quote(script, detail);
    sq_text_add(script, "\ndtype_text = ");
    sq_gnuplot_quote(script, group->dtype);
    sq_text_add(script, "\nbaseline_text = ");
    sq_gnuplot_quote(script, sq_baseline_of(figure->kind));
    sq_text_add(script, "\n");
}

static double or_zero(double value)
{
    return isfinite(value) ? value : 0;
}

/* y range of the data, and of the ceiling above it where the figure draws one. */
static void add_axes(sq_text *script, const sq_figure *figure, const sq_series_set *set,
                     const sq_group *group)
{
    sq_span span = span_of(set);
    if (figure->is_ratio) {
        span.y_lo = fmin(span.y_lo, 0.8);
        span.y_hi = fmax(span.y_hi, 1.25);
    }
    double top = figure->query == sq_figure_gbytes_sql ? group->copy_gbytes_per_s
                 : figure->query == sq_figure_tflops_sql || figure->is_roofline ? group->gemm_tflops
                                                                                : NAN;
    span.y_hi = fmax(span.y_hi, top); /* fmax ignores NAN */
    if (figure->is_roofline && isfinite(top))
        span.y_lo = fmin(span.y_lo, top / 30); /* so that the slope of the roof is seen */
    if (figure->is_roofline)
        sq_text_printf(script, "set logscale x 2\nset xrange [%.9g:%.9g]\n", fmin(span.x_lo / 2, 8),
                       fmax(span.x_hi * 2, 1024));
    else
        add_length_axis(script, &span);
    sq_figure_value_axis(script, span.y_lo, span.y_hi);
}

void sq_figure_outputs(const char *id, const char *plot, sq_text *script)
{
    sq_text_printf(script,
                   "set terminal svg size 960,540 dynamic font 'Helvetica,Arial,sans-serif,13' "
                   "background rgb 'white' noenhanced\nset output '%s.svg'\n",
                   id);
    sq_text_add(script, plot);
    sq_text_add(script, "set output\nif (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n"
                        "  set terminal pngcairo size 960,540 font 'DejaVu Sans,10' noenhanced\n"
                        "} else {\n  set terminal png size 960,540 noenhanced\n}\n");
    sq_text_printf(script, "set output '%s.png'\n", id);
    sq_text_add(script, plot); /* again: "replot" repeats one plot of several only */
    sq_text_add(script, "set output\n");
}

void sq_figure_script(const sq_figure *figure, const sq_group *group, const sq_series_set *set,
                      sq_text *script)
{
    sq_text_printf(script, "# %s: gnuplot %s.gp draws %s.svg and %s.png again.\n", figure->title,
                   figure->id, figure->id, figure->id);
    add_title(script, figure, group);
    sq_text_printf(script, "copy_gbytes_per_s = %.9g\ngemm_tflops = %.9g\ngemm_f32_tflops = %.9g\n",
                   or_zero(group->copy_gbytes_per_s), or_zero(group->gemm_tflops),
                   or_zero(group->gemm_f32_tflops));
    add_data(script, set);
    add_bars(script, set);
    add_styles(script, set);
    sq_text_add(script, sq_figure_style_gp);
    sq_text_add(script, figure->script);
    add_axes(script, figure, set, group);
    if (figure->is_ratio)
        add_crossings(script, set);
    sq_figure_outputs(figure->id, figure->is_roofline ? sq_figure_roof_gp : sq_figure_lines_gp,
                      script);
}
