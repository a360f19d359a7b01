/* profile_plot: the roofline of one cell and its numbers over time, as gnuplot scripts. What comes
 * from the store enters them as numbers, or quoted by sq_gnuplot_quote. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "reports/figures.h"
#include "reports/files.h"
#include "reports/gnuplot.h"
#include "reports/profile_data.h"
#include "reports/query.h"

static const char *const level_colours[SQ_LEVELS] = {"#0072b2", "#d1380b", "#009e73"};

static void add_string(sq_text *script, const char *name, const char *text)
{
    sq_text_printf(script, "%s = ", name);
    sq_gnuplot_quote(script, text);
    sq_text_add(script, "\n");
}

static void add_title(sq_text *script, const char *title, const sq_profile *p)
{
    char detail[512];
    snprintf(detail, sizeof detail, "%.100s: %.120s%s", p->device, p->key,
             strlen(p->key) > 120 ? " ..." : "");
    add_string(script, "title_text", title);
    add_string(script, "detail_text", detail);
}

/* Writes <id>.gp and runs it. A picture that cannot be drawn leaves a note, not a failed page. */
static sq_status draw(sq_plotter *plotter, const char *id, const sq_text *script, bool *is_drawn,
                      sq_error *err)
{
    char name[64];
    sq_text talk = {0};
    sq_error why = {0};
    *is_drawn = false;
    snprintf(name, sizeof name, "%s.gp", id);
    if (script->is_failed)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %s", name);
    SQ_TRY(sq_write_file(plotter->dir, name, script->data, err));
    if (!plotter->gnuplot)
        return SQ_OK;
    *is_drawn = sq_gnuplot_run(plotter->gnuplot, plotter->dir, name, &talk, &why) == SQ_OK;
    if (!*is_drawn && !*plotter->note)
        snprintf(plotter->note, sizeof plotter->note, "%.*s", (int)strcspn(why.message, "\n"),
                 why.message);
    sq_text_free(&talk);
    return SQ_OK;
}

/* --- roofline --- */

static double or_zero(double value)
{
    return isfinite(value) ? value : 0;
}

/* What the level could reach at its intensity. */
static double roof_at(const sq_model *m, const sq_level *level)
{
    double slope = level->roof_gbytes_per_s * level->intensity / 1e3;
    return isnan(m->flat_tflops) ? slope : fmin(slope, m->flat_tflops);
}

static void add_roofs(sq_text *script, const sq_model *m)
{
    int n = 0;
    char name[128];
    sq_text_printf(script, "array roof_gbytes[%d]\narray roof_colour[%d]\narray roof_name[%d]\n",
                   SQ_LEVELS, SQ_LEVELS, SQ_LEVELS);
    for (int i = 0; i < SQ_LEVELS; i++) {
        const sq_level *level = &m->level[i];
        if (isnan(level->roof_gbytes_per_s))
            continue;
        n++;
        sq_text_printf(script, "roof_gbytes[%d] = %.9g\nroof_colour[%d] = 0x%s\n", n,
                       level->roof_gbytes_per_s, n, level_colours[i] + 1);
        snprintf(name, sizeof name, "%s%s %.0f GB/s", level->name,
                 strcmp(level->roof, "theoretical") ? "" : " (theoretical)",
                 level->roof_gbytes_per_s);
        sq_text_printf(script, "roof_name[%d] = ", n);
        sq_gnuplot_quote(script, name);
        sq_text_add(script, "\n");
    }
    sq_text_printf(script, "n_roofs = %d\nflat_tflops = %.9g\nsimt_tflops = %.9g\n", n,
                   or_zero(m->flat_tflops), or_zero(m->simt_tflops));
    snprintf(name, sizeof name, "%s %.4g TFLOP/s", "matrix products", m->flat_tflops);
    add_string(script, "flat_name", name);
    snprintf(name, sizeof name, "f32 arithmetic %.4g TFLOP/s", m->simt_tflops);
    add_string(script, "simt_name", name);
}

/* The points, and from each a drop line to its roof. */
static int add_levels(sq_text *script, const sq_model *m)
{
    int n = 0;
    char name[128];
    sq_text drops = {0}, settings = {0};
    sq_text_add(script, "$level << END_OF_DATA\n");
    for (int i = 0; i < SQ_LEVELS; i++) {
        const sq_level *level = &m->level[i];
        if (isnan(level->intensity))
            continue;
        n++;
        double roof = roof_at(m, level);
        sq_text_printf(script, " %.9g %.9g\n\n\n", level->intensity, m->tflops);
        sq_text_printf(&drops, " %.9g %.9g\n %.9g %.9g\n\n\n", level->intensity, m->tflops,
                       level->intensity, isnan(roof) ? m->tflops : roof);
        sq_text_printf(&settings, "level_colour[%d] = 0x%s\nlevel_name[%d] = ", n,
                       level_colours[i] + 1, n);
        if (isnan(roof))
            snprintf(name, sizeof name, "at %s", level->name);
        else
            snprintf(name, sizeof name, "at %s: %.0f %% of its roof", level->name,
                     100 * m->tflops / roof);
        sq_gnuplot_quote(&settings, name);
        sq_text_add(&settings, "\n");
    }
    sq_text_printf(script, "END_OF_DATA\n$drop << END_OF_DATA\n%sEND_OF_DATA\n",
                   drops.data ? drops.data : "");
    sq_text_printf(script, "n_levels = %d\narray level_colour[%d]\narray level_name[%d]\n%s", n,
                   SQ_LEVELS, SQ_LEVELS, settings.data ? settings.data : "");
    script->is_failed = script->is_failed || drops.is_failed || settings.is_failed;
    sq_text_free(&drops);
    sq_text_free(&settings);
    return n;
}

