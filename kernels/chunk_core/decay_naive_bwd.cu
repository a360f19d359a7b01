/* decay_naive_bwd: the gradients of the recurrence as decay_scan_bwd.c writes them, for any shape: a
 * thread for each row, then for each column, of the state, then for each element of what is left.
 *
 * A row of S and of its gradient G needs no other, and gives an element of each dq_t and dk_t; a
 * column gives one of each dz_t and dv_t. States are not kept: a thread has one row or column in the
 * workspace, where S goes up in time and G down again. Sums are f64: a decay's gradient is what is
 * left of a difference of sums over time. The workspace has 2 (K + 1) numbers of each (b, t, h).
 * Rows may have one column more, of ones (sq_decay_ones): its part of dq and dk.
 */
#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/hw/naive.cuh"

/* What goes through the workspace, f64. line: a row or column of a thread, (B, H, V + 1, K), the last
 * of ones, or (B, H, K, V), so that neighbours lie side by side. d_q: q's gradient of a head; g_v:
 * G_t v_t; (B, L, H, K) both. d_log: of ln a_t; d_weight: of w_t, then of ssd's raw step; (B, L, H).
 * d_end: <d_final, S_{L-1}> by row, (B, H, K). d_a, d_bias: (B, H); d_skip: (B, H, V); of a sequence. */
typedef struct {
    double *line, *d_q, *g_v, *d_log, *d_weight, *d_end, *d_a, *d_bias, *d_skip;
} sq_decay_naive_parts;

/* Cuts the parts out of memory (NULL: none); returns the bytes they take. */
static size_t sq_decay_naive_lay_out(const sq_decay_params &p, double *memory,
                                     sq_decay_naive_parts *out)
{
    const int64_t heads = (int64_t)p.batch * p.heads, steps = heads * p.length;
    struct {
        double **at;
        int64_t count;
    } const parts[] = {{&out->line, heads * p.keys * (p.values + 1)},
                       {&out->d_q, steps * p.keys},
                       {&out->g_v, steps * p.keys},
                       {&out->d_log, steps},
                       {&out->d_weight, steps},
                       {&out->d_end, heads * p.keys},
                       {&out->d_a, heads},
                       {&out->d_bias, heads},
                       {&out->d_skip, heads * p.values}};
    int64_t sum = 0;
    for (const auto &part : parts) {
        *part.at = memory ? memory + sum : NULL;
        sum += part.count;
    }
    return (size_t)sum * sizeof(double);
}

/* The decay of a step, of all rows of the state but where they have their own; 0 where a document
 * starts. */
typedef struct {
    double decay;
    float weight;
    bool is_start;
} sq_decay_naive_gate;

template <typename T>
struct sq_decay_naive_call {
    sq_decay_params p;
    sq_decay_grads g;
    sq_decay_naive_parts w;

    __device__ int columns() const { return p.values + (g.ones.d_o ? 1 : 0); } /* of a row */
    __device__ int64_t head_at(int b, int h) const { return (int64_t)b * p.heads + h; }
    __device__ int64_t step_at(int b, int64_t t, int h) const
    {
        return (b * (int64_t)p.length + t) * p.heads + h;
    }
    __device__ float load(const sq_decay_tensor &x, int b, int64_t t, int h, int i) const
    {
        return sq_to_f32(sq_decay_at<T>(x, b, t, h)[i]);
    }
    __device__ void store(const sq_decay_tensor &x, int b, int64_t t, int h, int i, double v) const
    {
        ((T *)sq_decay_at<T>(x, b, t, h))[i] = sq_from_f32<T>((float)v);
    }
    __device__ float q(int b, int64_t t, int h, int n) const
    {
        return load(p.q, b, t, h / p.heads_per_group, n);
    }
    __device__ float k(int b, int64_t t, int h, int n) const
    {
        return load(p.k, b, t, h / p.heads_per_group, n);
    }
    __device__ float v(int b, int64_t t, int h, int i) const
    {
        return i < p.values ? load(p.v, b, t, h, i) : 1.0f;
    }
    /* do_t silu(z_t) */
    __device__ float d_o(int b, int64_t t, int h, int i) const
    {
        return i < p.values ? sq_decay_gated<T>(p, b, t, h, i, load(g.d_o, b, t, h, i))
                            : g.ones.d_o[head_at(b, h) * p.length + t];
    }
    /* scale r_t of what dq and dk are made of. */
    __device__ float slope(const sq_decay_head &head, int b, int h, int64_t t) const
    {
        return g.ones.slope ? g.ones.slope[head_at(b, h) * p.length + t]
                            : sq_decay_output_scale(p, head, b, h, t);
    }
    /* The column of ones starts from 0. */
    __device__ float state(const sq_decay_matrix &m, int b, int h, int n, int i) const
    {
        return m.data && i < p.values ? sq_decay_row(m, b, h, n)[i] : 0.0f;
    }
    __device__ sq_decay_naive_gate gate(const sq_decay_head &head, int b, int64_t t, int h) const
    {
        const sq_decay_step step = sq_decay_gate(p, head, sq_decay_dt<T>(p, b, t, h));
        const bool is_start = sq_decay_starts(p, b, t);
        return {is_start ? 0 : sq_decay_factor(p, head, step), step.weight, is_start};
    }
    __device__ double decay(const sq_decay_naive_gate &gate, int b, int64_t t, int h, int n) const
    {
        return p.kind == SQ_DECAY_ROWS && !gate.is_start ? expf(load(p.dt, b, t, h, n))
                                                         : gate.decay;
    }
    /* Is the gradient of a_t 0 because there is nothing before step t? */
    __device__ bool has_no_past(const sq_decay_naive_gate &gate, int64_t t) const
    {
        return gate.is_start || (t == 0 && !p.initial.data);
    }
};

