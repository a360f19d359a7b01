/* suite: reads the YAML document node by node, so that every refusal has its line and column. */
#include "bench/suite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "core/text.h"

typedef struct {
    yaml_document_t *document;
    const char *path;
    sq_suite *suite;
    sq_error *err;
} reader;

typedef struct {
    char text[1100];
} place;

static place place_of(const reader *r, const yaml_node_t *node)
{
    place p;
    snprintf(p.text, sizeof p.text, "%s:%zu:%zu", r->path, node->start_mark.line + 1,
             node->start_mark.column + 1);
    return p;
}

static sq_status refuse(const reader *r, const yaml_node_t *node, const char *what)
{
    return sq_fail(r->err, SQ_BAD_ARGUMENT, "%s: %s", place_of(r, node).text, what);
}

static const char *scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

/* --- mappings: a visitor per entry, duplicates refused --- */

typedef sq_status (*visit_fn)(reader *r, const char *key, yaml_node_t *key_node, yaml_node_t *value,
                              void *arg);

static bool is_repeated(const reader *r, const yaml_node_t *map, const yaml_node_pair_t *pair,
                        const char *key)
{
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
        const char *other = scalar(yaml_document_get_node(r->document, p->key));
        if (other && strcmp(other, key) == 0)
            return true;
    }
    return false;
}

static sq_status each_pair(reader *r, const yaml_node_t *map, visit_fn visit, void *arg)
{
    if (map->type != YAML_MAPPING_NODE)
        return refuse(r, map, "a mapping (key: value) belongs here");
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key_node = yaml_document_get_node(r->document, p->key);
        const char *key = scalar(key_node);
        if (!key)
            return refuse(r, key_node, "a key is a plain word");
        if (is_repeated(r, map, p, key))
            return sq_fail(r->err, SQ_BAD_ARGUMENT, "%s: key \"%s\" stands here a second time",
                           place_of(r, key_node).text, key);
        SQ_TRY(visit(r, key, key_node, yaml_document_get_node(r->document, p->value), arg));
    }
    return SQ_OK;
}

/* --- settings --- */

/* A scalar as it stands, a sequence of scalars joined by commas. */
static sq_status value_text(const reader *r, const yaml_node_t *node, sq_text *out)
{
    if (scalar(node)) {
        sq_text_add(out, scalar(node));
    } else if (node->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = node->data.sequence.items.start;
             i < node->data.sequence.items.top; i++) {
            const yaml_node_t *item = yaml_document_get_node(r->document, *i);
            if (!scalar(item))
                return refuse(r, item, "a list holds plain values only");
            sq_text_printf(out, "%s%s", out->length ? "," : "", scalar(item));
        }
    } else {
        return refuse(r, node, "a value or a list of values belongs here");
    }
    if (!out->length)
        return refuse(r, node, "an empty value");
    return SQ_OK;
}

static void hyphenate(const char *key, char *out, size_t size)
{
    snprintf(out, size, "%s", key);
    for (char *c = out; *c; c++)
        if (*c == '_')
            *c = '-';
}

static sq_status set(const reader *r, sq_settings *settings, const char *key,
                     const yaml_node_t *key_node, const yaml_node_t *value)
{
    sq_text text = {.data = NULL};
    sq_status s = value_text(r, value, &text);
    if (s == SQ_OK)
        s = text.is_failed
                ? sq_fail(r->err, SQ_OUT_OF_MEMORY, "no memory for %s", key)
                : sq_settings_set(settings, key, text.data, place_of(r, key_node).text, r->err);
    sq_text_free(&text);
    return s;
}

static sq_status visit_group(reader *r, const char *key, yaml_node_t *key_node, yaml_node_t *value,
                             void *arg)
{
    char name[64];
    hyphenate(key, name, sizeof name);
    const sq_setting_def *def = sq_setting_find(name);
    if (def && def->scope == SQ_SCOPE_GROUP)
        return set(r, arg, name, key_node, value);
    if (sq_setting_is_axis(key))
        return set(r, arg, key, key_node, value);
    return sq_setting_unknown(SQ_SCOPE_GROUP, key, place_of(r, key_node).text, r->err);
}

/* {base: NAME, field: value ...} */
static sq_status visit_policy(reader *r, const char *key, yaml_node_t *key_node, yaml_node_t *value,
                              void *arg)
{
    char name[64];
    hyphenate(strcmp(key, "base") == 0 ? "policy" : key, name, sizeof name);
    const sq_setting_def *def = sq_setting_find(name);
    if (!def || def->scope != SQ_SCOPE_CAMPAIGN)
        return sq_setting_unknown(SQ_SCOPE_CAMPAIGN, key, place_of(r, key_node).text, r->err);
    return set(r, arg, name, key_node, value);
}

