/* place: the tensors of one operator call on a device: inputs drawn by seed, outputs and workspace
 * poisoned between guard zones.
 *
 * Input i lies in a dense buffer that was drawn as tensor i of the seed (core/rng.h); the call sees
 * the buffer itself or a view of it. Any part of it can therefore be drawn again on the host.
 */
#ifndef SQ_BENCH_WORKER_PLACE_H
#define SQ_BENCH_WORKER_PLACE_H

#include "bench/worker/rig.h"

#ifdef __cplusplus
extern "C" {
#endif

/* STRIDED: every input that has a time dim is a view of a buffer with longer rows, as the parts of
 * a fused projection are. Weights and outputs stay dense. */
typedef enum { SQ_LAYOUT_DENSE, SQ_LAYOUT_STRIDED } sq_layout;

/* A device allocation with poisoned bytes before and after `data`. */
typedef struct {
    void *block, *data;
    size_t bytes; /* from data on, without the guard */
} sq_guarded;

sq_status sq_guarded_alloc(const sq_rig *rig, size_t bytes, sq_guarded *out, sq_error *err);
void sq_guarded_free(const sq_rig *rig, sq_guarded *guarded);
/* SQ_MISMATCH, naming `what`, where something was written outside. Synchronous. */
sq_status sq_guarded_check(const sq_rig *rig, const sq_guarded *guarded, const char *what,
                           sq_error *err);

typedef struct {
    const sq_rig *rig;
    sq_call call;
    sq_tensor_list list;
    uint64_t seed;
    /* Another program ran it: outputs have memory, inputs and the values of forward outputs only
     * addresses. */
    bool is_remote;
    sq_tensor buffer[SQ_MAX_IN]; /* the dense tensor that call.in[i] is a view of */
    sq_guarded out[SQ_MAX_OUT], workspace, saved;
} sq_place;

/* Lays out the tensors of a checked call without memory: strides are final, data is NULL. */
sq_status sq_place_plan(const sq_rig *rig, const sq_call *call, sq_layout layout, sq_place *place,
                        sq_error *err);
/* Bytes that the provider of a planned call asks for beside the tensors: workspace, which passes bwd
 * and fwdbwd use for one pass after the other, and what a forward pass saves for the backward one. */
void sq_place_private_bytes(const sq_provider *provider, const sq_call *call,
                            const sq_tensor_list *list, size_t *workspace, size_t *saved);
/* Bytes of the planned tensors, without what the provider asks for and guards. */
size_t sq_place_bytes(const sq_place *place);
/* Allocates, draws and poisons everything; the values of forward outputs are poisoned. After a
 * failure sq_place_free is still due. */
sq_status sq_place_fill(sq_place *place, uint64_t seed, size_t workspace_bytes, size_t saved_bytes,
                        sq_error *err);
void sq_place_free(sq_place *place);

/* Another set of the same inputs for a call that shares everything else. */
typedef struct {
    sq_call call;
    sq_tensor buffer[SQ_MAX_IN];
    sq_guarded saved;
} sq_place_copy;

/* Bytes of one such set. */
size_t sq_place_input_bytes(const sq_place *place);
/* After sq_place_fill. After a failure sq_place_free_copy is still due. */
sq_status sq_place_fill_copy(const sq_place *place, sq_place_copy *copy, sq_error *err);
void sq_place_free_copy(const sq_place *place, sq_place_copy *copy);
sq_status sq_place_check_guards(const sq_place *place, sq_error *err);
/* One number over all outputs, which must have memory. */
sq_status sq_place_checksum(const sq_place *place, uint64_t *sum, sq_error *err);

/* Draws `view`, a view into input i's buffer on the device, into dense host memory. */
void sq_place_draw(const sq_place *place, int i, const sq_tensor *view, void *host);
/* Input i on the device becomes 0 outside of `view`, as drawn inside. view NULL: as drawn. */
sq_status sq_place_mask(const sq_place *place, int i, const sq_tensor *view, sq_error *err);

/* Draws the elements of a view on the host: element at storage offset o has index base + o.
 * view->data is not read. */
void sq_draw_view(const sq_tensor *view, int64_t base, sq_draw draw, uint64_t seed, uint32_t id,
                  void *host);

#ifdef __cplusplus
}
#endif
#endif
