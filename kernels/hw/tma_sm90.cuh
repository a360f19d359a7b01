/* tma_sm90: tiles between global and shared memory by the tensor memory accelerator (TMA), the
 * barriers in shared memory on which its copies complete, and the fences between what threads and
 * what the asynchronous units do to shared memory. sm_90; PTX ISA, "Data Movement: cp.async.bulk"
 * and "mbarrier".
 *
 * A tile is 64 rows of 64 elements of 16 bits, 8 KiB, swizzled by 128 bytes: chunk c (16 bytes) of
 * row r lies at chunk c ^ (r & 7) of the row. That is sq_tile_offset<8> (copy_sm80.cuh), so
 * ldmatrix (mma_sm80.cuh) reads it too. A tile's address is a multiple of 1024: the hardware takes
 * the swizzle from bits 7 to 9 of the address.
 *
 * Protocol of a stage, of which each side knows how often it went round:
 *   producer  wait(empty, round & 1 ^ 1)  expect(full, bytes)  load ...  arrive(full)
 *   consumer  wait(full, round & 1)  use  arrive(empty)
 * A barrier that was never completed counts as having completed the phase of parity 1.
 */
#ifndef SQ_KERNELS_HW_TMA_SM90_CUH
#define SQ_KERNELS_HW_TMA_SM90_CUH

#include <cuda.h>
#include <cuda_runtime.h>
#include <stdint.h>

#include "core/dtype.h"
#include "core/status.h"
#include "kernels/hw/copy_sm80.cuh"

enum { SQ_TMA_SIDE = 64, SQ_TMA_TILE_BYTES = SQ_TMA_SIDE * SQ_TMA_SIDE * 2 };

/* The block's dynamic shared memory as a SHARED that begins with its two addresses, generic and shared:
 * from the first multiple of 1024 on, as tiles do. The launch asks for 1024 bytes more. */
template <typename SHARED>
__device__ __forceinline__ SHARED sq_tma_shared()
{
    extern __shared__ unsigned char memory[];
    const uint32_t past = sq_shared_address(memory) % 1024;
    unsigned char *first = memory + (past ? 1024 - past : 0);
    return SHARED{first, sq_shared_address(first)};
}

/* --- barriers --- */

__device__ __forceinline__ void sq_barrier_init(uint32_t barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}

/* After the inits, before the __syncthreads() that lets others see them. */
__device__ __forceinline__ void sq_barrier_init_fence()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* The phase will not complete before that many more bytes have come by TMA. No arrival. */
__device__ __forceinline__ void sq_barrier_expect(uint32_t barrier, int bytes)
{
    asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier),
                 "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void sq_barrier_arrive(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/* Returns when the phase of that parity has completed. */
__device__ __forceinline__ void sq_barrier_wait(uint32_t barrier, uint32_t parity)
{
    uint32_t is_complete = 0;
    while (!is_complete)
        asm volatile("{\n"
                     ".reg .pred p;\n"
                     "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n"
                     "}"
                     : "=r"(is_complete)
                     : "r"(barrier), "r"(parity)
                     : "memory");
}

