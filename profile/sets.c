/* sets: see sets.h. */
#include "profile/sets.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "profile/profile.h"

const char *const sq_set_names[] = {"basic", "roofline",    "stalls",   "flops", "all",
                                    "mix",   "stalls_rest", "timeline", "tensor", NULL};

/* The embedded files. */
#define SETS_OF(X, chip)                                                                           \
    X(chip, basic) X(chip, roofline) X(chip, stalls) X(chip, flops) X(chip, all) X(chip, mix)      \
    X(chip, stalls_rest) X(chip, timeline) X(chip, tensor)
#define SETS(X)                                                                                    \
    SETS_OF(X, GH100) SETS_OF(X, GA100) SETS_OF(X, AD102) SETS_OF(X, GB202) SETS_OF(X, GB100)
#define SQ_X(chip, set) extern const char sq_set_##chip##_##set[];
SETS(SQ_X)
#undef SQ_X
static const struct {
    const char *chip, *set, *text;
} shipped[] = {
#define SQ_X(chip, set) {#chip, #set, sq_set_##chip##_##set},
    SETS(SQ_X)
#undef SQ_X
};

/* Chips by the start of their name, the first that fits; others are taken for GH100: what a chip has
 * not is found out metric by metric. */
static const struct {
    const char *start, *folder;
} nearest[] = {
    {"GH", "GH100"},  {"GA100", "GA100"}, {"GA", "AD102"}, {"AD", "AD102"},
    {"GB20", "GB202"}, {"GB", "GB100"},   {"TU", "GA100"}, {"GV", "GA100"},
};

const char *sq_set_folder(const char *chip)
{
    for (size_t i = 0; chip && i < sizeof nearest / sizeof *nearest; i++)
        if (strncmp(chip, nearest[i].start, strlen(nearest[i].start)) == 0)
            return nearest[i].folder;
    return "GH100";
}

static const char *shipped_text(const char *chip, const char *name)
{
    const char *folder = sq_set_folder(chip);
    for (size_t i = 0; i < sizeof shipped / sizeof *shipped; i++)
        if (strcmp(shipped[i].chip, folder) == 0 && strcmp(shipped[i].set, name) == 0)
            return shipped[i].text;
    return NULL;
}

const char *sq_metric_cupti_name(const sq_metric_def *metric)
{
    static const char *const starts[] = {"cupti:", "pm:"};
    for (size_t i = 0; metric && i < 2; i++)
        if (strncmp(metric->source, starts[i], strlen(starts[i])) == 0)
            return metric->source + strlen(starts[i]);
    return NULL;
}

/* --- reading --- */

/* Where a line stands, for errors. */
typedef struct {
    sq_counter_set *set;
    const char *chip, *name;
    int line, depth;
    sq_set_image *image; /* of this file; NULL before its first metric */
} reader;

static sq_status read_text(sq_counter_set *set, const char *chip, const char *name,
                           const char *text, int depth, sq_error *err);

static sq_status refuse(const reader *r, const char *what, const char *word, sq_error *err)
{
    return sq_fail(err, SQ_BAD_ARGUMENT, "counter set %s, line %d: %s \"%s\"", r->name, r->line,
                   what, word);
}

static sq_status include(const reader *r, const char *name, sq_error *err)
{
    const char *text = shipped_text(r->chip, name);
    if (!text)
        return refuse(r, "unknown set", name, err);
    if (r->depth > 2)
        return refuse(r, "too many levels of include at", name, err);
    return read_text(r->set, r->chip, name, text, r->depth + 1, err);
}

static bool is_listed(const sq_set_image *image, const char *metric)
{
    for (int i = 0; i < image->n; i++)
        if (strcmp(image->line[i].metric, metric) == 0)
            return true;
    return false;
}

/* A metric of the user's own joins the table of the campaign. */
static sq_status add_extra(const reader *r, const char *metric, const char *cupti, sq_error *err)
{
    sq_counter_set *set = r->set;
    for (int i = 0; i < set->n_extra; i++)
        if (strcmp(set->extra[i].name, metric) == 0)
            return SQ_OK;
    sq_text source = {.data = NULL};
    sq_text_printf(&source, "cupti:%s", cupti);
    if (source.is_failed || set->n_extra == SQ_SET_MAX_METRICS) {
        sq_text_free(&source);
        return refuse(r, "no room for", metric, err);
    }
    set->source[set->n_extra] = source.data;
    set->extra[set->n_extra++] = (sq_metric_def){.name = metric,
                                                 .unit = "",
                                                 .better = "",
                                                 .source = source.data,
                                                 .doc = "of the user's counter set"};
    return SQ_OK;
}

static sq_status open_image(reader *r, sq_error *err)
{
    if (r->image)
        return SQ_OK;
    if (r->set->n_images == SQ_SET_MAX_IMAGES)
        return refuse(r, "no room for", r->name, err);
    r->image = &r->set->image[r->set->n_images++];
    snprintf(r->image->name, sizeof r->image->name, "%s", r->name);
    return SQ_OK;
}

