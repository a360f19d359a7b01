/* hopper_primitives: see hopper_primitives.h. One warpgroup does it all. */
#include "tests/gpu/hopper_primitives.h"

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/mma_sm80.cuh"
#include "kernels/hw/tma_sm90.cuh"
#include "kernels/hw/wgmma_sm90.cuh"

enum { TILES = 8, SHARED_BYTES = 1024 + TILES * SQ_TMA_TILE_BYTES + 16 };

typedef struct {
    CUtensorMap q, k, v, ragged, stored, out;
} maps_of_all;

typedef struct {
    unsigned char *memory;
    uint32_t base;
} block_memory;

/* Calls f(row, column, sum) of the thread's part of D. */
template <int N, typename F>
__device__ __forceinline__ void each_sum(const float (&d)[N], F f)
{
    const int warp = (int)threadIdx.x / 32, g = (int)threadIdx.x % 32 / 4, q = (int)threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < N; i++) {
        f(16 * warp + g + 8 * (i / 2 % 2), 8 * (i / 4) + 2 * q + i % 2, d[i]);
    }
}

/* Tile 7, through barrier + 8. */
__device__ __forceinline__ void move_ragged(const maps_of_all &maps, uint32_t base,
                                            uint32_t barrier, const unsigned char *memory,
                                            hopper_output *out)
{
    const uint32_t tile = base + 7 * SQ_TMA_TILE_BYTES;
    if (threadIdx.x == 0) {
        sq_barrier_expect(barrier, SQ_TMA_TILE_BYTES);
        sq_tma_load(tile, &maps.ragged, 64, 1, 64, 1, barrier);
        sq_barrier_arrive(barrier);
    }
    sq_barrier_wait(barrier, 0);
    for (int i = (int)threadIdx.x; i < HOPPER_SIDE * HOPPER_SIDE; i += SQ_WARPGROUP)
        out->tile[i] = ((const uint16_t *)(memory + 7 * SQ_TMA_TILE_BYTES))[i];
    if (threadIdx.x == 0)
        sq_tma_store(&maps.stored, 64, 1, 64, 1, tile);
}

/* By itself: with the sums of multiply() there are no registers for these. */
__device__ __forceinline__ void multiply_plain(uint32_t v, uint32_t k, hopper_output *out)
{
    float plain[64];
    sq_wgmma_fence();
#pragma unroll
    for (int j = 0; j < 4; j++) {
        sq_wgmma_128_columns<__nv_bfloat16>(plain, sq_wgmma_rows(v) + sq_wgmma_rows_step(j),
                                            sq_wgmma_columns(k) + sq_wgmma_columns_step(j), j > 0);
    }
    sq_wgmma_commit();
    sq_wgmma_wait<0>();
    sq_wgmma_pin(plain);
    each_sum(plain, [&](int row, int column, float sum) { out->plain[row][column] = sum; });
}

