/* norm_channel: one channel of a run in pass bwd, whoever sums it: see norm_bwd.c for the formula.
 */
#ifndef SQ_KERNELS_NORM_CORE_NORM_CHANNEL_CUH
#define SQ_KERNELS_NORM_CORE_NORM_CHANNEL_CUH

#include "kernels/norm_core/norm.cuh"

/* u, the gradient of n w + b, silu(z) and its slope. */
struct channel {
    float u, affine, open, slope;
};

__device__ __forceinline__ channel channel_of(const norm_params &p, float s, float dy, float z)
{
    channel c = {s, dy, 1.0f, 0.0f};
    if (p.gate == SQ_NORM_GATE_NONE)
        return c;
    const float o = __fdividef(1.0f, 1.0f + sq_exp(-z));
    c.open = z * o;
    c.slope = o * fmaf(z, 1.0f - o, 1.0f);
    if (p.gate == SQ_NORM_GATE_PRE)
        c.u *= c.open;
    else
        c.affine *= c.open;
    return c;
}

/* Of a run: mean of u, r, mean of dn, mean of dn n; the means 0 where not centred. */
struct moments {
    float mean, scale, mean_dn, along;
};

/* sums: of c^2, dn and dn c. */
__device__ __forceinline__ moments moments_of(const norm_params &p, float mean,
                                              const float (&sums)[3])
{
    const float per_channel = 1.0f / (float)p.width;
    const float scale = rsqrtf(sums[0] / (float)p.width + p.eps);
    return {mean, scale, p.is_centred ? sums[1] * per_channel : 0.0f,
            sums[2] * scale * per_channel};
}

__device__ __forceinline__ void add_to_sums(float (&sums)[3], const channel &c, float mean, float w)
{
    const float centred = c.u - mean, dn = __fmul_rn(c.affine, w);
    sums[0] = fmaf(centred, centred, sums[0]);
    sums[1] += dn;
    sums[2] = fmaf(dn, centred, sums[2]);
}

struct gradients {
    float dx, dz, dw, db;
};

__device__ __forceinline__ gradients gradients_of(const norm_params &p, const channel &c,
                                                  const moments &m, float s, float dy, float w,
                                                  float bias)
{
    const float n = (c.u - m.mean) * m.scale;
    const float dn = __fmul_rn(c.affine, w); /* as summed: one channel is its own mean, exactly */
    const float du = m.scale * (dn - m.mean_dn - n * m.along);
    gradients d = {du, 0.0f, c.affine * n, c.affine};
    if (p.gate == SQ_NORM_GATE_PRE) {
        d.dx = du * c.open;
        d.dz = du * s * c.slope;
    } else if (p.gate == SQ_NORM_GATE_POST) {
        d.dz = dy * fmaf(n, w, bias) * c.slope;
    }
    return d;
}

template <typename T>
__device__ __forceinline__ channel scalar_channel(const norm_params &p, const norm_place &at, int i)
{
    const float z = p.z.data ? sq_to_f32(norm_at<const T>(p.z, at)[i]) : 0.0f;
    return channel_of(p, norm_kept<T>(p, p.s, at, i), sq_to_f32(norm_at<const T>(p.dy, at)[i]), z);
}

#endif
