/* naive_bwd: pass bwd of s4_scan's cuda/naive: a thread for each channel of a sequence, which goes up
 * in time, keeping its states, and down again, keeping the states' gradients and what couples the
 * modes, then one for each mode, which sums over time, all in f64; then one for each gradient of a
 * parameter. The formulas are those of backward.cuh. What is kept is f32 but for the couplings: N
 * numbers of each (b, t, d) for states and as many for their gradients, 4 R of f64. Included by
 * s4_scan.cu alone.
 */
#ifndef SQ_KERNELS_S4_SCAN_NAIVE_BWD_CUH
#define SQ_KERNELS_S4_SCAN_NAIVE_BWD_CUH

#include "kernels/s4_scan/naive.cuh"
#include "kernels/s4_scan/parameter_sums.cuh"

namespace sq_s4_scan
{

/* k = p* x and s of a step, the gradient of k, and dq = M^-T ds. */
struct naive_coupling {
    double k[MAX_RANK], s[MAX_RANK], dk[MAX_RANK], dq[MAX_RANK];
};

/* states: x before each step; slopes: the gradient of x after it, by y too; (L, B, D, N/2) both.
 * couplings: (L, B, D), NULL where R = 0. log_dt: (B, D, N/2), of each mode. */
struct naive_back {
    naive_scan s;
    backward_args p;
    float2 *states, *slopes;
    naive_coupling *couplings;
    double *log_dt;

    __device__ int64_t at(int64_t t, int64_t row) const
    {
        return t * s.q.batch * s.q.channels + row;
    }
};

__device__ inline sq_c64 c64(float2 x)
{
    return sq_c64_of(x.x, x.y);
}

struct naive_row_back {
    naive_back back;

    __device__ void go_up(const naive_channel &own, int64_t row, sq_c64 *x) const
    {
        const naive_scan &s = back.s;
        for (int64_t t = 0; t < s.q.length; t++) {
            for (int n = 0; n < own.count; n++)
                back.states[back.at(t, row) * own.count + n] = to_f32(x[n]);
            own.step(s.u.load(row / s.q.channels, t, row % s.q.channels), x);
        }
    }
    /* dx: the gradient of the state after step t but for that by y_t, then of the one before it.
     * Returns du without the skip. */
    __device__ double step_back(const naive_channel &own, int64_t t, int64_t row, double u,
                                double dy, sq_c64 *dx) const
    {
        const int64_t at = back.at(t, row), d = row % back.s.q.channels;
        const float2 *x = back.states + at * own.count;
        naive_coupling c = {};
        double ds[MAX_RANK] = {}, du = 0;
        own.couple([&](int n) { return c64(x[n]); }, u, c.k, c.s);
        for (int n = 0; n < own.count; n++) {
            dx[n] = add_scaled(dx[n], 2 * dy, sq_c64_conj(pair(back.s.q.in.c_at(d, n))));
            back.slopes[at * own.count + n] = to_f32(dx[n]);
            for (int k = 0; k < own.rank; k++)
                ds[k] -= inner(own.hrp(n, k), dx[n]);
        }
        for (int i = 0; i < own.rank; i++)
            for (int k = 0; k < own.rank; k++)
                c.dq[i] += own.inverse.at[k][i] * ds[k];
        for (int n = 0; n < own.count; n++) {
            for (int k = 0; k < own.rank; k++)
                dx[n] = add_scaled(dx[n], 2 * c.dq[k], own.mode[n].p[k]);
            for (int k = 0; k < own.rank; k++)
                c.dk[k] -= inner(own.hrp(n, k), dx[n]);
            du += inner(own.gain(n), dx[n]);
        }
        for (int n = 0; n < own.count; n++) {
            dx[n] = sq_c64_conj_mul(own.mode[n].step.z, dx[n]);
            for (int k = 0; k < own.rank; k++)
                dx[n] = add_scaled(dx[n], 2 * c.dk[k], own.mode[n].p[k]);
        }
        if (own.rank > 0)
            back.couplings[at] = c;
        return du;
    }
    __device__ void operator()(int64_t row) const
    {
        const naive_scan &s = back.s;
        const int64_t batch = row / s.q.channels, d = row % s.q.channels;
        const naive_channel own(s, d);
        const double skip = s.q.in.skip[d * s.q.in.skip_stride];
        sq_c64 x[NAIVE_MODES];
        for (int n = 0; n < own.count; n++)
            x[n] = s.state(s.q.initial, batch, d, n);
        go_up(own, row, x);
        for (int n = 0; n < own.count; n++)
            x[n] = s.state(back.p.dfinal, batch, d, n);
        for (int64_t t = s.q.length - 1; t >= 0; t--) {
            const double u = s.u.load(batch, t, d), dy = back.p.dy.load(batch, t, d);
            const double du = step_back(own, t, row, u, dy, x);
            back.p.du.store(batch, t, d, (float)(du + skip * dy));
        }
        s.put_states(back.p.dinitial, batch, d, x);
    }
};

/* Mode n of a channel of a sequence: its sums over steps, and from them to its parameters. */
struct naive_mode_back {
    naive_back back;
    using sums_type = step_sums<double, sq_c64, 1, MAX_RANK>;