static void add_ranges(sq_text *script, const sq_model *m)
{
    double x_lo = 1, x_hi = 1024, top = fmax(fmax(m->flat_tflops, m->simt_tflops), m->tflops);
    double lowest = m->tflops;
    for (int i = 0; i < SQ_LEVELS; i++) {
        x_lo = fmin(x_lo, m->level[i].intensity / 2); /* fmin passes over NAN */
        x_hi = fmax(x_hi, m->level[i].intensity * 2);
    }
    if (m->compulsory_intensity > 0)
        x_hi = fmax(x_hi, m->compulsory_intensity * 2);
    sq_text_printf(script, "set xrange [%.9g:%.9g]\n", x_lo, x_hi);
    sq_figure_value_axis(script, fmin(lowest / 2, top / 100), top);
}

sq_status sq_plot_roofline(sq_plotter *plotter, const sq_profile *p, const sq_model *m,
                           bool *is_drawn, sq_error *err)
{
    sq_text script = {0};
    *is_drawn = false;
    bool has_compulsory = m->compulsory_intensity > 0;
    if (!(m->tflops > 0) || (isnan(m->level[0].intensity) && !has_compulsory))
        return SQ_OK;
    add_title(&script, "Hierarchical roofline", p);
    add_roofs(&script, m);
    add_levels(&script, m);
    sq_text_printf(&script,
                   "has_compulsory = %d\n$compulsory << END_OF_DATA\n %.9g %.9g\nEND_OF_DATA\n",
                   has_compulsory, has_compulsory ? m->compulsory_intensity : 1, m->tflops);
    sq_text_add(&script, sq_figure_style_gp);
    sq_text_add(&script, sq_figure_profile_roofline_gp);
    add_ranges(&script, m);
    sq_figure_outputs("roofline", sq_figure_profile_roofplot_gp, &script);
    sq_status status = draw(plotter, "roofline", &script, is_drawn, err);
    sq_text_free(&script);
    return status;
}

/* --- numbers over time --- */

enum { LINES = 8 };

/* One panel: columns by their names, with what the legend calls them; one alone needs none. */
static const struct {
    const char *label;
    double scale;
    struct {
        const char *column, *name;
    } line[LINES];
} panels[] = {
    {"launches/s", 1, {{"launches_per_s", ""}}},
    {"SM clock (MHz)", 1, {{"sm_mhz", ""}}},
    {"power (W)", 1, {{"power_w", ""}}},
    {"temp. (C)", 1, {{"temperature_c", ""}}},
    {"% of peak",
     1,
     {{"pm_sm_active_pct", "SMs busy"},
      {"pm_warps_pct", "warps resident"},
      {"pm_issue_pct", "issue"},
      {"pm_tensor_pct", "tensor"},
      {"pm_fma_pct", "fma"},
      {"pm_alu_pct", "alu"},
      {"pm_xu_pct", "xu"}}},
    {"% of peak",
     1,
     {{"pm_dram_read_pct", "DRAM read"},
      {"pm_dram_write_pct", "DRAM write"},
      {"pm_l2_pct", "L2"},
      {"pm_l1_pct", "L1"},
      {"pm_shared_pct", "shared memory"},
      {"pm_l2_hit_pct", "L2 hit rate"}}},
    {"SM clock (MHz)", 1e-6, {{"pm_sm_hz", ""}}},
};
enum { PANELS = sizeof panels / sizeof panels[0] };

static const char *const line_colours[LINES] = {"#0072b2", "#d1380b", "#009e73", "#a5549c",
                                                "#e69f00", "#4cb4e7", "#8c6d31", "#555555"};

static int column_of(const sq_curve *series, const char *name)
{
    for (int i = 1; i < series->n_columns; i++)
        if (!strcmp(series->column[i], name))
            return i;
    return -1;
}

/* 0 where there is nothing but 0 to see. */
static double highest_of(const sq_curve *s, int column)
{
    double highest = 0;
    for (int i = 0; column > 0 && i < s->n_rows; i++)
        highest = fmax(highest, sq_curve_row(s, i)[column]);
    return isfinite(highest) ? highest : 0;
}

