/* decay_mma: the chunkwise form of the recurrence on tensor cores (mma.sync, operands T of 16
 * bits, f32 sums).
 *
 * A block owns VALUES columns of one state and walks over chunks of 64 steps. With c_i the log2 of
 * the product of the chunk's decays up to and with step i (restarted each chunk), per chunk:
 *
 *   P_ij = (Q K^T)_ij 2^(c_i - c_j) w_j    for j <= i, else 0
 *   O    = scale (P V + diag(2^c_i) Q S) + skip V
 *   S    = 2^c_last S + (K o 2^(c_last - c_j) w_j)^T V
 *
 * (Mamba-2, arXiv 2405.21060, section 6; RetNet, arXiv 2307.08621, eq. 7). All exponents are sums
 * of non-positive logarithms. S lives in registers in f32, spread over the warps as the sums of its
 * own update; a copy in T in shared memory is the operand of Q S. P goes through shared memory
 * once. Steps past the end have w = 0, decay 1 and zero rows.
 *
 * Few states but long: the segmented plan. The steps are cut into segments; one pass computes what
 * each segment alone adds to S (IS_STATE_ONLY), a second chains these, the main pass starts each
 * segment from its true state.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_MMA_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_MMA_CUH

#include "kernels/chunk_core/decay_gates.cuh"
#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_segments.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/mma_sm80.cuh"

enum { SQ_CHUNK_THREADS = 256, SQ_CHUNK_GATE_WARP = 3 };

/* Who owns what. Score and output tiles: 2 row groups of 32 steps x 4 column groups of the 8 warps.
 * State: row groups of 16 keys or more, columns shared by what warps are left. */
template <int KEYS, int VALUES>
struct sq_chunk_shape {
    static constexpr int key_chunks = KEYS / 8, value_chunks = VALUES / 8; /* of 16 bytes */
    static constexpr int out_tiles = VALUES / 4 / 8; /* n8 tiles of a warp's output */
    static constexpr int state_row_groups = KEYS / 16 < 8 ? KEYS / 16 : 8;
    static constexpr int state_column_groups = 8 / state_row_groups;
    static constexpr int state_m = KEYS / 16 / state_row_groups;
    static constexpr int state_n = VALUES / 8 / state_column_groups;
    static constexpr int qk_bytes = SQ_CHUNK * KEYS * 2, v_bytes = SQ_CHUNK * VALUES * 2;
    static constexpr int v_stages = KEYS * VALUES <= 128 * 64 ? 2 : 1;
    static constexpr int blocks_per_sm = v_stages;
    static constexpr int p_bytes = SQ_CHUNK * SQ_CHUNK * 2, s_bytes = KEYS * VALUES * 2;
    static constexpr int shared_bytes =
        4 * qk_bytes + v_stages * v_bytes + p_bytes + s_bytes + 2 * (int)sizeof(sq_chunk_gates);
};

/* Shared-memory addresses; q, k, v: by stage. */
template <int KEYS, int VALUES>
struct sq_chunk_tiles {
    using shape = sq_chunk_shape<KEYS, VALUES>;
    uint32_t base;
    __device__ uint32_t q(int chunk) const { return base + chunk % 2 * shape::qk_bytes; }
    __device__ uint32_t k(int chunk) const { return q(chunk) + 2 * shape::qk_bytes; }
    __device__ uint32_t v(int chunk) const
    {
        return base + 4 * shape::qk_bytes + chunk % shape::v_stages * shape::v_bytes;
    }
    __device__ uint32_t p() const
    {
        return base + 4 * shape::qk_bytes + shape::v_stages * shape::v_bytes;
    }
    __device__ uint32_t s() const { return p() + shape::p_bytes; }
    __device__ sq_chunk_gates *gates(unsigned char *memory, int chunk) const
    {
        unsigned char *first = memory + (s() + shape::s_bytes - base);
        return (sq_chunk_gates *)first + chunk % 2;
    }
};

/* x, but the compiler cannot know: else it holds every address of the loop in a register. */
__device__ __forceinline__ int sq_chunk_opaque(int x)
{
    asm volatile("" : "+r"(x));
    return x;
}

