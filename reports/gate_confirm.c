/* gate_confirm: what measuring the suspects again says of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/gated.h"

sq_gate_blocks sq_gate_blocks_of(const sq_judging *gate)
{
    return (sq_gate_blocks){gate->policy.blocks, gate->policy.blocks_more};
}

void sq_gate_set_reruns(sq_judging *gate, const sq_gate_reruns *reruns)
{
    gate->reruns = *reruns;
}

sq_gate_reruns sq_gate_reruns_of(const sq_judging *gate)
{
    return gate->reruns;
}

static bool is_pending(const sq_gate_row *row)
{
    for (int i = 0; i < SQ_GATE_SUSPICIONS; i++)
        if (row->standing[i] == SQ_STANDING_PENDING)
            return true;
    return false;
}

static bool wants_counters(const sq_gate_row *row)
{
    return row->standing[SQ_NIGHT_DRAM] == SQ_STANDING_PENDING ||
           row->standing[SQ_NIGHT_REGISTERS] == SQ_STANDING_PENDING;
}

static bool is_counts_alone(const sq_gate_row *row)
{
    bool has_test = row->standing[SQ_GATE_FAILING] == SQ_STANDING_PENDING;
    for (int i = 0; i < SQ_NIGHT_TESTS; i++)
        has_test |= row->standing[i] == SQ_STANDING_PENDING;
    return !has_test;
}

int sq_gate_suspects(const sq_judging *gate, sq_suspect *out, int room)
{
    int n = 0;
    for (int i = 0; i < gate->n_rows && !gate->summary.is_unfit && !gate->is_disturbed; i++) {
        const sq_gate_row *row = &gate->row[i];
        if (!is_pending(row))
            continue;
        if (n < room)
            out[n] =
                (sq_suspect){.key = row->night->key,
                             .is_failing = row->standing[SQ_GATE_FAILING] == SQ_STANDING_PENDING,
                             .wants_counters = wants_counters(row),
                             .is_counts_alone = is_counts_alone(row)};
        n++;
    }
    return n;
}

/* --- what a rerun has of a cell --- */

static int by_id(const void *x, const void *y)
{
    const sq_gate_cell *a = x, *b = y;
    return (a->cell_id > b->cell_id) - (a->cell_id < b->cell_id);
}

static const sq_gate_cell *find(const sq_gate_side *side, const sq_gate_cell *cell)
{
    if (side->n_cells == 0)
        return NULL;
    return bsearch(cell, side->cell, (size_t)side->n_cells, sizeof *side->cell, by_id);
}

static double number_of(const sq_gate_cell *cell, const double *values, int replicate)
{
    for (int i = 0; i < cell->n_timed; i++)
        if (cell->replicate[i] == replicate)
            return values[i];
    return NAN;
}

static const double *values_of(const sq_gate_cell *cell, sq_night_quantity quantity)
{
    return quantity == SQ_NIGHT_SETUP    ? cell->setup
           : quantity == SQ_NIGHT_CYCLES ? cell->cycles
                                         : cell->ns;
}

static void fill_blocks(const sq_gate_cell *a, const sq_gate_cell *b, sq_night_quantity quantity,
                        int n, sq_block *out)
{
    for (int i = 0; i < 2 * n; i++) {
        out[i / 2].a[i % 2] = number_of(a, values_of(a, quantity), i);
        out[i / 2].b[i % 2] = number_of(b, values_of(b, quantity), i);
    }
}

/* --- what it says --- */

static sq_standing answer_of(sq_rerun_outcome outcome)
{
    switch (outcome) {
    case SQ_CONFIRMED:
        return SQ_STANDING_CONFIRMED;
    case SQ_DISMISSED:
        return SQ_STANDING_DISMISSED;
    case SQ_CONFIRM_CLOCKS:
        return SQ_STANDING_CLOCKS;
    default:
        return SQ_STANDING_UNRESOLVED;
    }
}

static void confirm_slower(const sq_judging *gate, sq_gate_row *row, const sq_gate_cell *a,
                           const sq_gate_cell *b, sq_night_quantity quantity)
{
    sq_block block[SQ_SIGN_FLIP_EXACT], cycles[SQ_SIGN_FLIP_EXACT];
    int most = gate->policy.blocks_more;
    int n = most < SQ_SIGN_FLIP_EXACT ? most : SQ_SIGN_FLIP_EXACT;
    bool is_time = quantity == SQ_NIGHT_TIME;
    bool has_cycles = is_time && row->result.test[SQ_NIGHT_CYCLES].finding != SQ_FINDING_NONE;
    fill_blocks(a, b, quantity, n, block);
    fill_blocks(a, b, SQ_NIGHT_CYCLES, n, cycles);
    double least = is_time ? gate->policy.min_effect : gate->policy.setup_min_effect;
    sq_confirmation c =
        sq_confirm_slower(block, has_cycles ? cycles : NULL, n, least, &gate->policy);
    row->again[quantity] = c.change;
    row->standing[quantity] = answer_of(c.outcome);
}

