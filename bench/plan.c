/* plan: collects cells, drops repeats, predicts, orders. */
#include "bench/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/discovery.h"
#include "core/hash.h"
#include "core/rng.h"
#include "core/text.h"

enum { MAX_RUNS = 100000 };

typedef struct {
    const sq_plan_request *request;
    sq_plan_item *item;
    int count, room;
} builder;

void sq_plan_free(sq_plan *plan)
{
    free(plan->item);
    free(plan->proved);
    *plan = (sq_plan){.count = 0};
}

/* --- cells --- */

static sq_status grow(builder *b, sq_error *err)
{
    if (b->count == MAX_RUNS)
        return sq_fail(err, SQ_BAD_ARGUMENT, "the plan has more than %d cells", MAX_RUNS);
    if (b->count < b->room)
        return SQ_OK;
    int room = b->room ? 2 * b->room : 64;
    sq_plan_item *grown = realloc(b->item, sizeof *grown * (size_t)room);
    if (!grown)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a plan of %d cells", room);
    b->item = grown;
    b->room = room;
    return SQ_OK;
}

static void skip_if_long(const sq_plan_request *request, sq_plan_item *item)
{
    char predicted[32], allowed[32];
    if (item->launch_ns / 1e9 <= request->policy->max_cell_seconds)
        return;
    sq_format_ns(item->launch_ns, predicted, sizeof predicted);
    sq_format_ns(request->policy->max_cell_seconds * 1e9, allowed, sizeof allowed);
    item->status = SQ_RUN_SKIPPED;
    snprintf(item->reason, sizeof item->reason,
             "a launch is predicted to take %s; max-cell-time is %s", predicted, allowed);
}

/* Predicted bytes and time; a pass that the subject has not makes an unsupported row. */
static sq_status predict(const sq_plan_request *request, const sq_subject *subject,
                         sq_plan_item *item, sq_error *err)
{
    sq_cost cost = {0};
    sq_error why = {.status = SQ_OK};
    sq_status s = sq_subject_cost(subject, &item->cell, &cost, &item->tensor_bytes, &why);
    if (s == SQ_UNSUPPORTED) {
        item->status = SQ_RUN_UNSUPPORTED;
        snprintf(item->reason, sizeof item->reason, "%.300s", why.message);
        return SQ_OK;
    }
    if (s != SQ_OK)
        return sq_fail(err, s, "%.300s: %.150s", item->key, why.message);
    item->launch_ns =
        sq_predict_launch_ns(request->rates, &cost, item->cell.dtype, item->cell.provider);
    item->seconds = sq_predict_run_seconds(request->rates, request->policy, &cost, item->launch_ns);
    skip_if_long(request, item);
    return SQ_OK;
}

static sq_status add_cell(const sq_subject *subject, const sq_cell *cell, int64_t width, void *arg,
                          sq_error *err)
{
    builder *b = arg;
    if (!sq_filter_keeps(b->request->filter, cell, width))
        return SQ_OK;
    SQ_TRY(grow(b, err));
    sq_plan_item *item = &b->item[b->count];
    *item = (sq_plan_item){.cell = *cell, .width = width, .status = SQ_RUN_OK};
    if (!b->request->is_untimed)
        item->cell.clock = b->request->clock;
    sq_cell_key(&item->cell, item->key);
    SQ_TRY(predict(b->request, subject, item, err));
    b->count++;
    return SQ_OK;
}

/* A key says its clock, and the campaign has one for all. */
static sq_status check_clock(sq_clock clock, sq_clock of_key, sq_error *err)
{
    char asked[SQ_CLOCK_TEXT], said[SQ_CLOCK_TEXT];
    sq_clock_format(clock, asked);
    sq_clock_format(of_key, said);
    if (clock == of_key)
        return SQ_OK;
    return sq_fail(err, SQ_BAD_ARGUMENT,
                   "the cell's key says %s, but this measures %s (run --lock-clocks MHZ|base)", said,
                   asked);
}

static sq_status add_key(builder *b, const char *key, sq_error *err)
{
    sq_cell cell;
    sq_subject subject;
    SQ_TRY(sq_cell_parse(key, &cell, &subject, err));
    if (!b->request->is_untimed)
        SQ_TRY(check_clock(b->request->clock, cell.clock, err));
    if (!sq_catalog_has(b->request->catalog, &subject, cell.provider)) {
        sq_names names;
        SQ_TRY(sq_catalog_names(b->request->catalog, &subject, &names, err));
        const char *known[64] = {NULL};
        for (int i = 0; i < names.count && i < 63; i++)
            known[i] = names.item[i];
        sq_status s = sq_fail_unknown(err, "provider", cell.provider, known);
        sq_names_free(&names);
        return s;
    }
    double width = 0;
    if (b->request->overrides)
        SQ_TRY(sq_settings_number(b->request->overrides, "width", &width, err));
    return add_cell(&subject, &cell, (int64_t)width, b, err);
}

