/* gate: both sides of a night, paired and judged. */
#include "reports/gate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/gated.h"

/* Others on the GPU in more runs than this: what was measured is not the code alone. */
static const double disturbed_share = 0.05;

sq_gate_options sq_gate_options_default(void)
{
    sq_night_policy policy = sq_night_policy_default();
    return (sq_gate_options){.q = policy.q,
                             .min_effect = policy.min_effect,
                             .setup_min_effect = policy.setup_min_effect,
                             .inconclusive_limit = NAN,
                             .min_replicates = policy.min_replicates};
}

static sq_night_policy policy_of(const sq_gate_options *options)
{
    sq_night_policy policy = sq_night_policy_default();
    policy.q = options->q;
    policy.min_effect = policy.margin = options->min_effect;
    policy.setup_min_effect = options->setup_min_effect;
    policy.min_replicates = options->min_replicates;
    return policy;
}

/* --- rows --- */

const char *sq_standing_name(sq_standing answer)
{
    static const char *const names[] = {[SQ_STANDING_NONE] = "",
                                        [SQ_STANDING_PENDING] = "pending",
                                        [SQ_STANDING_DISMISSED] = "dismissed",
                                        [SQ_STANDING_CLOCKS] = "clocks_power",
                                        [SQ_STANDING_UNRESOLVED] = "unresolved",
                                        [SQ_STANDING_CONFIRMED] = "confirmed"};
    return names[answer];
}

/* What a row has of a suspicion to tell. */
static sq_standing told_standing(const sq_gate_row *row, int suspicion)
{
    bool is_settled = row->answered & 1u << suspicion && !row->is_answered;
    return is_settled ? SQ_STANDING_NONE : row->standing[suspicion];
}

sq_standing sq_gate_standing(const sq_gate_row *row)
{
    sq_standing worst = SQ_STANDING_NONE;
    for (int i = 0; i < SQ_GATE_SUSPICIONS; i++)
        worst = told_standing(row, i) > worst ? told_standing(row, i) : worst;
    return worst;
}

const char *sq_gate_standing_word(const sq_gate_row *row)
{
    return row->is_answered ? "answered" : sq_standing_name(sq_gate_standing(row));
}

void sq_gate_names(const sq_gate_row *row, sq_text *out)
{
    int n = 0;
    for (int i = 0; i < SQ_GATE_SUSPICIONS; i++)
        n += row->name[i][0] != 0;
    for (int i = 0; i < SQ_GATE_SUSPICIONS; i++)
        if (row->name[i][0])
            sq_text_printf(out, "%s%s%s%s", out->length ? ", " : "",
                           n > 1 ? sq_gate_quantity(i) : "", n > 1 ? " " : "", row->name[i]);
}

const char *sq_gate_key(const sq_gate_row *row)
{
    return row->night ? row->night->key : row->baseline->key;
}

const char *sq_gate_quantity(int suspicion)
{
    return suspicion == SQ_GATE_FAILING ? "result"
                                        : sq_night_quantity_name((sq_night_quantity)suspicion);
}

double sq_gate_change(const sq_gate_row *row, int suspicion)
{
    if (suspicion < SQ_NIGHT_TESTS)
        return row->result.test[suspicion].change.estimate;
    return suspicion < SQ_NIGHT_QUANTITIES ? row->result.counted[suspicion - SQ_NIGHT_TESTS] : NAN;
}

double sq_gate_effect(const sq_gate_row *row)
{
    double largest = NAN;
    for (int i = 0; i < SQ_NIGHT_QUANTITIES; i++)
        if (told_standing(row, i) != SQ_STANDING_NONE)
            largest = fmax(largest, sq_gate_change(row, i)); /* of a number and NAN: the number */
    return isnan(largest) ? row->result.test[SQ_NIGHT_TIME].change.estimate : largest;
}

bool sq_gate_is_failed(const sq_gate_row *row)
{
    if (!row->night)
        return false;
    sq_run_status status = sq_night_status(row->night->status, row->night->n_runs);
    return status == SQ_RUN_CRASHED || status == SQ_RUN_TIMEOUT || status == SQ_RUN_ERROR;
}

/* "+3.1 %" */
static void add_change(sq_text *out, const char *name, double difference)
{
    sq_text_printf(out, "%s%s %+.1f %%", out->length ? ", " : "", name, 100 * expm1(difference));
}

void sq_gate_describe(const sq_gate_row *row, sq_text *out)
{
    bool is_dropped = sq_gate_standing(row) <= SQ_STANDING_CLOCKS;
    for (int i = 0; i < SQ_NIGHT_QUANTITIES; i++)
        if (told_standing(row, i) > SQ_STANDING_CLOCKS ||
            (is_dropped && told_standing(row, i) != SQ_STANDING_NONE))
            add_change(out, sq_gate_quantity(i), sq_gate_change(row, i));
    if (row->standing[SQ_GATE_FAILING] != SQ_STANDING_NONE)
        sq_text_printf(out, "%sfails", out->length ? ", " : "");
}

