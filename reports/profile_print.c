/* profile_print: the profile of a run as text: the terminal page, and its sections as md. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/profile_data.h"

enum {
    LINE = 98,
    NAME = 18,
    BAR = 24,
    TEXT_AT = 56,
    LABEL = 11,
    SHOWN_STALLS = 6,
    SHOWN_POINTS = 12
};

/* --- lines --- */

/* `text` from column `at` on, wrapped at blanks and indented by `at`. */
static void add_wrapped(sq_text *out, const char *text, int at)
{
    int column = at;
    sq_text plain = {0};
    sq_text_add_plain(&plain, text);
    for (const char *c = plain.data ? plain.data : ""; *c; c += strspn(c, " ")) {
        size_t word = strcspn(c, " ");
        bool is_first = column == at;
        if (!is_first && column + 1 + (int)word > LINE) {
            sq_text_printf(out, "\n%*s", at, "");
            column = at;
        } else if (!is_first) {
            sq_text_add(out, " ");
            column++;
        }
        sq_text_add_n(out, c, word);
        column += (int)word;
        c += word;
    }
    sq_text_add(out, "\n");
    sq_text_free(&plain);
}

static void add_line(sq_text *out, const char *name, const char *text)
{
    sq_text_printf(out, "  %-8s ", name);
    add_wrapped(out, text, LABEL);
}

/* Sentences, as a paragraph. */
static void add_words(sq_text *out, const char *text)
{
    sq_text_add(out, "  ");
    add_wrapped(out, text, 2);
}

static void add_title(sq_text *out, const char *title)
{
    sq_text_printf(out, "\n%s\n\n", title);
}

/* "  name     84.1 %  [####....]  text" */
static void add_bar(sq_text *out, const char *name, double pct, const char *text)
{
    int filled = isnan(pct) ? 0 : (int)lround(fmin(fmax(pct, 0), 100) * BAR / 100);
    char bar[BAR + 1] = "";
    for (int i = 0; i < BAR; i++)
        bar[i] = i < filled ? '#' : '.';
    sq_text_add(out, "  ");
    sq_text_add_plain(out, name);
    sq_text_printf(out, "%*s", NAME - sq_text_width(name), "");
    if (isnan(pct))
        sq_text_add(out, "  absent");
    else
        sq_text_printf(out, "%6.1f %%", pct);
    sq_text_printf(out, "  [%s]", bar);
    sq_text_add(out, "  ");
    add_wrapped(out, text, TEXT_AT);
}

static sq_status add_table(sq_table *table, sq_format format, sq_text *out, sq_error *err)
{
    sq_status status = table ? sq_table_render(table, format, out) : SQ_OUT_OF_MEMORY;
    sq_table_free(table);
    return status == SQ_OK ? SQ_OK : sq_fail(err, status, "no memory for a table");
}

/* --- sections --- */

static void add_head(const sq_profile *p, sq_text *out)
{
    char text[900];
    const char *timing = sq_profile_fact_text(p, "SM clock while timing"),
               *counting = sq_profile_fact_text(p, "SM clock while counting");
    sq_text_add_plain(out, p->key);
    sq_text_add(out, "\n\n");
    snprintf(text, sizeof text, "%.120s, driver %.40s", p->device,
             sq_profile_fact_text(p, "Driver"));
    add_line(out, "device", text);
    snprintf(text, sizeof text, "%s%s%s", p->status, *p->reason ? ": " : "", p->reason);
    add_line(out, "status", text);
    sq_profile_time_text(p, text, sizeof text);
    add_line(out, "time", text);
    snprintf(text, sizeof text, "timed %.40s; counted and traced %.40s",
             sq_profile_fact_text(p, "Timed"), sq_profile_fact_text(p, "Counted and traced"));
    add_line(out, "modes", text);
    snprintf(text, sizeof text, "SM at %.40s while timing, %.40s while counting", timing, counting);
    if (strcmp(timing, "unknown") || strcmp(counting, "unknown"))
        add_line(out, "clock", text);
    sq_profile_proof_text(p, text, sizeof text);
    add_line(out, "proof", text);
    snprintf(text, sizeof text, "run %.80s; campaign %.200s", sq_profile_fact_text(p, "Run"),
             sq_profile_fact_text(p, "Campaign"));
    add_line(out, "stored", text);
}

