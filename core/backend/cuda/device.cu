// device: fill, pack, checksum, copy and sweep. Grid-stride loops with int64 indices: tensors here
// may have more than 2^31 elements.
#include "core/backend/cuda/device.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace {

constexpr int threads = 256;
constexpr int64_t most_blocks = 132 * 16; // enough for every chip so far; the loops do the rest

int blocks_for(int64_t work)
{
    const int64_t blocks = (work + threads - 1) / threads;
    return static_cast<int>(blocks < 1 ? 1 : blocks > most_blocks ? most_blocks : blocks);
}

__device__ int64_t first_index()
{
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ int64_t index_step() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

__device__ void put(float *to, float value) { *to = value; }
__device__ void put(__nv_bfloat16 *to, float value) { *to = __float2bfloat16_rn(value); }
__device__ void put(__half *to, float value) { *to = __float2half_rn(value); }
__device__ void put(int32_t *to, float value) { *to = static_cast<int32_t>(value); }

struct layout {
    int rank;
    int64_t dim[SQ_MAX_RANK], stride[SQ_MAX_RANK];
};

// Storage offset of element i in row-major order.
__device__ int64_t offset_of(const layout &at, int64_t i)
{
    int64_t offset = 0;
    for (int d = at.rank - 1; d >= 0; d--) {
        offset += i % at.dim[d] * at.stride[d];
        i /= at.dim[d];
    }
    return offset;
}

template <typename T>
__global__ void fill_kernel(T *data, layout at, int64_t count, int64_t base, sq_draw draw,
                            uint64_t seed, uint32_t id)
{
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const int64_t offset = offset_of(at, i);
        put(&data[offset], sq_rng_draw(draw, seed, id, base + offset));
    }
}

// W: a word as wide as an element; packing does not care what it means.
template <typename W>
__global__ void pack_kernel(const W *data, layout at, int64_t first, int64_t count, W *to)
{
    for (int64_t i = first_index(); i < count; i += index_step())
        to[i] = data[offset_of(at, first + i)];
}

__device__ uint32_t tail_word(const unsigned char *data, size_t at, size_t bytes)
{
    uint32_t word = 0;
    for (size_t i = 0; i < sizeof word && at + i < bytes; i++)
        word |= static_cast<uint32_t>(data[at + i]) << (8 * i);
    return word;
}

// Integer sums do not depend on the order, so atomics are exact here.
__global__ void checksum_kernel(const unsigned char *data, size_t bytes, unsigned long long *sum)
{
    const uint32_t *words = reinterpret_cast<const uint32_t *>(data);
    const int64_t whole = static_cast<int64_t>(bytes / sizeof(uint32_t));
    const int64_t count = whole + (bytes % sizeof(uint32_t) != 0);
    unsigned long long mine = 0;
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const uint32_t word = i < whole ? words[i] : tail_word(data, i * sizeof(uint32_t), bytes);
        mine += sq_rng_checksum_term(i, word);
    }
    for (int lanes = 16; lanes > 0; lanes /= 2)
        mine += __shfl_down_sync(0xffffffffu, mine, lanes);
    if (threadIdx.x % 32 == 0)
        atomicAdd(sum, mine);
}

// Four loads in flight a thread: what it takes to fill the memory pipe.
__global__ void copy_kernel(uint4 *to, const uint4 *from, int64_t count)
{
    constexpr int unroll = 4;
    const int64_t tile = static_cast<int64_t>(threads) * unroll;
    for (int64_t base = blockIdx.x * tile; base < count; base += gridDim.x * tile) {
        uint4 v[unroll];
#pragma unroll
        for (int u = 0; u < unroll; u++) {
            const int64_t i = base + u * threads + threadIdx.x;
            if (i < count)
                v[u] = __ldcs(&from[i]);
        }
#pragma unroll
        for (int u = 0; u < unroll; u++) {
            const int64_t i = base + u * threads + threadIdx.x;
            if (i < count)
                __stcs(&to[i], v[u]);
        }
    }
}

__global__ void write_kernel(uint4 *data, int64_t count)
{
    for (int64_t i = first_index(); i < count; i += index_step())
        data[i] = make_uint4(1, 1, 1, 1);
}

__global__ void read_kernel(const uint4 *data, int64_t count, unsigned *sink)
{
    unsigned all = 0;
    for (int64_t i = first_index(); i < count; i += index_step()) {
        const uint4 v = __ldcg(&data[i]);
        all |= v.x | v.y | v.z | v.w;
    }
    if (all == 0xffffffffu) // never: write_kernel wrote ones
        *sink = all;
}

__device__ unsigned long long global_ns()
{
    unsigned long long ns;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(ns));
    return ns;
}

__global__ void hold_kernel(volatile sq_cuda_hold_state *state, unsigned long long limit_ns)
{
    const unsigned long long start = global_ns();
    while (!state->is_released)
        if (global_ns() - start >= limit_ns) {
            state->is_late = 1;
            return;
        }
}

__global__ void spin_kernel(unsigned long long ns)
{
    const unsigned long long start = global_ns();
    while (global_ns() - start < ns) {
    }
}

// The timer steps by 32 ns or by 1 us, depending on the chip: read in the middle of a step it would
// be late by up to that much. The bound on the wait is far beyond any step.
__device__ ulonglong2 stamp_at_step()
{
    constexpr long long most_cycles = 10000;
    const long long begin = clock64();
    const unsigned long long first = global_ns();
    unsigned long long ns, cycles;
    do {
        ns = global_ns();
        cycles = static_cast<unsigned long long>(clock64());
    } while (ns == first && static_cast<long long>(cycles) - begin < most_cycles);
    return make_ulonglong2(cycles, ns);
}

