/* attention_cuda: the CUDA kernels of attention as functions of parameters, for the operators
 * attention and local_attention.
 */
#ifndef SQ_KERNELS_ATTENTION_ATTENTION_CUDA_CUH
#define SQ_KERNELS_ATTENTION_ATTENTION_CUDA_CUH

#include "kernels/attention/attention_rows.cuh"
#include "kernels/attention/attention_tile.cuh"

/* The build that a head dim takes: smaller ones are padded with zeros in shared memory. */
static inline int sq_attention_padded_d(int64_t d)
{
    return d <= 64 ? 64 : d <= 128 ? 128 : 256;
}

/* From the rules (their bias and rotation aside) and rows that are loaded, or are planned. */
attention_params sq_attention_params(const sq_attention_rules *rules,
                                     const sq_attention_rows *rows);

/* What pass fwd saves for pass bwd: lse and rest. */
static inline size_t sq_attention_lse_bytes(const sq_tensor *q)
{
    return ((size_t)(q->dim[0] * q->dim[1] * q->dim[2]) * sizeof(float) + 255) / 256 * 256;
}
static inline size_t sq_attention_saved_bytes(const sq_tensor *q)
{
    const size_t rows = (size_t)(q->dim[0] * q->dim[1] * q->dim[2]);
    const bool has_rest = sq_dtype_size(q->dtype) == 2;
    return sq_attention_lse_bytes(q) + (has_rest ? rows * (size_t)sq_attention_wide_d(q) * 2 : 0);
}
static inline void sq_attention_use_saved(attention_params *p, const sq_tensor *q, void *saved)
{
    p->lse = (float *)saved;
    p->rest = saved ? (char *)saved + sq_attention_lse_bytes(q) : NULL;
}

/* attention_naive.cu: cuda/naive. Workspace: of pass bwd the sums, two numbers for each query and
 * head. Any rows. */
sq_status sq_attention_naive_supports(const sq_call *call, const sq_device *device, sq_error *why);
size_t sq_attention_naive_workspace(const sq_call *call);
sq_status sq_attention_naive_forward(const sq_call *call, const attention_params *p, sq_error *err);
sq_status sq_attention_naive_backward(const sq_call *call, const attention_params *f,
                                      const sq_attention_rows *rows, void *sums, sq_error *err);

sq_status sq_attention_portable_supports(const sq_tensor *q, const sq_device *device,
                                         sq_error *why);
sq_status sq_attention_portable_forward(const attention_params *p, sq_dtype dtype,
                                        cudaStream_t stream, sq_error *err);

enum { SQ_ATTENTION_BIAS_ROWS = 64 };

/* biases: of the gradient that is asked for, or 0. */
size_t sq_attention_bwd_shared_bytes(sq_dtype dtype, int64_t head_dim, int biases);
/* f: the forward call with the lse that it wrote. delta: workspace, (B, H, L). bias_parts: (B, H,
 * ceil(L / 64), biases), the gradient of f's bias by distance, a part for each 64 queries; NULL:
 * not asked for. */
sq_status sq_attention_portable_backward(const attention_params *f, const sq_attention_rows *rows,
                                         float *delta, float *bias_parts, cudaStream_t stream,
                                         sq_error *err);

/* Pass step: f has one query; k and v the last keys, key t in row t % (rows in memory). Any rows. */
sq_status sq_attention_step_supports(const sq_attention_rows *rows, sq_error *why);
size_t sq_attention_step_workspace(const attention_params *f, const sq_attention_rows *rows);
sq_status sq_attention_portable_step(const attention_params *f, const sq_attention_rows *rows,
                                     void *workspace, cudaStream_t stream, sq_error *err);

#endif
