/* place: see place.h. */
#include "bench/worker/place.h"

#include <stdlib.h>
#include <string.h>

#include "bench/worker/host_call.h"

enum {
    GUARD_BYTES = 256,
    STRIDED_PAD = 16 /* elements before and after each row: keeps rows 16-byte aligned */
};

/* --- guard zones --- */

sq_status sq_guarded_alloc(const sq_rig *rig, size_t bytes, sq_guarded *out, sq_error *err)
{
    size_t whole = bytes + 2 * GUARD_BYTES;
    SQ_TRY(rig->backend->alloc(rig->device, whole, &out->block, err));
    out->data = (char *)out->block + GUARD_BYTES;
    out->bytes = bytes;
    return rig->backend->poison(rig->device, out->block, whole, err);
}

void sq_guarded_free(const sq_rig *rig, sq_guarded *guarded)
{
    rig->backend->free(rig->device, guarded->block);
    *guarded = (sq_guarded){.block = NULL};
}

static sq_status check_zone(const sq_rig *rig, void *zone, bool *is_intact, sq_error *err)
{
    unsigned char bytes[GUARD_BYTES];
    sq_tensor view =
        sq_tensor_dense(zone, SQ_DTYPE_BF16, 1, (int64_t[]){GUARD_BYTES / sizeof(uint16_t)});
    SQ_TRY(rig->backend->gather(rig->device, &view, bytes, err));
    for (int i = 0; i < GUARD_BYTES; i++)
        *is_intact = *is_intact && bytes[i] == 0xff;
    return SQ_OK;
}

sq_status sq_guarded_check(const sq_rig *rig, const sq_guarded *guarded, const char *what,
                           sq_error *err)
{
    if (!guarded->block)
        return SQ_OK;
    bool is_intact = true;
    SQ_TRY(check_zone(rig, guarded->block, &is_intact, err));
    SQ_TRY(check_zone(rig, (char *)guarded->data + guarded->bytes, &is_intact, err));
    if (!is_intact)
        return sq_fail(err, SQ_MISMATCH, "a kernel wrote outside %s", what);
    return SQ_OK;
}

/* --- layout --- */

/* A view whose rows, everything after the time dim, lie STRIDED_PAD elements apart on each side. */
static void widen(const sq_tensor_spec *spec, sq_tensor *view, sq_tensor *buffer)
{
    int64_t row = 1;
    for (int d = spec->time_dim + 1; d < spec->rank; d++)
        row *= spec->dim[d];
    int64_t dim[SQ_MAX_RANK];
    memcpy(dim, spec->dim, sizeof dim);
    dim[spec->time_dim + 1] = row + 2 * STRIDED_PAD;
    *buffer = sq_tensor_dense(NULL, spec->dtype, spec->time_dim + 2, dim);
    for (int d = 0; d <= spec->time_dim; d++)
        view->stride[d] = buffer->stride[d];
}

/* The forward pass writes it; outputs are dense. */
static bool is_value(const sq_place *place, int i)
{
    return i >= sq_drawn_inputs(&place->list);
}

sq_status sq_place_plan(const sq_rig *rig, const sq_call *call, sq_layout layout, sq_place *place,
                        sq_error *err)
{
    *place = (sq_place){.rig = rig, .call = *call};
    SQ_TRY(sq_call_shape(&place->call, &place->list, err));
    for (int i = 0; i < place->list.n_in; i++) {
        const sq_tensor_spec *spec = &place->list.in[i];
        place->buffer[i] = place->call.in[i];
        if (spec->name && !is_value(place, i) && layout == SQ_LAYOUT_STRIDED &&
            spec->time_dim >= 0 && spec->time_dim + 1 < spec->rank)
            widen(spec, &place->call.in[i], &place->buffer[i]);
    }
    return SQ_OK;
}

void sq_place_private_bytes(const sq_provider *provider, const sq_call *call,
                            const sq_tensor_list *list, size_t *workspace, size_t *saved)
{
    const bool is_backward = list->first_value > 0;
    sq_call main = *call;
    if (is_backward)
        main.pass = SQ_PASS_BWD;
    *workspace = provider->workspace ? provider->workspace(&main) : 0;
    *saved = 0;
    if (!is_backward)
        return;
    const sq_call forward = sq_call_forward(call, list);
    const size_t before = provider->workspace ? provider->workspace(&forward) : 0;
    *workspace = before > *workspace ? before : *workspace;
    *saved = provider->saved ? provider->saved(&forward) : 0;
}

