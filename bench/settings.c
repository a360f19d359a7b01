/* settings: see settings.h. */
#include "bench/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/subject.h"
#include "bench/time/sampling.h"
#include "core/text.h"

const sq_setting_def sq_setting_defs[] = {
    {{"op", 0, "NAMES", "operators, or \"all\", \"mixers\""}, SQ_SCOPE_GROUP},
    {{"family", 0, "NAMES", "model families, each as its block, or \"all\""}, SQ_SCOPE_GROUP},
    {{"provider", 0, "NAMES", "implementations; default: all that the device has"}, SQ_SCOPE_GROUP},
    {{"pass", 0, "NAMES", "fwd (default), bwd, fwdbwd, step"}, SQ_SCOPE_GROUP},
    {{"dtype", 0, "NAMES", "bf16 (default), f16, f32"}, SQ_SCOPE_GROUP},
    {{"cache", 0, "NAMES", "cache before a launch: clean-cold (default), dirty-cold, hot, rotate"},
     SQ_SCOPE_GROUP},
    {{"launch", 0, "NAMES", "what a sample launches: plain (default), graph, batch"},
     SQ_SCOPE_GROUP},
    {{"tokens", 0, "LIST", "fixes batch * length: the batch is tokens / length"}, SQ_SCOPE_GROUP},
    {{"width", 0, "LIST", "gives every mixer its shape at this model width"}, SQ_SCOPE_GROUP},
    {{"on", 0, "BACKEND", "this group is for one backend only: cpu, cuda (suite files)"},
     SQ_SCOPE_GROUP},
    {{"filter", 0, "EXPR", "keeps the cells for which EXPR holds: \"L<=8k and dtype==bf16\""},
     SQ_SCOPE_CAMPAIGN},
    {{"replicates", 0, "N", "runs of every cell, each in a process of its own (default 1, nightly 5)"},
     SQ_SCOPE_CAMPAIGN},
    {{"order", 0, "ORDER", "random (default; by the seed) or plan"}, SQ_SCOPE_CAMPAIGN},
    {{"seed", 0, "N", "seed of inputs and order (default: drawn, and stored)"}, SQ_SCOPE_CAMPAIGN},
    {{"budget", 0, "TIME", "ends the campaign cleanly after 9m, 90s ..."}, SQ_SCOPE_CAMPAIGN},
    {{"counters", 0, "SETS",
      "cuda only: basic (default), roofline, stalls, flops, all (by commas), off, or a file"},
     SQ_SCOPE_CAMPAIGN},
    {{"count-every-run", 0, "on|off", "counters with every run of a cell, not its first (default off)"},
     SQ_SCOPE_CAMPAIGN},
    {{"allow-failed", 0, "N", "failed runs that still count as fine (default 0)"},
     SQ_SCOPE_CAMPAIGN},
    {{"max-inconclusive", 0, "SHARE", "of the cells of a night (suite files; default 25%)"},
     SQ_SCOPE_CAMPAIGN},
    {{"policy", 0, "NAME", "measuring policy: quick (default), nightly, paper"}, SQ_SCOPE_CAMPAIGN},
    {{"max-cell-time", 0, "TIME", "skips a cell whose single launch is predicted to be longer"},
     SQ_SCOPE_CAMPAIGN},
    {{"timeout", 0, "TIME", "kills a worker that is silent for longer"}, SQ_SCOPE_CAMPAIGN},
    {{"warmup-launches", 0, "N", "policy: unmeasured launches at least"}, SQ_SCOPE_CAMPAIGN},
    {{"warmup-time", 0, "TIME", "policy: unmeasured time at least"}, SQ_SCOPE_CAMPAIGN},
    {{"min-samples", 0, "N", "policy: samples at least"}, SQ_SCOPE_CAMPAIGN},
    {{"max-samples", 0, "N", "policy: samples at most"}, SQ_SCOPE_CAMPAIGN},
    {{"max-time", 0, "TIME", "policy: sum of a run's samples at most"}, SQ_SCOPE_CAMPAIGN},
    {{"target-interval", 0, "FRACTION", "policy: enough when the median's interval is this narrow"},
     SQ_SCOPE_CAMPAIGN},
    {{"max-interval", 0, "FRACTION", "policy: wider at the end is noisy"}, SQ_SCOPE_CAMPAIGN},
    {{"rest", 0, "N", "policy: a GPU rests after a launch, N times what it took (default 4)"},
     SQ_SCOPE_CAMPAIGN},
    {{"proof-work", 0, "N", "policy: multiply-adds that one proof's reference may cost"},
     SQ_SCOPE_CAMPAIGN},
    {{"try-oom", 0, "on|off", "tries cells that are predicted not to fit (default off)"},
     SQ_SCOPE_CAMPAIGN},
    {{"energy", 0, "on|off", "joules of a launch, 4 s more a run (default off; cuda only)"},
     SQ_SCOPE_CAMPAIGN},
    {{"cooldown", 0, "auto|off|TIME",
      "rest before a run: while the GPU is hot (default), or so long"},
     SQ_SCOPE_CAMPAIGN},
    {{NULL, 0, NULL, NULL}, SQ_SCOPE_GROUP},
};

