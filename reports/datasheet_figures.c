/* datasheet_figures: the two figures of a data sheet as gnuplot scripts. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "reports/datasheet.h"
#include "reports/figures.h"
#include "reports/gnuplot.h"

static const double least_intensity = 0.125, most_intensity = 2048;

/* A level of memory, or a unit that computes. */
typedef struct {
    const char *ceiling, *label, *colour;
    bool is_dashed;
} line;

static const line slopes[] = {
    {"copy_gbytes_per_s", "DRAM copy", "#0072b2", false},
    {"l2_read_gbytes_per_s", "L2 read", "#56b4e9", false},
    {"shared_read_gbytes_per_s", "shared memory read", "#999999", false},
};

static const line roofs[] = {
    {"gemm_fp8_tflops", "fp8", "#cc79a7", false},
    {"gemm_fp8_sustained_tflops", "fp8 sustained", "#cc79a7", true},
    {"gemm_bf16_tflops", "bf16", "#d55e00", false},
    {"gemm_bf16_sustained_tflops", "bf16 sustained", "#d55e00", true},
    {"gemm_tf32_tflops", "tf32", "#e69f00", false},
    {"gemm_tf32_sustained_tflops", "tf32 sustained", "#e69f00", true},
    {"fma_f32_tflops", "f32 multiply-add", "#009e73", false},
};

enum { N_SLOPES = sizeof slopes / sizeof slopes[0], N_ROOFS = sizeof roofs / sizeof roofs[0] };

static double value_of(const sq_datasheet *sheet, const char *name)
{
    return sq_ceiling_value(sheet->ceiling, sheet->n, name);
}

static double highest_roof(const sq_datasheet *sheet)
{
    double top = NAN;
    for (int i = 0; i < N_ROOFS; i++)
        top = fmax(top, value_of(sheet, roofs[i].ceiling)); /* fmax passes over NAN */
    return top;
}

static void add_title(sq_text *script, const sq_datasheet *sheet, const char *id, const char *title,
                      const char *detail)
{
    sq_text_printf(script, "# %s: gnuplot %s.gp draws it again.\ntitle_text = ", title, id);
    sq_gnuplot_quote(script, title);
    sq_text_add(script, "\ndetail_text = ");
    char text[256];
    snprintf(text, sizeof text, "%.127s, %s", sheet->device.name, detail);
    sq_gnuplot_quote(script, text);
    sq_text_add(script, "\n");
    sq_text_add(script, sq_figure_style_gp);
}

/* --- roofline --- */

/* The data and the plot command of a figure of straight lines. */
typedef struct {
    sq_text data, plot;
    int n;
} drawing;

static void add_line(drawing *all, const line *l, const double from[2], const double to[2])
{
    sq_text_printf(&all->data, " %.9g %.9g\n %.9g %.9g\n\n\n", from[0], from[1], to[0], to[1]);
    sq_text_printf(&all->plot, "%s$lines index %d using 1:2 with lines lw 2 %s lc rgb '%s' notitle",
                   all->n ? ", " : "plot ", all->n, l->is_dashed ? "dt (8,5)" : "dt 1", l->colour);
    all->n++;
}

static void add_label(sq_text *script, const char *text, const char *colour, double x, double y,
                      const char *where)
{
    sq_text_add(script, "set label ");
    sq_gnuplot_quote(script, text);
    sq_text_printf(script, " at %.9g,%.9g %s noenhanced textcolor rgb '%s' font ',11'\n", x, y,
                   where, colour);
}

/* A slope from the left edge to the highest roof, named along itself near its foot. */
static void add_slope(sq_text *script, drawing *all, const line *l, double gbytes, double top,
                      double angle)
{
    double end = 1e3 * top / gbytes;
    const double from[2] = {least_intensity, 1e-3 * gbytes * least_intensity};
    const double to[2] = {fmin(end, most_intensity), 1e-3 * gbytes * fmin(end, most_intensity)};
    char text[96], where[64];
    snprintf(text, sizeof text, "%s %.4g GB/s", l->label, gbytes);
    snprintf(where, sizeof where, "left rotate by %.3g offset 0.3,0.7", angle);
    add_line(all, l, from, to);
    add_label(script, text, l->colour, from[0] * 1.15, from[1] * 1.15, where);
}

