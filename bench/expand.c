/* expand: one group of settings to its cells, the product of all its lists. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/plan.h"
#include "core/text.h"

enum { MAX_SUBJECTS = 64, MAX_DIMS = SQ_MAX_AXES + 2 };

static const char command_line[] = "command line";

/* What a group says before its subjects are looked at. */
typedef struct {
    const sq_plan_request *request;
    const sq_settings *settings;
    bool *used;
    sq_subject subject[MAX_SUBJECTS];
    int n_subjects;
    sq_names providers; /* empty: all */
    sq_pass pass[SQ_PASS_COUNT];
    sq_dtype dtype[SQ_DTYPE_COUNT];
    sq_cache cache[SQ_CACHE_COUNT];
    sq_launch launch[SQ_LAUNCH_COUNT];
    int n_pass, n_dtype, n_cache, n_launch;
    sq_cell_fn fn;
    void *arg;
    sq_error *err;
} group;

/* One list of the product: an axis of the subject, or one of the two below. */
enum { DIM_TOKENS = -1, DIM_WIDTH = -2 };
typedef struct {
    int axis;
    const sq_setting *setting;
    sq_axis_value value[SQ_MAX_AXIS_VALUES];
    int count, at;
} dim;

typedef struct {
    dim *dims;
    int count;
} product;

static const sq_axis tokens_axis = {
    .name = "tokens", .flag = "tokens", .kind = SQ_AXIS_INT, .min = 1, .max = 1099511627776.0};
static const sq_axis width_axis = {
    .name = "width", .flag = "width", .kind = SQ_AXIS_INT, .min = 1, .max = 1048576};

static bool is_overridden(const sq_setting *setting)
{
    return setting && strcmp(setting->origin, command_line) == 0;
}

static void mark_used(const group *g, const sq_setting *setting)
{
    const sq_settings *overrides = g->request->overrides;
    for (int i = 0; overrides && g->used && i < overrides->count; i++)
        if (strcmp(overrides->item[i].key, setting->key) == 0)
            g->used[i] = true;
}

/* --- subjects --- */

static bool is_wanted(const group *g, const sq_subject *subject)
{
    const sq_names *ops = g->request->only_ops, *families = g->request->only_families;
    if (!ops && !families)
        return true;
    const sq_names *mine = subject->op ? ops : families;
    return mine && sq_names_has(mine, sq_subject_name(subject));
}

static sq_status add_subject(group *g, sq_kind kind, const char *name)
{
    sq_subject subject;
    SQ_TRY(sq_subject_find(kind, name, &subject, g->err));
    if (!is_wanted(g, &subject))
        return SQ_OK;
    if (g->n_subjects == MAX_SUBJECTS)
        return sq_fail(g->err, SQ_BAD_ARGUMENT, "more than %d subjects", MAX_SUBJECTS);
    g->subject[g->n_subjects++] = subject;
    return SQ_OK;
}

static sq_status add_ops(group *g, const char *name)
{
    bool is_all = strcmp(name, "all") == 0, is_mixers = strcmp(name, "mixers") == 0;
    if (!is_all && !is_mixers)
        return add_subject(g, SQ_KIND_OP, name);
    for (int i = 0; sq_ops[i]; i++)
        if (is_all || sq_ops[i]->is_mixer)
            SQ_TRY(add_subject(g, SQ_KIND_OP, sq_ops[i]->name));
    return SQ_OK;
}

static sq_status add_families(group *g, const char *name)
{
    if (strcmp(name, "all") != 0)
        return add_subject(g, SQ_KIND_BLOCK, name);
    for (int i = 0; sq_families[i]; i++)
        SQ_TRY(add_subject(g, SQ_KIND_BLOCK, sq_families[i]->name));
    return SQ_OK;
}

static sq_status add_subjects(group *g, const char *key, sq_status (*add)(group *, const char *))
{
    const sq_setting *setting = sq_settings_get(g->settings, key);
    sq_names names;
    if (!setting)
        return SQ_OK;
    sq_status s = sq_names_split(setting->value, &names, g->err);
    for (int i = 0; s == SQ_OK && i < names.count; i++)
        s = add(g, names.item[i]);
    sq_names_free(&names);
    return sq_setting_at(setting, s, g->err);
}

/* --- names that are no axes --- */

typedef sq_status (*parse_fn)(const char *name, void *out, sq_error *err);