static sq_status add_kernels(const sq_profile *p, sq_format format, sq_text *out, sq_error *err)
{
    static const char *const columns[] = {"kernel", "launches",  "share",         "time", "grid",
                                          "block",  "registers", "shared memory", NULL};
    char text[400], name[64];
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < p->n_kernels; i++) {
        const sq_profile_kernel *k = &p->kernel[i];
        sq_kernel_short_name(k->name, name, sizeof name);
        sq_table_text(table, name);
        sq_table_number(table, k->launches, 6);
        snprintf(text, sizeof text, "%.1f %%", 100 * k->ns / p->kernel_ns);
        sq_table_text(table, text);
        sq_format_ns(k->ns, text, sizeof text);
        sq_table_text(table, text);
        sq_table_text(table, k->grid);
        sq_table_text(table, k->block);
        sq_table_number(table, k->registers, 6);
        sq_format_bytes(k->shared_bytes, text, sizeof text);
        sq_table_text(table, text);
    }
    if (p->n_kernels)
        SQ_TRY(add_table(table, format, out, err));
    else
        sq_table_free(table);
    sq_profile_gap_text(p, text, sizeof text);
    sq_text_add(out, p->n_kernels && *text ? "\n" : "");
    if (*text)
        add_words(out, text);
    return SQ_OK;
}

static void add_absent(const sq_share *share, int n, sq_text *out)
{
    sq_text absent = {0};
    sq_share_absent_text(share, n, &absent);
    if (absent.length)
        add_words(out, absent.data);
    sq_text_free(&absent);
}

static void add_use(const sq_use *use, sq_text *out)
{
    char achieved[32], ceiling[32];
    sq_text text = {0};
    sq_format_quantity(use->achieved, achieved);
    sq_format_quantity(use->ceiling, ceiling);
    if (!isnan(use->achieved) && !isnan(use->ceiling))
        sq_text_printf(&text, "%s of %s %s; ", achieved, ceiling, use->unit);
    else if (!isnan(use->achieved))
        sq_text_printf(&text, "%s %s; ", achieved, use->unit);
    sq_text_add(&text, use->basis);
    add_bar(out, use->name, use->pct, text.data ? text.data : "");
    sq_text_free(&text);
}

static void add_uses(const sq_model *m, sq_text *out)
{
    sq_share share[SQ_USES];
    for (int i = 0; i < SQ_USES; i++) {
        const sq_use *use = &m->use[i];
        share[i] = (sq_share){.name = use->name, .pct = use->pct, .absent = use->basis};
        if (!isnan(use->pct))
            add_use(use, out);
    }
    add_absent(share, SQ_USES, out);
}

static sq_status add_levels(const sq_model *m, sq_text *out, sq_error *err)
{
    sq_share share[SQ_LEVELS];
    int n = 0;
    for (int i = 0; i < SQ_LEVELS; i++) {
        const sq_level *level = &m->level[i];
        share[i] = (sq_share){.name = level->name, .pct = level->bytes, .absent = level->absent};
        n += !isnan(level->bytes);
    }
    if (n)
        SQ_TRY(add_table(sq_profile_level_table(m), SQ_FORMAT_TABLE, out, err));
    else
        add_absent(share, SQ_LEVELS, out);
    return SQ_OK;
}

static void add_shares(const sq_share *share, int n, int most, sq_text *out)
{
    for (int i = 0, shown = 0; i < n && shown < most; i++)
        if (!isnan(share[i].pct) && ++shown)
            add_bar(out, share[i].name, share[i].pct, share[i].meaning ? share[i].meaning : "");
    if (!n)
        add_words(out, "None was counted.");
    add_absent(share, n, out);
}

/* Rows evenly spread over the series: a terminal is no plot. */
static sq_status add_some_rows(const sq_curve *series, sq_text *out, sq_error *err)
{
    sq_curve some = *series;
    double cells[SHOWN_POINTS * SQ_CURVE_COLUMNS];
    some.cell = cells;
    some.n_rows = series->n_rows < SHOWN_POINTS ? series->n_rows : SHOWN_POINTS;
    for (int i = 0; i < some.n_rows; i++) {
        long row = some.n_rows > 1 ? (long)i * (series->n_rows - 1) / (some.n_rows - 1) : 0;
        memcpy(cells + (size_t)i * (size_t)series->n_columns,
               series->cell + (size_t)row * (size_t)series->n_columns,
               sizeof *cells * (size_t)series->n_columns);
    }
    sq_text_add(out, "\n");
    return add_table(sq_curve_table(&some), SQ_FORMAT_TABLE, out, err);
}