typedef struct {
    const line *line;
    double value;
} roof;

/* Known roofs, highest first. */
static int sort_roofs(const sq_datasheet *sheet, roof *out)
{
    int n = 0;
    for (int i = 0; i < N_ROOFS; i++) {
        double value = value_of(sheet, roofs[i].ceiling);
        if (!(value > 0))
            continue;
        int at = n++;
        for (; at > 0 && out[at - 1].value < value; at--)
            out[at] = out[at - 1];
        out[at] = (roof){&roofs[i], value};
    }
    return n;
}

/* Names beside the right edge, apart enough to be read. `step`: least ratio of neighbours. */
static void add_roofs(sq_text *script, drawing *all, const roof *list, int n, double widest,
                      double step)
{
    double place = INFINITY;
    for (int i = 0; i < n; i++) {
        const double start = isnan(widest) ? least_intensity : 1e3 * list[i].value / widest;
        const double from[2] = {fmax(start, least_intensity), list[i].value};
        const double to[2] = {most_intensity, list[i].value};
        char text[96];
        snprintf(text, sizeof text, "%s %.4g", list[i].line->label, list[i].value);
        place = fmin(list[i].value, place / step);
        add_line(all, list[i].line, from, to);
        add_label(script, text, list[i].line->colour, most_intensity, place, "left offset 1,0");
    }
}

static void add_csv(const sq_datasheet *sheet, const line *lines, int n, sq_text *csv)
{
    for (int i = 0; i < n; i++) {
        double value = value_of(sheet, lines[i].ceiling);
        if (value > 0)
            sq_text_printf(csv, "%s,%.9g\n", lines[i].ceiling, value);
    }
}

/* The widest slope, and the lowest point of any; NAN and INFINITY where no level is known. */
static void span_slopes(const sq_datasheet *sheet, double *widest, double *bottom)
{
    *widest = NAN;
    *bottom = INFINITY;
    for (int i = 0; i < N_SLOPES; i++) {
        double gbytes = value_of(sheet, slopes[i].ceiling);
        if (gbytes > 0)
            *bottom = fmin(*bottom, 1e-3 * gbytes * least_intensity);
        *widest = fmax(*widest, gbytes);
    }
}

static void draw_lines(sq_text *script, drawing *all, const char *id)
{
    sq_text_add(&all->plot, "\n");
    script->is_failed = script->is_failed || all->data.is_failed || all->plot.is_failed;
    if (!script->is_failed) {
        sq_text_printf(script, "$lines << END_OF_DATA\n%sEND_OF_DATA\n", all->data.data);
        sq_figure_outputs(id, all->plot.data, script);
    }
    sq_text_free(&all->data);
    sq_text_free(&all->plot);
}

bool sq_datasheet_roofline(const sq_datasheet *sheet, const char *id, sq_text *script, sq_text *csv)
{
    double top = highest_roof(sheet), widest, bottom;
    roof list[N_ROOFS];
    drawing all = {.n = 0};
    int n = sort_roofs(sheet, list);
    span_slopes(sheet, &widest, &bottom);
    if (n == 0 || isinf(bottom))
        return false;
    bottom = fmin(bottom, list[n - 1].value);
    add_title(script, sheet, id, "Roofline", "measured");
    sq_text_printf(script, "value_format = '%%g'\nset xrange [%g:%g]\n", least_intensity,
                   most_intensity);
    sq_figure_value_axis(script, bottom, top);
    sq_text_add(script, sq_figure_datasheet_roofline_gp);
    /* A slope of 1 in log-log, as degrees on a plot area of about 650 x 420. */
    double decades_y = log10(top / bottom) * 1.12,
           decades_x = log10(most_intensity / least_intensity);
    double angle = atan2(420 / decades_y, 650 / decades_x) * 57.29578;
    for (int i = 0; i < N_SLOPES; i++)
        if (value_of(sheet, slopes[i].ceiling) > 0)
            add_slope(script, &all, &slopes[i], value_of(sheet, slopes[i].ceiling), top, angle);
    add_roofs(script, &all, list, n, widest, pow(10, decades_y / 22));
    draw_lines(script, &all, id);
    sq_text_add(csv, "ceiling,value\n");
    add_csv(sheet, slopes, N_SLOPES, csv);
    add_csv(sheet, roofs, N_ROOFS, csv);
    return true;
}