template <typename F>
static __device__ double sq_decay_naive_sum(int first, int last, F f)
{
    double sum = 0;
    for (int i = first; i < last; i++)
        sum += f(i);
    return sum;
}

/* line = decay line + x in, element by element; returns line . out. */
template <typename DECAY, typename IN, typename OUT>
static __device__ double sq_decay_naive_step(double *line, int64_t stride, int count, DECAY decay,
                                             double x, IN in, OUT out)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        const double value = decay(i) * line[i * stride] + x * in(i);
        line[i * stride] = value;
        sum += value * out(i);
    }
    return sum;
}

/* Row n: dq and G v of each step and, where decays are by row, their gradients. */
template <typename T>
struct sq_decay_naive_row {
    sq_decay_naive_call<T> c;

    __device__ void go_up(const sq_decay_head &head, double *line, int b, int h, int n) const
    {
        const sq_decay_params &p = c.p;
        for (int i = 0; i < c.columns(); i++)
            line[(int64_t)i * p.keys] = c.state(p.initial, b, h, n, i);
        for (int64_t t = 0; t < p.length; t++) {
            const sq_decay_naive_gate gate = c.gate(head, b, t, h);
            const double decay = c.decay(gate, b, t, h, n);
            const double sum = sq_decay_naive_step(
                line, p.keys, c.columns(), [&](int) { return decay; },
                (double)gate.weight * c.k(b, t, h, n), [&](int i) { return c.v(b, t, h, i); },
                [&](int i) { return c.d_o(b, t, h, i); });
            c.w.d_q[c.step_at(b, t, h) * p.keys + n] = c.slope(head, b, h, t) * sum;
        }
    }
    /* G_L in the place of S_{L-1}; returns their product. */
    __device__ double turn(double *line, int b, int h, int n) const
    {
        return sq_decay_naive_sum(0, c.columns(), [&](int i) {
            double *at = line + (int64_t)i * c.p.keys;
            const double last = c.state(c.g.d_final, b, h, n, i), product = last * *at;
            *at = last;
            return product;
        });
    }
    __device__ void operator()(int64_t index) const
    {
        const sq_decay_params &p = c.p;
        const int n = (int)(index % p.keys), h = (int)(index / p.keys % p.heads);
        const int b = (int)(index / p.keys / p.heads);
        const sq_decay_head head = sq_decay_load_head(p, h);
        double *line = c.w.line + c.head_at(b, h) * (p.values + 1) * p.keys + n;
        go_up(head, line, b, h, n);
        double d_log = turn(line, b, h, n), decay = 1;
        c.w.d_end[index] = d_log;
        for (int64_t t = p.length - 1; t >= 0; t--) {
            const sq_decay_naive_gate gate = c.gate(head, b, t, h);
            const int64_t at = c.step_at(b, t, h) * p.keys + n;
            const double sum = sq_decay_naive_step(
                line, p.keys, c.columns(), [&](int) { return decay; },
                (double)c.slope(head, b, h, t) * c.q(b, t, h, n),
                [&](int i) { return c.d_o(b, t, h, i); }, [&](int i) { return c.v(b, t, h, i); });
            c.w.g_v[at] = sum;
            d_log += c.q(b, t, h, n) * c.w.d_q[at] - gate.weight * c.k(b, t, h, n) * sum;
            d_log = c.has_no_past(gate, t) ? 0 : d_log;
            if (p.kind == SQ_DECAY_ROWS)
                c.store(c.g.d_dt, b, t, h, n, d_log);
            decay = c.decay(gate, b, t, h, n);
        }
        for (int i = 0; c.g.d_initial.data && i < p.values; i++)
            sq_decay_row(c.g.d_initial, b, h, n)[i] = (float)(decay * line[(int64_t)i * p.keys]);
    }
};