static void add_series_data(sq_text *script, const sq_curve *s)
{
    sq_text_add(script, "$data << END_OF_DATA\n");
    for (int i = 0; i < s->n_rows; i++) {
        for (int k = 0; k < s->n_columns; k++) {
            double value = sq_curve_row(s, i)[k];
            if (isfinite(value))
                sq_text_printf(script, " %.9g", value);
            else
                sq_text_add(script, " NaN");
        }
        sq_text_add(script, "\n");
    }
    sq_text_add(script, "END_OF_DATA\n");
}

/* From 0, with three to six tics: 1, 2 or 5 by a power of ten apart. */
static void add_axis(sq_text *plot, double highest)
{
    double step = pow(10, floor(log10(highest / 3)));
    step *= highest / step >= 15 ? 5 : highest / step >= 6 ? 2 : 1;
    sq_text_printf(plot, "set yrange [0:%.9g]\nset ytics %.9g\n", 1.06 * highest, step);
}

/* One "plot" command; *n counts its lines. */
static void add_panel(sq_text *plot, const sq_curve *s, int panel, int *n)
{
    sq_text lines = {0};
    double highest = 0;
    *n = 0;
    for (int k = 0; k < LINES && panels[panel].line[k].column; k++) {
        int column = column_of(s, panels[panel].line[k].column);
        double top = highest_of(s, column) * panels[panel].scale;
        if (!(top > 0))
            continue;
        sq_text_printf(&lines,
                       "%s$data using (time_scale*$1):(%g*$%d) with lines lw 1.8 lc rgb '%s' "
                       "title '%s'",
                       *n ? ", \\\n     " : "plot ", panels[panel].scale, column + 1,
                       line_colours[k], panels[panel].line[k].name);
        highest = fmax(highest, top);
        ++*n;
    }
    if (*n) {
        add_axis(plot, highest);
        sq_text_printf(plot, "set ylabel '%s' noenhanced\n%s\n", panels[panel].label, lines.data);
    }
    plot->is_failed = plot->is_failed || lines.is_failed;
    sq_text_free(&lines);
}

/* *has_legend: some panel has several lines. */
static int count_panels(const sq_curve *series, bool *has_legend)
{
    int shown = 0, n;
    *has_legend = false;
    for (int i = 0; i < PANELS; i++) {
        sq_text ignored = {0};
        add_panel(&ignored, series, i, &n);
        shown += n > 0;
        *has_legend = *has_legend || n > 1;
        sq_text_free(&ignored);
    }
    return shown;
}

/* The panels share the time axis, whose numbers the last one carries; the first has the title. */
static int add_panels(sq_text *plot, const sq_curve *series)
{
    bool has_legend;
    int shown = count_panels(series, &has_legend), done = 0;
    sq_text_printf(plot,
                   "set multiplot layout %d,1 margins 0.09,%s,0.14,0.86 spacing 0,0.045\n"
                   "set label 1001 title_text at screen 0.02,0.955 font ',15' noenhanced "
                   "textcolor rgb '#111111'\n"
                   "set label 1002 detail_text at screen 0.02,0.905 noenhanced textcolor rgb "
                   "'#555555'\nset format x ''\nset xlabel\n",
                   shown ? shown : 1, has_legend ? "0.8" : "0.97");
    for (int i = 0; i < PANELS; i++) {
        int n;
        sq_text panel = {0};
        add_panel(&panel, series, i, &n);
        if (n && ++done == shown)
            sq_text_add(plot, "set format x '%g'\nset xlabel time_text noenhanced\n");
        if (n)
            sq_text_add(plot, panel.data);
        if (done == 1)
            sq_text_add(plot, "unset label 1001\nunset label 1002\n");
        plot->is_failed = plot->is_failed || panel.is_failed;
        sq_text_free(&panel);
    }
    sq_text_add(plot, "unset multiplot\n");
    return shown;
}

sq_status sq_plot_curve(sq_plotter *plotter, const char *id, const char *title, const sq_profile *p,
                        const sq_curve *series, bool *is_drawn, sq_error *err)
{
    sq_text script = {0}, plot = {0};
    sq_status status = SQ_OK;
    *is_drawn = false;
    double end = series->n_rows ? sq_curve_row(series, series->n_rows - 1)[0] : 0;
    if (add_panels(&plot, series) && series->n_rows > 1) {
        add_title(&script, title, p);
        sq_text_printf(&script, "time_scale = %s\ntime_text = '%s'\n", end < 0.5 ? "1e3" : "1",
                       end < 0.5 ? "time (ms)" : "time (s)");
        add_series_data(&script, series);
        sq_text_add(&script, sq_figure_profile_series_gp);
        sq_figure_outputs(id, plot.data, &script);
        script.is_failed = script.is_failed || plot.is_failed;
        status = draw(plotter, id, &script, is_drawn, err);
    }
    sq_text_free(&script);
    sq_text_free(&plot);
    return status;
}
