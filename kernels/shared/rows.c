/* rows: see rows.h. */
#include "kernels/shared/rows.h"

#include <string.h>

void sq_row_read(const sq_tensor *t, int64_t offset, int64_t n, double *out)
{
    if (t->dtype == SQ_DTYPE_F32) {
        const float *from = (const float *)t->data + offset;
        for (int64_t i = 0; i < n; i++)
            out[i] = (double)from[i];
        return;
    }
    if (t->dtype == SQ_DTYPE_F64) {
        memcpy(out, (const double *)t->data + offset, (size_t)n * sizeof *out);
        return;
    }
    const uint16_t *from = (const uint16_t *)t->data + offset;
    if (t->dtype == SQ_DTYPE_BF16)
        for (int64_t i = 0; i < n; i++)
            out[i] = (double)sq_bf16_to_f32(from[i]);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = (double)sq_f16_to_f32(from[i]);
}

void sq_row_write(const sq_tensor *t, int64_t offset, int64_t n, const double *in)
{
    for (int64_t i = 0; i < n; i++)
        sq_store(t->data, t->dtype, offset + i, in[i]);
}

double sq_row_dot(const double *x, const double *y, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

int64_t sq_pick_start(sq_pick pick, int which, int64_t total, int64_t count)
{
    uint64_t starts = (uint64_t)(total - count) + 1;
    return (int64_t)(sq_rng_bits(pick.seed, 0, which) % starts);
}