/* Column i: dz and dv of each step, and what the sequence adds to the gradient of the skip. */
template <typename T>
struct sq_decay_naive_column {
    sq_decay_naive_call<T> c;

    __device__ void go_up(const sq_decay_head &head, double *line, int b, int h, int i) const
    {
        const sq_decay_params &p = c.p;
        for (int n = 0; n < p.keys; n++)
            line[(int64_t)n * p.values] = c.state(p.initial, b, h, n, i);
        for (int64_t t = 0; t < p.length; t++) {
            const sq_decay_naive_gate gate = c.gate(head, b, t, h);
            const float v = c.v(b, t, h, i), z = c.load(p.z, b, t, h, i);
            const double sum = sq_decay_naive_step(
                line, p.values, p.keys, [&](int n) { return c.decay(gate, b, t, h, n); },
                (double)gate.weight * v, [&](int n) { return c.k(b, t, h, n); },
                [&](int n) { return c.q(b, t, h, n); });
            const double y =
                sq_decay_output_scale(p, head, b, h, t) * sum + sq_decay_skip(p, h, i) * v;
            const float s = 1.0f / (1.0f + expf(-z));
            c.store(c.g.d_z, b, t, h, i,
                    y * s * (1.0f + z * (1.0f - s)) * c.load(c.g.d_o, b, t, h, i));
        }
    }
    __device__ void operator()(int64_t index) const
    {
        const sq_decay_params &p = c.p;
        const int i = (int)(index % p.values), h = (int)(index / p.values % p.heads);
        const int b = (int)(index / p.values / p.heads);
        const sq_decay_head head = sq_decay_load_head(p, h);
        double *line = c.w.line + c.head_at(b, h) * p.values * p.keys + i;
        if (p.z.data)
            go_up(head, line, b, h, i);
        for (int n = 0; n < p.keys; n++)
            line[(int64_t)n * p.values] = c.state(c.g.d_final, b, h, n, i);
        double d_skip = 0;
        sq_decay_naive_gate after = {1, 0.0f, true}; /* as where a document starts: of all rows */
        for (int64_t t = p.length - 1; t >= 0; t--) {
            const sq_decay_naive_gate gate = c.gate(head, b, t, h);
            const float d_o = c.d_o(b, t, h, i);
            const double sum = sq_decay_naive_step(
                line, p.values, p.keys, [&](int n) { return c.decay(after, b, t + 1, h, n); },
                (double)sq_decay_output_scale(p, head, b, h, t) * d_o,
                [&](int n) { return c.q(b, t, h, n); }, [&](int n) { return c.k(b, t, h, n); });
            c.store(c.g.d_v, b, t, h, i, gate.weight * sum + sq_decay_skip(p, h, i) * d_o);
            d_skip += (double)d_o * c.v(b, t, h, i);
            after = gate;
        }
        c.w.d_skip[index] = d_skip;
    }
};

/* Key n of a group: the sums over its heads. */
template <typename T>
struct sq_decay_naive_key {
    sq_decay_naive_call<T> c;

    __device__ void operator()(int64_t index) const
    {
        const sq_decay_params &p = c.p;
        const int groups = p.heads / p.heads_per_group;
        const int n = (int)(index % p.keys), group = (int)(index / p.keys % groups);
        const int64_t t = index / p.keys / groups % p.length;
        const int b = (int)(index / p.keys / groups / p.length);
        const int first = group * p.heads_per_group, last = first + p.heads_per_group;
        c.store(c.g.d_q, b, t, group, n, sq_decay_naive_sum(first, last, [&](int h) {
                    return c.w.d_q[c.step_at(b, t, h) * p.keys + n];
                }));
        c.store(c.g.d_k, b, t, group, n, sq_decay_naive_sum(first, last, [&](int h) {
                    return c.gate(sq_decay_load_head(p, h), b, t, h).weight *
                           c.w.g_v[c.step_at(b, t, h) * p.keys + n];
                }));
    }
};

/* A step of a head: dw_t, and by what d(ln a) grows from the step after it. */
template <typename T>
struct sq_decay_naive_dots {
    sq_decay_naive_call<T> c;

