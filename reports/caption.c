/* caption: what a figure shows, under which conditions, and where ratios pass 1. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "reports/figures.h"

enum { MAX_CROSSINGS = 16 };

const char *sq_baseline_of(const char *kind)
{
    return strcmp(kind, "op") ? "transformer" : "attention";
}

void sq_format_crossing(double length, char out[SQ_LENGTH_TEXT])
{
    if (length >= 1024)
        snprintf(out, SQ_LENGTH_TEXT, "%.*fk", length < 100 * 1024 ? 1 : 0, length / 1024);
    else
        snprintf(out, SQ_LENGTH_TEXT, "%.0f", length);
}

static void add_conditions(const sq_group *group, sq_text *caption)
{
    sq_text_printf(caption,
                   " Width-matched, D = %.0f, %.0f %s at every length; %s, %s, cache %s, "
                   "launch %s, clocks %s, %s.",
                   group->width, group->amount,
                   group->is_tokens ? "tokens (B * L)" : "sequences (B)", group->pass, group->dtype,
                   group->cache, group->launch, group->clock_mode, group->device);
    if (group->left_out)
        sq_text_printf(caption, " %d cells of other shapes of this width are in the table only.",
                       group->left_out);
}

static void add_ceilings(const sq_group *group, sq_text *caption)
{
    if (isnan(group->copy_gbytes_per_s) && isnan(group->gemm_tflops)) {
        sq_text_add(caption, " No ceiling was measured on this device.");
        return;
    }
    sq_text_add(caption, " Measured ceilings:");
    if (isfinite(group->copy_gbytes_per_s))
        sq_text_printf(caption, " copy %.4g GB/s%s", group->copy_gbytes_per_s,
                       isfinite(group->gemm_tflops) ? "," : "");
    if (isfinite(group->gemm_tflops))
        sq_text_printf(caption, " %s GEMM %.4g TFLOP/s", group->dtype, group->gemm_tflops);
    sq_text_add(caption, ".");
    if (isnan(group->copy_gbytes_per_s) || isnan(group->gemm_tflops))
        sq_text_add(caption, " No roof is drawn: it takes both.");
}

static void add_verdict(const sq_series *series, const char *baseline, sq_text *caption)
{
    sq_crossing crossing[MAX_CROSSINGS];
    int count = sq_series_crossings(series, crossing, MAX_CROSSINGS);
    char length[SQ_LENGTH_TEXT];
    sq_text_printf(caption, " %s:", series->label);
    if (!count)
        sq_text_printf(caption, " %s than %s at every length",
                       series->points[0].y < 1 ? "slower" : "faster", baseline);
    for (int i = 0; i < count; i++) {
        sq_format_crossing(crossing[i].length, length);
        sq_text_printf(caption, "%s %s from L = %s", i ? "," : "",
                       crossing[i].is_rising ? "faster" : "slower", length);
    }
    const sq_point *last = &series->points[series->n_points - 1];
    sq_format_length(last->length, length);
    sq_text_printf(caption, ", %.3g times the speed at L = %s.", last->y, length);
}

void sq_figure_caption(const sq_figure *figure, const sq_group *group, const sq_series_set *set,
                       sq_text *caption)
{
    sq_text_add_n(caption, figure->caption, strcspn(figure->caption, "\n"));
    add_conditions(group, caption);
    if (figure->is_roofline)
        add_ceilings(group, caption);
    if (figure->is_ratio) {
        sq_text_add(caption, " Crossover lengths are interpolated between neighbouring lengths in "
                             "log-log; within 2 % is a tie.");
        for (int i = 0; i < set->n_series; i++)
            add_verdict(&set->series[i], sq_baseline_of(figure->kind), caption);
    }
}
