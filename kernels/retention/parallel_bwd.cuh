/* parallel_bwd: the gradients of retention's parallel form, quadratic in time. With f_t and x_t of
 * score_facts.cuh (where dq and dk have an f_t of their own),
 *
 *   P_ts = f_t (q_t . k_s) gamma^(t-s)                  dv_s = sum over t >= s of P_ts do_t
 *   W_ts = f_t (do_t . v_s + x_t) gamma^(t-s)           dq_t = sum over s <= t of W_ts k_s
 *                                                       dk_s = sum over t >= s of W_ts q_t
 *
 * One kernel makes all three: a block owns 64 rows and 64 or 256 columns of a gradient.
 */
#ifndef SQ_KERNELS_RETENTION_PARALLEL_BWD_CUH
#define SQ_KERNELS_RETENTION_PARALLEL_BWD_CUH

#include "kernels/retention/parallel.cuh"
#include "kernels/retention/score_facts.cuh"

/* out_r = sum over c of W_rc z_c with W_rc = (x_r . y_c + extra) factor gamma^|r - c|: rows r are
 * queries and c <= r their keys, or rows are keys and c >= r the queries that see them. extra may be
 * NULL. */
typedef struct {
    sq_decay_params p;
    sq_decay_tensor x, y, z, out;
    int inner, outer; /* channels of x and y, of z and out */
    const float *factor, *extra;
    int tiles, blocks; /* blocks: of outer columns */
    bool is_of_keys, is_vector;
} sq_parallel_gradient;

template <typename T>
constexpr int sq_parallel_bwd_shared = 3 * sq_tile_bytes<T> +
                                       (2 * SQ_TILE + SQ_TILE_THREADS / 32) * (int)sizeof(float);

/* The two facts of a tile's queries; of none beyond the last: no weight is left of 0. */
__device__ __forceinline__ void sq_parallel_load_facts(const sq_parallel_gradient &c, int64_t head,
                                                       int from, float *factor, float *extra)
{
    if (threadIdx.x >= SQ_TILE)
        return;
    const int t = from + (int)threadIdx.x;
    const int64_t at = head * c.p.length + t;
    factor[threadIdx.x] = t < c.p.length ? c.factor[at] : 0.0f;
    extra[threadIdx.x] = c.extra && t < c.p.length ? c.extra[at] : 0.0f;
}

template <typename T, int WIDE>
static __global__ void __launch_bounds__(SQ_TILE_THREADS, 2)
    sq_parallel_gradient_kernel(sq_parallel_gradient c)
{
    extern __shared__ __align__(512) unsigned char memory[];
    const sq_tile<T> left = {memory}, right = {memory + sq_tile_bytes<T>};
    const sq_tile<T> weights = {memory + 2 * sq_tile_bytes<T>};
    float *factor = (float *)(memory + 3 * sq_tile_bytes<T>), *extra = factor + SQ_TILE;
    float *scratch = extra + SQ_TILE;
    const int column = (int)blockIdx.x % c.blocks * WIDE * SQ_TILE;
    const int index = (int)blockIdx.x / c.blocks, head = index / c.tiles;
    const int h = head % c.p.heads, b = head / c.p.heads;
    /* long rows first */
    const int own = c.is_of_keys ? index % c.tiles : c.tiles - 1 - index % c.tiles;
    const int first = own * SQ_TILE, rows = min((int)SQ_TILE, c.p.length - first);
    const int end = c.is_of_keys ? c.tiles : own + 1;
    const float rate = sq_decay_load_head(c.p, h).rate;
    sq_tile_sum<T> sum[WIDE];
#pragma unroll
    for (int wide = 0; wide < WIDE; wide++)
        sum[wide].clear();
    for (int tile = c.is_of_keys ? own : 0; tile < end; tile++) {
        const int from = tile * SQ_TILE, others = min((int)SQ_TILE, c.p.length - from);
        sq_tile_sum<T> product;
        product.clear();
        for (int inner = 0; inner < c.inner; inner += SQ_TILE) {
            __syncthreads(); /* nobody reads the tiles and facts any more */
            if (inner == 0)
                sq_parallel_load_facts(c, head, c.is_of_keys ? from : first, factor, extra);
            left.load(sq_decay_at<T>(c.x, b, first, h) + inner, c.x.time, rows, c.inner - inner,
                      c.is_vector);
            right.load(sq_decay_at<T>(c.y, b, from, h) + inner, c.y.time, others, c.inner - inner,
                       c.is_vector);
            sq_tile_sync();
            product.add_nt(left, right);
        }
        float w[16];
#pragma unroll
        for (int e = 0; e < 16; e++) {
            const int row = product.row(e), col = product.col(e);
            const int ahead = first + row - from - col, query = c.is_of_keys ? col : row;
            const int distance = c.is_of_keys ? -ahead : ahead;
            w[e] = distance >= 0 ? (product.at[e] + extra[query]) * factor[query] *
                                       sq_exp2((float)distance * rate)
                                 : 0.0f;
        }
        const float scale = sq_is_f16<T> ? sq_parallel_factor(w, scratch) : 1.0f;
        const float back = sq_inverse_power(scale);
#pragma unroll
        for (int e = 0; e < 16; e++)
            weights.put(product.row(e), product.col(e), w[e] * scale);
#pragma unroll
        for (int wide = 0; wide < WIDE; wide++) {
            const int at = column + wide * SQ_TILE;
            if (at >= c.outer)
                break;
            sq_tile_sum<T> added;
            added.clear();
            __syncthreads(); /* nobody reads the tile any more */
            right.load(sq_decay_at<T>(c.z, b, from, h) + at, c.z.time, others, c.outer - at,
                       c.is_vector);
            sq_tile_sync();
            added.add_nn(weights, right);
#pragma unroll
            for (int e = 0; e < 16; e++)
                sum[wide].at[e] = fmaf(added.at[e], back, sum[wide].at[e]);
        }
    }
#pragma unroll
    for (int wide = 0; wide < WIDE; wide++)
#pragma unroll
        for (int e = 0; e < 16; e++) {
            const int row = sum[wide].row(e), to = column + wide * SQ_TILE + sum[wide].col(e);
            if (row < rows && to < c.outer)
                ((T *)sq_decay_at<T>(c.out, b, first + row, h))[to] =
                    sq_from_f32<T>(sum[wide].at[e]);
        }
}