__device__ __forceinline__ void multiply(const maps_of_all &maps, uint32_t base, uint32_t barrier,
                                         hopper_output *out)
{
    using T = __nv_bfloat16;
    const int warp = (int)threadIdx.x / 32;
    const uint32_t q = base, k = base + 2 * SQ_TMA_TILE_BYTES, v = base + 4 * SQ_TMA_TILE_BYTES;
    const uint32_t p = base + 5 * SQ_TMA_TILE_BYTES, o = base + 6 * SQ_TMA_TILE_BYTES;
    if (threadIdx.x == 0) {
        sq_barrier_expect(barrier, 5 * SQ_TMA_TILE_BYTES);
        for (int i = 0; i < 2; i++) {
            sq_tma_load(q + i * SQ_TMA_TILE_BYTES, &maps.q, 64 * i, 0, 0, 0, barrier);
            sq_tma_load(k + i * SQ_TMA_TILE_BYTES, &maps.k, 64 * i, 0, 0, 0, barrier);
        }
        sq_tma_load(v, &maps.v, 0, 0, 0, 0, barrier);
        sq_barrier_arrive(barrier);
    }
    sq_barrier_wait(barrier, 0);

    float score[32], part[2][16], state[64], narrow[32], query[32], values[32];
    uint32_t a[4][4], seen[8][4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        sq_load_a_trans<8>(a[j], v, 16 * j, 16 * warp);
    }
    sq_wgmma_pin(a);
    sq_wgmma_fence();
#pragma unroll
    for (int n = 0; n < 8; n++) {
        sq_wgmma_64<T>(score, sq_wgmma_rows(q) + sq_wgmma_rows_step(n),
                       sq_wgmma_rows(k) + sq_wgmma_rows_step(n), n > 0);
    }
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
        for (int n = 0; n < 8; n++) {
            sq_wgmma_32<T>(part[half], sq_wgmma_rows(q) + sq_wgmma_rows_step(n),
                           sq_wgmma_every_other_rows(k, half) + sq_wgmma_rows_step(n), n > 0);
        }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        sq_wgmma_128_columns<T>(state, a[j], sq_wgmma_columns(k) + sq_wgmma_columns_step(j), j > 0);
        sq_wgmma_64_columns<T>(narrow, a[j], sq_wgmma_columns(k) + sq_wgmma_columns_step(j), j > 0);
    }
    sq_wgmma_commit();
    sq_wgmma_wait<0>();
    sq_wgmma_pin(score);
    sq_wgmma_pin(part[0]);
    sq_wgmma_pin(part[1]);
    sq_wgmma_pin(state);
    sq_wgmma_pin(narrow);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        each_sum(part[half], [&](int row, int column, float sum) {
            out->part[row][column / 8 * 16 + 8 * half + column % 8] = sum;
        });
    }
    each_sum(score, [&](int row, int column, float sum) { out->scores[row][column] = sum; });
    each_sum(narrow, [&](int row, int column, float sum) { out->narrow[row][column] = sum; });
    each_sum(state, [&](int row, int column, float sum) { out->state[row][column] = sum; });

#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            seen[n][e] = sq_pack2<T>(state[8 * n + 2 * e], state[8 * n + 2 * e + 1]);
        }
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
        uint32_t packed[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            packed[e] = sq_pack2<T>(score[4 * n + 2 * e], score[4 * n + 2 * e + 1]);
        }
        sq_stmatrix(sq_address_a<8>(p, 16 * warp, 8 * n), packed);
    }
    sq_async_fence();
    sq_named_sync(1, SQ_WARPGROUP);
    sq_wgmma_pin(a);
    sq_wgmma_pin(seen);
    sq_wgmma_fence();
#pragma unroll
    for (int n = 0; n < 8; n++) {
        sq_wgmma_64<T>(query, seen[n], sq_wgmma_rows(q) + sq_wgmma_rows_step(n), n > 0);
    }
    sq_wgmma_commit();
#pragma unroll
    for (int j = 0; j < 4; j++) {
        sq_wgmma_64<T>(values, a[j], sq_wgmma_rows(p) + sq_wgmma_rows_step(j), j > 0);
    }
    sq_wgmma_commit();
    sq_wgmma_wait<0>();
    sq_wgmma_pin(query);
    sq_wgmma_pin(values);
    each_sum(query, [&](int row, int column, float sum) { out->query[row][column] = sum; });
    each_sum(values, [&](int row, int column, float sum) { out->values[row][column] = sum; });

#pragma unroll
    for (int j = 0; j < 4; j++) {
        uint32_t packed[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float *d = &values[8 * j + 2 * e];
            packed[e] = sq_pack2<T>(d[0] / 16, d[1] / 16);
        }
        sq_stmatrix_trans(sq_address_a_trans<8>(o, 16 * j, 16 * warp), packed);
    }
    sq_async_fence();
    sq_named_sync(1, SQ_WARPGROUP);
    if (threadIdx.x == 0)
        sq_tma_store(&maps.out, 0, 0, 0, 0, o);
    multiply_plain(v, k, out);
}

