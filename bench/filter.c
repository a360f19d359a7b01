/* filter: a recursive-descent parser into an array of nodes, and its evaluation. */
#include "bench/filter.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/settings.h"
#include "bench/subject.h"
#include "core/text.h"
#include "kernels/op.h"
#include "models/graph.h"

enum { MAX_NODES = 128, MAX_DEPTH = 64, MAX_WORD = 64 };

typedef enum { NODE_AND, NODE_OR, NODE_NOT, NODE_COMPARE } node_kind;
typedef enum { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_HAS } compare_kind;

typedef struct {
    node_kind kind;
    int left, right; /* indices of nodes */
    compare_kind compare;
    char name[MAX_WORD], value[MAX_WORD];
} node;

struct sq_filter {
    node nodes[MAX_NODES];
    int count, root;
};

typedef struct {
    const char *text, *at;
    sq_filter *filter;
    int depth;
    sq_error *err;
} parser;

/* --- parsing --- */

static int column(const parser *p)
{
    return (int)(p->at - p->text) + 1;
}

static void skip_blanks(parser *p)
{
    while (isspace((unsigned char)*p->at))
        p->at++;
}

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '/' || c == '.' || c == ':';
}

/* Reads a bare or quoted word; empty where there is none. */
static sq_status read_word(parser *p, char out[MAX_WORD])
{
    skip_blanks(p);
    const char quote = *p->at == '"' || *p->at == '\'' ? *p->at : 0;
    const char *start = quote ? ++p->at : p->at;
    while (*p->at && (quote ? *p->at != quote : is_word_char(*p->at)))
        p->at++;
    size_t length = (size_t)(p->at - start);
    if (length >= MAX_WORD)
        return sq_fail(p->err, SQ_BAD_ARGUMENT, "filter, column %d: word too long", column(p));
    memcpy(out, start, length);
    out[length] = 0;
    if (quote && *p->at != quote)
        return sq_fail(p->err, SQ_BAD_ARGUMENT, "filter, column %d: quote without its end",
                       column(p));
    p->at += quote != 0;
    return SQ_OK;
}

/* Takes keyword or symbol `word` when it comes next. */
static bool take(parser *p, const char *word)
{
    skip_blanks(p);
    size_t n = strlen(word);
    if (strncmp(p->at, word, n) != 0 || (isalpha((unsigned char)*word) && is_word_char(p->at[n])))
        return false;
    p->at += n;
    return true;
}

static sq_status add_node(parser *p, node made, int *out)
{
    if (p->filter->count == MAX_NODES)
        return sq_fail(p->err, SQ_BAD_ARGUMENT, "filter, column %d: more than %d terms", column(p),
                       MAX_NODES);
    *out = p->filter->count;
    p->filter->nodes[p->filter->count++] = made;
    return SQ_OK;
}

static const char *const fields[] = {"subject", "op",    "family", "kind",  "provider", "pass",
                                     "dtype",   "cache", "launch", "width", "tokens",   NULL};

static bool is_field(const char *name)
{
    for (int i = 0; fields[i]; i++)
        if (strcmp(fields[i], name) == 0)
            return true;
    return false;
}

