// probe_core: latency of one load, arithmetic in registers, shared memory, atomics, empty kernels.
// Instructions that are measured are written as asm, so that none is merged, hoisted or dropped,
// and each loop leaves a value that is known beforehand.
#include "core/backend/cuda/probe.h"

namespace
{

constexpr int threads = SQ_PROBE_THREADS;

__device__ void add_to(uint32_t *sum, unsigned mine)
{
    for (int lanes = 16; lanes > 0; lanes /= 2)
        mine += __shfl_down_sync(0xffffffffu, mine, lanes);
    if (threadIdx.x % 32 == 0 && mine != 0)
        atomicAdd(sum, mine);
}

// --- latency: each load gives the address of the next, so none can start before ---

__global__ void ring_kernel(char *data, uint32_t count)
{
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count;
         i += gridDim.x * blockDim.x) {
        char *next = data + static_cast<size_t>(sq_probe_next(i, count)) * SQ_CHASE_LINE;
        *reinterpret_cast<char **>(data + static_cast<size_t>(i) * SQ_CHASE_LINE) = next;
    }
}

template <bool ThroughL1>
__device__ unsigned long long follow(unsigned long long at)
{
    unsigned long long next;
    if (ThroughL1)
        asm volatile("ld.global.ca.u64 %0, [%1];" : "=l"(next) : "l"(at));
    else
        asm volatile("ld.global.cg.u64 %0, [%1];" : "=l"(next) : "l"(at));
    return next;
}

template <bool ThroughL1>
__global__ void chase_kernel(char *data, int steps, uint32_t *end)
{
    const unsigned long long first = reinterpret_cast<unsigned long long>(data);
    unsigned long long at = first;
#pragma unroll 16
    for (int i = 0; i < steps; i++)
        at = follow<ThroughL1>(at);
    *end = static_cast<uint32_t>((at - first) / SQ_CHASE_LINE);
}

__global__ void chase_shared_kernel(uint32_t count, int steps, uint32_t *end)
{
    extern __shared__ uint32_t ring[];
    const uint32_t first = static_cast<uint32_t>(__cvta_generic_to_shared(ring));
    for (uint32_t i = 0; i < count; i++)
        ring[i] = first + 4 * sq_probe_next(i, count);
    uint32_t at = first;
#pragma unroll 16
    for (int i = 0; i < steps; i++)
        asm volatile("ld.shared.u32 %0, [%1];" : "=r"(at) : "r"(at));
    *end = (at - first) / 4;
}

// --- arithmetic: chains enough that no instruction waits for the one before ---

// x = 1 - x: two steps bring x back. `minus` is -1, but not at compile time.
__global__ void fma_kernel(float minus, uint32_t *wrong)
{
    float x[SQ_FMA_CHAINS];
#pragma unroll
    for (int k = 0; k < SQ_FMA_CHAINS; k++)
        x[k] = static_cast<float>((threadIdx.x + k) % 64) / 64;
    for (int step = 0; step < SQ_FMA_STEPS; step += 8)
#pragma unroll
        for (int u = 0; u < 8; u++)
#pragma unroll
            for (int k = 0; k < SQ_FMA_CHAINS; k++)
                asm("fma.rn.f32 %0, %0, %1, 0f3F800000;" : "+f"(x[k]) : "f"(minus));
    unsigned mine = 0;
#pragma unroll
    for (int k = 0; k < SQ_FMA_CHAINS; k++)
        mine += x[k] != static_cast<float>((threadIdx.x + k) % 64) / 64;
    add_to(wrong, mine);
}

// x = 2^-x settles at 0.641186; the sign is part of the instruction.
__global__ void ex2_kernel(float first, uint32_t *wrong)
{
    float x[SQ_EX2_CHAINS];
#pragma unroll
    for (int k = 0; k < SQ_EX2_CHAINS; k++)
        x[k] = first + 0.01f * k;
    for (int step = 0; step < SQ_EX2_STEPS; step += 8)
#pragma unroll
        for (int u = 0; u < 8; u++)
#pragma unroll
            for (int k = 0; k < SQ_EX2_CHAINS; k++)
                asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(x[k]) : "f"(-x[k]));
    unsigned mine = 0;
#pragma unroll
    for (int k = 0; k < SQ_EX2_CHAINS; k++)
        mine += !(fabsf(x[k] - 0.6411857f) < 1e-4f);
    add_to(wrong, mine);
}