const char *sq_gate_baseline_name(const sq_judging *gate)
{
    return gate->options.baseline_name[0] ? gate->options.baseline_name
                                          : gate->options.baseline_text;
}

/* --- what a pair of cells is to core/night.h --- */

enum { BOTH_HALVES = -1 };

/* Gives the numbers of one side to the judge: of all replicates, or of those with this parity. */
typedef struct {
    sq_judging *gate;
    double *next; /* free room */
} packer;

static sq_night_runs pack(packer *p, const sq_gate_cell *cell, const double *values, int parity)
{
    sq_night_runs runs = {p->next, 0};
    for (int i = 0; i < cell->n_timed; i++)
        if (!isnan(values[i]) && (parity == BOTH_HALVES || cell->replicate[i] % 2 == parity))
            p->next[runs.n++] = values[i];
    p->next += runs.n;
    return runs;
}

static sq_night_side side_of(packer *p, const sq_gate_cell *cell, bool is_sm_bound, int parity)
{
    sq_night_side side = {.counted = {NAN, NAN, NAN}};
    if (!cell)
        return side;
    side.is_present = true;
    side.status = sq_night_status(cell->status, cell->n_runs);
    side.runs[SQ_NIGHT_TIME] = pack(p, cell, cell->ns, parity);
    side.runs[SQ_NIGHT_SETUP] = pack(p, cell, cell->setup, parity);
    if (is_sm_bound)
        side.runs[SQ_NIGHT_CYCLES] = pack(p, cell, cell->cycles, parity);
    side.counted[SQ_NIGHT_MEMORY - SQ_NIGHT_TESTS] = cell->peak_bytes;
    side.counted[SQ_NIGHT_DRAM - SQ_NIGHT_TESTS] = (cell->dram_least + cell->dram_most) / 2;
    side.spread[SQ_NIGHT_DRAM - SQ_NIGHT_TESTS] = cell->dram_spread;
    side.counted[SQ_NIGHT_REGISTERS - SQ_NIGHT_TESTS] = cell->registers;
    return side;
}

static bool is_control(const sq_judging *gate, const sq_gate_cell *a, const sq_gate_cell *b)
{
    return a && b && a->kernel_hash[0] && strcmp(a->kernel_hash, b->kernel_hash) == 0 &&
           a->harness == b->harness && gate->crossed.length == 0;
}

static sq_night_cell judged_cell(packer *p, const sq_gate_row *row, bool is_sentinel)
{
    /* The cell that says what its time is bound by. */
    const sq_gate_cell *from = row->baseline && row->baseline->n_timed ? row->baseline : row->night;
    const sq_gate_side *side = from == row->night ? &p->gate->night : &p->gate->baseline;
    double ns = from ? from->median_ns : NAN;
    sq_cell_class cls =
        from ? sq_class_of(&side->roofs, from->dtype, ns, from->bytes, from->matrix_flops)
             : SQ_CLASS_UNKNOWN;
    bool is_sm_bound = cls == SQ_CLASS_TENSOR || cls == SQ_CLASS_OTHER;
    return (sq_night_cell){
        .group = sq_night_group(ns, is_sm_bound),
        .is_control = !is_sentinel && is_control(p->gate, row->baseline, row->night),
        .baseline = side_of(p, row->baseline, is_sm_bound, is_sentinel ? 0 : BOTH_HALVES),
        .tonight = side_of(p, row->night, is_sm_bound, is_sentinel ? 1 : BOTH_HALVES)};
}

/* --- suspicions --- */

static void suspect(sq_gate_row *row)
{
    sq_night_verdict verdict = row->result.verdict;
    bool has_numbers = verdict == SQ_NIGHT_SUSPECT_SLOWER || verdict == SQ_NIGHT_SUSPECT_LARGER;
    for (int i = 0; i < SQ_NIGHT_QUANTITIES; i++)
        if (has_numbers && (row->result.suspects & 1u << i))
            row->standing[i] = SQ_STANDING_PENDING;
    if (verdict == SQ_NIGHT_NEWLY_FAILING)
        row->standing[SQ_GATE_FAILING] = SQ_STANDING_PENDING;
}

static const char *code_of(const sq_gate_row *row)
{
    const sq_gate_cell *a = row->baseline, *b = row->night;
    if (!a || !b || !a->kernel_hash[0] || !b->kernel_hash[0])
        return "";
    return strcmp(a->kernel_hash, b->kernel_hash) == 0 ? "same kernels" : "changed kernels";
}

