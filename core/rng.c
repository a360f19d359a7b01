#include "core/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

/* Offsets of one run of a view: `length` elements, `stride` apart, the first drawn at `index`. */
typedef struct {
    int64_t offset, length, stride, index;
} run;

/* One loop per element type, so that neither the type nor the offset is decided per element. */
#define FILL_RUN(type, convert)                                                                    \
    do {                                                                                           \
        type *element = (type *)data + r.offset;                                                   \
        for (int64_t i = 0; i < r.length; i++) {                                                   \
            int64_t at = i * r.stride;                                                             \
            element[at] = convert(sq_rng_draw(draw, seed, tensor, r.index + at));                  \
        }                                                                                          \
    } while (0)

static void fill_run(void *data, sq_dtype dtype, run r, sq_draw draw, uint64_t seed,
                     uint32_t tensor)
{
    if (dtype == SQ_DTYPE_BF16)
        FILL_RUN(uint16_t, sq_f32_to_bf16);
    else if (dtype == SQ_DTYPE_F16)
        FILL_RUN(uint16_t, sq_f32_to_f16);
    else if (dtype == SQ_DTYPE_I32)
        FILL_RUN(int32_t, (int32_t));
    else
        FILL_RUN(float, );
}

void sq_rng_fill(const sq_tensor *view, int64_t base_index, sq_draw draw, uint64_t seed,
                 uint32_t tensor)
{
    int64_t count = sq_tensor_count(view);
    run r = {0};
    r.length = sq_tensor_run(view, &r.stride);
    for (int64_t done = 0; done < count; done += r.length) {
        r.offset = sq_tensor_offset(view, done);
        r.index = base_index + r.offset;
        fill_run(view->data, view->dtype, r, draw, seed, tensor);
    }
}

/* --- text --- */

static const char *const kind_names[] = {"normal", "uniform", "constant", "ramp", "stair", NULL};
static const char *const kind_forms[] = {"normal(mean,deviation)", "uniform(low,high)",
                                         "constant(value)", "ramp(start,step,period)",
                                         "stair(start,step,period)"};
static const int kind_numbers[] = {2, 2, 1, 3, 3};

void sq_draw_format(sq_draw draw, char out[SQ_DRAW_TEXT])
{
    int n = snprintf(out, SQ_DRAW_TEXT, "%s(%.9g", kind_names[draw.kind], (double)draw.a);
    if (kind_numbers[draw.kind] >= 2)
        n += snprintf(out + n, SQ_DRAW_TEXT - (size_t)n, ",%.9g", (double)draw.b);
    if (kind_numbers[draw.kind] >= 3)
        n += snprintf(out + n, SQ_DRAW_TEXT - (size_t)n, ",%lld", (long long)draw.period);
    snprintf(out + n, SQ_DRAW_TEXT - (size_t)n, ")");
}

/* Reads "1,2,3)" to its end; false where it is not `count` finite numbers. */
static bool read_numbers(const char *text, int count, double *value)
{
    for (int i = 0; i < count; i++) {
        char *end = NULL;
        value[i] = strtod(text, &end);
        if (end == text || !isfinite(value[i]) || *end != (i + 1 < count ? ',' : ')'))
            return false;
        text = end + 1;
    }
    return *text == '\0';
}

sq_status sq_draw_parse(const char *text, sq_draw *out, sq_error *err)
{
    char kind[16];
    int index = 0;
    double value[3] = {0};
    size_t length = strcspn(text, "(");
    snprintf(kind, sizeof kind, "%.*s", length < sizeof kind ? (int)length : 15, text);
    SQ_TRY(sq_find_name("draw", kind, kind_names, &index, err));
    bool is_good = text[length] && read_numbers(text + length + 1, kind_numbers[index], value);
    *out = (sq_draw){.kind = (sq_draw_kind)index, .a = (float)value[0], .b = (float)value[1]};
    if (is_good && kind_numbers[index] == 3) {
        is_good = value[2] >= 1 && value[2] <= 9007199254740992.0; /* 2^53 */
        out->period = is_good ? (int64_t)value[2] : 1;
    }
    if (!is_good || !isfinite(out->a) || !isfinite(out->b))
        return sq_fail(err, SQ_BAD_ARGUMENT, "draw \"%.60s\" is not %s", text, kind_forms[index]);
    return SQ_OK;
}
