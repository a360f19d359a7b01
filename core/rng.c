#include "core/rng.h"

static void fill_dense(const sq_tensor *view, int64_t base_index, sq_draw draw, uint64_t seed,
                       uint32_t tensor)
{
    int64_t count = sq_tensor_count(view);
    if (view->dtype == SQ_DTYPE_F32) {
        float *data = (float *)view->data;
        for (int64_t i = 0; i < count; i++)
            data[i] = sq_rng_draw(draw, seed, tensor, base_index + i);
    } else {
        uint16_t *data = (uint16_t *)view->data;
        uint16_t (*round)(float) = view->dtype == SQ_DTYPE_BF16 ? sq_f32_to_bf16 : sq_f32_to_f16;
        for (int64_t i = 0; i < count; i++)
            data[i] = round(sq_rng_draw(draw, seed, tensor, base_index + i));
    }
}

void sq_rng_fill(const sq_tensor *view, int64_t base_index, sq_draw draw, uint64_t seed,
                 uint32_t tensor)
{
    if (sq_tensor_is_dense(view)) {
        fill_dense(view, base_index, draw, seed, tensor);
        return;
    }
    int64_t count = sq_tensor_count(view);
    for (int64_t i = 0; i < count; i++) {
        int64_t offset = sq_tensor_offset(view, i);
        sq_store(view->data, view->dtype, offset,
                 sq_rng_draw(draw, seed, tensor, base_index + offset));
    }
}
