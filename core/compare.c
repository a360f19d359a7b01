#include "core/compare.h"

#include <math.h>

enum { CHUNK = 1024 };

/* Running totals. Each chunk is summed on its own before it joins the total, so that the error of a
 * sum over 2^31 elements stays that of a short one. */
typedef struct {
    double difference, want; /* sums of squares */
    double worst_difference; /* -1 before the first element */
    int64_t worst;
    bool is_broken; /* `worst` is non-finite where it must not be */
} totals;

static void load_chunk(const sq_tensor *t, int64_t offset, int64_t stride, int n, double *out)
{
    if (t->dtype == SQ_DTYPE_F32 && stride == 1) {
        const float *element = (const float *)t->data + offset;
        for (int i = 0; i < n; i++)
            out[i] = (double)element[i];
        return;
    }
    for (int i = 0; i < n; i++)
        out[i] = sq_load(t->data, t->dtype, offset + i * stride);
}

/* `first`: row-major index of the chunk's first element. False at the first broken element. */
static bool add_chunk(totals *t, const double *got, const double *want, int n, int64_t first)
{
    double difference = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        double d = got[i] == want[i] ? 0 : fabs(got[i] - want[i]); /* equal infinities agree */
        if (!isfinite(d)) {
            t->worst = first + i;
            t->is_broken = true;
            return false;
        }
        difference += d * d;
        squares += isfinite(want[i]) ? want[i] * want[i] : 0;
        if (d > t->worst_difference) {
            t->worst_difference = d;
            t->worst = first + i;
        }
    }
    t->difference += difference;
    t->want += squares;
    return true;
}

static totals walk(const sq_tensor *got, const sq_tensor *want, int64_t count)
{
    totals t = {.worst_difference = -1};
    int64_t got_stride, want_stride;
    int64_t got_run = sq_tensor_run(got, &got_stride), want_run = sq_tensor_run(want, &want_stride);
    int64_t run = got_run < want_run ? got_run : want_run; /* divides the longer one */
    double got_chunk[CHUNK], want_chunk[CHUNK];
    for (int64_t row = 0; row < count; row += run) {
        int64_t got_row = sq_tensor_offset(got, row), want_row = sq_tensor_offset(want, row);
        for (int64_t i = 0; i < run; i += CHUNK) {
            int n = run - i < CHUNK ? (int)(run - i) : CHUNK;
            load_chunk(got, got_row + i * got_stride, got_stride, n, got_chunk);
            load_chunk(want, want_row + i * want_stride, want_stride, n, want_chunk);
            if (!add_chunk(&t, got_chunk, want_chunk, n, row + i))
                return t;
        }
    }
    return t;
}

static bool equal_dims(const sq_tensor *a, const sq_tensor *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

static double element(const sq_tensor *t, int64_t linear)
{
    return sq_load(t->data, t->dtype, sq_tensor_offset(t, linear));
}

/* Below it a number has fewer bits, and an error relative to it says nothing. */
static double least_normal(sq_dtype dtype)
{
    return dtype == SQ_DTYPE_F16 ? 0x1p-14 : 0x1p-126; /* bf16 has the exponents of f32 */
}

sq_compare_result sq_compare(const sq_tensor *got, const sq_tensor *want, sq_tolerance tolerance)
{
    sq_compare_result result = {.rel_l2 = INFINITY, .max_abs = INFINITY,
                                .got_worst = NAN, .want_worst = NAN};
    if (!equal_dims(got, want))
        return result;
    int64_t count = sq_tensor_count(want);
    if (count == 0)
        return (sq_compare_result){.is_ok = true};
    totals t = walk(got, want, count);
    result.worst = t.worst;
    result.got_worst = element(got, t.worst);
    result.want_worst = element(want, t.worst);
    if (t.is_broken)
        return result;
    if (t.difference == 0) {
        result.rel_l2 = result.max_abs = 0;
    } else if (t.want > 0) {
        double rms = fmax(sqrt(t.want / (double)count), least_normal(got->dtype));
        result.rel_l2 = sqrt(t.difference / (double)count) / rms;
        result.max_abs = t.worst_difference / rms;
    }
    result.is_ok = result.rel_l2 <= tolerance.rel_l2 && result.max_abs <= tolerance.max_abs;
    return result;
}
