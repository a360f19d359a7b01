#include "core/compare.h"

#include <math.h>

typedef struct {
    double sum_error, sum_want, worst_error;
    sq_compare_result result;
} comparison;

static bool take_element(comparison *c, double got, double want, int64_t index)
{
    double error = got == want ? 0 : fabs(got - want); /* equal infinities agree */
    if (!isfinite(error) && !(isnan(got) && isnan(want))) {
        c->result.rel_l2 = c->result.max_abs = INFINITY;
        c->result.worst = index;
        c->result.got_worst = got;
        c->result.want_worst = want;
        return false;
    }
    if (!isfinite(want)) /* both the same infinity, or NaN where the reference has NaN */
        return true;
    c->sum_error += error * error;
    c->sum_want += want * want;
    if (error > c->worst_error || index == 0) {
        c->worst_error = error;
        c->result.worst = index;
        c->result.got_worst = got;
        c->result.want_worst = want;
    }
    return true;
}

sq_compare_result sq_compare(const sq_tensor *got, const sq_tensor *want, sq_tolerance tolerance)
{
    comparison c = {.sum_error = 0};
    int64_t count = sq_tensor_count(want);
    bool is_dense = sq_tensor_is_dense(got) && sq_tensor_is_dense(want);
    for (int64_t i = 0; i < count; i++) {
        int64_t at_got = is_dense ? i : sq_tensor_offset(got, i);
        int64_t at_want = is_dense ? i : sq_tensor_offset(want, i);
        if (!take_element(&c, sq_load(got->data, got->dtype, at_got),
                          sq_load(want->data, want->dtype, at_want), i))
            return c.result;
    }
    if (c.sum_error == 0) {
        c.result.is_ok = true;
        return c.result;
    }
    double norm = sqrt(c.sum_want), rms = count ? sqrt(c.sum_want / (double)count) : 0;
    c.result.rel_l2 = norm > 0 ? sqrt(c.sum_error) / norm : INFINITY;
    c.result.max_abs = rms > 0 ? c.worst_error / rms : INFINITY;
    c.result.is_ok =
        c.result.rel_l2 <= tolerance.rel_l2 && c.result.max_abs <= tolerance.max_abs;
    return c.result;
}
