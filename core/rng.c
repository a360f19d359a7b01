#include "core/rng.h"

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