// --- shared memory: 16 bytes a thread and load, consecutive threads side by side. A load that is not
// volatile is one that the assembler may do once for all rounds, and did. ---

__global__ void shared_read_kernel(uint32_t *sum)
{
    __shared__ uint4 data[SQ_SHARED_BYTES / sizeof(uint4)];
    constexpr int words = SQ_SHARED_BYTES / 16, steps = words / threads;
    for (int i = threadIdx.x; i < words; i += threads)
        data[i] = make_uint4(4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3);
    __syncthreads();
    const uint32_t base = static_cast<uint32_t>(__cvta_generic_to_shared(&data[threadIdx.x]));
    unsigned a = 0, b = 0;
    for (int round = 0; round < SQ_SHARED_ROUNDS; round++)
#pragma unroll
        for (int i = 0; i < steps; i++) {
            uint4 v;
            asm volatile("ld.volatile.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                         : "r"(base + i * threads * 16));
            a += v.x + v.y; // three-input adds: two for the four words
            b += v.z + v.w;
        }
    add_to(sum, a + b);
}

// --- atomics ---

// `stride` is 0 for one address of all; the compiler, which would else add a warp's lanes up before
// it asks, must not know.
__global__ void atomic_kernel(uint32_t *counter, int stride)
{
    uint32_t *mine = counter + (static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x) * stride;
    for (int i = 0; i < SQ_ATOMIC_STEPS; i++)
        asm volatile("red.global.add.u32 [%0], 1;" ::"l"(mine) : "memory");
}

// `one` is 1, but not at compile time: counting has an instruction of its own.
__global__ void atomic_shared_kernel(uint32_t one, uint32_t *wrong)
{
    __shared__ uint32_t counter[threads];
    counter[threadIdx.x] = 0;
    __syncthreads();
    const uint32_t mine = static_cast<uint32_t>(__cvta_generic_to_shared(&counter[threadIdx.x]));
    for (int i = 0; i < SQ_ATOMIC_STEPS; i++)
        asm volatile("red.shared.add.u32 [%0], %1;" ::"r"(mine), "r"(one) : "memory");
    __syncthreads();
    add_to(wrong, counter[threadIdx.x] != SQ_ATOMIC_STEPS);
}

__global__ void empty_kernel() {}

} // namespace

cudaError_t sq_probe_ring(void *data, uint32_t count, cudaStream_t stream)
{
    ring_kernel<<<1024, threads, 0, stream>>>(static_cast<char *>(data), count);
    return cudaGetLastError();
}

cudaError_t sq_probe_chase(void *data, int steps, int through_l1, uint32_t *end,
                           cudaStream_t stream)
{
    if (through_l1)
        chase_kernel<true><<<1, 1, 0, stream>>>(static_cast<char *>(data), steps, end);
    else
        chase_kernel<false><<<1, 1, 0, stream>>>(static_cast<char *>(data), steps, end);
    return cudaGetLastError();
}

cudaError_t sq_probe_chase_shared(uint32_t count, int steps, uint32_t *end, cudaStream_t stream)
{
    chase_shared_kernel<<<1, 1, count * sizeof(uint32_t), stream>>>(count, steps, end);
    return cudaGetLastError();
}

cudaError_t sq_probe_empty(cudaStream_t stream)
{
    empty_kernel<<<1, 32, 0, stream>>>();
    return cudaGetLastError();
}

cudaError_t sq_probe_fma(int blocks, uint32_t *wrong, cudaStream_t stream)
{
    fma_kernel<<<blocks, threads, 0, stream>>>(-1.0f, wrong);
    return cudaGetLastError();
}

cudaError_t sq_probe_ex2(int blocks, uint32_t *wrong, cudaStream_t stream)
{
    ex2_kernel<<<blocks, threads, 0, stream>>>(0.5f, wrong);
    return cudaGetLastError();
}

cudaError_t sq_probe_shared_read(int blocks, uint32_t *sum, cudaStream_t stream)
{
    shared_read_kernel<<<blocks, threads, 0, stream>>>(sum);
    return cudaGetLastError();
}

cudaError_t sq_probe_atomic(int blocks, uint32_t *counter, int stride, cudaStream_t stream)
{
    atomic_kernel<<<blocks, threads, 0, stream>>>(counter, stride);
    return cudaGetLastError();
}

cudaError_t sq_probe_atomic_shared(int blocks, uint32_t *wrong, cudaStream_t stream)
{
    atomic_shared_kernel<<<blocks, threads, 0, stream>>>(1, wrong);
    return cudaGetLastError();
}
