/* tiles: products of 64 x 64 tiles in shared memory, summed in registers: on tensor cores for
 * 16-bit types, with FMA for f32. One code for all types where elements are named by row() and
 * col().
 *
 * A tile of 16-bit elements is swizzled as copy_sm80.cuh says; of f32 its rows are 68 apart, so
 * that neighbouring threads' rows fall into different banks. A block of 256 threads works on a
 * tile; rows and columns that do not exist are zeros.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_TILES_CUH
#define SQ_KERNELS_CHUNK_CORE_TILES_CUH

#include "kernels/hw/convert.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/mma_sm80.cuh"

enum { SQ_TILE = 64, SQ_TILE_THREADS = 256, SQ_TILE_F32_STRIDE = 68 };

template <typename T>
constexpr int sq_tile_bytes = sizeof(T) == 4 ? SQ_TILE *SQ_TILE_F32_STRIDE * 4
                                             : SQ_TILE *SQ_TILE * 2;

/* A tile at an address aligned to 128 bytes. */
template <typename T>
struct sq_tile {
    unsigned char *memory;

    __device__ __forceinline__ T *at(int row, int col) const
    {
        if constexpr (sizeof(T) == 4)
            return (T *)memory + row * SQ_TILE_F32_STRIDE + col;
        else
            return (T *)(memory + sq_tile_offset<8>(row, col / 8)) + col % 8;
    }
    __device__ __forceinline__ float get(int row, int col) const
    {
        return sq_to_f32(*at(row, col));
    }
    __device__ __forceinline__ void put(int row, int col, float x) const
    {
        *at(row, col) = sq_from_f32<T>(x);
    }

    /* Starts loading row r of the tile from row r of a matrix, `rows` and `columns` of which exist;
     * sq_tile_sync ends it. is_vector: rows are 16-byte aligned and columns a multiple of a vector. */
    __device__ __forceinline__ void load(const T *from, int64_t stride, int rows, int columns,
                                         bool is_vector) const
    {
        if (is_vector)
            each_vector([&](int r, int c) {
                sq_copy_async(sq_shared_address(at(r, c)), from + r * stride + c,
                              r < rows && c < columns);
            });
        else
            each([&](int r, int c) {
                put(r, c, r < rows && c < columns ? sq_to_f32(from[r * stride + c]) : 0.0f);
            });
    }

    /* Row r times scale[r], of what this thread has loaded: before sq_tile_sync. */
    __device__ __forceinline__ void weigh(const float *scale, bool is_vector) const
    {
        if (!is_vector) {
            each([&](int r, int c) { put(r, c, get(r, c) * scale[r]); });
            return;
        }
        sq_copy_commit();
        sq_copy_wait<0>();
        each_vector([&](int r, int c) {
            float x[sq_per_vector<T>];
            sq_unpack_vector<T>(sq_load16(at(r, c)), x);
#pragma unroll
            for (int e = 0; e < sq_per_vector<T>; e++) {
                x[e] *= scale[r];
            }
            sq_store16(at(r, c), sq_pack_vector<T>(x));
        });
    }

  private:
    /* Calls f(row, column) for the thread's elements, or vectors. */
    template <typename F>
    __device__ __forceinline__ void each(F f) const
    {
        for (int i = (int)threadIdx.x; i < SQ_TILE * SQ_TILE; i += SQ_TILE_THREADS)
            f(i / SQ_TILE, i % SQ_TILE);
    }
    template <typename F>
    __device__ __forceinline__ void each_vector(F f) const
    {
        constexpr int per_row = SQ_TILE / sq_per_vector<T>;
#pragma unroll
        for (int i = 0; i < SQ_TILE * per_row / SQ_TILE_THREADS; i++) {
            const int index = (int)threadIdx.x + i * SQ_TILE_THREADS;
            f(index / per_row, index % per_row * sq_per_vector<T>);
        }
    }
};

/* __syncthreads() after which the tiles are there that the block has started to load. */
__device__ __forceinline__ void sq_tile_sync()
{
    sq_copy_commit();
    sq_copy_wait<0>();
    __syncthreads();
}

/* A thread's 16 elements of a 64 x 64 sum. */
template <typename T>
struct sq_tile_sum {
    static constexpr bool is_simt = sizeof(T) == 4;
    /* Threads that share a row of the sum: each adds one number to a sum over the row. */
    static constexpr int row_slots = is_simt ? 16 : 8;
    float at[16];

    static __device__ __forceinline__ int row(int i)
    {
        const int thread = (int)threadIdx.x;
        if constexpr (is_simt)
            return thread / 16 + 16 * (i / 4);
        else
            return thread / 32 % 4 * 16 + thread % 32 / 4 + i % 4 / 2 * 8;
    }
    static __device__ __forceinline__ int col(int i)
    {
        const int thread = (int)threadIdx.x;
        if constexpr (is_simt)
            return thread % 16 + 16 * (i % 4);
        else
            return thread / 128 * 32 + i / 4 * 8 + thread % 4 * 2 + i % 2;
    }