/* That all of n counts lie above all of m others happens by chance once in (n + m over m) times. */
static bool are_enough(int n, int m, double level)
{
    double ways = 1;
    for (int i = 1; i <= m; i++)
        ways *= (double)(n + i) / i;
    return ways * level >= 1;
}

/* The middle of the counts moved, and every count of tonight is larger than any of the baseline's. */
static sq_rerun_outcome confirm_dram(const sq_judging *gate, const sq_gate_cell *a,
                                     const sq_gate_cell *b)
{
    sq_rerun_outcome outcome = sq_confirm_larger(
        (a->dram_least + a->dram_most) / 2, (b->dram_least + b->dram_most) / 2,
        (a->dram_spread + b->dram_spread) / 2, &gate->policy);
    bool is_chance = !are_enough(a->n_dram, b->n_dram, gate->policy.confirm_level);
    return outcome == SQ_CONFIRMED && is_chance ? SQ_UNRESOLVED : outcome;
}

static sq_rerun_outcome confirm_count(const sq_judging *gate, const sq_gate_cell *a,
                                      const sq_gate_cell *b, sq_night_quantity quantity)
{
    if (quantity == SQ_NIGHT_DRAM)
        return confirm_dram(gate, a, b);
    bool is_memory = quantity == SQ_NIGHT_MEMORY;
    return sq_confirm_larger(is_memory ? a->peak_bytes : a->registers,
                             is_memory ? b->peak_bytes : b->registers, 0, &gate->policy);
}

static void confirm_numbers(const sq_judging *gate, sq_gate_row *row, const sq_gate_cell *a,
                            const sq_gate_cell *b)
{
    for (int i = 0; i < SQ_NIGHT_QUANTITIES; i++) {
        sq_night_quantity quantity = (sq_night_quantity)i;
        if (row->standing[i] != SQ_STANDING_PENDING)
            continue;
        if (!a || !b)
            row->standing[i] = SQ_STANDING_UNRESOLVED;
        else if (i < SQ_NIGHT_TESTS)
            confirm_slower(gate, row, a, b, quantity);
        else
            row->standing[i] = answer_of(confirm_count(gate, a, b, quantity));
    }
}

static void confirm_failing(sq_gate_row *row, const sq_gate_cell *again)
{
    if (row->standing[SQ_GATE_FAILING] != SQ_STANDING_PENDING)
        return;
    sq_rerun_outcome outcome =
        again ? sq_confirm_failing(sq_night_status(again->status, again->n_runs)) : SQ_UNRESOLVED;
    row->standing[SQ_GATE_FAILING] = answer_of(outcome);
}

/* Why a cell fails is told already. */
static void note_why(sq_gate_row *row, const char *why)
{
    bool is_failing = row->standing[SQ_GATE_FAILING] != SQ_STANDING_NONE;
    size_t n = row->is_noted ? strlen(row->cause) : 0;
    if (sq_gate_standing(row) == SQ_STANDING_UNRESOLVED && !is_failing && why && *why)
        snprintf(row->cause + n, sizeof row->cause - n, "%s%.230s", n ? "; " : "", why);
}

static void confirm_row(const sq_judging *gate, sq_gate_row *row, const sq_gate_side *a,
                        const sq_gate_side *b, bool is_last)
{
    const sq_gate_cell *again = find(b, row->night);
    bool is_open[SQ_GATE_SUSPICIONS];
    for (int i = 0; i < SQ_GATE_SUSPICIONS; i++)
        is_open[i] = row->standing[i] == SQ_STANDING_PENDING;
    confirm_failing(row, again);
    confirm_numbers(gate, row, find(a, row->night), again);
    for (int i = 0; i < SQ_GATE_SUSPICIONS; i++)
        if (!is_last && is_open[i] && row->standing[i] == SQ_STANDING_UNRESOLVED)
            row->standing[i] = SQ_STANDING_PENDING;
}

sq_status sq_gate_confirm(sq_judging *gate, sq_db *db, bool is_last, const char *why, sq_error *err)
{
    sq_gate_side a = {.n_cells = 0}, b = {.n_cells = 0};
    const sq_gate_reruns *reruns = &gate->reruns;
    sq_status s = reruns->night[0] ? sq_gate_side_read(db, reruns->night, &b, err) : SQ_OK;
    if (s == SQ_OK && reruns->baseline[0])
        s = sq_gate_side_read(db, reruns->baseline, &a, err);
    for (int i = 0; s == SQ_OK && i < gate->n_rows; i++) {
        sq_gate_row *row = &gate->row[i];
        if (!is_pending(row))
            continue;
        confirm_row(gate, row, &a, &b, is_last);
        note_why(row, why);
    }
    sq_gate_side_free(&a);
    sq_gate_side_free(&b);
    return s;
}

void sq_gate_give_up(sq_judging *gate, int kept, const char *why)
{
    for (int i = 0; i < gate->n_rows; i++) {
        sq_gate_row *row = &gate->row[i];
        if (!is_pending(row) || kept-- > 0)
            continue;
        for (int k = 0; k < SQ_GATE_SUSPICIONS; k++)
            if (row->standing[k] == SQ_STANDING_PENDING)
                row->standing[k] = SQ_STANDING_UNRESOLVED;
        note_why(row, why);
    }
}
