/* gate_page: a gate as one offline page. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "reports/gated.h"
#include "reports/page.h"

static void add_count_fact(const char *what, int n, sq_text *page)
{
    char text[24];
    snprintf(text, sizeof text, "%d", n);
    if (n)
        sq_page_fact(page, what, text);
}

static void add_count_facts(const sq_judging *gate, sq_text *page)
{
    for (int i = 0; i < SQ_NIGHT_VERDICT_COUNT; i++)
        add_count_fact(sq_night_verdict_name((sq_night_verdict)i), gate->summary.count[i], page);
    for (sq_standing i = SQ_STANDING_PENDING; i <= SQ_STANDING_CONFIRMED; i++)
        add_count_fact(sq_standing_name(i), sq_gate_count(gate, i, i), page);
    add_count_fact("answered", sq_gate_answered(gate), page);
    add_count_fact("missing tonight", gate->missing, page);
}

static void add_summary(const sq_judging *gate, sq_text *page)
{
    sq_gate_end end = sq_gate_conclude(gate);
    sq_text notes = {.data = NULL};
    sq_text_printf(
        page, "<section id=\"summary\">\n<h2>Exit %d</h2>\n<p style=\"overflow-wrap: anywhere\">",
        end.code);
    sq_text_add_html(page, end.why);
    sq_text_add(page, "</p>\n<dl class=\"facts\">\n");
    sq_page_fact(page, "night", gate->options.night_text);
    sq_page_fact(page, "campaign", gate->options.night);
    sq_page_fact(page, "baseline", sq_gate_baseline_name(gate));
    sq_page_fact(page, "its campaign", gate->options.baseline);
    add_count_facts(gate, page);
    sq_text_add(page, "</dl>\n<pre>");
    sq_gate_notes(gate, &notes);
    sq_text_add_html(page, notes.length ? notes.data : "");
    sq_text_add(page, "</pre>\n</section>\n");
    sq_text_free(&notes);
}

/* Operator, provider, pass and type; its axes and modes smaller below. */
static void add_key(const char *key, sq_text *page)
{
    const char *axes = strchr(key, '=');
    while (axes && axes > key && *axes != '/')
        axes--;
    axes = axes ? axes : key + strlen(key);
    sq_text head = {.data = NULL};
    sq_text_add_n(&head, key, (size_t)(axes - key));
    sq_text_add(page, "<tr><th scope=\"row\">");
    sq_text_add_html(page, head.length ? head.data : "");
    sq_text_add(page, "<small class=\"cell\" title=\"");
    sq_text_add_html(page, key);
    sq_text_add(page, "\">");
    sq_text_add_html(page, axes + (*axes == '/'));
    sq_text_add(page, "</small></th>");
    sq_text_free(&head);
}

static void add_row(const sq_gate_row *row, sq_text *page)
{
    const sq_night_test *time = &row->result.test[SQ_NIGHT_TIME];
    sq_text what = {.data = NULL}, names = {.data = NULL};
    sq_gate_describe(row, &what);
    sq_gate_names(row, &names);
    add_key(sq_gate_key(row), page);
    sq_page_text(page, "", sq_night_verdict_name(row->result.verdict));
    sq_page_text(page, "", sq_gate_standing_word(row));
    sq_page_text(page, "", what.length ? what.data : "");
    sq_page_number(page, 100 * expm1(time->change.estimate));
    sq_page_number(page, 100 * expm1(time->change.lo));
    sq_page_number(page, 100 * expm1(time->change.hi));
    sq_page_number(page, 100 * expm1(row->again[SQ_NIGHT_TIME].estimate));
    sq_page_text(page, "wraps", row->cause);
    sq_page_text(page, "key", names.length ? names.data : "");
    sq_page_number(page, time->q);
    sq_page_number(page, 100 * expm1(time->detectable));
    sq_page_number(page, time->replicates > 0 ? (double)time->replicates : NAN);
    sq_text_add(page, "</tr>\n");
    sq_text_free(&what);
    sq_text_free(&names);
}

static void add_cells(const sq_judging *gate, sq_text *page)
{
    static const sq_page_head columns[] = {
        {"cell", "", "operator, provider, pass and type; axes and modes"},
        {"verdict", "", "of the cell"},
        {"confirmed", "", "what measuring again said"},
        {"what", "", "what is suspected"},
        {"time", "%", "change of the time"},
        {"lo", "%", "95 % interval"},
        {"hi", "%", "95 % interval"},
        {"again", "%", "change of the time when it was measured again beside the old program"},
        {"cause", "", "what is known of why"},
        {"ack", "", "names the verdict to seqmark ack"},
        {"q", "", "false discovery rate"},
        {"detectable", "%", "smallest change that this night finds"},
        {"wanted", "runs", "replicates a side that would settle it"}};
    sq_text_add(page, "<section id=\"cells\">\n<h2>Cells</h2>\n");
    sq_page_begin_table(page, "cells", "cells", "suspect attention");
    sq_page_columns(page, columns, sizeof columns / sizeof *columns);
    for (int i = 0; i < gate->n_rows; i++)
        add_row(&gate->row[i], page);
    sq_text_add(page, "</tbody></table></div>\n</section>\n");
}

void sq_gate_page(const sq_judging *gate, sq_text *out)
{
    sq_page_begin(out, "seqmark: a night beside its baseline",
                  "<a href=\"#summary\">Summary</a> <a href=\"#cells\">Cells</a>");
    add_summary(gate, out);
    add_cells(gate, out);
    sq_page_end(out);
}
