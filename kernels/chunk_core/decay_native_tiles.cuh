/* decay_native_tiles: what a warpgroup of decay_native.cuh makes of a chunk between its products: P from
 * scores, and O.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_TILES_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_TILES_CUH

#include "kernels/chunk_core/decay_native_parts.cuh"

/* P of a tile, or, of two warpgroups that share it, the part of this one: every other 8 columns.
 * Selection, not multiplication by 0: the exponent of a pair in the future may overflow. A warp's
 * tiles that lie wholly in the future are not looked at. */
template <typename T, int SHARERS>
__device__ __forceinline__ void sq_native_store_scores(uint32_t tile, const sq_chunk_gates *gates,
                                                       sq_native_lane at, int part,
                                                       const float (&score)[32 / SHARERS])
{
    const int i = 16 * at.warp + at.g, lane = (int)threadIdx.x % 32;
    const float out[2] = {gates->out[i], gates->out[i + 8]};
    const int start[2] = {gates->start[i], gates->start[i + 8]};
#pragma unroll
    for (int m = 0; m < 8 / SHARERS; m += 2) {
        const int n = SHARERS * m + part;
        uint32_t packed[4] = {0, 0, 0, 0};
        if (SHARERS * m / 2 <= at.warp) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int j = 8 * (n + e / 2 * SHARERS) + 2 * at.q, row = i + 8 * (e % 2);
                const float2 sum = *(const float2 *)&gates->sum[j];
                const float2 weight = *(const float2 *)&gates->weight[j];
                const float *s = &score[4 * (m + e / 2) + 2 * (e % 2)];
                const float lo = s[0] * sq_exp2(out[e % 2] - sum.x) * weight.x;
                const float hi = s[1] * sq_exp2(out[e % 2] - sum.y) * weight.y;
                packed[e] = sq_pack2<T>(j <= row && j >= start[e % 2] ? lo : 0.0f,
                                        j + 1 <= row && j + 1 >= start[e % 2] ? hi : 0.0f);
            }
        }
        sq_stmatrix(tile + sq_tile_offset<8>(16 * at.warp + lane % 16, n + lane / 16 * SHARERS),
                    packed);
    }
}

/* O^T = O^T diag(row) + skip V^T. skip: of the thread's two columns. */
template <typename T>
__device__ __forceinline__ void sq_native_scale_out(const sq_chunk_gates *gates, sq_native_lane at,
                                                    const uint32_t (&v)[4][4], float2 skip,
                                                    float (&out)[32])
{
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float2 row = *(const float2 *)&gates->row[16 * k + 8 * (e / 2) + 2 * at.q];
            const float2 x = sq_unpack2<T>(v[k][e]);
            const float d = e % 2 == 0 ? skip.x : skip.y;
            float *o = &out[8 * k + 2 * e];
            o[0] = o[0] * row.x + d * x.x;
            o[1] = o[1] * row.y + d * x.y;
        }
}

/* Gates by silu(z), which lies in the tile of O, rounds, and writes O in its place. */
template <typename T>
__device__ __forceinline__ void sq_native_store_out(uint32_t tile, bool has_z, sq_native_lane at,
                                                    float (&out)[32])
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const uint32_t address = sq_address_a_trans<8>(tile, 16 * k, 16 * at.warp);
        uint32_t packed[4];
        if (has_z) {
            sq_ldmatrix_trans(packed, address);
            __syncwarp();
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float2 z = sq_unpack2<T>(packed[e]);
                out[8 * k + 2 * e] *= sq_silu(z.x);
                out[8 * k + 2 * e + 1] *= sq_silu(z.y);
            }
        }
#pragma unroll
        for (int e = 0; e < 4; e++) {
            packed[e] = sq_pack2<T>(out[8 * k + 2 * e], out[8 * k + 2 * e + 1]);
        }
        sq_stmatrix_trans(address, packed);
    }
}

#endif