static sq_status parse_pass(const char *name, void *out, sq_error *err)
{
    return sq_pass_parse(name, out, err);
}
static sq_status parse_dtype(const char *name, void *out, sq_error *err)
{
    return sq_dtype_parse(name, out, err);
}
static sq_status parse_cache(const char *name, void *out, sq_error *err)
{
    return sq_cache_parse(name, out, err);
}
static sq_status parse_launch(const char *name, void *out, sq_error *err)
{
    return sq_launch_parse(name, out, err);
}

/* Reads the list of setting `key` into an array of enums of `size` bytes each. */
static sq_status read_enums(const group *g, const char *key, const char *fallback, parse_fn parse,
                            void *out, size_t size, int room, int *count)
{
    const sq_setting *setting = sq_settings_get(g->settings, key);
    sq_names names;
    SQ_TRY(sq_names_split(setting ? setting->value : fallback, &names, g->err));
    sq_status s = SQ_OK;
    *count = 0;
    for (int i = 0; s == SQ_OK && i < names.count && i < room; i++)
        s = parse(names.item[i], (char *)out + size * (size_t)(*count)++, g->err);
    sq_names_free(&names);
    return sq_setting_at(setting, s, g->err);
}

static sq_status refuse_provider(const group *g, const char *name)
{
    sq_text list = {.data = NULL};
    sq_names known = {.count = 0}, offered;
    for (int i = 0; i < g->n_subjects; i++) {
        if (sq_catalog_names(g->request->catalog, &g->subject[i], &offered, g->err) != SQ_OK)
            continue;
        for (int k = 0; k < offered.count; k++)
            sq_text_printf(&list, "%s%s", list.length ? "," : "", offered.item[k]);
        sq_names_free(&offered);
    }
    const char *candidates[256] = {NULL};
    if (list.length && sq_names_split(list.data, &known, NULL) == SQ_OK)
        for (int i = 0; i < known.count && i < 255; i++)
            candidates[i] = known.item[i];
    sq_status s = sq_fail_unknown(g->err, "provider", name, candidates);
    sq_names_free(&known);
    sq_text_free(&list);
    return s;
}

static bool is_offered(const group *g, const char *name)
{
    for (int i = 0; i < g->n_subjects; i++)
        if (sq_catalog_has(g->request->catalog, &g->subject[i], name))
            return true;
    return false;
}

static sq_status read_providers(group *g)
{
    const sq_setting *setting = sq_settings_get(g->settings, "provider");
    if (!setting || strcmp(setting->value, "all") == 0) {
        if (setting)
            mark_used(g, setting);
        return SQ_OK;
    }
    SQ_TRY(sq_names_split(setting->value, &g->providers, g->err));
    for (int i = 0; i < g->providers.count; i++) {
        if (is_offered(g, g->providers.item[i]))
            mark_used(g, setting);
        else if (!is_overridden(setting) || g->request->n_groups == 1)
            return sq_setting_at(setting, refuse_provider(g, g->providers.item[i]), g->err);
    }
    return SQ_OK;
}

/* --- lists of axes --- */

static sq_status read_dim(const group *g, product *p, int axis_index, const sq_axis *axis,
                          const sq_setting *setting)
{
    char *text = NULL;
    dim *d = NULL;
    for (int i = 0; i < p->count; i++)
        if (p->dims[i].axis == axis_index)
            d = &p->dims[i]; /* said twice, by name and by flag: the later one holds */
    if (!d) {
        d = &p->dims[p->count++];
        *d = (dim){.axis = axis_index};
    }
    d->setting = setting;
    d->count = 0;
    sq_status s = sq_setting_expand(setting->value, &text, g->err);
    if (s == SQ_OK)
        s = sq_axis_parse_list(axis, text, d->value, &d->count, g->err);
    free(text);
    return sq_setting_at(setting, s, g->err);
}

static dim *find_dim(const product *p, int axis)
{
    for (int i = 0; i < p->count; i++)
        if (p->dims[i].axis == axis)
            return &p->dims[i];
    return NULL;
}

static void drop_dim(product *p, dim *d)
{
    *d = p->dims[--p->count];
}

/* tokens and batch exclude each other; the command line beats the file. */
static sq_status settle_tokens(const group *g, product *p)
{
    dim *tokens = find_dim(p, DIM_TOKENS), *batch = find_dim(p, SQ_AXIS_B);
    if (!tokens || !batch)
        return SQ_OK;
    bool over = is_overridden(tokens->setting);
    if (over == is_overridden(batch->setting))
        return sq_fail(g->err, SQ_BAD_ARGUMENT,
                       "%s: tokens fixes the batch, so %s cannot be given beside it",
                       tokens->setting->origin, batch->setting->key);
    drop_dim(p, over ? batch : tokens);
    return SQ_OK;
}