static sq_status check_name(parser *p, const char *name, int where)
{
    if (!*name)
        return sq_fail(p->err, SQ_BAD_ARGUMENT, "filter, column %d: a name is missing", where);
    if (is_field(name) || sq_setting_is_axis(name))
        return SQ_OK;
    const char *near = sq_nearest(name, fields);
    near = near ? near : sq_setting_nearest_axis(name);
    return sq_fail(p->err, SQ_BAD_ARGUMENT, "filter, column %d: unknown name \"%s\"%s%s%s", where,
                   name, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static sq_status read_operator(parser *p, compare_kind *out)
{
    static const struct {
        const char *text;
        compare_kind kind;
    } operators[] = {{"==", CMP_EQ}, {"!=", CMP_NE}, {"<=", CMP_LE}, {">=", CMP_GE},
                     {"=", CMP_EQ},  {"<", CMP_LT},  {">", CMP_GT},  {"~", CMP_HAS}};
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (take(p, operators[i].text)) {
            *out = operators[i].kind;
            return SQ_OK;
        }
    }
    return sq_fail(p->err, SQ_BAD_ARGUMENT,
                   "filter, column %d: one of == != < <= > >= ~ is missing", column(p));
}

/* --- values: one that its name never has would be false for every cell --- */

/* Any subject, so that "family==attention" is false and no mistake. */
static sq_status check_subject(const char *value, sq_error *err)
{
    const char *known[128] = {NULL};
    int n = 0, ignored;
    for (int i = 0; sq_ops[i] && n < 127; i++)
        known[n++] = sq_ops[i]->name;
    for (int i = 0; sq_families[i] && n < 127; i++)
        known[n++] = sq_families[i]->name;
    return sq_find_name("subject", value, known, &ignored, err);
}

static sq_status check_kind(const char *value, sq_error *err)
{
    static const char *const kinds[] = {"op", "block", NULL};
    int ignored;
    return sq_find_name("kind", value, kinds, &ignored, err);
}

static sq_status check_pass(const char *value, sq_error *err)
{
    sq_pass ignored;
    return sq_pass_parse(value, &ignored, err);
}

static sq_status check_dtype(const char *value, sq_error *err)
{
    sq_dtype ignored;
    return sq_dtype_parse(value, &ignored, err);
}

static sq_status check_cache(const char *value, sq_error *err)
{
    sq_cache ignored;
    return sq_cache_parse(value, &ignored, err);
}

static sq_status check_launch(const char *value, sq_error *err)
{
    sq_launch ignored;
    return sq_launch_parse(value, &ignored, err);
}

/* What a provider may be called only the device knows. */
static const struct {
    const char *name;
    sq_status (*check)(const char *value, sq_error *err);
} text_fields[] = {{"subject", check_subject}, {"op", check_subject},    {"family", check_subject},
                   {"kind", check_kind},       {"pass", check_pass},     {"dtype", check_dtype},
                   {"cache", check_cache},     {"launch", check_launch}, {"provider", NULL}};

typedef struct {
    const char *name;
    bool is_choice;
} choice_search;

static bool visit_choice(const sq_axis *axis, void *arg)
{
    choice_search *search = arg;
    bool is_it = strcmp(axis->name, search->name) == 0 || strcmp(axis->flag, search->name) == 0;
    search->is_choice |= is_it && axis->kind == SQ_AXIS_CHOICE;
    return true;
}

static sq_status refuse_value(const parser *p, int where, const char *name, const char *rule)
{
    return sq_fail(p->err, SQ_BAD_ARGUMENT, "filter, column %d: %s %s", where, name, rule);
}

static sq_status check_value(const parser *p, const node *n, int where)
{
    choice_search search = {.name = n->name};
    sq_error why = {.status = SQ_OK};
    double ignored;
    if (n->compare == CMP_HAS)
        return SQ_OK;
    for (size_t i = 0; i < sizeof text_fields / sizeof text_fields[0]; i++) {
        if (strcmp(text_fields[i].name, n->name) != 0)
            continue;
        if (n->compare != CMP_EQ && n->compare != CMP_NE)
            return refuse_value(p, where, n->name, "is a text: it has == != ~ only");
        if (text_fields[i].check && text_fields[i].check(n->value, &why) != SQ_OK)
            return sq_fail(p->err, SQ_BAD_ARGUMENT, "filter, column %d: %.400s", where,
                           why.message);
        return SQ_OK;
    }
    sq_subject_each_axis(visit_choice, &search);
    if (search.is_choice || sq_parse_number(n->value, &ignored))
        return SQ_OK;
    return refuse_value(p, where, n->name, "is a number, and this is none");
}

static sq_status parse_comparison(parser *p, int *out)
{
    node made = {.kind = NODE_COMPARE};
    skip_blanks(p);
    int where = column(p);
    SQ_TRY(read_word(p, made.name));
    SQ_TRY(check_name(p, made.name, where));
    SQ_TRY(read_operator(p, &made.compare));
    skip_blanks(p);
    where = column(p);
    SQ_TRY(read_word(p, made.value));
    if (!*made.value)
        return sq_fail(p->err, SQ_BAD_ARGUMENT, "filter, column %d: a value is missing", where);
    SQ_TRY(check_value(p, &made, where));
    return add_node(p, made, out);
}

static sq_status parse_or(parser *p, int *out);

static sq_status parse_not(parser *p, int *out)
{
    if (p->depth >= MAX_DEPTH)
        return sq_fail(p->err, SQ_BAD_ARGUMENT, "filter, column %d: nested too deep", column(p));
    sq_status s;
    p->depth++;
    if (take(p, "not")) {
        node made = {.kind = NODE_NOT};
        s = parse_not(p, &made.left);
        if (s == SQ_OK)
            s = add_node(p, made, out);
    } else if (take(p, "(")) {
        s = parse_or(p, out);
        if (s == SQ_OK && !take(p, ")"))
            s = sq_fail(p->err, SQ_BAD_ARGUMENT, "filter, column %d: ) is missing", column(p));
    } else {
        s = parse_comparison(p, out);
    }
    p->depth--;
    return s;
}

static sq_status parse_and(parser *p, int *out)
{
    SQ_TRY(parse_not(p, out));
    while (take(p, "and")) {
        node made = {.kind = NODE_AND, .left = *out};
        SQ_TRY(parse_not(p, &made.right));
        SQ_TRY(add_node(p, made, out));
    }
    return SQ_OK;
}

static sq_status parse_or(parser *p, int *out)
{
    SQ_TRY(parse_and(p, out));
    while (take(p, "or")) {
        node made = {.kind = NODE_OR, .left = *out};
        SQ_TRY(parse_and(p, &made.right));
        SQ_TRY(add_node(p, made, out));
    }
    return SQ_OK;
}

sq_status sq_filter_parse(const char *text, sq_filter **out, sq_error *err)
{
    sq_filter *filter = calloc(1, sizeof *filter);
    *out = NULL;
    if (!filter)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the filter");
    parser p = {.text = text, .at = text, .filter = filter, .err = err};
    sq_status s = parse_or(&p, &filter->root);
    skip_blanks(&p);
    if (s == SQ_OK && *p.at)
        s = sq_fail(err, SQ_BAD_ARGUMENT,
                    "filter, column %d: \"and\" or \"or\" is missing before "
                    "\"%.20s\"",
                    column(&p), p.at);
    if (s != SQ_OK) {
        free(filter);
        return s;
    }
    *out = filter;
    return SQ_OK;
}

void sq_filter_free(sq_filter *filter)
{
    free(filter);
}

/* --- evaluation --- */

/* Text of one of `fields`; NULL for the numeric ones and for axes. */
static const char *text_field(const sq_cell *cell, const char *name)
{
    const struct {
        const char *name, *text;
    } known[] = {
        {"subject", cell->subject},
        {"op", cell->kind == SQ_KIND_OP ? cell->subject : ""},
        {"family", cell->kind == SQ_KIND_BLOCK ? cell->subject : ""},
        {"kind", sq_kind_name(cell->kind)},
        {"provider", cell->provider},
        {"pass", sq_pass_name(cell->pass)},
        {"dtype", sq_dtype_name(cell->dtype)},
        {"cache", sq_cache_name(cell->cache)},
        {"launch", sq_launch_name(cell->launch)},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].text;
    return NULL;
}

/* Text of a field or axis of the cell; false where the cell has no such thing. */
static bool cell_text(const sq_cell *cell, int64_t width, const char *name, char *out, size_t size)
{
    const char *text = text_field(cell, name);
    int axis = sq_axis_find(cell->axes, name);
    if (text)
        snprintf(out, size, "%s", text);
    else if (axis >= 0 && !is_field(name))
        sq_axis_format(&cell->axes[axis], cell->value[axis], out, size);
    else if (strcmp(name, "width") == 0)
        snprintf(out, size, "%lld", (long long)width);
    else if (strcmp(name, "tokens") == 0)
        snprintf(out, size, "%.17g", cell->value[SQ_AXIS_B] * cell->value[SQ_AXIS_L]);
    else
        return false;
    return true;
}

static bool holds(compare_kind kind, double order)
{
    switch (kind) {
    case CMP_EQ:
        return order == 0;
    case CMP_NE:
        return order != 0;
    case CMP_LT:
        return order < 0;
    case CMP_LE:
        return order <= 0;
    case CMP_GT:
        return order > 0;
    case CMP_GE:
        return order >= 0;
    default:
        return false;
    }
}

static bool compare(const node *n, const sq_cell *cell, int64_t width)
{
    char have[SQ_NAME_MAX + 64];
    double a = 0, b = 0;
    if (!cell_text(cell, width, n->name, have, sizeof have))
        return false;
    if (n->compare == CMP_HAS)
        return strstr(have, n->value) != NULL;
    if (sq_parse_number(have, &a) && sq_parse_number(n->value, &b))
        return holds(n->compare, a - b);
    return holds(n->compare, strcmp(have, n->value));
}

static bool evaluate(const sq_filter *filter, int i, const sq_cell *cell, int64_t width)
{
    const node *n = &filter->nodes[i];
    switch (n->kind) {
    case NODE_AND:
        return evaluate(filter, n->left, cell, width) && evaluate(filter, n->right, cell, width);
    case NODE_OR:
        return evaluate(filter, n->left, cell, width) || evaluate(filter, n->right, cell, width);
    case NODE_NOT:
        return !evaluate(filter, n->left, cell, width);
    default:
        return compare(n, cell, width);
    }
}

bool sq_filter_keeps(const sq_filter *filter, const sq_cell *cell, int64_t width)
{
    return !filter || evaluate(filter, filter->root, cell, width);
}
