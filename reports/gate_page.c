/* gate_page: a gate as one offline page. */
#include <math.h>
#include <stdio.h>

#include "reports/gated.h"
#include "reports/page.h"

static void add_count_facts(const sq_judging *gate, sq_text *page)
{
    char n[24];
    for (int i = 0; i < SQ_NIGHT_VERDICT_COUNT; i++) {
        snprintf(n, sizeof n, "%d", gate->summary.count[i]);
        if (gate->summary.count[i])
            sq_page_fact(page, sq_night_verdict_name((sq_night_verdict)i), n);
    }
}

static void add_summary(const sq_judging *gate, sq_text *page)
{
    sq_gate_end end = sq_gate_conclude(gate);
    sq_text notes = {.data = NULL};
    sq_text_printf(page, "<section id=\"summary\">\n<h2>Exit %d</h2>\n<p style=\"overflow-wrap: anywhere\">", end.code);
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

static void add_row(const sq_gate_row *row, sq_text *page)
{
    const sq_night_test *time = &row->result.test[SQ_NIGHT_TIME];
    sq_text what = {.data = NULL};
    sq_gate_describe(row, &what);
    sq_text_add(page, "<tr><th scope=\"row\">");
    sq_text_add_html(page, sq_night_verdict_name(row->result.verdict));
    sq_text_add(page, "</th>");
    sq_page_text(page, "", sq_standing_name(sq_gate_standing(row)));
    sq_page_text(page, "", what.length ? what.data : "");
    sq_page_number(page, 100 * expm1(time->change.estimate));
    sq_page_number(page, 100 * expm1(time->change.lo));
    sq_page_number(page, 100 * expm1(time->change.hi));
    sq_page_number(page, time->q);
    sq_page_number(page, 100 * expm1(time->detectable));
    sq_page_number(page, time->replicates > 0 ? (double)time->replicates : NAN);
    sq_page_text(page, "", row->cause);
    sq_page_text(page, "", sq_gate_key(row));
    sq_text_add(page, "</tr>\n");
    sq_text_free(&what);
}

static void add_cells(const sq_judging *gate, sq_text *page)
{
    static const sq_page_head columns[] = {
        {"verdict", "", "of the cell"},
        {"confirmed", "", "what measuring again said"},
        {"what", "", "what is suspected"},
        {"time", "%", "change of the time"},
        {"lo", "%", "95 % interval"},
        {"hi", "%", "95 % interval"},
        {"q", "", "false discovery rate"},
        {"detectable", "%", "smallest change that this night finds"},
        {"wanted", "runs", "replicates a side that would settle it"},
        {"cause", "", "what is known of why"},
        {"cell", "", "its key"}};
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
