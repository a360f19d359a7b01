/* compare: which cells stand against each other, and what their runs say. */
#include "reports/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/stats.h"
#include "reports/compared.h"

/* --- one pair --- */

static double median_of(const double *values, int n, double *room)
{
    memcpy(room, values, (size_t)n * sizeof *room);
    return sq_median(room, n);
}

/* The known ones of a cell's cycles; their count. */
static int known_cycles(const sq_cell_runs *cell, double *out)
{
    int n = 0;
    for (int i = 0; i < cell->n; i++)
        if (!isnan(cell->cycles[i]))
            out[n++] = cell->cycles[i];
    return n;
}

static sq_pair missing_pair(const sq_cell_runs *a, const sq_cell_runs *b, const char *why)
{
    return (sq_pair){.a = a,
                     .b = b,
                     .missing = why,
                     .cls = SQ_CLASS_UNKNOWN,
                     .a_ns = NAN,
                     .b_ns = NAN,
                     .a_cycles = NAN,
                     .b_cycles = NAN,
                     .ns = {NAN, NAN, NAN},
                     .cycles = {NAN, NAN, NAN},
                     .cv = NAN,
                     .cycles_cv = NAN};
}

/* room: for the runs of both cells. */
static sq_pair pair_of(const sq_cell_runs *a, const sq_cell_runs *b, const sq_side_runs *side_a,
                       double *room)
{
    sq_pair pair = missing_pair(a, b, NULL);
    pair.a_ns = median_of(a->ns, a->n, room);
    pair.b_ns = median_of(b->ns, b->n, room);
    pair.ns = sq_ratio_of_runs(a->ns, a->n, b->ns, b->n);
    pair.cv = sq_run_cv(a->ns, a->n, b->ns, b->n);
    pair.cls = sq_class_of(&side_a->roofs, a->dtype, pair.a_ns, a->bytes, a->matrix_flops);
    double *cycles_b = room + a->n;
    int n_a = known_cycles(a, room), n_b = known_cycles(b, cycles_b);
    pair.cycles = sq_ratio_of_runs(room, n_a, cycles_b, n_b);
    pair.cycles_cv = sq_run_cv(room, n_a, cycles_b, n_b);
    pair.a_cycles = sq_median(room, n_a);
    pair.b_cycles = sq_median(cycles_b, n_b);
    return pair;
}

/* --- all pairs --- */

/* pair: as many as the sides have cells, or fewer. */
typedef struct {
    const sq_compare_options *options;
    sq_side_runs a, b;
    sq_pair *pair;
    int n;
    double *room;
    sq_text across; /* what differs and may */
} comparison;

static sq_status make_room(comparison *c, sq_error *err)
{
    int n_cells = c->a.n_cells + c->b.n_cells, n_runs = 2 * (c->a.n_timed + c->b.n_timed);
    c->pair = calloc((size_t)n_cells, sizeof *c->pair);
    c->room = calloc((size_t)n_runs, sizeof *c->room);
    if (!c->pair || !c->room)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a comparison");
    return SQ_OK;
}

static void add(comparison *c, sq_pair pair)
{
    c->pair[c->n++] = pair;
}

static int by_join(const void *x, const void *y)
{
    const sq_cell_runs *const *a = x, *const *b = y;
    return strcmp((*a)->join, (*b)->join);
}

/* The cells of a side in the order of their joining keys; free() it. NULL: no memory. */
static const sq_cell_runs **new_index(const sq_side_runs *side)
{
    const sq_cell_runs **index = calloc((size_t)side->n_cells, sizeof *index);
    for (int i = 0; index && i < side->n_cells; i++)
        index[i] = &side->cell[i];
    if (index)
        qsort(index, (size_t)side->n_cells, sizeof *index, by_join);
    return index;
}

static const sq_cell_runs *find_in(const sq_cell_runs *const *index, int n,
                                   const sq_cell_runs *cell)
{
    const sq_cell_runs **found = bsearch(&cell, index, (size_t)n, sizeof *index, by_join);
    return found ? *found : NULL;
}

/* A side that was measured on the one and not on the other says why; cells without a time on either
 * are no part of a comparison. */
static void add_two(comparison *c, const sq_cell_runs *a, const sq_cell_runs *b)
{
    bool has_a = a && a->n, has_b = b && b->n;
    const sq_cell_runs *without = has_a ? b : a;
    if (has_a && has_b)
        add(c, pair_of(a, b, &c->a, c->room));
    else if (has_a || has_b)
        add(c, missing_pair(a, b, without ? without->reason : "not in the campaign"));
}

