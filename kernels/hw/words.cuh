/* words: one or four floats of a stream. What is read once and written once is evict-first in L2,
 * and leaves it to what is read again.
 */
#ifndef SQ_KERNELS_HW_WORDS_CUH
#define SQ_KERNELS_HW_WORDS_CUH

template <int WIDTH>
struct alignas(WIDTH * sizeof(float)) sq_word {
    float at[WIDTH];
};

/* from, to: aligned to a word. */
template <int WIDTH>
__device__ __forceinline__ sq_word<WIDTH> sq_stream_in(const float *from)
{
    sq_word<WIDTH> word;
    if constexpr (WIDTH == 4)
        *(float4 *)word.at = __ldcs((const float4 *)from);
    else
        word.at[0] = __ldcs(from);
    return word;
}

template <int WIDTH>
__device__ __forceinline__ void sq_stream_out(float *to, const sq_word<WIDTH> &word)
{
    if constexpr (WIDTH == 4)
        __stcs((float4 *)to, *(const float4 *)word.at);
    else
        __stcs(to, word.at[0]);
}

#endif
