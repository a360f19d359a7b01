/* wgmma_sm90: the tensor-core instruction of sm_90a, wgmma.mma_async: 128 threads (a warpgroup: four
 * warps from a multiple of four on) multiply matrices of 16-bit elements into f32 sums in their
 * registers, asynchronously. PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
 *
 * D(64 x N) += A(64 x 16) B(16 x N). With warp w of the group, g = lane / 4, q = lane % 4:
 *   D (row, col): d[4 n + e] = (16 w + g + 8 (e / 2), 8 n + 2 q + e % 2)
 *   A (row, k):   a[i] = (16 w + g + 8 (i % 2), 2 q + 8 (i / 2) and the next)
 * which per warp are the fragments of mma.m16n8k16 (mma_sm80.cuh): D tiles 2 k and 2 k + 1, packed
 * in pairs, are the A operand of step k of a product, and ldmatrix reads A.
 *
 * Operands in shared memory lie in tiles of 64 rows of 128 bytes (tma_sm90.cuh) and are named by
 * descriptors: bits 0-13 address, 16-29 leading offset, 32-45 stride offset, all / 16; 62-63: 1,
 * swizzle by 128 bytes.
 *   rows     tile rows are rows of A or columns of B, 64 values of k contiguous. Stride offset: from
 *            8 rows to the next 8, 1024. Step of 16 in k: 32 bytes on; of 64: the next tile.
 *   columns  tile rows are values of k, 64 rows of A or columns of B contiguous. Stride offset: from
 *            8 values of k to the next 8, 1024; leading offset: from 64 columns to the next 64, a
 *            tile. Step of 16 in k: 2048 bytes on.
 *
 * Protocol: write registers, pin, sq_wgmma_fence, products, sq_wgmma_commit, sq_wgmma_wait, pin; no
 * register of D or A may be touched between fence and wait.
 */
#ifndef SQ_KERNELS_HW_WGMMA_SM90_CUH
#define SQ_KERNELS_HW_WGMMA_SM90_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#include "kernels/hw/launch.cuh"
#include "kernels/hw/tma_sm90.cuh"

/* Is code being made for an architecture that has it? (sm_90a alone.) */
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SQ_HAS_WGMMA 1
#else
#define SQ_HAS_WGMMA 0
#endif

enum { SQ_WARPGROUP = 128 };

/* Added to a descriptor for that many bytes. */
__device__ __forceinline__ uint64_t sq_wgmma_bytes(int bytes)
{
    return (uint64_t)(bytes >> 4);
}

__device__ __forceinline__ uint64_t sq_wgmma_descriptor(uint32_t address, int leading)
{
    return (uint64_t)((address & 0x3ffff) >> 4) | sq_wgmma_bytes(leading) << 16 |
           sq_wgmma_bytes(1024) << 32 | (uint64_t)1 << 62;
}

/* k contiguous. The leading offset is not used. */
__device__ __forceinline__ uint64_t sq_wgmma_rows(uint32_t tile)
{
    return sq_wgmma_descriptor(tile, 16);
}

/* Of every two times 8 rows of a tile the first or the second 8: 32 rows. */
__device__ __forceinline__ uint64_t sq_wgmma_every_other_rows(uint32_t tile, int part)
{
    return sq_wgmma_rows(tile + part * 1024) + (sq_wgmma_bytes(1024) << 32);
}

/* Step `k` (of 16 values) of an operand whose tiles of 64 values follow each other. */
__device__ __forceinline__ uint64_t sq_wgmma_rows_step(int k)
{
    return sq_wgmma_bytes(k / 4 * SQ_TMA_TILE_BYTES + k % 4 * 32);
}

/* Rows of A or columns of B contiguous, tiles of 64 of them following each other. */
__device__ __forceinline__ uint64_t sq_wgmma_columns(uint32_t tile)
{
    return sq_wgmma_descriptor(tile, SQ_TMA_TILE_BYTES);
}

__device__ __forceinline__ uint64_t sq_wgmma_columns_step(int k)
{
    return sq_wgmma_bytes(k * 2048);
}

__device__ __forceinline__ void sq_wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void sq_wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* At most PENDING of the newest groups go on. */
template <int PENDING>
__device__ __forceinline__ void sq_wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/* Before a fence and after a wait: what writes registers of D or A stays in front of it, what reads
 * them behind it. */