size_t sq_place_input_bytes(const sq_place *place)
{
    size_t bytes = 0;
    for (int i = 0; i < place->list.n_in; i++)
        if (place->list.in[i].name)
            bytes += sq_tensor_bytes(&place->buffer[i]);
    return bytes;
}

size_t sq_place_bytes(const sq_place *place)
{
    size_t bytes = sq_place_input_bytes(place);
    for (int i = 0; i < place->list.n_out; i++)
        if (place->list.out[i].name)
            bytes += sq_tensor_bytes(&place->call.out[i]);
    return bytes;
}

/* --- memory --- */

/* What lies around the numbers, before, between and behind the rows, is NaN: a kernel that uses it
 * shows. */
static sq_status fill_input(const sq_place *place, int i, sq_tensor *buffer, sq_tensor *view,
                            sq_error *err)
{
    const sq_rig *rig = place->rig;
    const size_t bytes = sq_tensor_bytes(buffer) + GUARD_BYTES;
    SQ_TRY(rig->backend->alloc(rig->device, bytes, &buffer->data, err));
    SQ_TRY(rig->backend->poison(rig->device, buffer->data, bytes, err));
    const bool is_widened = sq_tensor_count(buffer) != sq_tensor_count(view);
    const int64_t base = is_widened ? STRIDED_PAD : 0;
    view->data = (char *)buffer->data + (size_t)base * sq_dtype_size(view->dtype);
    return is_value(place, i) ? SQ_OK
                              : rig->backend->fill(rig->device, view, base, place->list.in[i].draw,
                                                   place->seed, (uint32_t)i, err);
}

/* call->saved stays NULL where a provider saves nothing. */
static sq_status make_saved(const sq_rig *rig, size_t bytes, sq_guarded *saved, sq_call *call,
                            sq_error *err)
{
    if (bytes == 0)
        return SQ_OK;
    SQ_TRY(sq_guarded_alloc(rig, bytes, saved, err));
    call->saved = saved->data;
    return SQ_OK;
}

sq_status sq_place_fill(sq_place *place, uint64_t seed, size_t workspace_bytes, size_t saved_bytes,
                        sq_error *err)
{
    const sq_rig *rig = place->rig;
    place->seed = seed;
    for (int i = 0; i < place->list.n_in; i++)
        if (place->list.in[i].name)
            SQ_TRY(fill_input(place, i, &place->buffer[i], &place->call.in[i], err));
    for (int i = 0; i < place->list.n_out; i++) {
        if (!place->list.out[i].name)
            continue;
        size_t bytes = sq_tensor_bytes(&place->call.out[i]);
        SQ_TRY(sq_guarded_alloc(rig, bytes, &place->out[i], err));
        place->call.out[i].data = place->out[i].data;
    }
    SQ_TRY(sq_guarded_alloc(rig, workspace_bytes, &place->workspace, err));
    place->call.workspace = place->workspace.data;
    place->call.workspace_bytes = workspace_bytes;
    place->call.stream = rig->backend->stream(rig->device);
    return make_saved(rig, saved_bytes, &place->saved, &place->call, err);
}

sq_status sq_place_fill_copy(const sq_place *place, sq_place_copy *copy, sq_error *err)
{
    *copy = (sq_place_copy){.call = place->call};
    for (int i = 0; i < place->list.n_in; i++) {
        if (!place->list.in[i].name)
            continue;
        copy->buffer[i] = place->buffer[i];
        copy->buffer[i].data = NULL;
        SQ_TRY(fill_input(place, i, &copy->buffer[i], &copy->call.in[i], err));
    }
    return make_saved(place->rig, place->saved.bytes, &copy->saved, &copy->call, err);
}

static void free_inputs(const sq_place *place, sq_tensor *buffer)
{
    for (int i = 0; i < SQ_MAX_IN; i++) {
        place->rig->backend->free(place->rig->device, buffer[i].data);
        buffer[i].data = NULL;
    }
}

