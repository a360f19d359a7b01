/* raw_row: neighbouring elements of a row, as selective_scan's kernels read and write them.
 */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_RAW_ROW_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_RAW_ROW_CUH

#include <stdint.h>

#include "kernels/hw/convert.cuh"
#include "kernels/hw/copy_sm80.cuh"

namespace sq_selective_scan
{

/* N neighbouring elements as they lie in memory. */
template <typename T, int N>
struct raw_row {
    static constexpr int WORDS = N * (int)sizeof(T) / 4, PER_WORD = 4 / (int)sizeof(T);
    static constexpr int CHUNK = WORDS < 4 ? WORDS : 4; /* words of one access */
    uint32_t word[WORDS];

    /* valid: elements that there are; the others stay as they are. IS_VECTOR: accesses are aligned,
     * and wholly valid or not at all. */
    template <bool IS_VECTOR>
    __device__ __forceinline__ void load(const T *from, int valid)
    {
        if constexpr (IS_VECTOR) {
#pragma unroll
            for (int i = 0; i < WORDS; i += CHUNK)
                if (i * PER_WORD < valid)
                    load_chunk(from + i * PER_WORD, i);
        } else {
            float x[N];
            get(x);
#pragma unroll
            for (int i = 0; i < N; i++)
                x[i] = i < valid ? sq_to_f32(from[i]) : x[i];
            set(x);
        }
    }

    __device__ __forceinline__ void load_chunk(const T *from, int i)
    {
        if constexpr (CHUNK == 4) {
            const uint4 raw = sq_load16(from);
            word[i] = raw.x, word[i + 1] = raw.y, word[i + 2] = raw.z, word[i + 3] = raw.w;
        } else if constexpr (CHUNK == 2) {
            const uint2 raw = *(const uint2 *)from;
            word[i] = raw.x, word[i + 1] = raw.y;
        } else {
            word[i] = *(const uint32_t *)from;
        }
    }

    __device__ __forceinline__ void set(const float (&x)[N])
    {
#pragma unroll
        for (int i = 0; i < WORDS; i++) {
            if constexpr (sizeof(T) == 4)
                word[i] = __float_as_uint(x[i]);
            else
                word[i] = sq_pack2<T>(x[2 * i], x[2 * i + 1]);
        }
    }

    __device__ __forceinline__ void get(float (&x)[N]) const
    {
#pragma unroll
        for (int i = 0; i < WORDS; i++) {
            if constexpr (sizeof(T) == 4) {
                x[i] = __uint_as_float(word[i]);
            } else {
                const float2 two = sq_unpack2<T>(word[i]);
                x[2 * i] = two.x, x[2 * i + 1] = two.y;
            }
        }
    }

    /* Streaming: nobody reads it here. */
    template <bool IS_VECTOR>
    __device__ __forceinline__ void store(T *to, int valid) const
    {
        if constexpr (IS_VECTOR) {
#pragma unroll
            for (int i = 0; i < WORDS; i += CHUNK)
                if (i * PER_WORD < valid)
                    store_chunk(to + i * PER_WORD, i);
        } else {
            float x[N];
            get(x);
#pragma unroll
            for (int i = 0; i < N; i++)
                if (i < valid)
                    to[i] = sq_from_f32<T>(x[i]);
        }
    }

    __device__ __forceinline__ void store_chunk(T *to, int i) const
    {
        if constexpr (CHUNK == 4)
            __stcs((uint4 *)to, make_uint4(word[i], word[i + 1], word[i + 2], word[i + 3]));
        else if constexpr (CHUNK == 2)
            __stcs((uint2 *)to, make_uint2(word[i], word[i + 1]));
        else
            __stcs((uint32_t *)to, word[i]);
    }
};

} // namespace sq_selective_scan

#endif