template <int N>
__device__ __forceinline__ void sq_wgmma_pin(float (&d)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        asm volatile("" : "+f"(d[i])::"memory");
}

template <int N>
__device__ __forceinline__ void sq_wgmma_pin(uint32_t (&a)[N][4])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        asm volatile("" : "+r"(a[i][0]), "+r"(a[i][1]), "+r"(a[i][2]), "+r"(a[i][3])::"memory");
}

/* All threads of a warpgroup: N registers each from here on, fewer or more than before; more wait
 * until others of the block have released them. N: a multiple of 8. */
template <int N>
__device__ __forceinline__ void sq_release_registers()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N>
__device__ __forceinline__ void sq_claim_registers()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

/* Four 8 x 8 matrices to shared memory: the inverse of sq_ldmatrix, and of sq_ldmatrix_trans. */
__device__ __forceinline__ void sq_stmatrix(uint32_t address, const uint32_t (&r)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
                 "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}

__device__ __forceinline__ void sq_stmatrix_trans(uint32_t address, const uint32_t (&r)[4])
{
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
        "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
        : "memory");
}

/* clang-format off */
#define SQ_D8(d, i)                                                                                \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]),    \
        "+f"(d[i + 6]), "+f"(d[i + 7])
#define SQ_D32(d, i) SQ_D8(d, i), SQ_D8(d, i + 8), SQ_D8(d, i + 16), SQ_D8(d, i + 24)

#define SQ_D16_NAMES \
    "%0, %1, %2, %3, %4, %5, %6, %7, " \
    "%8, %9, %10, %11, %12, %13, %14, %15"

#define SQ_D32_NAMES \
    "%0, %1, %2, %3, %4, %5, %6, %7, " \
    "%8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, " \
    "%24, %25, %26, %27, %28, %29, %30, %31"

#define SQ_D64_NAMES \
    "%0, %1, %2, %3, %4, %5, %6, %7, " \
    "%8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, " \
    "%24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, " \
    "%40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, " \
    "%56, %57, %58, %59, %60, %61, %62, %63"

/* The instruction with predicate p = (operand IS_ADDED != 0): false, D counts as 0. */
#define SQ_WGMMA(SHAPE, TYPE, NAMES, OPERANDS, IS_ADDED, TRANSPOSED)                               \
    "{\n.reg .pred p;\nsetp.ne.b32 p, " IS_ADDED ", 0;\n"                                          \
    "wgmma.mma_async.sync.aligned." SHAPE ".f32." TYPE "." TYPE " {" NAMES "}, " OPERANDS          \
    ", p, 1, 1, " TRANSPOSED ";\n}"

