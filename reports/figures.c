#include "reports/figures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/table.h"
#include "reports/files.h"
#include "reports/gnuplot.h"

#define SQ_TEXTS(name) sq_figure_##name##_sql, sq_figure_##name##_gp, sq_figure_##name##_txt

const sq_figure sq_figures[] = {
    {"op_time", "Mixers: time of one launch", "op", SQ_TEXTS(time), false, false},
    {"op_tokens", "Mixers: tokens per second", "op", SQ_TEXTS(tokens), false, false},
    {"op_relative", "Mixers: speed relative to full attention", "op", SQ_TEXTS(relative), true,
     false},
    {"op_tflops", "Mixers: arithmetic throughput", "op", SQ_TEXTS(tflops), false, false},
    {"op_gbytes", "Mixers: memory throughput", "op", SQ_TEXTS(gbytes), false, false},
    {"op_memory", "Mixers: peak memory", "op", SQ_TEXTS(memory), false, false},
    {"op_roofline", "Mixers: roofline", "op", SQ_TEXTS(roofline), false, true},
    {"block_time", "Blocks: time of one forward pass", "block", SQ_TEXTS(time), false, false},
    {"block_tokens", "Blocks: tokens per second", "block", SQ_TEXTS(tokens), false, false},
    {"block_relative", "Blocks: speed relative to the transformer block", "block",
     SQ_TEXTS(relative), true, false},
    {"block_tflops", "Blocks: arithmetic throughput", "block", SQ_TEXTS(tflops), false, false},
    {"block_gbytes", "Blocks: memory throughput", "block", SQ_TEXTS(gbytes), false, false},
    {"block_memory", "Blocks: peak memory", "block", SQ_TEXTS(memory), false, false},
    {"block_roofline", "Blocks: roofline", "block", SQ_TEXTS(roofline), false, true},
    {0},
};

static void remove_old(const char *dir, const char *id)
{
    static const char *const ends[] = {"svg", "png", "csv", "gp"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char path[1100];
        snprintf(path, sizeof path, "%s/%s.%s", dir, id, ends[i]);
        unlink(path);
    }
}

static sq_status write_csv(const sq_figure *figure, const sq_series_set *set, const char *dir,
                           sq_error *err)
{
    static const char *const columns[] = {"subject", "provider", "L", "x", "y", "lo", "hi", NULL};
    sq_table *table = sq_table_new(columns);
    if (!table)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %s.csv", figure->id);
    for (int i = 0; i < set->n_series; i++)
        for (int k = 0; k < set->series[i].n_points; k++) {
            const sq_point *p = &set->series[i].points[k];
            const double numbers[] = {p->length, p->x, p->y, p->lo, p->hi};
            sq_table_text(table, set->series[i].label);
            sq_table_text(table, set->series[i].provider);
            for (int c = 0; c < 5; c++)
                sq_table_number(table, numbers[c], 6);
        }
    sq_text csv = {0};
    sq_status status = sq_table_render(table, SQ_FORMAT_CSV, &csv);
    char name[64];
    snprintf(name, sizeof name, "%s.csv", figure->id);
    if (status == SQ_OK)
        status = sq_write_file(dir, name, csv.data ? csv.data : "", err);
    sq_text_free(&csv);
    sq_table_free(table);
    return status;
}

static void first_line(const char *text, char *out, size_t size)
{
    while (*text == '\n' || *text == ' ')
        text++;
    snprintf(out, size, "%.*s", (int)strcspn(text, "\n"), text);
}

static sq_status draw(const sq_figure *figure, const sq_group *group, const sq_series_set *set,
                      const char *dir, const char *gnuplot, sq_figure_outcome *outcome, char *note,
                      size_t note_size, sq_error *err)
{
    sq_text script = {0}, talk = {0};
    sq_figure_script(figure, group, set, &script);
    char name[64];
    snprintf(name, sizeof name, "%s.gp", figure->id);
    sq_status status = script.is_failed ? sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %s", name)
                                        : sq_write_file(dir, name, script.data, err);
    if (status == SQ_OK && gnuplot) {
        /* A picture that cannot be drawn leaves a note, not a failed report. */
        sq_error why = {0};
        if (sq_gnuplot_run(gnuplot, dir, name, &talk, &why) == SQ_OK)
            *outcome = SQ_DRAWN;
        else
            first_line(why.message, note, note_size);
    }
    sq_text_free(&talk);
    sq_text_free(&script);
    return status;
}

sq_status sq_figure_render(const sq_scope *scope, const sq_figure *figure, const char *dir,
                           const char *gnuplot, sq_figure_outcome *outcome, sq_text *caption,
                           char *note, size_t note_size, sq_error *err)
{
    *outcome = SQ_NO_DATA;
    remove_old(dir, figure->id);
    sq_group group;
    sq_series_set set = {0};
    SQ_TRY(sq_group_read(scope, figure->kind, &group, err));
    if (!group.is_found)
        return SQ_OK;
    SQ_TRY(sq_series_read(scope, figure->query, figure->kind, &set, err));
    sq_status status = SQ_OK;
    if (set.n_series) {
        *outcome = SQ_NOT_DRAWN;
        sq_figure_caption(figure, &group, &set, caption);
        status = write_csv(figure, &set, dir, err);
        if (status == SQ_OK)
            status = draw(figure, &group, &set, dir, gnuplot, outcome, note, note_size, err);
    }
    sq_series_free(&set);
    return status;
}