/* Scores of the warp's 32 steps x 16 keys (skipped where all are in the future) and Q S of its 32
 * steps x VALUES / 4 columns, in one walk over the keys: they share the fragments of Q. */
template <typename T, int KEYS, int VALUES>
__device__ __forceinline__ void
sq_chunk_scores(uint32_t q, uint32_t k, uint32_t s, int row, int group, float (&score)[2][2][4],
                float (&out)[2][sq_chunk_shape<KEYS, VALUES>::out_tiles][4])
{
    using shape = sq_chunk_shape<KEYS, VALUES>;
    const bool has_scores = 16 * group < row + 32;
    const uint32_t q_0 = sq_address_a<shape::key_chunks>(q, row, 0);
    const uint32_t k_0 = sq_address_b<shape::key_chunks>(k, 16 * group, 0);
    const uint32_t s_0 = sq_address_b_trans<shape::value_chunks>(s, 0, group * (VALUES / 4));
#pragma unroll
    for (int n = 0; n < KEYS; n += 16) {
        uint32_t a[2][4], b[4];
        const uint32_t q_n = sq_address_step<shape::key_chunks>(q_0, 0, n);
        sq_ldmatrix(a[0], q_n);
        sq_ldmatrix(a[1], sq_address_step<shape::key_chunks>(q_n, 16, 0));
        if (has_scores) {
            sq_ldmatrix(b, sq_address_step<shape::key_chunks>(k_0, 0, n));
#pragma unroll
            for (int m = 0; m < 2; m++) {
                sq_mma<T>(score[m][0], a[m], b[0], b[1]);
                sq_mma<T>(score[m][1], a[m], b[2], b[3]);
            }
        }
#pragma unroll
        for (int j = 0; j < shape::out_tiles; j += 2) {
            sq_ldmatrix_trans(b, sq_address_step<shape::value_chunks>(s_0, n, 8 * j));
#pragma unroll
            for (int m = 0; m < 2; m++) {
                sq_mma<T>(out[m][j], a[m], b[0], b[1]);
                sq_mma<T>(out[m][j + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* P of the warp's tile, to shared memory. Selection, not multiplication by 0: the exponent of a
 * pair in the future may overflow. HAS_DOCUMENTS: a step sees those of its own document only. */
template <typename T, bool HAS_DOCUMENTS>
__device__ __forceinline__ void sq_chunk_store_scores(uint32_t p, const sq_chunk_gates *gates,
                                                      int row, int group,
                                                      const float (&score)[2][2][4])
{
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    const uint32_t p_0 = p + sq_tile_offset<8>(row + g, 2 * group) + 4 * t;
#pragma unroll
    for (int n = 0; n < 2; n++) {
        const int j = 16 * group + 8 * n + 2 * t;
        const float2 sum = *(const float2 *)&gates->sum[j];
        const float2 weight = *(const float2 *)&gates->weight[j];
#pragma unroll
        for (int half = 0; half < 4; half++) {
            const int m = half / 2, e = half % 2 * 2, i = row + 8 * half + g;
            const float here = gates->out[i];
            const int start = HAS_DOCUMENTS ? gates->start[i] : 0;
            const float lo = score[m][n][e] * sq_exp2(here - sum.x) * weight.x;
            const float hi = score[m][n][e + 1] * sq_exp2(here - sum.y) * weight.y;
            sq_shared_store(sq_address_step<8>(p_0, 8 * half, 8 * n),
                            sq_pack2<T>(j <= i && j >= start ? lo : 0.0f,
                                        j + 1 <= i && j + 1 >= start ? hi : 0.0f));
        }
    }
}

/* out = diag(row) out + P V; only the keys up to the warp's last step. */
template <typename T, int KEYS, int VALUES>
__device__ __forceinline__ void
sq_chunk_add_values(uint32_t p, uint32_t v, const sq_chunk_gates *gates, int row, int group,
                    float (&out)[2][sq_chunk_shape<KEYS, VALUES>::out_tiles][4])
{
    using shape = sq_chunk_shape<KEYS, VALUES>;
    const int g = (int)threadIdx.x % 32 / 4;
#pragma unroll
    for (int half = 0; half < 4; half++) {
        const float factor = gates->row[row + 8 * half + g];
#pragma unroll
        for (int j = 0; j < shape::out_tiles; j++) {
            out[half / 2][j][half % 2 * 2] *= factor;
            out[half / 2][j][half % 2 * 2 + 1] *= factor;
        }
    }
    const uint32_t p_0 = sq_address_a<8>(p, row, 0);
    const uint32_t v_0 = sq_address_b_trans<shape::value_chunks>(v, 0, group * (VALUES / 4));
#pragma unroll
    for (int n = 0; n < SQ_CHUNK; n += 16) {
        if (n >= row + 32)
            break;
        uint32_t a[2][4], b[4];
        const uint32_t p_n = sq_address_step<8>(p_0, 0, n);
        sq_ldmatrix(a[0], p_n);
        sq_ldmatrix(a[1], sq_address_step<8>(p_n, 16, 0));
#pragma unroll
        for (int j = 0; j < shape::out_tiles; j += 2) {
            sq_ldmatrix_trans(b, sq_address_step<shape::value_chunks>(v_0, n, 8 * j));
#pragma unroll
            for (int m = 0; m < 2; m++) {
                sq_mma<T>(out[m][j], a[m], b[0], b[1]);
                sq_mma<T>(out[m][j + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* Two neighbouring columns of o from their sums: adds skip V, and with HAS_EXTRAS a skip of the
 * column's own, and gates. */
template <typename T, bool HAS_EXTRAS>
__device__ __forceinline__ uint32_t sq_chunk_output(const sq_decay_params &p,
                                                    const sq_decay_unit &u, int t, int column,
                                                    float skip, float2 x, const float *sum,
                                                    bool is_there)
{
    float2 o = make_float2(sum[0] + skip * x.x, sum[1] + skip * x.y);
    if (HAS_EXTRAS && p.skip_column != 0 && is_there)
        o = make_float2(sum[0] + sq_decay_skip(p, u.head, column) * x.x,
                        sum[1] + sq_decay_skip(p, u.head, column + 1) * x.y);
    if (HAS_EXTRAS && p.z.data && is_there) {
        const T *z = sq_decay_at<T>(p.z, u.batch, t, u.head) + column;
        const float2 gate = sq_unpack2<T>(*(const uint32_t *)z);
        o = make_float2(o.x * sq_silu(gate.x), o.y * sq_silu(gate.y));
    }
    return sq_pack2<T>(o.x, o.y);
}

/* Adds skip V, gates, rounds, and stores. Two lanes exchange halves of two neighbouring tiles, so
 * that each stores 8 contiguous bytes and four lanes fill a 32-byte sector. */
template <typename T, int KEYS, int VALUES, bool HAS_EXTRAS>
__device__ __forceinline__ void
sq_chunk_store_out(const sq_decay_params &p, const sq_decay_unit &u, int first, uint32_t v,
                   float skip, int row, int group,
                   const float (&out)[2][sq_chunk_shape<KEYS, VALUES>::out_tiles][4])
{
    using shape = sq_chunk_shape<KEYS, VALUES>;
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4, is_odd = t % 2;
    const uint32_t v_0 =
        v + sq_tile_offset<shape::value_chunks>(row + g, group * shape::out_tiles) + 4 * t;
    const int own = u.column + group * (VALUES / 4) + 2 * t; /* of tile 0 */
    const int to = own - 2 * t + 8 * is_odd + t / 2 * 4;
    T *o = (T *)sq_decay_at<T>(p.o, u.batch, first + row + g, u.head) + to;
#pragma unroll
    for (int half = 0; half < 4; half++, o += 8 * p.o.time) {
        const bool is_step = first + row + 8 * half + g < u.last;
#pragma unroll
        for (int j = 0; j < shape::out_tiles; j += 2) {
            uint32_t packed[2];
#pragma unroll
            for (int n = 0; n < 2; n++) {
                const float *sum = &out[half / 2][j + n][half % 2 * 2];
                const uint32_t raw = sq_shared_load(
                    sq_address_step<shape::value_chunks>(v_0, 8 * half, 8 * (j + n)));
                packed[n] = sq_chunk_output<T, HAS_EXTRAS>(
                    p, u, first + row + 8 * half + g, own + 8 * (j + n), skip, sq_unpack2<T>(raw),
                    sum, is_step && own + 8 * (j + n) < p.values);
            }
            const uint32_t other = __shfl_xor_sync(0xffffffffu, is_odd ? packed[0] : packed[1], 1);
            const uint2 pair = is_odd ? make_uint2(other, packed[1]) : make_uint2(packed[0], other);
            if (is_step && to + 8 * j < p.values)
                *(uint2 *)(o + 8 * j) = pair;
        }
    }
}

/* The warp's part of the state: rows (keys) from row, columns from column. */
template <typename T, int KEYS, int VALUES>
struct sq_chunk_state {
    using shape = sq_chunk_shape<KEYS, VALUES>;
    float sum[shape::state_m][shape::state_n][4];

    static __device__ int row()
    {
        const int warp = sq_chunk_opaque((int)threadIdx.x / 32);
        return warp % shape::state_row_groups * shape::state_m * 16;
    }
    static __device__ int column()
    {
        const int warp = sq_chunk_opaque((int)threadIdx.x / 32);
        return warp / shape::state_row_groups * shape::state_n * 8;
    }

    /* sum = decay sum + (K o key)^T V */
    __device__ __forceinline__ void update(uint32_t k, uint32_t v, const sq_chunk_gates *gates)
    {
        const int t = (int)threadIdx.x % 4;
        const float decay = gates->decay;
        const uint32_t k_0 = sq_address_a_trans<shape::key_chunks>(k, 0, row());
        const uint32_t v_0 = sq_address_b_trans<shape::value_chunks>(v, 0, column());
#pragma unroll
        for (int i = 0; i < shape::state_m * shape::state_n * 4; i++)
            (&sum[0][0][0])[i] *= decay;
#pragma unroll
        for (int j = 0; j < SQ_CHUNK; j += 16) {
            const float2 lo = *(const float2 *)&gates->key[j + 2 * t];
            const float2 hi = *(const float2 *)&gates->key[j + 2 * t + 8];
            uint32_t a[shape::state_m][4];
#pragma unroll
            for (int m = 0; m < shape::state_m; m++) {
                sq_ldmatrix_trans(a[m], sq_address_step<shape::key_chunks>(k_0, j, 16 * m));
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const float2 x = sq_unpack2<T>(a[m][e]);
                    const float2 w = e < 2 ? lo : hi;
                    a[m][e] = sq_pack2<T>(x.x * w.x, x.y * w.y);
                }
            }
#pragma unroll
            for (int n = 0; n < shape::state_n; n += 2) {
                uint32_t b[4];
                sq_ldmatrix_trans(b, sq_address_step<shape::value_chunks>(v_0, j, 8 * n));
#pragma unroll
                for (int m = 0; m < shape::state_m; m++) {
                    sq_mma<T>(sum[m][n], a[m], b[0], b[1]);
                    sq_mma<T>(sum[m][n + 1], a[m], b[2], b[3]);
                }
            }
        }
    }

    /* The copy that Q S reads. */
    __device__ __forceinline__ void publish(uint32_t s) const
    {
        const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
        const uint32_t s_0 =
            s + sq_tile_offset<shape::value_chunks>(row() + g, column() / 8) + 4 * t;
#pragma unroll
        for (int m = 0; m < shape::state_m; m++)
#pragma unroll
            for (int n = 0; n < shape::state_n; n++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    sq_shared_store(
                        sq_address_step<shape::value_chunks>(s_0, 16 * m + 8 * half, 8 * n),
                        sq_pack2<T>(sum[m][n][2 * half], sum[m][n][2 * half + 1]));
    }

    /* Calls f(row and column in the (keys, values) matrix, first of two sums) for the pairs that
     * exist. */
    template <typename F>
    __device__ __forceinline__ void each(const sq_decay_params &p, int first_column, F f)
    {
        const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
        const int first_row = row(), first_of_warp = first_column + column();
#pragma unroll
        for (int m = 0; m < shape::state_m; m++)
#pragma unroll
            for (int n = 0; n < shape::state_n; n++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int r = first_row + 16 * m + 8 * half + g;
                    const int c = first_of_warp + 8 * n + 2 * t;
                    if (r < p.keys && c < p.values)
                        f(r, c, &sum[m][n][2 * half]);
                }
    }
};

template <typename T, int KEYS, int VALUES, bool IS_STATE_ONLY>
static __global__ void __launch_bounds__(SQ_CHUNK_THREADS,
                                         (sq_chunk_shape<KEYS, VALUES>::blocks_per_sm))
    sq_chunk_kernel(sq_decay_params p)
{
    using shape = sq_chunk_shape<KEYS, VALUES>;
    extern __shared__ __align__(512) unsigned char memory[];
    const sq_chunk_tiles<KEYS, VALUES> tiles = {sq_shared_address(memory)};
    const sq_decay_unit u = sq_decay_locate(p, VALUES);
    const sq_decay_head head = sq_decay_load_head(p, u.head);
    const float skip = sq_decay_skip(p, u.head, 0);
    const int group_of_keys = u.head / p.heads_per_group;
    const int warp = (int)threadIdx.x / 32;
    const int chunks = (u.last - u.first + SQ_CHUNK - 1) / SQ_CHUNK;

    auto load_keys = [&](int chunk) {
        const int t = u.first + chunk * SQ_CHUNK;
        const int rows = min((int)SQ_CHUNK, u.last - t);
        if constexpr (!IS_STATE_ONLY)
            sq_tile_copy_async<SQ_CHUNK, shape::key_chunks, SQ_CHUNK_THREADS>(
                tiles.q(chunk), sq_decay_at<T>(p.q, u.batch, t, group_of_keys), p.q.time, rows,
                p.keys / 8);
        sq_tile_copy_async<SQ_CHUNK, shape::key_chunks, SQ_CHUNK_THREADS>(
            tiles.k(chunk), sq_decay_at<T>(p.k, u.batch, t, group_of_keys), p.k.time, rows,
            p.keys / 8);
    };
    auto load_values = [&](int chunk) {
        const int t = u.first + chunk * SQ_CHUNK;
        const int rows = min((int)SQ_CHUNK, u.last - t);
        sq_tile_copy_async<SQ_CHUNK, shape::value_chunks, SQ_CHUNK_THREADS>(
            tiles.v(chunk), sq_decay_at<T>(p.v, u.batch, t, u.head) + u.column, p.v.time, rows,
            (p.values - u.column) / 8);
    };

    sq_chunk_state<T, KEYS, VALUES> state = {};
    load_keys(0);
    if (shape::v_stages == 2)
        load_values(0);
    sq_copy_commit();
    if constexpr (!IS_STATE_ONLY) {
        const sq_decay_matrix from = sq_decay_state_before(p, u);
        if (from.data)
            state.each(p, u.column, [&](int row, int column, float *sum) {
                const float2 pair =
                    *(const float2 *)(sq_decay_row(from, u.batch, u.head, row) + column);
                sum[0] = pair.x;
                sum[1] = pair.y;
            });
        state.publish(tiles.s());
    }
    float2 dt = make_float2(0.0f, 0.0f);
    float total = 0.0f;
    if (warp == SQ_CHUNK_GATE_WARP) {
        total = sq_chunk_fill_gates<float>(p, u, head, sq_chunk_load_dt<T>(p, u, u.first), u.first,
                                           tiles.gates(memory, 0));
        dt = sq_chunk_load_dt<T>(p, u, u.first + SQ_CHUNK);
    }

    for (int chunk = 0; chunk < chunks; chunk++) {
        const int first = u.first + chunk * SQ_CHUNK;
        const int row = sq_chunk_opaque(warp / 4 * 32), group = sq_chunk_opaque(warp % 4);
        const sq_chunk_gates *gates = tiles.gates(memory, chunk);
        sq_copy_wait<0>();
        __syncthreads(); /* chunk's keys, gates and the state are there; all else is free */
        if (shape::v_stages == 1) {
            load_values(chunk);
            sq_copy_commit();
        }
        if (chunk + 1 < chunks) {
            load_keys(chunk + 1);
            if (shape::v_stages == 2)
                load_values(chunk + 1);
        }
        sq_copy_commit();
        if (warp == SQ_CHUNK_GATE_WARP && chunk + 1 < chunks) {
            total += sq_chunk_fill_gates<float>(p, u, head, dt, first + SQ_CHUNK,
                                                tiles.gates(memory, chunk + 1));
            dt = sq_chunk_load_dt<T>(p, u, first + 2 * SQ_CHUNK);
        }
        float out[2][shape::out_tiles][4] = {};
        if constexpr (!IS_STATE_ONLY) {
            float score[2][2][4] = {};
            sq_chunk_scores<T, KEYS, VALUES>(tiles.q(chunk), tiles.k(chunk), tiles.s(), row, group,
                                             score, out);
            if (p.seq_idx)
                sq_chunk_store_scores<T, true>(tiles.p(), gates, row, group, score);
            else
                sq_chunk_store_scores<T, false>(tiles.p(), gates, row, group, score);
        }
        if (shape::v_stages == 1)
            sq_copy_wait<1>();
        if (!IS_STATE_ONLY || shape::v_stages == 1)
            __syncthreads(); /* P and V are there; nobody reads the old state any more */
        if constexpr (!IS_STATE_ONLY) {
            sq_chunk_add_values<T, KEYS, VALUES>(tiles.p(), tiles.v(chunk), gates, row, group, out);
            if (p.z.data || p.skip_column != 0)
                sq_chunk_store_out<T, KEYS, VALUES, true>(p, u, first, tiles.v(chunk), skip, row,
                                                          group, out);
            else
                sq_chunk_store_out<T, KEYS, VALUES, false>(p, u, first, tiles.v(chunk), skip, row,
                                                           group, out);
        }
        state.update(tiles.k(chunk), tiles.v(chunk), gates);
        if constexpr (!IS_STATE_ONLY)
            state.publish(tiles.s());
    }

    const sq_decay_matrix to = sq_decay_state_after(p, u, IS_STATE_ONLY);
    if (to.data)
        state.each(p, u.column, [&](int row, int column, float *sum) {
            *(float2 *)(sq_decay_row(to, u.batch, u.head, row) + column) =
                make_float2(sum[0], sum[1]);
        });
    if (IS_STATE_ONLY && threadIdx.x == 32 * SQ_CHUNK_GATE_WARP)
        p.decay[sq_decay_segment_index(p, u, u.segment)] = total;
}

template <typename T, int KEYS, int VALUES>
static sq_status sq_chunk_run(const sq_call *call, const sq_decay_params &p, sq_error *err)
{
    constexpr int bytes = sq_chunk_shape<KEYS, VALUES>::shared_bytes;
    const int64_t units = sq_ceil_div(p.values, VALUES) * p.heads * p.batch;
    if (p.segments > 1) {
        auto kernel = sq_chunk_kernel<T, KEYS, VALUES, true>;
        SQ_TRY(sq_allow_shared(kernel, bytes, err));
        kernel<<<(unsigned)(units * (p.segments - 1)), SQ_CHUNK_THREADS, bytes, sq_stream(call)>>>(
            p);
        SQ_TRY(sq_launched("segment states", err));
        SQ_TRY(sq_decay_chain_launch(call, p, err));
    }
    auto kernel = sq_chunk_kernel<T, KEYS, VALUES, false>;
    SQ_TRY(sq_allow_shared(kernel, bytes, err));
    kernel<<<(unsigned)(units * p.segments), SQ_CHUNK_THREADS, bytes, sq_stream(call)>>>(p);
    return sq_launched("chunks", err);
}

#endif