    /* The first of the thread's elements that are of the same row as element i. */
    static constexpr __device__ int first_of_row(int i)
    {
        return is_simt ? i / 4 * 4 : i % 4 / 2 * 2;
    }

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int i = 0; i < 16; i++)
            at[i] = 0.0f;
    }

    /* part[row][slot]: this thread's share of the sums over rows of x. */
    static __device__ __forceinline__ void row_parts(const float (&x)[16], float (*part)[17])
    {
        if constexpr (is_simt) {
#pragma unroll
            for (int i = 0; i < 4; i++)
                part[row(4 * i)][threadIdx.x % 16] =
                    x[4 * i] + x[4 * i + 1] + x[4 * i + 2] + x[4 * i + 3];
        } else {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float sum = 0.0f;
#pragma unroll
                for (int n = 0; n < 4; n++)
                    sum += x[4 * n + 2 * half] + x[4 * n + 2 * half + 1];
                part[row(2 * half)][threadIdx.x / 128 * 4 + threadIdx.x % 4] = sum;
            }
        }
    }

    /* += A B^T: element (i, j) gets the sum over n of a[i][n] b[j][n]. */
    __device__ __forceinline__ void add_nt(const sq_tile<T> &a, const sq_tile<T> &b)
    {
        if constexpr (is_simt) {
            const int y = (int)threadIdx.x / 16, x = (int)threadIdx.x % 16;
#pragma unroll 4
            for (int n = 0; n < SQ_TILE; n += 4) {
                float4 left[4];
#pragma unroll
                for (int i = 0; i < 4; i++)
                    left[i] = *(const float4 *)a.at(y + 16 * i, n);
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const float4 right = *(const float4 *)b.at(x + 16 * j, n);
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        at[4 * i + j] += left[i].x * right.x + left[i].y * right.y +
                                         left[i].z * right.z + left[i].w * right.w;
                }
            }
        } else {
            add_mma<false, false>(a, b);
        }
    }

    /* += A B: element (i, j) gets the sum over n of a[i][n] b[n][j]. */
    __device__ __forceinline__ void add_nn(const sq_tile<T> &a, const sq_tile<T> &b)
    {
        if constexpr (is_simt)
            add_simt<false>(a, b);
        else
            add_mma<false, true>(a, b);
    }

    /* += A^T B: element (i, j) gets the sum over n of a[n][i] b[n][j]. */
    __device__ __forceinline__ void add_tn(const sq_tile<T> &a, const sq_tile<T> &b)
    {
        if constexpr (is_simt)
            add_simt<true>(a, b);
        else
            add_mma<true, true>(a, b);
    }

  private:
    template <bool IS_A_TRANSPOSED>
    __device__ __forceinline__ void add_simt(const sq_tile<T> &a, const sq_tile<T> &b)
    {
        const int y = (int)threadIdx.x / 16, x = (int)threadIdx.x % 16;
#pragma unroll 8
        for (int n = 0; n < SQ_TILE; n++) {
            float left[4], right[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                left[i] = IS_A_TRANSPOSED ? *a.at(n, y + 16 * i) : *a.at(y + 16 * i, n);
                right[i] = *b.at(n, x + 16 * i);
            }
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    at[4 * i + j] = fmaf(left[i], right[j], at[4 * i + j]);
        }
    }

    /* A warp owns 16 rows and 32 columns. */
    template <bool IS_A_TRANSPOSED, bool IS_B_BY_ROW>
    __device__ __forceinline__ void add_mma(const sq_tile<T> &a, const sq_tile<T> &b)
    {
        const int row_0 = (int)threadIdx.x / 32 % 4 * 16, col_0 = (int)threadIdx.x / 128 * 32;
        const uint32_t left = sq_shared_address(a.memory), right = sq_shared_address(b.memory);
        float(&d)[4][4] = *(float(*)[4][4])at;
#pragma unroll
        for (int n = 0; n < SQ_TILE; n += 16) {
            uint32_t x[4], y[4];
            if constexpr (IS_A_TRANSPOSED)
                sq_load_a_trans<8>(x, left, n, row_0);
            else
                sq_load_a<8>(x, left, row_0, n);
#pragma unroll
            for (int j = 0; j < 2; j++) {
                if constexpr (IS_B_BY_ROW)
                    sq_load_b_trans<8>(y, right, n, col_0 + 16 * j);
                else
                    sq_load_b<8>(y, right, col_0 + 16 * j, n);
                sq_mma<T>(d[2 * j], x, y[0], y[1]);
                sq_mma<T>(d[2 * j + 1], x, y[2], y[3]);
            }
        }
    }
};

/* The sum over a row of what sq_tile_sum::row_parts left. */
template <typename T>
__device__ __forceinline__ float sq_tile_row_sum(const float (*part)[17], int row)
{
    float sum = 0.0f;
#pragma unroll
    for (int slot = 0; slot < sq_tile_sum<T>::row_slots; slot++)
        sum += part[row][slot];
    return sum;
}

#endif