static sq_status read_groups(reader *r, const yaml_node_t *node)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return refuse(r, node, "\"cells\" is a list of groups");
    size_t n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    r->suite->groups = calloc(n + 1, sizeof *r->suite->groups);
    if (!r->suite->groups)
        return sq_fail(r->err, SQ_OUT_OF_MEMORY, "no memory for %zu groups", n);
    for (size_t i = 0; i < n; i++) {
        const yaml_node_t *group =
            yaml_document_get_node(r->document, node->data.sequence.items.start[i]);
        r->suite->n_groups++;
        SQ_TRY(each_pair(r, group, visit_group, &r->suite->groups[i]));
    }
    return SQ_OK;
}

static sq_status read_word(const reader *r, const yaml_node_t *node, char *out, size_t size)
{
    const char *text = scalar(node);
    if (!text || strlen(text) >= size)
        return refuse(r, node, "a short text belongs here");
    strcpy(out, text);
    return SQ_OK;
}

static sq_status visit_top(reader *r, const char *key, yaml_node_t *key_node, yaml_node_t *value,
                           void *arg)
{
    static const char *const keys[] = {"name", "description", "defaults", "cells", "policy", NULL};
    (void)arg;
    if (strcmp(key, "name") == 0)
        return read_word(r, value, r->suite->name, sizeof r->suite->name);
    if (strcmp(key, "description") == 0)
        return read_word(r, value, r->suite->description, sizeof r->suite->description);
    if (strcmp(key, "defaults") == 0)
        return each_pair(r, value, visit_group, &r->suite->defaults);
    if (strcmp(key, "cells") == 0)
        return read_groups(r, value);
    if (strcmp(key, "policy") == 0 && value->type == YAML_MAPPING_NODE)
        return each_pair(r, value, visit_policy, &r->suite->campaign);
    const char *near = sq_nearest(key, keys);
    if (near && !sq_setting_find(key) && strcmp(near, key) != 0)
        return sq_fail(r->err, SQ_BAD_ARGUMENT, "%s: unknown key \"%s\"; did you mean \"%s\"?",
                       place_of(r, key_node).text, key, near);
    return visit_policy(r, key, key_node, value, &r->suite->campaign);
}

/* --- the file --- */

static sq_status parse_error(const yaml_parser_t *parser, const char *path, sq_error *err)
{
    return sq_fail(err, SQ_BAD_ARGUMENT, "%s:%zu:%zu: %s", path, parser->problem_mark.line + 1,
                   parser->problem_mark.column + 1, parser->problem ? parser->problem : "not YAML");
}

static sq_status read_document(reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(r->document);
    if (!root)
        return sq_fail(r->err, SQ_BAD_ARGUMENT, "%s: an empty suite", r->path);
    SQ_TRY(each_pair(r, root, visit_top, NULL));
    if (!r->suite->name[0])
        return refuse(r, root, "the suite has no \"name\"");
    if (r->suite->n_groups == 0)
        return refuse(r, root, "the suite has no \"cells\"");
    return SQ_OK;
}

static sq_status read_stream(FILE *file, const char *path, sq_suite *out, sq_error *err)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser))
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory to read %s", path);
    yaml_parser_set_input_file(&parser, file);
    sq_status s;
    if (!yaml_parser_load(&parser, &document)) {
        s = parse_error(&parser, path, err);
    } else {
        reader r = {.document = &document, .path = path, .suite = out, .err = err};
        s = read_document(&r);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return s;
}

sq_status sq_suite_load(const char *path, sq_suite *out, sq_error *err)
{
    FILE *file = fopen(path, "rb");
    int first = file ? fgetc(file) : EOF; /* a folder opens, and fails to be read */
    if (!file || ferror(file)) {
        int reason = errno;
        if (file)
            fclose(file);
        return sq_fail(err, SQ_IO, "cannot read suite %s: %s", path, strerror(reason));
    }
    ungetc(first, file);
    snprintf(out->path, sizeof out->path, "%s", path);
    sq_status s = read_stream(file, path, out, err);
    fclose(file);
    return s;
}

void sq_suite_free(sq_suite *suite)
{
    for (int i = 0; i < suite->n_groups; i++)
        sq_settings_free(&suite->groups[i]);
    free(suite->groups);
    sq_settings_free(&suite->campaign);
    sq_settings_free(&suite->defaults);
    *suite = (sq_suite){.n_groups = 0};
}