template <typename T, int WIDE>
static sq_status sq_parallel_run_wide(const sq_call *call, sq_parallel_gradient c, sq_error *err)
{
    constexpr int bytes = sq_parallel_bwd_shared<T>;
    c.blocks = (int)sq_ceil_div(c.outer, WIDE * SQ_TILE);
    const unsigned grid = (unsigned)((int64_t)c.tiles * c.blocks * c.p.heads * c.p.batch);
    SQ_TRY(sq_allow_shared(sq_parallel_gradient_kernel<T, WIDE>, bytes, err));
    sq_parallel_gradient_kernel<T, WIDE><<<grid, SQ_TILE_THREADS, bytes, sq_stream(call)>>>(c);
    return sq_launched("parallel retention's gradient", err);
}

template <typename T>
static sq_status sq_parallel_run_gradient(const sq_call *call, const sq_parallel_gradient &c,
                                          sq_error *err)
{
    return sq_parallel_width(c.outer) > 1 ? sq_parallel_run_wide<T, SQ_PARALLEL_WIDE>(call, c, err)
                                          : sq_parallel_run_wide<T, 1>(call, c, err);
}

/* dq, dk and dv from the facts. */
template <typename T>
static sq_status sq_parallel_run_gradients(const sq_call *call, const sq_decay_grads &g,
                                           const sq_score_facts &facts, int tiles, bool is_vector,
                                           sq_error *err)
{
    const sq_decay_params &p = facts.p;
    sq_parallel_gradient dv = {};
    dv.p = p, dv.factor = facts.factor, dv.tiles = tiles, dv.is_vector = is_vector;
    sq_parallel_gradient dq = dv, dk = dv;
    dq.x = g.d_o, dq.y = p.v, dq.z = p.k, dq.out = g.d_q;
    dk.x = p.v, dk.y = g.d_o, dk.z = p.q, dk.out = g.d_k;
    dv.x = p.k, dv.y = p.q, dv.z = g.d_o, dv.out = g.d_v;
    dq.inner = dk.inner = dv.outer = p.values;
    dq.outer = dk.outer = dv.inner = p.keys;
    dk.is_of_keys = dv.is_of_keys = true;
    dq.factor = dk.factor = facts.slope;
    dq.extra = dk.extra = facts.extra;
    SQ_TRY(sq_parallel_run_gradient<T>(call, dq, err));
    SQ_TRY(sq_parallel_run_gradient<T>(call, dk, err));
    return sq_parallel_run_gradient<T>(call, dv, err);
}

/* The facts. */
static inline size_t sq_parallel_bwd_workspace(const sq_decay_params &p)
{
    return SQ_SCORE_FACTS * sizeof(float) * (size_t)sq_score_queries(p);
}

static inline sq_status sq_parallel_backward(const sq_call *call, const sq_decay_params &p,
                                             const sq_decay_grads &g, sq_error *err)
{
    const int vector = 16 / (int)sq_dtype_size(call->dtype);
    const int tiles = (int)sq_ceil_div(p.length, SQ_TILE);
    const sq_score_facts facts = sq_score_facts_of(call, p, g, (float *)call->workspace);
    const bool is_vector = p.keys % vector == 0 && p.values % vector == 0 &&
                           sq_decay_has_vectors(p.q, vector) && sq_decay_has_vectors(p.k, vector) &&
                           sq_decay_has_vectors(p.v, vector) && sq_decay_has_vectors(g.d_o, vector);
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        SQ_TRY(sq_score_run_facts<T>(call, facts, err));
        return sq_parallel_run_gradients<T>(call, g, facts, tiles, is_vector, err);
    });
}

#endif