static sq_status add_group(builder *b, const sq_settings *group, bool *used, sq_error *err)
{
    sq_settings merged = {.count = 0};
    sq_status s = sq_settings_merge(&merged, group, err);
    if (s == SQ_OK && b->request->overrides)
        s = sq_settings_merge(&merged, b->request->overrides, err);
    if (s == SQ_OK)
        s = sq_group_expand(b->request, &merged, used, add_cell, b, err);
    sq_settings_free(&merged);
    return s;
}

/* A provider that the device has for nothing at all is a misspelt one. */
static sq_status check_providers(const sq_plan_request *request, sq_error *err)
{
    const char *value =
        request->overrides ? sq_settings_text(request->overrides, "provider", NULL) : NULL;
    const sq_catalog *catalog = request->catalog;
    const char *known[65] = {NULL};
    sq_names names;
    int n = 0;
    if (!value || strcmp(value, "all") == 0)
        return SQ_OK;
    SQ_TRY(sq_names_split(value, &names, err));
    for (int i = 0; i < catalog->count && n < 64; i++) {
        int k = 0;
        while (k < n && strcmp(known[k], catalog->offer[i].provider) != 0)
            k++;
        if (k == n)
            known[n++] = catalog->offer[i].provider;
    }
    sq_status s = SQ_OK;
    for (int i = 0; s == SQ_OK && i < names.count; i++) {
        int k = 0;
        while (k < n && strcmp(known[k], names.item[i]) != 0)
            k++;
        if (k == n)
            s = sq_fail_unknown(err, "provider", names.item[i], known);
    }
    sq_names_free(&names);
    return s;
}

/* An override that no group could use is a mistake. */
static sq_status check_overrides(const sq_plan_request *request, const bool *used, sq_error *err)
{
    for (int i = 0; request->overrides && i < request->overrides->count; i++)
        if (!used[i])
            return sq_fail(err, SQ_BAD_ARGUMENT, "--%s %s fits nothing that was selected",
                           request->overrides->item[i].key, request->overrides->item[i].value);
    return SQ_OK;
}

static sq_status collect(builder *b, sq_error *err)
{
    const sq_plan_request *r = b->request;
    for (int i = 0; r->cells && r->cells[i]; i++)
        SQ_TRY(add_key(b, r->cells[i], err));
    if (!r->n_groups)
        return SQ_OK;
    SQ_TRY(check_providers(r, err));
    bool *used = calloc(r->overrides ? (size_t)r->overrides->count + 1 : 1, sizeof *used);
    if (!used)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the plan");
    sq_status s = SQ_OK;
    for (int i = 0; s == SQ_OK && i < r->n_groups; i++)
        s = add_group(b, &r->groups[i], used, err);
    if (s == SQ_OK && b->count)
        s = check_overrides(r, used, err);
    free(used);
    return s;
}

/* --- repeats --- */

static int by_key_then_place(const void *a, const void *b)
{
    const sq_plan_item *x = *(sq_plan_item *const *)a, *y = *(sq_plan_item *const *)b;
    int order = strcmp(x->key, y->key);
    return order ? order : (x > y) - (x < y);
}

static sq_status drop_repeats(builder *b, sq_error *err)
{
    sq_plan_item **sorted = malloc(sizeof *sorted * ((size_t)b->count + 1));
    int kept = 0;
    if (!sorted)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the plan");
    for (int i = 0; i < b->count; i++)
        sorted[i] = &b->item[i];
    qsort(sorted, (size_t)b->count, sizeof *sorted, by_key_then_place);
    for (int i = 1; i < b->count; i++)
        sorted[i]->is_done = strcmp(sorted[i]->key, sorted[i - 1]->key) == 0;
    free(sorted);
    for (int i = 0; i < b->count; i++)
        if (!b->item[i].is_done)
            b->item[kept++] = b->item[i];
    b->count = kept;
    return SQ_OK;
}

/* --- hash and order --- */

static sq_status hash_plan(const builder *b, char out[SQ_HASH_TEXT], sq_error *err)
{
    sq_text text = {.data = NULL};
    char value[32];
    sq_text_printf(&text, "%d %s", b->request->replicates,
                   b->request->counters ? b->request->counters : "off");
    if (b->request->counters && b->request->counts_every_run)
        sq_text_add(&text, " every");
    if (b->request->sentinel_share > 0)
        sq_text_printf(&text, " sentinels %g", b->request->sentinel_share);
    for (const sq_policy_field *f = sq_policy_fields; f->setting; f++) {
        sq_policy_format(b->request->policy, f, value, sizeof value);
        sq_text_printf(&text, " %s", value);
    }
    sq_text_add(&text, "\n");
    for (int i = 0; i < b->count; i++)
        sq_text_printf(&text, "%s %lld\n", b->item[i].key, (long long)b->item[i].width);
    if (text.is_failed) {
        sq_text_free(&text);
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory to hash the plan");
    }
    sq_hash_text(text.data, out);
    sq_text_free(&text);
    return SQ_OK;
}

/* Fisher-Yates, by the seed and which order this is. */
static void shuffle(sq_plan_item *item, int n, uint64_t seed, uint32_t which)
{
    for (int i = n - 1; i > 0; i--) {
        int k = (int)(sq_rng_bits(seed, which, (uint64_t)i) % (uint64_t)(i + 1));
        sq_plan_item held = item[i];
        item[i] = item[k];
        item[k] = held;
    }
}

