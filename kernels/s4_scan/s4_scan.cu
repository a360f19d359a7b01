/* s4_scan on CUDA. The operator: s4_scan.c.
 *
 *   cuda/naive      a thread has a channel of a sequence, in f64 (naive.cuh, naive_bwd.cuh)
 *   cuda/portable   a warp has a channel of a sequence and walks through its steps, a lane has
 * every 32nd mode in registers; discretised in f64, states in f32
 */
#include "kernels/s4_scan/backward.cuh"
#include "kernels/s4_scan/naive_bwd.cuh"

namespace
{

using namespace sq_s4_scan;

template <int MODES, int RANK>
__global__ void __launch_bounds__(THREADS) scan(tokens u, tokens y, sq_pairs final, parameters q)
{
    const int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    const int64_t batch = row / q.channels, d = row % q.channels;
    const int lane = threadIdx.x % 32;
    if (batch >= q.batch)
        return;
    const float skip = q.in.skip[d * q.in.skip_stride];
    lane_modes<MODES, RANK> modes;
    modes.read(q, d);
    modes.load_states(q.initial.data ? q.initial.at(batch, d, 0) : nullptr, q.initial.stride_n,
                      q.count);
    for (int64_t t0 = 0; t0 < q.length; t0 += AHEAD) {
        const int steps = (int)min((int64_t)AHEAD, q.length - t0);
        const int64_t end = t0 + AHEAD;
        float mine = 0, out = 0;
        if (lane < steps)
            mine = u.load(batch, t0 + lane, d);
        for (int i = 0; i < steps; i++) {
            const float in = __shfl_sync(0xffffffffu, mine, i);
            modes.step(in);
            const float sum = fmaf(skip, in, modes.output());
            out = lane == i ? sum : out;
        }
        if (lane < steps)
            y.store(batch, t0 + lane, d, out);
        if (q.saved && end % BORDER == 0 && end < q.length)
            modes.store_states((float *)q.saved_row(batch, d, end / BORDER - 1), 2, q.count);
    }
    if (final.data)
        modes.store_states(final.at(batch, d, 0), final.stride_n, q.count);
}

sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)device;
    return sq_supports_types(call, why);
}

size_t saved(const sq_call *forward)
{
    const int64_t *dim = forward->in[IN_U].dim;
    return (size_t)(dim[0] * dim[2] * ((dim[1] - 1) / BORDER) * forward->in[IN_C].dim[1]) *
           sizeof(float2);
}

size_t workspace(const sq_call *call)
{
    return call->pass == SQ_PASS_BWD ? backward_workspace(call) : 0;
}

sq_status launch_forward(const sq_call *call, sq_error *err)
{
    const parameters q = parameters_of(call);
    const unsigned blocks = (unsigned)sq_ceil_div(q.batch * q.channels, WARPS);
    const tokens u = tokens_of(&call->in[IN_U]), y = tokens_of(&call->out[OUT_Y]);
    const sq_pairs final = sq_pairs_of(&call->out[OUT_FINAL]);
    return with_modes(call, [&](auto modes, auto rank) {
        scan<decltype(modes)::value, decltype(rank)::value>
            <<<blocks, THREADS, 0, sq_stream(call)>>>(u, y, final, q);
        return sq_launched("s4_scan", err);
    });
}

sq_status launch(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return call->pass == SQ_PASS_BWD ? launch_backward(call, err) : launch_forward(call, err);
}

} // namespace

extern "C" const sq_provider sq_cuda_s4_scan[] = {
    {"cuda/naive", "a thread a channel, step by step in f64; bwd: then a thread a mode",
     naive_supports, naive_workspace, NULL, naive_launch, NULL, SQ_HAS_BWD | SQ_HAS_STEP, NULL},
    {"cuda/portable", "a warp a channel, modes in registers", supports, workspace, NULL, launch,
     NULL, SQ_HAS_BWD | SQ_HAS_STEP, saved},
    {NULL},
};