void sq_place_free_copy(const sq_place *place, sq_place_copy *copy)
{
    free_inputs(place, copy->buffer);
    sq_guarded_free(place->rig, &copy->saved);
}

void sq_place_free(sq_place *place)
{
    free_inputs(place, place->buffer);
    for (int i = 0; i < SQ_MAX_OUT; i++)
        sq_guarded_free(place->rig, &place->out[i]);
    sq_guarded_free(place->rig, &place->workspace);
    sq_guarded_free(place->rig, &place->saved);
}

/* Of what the forward pass of a backward call wrote: no guard before it, one behind. */
static sq_status check_value(const sq_place *place, int i, sq_error *err)
{
    bool is_intact = true;
    const sq_tensor *value = &place->buffer[i];
    if (!place->list.in[i].name || !is_value(place, i))
        return SQ_OK;
    SQ_TRY(check_zone(place->rig, (char *)value->data + sq_tensor_bytes(value), &is_intact, err));
    if (!is_intact)
        return sq_fail(err, SQ_MISMATCH, "a kernel wrote outside %s", place->list.in[i].name);
    return SQ_OK;
}

sq_status sq_place_check_guards(const sq_place *place, sq_error *err)
{
    if (place->is_remote)
        return SQ_OK;
    for (int i = 0; i < place->list.n_in; i++)
        SQ_TRY(check_value(place, i, err));
    for (int i = 0; i < place->list.n_out; i++)
        if (place->list.out[i].name)
            SQ_TRY(sq_guarded_check(place->rig, &place->out[i], place->list.out[i].name, err));
    SQ_TRY(sq_guarded_check(place->rig, &place->saved, "what it saves for its backward pass", err));
    return sq_guarded_check(place->rig, &place->workspace, "its workspace", err);
}

sq_status sq_place_checksum(const sq_place *place, uint64_t *sum, sq_error *err)
{
    const sq_rig *rig = place->rig;
    *sum = 0;
    for (int i = 0; i < place->list.n_out; i++) {
        uint64_t one = 0;
        if (place->list.out[i].name)
            SQ_TRY(rig->backend->checksum(rig->device, &place->call.out[i], &one, err));
        *sum = sq_rng_mix(*sum ^ one);
    }
    return SQ_OK;
}

/* --- drawing again on the host --- */

void sq_draw_view(const sq_tensor *view, int64_t base, sq_draw draw, uint64_t seed, uint32_t id,
                  void *host)
{
    int64_t count = sq_tensor_count(view);
    int64_t row = view->rank > 0 ? view->dim[view->rank - 1] : 1;
    int64_t step = view->rank > 0 ? view->stride[view->rank - 1] : 0;
    for (int64_t first = 0; first < count; first += row) {
        int64_t index = base + sq_tensor_offset(view, first);
        for (int64_t j = 0; j < row; j++)
            sq_store(host, view->dtype, first + j,
                     (double)sq_rng_draw(draw, seed, id, index + j * step));
    }
}

/* Index of the view's first element in input i's buffer. */
static int64_t base_of(const sq_place *place, int i, const sq_tensor *view)
{
    int64_t shift = (const char *)view->data - (const char *)place->buffer[i].data;
    return shift / (int64_t)sq_dtype_size(view->dtype);
}

void sq_place_draw(const sq_place *place, int i, const sq_tensor *view, void *host)
{
    sq_draw_view(view, base_of(place, i, view), place->list.in[i].draw, place->seed, (uint32_t)i,
                 host);
}

sq_status sq_place_mask(const sq_place *place, int i, const sq_tensor *view, sq_error *err)
{
    const sq_rig *rig = place->rig;
    const sq_draw drawn = place->list.in[i].draw, zero = {SQ_DRAW_CONSTANT, 0, 0, 0};
    const sq_tensor *whole = &place->call.in[i];
    SQ_TRY(rig->backend->fill(rig->device, whole, base_of(place, i, whole), view ? zero : drawn,
                              place->seed, (uint32_t)i, err));
    return view ? rig->backend->fill(rig->device, view, base_of(place, i, view), drawn, place->seed,
                                     (uint32_t)i, err)
                : SQ_OK;
}