static __global__ void __launch_bounds__(SQ_WARPGROUP)
    primitives_kernel(const __grid_constant__ maps_of_all maps, hopper_output *out)
{
#if SQ_HAS_WGMMA
    const block_memory shared = sq_tma_shared<block_memory>();
    const uint32_t base = shared.base, barrier = base + TILES * SQ_TMA_TILE_BYTES;
    if (threadIdx.x == 0) {
        sq_barrier_init(barrier, 1);
        sq_barrier_init(barrier + 8, 1);
        sq_barrier_init_fence();
    }
    __syncthreads();
    move_ragged(maps, base, barrier + 8, shared.memory, out);
    multiply(maps, base, barrier, out);
    if (threadIdx.x == 0)
        sq_tma_wait_read();
#endif
}

/* A dense tensor at `data` of the device. */
static sq_status map_of(sq_tma_encode encode, const void *data, int64_t batches, int64_t times,
                        int64_t heads, int64_t columns, CUtensorMap *map, sq_error *err)
{
    const sq_tma_tensor t = {(void *)data,    batches, times,
                             heads,           columns, times * heads * columns,
                             heads * columns, columns};
    return sq_tma_map(encode, SQ_DTYPE_BF16, &t, map, err);
}

static sq_status make_maps(const hopper_input *in, const hopper_output *out, maps_of_all *maps,
                           sq_error *err)
{
    sq_tma_encode encode = NULL;
    SQ_TRY(sq_tma_encoder(&encode, err));
    SQ_TRY(map_of(encode, in->q, 1, HOPPER_SIDE, 1, HOPPER_KEYS, &maps->q, err));
    SQ_TRY(map_of(encode, in->k, 1, HOPPER_SIDE, 1, HOPPER_KEYS, &maps->k, err));
    SQ_TRY(map_of(encode, in->v, 1, HOPPER_SIDE, 1, HOPPER_SIDE, &maps->v, err));
    SQ_TRY(map_of(encode, in->ragged, HOPPER_BATCHES, HOPPER_TIMES, HOPPER_HEADS, HOPPER_COLUMNS,
                  &maps->ragged, err));
    SQ_TRY(map_of(encode, out->stored, HOPPER_BATCHES, HOPPER_TIMES, HOPPER_HEADS, HOPPER_COLUMNS,
                  &maps->stored, err));
    return map_of(encode, out->out, 1, HOPPER_SIDE, 1, HOPPER_SIDE, &maps->out, err);
}

static sq_status launch(const hopper_input *in, hopper_output *out, sq_error *err)
{
    maps_of_all maps;
    SQ_TRY(make_maps(in, out, &maps, err));
    SQ_TRY(sq_allow_shared(primitives_kernel, SHARED_BYTES, err));
    primitives_kernel<<<1, SQ_WARPGROUP, SHARED_BYTES>>>(maps, out);
    SQ_TRY(sq_launched("primitives", err));
    return sq_cuda_check(cudaDeviceSynchronize(), "primitives", err);
}

static sq_status run(const hopper_input *in, hopper_output *out, void *device_in, void *device_out,
                     sq_error *err)
{
    SQ_TRY(sq_cuda_check(cudaMemcpy(device_in, in, sizeof *in, cudaMemcpyHostToDevice), "in", err));
    SQ_TRY(sq_cuda_check(cudaMemset(device_out, 0xff, sizeof *out), "poison", err));
    SQ_TRY(launch((const hopper_input *)device_in, (hopper_output *)device_out, err));
    return sq_cuda_check(cudaMemcpy(out, device_out, sizeof *out, cudaMemcpyDeviceToHost), "out",
                         err);
}

sq_status hopper_run(const hopper_input *in, hopper_output *out, sq_error *err)
{
    int major = 0, minor = 0;
    void *device_in = NULL, *device_out = NULL;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) != cudaSuccess ||
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) != cudaSuccess ||
        10 * major + minor != 90)
        return sq_fail(err, SQ_UNSUPPORTED, "no device of sm_90");
    sq_status status = sq_cuda_check(cudaMalloc(&device_in, sizeof *in), "memory", err);
    if (status == SQ_OK)
        status = sq_cuda_check(cudaMalloc(&device_out, sizeof *out), "memory", err);
    if (status == SQ_OK)
        status = run(in, out, device_in, device_out, err);
    cudaFree(device_in);
    cudaFree(device_out);
    return status;
}
