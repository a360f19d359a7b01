/* score_facts: what a row's gradients need of its normaliser, whichever form makes them. With f_t =
 * r_t / sqrt(K) what the row's scores are multiplied by, dv is made of f_t do_t; dq and dk of f_t
 * do_t too, and of f_t x_t as if v had a column of ones: x_t is what norm=paper's divisor |R_t|,
 * the sum of the row's scores, has of the gradient where it is above 1, -sign(R_t) do_t . o_t; 0
 * elsewhere. That is retention_bwd.c with its slope_t = f_t x_t. (At t = 0 nothing is left of dq
 * and dk then, o being v or -v: 0 exactly, not the rounding of two dot products.)
 */
#ifndef SQ_KERNELS_RETENTION_SCORE_FACTS_CUH
#define SQ_KERNELS_RETENTION_SCORE_FACTS_CUH

#include "kernels/retention/score_sums.cuh"

/* Numbers of a query: f for dv, f for dq and dk, and x; each (B, H, L). unit: NULL, or the power of
 * two, (B, H, chunks), that a chunk's f are in units of. sums: of pass fwd, or NULL. */
enum { SQ_SCORE_FACTS = 3 };
typedef struct {
    sq_decay_params p;
    sq_decay_tensor o, d_o;
    const float *sums;
    float *factor, *slope, *extra, *unit;
    int chunks, norm;
} sq_score_facts;

/* The power of two up to a chunk's largest f. */
__device__ __forceinline__ float sq_score_chunk_unit(const float *factor, int steps)
{
    float largest = 1e-30f;
    for (int i = 0; i < steps; i++)
        largest = fmaxf(largest, factor[i]);
    return __uint_as_float(__float_as_uint(largest) & 0xff800000u);
}

/* x of one step, received by the whole warp. */
template <typename T>
__device__ __forceinline__ float sq_score_extra(const sq_score_facts &c, const sq_score_unit &u,
                                                int t, float sum)
{
    const T *o = sq_decay_at<T>(c.o, u.b, t, u.h), *d_o = sq_decay_at<T>(c.d_o, u.b, t, u.h);
    float dot = 0.0f;
    for (int n = (int)threadIdx.x % 32; n < c.p.values; n += 32)
        dot = fmaf(sq_to_f32(o[n]), sq_to_f32(d_o[n]), dot);
    dot = sq_warp_sum(dot);
    return sum > 0.0f ? -dot : dot;
}

/* A chunk of a head a block, a step a warp at a time. */
template <typename T>
static __global__ void __launch_bounds__(SQ_TILE_THREADS) sq_score_facts_kernel(sq_score_facts c)
{
    __shared__ float factor[SQ_CHUNK], slope[SQ_CHUNK];
    const sq_score_unit u = sq_score_unit_of(c.p, c.chunks, (int)blockIdx.x);
    const sq_decay_head head = sq_decay_load_head(c.p, u.h);
    const int own = (int)threadIdx.x;
    const int64_t first = ((int64_t)u.b * c.p.heads + u.h) * c.p.length + u.first;
    for (int i = own / 32; i < u.steps; i += SQ_TILE_THREADS / 32) {
        const int t = u.first + i;
        const float sum = c.sums ? c.sums[first + i] : 0.0f;
        const bool is_divided = c.norm == NORM_PAPER && fabsf(sum) > 1.0f;
        const float extra = is_divided ? sq_score_extra<T>(c, u, t, sum) : 0.0f;
        if (own % 32 == 0) {
            const float f = sq_decay_output_scale(c.p, head, u.b, u.h, t);
            factor[i] = f / sq_score_divisor(c.norm, sum);
            slope[i] = t == 0 && is_divided ? 0.0f : factor[i];
            c.extra[first + i] = extra;
        }
    }
    __syncthreads();
    if (own >= u.steps)
        return;
    const float unit = c.unit ? sq_score_chunk_unit(factor, u.steps) : 1.0f;
    c.factor[first + own] = factor[own] / unit;
    c.slope[first + own] = slope[own] / unit;
    if (c.unit && own == 0)
        c.unit[blockIdx.x] = unit;
}

static inline int64_t sq_score_queries(const sq_decay_params &p)
{
    return (int64_t)p.batch * p.heads * p.length;
}

/* memory: SQ_SCORE_FACTS numbers for each query. */
static inline sq_score_facts sq_score_facts_of(const sq_call *call, const sq_decay_params &p,
                                               const sq_decay_grads &g, float *memory)
{
    sq_score_facts c = {};
    c.p = p;
    c.o = sq_decay_view(&call->in[IN_COUNT + SQ_DECAY_OUT_COUNT + SQ_DECAY_OUT_O]);
    c.d_o = g.d_o;
    c.sums = sq_retention_saved(call) > 0 ? (const float *)call->saved : NULL;
    c.factor = memory;
    c.slope = memory + sq_score_queries(p);
    c.extra = memory + 2 * sq_score_queries(p);
    c.chunks = (int)sq_ceil_div(p.length, SQ_CHUNK);
    c.norm = (int)call->axis[AXIS_NORM];
    return c;
}

template <typename T>
static sq_status sq_score_run_facts(const sq_call *call, const sq_score_facts &c, sq_error *err)
{
    const unsigned grid = (unsigned)((int64_t)c.p.batch * c.p.heads * c.chunks);
    sq_score_facts_kernel<T><<<grid, SQ_TILE_THREADS, 0, sq_stream(call)>>>(c);
    return sq_launched("facts of rows", err);
}

#endif
