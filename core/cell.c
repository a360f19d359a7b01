#include "core/cell.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/text.h"

const sq_pass sq_own_passes[SQ_OWN_PASSES] = {SQ_PASS_FWD, SQ_PASS_BWD, SQ_PASS_STEP};

static const char *const kind_names[] = {"op", "block", NULL};
static const char *const pass_names[] = {"fwd", "bwd", "fwdbwd", "step", NULL};
static const char *const cache_names[] = {"clean-cold", "dirty-cold", "hot", "rotate", NULL};
static const char *const launch_names[] = {"plain", "graph", "batch", NULL};
static const char unlocked[] = "unlocked", locked[] = "locked@", base[] = "base";

static const char *name_of(const char *const *names, unsigned index, unsigned count)
{
    return index < count ? names[index] : "unknown";
}

const char *sq_kind_name(sq_kind kind) { return name_of(kind_names, kind, SQ_KIND_COUNT); }
const char *sq_pass_name(sq_pass pass) { return name_of(pass_names, pass, SQ_PASS_COUNT); }
const char *sq_cache_name(sq_cache cache) { return name_of(cache_names, cache, SQ_CACHE_COUNT); }

const char *sq_launch_name(sq_launch launch)
{
    return name_of(launch_names, launch, SQ_LAUNCH_COUNT);
}

void sq_clock_format(sq_clock clock, char out[SQ_CLOCK_TEXT])
{
    if (clock == SQ_CLOCK_UNLOCKED)
        snprintf(out, SQ_CLOCK_TEXT, "%s", unlocked);
    else if (clock == SQ_CLOCK_BASE)
        snprintf(out, SQ_CLOCK_TEXT, "%s%s", locked, base);
    else
        snprintf(out, SQ_CLOCK_TEXT, "%s%d", locked, clock % (SQ_CLOCK_MOST_MHZ + 1));
}

sq_status sq_pass_parse(const char *name, sq_pass *out, sq_error *err)
{
    int index = 0;
    SQ_TRY(sq_find_name("pass", name, pass_names, &index, err));
    *out = (sq_pass)index;
    return SQ_OK;
}

sq_status sq_cache_parse(const char *name, sq_cache *out, sq_error *err)
{
    int index = 0;
    SQ_TRY(sq_find_name("cache mode", name, cache_names, &index, err));
    *out = (sq_cache)index;
    return SQ_OK;
}

sq_status sq_launch_parse(const char *name, sq_launch *out, sq_error *err)
{
    int index = 0;
    SQ_TRY(sq_find_name("launch mode", name, launch_names, &index, err));
    *out = (sq_launch)index;
    return SQ_OK;
}

sq_status sq_clock_parse_lock(const char *text, sq_clock *out, sq_error *err)
{
    int digits = (int)strspn(text, "0123456789");
    *out = SQ_CLOCK_BASE;
    if (strcmp(text, base) == 0)
        return SQ_OK;
    if (digits == 0 || digits > 4 || text[digits] || text[0] == '0')
        return sq_fail(err, SQ_BAD_ARGUMENT, "clocks are locked to MHz, like 1200, or base; not \"%s\"",
                       text);
    *out = atoi(text);
    return SQ_OK;
}

sq_status sq_clock_parse(const char *name, sq_clock *out, sq_error *err)
{
    *out = SQ_CLOCK_UNLOCKED;
    if (strcmp(name, unlocked) == 0)
        return SQ_OK;
    if (strncmp(name, locked, sizeof locked - 1) == 0)
        return sq_clock_parse_lock(name + sizeof locked - 1, out, err);
    return sq_fail(err, SQ_BAD_ARGUMENT,
                   "clock mode \"%s\" is neither unlocked, locked@MHz nor locked@base", name);
}

sq_status sq_modes_check(sq_cache cache, sq_launch launch, sq_error *err)
{
    bool is_cold = cache == SQ_CACHE_CLEAN_COLD || cache == SQ_CACHE_DIRTY_COLD;
    if (launch == SQ_LAUNCH_BATCH && is_cold)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "launch batch cannot be %s: only the first launch of a batch would be cold; "
                       "give cache hot or rotate",
                       sq_cache_name(cache));
    return SQ_OK;
}

typedef struct {
    char *data;
    size_t used;
} key_writer;

static void put(key_writer *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(key->data + key->used, SQ_KEY_MAX - key->used, format, args);
    va_end(args);
    if (n > 0)
        key->used += (size_t)n;
    if (key->used >= SQ_KEY_MAX)
        key->used = SQ_KEY_MAX - 1;
}

void sq_cell_key(const sq_cell *cell, char key[SQ_KEY_MAX])
{
    key_writer w = {.data = key};
    key[0] = '\0';
    if (cell->kind != SQ_KIND_OP)
        put(&w, "%s:", sq_kind_name(cell->kind));
    put(&w, "%s@%s/%s/%s/", cell->subject, cell->provider, sq_pass_name(cell->pass),
        sq_dtype_name(cell->dtype));
    for (int i = 0; cell->axes && cell->axes[i].name; i++) {
        char text[64];
        sq_axis_format(&cell->axes[i], cell->value[i], text, sizeof text);
        put(&w, "%s%s=%s", i ? "," : "", cell->axes[i].name, text);
    }
    char clock[SQ_CLOCK_TEXT];
    sq_clock_format(cell->clock, clock);
    put(&w, "/%s,%s,%s", sq_cache_name(cell->cache), sq_launch_name(cell->launch), clock);
}

void sq_hash_text(const char *text, char out[SQ_HASH_TEXT])
{
    uint64_t hash = sq_hash_add(sq_hash_start, text, strlen(text));
    snprintf(out, SQ_HASH_TEXT, "%016" PRIx64, hash);
}

double sq_cell_axis(const sq_cell *cell, const char *name, double fallback)
{
    int i = sq_axis_find(cell->axes, name);
    return i < 0 ? fallback : cell->value[i];
}