/* --- rounds --- */

/* Rounds of sentinels are shuffled by numbers that no other round has. */
enum { SENTINEL_ROUNDS = 1 << 30 };

/* Where runs are put, and which round of a stratum they are. */
typedef struct {
    const sq_plan_request *request;
    sq_plan_item *next;
    int stratum;
} rounds;

static void add_round(rounds *r, const sq_plan_item *cell, int n, int k, bool is_of_sentinels)
{
    const sq_plan_request *request = r->request;
    sq_plan_item *round = r->next;
    uint32_t which = (uint32_t)(r->stratum * request->replicates + k);
    for (int i = 0; i < n; i++) {
        if (is_of_sentinels && !cell[i].is_sentinel)
            continue;
        *r->next = cell[i];
        r->next++->replicate = is_of_sentinels ? request->replicates + k : k;
    }
    if (request->is_random)
        shuffle(round, (int)(r->next - round), request->seed,
                is_of_sentinels ? SENTINEL_ROUNDS + which : which);
}

/* All rounds of the n cells of a stratum. */
static void add_rounds(rounds *r, const sq_plan_item *cell, int n)
{
    for (int k = 0; k < r->request->replicates; k++) {
        add_round(r, cell, n, k, false);
        add_round(r, cell, n, k, true);
    }
}

/* How many; marks them. */
static sq_status mark_sentinels(const builder *b, int *n, sq_error *err)
{
    double share = b->request->sentinel_share;
    *n = 0;
    if (share <= 0)
        return SQ_OK;
    uint64_t *hash = malloc(((size_t)b->count + 1) * sizeof *hash);
    bool *is_sentinel = calloc((size_t)b->count + 1, sizeof *is_sentinel);
    sq_status s = hash && is_sentinel ? SQ_OK : SQ_OUT_OF_MEMORY;
    for (int i = 0; s == SQ_OK && i < b->count; i++)
        hash[i] = sq_hash_add(sq_hash_start, b->item[i].key, strlen(b->item[i].key));
    if (s == SQ_OK)
        s = sq_pick_sentinels(hash, b->count, b->request->seed, share, is_sentinel);
    for (int i = 0; s == SQ_OK && i < b->count; i++)
        *n += b->item[i].is_sentinel = is_sentinel[i];
    free(hash);
    free(is_sentinel);
    return s == SQ_OK ? s : sq_fail(err, s, "no memory for the plan");
}

static sq_status make_room(const builder *b, int n_sentinels, sq_plan *out, sq_error *err)
{
    int replicates = b->request->replicates;
    if (replicates < 1 || ((double)b->count + n_sentinels) * replicates > MAX_RUNS)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%d replicates of %d cells: 1 to %d runs are a plan",
                       replicates, b->count, MAX_RUNS);
    out->n_cells = b->count;
    out->count = (b->count + n_sentinels) * replicates;
    out->item = malloc(sizeof *out->item * (size_t)out->count);
    out->proved = calloc((size_t)out->n_cells, sizeof *out->proved);
    if (!out->item || !out->proved)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a plan of %d runs", out->count);
    return SQ_OK;
}

static sq_status replicate(const builder *b, sq_plan *out, sq_error *err)
{
    const sq_plan_request *r = b->request;
    int n_sentinels;
    SQ_TRY(mark_sentinels(b, &n_sentinels, err));
    SQ_TRY(make_room(b, n_sentinels, out, err));
    for (int i = 0; i < b->count; i++)
        b->item[i].place = i;
    if (r->is_random)
        shuffle(b->item, b->count, r->seed, UINT32_MAX);
    int n_strata = (b->count + SQ_STRATUM_CELLS - 1) / SQ_STRATUM_CELLS, from = 0;
    rounds all = {.request = r, .next = out->item};
    for (all.stratum = 0; all.stratum < n_strata; all.stratum++) {
        int to = (int)((int64_t)b->count * (all.stratum + 1) / n_strata);
        add_rounds(&all, b->item + from, to - from);
        from = to;
    }
    return SQ_OK;
}

sq_status sq_plan_build(const sq_plan_request *request, sq_plan *out, sq_error *err)
{
    builder b = {.request = request};
    *out = (sq_plan){.count = 0};
    sq_status s = collect(&b, err);
    if (s == SQ_OK)
        s = drop_repeats(&b, err);
    if (s == SQ_OK && b.count == 0)
        s = sq_fail(err, SQ_BAD_ARGUMENT, "no cell is left to measure on backend %s%s%s",
                    request->catalog->backend, request->filter ? " (the filter keeps none)" : "",
                    request->only_ops || request->only_families
                        ? " (--op and --family select from the suite)"
                        : "");
    if (s == SQ_OK)
        s = hash_plan(&b, out->hash, err);
    if (s == SQ_OK)
        s = replicate(&b, out, err);
    free(b.item);
    if (s != SQ_OK)
        sq_plan_free(out);
    return s;
}
