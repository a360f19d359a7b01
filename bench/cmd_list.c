/* seqmark list: what there is. */
#include <stdio.h>
#include <string.h>

#include "bench/command.h"
#include "bench/exchange.h"
#include "bench/peer.h"
#include "bench/subject.h"
#include "bench/suite.h"
#include "profile/profile.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    {"long", 0, NULL, "with source and formula"},
    {"peers", 0, NULL, "providers: asks the adapters of external ones too, which takes seconds"},
    SQ_OPTION_DEVICE,
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

typedef struct {
    const sq_given *given;
    bool is_long;
    sq_table *table;
} listing;

/* --- one function a kind --- */

static sq_status new_table(listing *l, const char *const *columns, sq_error *err)
{
    l->table = sq_table_new(columns);
    return l->table ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
}

static void add_subject_row(listing *l, const char *name, const char *kind, const char *doc,
                            const char *source)
{
    sq_table_text(l->table, name);
    sq_table_text(l->table, kind);
    sq_table_text(l->table, doc);
    if (l->is_long)
        sq_table_text(l->table, source);
}

static sq_status list_operators(listing *l, sq_error *err)
{
    static const char *const columns[] = {"operator", "kind", "formula", NULL};
    static const char *const more[] = {"operator", "kind", "formula", "source", NULL};
    SQ_TRY(new_table(l, l->is_long ? more : columns, err));
    for (int i = 0; sq_ops[i]; i++)
        add_subject_row(l, sq_ops[i]->name, sq_ops[i]->is_mixer ? "mixer" : "operator",
                        sq_ops[i]->doc, sq_ops[i]->source);
    return SQ_OK;
}

static sq_status list_families(listing *l, sq_error *err)
{
    static const char *const columns[] = {"family", "kind", "block", NULL};
    static const char *const more[] = {"family", "kind", "block", "source", NULL};
    SQ_TRY(new_table(l, l->is_long ? more : columns, err));
    for (int i = 0; sq_families[i]; i++)
        add_subject_row(l, sq_families[i]->name, "block", sq_families[i]->doc,
                        sq_families[i]->source);
    return SQ_OK;
}

/* What an adapter has, and what keeps it from running here. */
static void add_peers(listing *l, const sq_adapter *adapter, const char *device)
{
    sq_error why = {.status = SQ_OK};
    json_t *hello = NULL, *item;
    size_t i;
    if (sq_adapter_ask_hello(adapter, device, SQ_HELLO_SURVEY, &hello, &why) != SQ_OK) {
        fprintf(stderr, "%s\n", why.message);
        return;
    }
    json_array_foreach(json_object_get(hello, "implementations"), i, item)
    {
        char provider[SQ_NAME_MAX];
        snprintf(provider, sizeof provider, "external:%s/%.40s", adapter->name,
                 sq_message_text(item, "name", ""));
        sq_table_text(l->table, sq_message_text(item, "operator", ""));
        sq_table_text(l->table, provider);
        sq_table_text(l->table, sq_message_text(item, "missing", "ok"));
    }
    json_decref(hello);
}

static void add_providers(listing *l, const sq_target *target, bool has_state)
{
    for (int i = 0; i < target->catalog.count; i++) {
        sq_table_text(l->table, target->catalog.offer[i].op);
        sq_table_text(l->table, target->catalog.offer[i].provider);
        if (has_state)
            sq_table_text(l->table, "ok");
    }
    sq_adapters adapters = {.count = 0};
    if (has_state)
        sq_adapters_find(&adapters);
    for (int i = 0; i < adapters.count; i++)
        add_peers(l, &adapters.item[i], target->name);
}

static sq_status list_providers(listing *l, sq_error *err)
{
    static const char *const columns[] = {"operator", "provider", NULL};
    static const char *const more[] = {"operator", "provider", "state", NULL};
    bool has_peers = sq_given_has(l->given, "peers");
    sq_target target = {.name = ""};
    sq_status s = sq_target_open(sq_given_value(l->given, "device", NULL), &target, err);
    if (target.note[0])
        fprintf(stderr, "%s: listing the CPU's\n", target.note);
    if (s == SQ_OK)
        s = new_table(l, has_peers ? more : columns, err);
    if (s == SQ_OK)
        add_providers(l, &target, has_peers);
    sq_target_close(&target);
    return s;
}

static sq_status add_suite(listing *l, const char *name, sq_error *err)
{
    char path[1024];
    sq_suite suite = {.n_groups = 0};
    sq_status s = sq_suite_find(name, path, sizeof path, err);
    if (s == SQ_OK)
        s = sq_suite_load(path, &suite, err);
    if (s == SQ_OK) {
        sq_table_text(l->table, name);
        sq_table_text(l->table, suite.description);
        sq_table_number(l->table, suite.n_groups, 6);
        if (l->is_long)
            sq_table_text(l->table, path);
    }
    sq_suite_free(&suite);
    return s;
}

