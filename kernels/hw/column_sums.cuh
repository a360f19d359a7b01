/* column_sums: the second stage of sums over many rows: the parts that blocks left, added in a fixed
 * order.
 */
#ifndef SQ_KERNELS_HW_COLUMN_SUMS_CUH
#define SQ_KERNELS_HW_COLUMN_SUMS_CUH

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"

enum { SQ_SUM_COLUMNS = 32 }; /* of a block, whose threads are the square */

/* to[c] = sum of parts[r][c] over r < rows; blockIdx.y = 1: to_next, of the next rows * columns. */
template <typename T>
__global__ void __launch_bounds__(SQ_SUM_COLUMNS * SQ_SUM_COLUMNS)
    sq_column_sums(const float *parts, T *to, T *to_next, int rows, int64_t columns)
{
    __shared__ float part[SQ_SUM_COLUMNS][SQ_SUM_COLUMNS + 1];
    const int x = (int)threadIdx.x % SQ_SUM_COLUMNS, y = (int)threadIdx.x / SQ_SUM_COLUMNS;
    const int64_t first = (int64_t)blockIdx.x * SQ_SUM_COLUMNS;
    const float *from = parts + blockIdx.y * (rows * columns);
    float sum = 0.0f;
    for (int r = y; r < rows && first + x < columns; r += SQ_SUM_COLUMNS)
        sum += from[r * columns + first + x];
    part[y][x] = sum;
    __syncthreads();
    sum = sq_warp_sum(part[x][y]);
    if (x == 0 && first + y < columns)
        (blockIdx.y == 0 ? to : to_next)[first + y] = sq_from_f32<T>(sum);
}

/* to_next NULL: one set of parts. */
template <typename T>
static inline void sq_launch_column_sums(const float *parts, T *to, T *to_next, int rows,
                                         int64_t columns, cudaStream_t stream)
{
    const dim3 grid((unsigned)sq_ceil_div(columns, SQ_SUM_COLUMNS), to_next ? 2 : 1);
    sq_column_sums<T><<<grid, SQ_SUM_COLUMNS * SQ_SUM_COLUMNS, 0, stream>>>(parts, to, to_next,
                                                                            rows, columns);
}

#endif
