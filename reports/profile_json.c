/* profile_json: everything a profile knows as one JSON object. Absent numbers are null. */
#include <math.h>
#include <string.h>

#include "reports/profile_data.h"

static void add_key(sq_text *out, const char *key)
{
    sq_text_printf(out, ",\n\"%s\": ", key);
}

static void add_string(sq_text *out, const char *text)
{
    sq_text_add(out, "\"");
    sq_text_add_json(out, text);
    sq_text_add(out, "\"");
}

static void add_number(sq_text *out, double value)
{
    if (isfinite(value))
        sq_text_printf(out, "%.17g", value);
    else
        sq_text_add(out, "null");
}

static void add_text_field(sq_text *out, const char *key, const char *text)
{
    add_key(out, key);
    add_string(out, text);
}

static void add_number_field(sq_text *out, const char *key, double value)
{
    add_key(out, key);
    add_number(out, value);
}

static void add_rows(sq_text *out, const char *key, sq_table *table)
{
    add_key(out, key);
    if (!table || sq_table_render(table, SQ_FORMAT_JSON, out) != SQ_OK)
        out->is_failed = true;
    sq_table_free(table);
}

static void add_facts(const sq_profile *p, sq_text *out)
{
    add_key(out, "facts");
    sq_text_add(out, "{");
    for (int i = 0; i < p->n_facts; i++) {
        sq_text_add(out, i ? ", " : "");
        add_string(out, p->fact[i].name);
        sq_text_add(out, ": ");
        if (*p->fact[i].text)
            add_string(out, p->fact[i].text);
        else
            sq_text_add(out, "null");
    }
    sq_text_add(out, "}");
}

static void add_verdict(const sq_model *m, sq_text *out)
{
    const sq_evidence *e = &m->evidence;
    add_key(out, "verdict");
    sq_text_add(out, "{\"kind\": ");
    add_string(out, sq_verdict_kind_name(m->verdict.kind));
    add_key(out, "limit");
    if (m->verdict.limit < 0)
        sq_text_add(out, "null");
    else
        add_string(out, sq_limit_name((sq_limit)m->verdict.limit));
    add_text_field(out, "words", m->verdict.words);
    add_key(out, "use_pct");
    for (int i = 0; i < SQ_LIMITS; i++) {
        sq_text_add(out, i ? ", " : "{");
        add_string(out, sq_limit_name((sq_limit)i));
        sq_text_add(out, ": ");
        add_number(out, e->use_pct[i]);
    }
    sq_text_add(out, "}");
    add_number_field(out, "occupancy_pct", e->occupancy_pct);
    add_key(out, "top_stall");
    if (e->stall)
        add_string(out, e->stall);
    else
        sq_text_add(out, "null");
    add_number_field(out, "top_stall_pct", e->stall ? e->stall_pct : NAN);
    sq_text_add(out, "}");
}

static void add_series(sq_text *out, const char *key, const sq_curve *series, const char *words)
{
    add_key(out, key);
    sq_text_add(out, "{\"words\": ");
    add_string(out, words);
    add_text_field(out, "reason", series->reason);
    add_number_field(out, "interval_ns", series->interval_ns);
    add_number_field(out, "dropped", series->n_dropped);
    add_rows(out, "rows", sq_curve_table(series));
    sq_text_add(out, "}");
}

static void add_all_series(const sq_profile *p, const sq_profile_options *o, sq_text *out)
{
    char text[900];
    if (o->sustain) {
        sq_curve_sustain_text(p, o->sustain, text, sizeof text);
        add_series(out, "sustain", o->sustain, text);
    }
    if (o->timeline) {
        sq_curve_timeline_text(p, o->timeline, text, sizeof text);
        add_series(out, "timeline", o->timeline, text);
    }
}

void sq_profile_add_json(const sq_profile *p, const sq_model *m, const sq_profile_options *o,
                         sq_text *out)
{
    sq_text_add(out, "{\"cell\": ");
    add_string(out, p->key);
    add_text_field(out, "hash", p->hash);
    add_number_field(out, "run_id", (double)p->run_id);
    add_text_field(out, "campaign", p->campaign);
    add_text_field(out, "device", p->device);
    add_text_field(out, "status", p->status);
    add_text_field(out, "reason", p->reason);
    add_number_field(out, "median_ns", p->median_ns);
    add_number_field(out, "lo_ns", p->lo_ns);
    add_number_field(out, "hi_ns", p->hi_ns);
    add_number_field(out, "n", p->n_samples);
    add_number_field(out, "sm_mhz", p->sm_mhz);
    add_number_field(out, "traced_ns", p->traced_ns);
    add_number_field(out, "tflops", m->tflops);
    add_facts(p, out);
    add_verdict(m, out);
    add_rows(out, "checks", sq_profile_check_table(p));
    add_rows(out, "kernels", sq_profile_kernel_table(p));
    add_rows(out, "ceilings", sq_profile_use_table(m));
    add_rows(out, "roofline", sq_profile_level_table(m));
    add_rows(out, "mix", sq_profile_mix_table(m));
    add_rows(out, "stalls", sq_profile_stall_table(m));
    add_rows(out, "values", sq_profile_value_table(p));
    add_all_series(p, o, out);
    sq_text_add(out, "}\n");
}