// Two blocks may share an SM: one 16-byte store keeps the two numbers together.
__global__ void stamp_kernel(ulonglong2 *stamps)
{
    unsigned sm;
    asm volatile("mov.u32 %0, %smid;" : "=r"(sm));
    if (sm < SQ_CUDA_MAX_SMS)
        stamps[sm] = stamp_at_step();
}

layout layout_of(const sq_tensor *view)
{
    layout at = {};
    at.rank = view->rank;
    for (int d = 0; d < view->rank; d++) {
        at.dim[d] = view->dim[d];
        at.stride[d] = view->stride[d];
    }
    return at;
}

// A dense tensor is one long row: no division per element.
layout flattened(const sq_tensor *t)
{
    layout at = {};
    at.rank = 1;
    at.dim[0] = sq_tensor_count(t);
    at.stride[0] = 1;
    return at;
}

template <typename T>
void launch_fill(const sq_tensor *view, int64_t base, sq_draw draw, uint64_t seed, uint32_t id,
                 cudaStream_t stream)
{
    const int64_t count = sq_tensor_count(view);
    const layout at = sq_tensor_is_dense(view) ? flattened(view) : layout_of(view);
    fill_kernel<<<blocks_for(count), threads, 0, stream>>>(static_cast<T *>(view->data), at, count,
                                                           base, draw, seed, id);
}

template <typename W>
void launch_pack(const sq_tensor *view, int64_t first, int64_t count, void *to, cudaStream_t stream)
{
    pack_kernel<<<blocks_for(count), threads, 0, stream>>>(static_cast<const W *>(view->data),
                                                           layout_of(view), first, count,
                                                           static_cast<W *>(to));
}

} // namespace

cudaError_t sq_cuda_fill(const sq_tensor *view, int64_t base, sq_draw draw, uint64_t seed,
                         uint32_t id, cudaStream_t stream)
{
    if (view->dtype == SQ_DTYPE_F32)
        launch_fill<float>(view, base, draw, seed, id, stream);
    else if (view->dtype == SQ_DTYPE_BF16)
        launch_fill<__nv_bfloat16>(view, base, draw, seed, id, stream);
    else if (view->dtype == SQ_DTYPE_I32)
        launch_fill<int32_t>(view, base, draw, seed, id, stream);
    else
        launch_fill<__half>(view, base, draw, seed, id, stream);
    return cudaGetLastError();
}

cudaError_t sq_cuda_pack(const sq_tensor *view, int64_t first, int64_t count, void *to,
                         cudaStream_t stream)
{
    if (sq_dtype_size(view->dtype) == sizeof(uint32_t))
        launch_pack<uint32_t>(view, first, count, to, stream);
    else
        launch_pack<uint16_t>(view, first, count, to, stream);
    return cudaGetLastError();
}

cudaError_t sq_cuda_checksum(const void *data, size_t bytes, unsigned long long *sum,
                             cudaStream_t stream)
{
    const int64_t words = static_cast<int64_t>(bytes / sizeof(uint32_t)) + 1;
    checksum_kernel<<<blocks_for(words), threads, 0, stream>>>(
        static_cast<const unsigned char *>(data), bytes, sum);
    return cudaGetLastError();
}

cudaError_t sq_cuda_copy(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
    const size_t head = bytes / sizeof(uint4) * sizeof(uint4);
    const int64_t count = static_cast<int64_t>(bytes / sizeof(uint4));
    if (count > 0)
        copy_kernel<<<blocks_for(count / 4 + 1), threads, 0, stream>>>(
            static_cast<uint4 *>(to), static_cast<const uint4 *>(from), count);
    if (head < bytes)
        cudaMemcpyAsync(static_cast<char *>(to) + head, static_cast<const char *>(from) + head,
                        bytes - head, cudaMemcpyDeviceToDevice, stream);
    return cudaGetLastError();
}

cudaError_t sq_cuda_hold(sq_cuda_hold_state *state, unsigned long long limit_ns,
                         cudaStream_t stream)
{
    hold_kernel<<<1, 1, 0, stream>>>(state, limit_ns);
    return cudaGetLastError();
}

cudaError_t sq_cuda_spin(unsigned long long ns, cudaStream_t stream)
{
    spin_kernel<<<1, 1, 0, stream>>>(ns);
    return cudaGetLastError();
}

cudaError_t sq_cuda_stamp_sms(sq_cuda_stamp *stamps, int sm_count, cudaStream_t stream)
{
    static_assert(sizeof(sq_cuda_stamp) == sizeof(ulonglong2), "stamps are stored as one word");
    stamp_kernel<<<sm_count, 1, 0, stream>>>(reinterpret_cast<ulonglong2 *>(stamps));
    return cudaGetLastError();
}

cudaError_t sq_cuda_sweep(void *data, size_t bytes, unsigned *sink, cudaStream_t stream)
{
    const int64_t count = static_cast<int64_t>(bytes / sizeof(uint4));
    uint4 *words = static_cast<uint4 *>(data);
    write_kernel<<<blocks_for(count), threads, 0, stream>>>(words, count);
    read_kernel<<<blocks_for(count), threads, 0, stream>>>(words, count, sink);
    return cudaGetLastError();
}