/* What is known of why. */
static void explain(sq_gate_row *row)
{
    const sq_night_result *r = &row->result;
    size_t size = sizeof row->cause;
    if (!row->night)
        snprintf(row->cause, size, "not in this night");
    else if (r->verdict <= SQ_NIGHT_FAILED_NEW)
        snprintf(row->cause, size, "%s: %.200s",
                 sq_run_status_name(sq_night_status(row->night->status, row->night->n_runs)),
                 row->night->reason);
    else if (r->verdict == SQ_NIGHT_NOT_COMPARED && !row->baseline)
        snprintf(row->cause, size, "not in the baseline");
    else if (r->verdict == SQ_NIGHT_NOT_COMPARED)
        snprintf(row->cause, size, "%.200s",
                 row->night->n_timed
                     ? row->baseline->n_timed ? "too few runs" : row->baseline->reason
                     : row->night->reason);
    else if (r->verdict == SQ_NIGHT_CLOCKS_POWER)
        snprintf(row->cause, size, "clocks/power: time and cycles disagree");
    else if (r->is_bimodal)
        snprintf(row->cause, size, "two modes, %.1f %% apart; %s", 100 * expm1(r->mode_gap),
                 code_of(row));
    else if (r->verdict < SQ_NIGHT_INCONCLUSIVE)
        snprintf(row->cause, size, "%s", code_of(row));
}

/* --- all of them --- */

/* The cells of two lists, each in the order of cell_id. */
static int pair(const sq_gate_side *a, const sq_gate_side *b, sq_gate_row *row)
{
    int i = 0, k = 0, n = 0;
    while (i < a->n_cells || k < b->n_cells) {
        const sq_gate_cell *x = i < a->n_cells ? &a->cell[i] : NULL;
        const sq_gate_cell *y = k < b->n_cells ? &b->cell[k] : NULL;
        bool has_x = x && (!y || x->cell_id <= y->cell_id);
        bool has_y = y && (!x || y->cell_id <= x->cell_id);
        row[n++] = (sq_gate_row){.baseline = has_x ? x : NULL, .night = has_y ? y : NULL};
        i += has_x;
        k += has_y;
    }
    return n;
}

static int add_sentinels(const sq_gate_side *night, sq_gate_row *row)
{
    int n = 0;
    for (int i = 0; i < night->n_cells; i++)
        if (night->cell[i].is_sentinel)
            row[n++] = (sq_gate_row){.baseline = &night->cell[i], .night = &night->cell[i]};
    return n;
}

static sq_status make_rows(sq_judging *gate, sq_error *err)
{
    const sq_gate_side *a = &gate->baseline, *b = &gate->night;
    size_t most = (size_t)a->n_cells + 2 * (size_t)b->n_cells + 1, numbers = 1;
    for (int i = 0; i < a->n_cells; i++)
        numbers += 3 * (size_t)a->cell[i].n_timed;
    for (int i = 0; i < b->n_cells; i++)
        numbers += 6 * (size_t)b->cell[i].n_timed;
    gate->row = calloc(most, sizeof *gate->row);
    gate->numbers = calloc(numbers, sizeof *gate->numbers);
    if (!gate->row || !gate->numbers)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a night");
    gate->n_rows = pair(a, b, gate->row);
    gate->sentinel = gate->row + gate->n_rows;
    gate->n_sentinels = add_sentinels(b, gate->sentinel);
    return SQ_OK;
}

static bool is_alarm(sq_night_verdict verdict)
{
    return verdict == SQ_NIGHT_SUSPECT_SLOWER || verdict == SQ_NIGHT_SUSPECT_FASTER;
}

/* Left out tonight, by a budget, a selection or the state of the GPU. */
static bool is_missing(const sq_gate_row *row)
{
    return row->result.verdict == SQ_NIGHT_NOT_COMPARED && row->baseline &&
           row->baseline->n_timed > 0 && !(row->night && row->night->n_timed > 0);
}

/* Has times on both sides, and too few of them. */
static bool is_untold(const sq_gate_row *row)
{
    return row->result.verdict == SQ_NIGHT_NOT_COMPARED && row->baseline && row->night &&
           row->baseline->n_timed > 0 && row->night->n_timed > 0;
}