static sq_status add_all_series(const sq_profile *p, const sq_profile_options *o, sq_text *out,
                                sq_error *err)
{
    char text[900];
    if (o->sustain) {
        add_title(out, "Burst and sustained");
        sq_curve_sustain_text(p, o->sustain, text, sizeof text);
        add_words(out, text);
        if (o->sustain->n_rows)
            SQ_TRY(add_some_rows(o->sustain, out, err));
    }
    if (o->timeline) {
        add_title(out, "Timeline");
        sq_curve_timeline_text(p, o->timeline, text, sizeof text);
        add_words(out, text);
        sq_text_add(out, o->timeline->n_rows ? "\n" : "");
        if (o->timeline->n_rows)
            SQ_TRY(add_table(sq_curve_summary(o->timeline), SQ_FORMAT_TABLE, out, err));
    }
    return SQ_OK;
}

static sq_status add_terminal(const sq_profile *p, const sq_model *m, const sq_profile_options *o,
                              sq_text *out, sq_error *err)
{
    add_head(p, out);
    add_title(out, "Verdict");
    add_words(out, m->verdict.words);
    add_title(out, "Where the time goes");
    SQ_TRY(add_kernels(p, SQ_FORMAT_TABLE, out, err));
    add_title(out, "Percent of each ceiling");
    add_uses(m, out);
    add_title(out, "Roofline");
    SQ_TRY(add_levels(m, out, err));
    add_title(out, "Instruction mix, percent of executed instructions");
    add_shares(m->mix, m->n_mix, m->n_mix, out);
    add_title(out, "Top stalls, percent of warp time");
    add_shares(m->stall, m->n_stalls, SHOWN_STALLS, out);
    return add_all_series(p, o, out, err);
}

/* --- md --- */

static sq_status add_md_table(const char *title, sq_table *table, sq_text *out, sq_error *err)
{
    if (table && !sq_table_rows(table)) {
        sq_table_free(table);
        return SQ_OK;
    }
    sq_text_printf(out, "\n## %s\n\n", title);
    return add_table(table, SQ_FORMAT_MD, out, err);
}

static sq_status add_md(const sq_profile *p, const sq_model *m, const sq_profile_options *o,
                        sq_text *out, sq_error *err)
{
    char text[900];
    sq_text_add(out, "# ");
    sq_text_add_md(out, p->key);
    sq_profile_time_text(p, text, sizeof text);
    sq_text_add(out, "\n\n");
    sq_text_add_md(out, text);
    sq_text_add(out, "\n\n");
    sq_text_add_md(out, m->verdict.words);
    sq_text_add(out, "\n");
    SQ_TRY(add_md_table("Where the time goes", sq_profile_kernel_table(p), out, err));
    SQ_TRY(add_md_table("Percent of each ceiling", sq_profile_use_table(m), out, err));
    SQ_TRY(add_md_table("Roofline", sq_profile_level_table(m), out, err));
    SQ_TRY(add_md_table("Instruction mix", sq_profile_mix_table(m), out, err));
    SQ_TRY(add_md_table("Stalls", sq_profile_stall_table(m), out, err));
    SQ_TRY(add_md_table("Proof", sq_profile_check_table(p), out, err));
    if (o->sustain)
        SQ_TRY(add_md_table("Burst and sustained", sq_curve_table(o->sustain), out, err));
    if (o->timeline)
        SQ_TRY(add_md_table("Timeline", sq_curve_table(o->timeline), out, err));
    return add_md_table("Values", sq_profile_value_table(p), out, err);
}

static sq_status add_any(const sq_profile *p, const sq_profile_options *o, sq_format format,
                         sq_text *out, sq_error *err)
{
    if (format == SQ_FORMAT_CSV || format == SQ_FORMAT_JSONL)
        return add_table(sq_profile_value_table(p), format, out, err);
    sq_model *model = malloc(sizeof *model);
    if (!model)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a profile");
    sq_model_of(p, model);
    sq_status status = SQ_OK;
    if (format == SQ_FORMAT_JSON)
        sq_profile_add_json(p, model, o, out);
    else
        status = format == SQ_FORMAT_MD ? add_md(p, model, o, out, err)
                                        : add_terminal(p, model, o, out, err);
    free(model);
    return status;
}

sq_status sq_profile_print(sq_db *db, const sq_profile_options *options, int format, sq_text *out,
                           sq_error *err)
{
    sq_profile profile;
    sq_status status = sq_profile_read(db, options->run_id, &profile, err);
    if (status == SQ_OK)
        status = add_any(&profile, options, (sq_format)format, out, err);
    if (status == SQ_OK && out->is_failed)
        status = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the output");
    sq_profile_free(&profile);
    return status;
}