static sq_status read_dims(const group *g, const sq_axis *axes, product *p)
{
    for (int i = 0; i < g->settings->count; i++) {
        const sq_setting *setting = &g->settings->item[i];
        int axis = sq_axis_find(axes, setting->key);
        if (strcmp(setting->key, "tokens") == 0)
            SQ_TRY(read_dim(g, p, DIM_TOKENS, &tokens_axis, setting));
        else if (strcmp(setting->key, "width") == 0)
            SQ_TRY(read_dim(g, p, DIM_WIDTH, &width_axis, setting));
        else if (axis >= 0 && !sq_setting_find(setting->key))
            SQ_TRY(read_dim(g, p, axis, &axes[axis], setting));
    }
    return settle_tokens(g, p);
}

/* An axis that none of the group's subjects has is a mistake, unless the command line laid it over
 * groups that it does not fit. */
static sq_status check_axes_used(const group *g)
{
    for (int i = 0; i < g->settings->count; i++) {
        const sq_setting *setting = &g->settings->item[i];
        bool is_used = false;
        if (sq_setting_find(setting->key)) {
            if (strcmp(setting->key, "provider") != 0)
                mark_used(g, setting);
            continue;
        }
        for (int k = 0; k < g->n_subjects; k++)
            is_used |= sq_axis_find(sq_subject_axes(&g->subject[k]), setting->key) >= 0;
        if (is_used)
            mark_used(g, setting);
        else if (!is_overridden(setting))
            return sq_fail(g->err, SQ_BAD_ARGUMENT, "%s: %s%s has no axis \"%s\"", setting->origin,
                           sq_subject_name(&g->subject[0]),
                           g->n_subjects > 1 ? " and the others" : "", setting->key);
    }
    return SQ_OK;
}

/* --- the product --- */

/* B from tokens; a length that leaves no sequence is refused. */
static sq_status set_batch(const dim *tokens, sq_cell *cell, sq_error *err)
{
    double total = tokens->value[tokens->at], length = cell->value[SQ_AXIS_L];
    int64_t batch = (int64_t)(total / length);
    if (batch < 1)
        return sq_fail(err, SQ_BAD_SHAPE,
                       "length %.0f is more than tokens %.0f: the batch would be less than 1",
                       length, total);
    cell->value[SQ_AXIS_B] = (double)batch;
    return SQ_OK;
}

/* The cell at the product's current place: width first, then what is given by hand. */
static sq_status shape_cell(const sq_subject *subject, const product *p, sq_cell *cell,
                            int64_t *width, sq_error *err)
{
    const dim *w = find_dim(p, DIM_WIDTH), *tokens = find_dim(p, DIM_TOKENS);
    const dim *length = find_dim(p, SQ_AXIS_L);
    *width = w ? (int64_t)w->value[w->at] : 0;
    if (length) /* for the error of a width that cannot be */
        cell->value[SQ_AXIS_L] = length->value[length->at];
    if (w)
        SQ_TRY(sq_subject_at_width(subject, *width, cell, err));
    for (int i = 0; i < p->count; i++)
        if (p->dims[i].axis >= 0)
            cell->value[p->dims[i].axis] = p->dims[i].value[p->dims[i].at];
    if (tokens)
        SQ_TRY(set_batch(tokens, cell, err));
    return sq_subject_check(subject, cell, err);
}

static bool advance(product *p)
{
    for (int i = 0; i < p->count; i++) {
        if (++p->dims[i].at < p->dims[i].count)
            return true;
        p->dims[i].at = 0;
    }
    return false;
}

static sq_status emit_product(const group *g, const sq_subject *subject, const sq_cell *base,
                              product *p)
{
    do {
        sq_cell cell = *base;
        int64_t width = 0;
        sq_status s = shape_cell(subject, p, &cell, &width, g->err);
        if (s != SQ_OK) {
            char message[480];
            snprintf(message, sizeof message, "%s", g->err ? g->err->message : "");
            return sq_fail(g->err, s, "%s, L=%.0f: %s", sq_subject_name(subject),
                           cell.value[SQ_AXIS_L], message);
        }
        SQ_TRY(g->fn(subject, &cell, width, g->arg, g->err));
    } while (advance(p));
    return SQ_OK;
}

