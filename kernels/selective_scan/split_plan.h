/* split_plan: how selective_scan's cuda/portable cuts channels and steps into blocks where there are
 * up to 16 states (scan_split.cuh). A model of time whose constants are an H100's, for every device:
 * workspace and results do not depend on it. docs/kernels/recurrence.md has what they come from.
 */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SPLIT_PLAN_H
#define SQ_KERNELS_SELECTIVE_SCAN_SPLIT_PLAN_H

#include <stdint.h>

enum {
    SQ_SPLIT_SMS = 132,
    SQ_SPLIT_MAIN_BLOCKS = 2,  /* of the main pass, that an SM holds */
    SQ_SPLIT_STATE_BLOCKS = 4, /* of pass 1 */
    SQ_SPLIT_MIN_TILES = 4,    /* of a segment */
    SQ_SPLIT_MAX_MERGED = 8
};

/* The steps are cut into runs of the main pass, each but the last of `merged` segments of `tiles`
 * tiles: a block of pass 1, which makes the states after every segment but the last run's, has less
 * to do for a run and leaves room for more of its kind. shares: 1: blocks of 64 channels; 2: of 32,
 * whose two halves of the states are of different warps, in one run. */
typedef struct {
    int64_t shares, runs, merged, tiles;
} sq_split_plan;

/* Segments whose states are made, of all but the last run. */
static inline int64_t sq_split_segments(sq_split_plan plan)
{
    return (plan.runs - 1) * plan.merged;
}

static inline int64_t sq_split_ceil(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

/* Of one pass: full waves, then one with as many blocks an SM as are left. tile_ns[k]: a tile of all
 * k + 1 blocks that an SM has. A block's first tile is waited for. */
static inline double sq_split_pass_ns(int64_t blocks, int64_t tiles, const double *tile_ns,
                                      int most)
{
    const int64_t places = (int64_t)SQ_SPLIT_SMS * most, rest = blocks % places;
    const double full = (double)(blocks / places) * tile_ns[most - 1];
    const double last = rest ? tile_ns[sq_split_ceil(rest, SQ_SPLIT_SMS) - 1] : 0;
    return (double)(tiles + 1) * (full + last);
}

/* Main passes measured but for two of 32 channels, by their instructions (1.14 to 1.2 times those of
 * the half of two of 64); pass 1 measured with one and two, by its instructions with more. */
static inline double sq_split_main_ns(int64_t shares, int64_t blocks, int64_t tiles)
{
    static const double of_64[] = {2300, 3550}, of_32[] = {1620, 2130};
    return sq_split_pass_ns(blocks, tiles, shares == 1 ? of_64 : of_32, SQ_SPLIT_MAIN_BLOCKS);
}

static inline double sq_split_states_ns(int64_t blocks, int64_t tiles)
{
    static const double of_64[] = {1810, 2800, 3600, 4400};
    return sq_split_pass_ns(blocks, tiles, of_64, SQ_SPLIT_STATE_BLOCKS);
}

/* What a plan takes whose runs have so many blocks. Beside the passes: two launches more, and the chain
 * of segments, whose states are written, read and written. */
static inline double sq_split_ns(sq_split_plan plan, int64_t blocks)
{
    const int64_t segments = sq_split_segments(plan);
    const double main = sq_split_main_ns(plan.shares, blocks * plan.runs, plan.merged * plan.tiles);
    if (plan.runs == 1)
        return main;
    return main + sq_split_states_ns(blocks * segments, plan.tiles) + 8000 +
           (double)segments * (8 + 4 * (double)blocks);
}

/* The plan that costs least, of blocks of 64 channels or so many halves, for `tiles` tiles: halves only
 * where they save a tenth, and segments only where they save another. */
static inline sq_split_plan sq_split_choose(int64_t blocks, int64_t half_blocks, int64_t tiles)
{
    const int64_t most_runs = SQ_SPLIT_SMS * SQ_SPLIT_MAIN_BLOCKS / blocks; /* one wave */
    const int64_t most = tiles / SQ_SPLIT_MIN_TILES;
    sq_split_plan best = {1, 1, 1, tiles};
    const sq_split_plan halves = {2, 1, 1, tiles};
    double best_ns = 0.9 * sq_split_ns(best, blocks);
    if (sq_split_ns(halves, half_blocks) < best_ns) {
        best = halves;
        best_ns = 0.9 * sq_split_ns(halves, half_blocks);
    }
    for (int64_t merged = 1; merged <= SQ_SPLIT_MAX_MERGED; merged++)
        for (int64_t runs = 2; runs <= most_runs && runs * merged <= most; runs++) {
            const int64_t each = sq_split_ceil(tiles, runs * merged);
            const sq_split_plan plan = {1, sq_split_ceil(tiles, each * merged), merged, each};
            const double ns = sq_split_ns(plan, blocks);
            if (plan.runs > 1 && ns < best_ns) {
                best_ns = ns;
                best = plan;
            }
        }
    return best;
}

#endif
