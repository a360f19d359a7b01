// probe_memory: bandwidth of device memory and of L2. What it takes is enough bytes in flight: an
// SM must have latency times its share of the bandwidth on the way (H100: 600 ns x 3.35 TB/s / 132
// = 15 KiB), so each thread asks for several 16-byte words before it uses the first. Grid and words
// in flight are the variants that the harness tries.
#include "core/backend/cuda/probe.h"

namespace
{

constexpr int threads = SQ_PROBE_THREADS;

// Calls f(word index) over the buffer: a block takes tiles of threads x U words, a grid apart.
// Every buffer is a multiple of the largest tile, so no index needs a bound.
template <int U, typename F>
__device__ void walk_tiles(int64_t count, F f)
{
    const int64_t tile = static_cast<int64_t>(threads) * U;
    for (int64_t base = blockIdx.x * tile; base < count; base += gridDim.x * tile)
        f(base + threadIdx.x);
}

__device__ unsigned word_sum(uint4 v)
{
    return v.x + v.y + v.z + v.w;
}

__device__ uint4 pattern_at(int64_t i)
{
    const unsigned first = static_cast<unsigned>(4 * i);
    return make_uint4(first, first + 1, first + 2, first + 3);
}

// Sums are what keeps the loads from being dropped, and what the check compares.
__device__ void add_to(uint32_t *sum, unsigned mine)
{
    for (int lanes = 16; lanes > 0; lanes /= 2)
        mine += __shfl_down_sync(0xffffffffu, mine, lanes);
    if (threadIdx.x % 32 == 0 && mine != 0)
        atomicAdd(sum, mine);
}

template <int U>
__global__ void copy_kernel(uint4 *to, const uint4 *from, int64_t count)
{
    walk_tiles<U>(count, [=](int64_t i) {
        uint4 v[U];
#pragma unroll
        for (int u = 0; u < U; u++)
            v[u] = __ldcs(&from[i + u * threads]);
#pragma unroll
        for (int u = 0; u < U; u++)
            __stcs(&to[i + u * threads], v[u]);
    });
}

template <int U>
__global__ void read_kernel(const uint4 *data, int64_t count, uint32_t *sum)
{
    unsigned mine = 0;
    walk_tiles<U>(count, [&](int64_t i) {
        uint4 v[U];
#pragma unroll
        for (int u = 0; u < U; u++)
            v[u] = __ldcs(&data[i + u * threads]);
#pragma unroll
        for (int u = 0; u < U; u++)
            mine += word_sum(v[u]);
    });
    add_to(sum, mine);
}

template <int U>
__global__ void write_kernel(uint4 *data, int64_t count)
{
    walk_tiles<U>(count, [=](int64_t i) {
#pragma unroll
        for (int u = 0; u < U; u++)
            __stcs(&data[i + u * threads], pattern_at(i + u * threads));
    });
}

template <int U>
__global__ void triad_kernel(float4 *a, const float4 *b, const float4 *c, int64_t count)
{
    walk_tiles<U>(count, [=](int64_t i) {
        float4 x[U], y[U];
#pragma unroll
        for (int u = 0; u < U; u++) {
            x[u] = __ldcs(&b[i + u * threads]);
            y[u] = __ldcs(&c[i + u * threads]);
        }
#pragma unroll
        for (int u = 0; u < U; u++)
            __stcs(&a[i + u * threads], make_float4(x[u].x + 2 * y[u].x, x[u].y + 2 * y[u].y,
                                                    x[u].z + 2 * y[u].z, x[u].w + 2 * y[u].w));
    });
}

// Each round every block moves on by a block's place, so that an SM reads all of the buffer: both
// its near and its far half of L2, in the mixture that a kernel with shared inputs has.
template <int U>
__global__ void read_l2_kernel(const uint4 *data, int64_t count, int rounds, uint32_t *sum)
{
    const int64_t tile = static_cast<int64_t>(threads) * U;
    unsigned mine = 0;
    for (int round = 0; round < rounds; round++) {
        const int64_t shift = round * 37 * tile % count;
        walk_tiles<U>(count, [&](int64_t i) {
            int64_t at = i + shift;
            at -= at >= count ? count : 0; // tiles stay whole: count is a multiple of them
            uint4 v[U];
#pragma unroll
            for (int u = 0; u < U; u++)
                v[u] = __ldcg(&data[at + u * threads]);
#pragma unroll
            for (int u = 0; u < U; u++)
                mine += word_sum(v[u]);
        });
    }
    add_to(sum, mine);
}

__global__ void pattern_kernel(uint4 *data, int64_t count)
{
    walk_tiles<1>(count, [=](int64_t i) { data[i] = pattern_at(i); });
}

__device__ float triad_b(int64_t i)
{
    return static_cast<float>(i & 1023);
}
__device__ float triad_c(int64_t i)
{
    return static_cast<float>(i & 4095);
}

__global__ void triad_inputs_kernel(float *b, float *c, int64_t count)
{
    walk_tiles<1>(count, [=](int64_t i) {
        b[i] = triad_b(i);
        c[i] = triad_c(i);
    });
}

__global__ void triad_check_kernel(const float *a, int64_t count, uint32_t *wrong)
{
    unsigned mine = 0;
    walk_tiles<1>(count, [&](int64_t i) { mine += a[i] != triad_b(i) + 2 * triad_c(i); });
    add_to(wrong, mine);
}

int64_t words_of(size_t bytes)
{
    return static_cast<int64_t>(bytes / sizeof(uint4));
}

constexpr int plain_blocks = 2048; // for what is not measured

// Instantiates a kernel for the words in flight.
#define WITH_IN_FLIGHT(walk, kernel, ...)                                                          \
    switch ((walk).in_flight) {                                                                    \
    case 2:                                                                                        \
        kernel<2><<<(walk).blocks, threads, 0, stream>>>(__VA_ARGS__);                             \
        break;                                                                                     \
    case 4:                                                                                        \
        kernel<4><<<(walk).blocks, threads, 0, stream>>>(__VA_ARGS__);                             \
        break;                                                                                     \
    default:                                                                                       \
        kernel<8><<<(walk).blocks, threads, 0, stream>>>(__VA_ARGS__);                             \
        break;                                                                                     \
    }

} // namespace