const sq_setting_def *sq_setting_find(const char *key)
{
    for (const sq_setting_def *d = sq_setting_defs; d->option.name; d++)
        if (strcmp(d->option.name, key) == 0)
            return d;
    return NULL;
}

bool sq_setting_is_of_files(const char *key)
{
    return strcmp(key, "on") == 0 || strcmp(key, "max-inconclusive") == 0;
}

typedef struct {
    const char *name;
    bool is_found;
} axis_search;

static bool visit_search(const sq_axis *axis, void *arg)
{
    axis_search *search = arg;
    search->is_found =
        strcmp(axis->name, search->name) == 0 || strcmp(axis->flag, search->name) == 0;
    return !search->is_found;
}

bool sq_setting_is_axis(const char *key)
{
    axis_search search = {.name = key};
    sq_subject_each_axis(visit_search, &search);
    return search.is_found;
}

enum { MAX_KEYS = 256 };

typedef struct {
    const char *key[MAX_KEYS + 1];
    int count;
} key_list;

static bool visit_collect(const sq_axis *axis, void *arg)
{
    key_list *list = arg;
    if (list->count + 2 > MAX_KEYS)
        return false;
    list->key[list->count++] = axis->flag;
    list->key[list->count++] = axis->name;
    return true;
}

const char *sq_setting_nearest_axis(const char *name)
{
    key_list list = {.count = 0};
    sq_subject_each_axis(visit_collect, &list);
    return sq_nearest(name, list.key);
}

sq_status sq_setting_unknown(sq_scope scope, const char *key, const char *origin, sq_error *err)
{
    key_list list = {.count = 0};
    for (const sq_setting_def *d = sq_setting_defs; d->option.name; d++)
        if (d->scope == scope)
            list.key[list.count++] = d->option.name;
    if (scope == SQ_SCOPE_GROUP)
        sq_subject_each_axis(visit_collect, &list);
    const char *near = sq_nearest(key, list.key);
    if (near)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: unknown key \"%s\"; did you mean \"%s\"?", origin,
                       key, near);
    return sq_fail(err, SQ_BAD_ARGUMENT, "%s: unknown key \"%s\"", origin, key);
}

/* --- the list --- */

static void free_setting(sq_setting *setting)
{
    free(setting->key);
    free(setting->value);
    free(setting->origin);
}

void sq_settings_free(sq_settings *settings)
{
    for (int i = 0; settings && i < settings->count; i++)
        free_setting(&settings->item[i]);
    if (settings) {
        free(settings->item);
        *settings = (sq_settings){.count = 0};
    }
}

static void drop(sq_settings *settings, const char *key)
{
    int n = 0;
    for (int i = 0; i < settings->count; i++) {
        if (strcmp(settings->item[i].key, key) == 0)
            free_setting(&settings->item[i]);
        else
            settings->item[n++] = settings->item[i];
    }
    settings->count = n;
}

static sq_setting *new_slot(sq_settings *settings)
{
    sq_setting *grown = realloc(settings->item, sizeof *grown * (size_t)(settings->count + 1));
    if (!grown)
        return NULL;
    settings->item = grown;
    return &grown[settings->count++];
}

sq_status sq_settings_set(sq_settings *settings, const char *key, const char *value,
                          const char *origin, sq_error *err)
{
    sq_setting made = {.key = strdup(key), .value = strdup(value), .origin = strdup(origin)};
    sq_setting *slot = NULL;
    if (made.key && made.value && made.origin) {
        drop(settings, key);
        slot = new_slot(settings);
    }
    if (!slot) {
        free_setting(&made);
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for setting %s", key);
    }
    *slot = made;
    return SQ_OK;
}

sq_status sq_settings_merge(sq_settings *into, const sq_settings *from, sq_error *err)
{
    for (int i = 0; i < from->count; i++)
        SQ_TRY(sq_settings_set(into, from->item[i].key, from->item[i].value, from->item[i].origin,
                               err));
    return SQ_OK;
}