/* A barrier of `threads` of the block's threads; id: 1 to 15. */
__device__ __forceinline__ void sq_named_sync(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* The same where warps come to it from several places of the code: bar.sync promises one place. */
__device__ __forceinline__ void sq_roles_sync(int id, int threads)
{
    asm volatile("barrier.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* What this thread wrote to shared memory becomes visible to TMA and wgmma; before the barrier
 * after which they read it. */
__device__ __forceinline__ void sq_async_fence()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* --- tiles; one thread ---
 *
 * _once: nobody wants the bytes again before much else has passed through L2, so they leave it before
 * what came without that word (PTX ISA, "createpolicy"). Not where a neighbouring block reads the
 * other half of the same 256 bytes, which L2 fetches together: it might come too late.
 */

/* Fetches the map itself, which a first load would wait for. */
__device__ __forceinline__ void sq_tma_fetch_map(const CUtensorMap *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/* From column x, head h, step t of batch row b on. What lies outside of the tensor is 0. */
__device__ __forceinline__ void sq_tma_load(uint32_t tile, const CUtensorMap *map, int x, int h,
                                            int t, int b, uint32_t barrier)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(tile),
                 "l"(map), "r"(barrier), "r"(x), "r"(h), "r"(t), "r"(b)
                 : "memory");
}

__device__ __forceinline__ void sq_tma_load_once(uint32_t tile, const CUtensorMap *map, int x,
                                                 int h, int t, int b, uint32_t barrier)
{
    asm volatile("{\n"
                 ".reg .b64 policy;\n"
                 "createpolicy.fractional.L2::evict_first.b64 policy, 1.0;\n"
                 "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%3, %4, %5, %6}], [%2], policy;\n"
                 "}" ::"r"(tile),
                 "l"(map), "r"(barrier), "r"(x), "r"(h), "r"(t), "r"(b)
                 : "memory");
}

/* What lies outside of the tensor is not written. */
__device__ __forceinline__ void sq_tma_store(const CUtensorMap *map, int x, int h, int t, int b,
                                             uint32_t tile)
{
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group "
                 "[%0, {%2, %3, %4, %5}], [%1];" ::"l"(map),
                 "r"(tile), "r"(x), "r"(h), "r"(t), "r"(b)
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

__device__ __forceinline__ void sq_tma_store_once(const CUtensorMap *map, int x, int h, int t,
                                                  int b, uint32_t tile)
{
    asm volatile("{\n"
                 ".reg .b64 policy;\n"
                 "createpolicy.fractional.L2::evict_first.b64 policy, 1.0;\n"
                 "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group.L2::cache_hint "
                 "[%0, {%2, %3, %4, %5}], [%1], policy;\n"
                 "}" ::"l"(map),
                 "r"(tile), "r"(x), "r"(h), "r"(t), "r"(b)
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

/* This thread's stores have read their tiles. */
__device__ __forceinline__ void sq_tma_wait_read()
{
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

/* --- host --- */

typedef CUresult (*sq_tma_encode)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                                  const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                                  const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                                  CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's function, asked for at run time: nothing here links the driver library. */
static inline sq_status sq_tma_encoder(sq_tma_encode *encode, sq_error *err)
{
    void *found = NULL;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found,
                                                               12000, cudaEnableDefault, &result);
    if (error != cudaSuccess || result != cudaDriverEntryPointSuccess || !found)
        return sq_fail(err, SQ_DEVICE, "the driver has no cuTensorMapEncodeTiled (%s)",
                       cudaGetErrorString(error));
    *encode = (sq_tma_encode)found;
    return SQ_OK;
}

/* A (batch, time, head, x) tensor of a 16-bit type, x contiguous, strides in elements; multiples of
 * 16 bytes, as is `data`. */
typedef struct {
    void *data;
    int64_t batches, times, heads, columns;
    int64_t batch, time, head; /* strides */
} sq_tma_tensor;

static inline sq_status sq_tma_map(sq_tma_encode encode, sq_dtype dtype, const sq_tma_tensor *t,
                                   CUtensorMap *map, sq_error *err)
{
    const CUtensorMapDataType type =
        dtype == SQ_DTYPE_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    const cuuint64_t dims[] = {(cuuint64_t)t->columns, (cuuint64_t)t->heads, (cuuint64_t)t->times,
                               (cuuint64_t)t->batches};
    const cuuint64_t strides[] = {2 * (cuuint64_t)t->head, 2 * (cuuint64_t)t->time,
                                  2 * (cuuint64_t)t->batch};
    const cuuint32_t box[] = {SQ_TMA_SIDE, 1, SQ_TMA_SIDE, 1}, steps[] = {1, 1, 1, 1};
    const CUresult result =
        encode(map, type, 4, t->data, dims, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
               CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result == CUDA_SUCCESS)
        return SQ_OK;
    return sq_fail(err, SQ_DEVICE, "no tensor map (driver error %d): (%lld, %lld, %lld, %lld)",
                   (int)result, (long long)t->batches, (long long)t->times, (long long)t->heads,
                   (long long)t->columns);
}

#endif