/* cupti: the second word of the line, or NULL. */
static sq_status add_metric(reader *r, const char *metric, const char *cupti, sq_error *err)
{
    const sq_metric_def *known = sq_metric_find(metric);
    SQ_TRY(open_image(r, err));
    if (is_listed(r->image, metric))
        return refuse(r, "a second time", metric, err);
    if (r->image->n == SQ_SET_MAX_METRICS)
        return refuse(r, "no room for", metric, err);
    if (known && !sq_metric_cupti_name(known))
        return refuse(r, "not a counted metric:", metric, err);
    if (!known && !strstr(cupti ? cupti : metric, "__"))
        return refuse(r, "neither a metric of seqmark nor a CUPTI name:", metric, err);
    if (strlen(metric) >= sizeof ((sq_value *)0)->metric)
        return refuse(r, "too long a name:", metric, err);
    const char *name = cupti ? cupti : known ? sq_metric_cupti_name(known) : metric;
    if (!known)
        SQ_TRY(add_extra(r, metric, name, err));
    r->image->line[r->image->n++] =
        (sq_set_line){.metric = metric, .cupti = strcmp(name, "-") == 0 ? NULL : name};
    return SQ_OK;
}

static sq_status state_passes(reader *r, const char *word, int *passes, sq_error *err)
{
    char *end;
    long n = strtol(word, &end, 10);
    if (*end || n < 1 || n > 1000)
        return refuse(r, "no number of passes:", word, err);
    *passes = (int)n;
    return SQ_OK;
}

/* `line` is cut into words in place; what stays of it is pointed to. */
static sq_status read_line(reader *r, char *line, int *passes, sq_error *err)
{
    static const char blanks[] = " \t\r";
    char *rest = NULL;
    line[strcspn(line, "#")] = 0;
    char *first = strtok_r(line, blanks, &rest);
    char *second = first ? strtok_r(NULL, blanks, &rest) : NULL;
    char *third = second ? strtok_r(NULL, blanks, &rest) : NULL;
    if (!first)
        return SQ_OK;
    if (third)
        return refuse(r, "more than two words:", third, err);
    if (second && strcmp(first, "passes") == 0)
        return state_passes(r, second, passes, err);
    if (second && strcmp(first, "include") == 0)
        return include(r, second, err);
    return add_metric(r, first, second, err);
}

static sq_status read_text(sq_counter_set *set, const char *chip, const char *name,
                           const char *text, int depth, sq_error *err)
{
    reader r = {.set = set, .chip = chip, .name = name, .depth = depth};
    int passes = 0;
    char *copy = set->n_texts < SQ_SET_MAX_FILES ? strdup(text) : NULL, *rest = copy;
    if (!copy)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no room for counter set %s", name);
    set->text[set->n_texts++] = copy;
    for (char *line = rest; line; line = rest) {
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = 0;
        r.line++;
        SQ_TRY(read_line(&r, line, &passes, err));
    }
    if (r.image)
        r.image->passes = passes;
    if (depth == 0)
        set->passes += passes;
    return SQ_OK;
}

/* --- loading --- */

enum { MAX_FILE_BYTES = 1 << 16 };

static sq_status read_file(const char *path, char *text, sq_error *err)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return sq_fail(err, SQ_BAD_ARGUMENT, "counter set %s: %s", path, strerror(errno));
    size_t n = fread(text, 1, MAX_FILE_BYTES - 1, file);
    int reason = ferror(file) ? errno : 0;
    fclose(file);
    if (reason)
        return sq_fail(err, SQ_BAD_ARGUMENT, "counter set %s: %s", path, strerror(reason));
    if (n == MAX_FILE_BYTES - 1 || memchr(text, 0, n))
        return sq_fail(err, SQ_BAD_ARGUMENT, "counter set %s: not a text below 64 kB", path);
    text[n] = 0;
    return SQ_OK;
}

static sq_status load_file(sq_counter_set *set, const char *chip, const char *path, sq_error *err)
{
    char *text = malloc(MAX_FILE_BYTES);
    if (!text)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for counter set %s", path);
    sq_status s = read_file(path, text, err);
    if (s == SQ_OK)
        s = read_text(set, chip, path, text, 0, err);
    free(text);
    return s;
}

static sq_status load_shipped(sq_counter_set *set, const char *chip, char *names, sq_error *err)
{
    char *rest = NULL;
    for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        const char *text = shipped_text(chip, name);
        if (!text)
            return sq_fail_unknown(err, "counter set", name, sq_set_names);
        SQ_TRY(read_text(set, chip, name, text, 0, err));
    }
    return SQ_OK;
}

static sq_status load(sq_counter_set *set, const char *names, const char *chip, sq_error *err)
{
    if (strpbrk(names, "/."))
        SQ_TRY(load_file(set, chip, names, err));
    else {
        char *copy = strdup(names);
        if (!copy)
            return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for counter sets");
        sq_status s = load_shipped(set, chip, copy, err);
        free(copy);
        SQ_TRY(s);
    }
    if (set->n_images == 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "counter set \"%s\" names no metric", names);
    return SQ_OK;
}

sq_status sq_set_load(const char *names, const char *chip, sq_counter_set **out, sq_error *err)
{
    sq_counter_set *set = calloc(1, sizeof *set);
    *out = NULL;
    if (!set)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for counter sets");
    sq_status s = load(set, names, chip, err);
    if (s == SQ_OK)
        *out = set;
    else
        sq_set_free(set);
    return s;
}

void sq_set_free(sq_counter_set *set)
{
    for (int i = 0; set && i < set->n_texts; i++)
        free(set->text[i]);
    for (int i = 0; set && i < set->n_extra; i++)
        free(set->source[i]);
    free(set);
}

sq_metric_def *sq_set_metrics(const sq_counter_set *set)
{
    size_t n = 0, extra = (size_t)set->n_extra;
    while (sq_metrics[n].name)
        n++;
    sq_metric_def *all = calloc(n + extra + 1, sizeof *all);
    if (all) {
        memcpy(all, sq_metrics, n * sizeof *all);
        memcpy(all + n, set->extra, extra * sizeof *all);
    }
    return all;
}