    __device__ void add_step(const naive_channel &own, int n, const naive_coupling &c, sq_c64 x,
                             sq_c64 dx, double u, double dy, sums_type *to) const
    {
        const sq_c64 w = own.w(n, x, u, c.k), after = own.corrected(n, w, c.s);
        sq_c64 dw = dx;
        for (int k = 0; k < own.rank; k++)
            dw = add_scaled(dw, 2 * c.dq[k], own.mode[n].p[k]);
        to->z[0] = sq_c64_add(to->z[0], sq_c64_conj_mul(x, dw));
        to->g[0] = add_scaled(to->g[0], u, dw);
        to->c[0] = add_scaled(to->c[0], 2 * dy, sq_c64_conj(after));
        to->skip += dy * u;
        for (int k = 0; k < own.rank; k++) {
            sq_c64 *p = &to->p[0][k], *hrp = &to->hrp[0][k];
            *p = add_scaled(add_scaled(*p, 2 * c.dq[k], w), 2 * c.dk[k], x);
            *hrp = add_scaled(add_scaled(*hrp, -c.s[k], dx), -c.k[k], dw);
            for (int j = 0; j < own.rank; j++)
                to->m[k][j] -= c.dq[k] * c.s[j];
        }
    }
    __device__ void operator()(int64_t i) const
    {
        const naive_scan &s = back.s;
        const int n = (int)(i % s.q.count);
        const int64_t row = i / s.q.count, batch = row / s.q.channels, d = row % s.q.channels;
        const naive_channel own(s, d);
        sums_type sums = {};
        for (int64_t t = 0; t < s.q.length; t++) {
            const int64_t at = back.at(t, row), of_mode = at * own.count + n;
            const naive_coupling c = own.rank > 0 ? back.couplings[at] : naive_coupling{};
            add_step(own, n, c, c64(back.states[of_mode]), c64(back.slopes[of_mode]),
                     s.u.load(batch, t, d), back.p.dy.load(batch, t, d), &sums);
        }
        back.log_dt[i] = put_mode(back.p, row, n, own.rank, sums, 0);
        if (n == 0)
            back.p.channel_rows[row * back.p.row.channel + 1] = sums.skip;
    }
};

/* ln dt of a channel of a sequence. */
struct naive_step_back {
    naive_back back;

    __device__ void operator()(int64_t row) const
    {
        double sum = 0;
        for (int n = 0; n < back.s.q.count; n++)
            sum += back.log_dt[row * back.s.q.count + n];
        back.p.channel_rows[row * back.p.row.channel] = sum;
    }
};

/* --- host --- */

/* Cuts the parts out of memory (NULL: none), each of whole doubles; returns the bytes they take. */
inline size_t naive_back_place(const sq_call *call, double *memory, naive_back *back)
{
    const int64_t *dim = call->in[IN_U].dim, rows = dim[0] * dim[2];
    const int64_t count = call->in[IN_C].dim[1], coupled = call->axis[AXIS_R] > 0 ? dim[1] : 0;
    int64_t sum = 0;
    const auto take = [&](int64_t elements, size_t size) {
        double *at = memory ? memory + sum : NULL;
        sum += elements * (int64_t)(size / sizeof(double));
        return at;
    };
    back->p.row = row_layout_of(call);
    back->s.modes = (exact_mode *)take(dim[2] * count, sizeof(exact_mode));
    back->states = (float2 *)take(dim[1] * rows * count, sizeof(float2));
    back->slopes = (float2 *)take(dim[1] * rows * count, sizeof(float2));
    back->couplings = (naive_coupling *)take(coupled * rows, sizeof(naive_coupling));
    back->log_dt = take(rows * count, sizeof(double));
    back->p.channel_rows = take(rows * back->p.row.channel, sizeof(double));
    back->p.space_rows = take(rows * back->p.row.space, sizeof(double));
    return (size_t)sum * sizeof(double);
}

inline size_t naive_workspace(const sq_call *call)
{
    naive_back back = {};
    return call->pass == SQ_PASS_BWD ? naive_back_place(call, NULL, &back)
                                     : naive_forward_workspace(call);
}

/* The rows are parts as they are: those of a sequence one part of all channels, those of as many
 * channels as there are state spaces one of all spaces. */
inline sq_status naive_backward(const sq_call *call, sq_error *err)
{
    naive_back back = {};
    back.p = backward_tensors_of(call);
    naive_back_place(call, (double *)call->workspace, &back);
    SQ_TRY(naive_scan_of(call, back.s.modes, &back.s, err));
    const int64_t rows = back.s.q.batch * back.s.q.channels;
    back.p.channel_parts = back.p.channel_rows;
    back.p.channel_count = (int)back.s.q.batch;
    back.p.space_parts = back.p.space_rows;
    back.p.space_count = (int)(rows / back.s.q.copies);
    SQ_TRY(sq_naive_run(call, naive_row_back{back}, rows, err));
    SQ_TRY(sq_naive_run(call, naive_mode_back{back}, rows * back.s.q.count, err));
    SQ_TRY(sq_naive_run(call, naive_step_back{back}, rows, err));
    return launch_puts(call, back.p, err);
}

inline sq_status naive_launch(const sq_call *call, void *, sq_error *err)
{
    return call->pass == SQ_PASS_BWD ? naive_backward(call, err) : naive_forward(call, err);
}

} // namespace sq_s4_scan

#endif