const sq_setting *sq_settings_get(const sq_settings *settings, const char *key)
{
    for (int i = 0; i < settings->count; i++)
        if (strcmp(settings->item[i].key, key) == 0)
            return &settings->item[i];
    return NULL;
}

const char *sq_settings_text(const sq_settings *settings, const char *key, const char *fallback)
{
    const sq_setting *setting = sq_settings_get(settings, key);
    return setting ? setting->value : fallback;
}

sq_status sq_setting_at(const sq_setting *setting, sq_status status, sq_error *err)
{
    if (status == SQ_OK || !err || !setting)
        return status;
    char message[sizeof err->message];
    snprintf(message, sizeof message, "%s", err->message);
    return sq_fail(err, status, "%s: %s: %s", setting->origin, setting->key, message);
}

/* --- typed values --- */

sq_status sq_settings_number(const sq_settings *settings, const char *key, double *out,
                             sq_error *err)
{
    const sq_setting *s = sq_settings_get(settings, key);
    double value = 0;
    if (!s)
        return SQ_OK;
    if (!sq_parse_number(s->value, &value) || value < 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: %s: \"%s\" is no number of 0 or more", s->origin,
                       key, s->value);
    *out = value;
    return SQ_OK;
}

sq_status sq_settings_count(const sq_settings *settings, const char *key, int least, int most,
                            int *out, sq_error *err)
{
    const sq_setting *s = sq_settings_get(settings, key);
    double value = 0;
    if (!s)
        return SQ_OK;
    if (!sq_parse_number(s->value, &value) || value < least || value > most || value != (int)value)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: %s: \"%s\" is no whole number from %d to %d",
                       s->origin, key, s->value, least, most);
    *out = (int)value;
    return SQ_OK;
}

sq_status sq_settings_seconds(const sq_settings *settings, const char *key, double *out,
                              sq_error *err)
{
    const sq_setting *s = sq_settings_get(settings, key);
    double value = 0;
    if (!s)
        return SQ_OK;
    if (!sq_parse_duration(s->value, &value) || value < 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: %s: \"%s\" is no duration (9m, 90s, 500ms)",
                       s->origin, key, s->value);
    *out = value;
    return SQ_OK;
}

sq_status sq_settings_switch(const sq_settings *settings, const char *key, bool *out, sq_error *err)
{
    static const char *const yes[] = {"on", "true", "yes", NULL};
    static const char *const no[] = {"off", "false", "no", NULL};
    const sq_setting *s = sq_settings_get(settings, key);
    for (int i = 0; s && i < 3; i++) {
        if (strcmp(s->value, yes[i]) == 0 || strcmp(s->value, no[i]) == 0) {
            *out = strcmp(s->value, yes[i]) == 0;
            return SQ_OK;
        }
    }
    if (!s)
        return SQ_OK;
    return sq_fail(err, SQ_BAD_ARGUMENT, "%s: %s: \"%s\" is neither on nor off", s->origin, key,
                   s->value);
}

sq_status sq_settings_share(const sq_settings *settings, const char *key, double *out, sq_error *err)
{
    const sq_setting *s = sq_settings_get(settings, key);
    if (s && !sq_parse_share(s->value, out))
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: %s: \"%s\" is no share like 2%% or 0.02", s->origin,
                       key, s->value);
    return SQ_OK;
}

static sq_status read_cooldown(const sq_settings *settings, const char *key, double *out,
                               sq_error *err)
{
    const char *said = sq_settings_text(settings, key, "");
    if (strcmp(said, "auto") != 0 && strcmp(said, "off") != 0)
        return sq_settings_seconds(settings, key, out, err);
    *out = strcmp(said, "auto") == 0 ? -1 : 0;
    return SQ_OK;
}

static sq_status set_field(const sq_settings *settings, const sq_policy_field *field,
                           sq_policy *out, sq_error *err)
{
    void *at = (char *)out + field->offset;
    switch (field->kind) {
    case SQ_POLICY_SWITCH:
        return sq_settings_switch(settings, field->setting, at, err);
    case SQ_POLICY_NUMBER:
        return sq_settings_number(settings, field->setting, at, err);
    case SQ_POLICY_SECONDS:
        return sq_settings_seconds(settings, field->setting, at, err);
    case SQ_POLICY_COOLDOWN:
        return read_cooldown(settings, field->setting, at, err);
    case SQ_POLICY_COUNT:
        break;
    }
    return sq_settings_count(settings, field->setting, 0, 1000000, at, err);
}