/* --- burst and sustained --- */

static const struct {
    const char *label, *burst, *sustained;
} products[] = {
    {"fp8", "gemm_fp8_tflops", "gemm_fp8_sustained_tflops"},
    {"int8", "gemm_int8_tops", "gemm_int8_sustained_tops"},
    {"bf16", "gemm_bf16_tflops", "gemm_bf16_sustained_tflops"},
    {"f16", "gemm_f16_tflops", "gemm_f16_sustained_tflops"},
    {"tf32", "gemm_tf32_tflops", "gemm_tf32_sustained_tflops"},
    {"f32", "gemm_f32_tflops", "gemm_f32_sustained_tflops"},
};

static double clock_of(const sq_datasheet *sheet, const char *name)
{
    for (int i = 0; i < sheet->n; i++)
        if (strcmp(sheet->ceiling[i].name, name) == 0)
            return sheet->ceiling[i].sm_mhz;
    return NAN;
}

/* A field of the csv; empty where the number is unknown. */
static void add_field(sq_text *csv, double value, const char *end)
{
    if (!isnan(value))
        sq_text_printf(csv, "%.9g", value);
    sq_text_add(csv, end);
}

/* Value and clock above a bar. */
static void add_bar_label(sq_text *script, double x, double value, double clock)
{
    if (!(value > 0))
        return;
    sq_text_printf(script, "set label \"%.4g", value);
    if (clock > 0)
        sq_text_printf(script, "\\n%.0f MHz", clock);
    sq_text_printf(script, "\" at %g,%.9g center offset 0,%s font ',10' textcolor rgb '#333333'\n",
                   x, value, clock > 0 ? "1.4" : "0.6");
}

bool sq_datasheet_bursts(const sq_datasheet *sheet, const char *id, sq_text *script, sq_text *csv)
{
    double top = 0;
    int n = 0;
    sq_text rows = {0}, tics = {0}, labels = {0};
    sq_text_add(csv, "type,burst,sustained,burst_sm_mhz,sustained_sm_mhz\n");
    for (size_t i = 0; i < sizeof products / sizeof products[0]; i++) {
        double burst = value_of(sheet, products[i].burst);
        double sustained = value_of(sheet, products[i].sustained);
        if (!(burst > 0) || !(sustained > 0))
            continue;
        double clocks[2] = {clock_of(sheet, products[i].burst),
                            clock_of(sheet, products[i].sustained)};
        sq_text_printf(&rows, " %d %.9g %.9g\n", n, burst, sustained);
        sq_text_printf(&tics, "%s'%s' %d", n ? ", " : "", products[i].label, n);
        add_bar_label(&labels, n - 0.2, burst, clocks[0]);
        add_bar_label(&labels, n + 0.2, sustained, clocks[1]);
        sq_text_printf(csv, "%s,%.9g,%.9g,", products[i].label, burst, sustained);
        add_field(csv, clocks[0], ",");
        add_field(csv, clocks[1], "\n");
        top = fmax(top, fmax(burst, sustained));
        n++;
    }
    if (n > 0) {
        add_title(script, sheet, id, "Matrix products: burst and sustained", "cublasLt");
        sq_text_printf(script, "$data << END_OF_DATA\n%sEND_OF_DATA\n", rows.data);
        sq_text_add(script, sq_figure_datasheet_bursts_gp);
        sq_text_printf(script, "set xtics (%s)\nset xrange [-0.6:%g]\nset yrange [0:%.9g]\n%s",
                       tics.data, n - 0.4, 1.22 * top, labels.data);
        sq_figure_outputs(id,
                          "plot $data using ($1-0.2):2 with boxes lc rgb '#0072b2' title 'burst', "
                          "$data using ($1+0.2):3 with boxes lc rgb '#e69f00' title 'sustained'\n",
                          script);
    }
    script->is_failed = script->is_failed || rows.is_failed || tics.is_failed || labels.is_failed;
    sq_text_free(&rows);
    sq_text_free(&tics);
    sq_text_free(&labels);
    return n > 0;
}