#define SQ_WGMMA_FUNCTIONS(T, TYPE)                                                                \
    template <>                                                                                    \
    __device__ __forceinline__ void sq_wgmma_32<T>(float (&d)[16], uint64_t a, uint64_t b,         \
                                                   int is_added)                                   \
    {                                                                                              \
        asm volatile(SQ_WGMMA("m64n32k16", TYPE, SQ_D16_NAMES, "%16, %17", "%18", "0, 0")          \
                     : SQ_D8(d, 0), SQ_D8(d, 8)                                                    \
                     : "l"(a), "l"(b), "r"(is_added)                                               \
                     : "memory");                                                                  \
    }                                                                                              \
    template <>                                                                                    \
    __device__ __forceinline__ void sq_wgmma_64<T>(float (&d)[32], uint64_t a, uint64_t b,         \
                                                   int is_added)                                   \
    {                                                                                              \
        asm volatile(SQ_WGMMA("m64n64k16", TYPE, SQ_D32_NAMES, "%32, %33", "%34", "0, 0")          \
                     : SQ_D32(d, 0)                                                                \
                     : "l"(a), "l"(b), "r"(is_added)                                               \
                     : "memory");                                                                  \
    }                                                                                              \
    template <>                                                                                    \
    __device__ __forceinline__ void sq_wgmma_64<T>(float (&d)[32], const uint32_t (&a)[4],         \
                                                   uint64_t b, int is_added)                       \
    {                                                                                              \
        asm volatile(SQ_WGMMA("m64n64k16", TYPE, SQ_D32_NAMES, "{%32, %33, %34, %35}, %36", "%37", \
                              "0")                                                                 \
                     : SQ_D32(d, 0)                                                                \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(is_added)           \
                     : "memory");                                                                  \
    }                                                                                              \
    template <>                                                                                    \
    __device__ __forceinline__ void sq_wgmma_64_columns<T>(float (&d)[32], const uint32_t (&a)[4], \
                                                           uint64_t b, int is_added)               \
    {                                                                                              \
        asm volatile(SQ_WGMMA("m64n64k16", TYPE, SQ_D32_NAMES, "{%32, %33, %34, %35}, %36", "%37", \
                              "1")                                                                 \
                     : SQ_D32(d, 0)                                                                \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(is_added)           \
                     : "memory");                                                                  \
    }                                                                                              \
    template <>                                                                                    \
    __device__ __forceinline__ void sq_wgmma_128_columns<T>(float (&d)[64],                        \
                                                            const uint32_t (&a)[4], uint64_t b,    \
                                                            int is_added)                          \
    {                                                                                              \
        asm volatile(SQ_WGMMA("m64n128k16", TYPE, SQ_D64_NAMES, "{%64, %65, %66, %67}, %68",       \
                              "%69", "1")                                                          \
                     : SQ_D32(d, 0), SQ_D32(d, 32)                                                 \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(is_added)           \
                     : "memory");                                                                  \
    }                                                                                              \
    template <>                                                                                    \
    __device__ __forceinline__ void sq_wgmma_128_columns<T>(float (&d)[64], uint64_t a,            \
                                                            uint64_t b, int is_added)              \
    {                                                                                              \
        asm volatile(SQ_WGMMA("m64n128k16", TYPE, SQ_D64_NAMES, "%64, %65", "%66", "0, 1")         \
                     : SQ_D32(d, 0), SQ_D32(d, 32)                                                 \
                     : "l"(a), "l"(b), "r"(is_added)                                               \
                     : "memory");                                                                  \
    }
/* clang-format on */

/* d (+)= A B, N = 32: A and B by rows in shared memory. T: of the operands. */
template <typename T>
__device__ __forceinline__ void sq_wgmma_32(float (&d)[16], uint64_t a, uint64_t b, int is_added);
/* d (+)= A B, N = 64: A by rows in shared memory, or in registers; B by rows. */
template <typename T>
__device__ __forceinline__ void sq_wgmma_64(float (&d)[32], uint64_t a, uint64_t b, int is_added);
template <typename T>
__device__ __forceinline__ void sq_wgmma_64(float (&d)[32], const uint32_t (&a)[4], uint64_t b,
                                            int is_added);
/* d (+)= A B, N = 64: A in registers, B by columns. */
template <typename T>
__device__ __forceinline__ void sq_wgmma_64_columns(float (&d)[32], const uint32_t (&a)[4],
                                                    uint64_t b, int is_added);
/* d (+)= A B, N = 128: A in registers, or by rows in shared memory; B by columns. */
template <typename T>
__device__ __forceinline__ void sq_wgmma_128_columns(float (&d)[64], const uint32_t (&a)[4],
                                                     uint64_t b, int is_added);
template <typename T>
__device__ __forceinline__ void sq_wgmma_128_columns(float (&d)[64], uint64_t a, uint64_t b,
                                                     int is_added);

SQ_WGMMA_FUNCTIONS(__nv_bfloat16, "bf16")
SQ_WGMMA_FUNCTIONS(__half, "f16")

/* --- host --- */

/* Nothing but its limit of threads, which says what it was made for. The functions of a .cu that a
 * device runs are of one architecture, so it speaks for the others of the file that includes this. */
static __global__ void __launch_bounds__(SQ_HAS_WGMMA ? SQ_WARPGROUP : 1) sq_wgmma_marker() {}

/* Code for sm_90 or for other devices of a kernel that uses this header is empty, and would run
 * without an error. That of sm_90 calls itself what that of sm_90a does (binaryVersion 90). */
static inline sq_status sq_wgmma_check_code(sq_error *err)
{
    cudaFuncAttributes marker;
    SQ_TRY(sq_cuda_check(cudaFuncGetAttributes(&marker, (const void *)sq_wgmma_marker),
                         "kernel attributes", err));
    if (marker.maxThreadsPerBlock == SQ_WARPGROUP)
        return SQ_OK;
    return sq_fail(err, SQ_DEVICE, "built without code for sm_90a");
}

#endif
