/* parameter_sums: pass bwd of s4_scan from sums over steps to the gradients of the parameters: rows
 * of the workspace, one for each channel of a sequence, and their sums. Included by backward.cuh
 * and naive_bwd.cuh.
 */
#ifndef SQ_KERNELS_S4_SCAN_PARAMETER_SUMS_CUH
#define SQ_KERNELS_S4_SCAN_PARAMETER_SUMS_CUH

#include "kernels/s4_scan/lane_modes.cuh"

namespace sq_s4_scan
{

enum { SUM_ROWS = 8 };

/* Elements of a row, in f64: of the channel (log_dt, skip, c) and of its state space (a_real,
 * a_imag, b, p), modes innermost. */
struct row_layout {
    int channel, space;
};

inline row_layout row_layout_of(const sq_call *call)
{
    const int count = (int)call->in[IN_C].dim[1], rank = (int)call->axis[AXIS_R];
    row_layout at;
    at.channel = 2 + 2 * count;
    at.space = (4 + 2 * rank) * count;
    return at;
}

struct backward_args {
    parameters q;
    tokens u, dy, du;
    sq_pairs dfinal, dinitial;
    space out;
    double *channel_rows, *space_rows; /* (B, D, elements) */
    double *channel_parts, *space_parts;
    row_layout row;
    int channel_count, space_count; /* of parts */
};

/* Sums over steps; RANK as in lane_modes. */
template <typename Real, typename Complex, int MODES, int RANK>
struct step_sums {
    static constexpr int COLUMNS = RANK > 0 ? RANK : 1;
    Complex z[MODES], g[MODES], c[MODES], p[MODES][COLUMNS], hrp[MODES][COLUMNS];
    Real m[COLUMNS][COLUMNS], skip;
};

__device__ inline sq_c64 c64(double2 x)
{
    return sq_c64_of(x.x, x.y);
}
__device__ inline sq_c64 c64(sq_c64 x)
{
    return x;
}
/* a + x b */
__device__ inline sq_c64 add_scaled(sq_c64 a, double x, sq_c64 b)
{
    return sq_c64_of(a.re + x * b.re, a.im + x * b.im);
}
/* Re(conj(a) b) */
__device__ inline double inner(sq_c64 a, sq_c64 b)
{
    return a.re * b.re + a.im * b.im;
}

/* Gradients of a mode, and what it adds to those of ln dt. */
struct mode_gradient {
    sq_c64 a, b, p[MAX_RANK];
    double log_dt;
};

/* From the sums of mode i to its parameters; gram's own share of ln dt is not in it. */
template <typename Complex, int MODES, int RANK>
__device__ mode_gradient mode_back(const step_sums<double, Complex, MODES, RANK> &sums, int i,
                                   const exact_mode &m, int rule, double dt)
{
    const double h = dt / 2;
    mode_gradient out = {};
    sq_ssm_mode by_step;
    by_step.z = c64(sums.z[i]);
    by_step.f = sq_c64_conj_mul(m.b, c64(sums.g[i]));
    out.b = sq_c64_conj_mul(m.step.f, c64(sums.g[i]));
    sq_ssm_discretise_back(rule, dt, m.a, by_step, &out.a, &out.log_dt);
    if constexpr (RANK > 0) {
        sq_c64 dr = sq_c64_of(0, 0);
        double dh = 0;
        for (int k = 0; k < RANK; k++) {
            const sq_c64 hrp = c64(sums.hrp[i][k]);
            out.p[k] = sq_c64_add(c64(sums.p[i][k]), sq_c64_scale(sq_c64_conj_mul(m.r, hrp), h));
            dr = add_scaled(dr, h, sq_c64_conj_mul(m.p[k], hrp));
            dh += inner(sq_c64_mul(m.r, m.p[k]), hrp);
        }
        for (int j = 0; j < RANK; j++)
            for (int k = 0; k < RANK; k++) {
                const double gram = 2 * h * sums.m[j][k];
                out.p[k] = add_scaled(out.p[k], gram, sq_c64_conj_mul(m.r, m.p[j]));
                out.p[j] = add_scaled(out.p[j], gram, sq_c64_mul(m.r, m.p[k]));
                dr = add_scaled(dr, gram, sq_c64_conj_mul(m.p[k], m.p[j]));
                /* M = 1 + h gram: the modes' shares of gram add up to it. */
                dh += sums.m[j][k] * sq_s4_scan_dot(m.p[j], sq_c64_mul(m.r, m.p[k]));
            }
        const sq_c64 rr = sq_c64_mul(m.r, m.r);
        out.a = add_scaled(out.a, h, sq_c64_conj_mul(rr, dr));
        out.log_dt += h * (dh + inner(sq_c64_mul(rr, m.a), dr));
    }
    return out;
}

/* Mode n of the row, whose sums are number i, to the workspace but for ln dt, whose share is returned.
 * rank: at most RANK, and the sums of what is beyond are 0. */
template <typename Complex, int MODES, int RANK>
__device__ double put_mode(const backward_args &p, int64_t row, int n, int rank,
                           const step_sums<double, Complex, MODES, RANK> &sums, int i)
{
    double *channel = p.channel_rows + row * p.row.channel;
    double *space = p.space_rows + row * p.row.space;
    const int64_t d = row % p.q.channels;
    const int count = p.q.count;
    const double dt = exp((double)p.q.in.log_dt[d * p.q.in.log_dt_stride]);
    const exact_mode m(p.q, dt, d % p.q.copies, n, rank);
    const mode_gradient of = mode_back(sums, i, m, p.q.rule, dt);
    channel[2 + n] = c64(sums.c[i]).re;
    channel[2 + count + n] = c64(sums.c[i]).im;
    space[n] = sq_ssm_d_a_real(m.a, of.a);
    space[count + n] = sq_ssm_d_a_imag(p.q.sign, of.a);
    space[2 * count + n] = of.b.re;
    space[3 * count + n] = of.b.im;
    for (int k = 0; k < rank; k++) {
        space[(4 + 2 * k) * count + n] = of.p[k].re;
        space[(5 + 2 * k) * count + n] = of.p[k].im;
    }
    return of.log_dt;
}

/* The warp's row of the workspace. */
template <int MODES, int RANK>
__device__ void put_row(const backward_args &p, int64_t row,
                        const step_sums<double, double2, MODES, RANK> &sums)
{
    double *channel = p.channel_rows + row * p.row.channel;
    double log_dt = 0;
#pragma unroll
    for (int i = 0; i < MODES; i++) {
        const int n = lane_modes<MODES, RANK>::index(i);
        if (n < p.q.count)
            log_dt += put_mode(p, row, n, RANK, sums, i);
    }
    log_dt = warp_sum_f64(log_dt);
    if (threadIdx.x % 32 == 0) {
        channel[0] = log_dt;
        channel[1] = sums.skip;
    }
}

/* --- sums of rows --- */

/* parts[part][copy][e]: element e of the rows (b, d) of the channels d = copy mod `copies`, those
 * that the part has. Grid: (tiles of 32 elements of all copies, parts); a block is 32 by SUM_ROWS.
 */
static __global__ void __launch_bounds__(32 * SUM_ROWS)
    sum_rows(const double *rows, int elements, int64_t batch, int64_t channels, int64_t copies,
             double *parts)
{
    __shared__ double room[SUM_ROWS][32];
    const int tiles = (elements + 31) / 32, x = threadIdx.x % 32, y = threadIdx.x / 32;
    const int64_t copy = blockIdx.x / tiles, turns = channels / copies, all = batch * turns;
    const int e = (int)(blockIdx.x % tiles) * 32 + x;
    const int64_t of_part = (all + gridDim.y - 1) / gridDim.y, first = blockIdx.y * of_part;
    const int64_t end = min(all, first + of_part);
    double sum = 0;
    for (int64_t i = first + y; i < end && e < elements; i += SUM_ROWS) {
        const int64_t d = copy + copies * (i % turns);
        sum += rows[(i / turns * channels + d) * elements + e];
    }
    room[y][x] = sum;
    __syncthreads();
    if (y > 0 || e >= elements)
        return;
    for (int i = 1; i < SUM_ROWS; i++)
        sum += room[i][x];
    parts[(blockIdx.y * copies + copy) * elements + e] = sum;
}

/* Element i of (copies, elements), its parts added. */
__device__ inline float sum_parts(const double *parts, int count, int64_t all, int64_t i)
{
    double sum = 0;
    for (int part = 0; part < count; part++)
        sum += parts[part * all + i];
    return (float)sum;
}

static __global__ void __launch_bounds__(256) put_channels(backward_args p)
{
    const int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x, all = p.q.channels * p.row.channel;
    if (i >= all)
        return;
    const float value = sum_parts(p.channel_parts, p.channel_count, all, i);
    const int64_t d = i / p.row.channel;
    const int e = (int)(i % p.row.channel), n = (e - 2) % p.q.count;
    if (e == 0)
        p.out.log_dt[d * p.out.log_dt_stride] = value;
    else if (e == 1)
        p.out.skip[d * p.out.skip_stride] = value;
    else
        p.out.c_at(d, n)[(e - 2) / p.q.count] = value;
}

static __global__ void __launch_bounds__(256) put_spaces(backward_args p)
{
    const int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x, all = p.q.copies * p.row.space;
    if (i >= all)
        return;
    const float value = sum_parts(p.space_parts, p.space_count, all, i);
    const int64_t s = i / p.row.space;
    const int e = (int)(i % p.row.space), n = e % p.q.count, kind = e / p.q.count;
    if (kind == 0)
        p.out.a_real[s * p.out.a_real_stride + n] = value;
    else if (kind == 1)
        p.out.a_imag[s * p.out.a_imag_stride + n] = value;
    else if (kind < 4)
        p.out.b_at(s, n)[kind - 2] = value;
    else
        p.out.p_at((kind - 4) / 2, s, n)[kind % 2] = value;
}

/* --- host --- */

/* All but the workspace's. */
inline backward_args backward_tensors_of(const sq_call *call)
{
    const sq_tensor *in = call->in, *out = call->out;
    backward_args args = {};
    args.q = parameters_of(call);
    args.u = tokens_of(&in[IN_U]);
    args.dy = tokens_of(&in[IN_DY]);
    args.du = tokens_of(&out[IN_U]);
    args.dfinal = sq_pairs_of(&in[IN_DFINAL]);
    args.dinitial = sq_pairs_of(&out[IN_INITIAL]);
    args.out = space_of(out);
    return args;
}

/* From the parts to the gradients. */
inline sq_status launch_puts(const sq_call *call, const backward_args &args, sq_error *err)
{
    const int64_t channels = args.q.channels * args.row.channel;
    const int64_t spaces = args.q.copies * args.row.space;
    put_channels<<<(unsigned)sq_ceil_div(channels, 256), 256, 0, sq_stream(call)>>>(args);
    SQ_TRY(sq_launched("s4_scan bwd channels", err));
    put_spaces<<<(unsigned)sq_ceil_div(spaces, 256), 256, 0, sq_stream(call)>>>(args);
    return sq_launched("s4_scan bwd state spaces", err);
}

} // namespace sq_s4_scan

#endif
