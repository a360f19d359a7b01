/* condition: see condition.h. */
#include "bench/worker/condition.h"

#include <math.h>

#include "bench/error_rule.h"
#include "bench/worker/host_call.h"
#include "kernels/shared/rounding.h"

/* One draw moves a single number by next to nothing now and then; not eight of them. */
enum { DRAWS = 8, GRIDS = 32 };
static const double rounding = 0x1p-23;
/* Between inputs and results; and what is further off than `most` is wrong in any case. */
static const double roundings = 16, most = 1e-2, most_rounded = 0.5, margin = 1.25;

static bool is_number(sq_dtype dtype)
{
    return dtype == SQ_DTYPE_F32 || dtype == SQ_DTYPE_BF16 || dtype == SQ_DTYPE_F16;
}

/* Ramps and stairs say where things lie. */
static bool is_moved(const sq_tensor_spec *spec)
{
    const bool is_drawn = spec->draw.kind == SQ_DRAW_NORMAL || spec->draw.kind == SQ_DRAW_UNIFORM;
    return is_drawn && is_number(spec->dtype);
}

static void copy_moved(const sq_tensor *from, const sq_tensor *to, double by, uint64_t seed, int i)
{
    for (int64_t k = 0; k < sq_tensor_count(from); k++) {
        const double sign = sq_rng_bits(seed, (uint32_t)i, k) % 2 ? 1 : -1;
        const double value = sq_load(from->data, from->dtype, sq_tensor_offset(from, k));
        sq_store(to->data, to->dtype, k, value * (1 + sign * by));
    }
}

static void add_move(const sq_tensor *moved, const sq_tensor *still, sq_move *sum)
{
    const sq_compare_result r = sq_compare(moved, still, (sq_tolerance){0, 0});
    if (!isfinite(r.rel_l2)) /* beyond the type's range: that says nothing of its roundings */
        return;
    sum->moved.rel_l2 = hypot(sum->moved.rel_l2, r.rel_l2 / sqrt(DRAWS));
    sum->moved.max_abs = fmax(sum->moved.max_abs, r.max_abs);
}

static void add_rounding(const sq_tensor *rounded, const sq_tensor *exact, sq_move *worst)
{
    const sq_compare_result r = sq_compare(rounded, exact, (sq_tolerance){0, 0});
    if (!isfinite(r.rel_l2))
        return;
    worst->rounded.rel_l2 = fmax(worst->rounded.rel_l2, r.rel_l2);
    worst->rounded.max_abs = fmax(worst->rounded.max_abs, r.max_abs);
}

/* The reference of inputs that are `by` away, relatively; what that does goes to add. */
static sq_status draw_move(const sq_tensor_list *list, const sq_call *host, double by,
                           uint64_t seed, sq_reference_fn reference, sq_call *moved,
                           void (*add)(const sq_tensor *, const sq_tensor *, sq_move *),
                           sq_condition *out, sq_error *err)
{
    const int values = sq_drawn_inputs(list);
    moved->pass = host->pass;
    for (int i = 0; i < values; i++)
        if (list->in[i].name)
            copy_moved(&host->in[i], &moved->in[i], is_moved(&list->in[i]) ? by : 0, seed, i);
    SQ_TRY(reference(list, moved, err));
    for (int i = values; i < list->n_in; i++)
        if (list->in[i].name)
            add(&moved->in[i], &host->in[i], &out->in[i]);
    for (int i = 0; i < list->n_out; i++)
        if (list->out[i].name)
            add(&moved->out[i], &host->out[i], &out->out[i]);
    return SQ_OK;
}

static sq_status draw_rounding(const sq_tensor_list *list, const sq_call *host, double grid,
                               sq_reference_fn reference, sq_call *moved, sq_condition *out,
                               sq_error *err)
{
    const sq_rounding before = sq_rounding_set((sq_rounding){host->dtype, grid});
    const sq_status s = draw_move(list, host, 0, 0, reference, moved, add_rounding, out, err);
    sq_rounding_set(before);
    return s;
}

static void round_results(const sq_tensor_list *list, sq_call *call)
{
    for (int i = sq_drawn_inputs(list); i < list->n_in; i++)
        call->in[i].dtype = list->in[i].dtype;
    for (int i = 0; i < list->n_out; i++)
        call->out[i].dtype = list->out[i].dtype;
}

int sq_condition_draws(sq_dtype dtype)
{
    return dtype == SQ_DTYPE_F32 ? DRAWS : GRIDS + DRAWS;
}

sq_status sq_condition_add(const sq_tensor_list *list, const sq_call *host,
                           sq_reference_fn reference, int draw, sq_condition *out, sq_error *err)
{
    const bool is_rounding = host->dtype != SQ_DTYPE_F32 && draw < GRIDS;
    sq_call moved = *host;
    for (int i = 0; i < sq_drawn_inputs(list); i++)
        if (is_number(moved.in[i].dtype)) /* f64 holds what is between two numbers of a type */
            moved.in[i].dtype = SQ_DTYPE_F64;
    if (is_rounding)
        round_results(list, &moved);
    sq_status s = sq_host_call_alloc(&moved, list, err);
    if (s == SQ_OK && is_rounding)
        s = draw_rounding(list, host, exp2(-(double)draw / GRIDS), reference, &moved, out, err);
    else if (s == SQ_OK)
        s = draw_move(list, host, rounding, (uint64_t)draw, reference, &moved, add_move, out, err);
    sq_host_call_free(&moved);
    return s;
}

/* The error of an equal implementation is not quite that of any draw: it is asked to keep the
 * gradients' bound where all draws do so by a margin, or chance would judge. */
static double allowed_of(double rounded, bool is_gradient)
{
    return sq_rule_of_16_bit(rounded, is_gradient && margin * rounded <= SQ_RULE_GRADIENT);
}

/* `unit`: of the bounds; 1 for rel_l2. */
static double widen(double bound, double moved, double allowed, double unit)
{
    return fmax(fmax(bound, fmin(roundings * moved, unit * most)), allowed);
}

sq_tolerance sq_condition_bound(sq_tolerance tolerance, double least, bool is_gradient,
                                sq_move move)
{
    const double peak = tolerance.max_abs / tolerance.rel_l2;
    const bool is_held = move.rounded.rel_l2 < most_rounded; /* by the type */
    const double most_allowed = is_held ? most_rounded : INFINITY;
    const double rel_l2 = allowed_of(move.rounded.rel_l2, is_gradient);
    return (sq_tolerance){
        .rel_l2 =
            widen(fmin(tolerance.rel_l2, least), move.moved.rel_l2, fmin(rel_l2, most_allowed), 1),
        .max_abs = widen(tolerance.max_abs, move.moved.max_abs,
                         fmin(SQ_RULE_FACTOR * move.rounded.max_abs, peak * most_allowed), peak),
    };
}
