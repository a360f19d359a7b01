#include "core/cell.h"

#include <stdio.h>
#include <string.h>

#include "core/text.h"

static const char *const kinds[] = {"op", "block", NULL};
static const char *const passes[] = {"fwd", "bwd", "fwdbwd", "step", NULL};
static const char *const caches[] = {"clean-cold", "hot", NULL};
static const char *const launches[] = {"plain", NULL};
static const char *const clocks[] = {"unlocked", NULL};

const char *sq_kind_name(sq_kind kind) { return kinds[kind]; }
const char *sq_pass_name(sq_pass pass) { return passes[pass]; }
const char *sq_cache_name(sq_cache cache) { return caches[cache]; }
const char *sq_launch_name(sq_launch launch) { return launches[launch]; }
const char *sq_clock_name(sq_clock clock) { return clocks[clock]; }

static sq_status find(const char *what, const char *const *names, const char *name, int *out,
                      sq_error *err)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = i;
            return SQ_OK;
        }
    }
    return sq_fail_unknown(err, what, name, names);
}

sq_status sq_pass_parse(const char *name, sq_pass *out, sq_error *err)
{
    int i = 0;
    SQ_TRY(find("pass", passes, name, &i, err));
    *out = (sq_pass)i;
    return SQ_OK;
}

sq_status sq_cache_parse(const char *name, sq_cache *out, sq_error *err)
{
    int i = 0;
    SQ_TRY(find("cache mode", caches, name, &i, err));
    *out = (sq_cache)i;
    return SQ_OK;
}

void sq_cell_key(const sq_cell *cell, char key[SQ_KEY_MAX])
{
    int used = snprintf(key, SQ_KEY_MAX, "%s%s@%s/%s/%s/", cell->kind == SQ_KIND_BLOCK ? "block:" : "",
                        cell->subject, cell->provider, sq_pass_name(cell->pass),
                        sq_dtype_name(cell->dtype));
    for (int i = 0; cell->axes[i].name && used < SQ_KEY_MAX; i++) {
        char text[64];
        sq_axis_format(&cell->axes[i], cell->value[i], text, sizeof text);
        used += snprintf(key + used, (size_t)(SQ_KEY_MAX - used), "%s%s=%s", i ? "," : "",
                         cell->axes[i].name, text);
    }
    if (used < SQ_KEY_MAX)
        snprintf(key + used, (size_t)(SQ_KEY_MAX - used), "/%s,%s,%s", sq_cache_name(cell->cache),
                 sq_launch_name(cell->launch), sq_clock_name(cell->clock));
}

void sq_hash_text(const char *text, char out[SQ_HASH_TEXT])
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    snprintf(out, SQ_HASH_TEXT, "%016llx", (unsigned long long)hash);
}

double sq_cell_axis(const sq_cell *cell, const char *name, double fallback)
{
    int i = sq_axis_find(cell->axes, name);
    return i < 0 ? fallback : cell->value[i];
}