/* Across modes a cell may have several partners; which one is meant is the user's to say. */
static sq_status check_single(const sq_side_runs *side, const char *name,
                              const sq_cell_runs *const *index, sq_error *err)
{
    for (int i = 1; i < side->n_cells; i++) {
        sq_text modes = {.data = NULL};
        if (strcmp(index[i]->join, index[i - 1]->join) != 0)
            continue;
        sq_modes_describe(index[i - 1]->key, index[i]->key, 0, &modes);
        sq_fail(err, SQ_BAD_ARGUMENT,
                "%s has cells that differ in their mode alone (%s): --across cannot tell which is "
                "meant",
                name, modes.data ? modes.data : "");
        sq_text_free(&modes);
        return SQ_BAD_ARGUMENT;
    }
    return SQ_OK;
}

/* Cells of a in their order, then those that only b has. */
static sq_status pair_indexed(comparison *c, const sq_cell_runs *const *of_a,
                              const sq_cell_runs *const *of_b, sq_error *err)
{
    SQ_TRY(check_single(&c->a, c->options->a.name, of_a, err));
    SQ_TRY(check_single(&c->b, c->options->b.name, of_b, err));
    for (int i = 0; i < c->a.n_cells; i++)
        add_two(c, &c->a.cell[i], find_in(of_b, c->b.n_cells, &c->a.cell[i]));
    for (int i = 0; i < c->b.n_cells; i++)
        if (!find_in(of_a, c->a.n_cells, &c->b.cell[i]))
            add_two(c, NULL, &c->b.cell[i]);
    return SQ_OK;
}

static sq_status pair_sides(comparison *c, sq_error *err)
{
    const sq_cell_runs **of_a = new_index(&c->a), **of_b = new_index(&c->b);
    sq_status status = of_a && of_b ? pair_indexed(c, of_a, of_b, err)
                                    : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a comparison");
    free(of_a);
    free(of_b);
    return status;
}

/* --- what must not differ --- */

static void open_modes(sq_side_runs *side)
{
    const sq_across all = 1u << SQ_JOIN_CACHE | 1u << SQ_JOIN_LAUNCH | 1u << SQ_JOIN_CLOCK;
    for (int i = 0; i < side->n_cells; i++)
        sq_joining_key(side->cell[i].key, all, side->cell[i].join);
}

/* Refuses sides of which no cell has a partner, but would have in another mode. */
static sq_status refuse_modes(comparison *c, sq_error *err)
{
    sq_text modes = {.data = NULL}, names = {.data = NULL};
    sq_across found = 0;
    open_modes(&c->a);
    open_modes(&c->b);
    const sq_cell_runs **of_b = new_index(&c->b);
    sq_status status =
        of_b ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a comparison");
    for (int i = 0; of_b && i < c->a.n_cells && !found; i++) {
        const sq_cell_runs *b = find_in(of_b, c->b.n_cells, &c->a.cell[i]);
        if (b)
            found = sq_modes_describe(c->a.cell[i].key, b->key, 0, &modes);
    }
    sq_across_format(found, &names);
    if (found)
        status = sq_fail(err, SQ_BAD_ARGUMENT,
                         "%s and %s differ in %s; --across %s compares them all the same",
                         c->options->a.name, c->options->b.name, modes.data, names.data);
    free(of_b);
    sq_text_free(&modes);
    sq_text_free(&names);
    return status;
}

static sq_status check_modes(comparison *c, sq_error *err)
{
    sq_across known = 0;
    bool has_pair = false;
    for (int i = 0; i < c->n; i++) {
        const sq_pair *p = &c->pair[i];
        if (!p->a || !p->b)
            continue;
        has_pair = true;
        known |= sq_modes_describe(p->a->key, p->b->key, known, &c->across);
    }
    return has_pair ? SQ_OK : refuse_modes(c, err);
}

static sq_status check_ground(sq_db *db, comparison *c, sq_error *err)
{
    const sq_compare_options *o = c->options;
    const char *const campaigns[] = {o->a.campaign, o->b.campaign};
    const char *const names[] = {o->a.name, o->b.name};
    return sq_joining_check(db, campaigns, names, o->is_by_provider ? 1 : 2, o->across, &c->across,
                            err);
}

/* --- by provider --- */

/* Of n cells of one shape: the reference provider's, or the one with the least median; NULL: none.
 */
