/* mma_sm80: the tensor-core instruction of sm_80, mma.sync m16n8k16 with 16-bit operands and f32
 * accumulators, and the fragment loads (ldmatrix) from swizzled tiles (copy_sm80.cuh).
 *
 * D(16 x 8) += A(16 x 16) * B(16 x 8). With g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix
 * fragments for mma.m16n8k16"), a lane holds
 *   A (row, k): a[0] = (g, 2t..2t+1)  a[1] = (g+8, 2t..)  a[2] = (g, 2t+8..)  a[3] = (g+8, 2t+8..)
 *   B (k, col): b[0] = (2t..2t+1, g)  b[1] = (2t+8.., g)
 *   D (row, col): d[0], d[1] = (g, 2t..2t+1)  d[2], d[3] = (g+8, 2t..2t+1)
 * so two neighbouring D tiles (16 x 16), packed pairwise, are the A operand of a following product:
 *   a = {pack(d0[0], d0[1]), pack(d0[2], d0[3]), pack(d1[0], d1[1]), pack(d1[2], d1[3])}.
 */
#ifndef SQ_KERNELS_HW_MMA_SM80_CUH
#define SQ_KERNELS_HW_MMA_SM80_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#include "kernels/hw/copy_sm80.cuh"

/* d += a * b; T: the operands' type. */
template <typename T>
__device__ __forceinline__ void sq_mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                       uint32_t b1);
template <>
__device__ __forceinline__ void sq_mma<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4],
                                                      uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void sq_mma<__half>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                               uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8. */
__device__ __forceinline__ void sq_ldmatrix(uint32_t (&r)[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

/* The same, each matrix transposed. */
__device__ __forceinline__ void sq_ldmatrix_trans(uint32_t (&r)[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

/* The four ways to read operands from a tile (shared address `tile`, CHUNKS 16-byte chunks a row).
 * row, col: element coordinates of the 16 x 16 block, multiples of 8.
 *
 *   sq_load_a        tile rows = rows of A, contiguous along k
 *   sq_load_a_trans  tile rows = k, contiguous along the rows of A
 *   sq_load_b        tile rows = columns of B, contiguous along k   (W of y = x W^T, K of Q K^T)
 *   sq_load_b_trans  tile rows = k, contiguous along the columns of B   (V of P V)
 *
 * B forms fill two n8 tiles: {r[0], r[1]} = columns 0..7, {r[2], r[3]} = columns 8..15.
 *
 * Loops that are short of registers take the lane's address of block (row, 0) once (sq_address_...)
 * and step from there with sq_address_step. */
__device__ __forceinline__ int sq_lane() { return (int)threadIdx.x % 32; }

template <int CHUNKS>
__device__ __forceinline__ uint32_t sq_address_a(uint32_t tile, int row, int col,
                                                 int lane = sq_lane())
{
    return tile + sq_tile_offset<CHUNKS>(row + lane % 16, col / 8 + lane / 16);
}

template <int CHUNKS>
__device__ __forceinline__ uint32_t sq_address_b(uint32_t tile, int row, int col,
                                                 int lane = sq_lane())
{
    return tile + sq_tile_offset<CHUNKS>(row + lane % 8 + lane / 16 * 8, col / 8 + lane / 8 % 2);
}

/* B in its transposed form is laid out as A is, and the other way round. */
template <int CHUNKS>
__device__ __forceinline__ uint32_t sq_address_a_trans(uint32_t tile, int row, int col,
                                                       int lane = sq_lane())
{
    return sq_address_b<CHUNKS>(tile, row, col, lane);
}

template <int CHUNKS>
__device__ __forceinline__ uint32_t sq_address_b_trans(uint32_t tile, int row, int col,
                                                       int lane = sq_lane())
{
    return sq_address_a<CHUNKS>(tile, row, col, lane);
}

/* From the address of block (r, 0) to that of block (r + rows, col): an XOR and an addition, since
 * the swizzle only permutes chunks of a row. Needs: rows a multiple of 8, col of 16, and a tile
 * whose address is a multiple of its row length, 16 * CHUNKS bytes. */
template <int CHUNKS>
__device__ __forceinline__ uint32_t sq_address_step(uint32_t address, int rows, int col)
{
    return (address ^ (uint32_t)(col * 2)) + (uint32_t)(rows * CHUNKS * 16);
}

template <int CHUNKS>
__device__ __forceinline__ void sq_load_a(uint32_t (&r)[4], uint32_t tile, int row, int col)
{
    sq_ldmatrix(r, sq_address_a<CHUNKS>(tile, row, col));
}

template <int CHUNKS>
__device__ __forceinline__ void sq_load_a_trans(uint32_t (&r)[4], uint32_t tile, int row, int col)
{
    sq_ldmatrix_trans(r, sq_address_a_trans<CHUNKS>(tile, row, col));
}

template <int CHUNKS>
__device__ __forceinline__ void sq_load_b(uint32_t (&r)[4], uint32_t tile, int row, int col)
{
    sq_ldmatrix(r, sq_address_b<CHUNKS>(tile, row, col));
}

template <int CHUNKS>
__device__ __forceinline__ void sq_load_b_trans(uint32_t (&r)[4], uint32_t tile, int row, int col)
{
    sq_ldmatrix_trans(r, sq_address_b_trans<CHUNKS>(tile, row, col));
}

#endif