/* Passes, dtypes, cache states and launch modes of one subject and provider. */
static sq_status emit_provider(const group *g, const sq_subject *subject, const char *provider,
                               product *p)
{
    sq_cell cell;
    sq_subject_init_cell(subject, &cell);
    snprintf(cell.provider, sizeof cell.provider, "%s", provider);
    for (int i = 0; i < g->n_pass * g->n_dtype * g->n_cache * g->n_launch; i++) {
        int rest = i;
        cell.pass = g->pass[rest % g->n_pass], rest /= g->n_pass;
        cell.dtype = g->dtype[rest % g->n_dtype], rest /= g->n_dtype;
        cell.cache = g->cache[rest % g->n_cache], rest /= g->n_cache;
        cell.launch = g->launch[rest];
        SQ_TRY(emit_product(g, subject, &cell, p));
    }
    return SQ_OK;
}

static sq_status emit_providers(const group *g, const sq_subject *subject, product *p)
{
    const sq_catalog *catalog = g->request->catalog;
    sq_names names = g->providers;
    if (!g->providers.count)
        SQ_TRY(sq_catalog_names(catalog, subject, &names, g->err));
    sq_status s = SQ_OK;
    for (int i = 0; s == SQ_OK && i < names.count; i++)
        if (sq_catalog_has(catalog, subject, names.item[i]))
            s = emit_provider(g, subject, names.item[i], p);
    if (!g->providers.count)
        sq_names_free(&names);
    return s;
}

static sq_status emit_subject(const group *g, const sq_subject *subject)
{
    product p = {.dims = calloc(MAX_DIMS, sizeof *p.dims)};
    if (!p.dims)
        return sq_fail(g->err, SQ_OUT_OF_MEMORY, "no memory for a group of cells");
    sq_status s = read_dims(g, sq_subject_axes(subject), &p);
    if (s == SQ_OK)
        s = emit_providers(g, subject, &p);
    free(p.dims);
    return s;
}

static sq_status is_for_backend(const group *g, bool *out)
{
    static const char *const backends[] = {"cpu", "cuda", NULL};
    const sq_setting *on = sq_settings_get(g->settings, "on");
    *out = !on || strcmp(on->value, g->request->catalog->backend) == 0;
    if (on && strcmp(on->value, "cpu") != 0 && strcmp(on->value, "cuda") != 0)
        return sq_setting_at(on, sq_fail_unknown(g->err, "backend", on->value, backends), g->err);
    return SQ_OK;
}

/* Every pair of the two lists, before anything is measured. */
static sq_status check_modes(const group *g)
{
    const sq_setting *setting = sq_settings_get(g->settings, "launch");
    for (int i = 0; i < g->n_launch; i++)
        for (int k = 0; k < g->n_cache; k++)
            SQ_TRY(
                sq_setting_at(setting, sq_modes_check(g->cache[k], g->launch[i], g->err), g->err));
    return SQ_OK;
}

static sq_status read_group(group *g)
{
    SQ_TRY(add_subjects(g, "op", add_ops));
    SQ_TRY(add_subjects(g, "family", add_families));
    SQ_TRY(read_enums(g, "pass", "fwd", parse_pass, g->pass, sizeof g->pass[0], SQ_PASS_COUNT,
                      &g->n_pass));
    SQ_TRY(read_enums(g, "dtype", "bf16", parse_dtype, g->dtype, sizeof g->dtype[0], SQ_DTYPE_COUNT,
                      &g->n_dtype));
    SQ_TRY(read_enums(g, "cache", "clean-cold", parse_cache, g->cache, sizeof g->cache[0],
                      SQ_CACHE_COUNT, &g->n_cache));
    SQ_TRY(read_enums(g, "launch", "plain", parse_launch, g->launch, sizeof g->launch[0],
                      SQ_LAUNCH_COUNT, &g->n_launch));
    return check_modes(g);
}

sq_status sq_group_expand(const sq_plan_request *request, const sq_settings *settings, bool *used,
                          sq_cell_fn fn, void *arg, sq_error *err)
{
    group g = {
        .request = request, .settings = settings, .used = used, .fn = fn, .arg = arg, .err = err};
    bool is_here = false;
    SQ_TRY(is_for_backend(&g, &is_here));
    if (!is_here)
        return SQ_OK;
    if (!sq_settings_get(settings, "op") && !sq_settings_get(settings, "family"))
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: a group of cells needs op or family",
                       settings->count ? settings->item[0].origin : "suite");
    SQ_TRY(read_group(&g));
    if (!g.n_subjects)
        return SQ_OK;
    SQ_TRY(check_axes_used(&g));
    sq_status s = read_providers(&g);
    for (int i = 0; s == SQ_OK && i < g.n_subjects; i++)
        s = emit_subject(&g, &g.subject[i]);
    sq_names_free(&g.providers);
    return s;
}
