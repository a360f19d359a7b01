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

/* 16 bytes, global -> shared, past L1. Both addresses 16-byte aligned. */
__device__ __forceinline__ void sq_copy_async(uint32_t shared, const void *source)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(source) : "memory");
}

/* The same; when !is_valid nothing is read (source may point anywhere) and 16 zero bytes are
 * written. */
__device__ __forceinline__ void sq_copy_async(uint32_t shared, const void *source, bool is_valid)
{
    const int bytes = is_valid ? 16 : 0;
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

/* Byte offset of chunk `chunk` of row `row` in a swizzled tile (see the top). CHUNKS: 4, or a
 * multiple of 8. */
template <int CHUNKS>
__device__ __forceinline__ uint32_t sq_tile_offset(int row, int chunk)
{
    static_assert(CHUNKS == 4 || CHUNKS % 8 == 0, "no conflict-free swizzle for this width");
    const int swizzle = CHUNKS == 4 ? (row >> 1) & 3 : row & 7;
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
    constexpr int step = THREADS / CHUNKS;
    int thread = (int)threadIdx.x;
    asm volatile("" : "+r"(thread)); /* opaque: addresses are cheaper to make again than to keep */
    const int chunk = thread % CHUNKS, first = thread / CHUNKS;
    const T *from = source + first * row_stride + chunk * (16 / (int)sizeof(T));
    if (valid_rows >= ROWS && valid_chunks >= CHUNKS) { /* the common case, without predicates */
#pragma unroll
        for (int row = 0; row < ROWS; row += step, from += step * row_stride)
            sq_copy_async(tile + sq_tile_offset<CHUNKS>(first + row, chunk), from);
    } else {
        const int rows = chunk < valid_chunks ? valid_rows : 0;
#pragma unroll
        for (int row = 0; row < ROWS; row += step, from += step * row_stride)
            sq_copy_async(tile + sq_tile_offset<CHUNKS>(first + row, chunk), from,
                          first + row < rows);
    }
}

/* 32 bits at a shared-memory address. */
__device__ __forceinline__ void sq_shared_store(uint32_t address, uint32_t value)
{
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

__device__ __forceinline__ uint32_t sq_shared_load(uint32_t address)
{
    uint32_t value;
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
    return value;
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
