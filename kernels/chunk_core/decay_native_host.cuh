/* decay_native_host: what the launchers of both passes on Hopper share. */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_HOST_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_HOST_CUH

#include "kernels/chunk_core/decay_gates.cuh"
#include "kernels/chunk_core/decay_native_parts.cuh"
#include "kernels/chunk_core/decay_plan.cuh"
#include "kernels/hw/tma_sm90.cuh"

/* decay_native.cu: the maps of pass fwd, which sq_decay_native_launch takes as its plan. */
sq_status sq_decay_native_maps(const sq_call *call, const sq_decay_params &p, sq_native_maps *maps,
                               sq_error *err);

static inline sq_status sq_native_supports_device(const sq_device *device, sq_error *why)
{
    if (!device || device->compute_major <= 0 ||
        (device->compute_major == 9 && device->compute_minor == 0))
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "sm_%d%d: wgmma is of sm_90 alone", device->compute_major,
                   device->compute_minor);
}

/* What both passes need. */
static inline sq_status sq_native_supports(const sq_call *call, const sq_decay_params &p,
                                           const sq_device *device, sq_error *why)
{
    SQ_TRY(sq_native_supports_device(device, why));
    if (call->dtype != SQ_DTYPE_BF16)
        return sq_fail(why, SQ_UNSUPPORTED, "%s: bf16 only", sq_dtype_name(call->dtype));
    if (p.kind == SQ_DECAY_ROWS)
        return sq_fail(why, SQ_UNSUPPORTED, "a decay for each row of the state");
    if (p.chunk != 0 && p.chunk != SQ_CHUNK)
        return sq_fail(why, SQ_UNSUPPORTED, "chunk=%lld: chunks of %d only", (long long)p.chunk,
                       SQ_CHUNK);
    SQ_TRY(sq_decay_supports_rows(call, p, why));
    return sq_decay_supports_grid(p, why);
}

static inline sq_tma_tensor sq_native_rows(const sq_decay_params &p, const sq_decay_tensor &t,
                                           int heads, int columns)
{
    return {t.data, p.batch, p.length, heads, columns, t.batch, t.time, t.head};
}

#endif