    __device__ void operator()(int64_t index) const
    {
        const sq_decay_params &p = c.p;
        const int h = (int)(index % p.heads), b = (int)(index / p.heads / p.length);
        const int64_t t = index / p.heads % p.length;
        const double of_q = sq_decay_naive_sum(
            0, p.keys, [&](int n) { return c.q(b, t, h, n) * c.w.d_q[index * p.keys + n]; });
        const double of_k = sq_decay_naive_sum(
            0, p.keys, [&](int n) { return c.k(b, t, h, n) * c.w.g_v[index * p.keys + n]; });
        c.w.d_weight[index] = of_k;
        c.w.d_log[index] = of_q - c.gate(sq_decay_load_head(p, h), b, t, h).weight * of_k;
    }
};

/* The gates of a head of a sequence, and what they add to the gradients of A and dt_bias. */
template <typename T>
struct sq_decay_naive_gates {
    sq_decay_naive_call<T> c;

    __device__ void operator()(int64_t index) const
    {
        const sq_decay_params &p = c.p;
        const int h = (int)(index % p.heads), b = (int)(index / p.heads);
        const sq_decay_head head = sq_decay_load_head(p, h);
        double d_a = 0, d_bias = 0, d_log = sq_decay_naive_sum(0, p.keys, [&](int n) {
                                        return c.w.d_end[index * p.keys + n];
                                    });
        for (int64_t t = p.length - 1; t >= 0; t--) {
            const sq_decay_naive_gate gate = c.gate(head, b, t, h);
            const int64_t at = c.step_at(b, t, h);
            d_log = c.has_no_past(gate, t) ? 0 : d_log + c.w.d_log[at];
            double d_dt = d_log;
            if (p.kind == SQ_DECAY_STEP) {
                d_dt = (c.w.d_weight[at] + p.a[h] * d_log) *
                       sq_decay_slope(p, sq_decay_dt<T>(p, b, t, h) + head.bias);
                d_a += gate.weight * d_log;
                d_bias += d_dt;
            }
            c.store(c.g.d_dt, b, t, h, 0, d_dt);
        }
        c.w.d_a[index] = d_a;
        c.w.d_bias[index] = d_bias;
    }
};

/* What all sequences share: head h. */
template <typename T>
struct sq_decay_naive_head {
    sq_decay_naive_call<T> c;

    __device__ double over_batch(const double *x, int64_t h, int count = 1, int i = 0) const
    {
        return sq_decay_naive_sum(0, c.p.batch,
                                  [&](int b) { return x[c.head_at(b, (int)h) * count + i]; });
    }
    __device__ void operator()(int64_t h) const
    {
        const sq_decay_params &p = c.p;
        c.g.d_a[h] = (float)over_batch(c.w.d_a, h);
        if (c.g.d_bias)
            c.g.d_bias[h] = (float)over_batch(c.w.d_bias, h);
        if (!c.g.d_skip)
            return;
        const double d_skip = sq_decay_naive_sum(0, p.values, [&](int i) {
            const double of_column = over_batch(c.w.d_skip, h, p.values, i);
            if (c.g.d_skip_column != 0)
                c.g.d_skip[h * c.g.d_skip_head + i * c.g.d_skip_column] = (float)of_column;
            return of_column;
        });
        if (c.g.d_skip_column == 0)
            c.g.d_skip[h * c.g.d_skip_head] = (float)d_skip;
    }
};

size_t sq_decay_naive_workspace(const sq_call *call, const sq_decay_params &p)
{
    sq_decay_naive_parts parts;
    return call->pass == SQ_PASS_BWD ? sq_decay_naive_lay_out(p, NULL, &parts) : 0;
}

sq_status sq_decay_naive_backward(const sq_call *call, const sq_decay_params &p,
                                  const sq_decay_grads &grads, sq_error *err)
{
    const int64_t heads = (int64_t)p.batch * p.heads, steps = heads * p.length;
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        sq_decay_naive_call<T> c = {p, grads, {}};
        sq_decay_naive_lay_out(p, (double *)call->workspace, &c.w);
        SQ_TRY(sq_naive_run(call, sq_decay_naive_row<T>{c}, heads * p.keys, err));
        SQ_TRY(sq_naive_run(call, sq_decay_naive_column<T>{c}, heads * p.values, err));
        SQ_TRY(
            sq_naive_run(call, sq_decay_naive_key<T>{c}, steps / p.heads_per_group * p.keys, err));
        if (p.kind != SQ_DECAY_STEP && p.kind != SQ_DECAY_LOG)
            return SQ_OK;
        SQ_TRY(sq_naive_run(call, sq_decay_naive_dots<T>{c}, steps, err));
        SQ_TRY(sq_naive_run(call, sq_decay_naive_gates<T>{c}, heads, err));
        return p.kind == SQ_DECAY_LOG ? SQ_OK
                                      : sq_naive_run(call, sq_decay_naive_head<T>{c}, p.heads, err);
    });
}