sq_status sq_settings_policy(const sq_settings *settings, sq_policy *out, sq_error *err)
{
    const char *name = sq_settings_text(settings, "policy", "quick");
    const sq_policy *base = sq_policy_find(name);
    if (!base)
        return sq_setting_at(sq_settings_get(settings, "policy"),
                             sq_fail_unknown(err, "policy", name, sq_policy_names), err);
    *out = *base;
    for (const sq_policy_field *f = sq_policy_fields; f->setting; f++)
        SQ_TRY(set_field(settings, f, out, err));
    if (out->min_samples < 1 || out->max_samples < out->min_samples)
        return sq_fail(err, SQ_BAD_ARGUMENT, "policy: %d to %d samples is no range",
                       out->min_samples, out->max_samples);
    if (out->rest > SQ_LONGEST_REST)
        return sq_fail(err, SQ_BAD_ARGUMENT, "rest: %g is more than %d times a launch", out->rest,
                       SQ_LONGEST_REST);
    if (!(out->timeout_seconds > 0))
        return sq_fail(err, SQ_BAD_ARGUMENT, "timeout: no worker can answer within 0 seconds");
    return SQ_OK;
}

/* --- lists --- */

enum { MAX_LIST_BYTES = 1 << 20 };

/* Words of a list file: blanks, commas and line ends separate, '#' starts a comment. */
static void add_list_line(sq_text *out, char *line)
{
    char *comment = strchr(line, '#'), *rest = NULL;
    if (comment)
        *comment = 0;
    for (char *word = strtok_r(line, " \t\r,", &rest); word; word = strtok_r(NULL, " \t\r,", &rest))
        sq_text_printf(out, "%s%s", out->length ? "," : "", word);
}

/* Not by its size: "@/dev/stdin" and "@<(seq 8)" are lists, too. */
static sq_status read_list(const char *path, char *content, sq_text *out, sq_error *err)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return sq_fail(err, SQ_IO, "cannot read list %s: %s", path, strerror(errno));
    size_t n = fread(content, 1, MAX_LIST_BYTES, file);
    int reason = ferror(file) ? errno : 0;
    fclose(file);
    if (reason)
        return sq_fail(err, SQ_IO, "cannot read list %s: %s", path, strerror(reason));
    if (n == MAX_LIST_BYTES || memchr(content, 0, n))
        return sq_fail(err, SQ_BAD_ARGUMENT, "list %s: %s", path,
                       n == MAX_LIST_BYTES ? "a megabyte is too long" : "not a text");
    content[n] = 0;
    char *rest = NULL;
    for (char *line = strtok_r(content, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        add_list_line(out, line);
    return out->length ? SQ_OK : sq_fail(err, SQ_BAD_ARGUMENT, "list %s is empty", path);
}

sq_status sq_setting_expand(const char *value, char **out, sq_error *err)
{
    sq_text text = {.data = NULL};
    sq_status s = SQ_OK;
    if (value[0] == '@') {
        char *content = malloc(MAX_LIST_BYTES);
        s = content ? read_list(value + 1, content, &text, err)
                    : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for list %s", value);
        free(content);
    } else {
        sq_text_add(&text, value);
    }
    if (s == SQ_OK && text.is_failed)
        s = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for list %s", value);
    if (s == SQ_OK)
        *out = text.data;
    else
        sq_text_free(&text);
    return s;
}

static sq_status add_name(sq_names *names, const char *word, sq_error *err)
{
    char **grown = realloc(names->item, sizeof *grown * (size_t)(names->count + 1));
    char *copy = strdup(word);
    if (grown)
        names->item = grown;
    if (!grown || !copy) {
        free(copy);
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a list of names");
    }
    names->item[names->count++] = copy;
    return SQ_OK;
}

sq_status sq_names_split(const char *text, sq_names *out, sq_error *err)
{
    char *all = NULL, *rest = NULL;
    *out = (sq_names){.count = 0};
    SQ_TRY(sq_setting_expand(text, &all, err));
    sq_status s = SQ_OK;
    for (char *word = strtok_r(all, ", ", &rest); word && s == SQ_OK;
         word = strtok_r(NULL, ", ", &rest))
        if (!sq_names_has(out, word))
            s = add_name(out, word, err);
    free(all);
    if (s == SQ_OK && out->count == 0)
        s = sq_fail(err, SQ_BAD_ARGUMENT, "an empty list of names");
    if (s != SQ_OK)
        sq_names_free(out);
    return s;
}

bool sq_names_has(const sq_names *names, const char *name)
{
    for (int i = 0; i < names->count; i++)
        if (strcmp(names->item[i], name) == 0)
            return true;
    return false;
}

void sq_names_free(sq_names *names)
{
    for (int i = 0; i < names->count; i++)
        free(names->item[i]);
    free(names->item);
    *names = (sq_names){.count = 0};
}