cudaError_t sq_probe_pattern(void *data, size_t bytes, cudaStream_t stream)
{
    pattern_kernel<<<plain_blocks, threads, 0, stream>>>(static_cast<uint4 *>(data),
                                                         words_of(bytes));
    return cudaGetLastError();
}

cudaError_t sq_probe_copy(void *to, const void *from, size_t bytes, sq_probe_walk walk,
                          cudaStream_t stream)
{
    WITH_IN_FLIGHT(walk, copy_kernel, static_cast<uint4 *>(to), static_cast<const uint4 *>(from),
                   words_of(bytes))
    return cudaGetLastError();
}

cudaError_t sq_probe_read(const void *data, size_t bytes, sq_probe_walk walk, uint32_t *sum,
                          cudaStream_t stream)
{
    WITH_IN_FLIGHT(walk, read_kernel, static_cast<const uint4 *>(data), words_of(bytes), sum)
    return cudaGetLastError();
}

cudaError_t sq_probe_read_l2(const void *data, size_t bytes, int rounds, sq_probe_walk walk,
                             uint32_t *sum, cudaStream_t stream)
{
    WITH_IN_FLIGHT(walk, read_l2_kernel, static_cast<const uint4 *>(data), words_of(bytes), rounds,
                   sum)
    return cudaGetLastError();
}

cudaError_t sq_probe_write(void *data, size_t bytes, sq_probe_walk walk, cudaStream_t stream)
{
    WITH_IN_FLIGHT(walk, write_kernel, static_cast<uint4 *>(data), words_of(bytes))
    return cudaGetLastError();
}

cudaError_t sq_probe_triad(float *a, const float *b, const float *c, size_t bytes,
                           sq_probe_walk walk, cudaStream_t stream)
{
    WITH_IN_FLIGHT(walk, triad_kernel, reinterpret_cast<float4 *>(a),
                   reinterpret_cast<const float4 *>(b), reinterpret_cast<const float4 *>(c),
                   words_of(bytes))
    return cudaGetLastError();
}

cudaError_t sq_probe_triad_inputs(float *b, float *c, size_t bytes, cudaStream_t stream)
{
    triad_inputs_kernel<<<plain_blocks, threads, 0, stream>>>(
        b, c, static_cast<int64_t>(bytes / sizeof(float)));
    return cudaGetLastError();
}

cudaError_t sq_probe_triad_check(const float *a, size_t bytes, uint32_t *wrong, cudaStream_t stream)
{
    triad_check_kernel<<<plain_blocks, threads, 0, stream>>>(
        a, static_cast<int64_t>(bytes / sizeof(float)), wrong);
    return cudaGetLastError();
}
