/* catalog: see catalog.h. */
#include "bench/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sq_status sq_catalog_add(sq_catalog *catalog, const char *op, const char *provider, sq_error *err)
{
    sq_offer *grown = realloc(catalog->offer, sizeof *grown * (size_t)(catalog->count + 1));
    if (!grown)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the list of providers");
    catalog->offer = grown;
    sq_offer *offer = &grown[catalog->count++];
    snprintf(offer->op, sizeof offer->op, "%s", op);
    snprintf(offer->provider, sizeof offer->provider, "%s", provider);
    return SQ_OK;
}

sq_status sq_catalog_parse(const json_t *providers, sq_catalog *out, sq_error *err)
{
    const char *op;
    json_t *list, *name;
    size_t i;
    if (!json_is_object(providers))
        return sq_fail(err, SQ_IO, "the worker's hello has no list of providers");
    json_object_foreach((json_t *)providers, op, list)
    {
        json_array_foreach(list, i, name)
        {
            if (!json_is_string(name))
                return sq_fail(err, SQ_IO, "the worker's hello: a provider is no text");
            SQ_TRY(sq_catalog_add(out, op, json_string_value(name), err));
        }
    }
    return SQ_OK;
}

void sq_catalog_free(sq_catalog *catalog)
{
    free(catalog->offer);
    *catalog = (sq_catalog){.count = 0};
}

/* Blocks take the names of provider sets: those of the backend itself, no vendor library. */
static bool is_set_name(const sq_catalog *catalog, const char *provider)
{
    size_t n = strlen(catalog->backend);
    return strncmp(provider, catalog->backend, n) == 0 && provider[n] == '/';
}

bool sq_catalog_has(const sq_catalog *catalog, const sq_subject *subject, const char *provider)
{
    for (int i = 0; i < catalog->count; i++) {
        const sq_offer *o = &catalog->offer[i];
        if (strcmp(o->provider, provider) != 0)
            continue;
        if (subject->op ? strcmp(o->op, subject->op->name) == 0 : is_set_name(catalog, provider))
            return true;
    }
    return false;
}

static const char *best_set(const sq_catalog *catalog)
{
    return strcmp(catalog->backend, "cpu") == 0 ? "cpu/ref" : "cuda/portable";
}

sq_status sq_catalog_names(const sq_catalog *catalog, const sq_subject *subject, sq_names *out,
                           sq_error *err)
{
    sq_text list = {.data = NULL};
    *out = (sq_names){.count = 0};
    if (subject->family) {
        sq_text_add(&list, best_set(catalog));
    } else {
        for (int i = 0; i < catalog->count; i++)
            if (strcmp(catalog->offer[i].op, subject->op->name) == 0 &&
                strncmp(catalog->offer[i].provider, "external:", 9) != 0)
                sq_text_printf(&list, "%s%s", list.length ? "," : "", catalog->offer[i].provider);
    }
    sq_status s = list.length ? sq_names_split(list.data, out, err) : SQ_OK;
    sq_text_free(&list);
    return s;
}