static sq_status list_suites(listing *l, sq_error *err)
{
    static const char *const columns[] = {"suite", "description", "groups", NULL};
    static const char *const more[] = {"suite", "description", "groups", "file", NULL};
    sq_names names;
    SQ_TRY(new_table(l, l->is_long ? more : columns, err));
    SQ_TRY(sq_suite_names(&names, err));
    sq_status s = SQ_OK;
    for (int i = 0; s == SQ_OK && i < names.count; i++)
        s = add_suite(l, names.item[i], err);
    sq_names_free(&names);
    return s;
}

static sq_status list_metrics(listing *l, sq_error *err)
{
    static const char *const columns[] = {"metric", "unit", "better", "what", NULL};
    static const char *const more[] = {"metric", "unit", "better", "what", "source", NULL};
    SQ_TRY(new_table(l, l->is_long ? more : columns, err));
    for (const sq_metric_def *m = sq_metrics; m->name; m++) {
        sq_table_text(l->table, m->name);
        sq_table_text(l->table, m->unit);
        sq_table_text(l->table, m->better);
        sq_table_text(l->table, m->doc);
        if (l->is_long)
            sq_table_text(l->table, m->source);
    }
    return SQ_OK;
}

static void format_range(const sq_axis *axis, char *out, size_t size)
{
    size_t n = 0;
    if (axis->kind != SQ_AXIS_CHOICE) {
        snprintf(out, size, "%.6g to %.6g", axis->min, axis->max);
        return;
    }
    for (int i = 0; axis->choices[i] && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "", axis->choices[i]);
}

static void add_axes(listing *l, const char *subject, const sq_axis *axes)
{
    char text[200];
    for (const sq_axis *a = axes; a->name; a++) {
        sq_table_text(l->table, subject);
        sq_table_text(l->table, a->name);
        sq_table_text(l->table, a->flag);
        sq_axis_format(a, a->def, text, sizeof text);
        sq_table_text(l->table, text);
        sq_table_text(l->table, a->doc);
        if (!l->is_long)
            continue;
        format_range(a, text, sizeof text);
        sq_table_text(l->table, text);
    }
}

static sq_status list_axes(listing *l, sq_error *err)
{
    static const char *const columns[] = {"subject", "axis", "option", "default", "what", NULL};
    static const char *const more[] = {"subject", "axis",  "option", "default",
                                       "what",    "range", NULL};
    SQ_TRY(new_table(l, l->is_long ? more : columns, err));
    for (int i = 0; sq_ops[i]; i++)
        add_axes(l, sq_ops[i]->name, sq_ops[i]->axes);
    for (int i = 0; sq_families[i]; i++)
        add_axes(l, sq_families[i]->name, sq_families[i]->axes);
    return SQ_OK;
}

/* --- the verb --- */

static const struct {
    const char *name;
    sq_status (*list)(listing *, sq_error *);
} kinds[] = {{"operators", list_operators}, {"families", list_families},
             {"providers", list_providers}, {"suites", list_suites},
             {"metrics", list_metrics},     {"axes", list_axes}};

enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

static sq_status list_kind(const sq_given *given, const char *name, sq_error *err)
{
    const char *names[N_KINDS + 1] = {NULL};
    sq_format format;
    listing l = {.given = given, .is_long = sq_given_has(given, "long")};
    SQ_TRY(sq_given_format(given, &format, err));
    for (int i = 0; i < N_KINDS; i++) {
        names[i] = kinds[i].name;
        if (strcmp(name, names[i]) != 0)
            continue;
        sq_status s = kinds[i].list(&l, err);
        if (s == SQ_OK)
            return sq_table_print(l.table, format, err);
        sq_table_free(l.table);
        return s;
    }
    return sq_fail_unknown(err, "kind", name, names);
}

/* Two tables; in json one object of two lists, so that it is one document. */
static sq_status list_both(const sq_given *given, sq_error *err)
{
    sq_format format;
    SQ_TRY(sq_given_format(given, &format, err));
    bool is_json = format == SQ_FORMAT_JSON;
    fputs(is_json ? "{\"operators\": " : "", stdout);
    SQ_TRY(list_kind(given, "operators", err));
    fputs(is_json ? ", \"families\": " : format == SQ_FORMAT_JSONL ? "" : "\n", stdout);
    SQ_TRY(list_kind(given, "families", err));
    fputs(is_json ? "}\n" : "", stdout);
    return SQ_OK;
}

static sq_status list(const sq_given *given, sq_error *err)
{
    if (given->n_arguments > 1)
        return sq_fail(err, SQ_BAD_ARGUMENT, "list takes one kind, not also \"%s\"",
                       given->argument[1]);
    return given->n_arguments ? list_kind(given, given->argument[0], err) : list_both(given, err);
}

void sq_cmd_list(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "list [operators|families|providers|suites|metrics|axes] [options]",
        .text = "Lists one kind of thing; without a kind, operators and families.",
        .options = options};
    sq_verb_run(&verb, argc, argv, list, outcome);
}
