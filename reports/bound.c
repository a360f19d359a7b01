/* bound: see bound.h. */
#include "reports/bound.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const double short_ns = 20e3;

/* A floor that is less of the time does not bind it. */
static const double binding_share = 0.5;

static void take_ceiling(sqlite3_stmt *row, sq_roofs *out)
{
    static const struct {
        const char *name;
        size_t offset;
    } known[] = {{"copy_gbytes_per_s", offsetof(sq_roofs, copy_gbytes_per_s)},
                 {"gemm_f32_tflops", offsetof(sq_roofs, gemm_f32_tflops)},
                 {"gemm_bf16_tflops", offsetof(sq_roofs, gemm_16_tflops)}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(sq_query_text(row, 0), known[i].name) == 0)
            *(double *)(void *)((char *)out + known[i].offset) = sq_query_number(row, 2);
}

sq_status sq_roofs_read(const sq_scope *scope, int64_t device_id, sq_roofs *out, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    *out = (sq_roofs){NAN, NAN, NAN};
    SQ_TRY(sq_query_plain(scope, sq_figure_ceilings_sql, &row, err));
    sqlite3_bind_int64(row, 2, device_id);
    bool has_row = true;
    sq_status status = SQ_OK;
    while (has_row && (status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row)
        take_ceiling(row, out);
    sqlite3_finalize(row);
    return status;
}

sq_cell_class sq_class_of(const sq_roofs *roofs, const char *dtype, double ns, double bytes,
                          double matrix_flops)
{
    bool is_f32 = strcmp(dtype, "f32") == 0;
    double bytes_ns = bytes / roofs->copy_gbytes_per_s;
    double tflops = is_f32 ? roofs->gemm_f32_tflops : roofs->gemm_16_tflops;
    double flops_ns = matrix_flops / tflops / 1e3;
    if (ns < short_ns)
        return SQ_CLASS_SHORT;
    if (isnan(bytes_ns))
        return SQ_CLASS_UNKNOWN;
    if (fmax(bytes_ns, flops_ns) < binding_share * ns)
        return SQ_CLASS_OTHER;
    return flops_ns > bytes_ns ? SQ_CLASS_TENSOR : SQ_CLASS_MEMORY;
}
