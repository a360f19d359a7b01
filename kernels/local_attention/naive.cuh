/* naive: the gradient of the biases in cuda/naive of local_attention: a thread for the part of each
 * query and bucket, then one for each bias, which sums the parts. Included by local_attention.cu
 * alone.
 */
#ifndef SQ_KERNELS_LOCAL_ATTENTION_NAIVE_CUH
#define SQ_KERNELS_LOCAL_ATTENTION_NAIVE_CUH

#include "kernels/attention/naive_bwd.cuh"
#include "kernels/local_attention/local_attention.h"

/* parts: (B, H, L, buckets). Bucket i has the table's distances [first[i], first[i + 1]). */
template <typename T>
struct local_attention_naive_part {
    attention_naive_grads<T> g;
    float *parts;
    int buckets, first[MAX_BUCKETS + 1];

    __device__ void operator()(int64_t i) const
    {
        const int bucket = (int)(i % buckets), own = (int)(i / buckets % g.f.queries);
        const int64_t pair = i / buckets / g.f.queries, b = pair / g.f.heads;
        const int h = (int)(pair % g.f.heads), end = first[bucket + 1];
        const attention_keys seen = attention_visible(g.f, h, own);
        const bool is_last = end == g.f.biases; /* and has what is farther away */
        const int low = is_last ? seen.first : max(seen.first, own - end + 1);
        const int high = first[bucket] < end ? min(seen.last, own - first[bucket] + 1) : low;
        parts[i] = sq_naive_sum(low, high, [&](int64_t j) { return g.ds(b, h, own, j); });
    }
};

struct local_attention_naive_bias {
    sq_naive_tensor<float> dbias;
    const float *parts;
    int64_t batch, heads, length, buckets;

    __device__ void operator()(int64_t i) const
    {
        const int64_t bucket = i % buckets, h = i / buckets;
        const float sum = sq_naive_sum(0, batch * length, [&](int64_t row) {
            const int64_t b = row / length, t = row % length;
            return parts[((b * heads + h) * length + t) * buckets + bucket];
        });
        dbias.store(sum, bucket, h);
    }
};

#endif
