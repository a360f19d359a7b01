/* decay_native_plan: how the launchers on Hopper cut the steps into segments where units are few.
 * Constants are an H100's, so that a result does not depend on the device.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_PLAN_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_PLAN_CUH

#include <math.h>

#include "kernels/chunk_core/decay_gates.cuh"
#include "kernels/chunk_core/decay_plan.cuh"

/* The steps are cut into runs of the main pass, each but the last of `merged` segments of `length`
 * chunks: the pass that makes the states has less to do for a run, so its blocks are shorter. */
typedef struct {
    int64_t runs, merged, length;
} sq_native_plan;

/* Segments whose states are made, of all but the last run. */
static inline int64_t sq_native_segments(const sq_native_plan &plan)
{
    return (plan.runs - 1) * plan.merged;
}

/* Of one pass: waves of blocks, or memory, of which an SM has a share that it cannot exceed; a quarter
 * of what takes less is not hidden behind the other. */
static inline double sq_native_pass_ns(double blocks, double blocks_per_sm, double chunks,
                                       double chunk_ns, double bytes)
{
    const double work = ceil(blocks / (SQ_DECAY_SMS * blocks_per_sm)) * chunks * chunk_ns;
    const double memory = bytes / fmin(3000, 40 * blocks);
    return fmax(work, memory) + fmin(work, memory) / 4;
}

/* The launches of the pass that makes states and of the chain, and the chain's reads one after the
 * other. */
static inline double sq_native_chain_ns(double segments)
{
    return 8000 + 100 * segments;
}

/* The plan that costs least: segments only where they save a tenth. ns(plan): what one takes. */
template <typename F>
static sq_native_plan sq_native_choose_plan(int64_t length, F ns)
{
    const int64_t chunks = sq_ceil_div(length, SQ_CHUNK), most_merged = 4;
    const int64_t most = sq_ceil_div(length, SQ_DECAY_MIN_SEGMENT);
    sq_native_plan best = {1, 1, chunks};
    double best_ns = 0.9 * ns(best);
    for (int64_t merged = 1; merged <= most_merged; merged++)
        for (int64_t runs = 2; runs * merged <= most && runs <= SQ_DECAY_SMS; runs++) {
            const int64_t each = sq_ceil_div(chunks, runs * merged);
            const sq_native_plan plan = {sq_ceil_div(chunks, each * merged), merged, each};
            const double plan_ns = ns(plan);
            if (plan.runs > 1 && plan_ns < best_ns) {
                best_ns = plan_ns;
                best = plan;
            }
        }
    return best;
}

/* Sets segments and segment_length of `p`. */
static inline sq_decay_params sq_native_planned(sq_decay_params p, const sq_native_plan &plan)
{
    p.segments = (int)sq_native_segments(plan) + 1;
    p.segment_length = (int)(plan.length * SQ_CHUNK);
    return p;
}

#endif