static const sq_cell_runs *reference_of(const comparison *c, const sq_cell_runs *cell, int n)
{
    const sq_cell_runs *best = NULL;
    double best_ns = INFINITY;
    for (int i = 0; i < n; i++) {
        double ns = cell[i].n ? median_of(cell[i].ns, cell[i].n, c->room) : NAN;
        bool is_named =
            !c->options->reference || strcmp(cell[i].provider, c->options->reference) == 0;
        if (is_named && ns < best_ns) {
            best = &cell[i];
            best_ns = ns;
        }
    }
    return best;
}

static void pair_shape(comparison *c, const sq_cell_runs *cell, int n)
{
    const sq_cell_runs *reference = reference_of(c, cell, n);
    for (int i = 0; i < n; i++) {
        if (&cell[i] == reference || (!reference && cell[i].n == 0))
            continue;
        if (!reference)
            add(c, missing_pair(NULL, &cell[i], "the reference has no time"));
        else
            add_two(c, reference, &cell[i]);
    }
}

static void pair_providers(comparison *c)
{
    const sq_cell_runs *cell = c->a.cell;
    for (int i = 0, end; i < c->a.n_cells; i = end) {
        for (end = i + 1; end < c->a.n_cells && !strcmp(cell[end].shape, cell[i].shape);)
            end++;
        pair_shape(c, cell + i, end - i);
    }
}

enum { MAX_PROVIDERS = 64 };

static sq_status check_reference(const comparison *c, sq_error *err)
{
    const char *known[MAX_PROVIDERS + 1] = {NULL};
    int n = 0, index;
    for (int i = 0; c->options->reference && i < c->a.n_cells; i++) {
        bool is_new = c->a.cell[i].n > 0 && n < MAX_PROVIDERS;
        for (int k = 0; k < n; k++)
            is_new = is_new && strcmp(known[k], c->a.cell[i].provider) != 0;
        if (is_new)
            known[n++] = c->a.cell[i].provider;
    }
    if (!c->options->reference)
        return SQ_OK;
    return sq_find_name("provider of this campaign", c->options->reference, known, &index, err);
}

/* --- what else differs --- */

static void note_text(sq_text *notes, const char *what, const char *a, const char *b)
{
    if (strcmp(a, b) != 0)
        sq_text_printf(notes, "the sides differ in %s: %s and %s\n", what, a, b);
}

static void note_kernels(const comparison *c, sq_text *notes)
{
    int changed = 0, compared = 0;
    for (int i = 0; i < c->n; i++) {
        const sq_pair *p = &c->pair[i];
        if (!p->a || !p->b)
            continue;
        compared++;
        changed += strcmp(p->a->kernel_hash, p->b->kernel_hash) != 0;
    }
    if (changed)
        sq_text_printf(notes, "the kernels of %d of %d cells are not the same code\n", changed,
                       compared);
}

static void add_notes(const comparison *c, sq_text *notes)
{
    if (strcmp(c->a.device, c->b.device) == 0)
        note_text(notes, "the card", c->a.device_uuid, c->b.device_uuid);
    note_text(notes, "the power limit in W", c->a.power_limit, c->b.power_limit);
    note_kernels(c, notes);
}

/* --- the whole --- */

static sq_status read_and_pair(sq_db *db, comparison *c, sq_text *notes, sq_error *err)
{
    const sq_compare_options *o = c->options;
    SQ_TRY(sq_side_read(db, &o->a, o, &c->a, err));
    if (!o->is_by_provider)
        SQ_TRY(sq_side_read(db, &o->b, o, &c->b, err));
    SQ_TRY(check_ground(db, c, err));
    SQ_TRY(make_room(c, err));
    if (o->is_by_provider) {
        SQ_TRY(check_reference(c, err));
        pair_providers(c);
        if (c->n == 0)
            sq_text_printf(notes, "%s: no cell was measured with two providers\n", o->a.name);
        return SQ_OK;
    }
    SQ_TRY(pair_sides(c, err));
    SQ_TRY(check_modes(c, err));
    add_notes(c, notes);
    return SQ_OK;
}

sq_status sq_report_compare(sq_db *db, const sq_compare_options *options, sq_text *out,
                            sq_text *notes, sq_error *err)
{
    comparison c = {.options = options};
    sq_status status = read_and_pair(db, &c, notes, err);
    if (status == SQ_OK)
        status = sq_compare_render(c.pair, c.n, options, c.across.data ? c.across.data : "",
                                   c.a.seed, out, err);
    sq_text_free(&c.across);
    free(c.pair);
    free(c.room);
    sq_side_free(&c.a);
    sq_side_free(&c.b);
    return status;
}