/* The judge counts sentinels among the cells; the night does not. */
static void take_results(sq_judging *gate, const sq_night_result *result)
{
    int *count = gate->summary.count, compared = 0, untold = 0;
    for (int i = 0; i < gate->n_rows + gate->n_sentinels; i++) {
        sq_gate_row *row = &gate->row[i];
        row->result = result[i];
        for (int k = 0; k < SQ_NIGHT_TESTS; k++)
            row->again[k] = (sq_interval){NAN, NAN, NAN};
        if (i >= gate->n_rows) {
            count[result[i].verdict]--;
            gate->asked += result[i].test[SQ_NIGHT_TIME].finding != SQ_FINDING_NONE;
            gate->alarms += is_alarm(result[i].verdict);
            continue;
        }
        compared += result[i].test[SQ_NIGHT_TIME].finding != SQ_FINDING_NONE;
        untold += is_untold(row);
        gate->missing += is_missing(row);
        suspect(row);
        explain(row);
    }
    int open = count[SQ_NIGHT_INCONCLUSIVE] + untold + gate->missing;
    int all = compared + untold + gate->missing;
    gate->summary.compared = compared;
    gate->summary.inconclusive_share = all ? (double)open / all : 0;
    gate->missing_share = all ? (double)gate->missing / all : 0;
}

static sq_status judge(sq_judging *gate, sq_error *err)
{
    int n = gate->n_rows + gate->n_sentinels;
    packer p = {gate, gate->numbers};
    sq_night_cell *cell = calloc((size_t)n + 1, sizeof *cell);
    sq_night_result *result = calloc((size_t)n + 1, sizeof *result);
    sq_status s = cell && result ? SQ_OK : SQ_OUT_OF_MEMORY;
    for (int i = 0; s == SQ_OK && i < n; i++)
        cell[i] = judged_cell(&p, &gate->row[i], i >= gate->n_rows);
    if (s == SQ_OK)
        s = sq_night_judge(cell, n, &gate->policy, result, &gate->summary);
    if (s == SQ_OK)
        take_results(gate, result);
    free(cell);
    free(result);
    return s == SQ_OK ? s : sq_fail(err, s, "no memory to judge a night");
}

/* Worst verdict first, then the largest change, then by name. */
static int by_weight(const void *x, const void *y)
{
    const sq_gate_row *a = x, *b = y;
    double change_a = fabs(sq_gate_effect(a)), change_b = fabs(sq_gate_effect(b));
    if (a->result.verdict != b->result.verdict)
        return a->result.verdict < b->result.verdict ? -1 : 1;
    if (a->result.verdict < SQ_NIGHT_INCONCLUSIVE && change_a != change_b &&
        !(isnan(change_a) && isnan(change_b)))
        return isnan(change_b) || change_a > change_b ? -1 : 1;
    return strcmp(sq_gate_key(a), sq_gate_key(b));
}

static sq_status check_joining(sq_judging *gate, sq_db *db, sq_error *err)
{
    const sq_gate_options *o = &gate->options;
    const char *const campaigns[] = {o->baseline, o->night};
    const char *const names[] = {o->baseline_text, o->night_text};
    sq_status s = sq_joining_check(db, campaigns, names, 2, o->across, &gate->crossed, err);
    if (s == SQ_BAD_ARGUMENT)
        s = err->status = SQ_DEVICE; /* the environment is not the baseline's */
    return s;
}

/* The command line beats the suite, which beats the default. */
static void choose_limit(sq_judging *gate)
{
    const double told[] = {gate->options.inconclusive_limit, gate->night.inconclusive_limit};
    for (int i = 1; i >= 0; i--)
        if (!isnan(told[i]))
            gate->policy.inconclusive_limit = told[i];
}

static sq_status read_and_judge(sq_judging *gate, sq_db *db, sq_error *err)
{
    SQ_TRY(check_joining(gate, db, err));
    SQ_TRY(sq_gate_side_read(db, gate->options.baseline, &gate->baseline, err));
    SQ_TRY(sq_gate_side_read(db, gate->options.night, &gate->night, err));
    choose_limit(gate);
    SQ_TRY(make_rows(gate, err));
    SQ_TRY(judge(gate, err));
    SQ_TRY(sq_gate_answer(gate, db, err));
    gate->is_disturbed = gate->night.disturbed > disturbed_share * gate->night.watched;
    qsort(gate->row, (size_t)gate->n_rows, sizeof *gate->row, by_weight);
    return SQ_OK;
}

sq_status sq_gate_open(sq_db *db, const sq_gate_options *options, sq_judging **out, sq_error *err)
{
    sq_judging *gate = calloc(1, sizeof *gate);
    *out = NULL;
    if (!gate)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a gate");
    gate->options = *options;
    gate->policy = policy_of(options);
    sq_status s = read_and_judge(gate, db, err);
    if (s == SQ_OK)
        *out = gate;
    else
        sq_gate_free(gate);
    return s;
}

void sq_gate_free(sq_judging *gate)
{
    if (!gate)
        return;
    sq_gate_side_free(&gate->baseline);
    sq_gate_side_free(&gate->night);
    sq_text_free(&gate->crossed);
    free(gate->row);
    free(gate->numbers);
    free(gate);
}
