/* copy_sm80: asynchronous copies from global to shared memory (cp.async), 16-byte loads and stores,
 * and the swizzled shared-memory tile that they fill and ldmatrix reads (mma_sm80.cuh).
 *
 * A tile is ROWS rows of CHUNKS 16-byte chunks (8 elements of a 16-bit type, 4 of f32), no padding.
 * Chunk c of row r lies at chunk position c ^ (r & 7): eight consecutive rows at one c fall into
 * eight different bank groups, so ldmatrix and 16-byte accesses by column have no bank conflict.
 */
#ifndef SQ_KERNELS_HW_COPY_SM80_CUH
#define SQ_KERNELS_HW_COPY_SM80_CUH

#include <stdint.h>

/* Address of shared memory as the 32-bit number that PTX takes. */
__device__ __forceinline__ uint32_t sq_shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes, global -> shared, past L1. Both addresses 16-byte aligned. When !is_valid nothing is read
 * and 16 zero bytes are written (source must still be a valid pointer value, any aligned one). */
__device__ __forceinline__ void sq_copy_async(uint32_t shared, const void *source, bool is_valid)
{
    int bytes = is_valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(source),
                 "r"(bytes)
                 : "memory");
}

/* Closes a group of the copies issued so far by this thread. */
__device__ __forceinline__ void sq_copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits until at most PENDING of this thread's newest groups are in flight. A __syncthreads() must
 * follow before other threads' copies are read. */
template <int PENDING>
__device__ __forceinline__ void sq_copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

/* Byte offset of chunk `chunk` of row `row` in a swizzled tile (see the top). CHUNKS: 4, or a multiple
 * of 8. */
template <int CHUNKS>
__device__ __forceinline__ uint32_t sq_tile_offset(int row, int chunk)
{
    static_assert(CHUNKS == 4 || CHUNKS % 8 == 0, "no conflict-free swizzle for this width");
    int swizzle = CHUNKS == 4 ? (row >> 1) & 3 : row & 7;
    return (uint32_t)((row * CHUNKS + (chunk ^ swizzle)) * 16);
}

/* The block's THREADS threads start copying a ROWS x (16 * CHUNKS bytes) tile. `source` is row 0;
 * rows lie row_stride elements apart. Rows >= valid_rows and chunks >= valid_chunks become zeros.
 * Needs: source and row_stride 16-byte aligned. Commit is the caller's. */
template <int ROWS, int CHUNKS, int THREADS, typename T>
__device__ __forceinline__ void sq_tile_copy_async(uint32_t tile, const T *source,
                                                   int64_t row_stride, int valid_rows,
                                                   int valid_chunks)
{
    static_assert(THREADS % CHUNKS == 0 && ROWS * CHUNKS % THREADS == 0, "uneven copy");
    constexpr int rows_per_step = THREADS / CHUNKS;
    const int chunk = (int)threadIdx.x % CHUNKS;
    const int first = (int)threadIdx.x / CHUNKS;
    const T *from = source + first * row_stride + chunk * (16 / (int)sizeof(T));
#pragma unroll
    for (int i = 0; i < ROWS / rows_per_step; i++) {
        const int row = first + i * rows_per_step;
        const bool is_valid = row < valid_rows && chunk < valid_chunks;
        sq_copy_async(tile + sq_tile_offset<CHUNKS>(row, chunk), is_valid ? from : source,
                      is_valid);
        from += rows_per_step * row_stride;
    }
}

/* 16-byte loads: data read once (streaming, keeps L1 for others), and plain. 16-byte aligned. */
__device__ __forceinline__ uint4 sq_load16_stream(const void *p)
{
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

__device__ __forceinline__ uint4 sq_load16(const void *p) { return *(const uint4 *)p; }
__device__ __forceinline__ void sq_store16(void *p, uint4 v) { *(uint4 *)p = v; }

#endif
