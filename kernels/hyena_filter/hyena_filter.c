/* hyena_filter: Hyena's implicit filter, a small network of the position under a window.
 *
 *   a_0 = sin(freq (w0 z_t + b0))        a_i = sin(freq (w_i a_{i-1} + b_i)),  i <= inner
 *   h_{b,d,t} = (out_{bd} . a_inner) (e^(-t_t |delta_bd|) + shift)
 *
 * z: features of the position (time, and cosines and sines of it); t: the position from 0 to 1.
 *
 * Source    Poli et al.: Hyena Hierarchy (2302.10866), section 3.3 and equation 7; the authors'
 *           program for the one frequency vector that all layers share and for the window
 * Symbols   B: filters of a channel (order - 1);  L: taps of a filter;  D: channels;  E: features;
 *           F: width of the network
 * in[0]     z  (L, E)         f32           in[1]   t  (L)              f32
 * in[2]     freq  (F)         f32           in[3]   w0  (F, E)          f32
 * in[4]     b0  (F)           f32           in[5]   w1  (F, F)          f32, if inner > 0
 * in[6]     b1  (F)           f32, same     in[7]   w2  (F, F)          f32, if inner > 1
 * in[8]     b2  (F)           f32, same     in[9]   out  (B, D, F)      f32
 * in[10]    delta  (B, D)     f32
 * out[0]    h  (B, D, L)      f32           accumulates in f32 (reference: f64)
 * Needs     inner <= 2
 * Errors    SQ_UNSUPPORTED for pass step; SQ_OUT_OF_MEMORY (reference)
 * Cost      L (2 E F + 2 inner F^2 + 2 F (1 + inner)) for the network and B D L (2 F + 2) for its
 *           output (shift: one more); L F (1 + inner) sines and B D L exponentials; reads its inputs
 *           and writes h once. bwd: each product twice more, and the network once again, see cost()
 */
#include "kernels/hyena_filter/hyena_filter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shared/channels.h"
#include "kernels/shared/rows.h"

static const sq_axis axes[] = {
    {"B", "batch", "filters of a channel: the order less one", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "taps of a filter", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 2048, 1, 1 << 18, NULL},
    {"E", "features", "features of a position", SQ_AXIS_INT, 3, 1, 256, NULL},
    {"F", "filter-width", "width of the network", SQ_AXIS_INT, 64, 1, 256, NULL},
    {"inner", "inner", "layers between the first and the last", SQ_AXIS_INT, 2, 0, MOST_LAYERS - 1,
     NULL},
    {"shift", "shift", "added to the window", SQ_AXIS_REAL, 0, -10, 10, NULL},
    {.name = NULL},
};

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    static const char *const weights[] = {"w0", "w1", "w2"}, *const biases[] = {"b0", "b1", "b2"};
    (void)dtype;
    if (pass != SQ_PASS_FWD)
        return sq_fail(err, SQ_UNSUPPORTED, "hyena_filter has no pass %s", sq_pass_name(pass));
    const int64_t b = sq_axis_int(axis, AXIS_B), l = sq_axis_int(axis, AXIS_L);
    const int64_t d = sq_axis_int(axis, AXIS_D), e = sq_axis_int(axis, AXIS_E);
    const int64_t f = sq_axis_int(axis, AXIS_F);
    const sq_draw feature = {SQ_DRAW_UNIFORM, -1.0f, 1.0f, 0};
    const sq_draw time = {SQ_DRAW_RAMP, 0.0f, (float)(1 / (double)l), l};
    const sq_draw delta = {SQ_DRAW_UNIFORM, -15.35f, -3.07f, 0};
    const sq_draw frequency = {SQ_DRAW_NORMAL, 1.0f, 0.2f, 0}, bias = {SQ_DRAW_NORMAL, 0, 0.5f, 0};
    const sq_draw weight = {SQ_DRAW_NORMAL, 0.0f, (float)(1 / sqrt((double)f)), 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_Z] = (sq_tensor_spec){"z", SQ_DTYPE_F32, 2, {l, e}, 0, feature};
    list->in[IN_T] = (sq_tensor_spec){"t", SQ_DTYPE_F32, 1, {l}, 0, time};
    list->in[IN_FREQ] = (sq_tensor_spec){"freq", SQ_DTYPE_F32, 1, {f}, -1, frequency};
    for (int i = 0; i <= sq_axis_int(axis, AXIS_INNER); i++) {
        const int64_t from = i == 0 ? e : f;
        list->in[IN_W0 + 2 * i] =
            (sq_tensor_spec){weights[i], SQ_DTYPE_F32, 2, {f, from}, -1, i == 0 ? bias : weight};
        list->in[IN_B0 + 2 * i] = (sq_tensor_spec){biases[i], SQ_DTYPE_F32, 1, {f}, -1, bias};
    }
    list->in[IN_OUT] = (sq_tensor_spec){"out", SQ_DTYPE_F32, 3, {b, d, f}, -1, weight};
    list->in[IN_DELTA] = (sq_tensor_spec){"delta", SQ_DTYPE_F32, 2, {b, d}, -1, delta};
    list->out[0] = (sq_tensor_spec){"h", SQ_DTYPE_F32, 3, {b, d, l}, 2, {0}};
    return SQ_OK;
}

/* A layer's position: the bias, freq; backward the slope, its products with freq and x (2), dbias.
 * A tap: t |delta|, the shift, the window; backward out . a again, dh times the window and times m
 * e^(-t |delta|) (2), that times t and |delta| (2 each). */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)dtype;
    const double l = axis[AXIS_L], e = axis[AXIS_E], f = axis[AXIS_F], inner = axis[AXIS_INNER];
    const double rows = axis[AXIS_B] * axis[AXIS_D], layers = 1 + inner;
    const double products = l * (2 * e * f + 2 * inner * f * f), units = l * f * layers;
    const double shift = axis[AXIS_SHIFT] != 0;
    const double parameters = f * (e + 1 + layers + inner * f) + rows * (f + 1) + l * (e + 1);
    sq_cost c = {.flops = products + 2 * units + rows * l * (2 * f + 2 + shift),
                 .special = units + rows * l,
                 .bytes_read = 4 * parameters,
                 .bytes_written = 4 * rows * l};
    if (pass == SQ_PASS_BWD) {
        c.flops = 3 * products + (2 + 5) * units + rows * l * (6 * f + 8 + shift);
        c.special += units; /* the cosines */
        c.bytes_read += 4 * rows * l;
        c.bytes_written = 4 * parameters;
    }
    return c;
}

/* f32: each layer sums F (the first one E) products, which rounds by 3e-8 sqrt(F) of them, and
 * carries the rounding of the one before through a slope of a few units: 6e-7 sqrt(F) of the row's
 * rms at the end, 1e-6 for sines and the window, and twenty times that at the worst of many taps.
 * bwd: twice as many layers, and sums over up to 2^20 taps of terms of both signs. The same in
 * every dtype: nothing here is of 16 bits. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)dtype;
    const double terms = fmax(axis[AXIS_E], axis[AXIS_F]);
    const double forward = fmin(1e-5, 1e-6 + 6e-7 * sqrt(terms));
    const double relative = pass == SQ_PASS_BWD ? 1e-5 : forward;
    return (sq_tolerance){.rel_l2 = relative, .max_abs = 20 * relative};
}

sq_hyena_network sq_hyena_network_new(const sq_call *call, double *memory)
{
    const int64_t width = call->in[IN_FREQ].dim[0];
    sq_hyena_network net = {.layers = 1 + (int)call->axis[AXIS_INNER]};
    for (int i = 0; i < MOST_LAYERS; i++) {
        net.x[i] = memory + 2 * i * width;
        net.a[i] = net.x[i] + width;
    }
    return net;
}

void sq_hyena_network_run(const sq_call *call, int64_t t, sq_hyena_network *net)
{
    const sq_tensor *z = &call->in[IN_Z];
    for (int i = 0; i < net->layers; i++) {
        const sq_tensor *w = &call->in[IN_W0 + 2 * i], *b = &call->in[IN_B0 + 2 * i];
        for (int64_t f = 0; f < w->dim[0]; f++) {
            double sum = sq_load1(b, f);
            for (int64_t k = 0; k < w->dim[1]; k++) {
                const double in = i > 0 ? net->a[i - 1][k] : sq_load3(z, t, k, 0);
                sum += sq_load3(w, f, k, 0) * in;
            }
            net->x[i][f] = sum;
            net->a[i][f] = sin(sq_load1(&call->in[IN_FREQ], f) * sum);
        }
    }
}

double sq_hyena_decay(const sq_call *call, int64_t b, int64_t d, int64_t t)
{
    return exp(-sq_load1(&call->in[IN_T], t) * fabs(sq_load3(&call->in[IN_DELTA], b, d, 0)));
}

/* All taps of step t. */
static void run_step(const sq_call *call, int64_t t, sq_hyena_network *net)
{
    const sq_tensor *out = &call->in[IN_OUT], *h = &call->out[0];
    const double *a = net->a[net->layers - 1];
    sq_hyena_network_run(call, t, net);
    for (int64_t b = 0; b < h->dim[0]; b++)
        for (int64_t d = 0; d < h->dim[1]; d++) {
            double sum = 0;
            for (int64_t f = 0; f < out->dim[2]; f++)
                sum += sq_load3(out, b, d, f) * a[f];
            sq_store3(h, b, d, t, sum * (sq_hyena_decay(call, b, d, t) + call->axis[AXIS_SHIFT]));
        }
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    const size_t bytes = (size_t)(2 * MOST_LAYERS * call->in[IN_FREQ].dim[0]) * sizeof(double);
    bool is_short = false;
#pragma omp parallel for reduction(|| : is_short)
    for (int64_t t = 0; t < call->out[0].dim[2]; t++) {
        double *memory = malloc(bytes);
        is_short = is_short || !memory;
        if (memory) {
            sq_hyena_network net = sq_hyena_network_new(call, memory);
            run_step(call, t, &net);
        }
        free(memory);
    }
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "hyena_filter: %zu bytes", bytes) : SQ_OK;
}

static double step_work(const sq_axis_value *axis, double rows)
{
    const double f = axis[AXIS_F];
    return 5 * f * (axis[AXIS_E] + axis[AXIS_INNER] * f + 10) + rows * (4 * f + 30);
}

static double reference_work(const sq_axis_value *axis)
{
    return axis[AXIS_L] * step_work(axis, axis[AXIS_B] * axis[AXIS_D]);
}

/* One filter of some neighbouring channels at some neighbouring steps. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const double channels = fmax(1, fmin(axis[AXIS_D], 64));
    const int64_t steps =
        (int64_t)fmax(1, fmin(axis[AXIS_L], pick.max_work / step_work(axis, channels)));
    const int64_t t = sq_pick_start(pick, 2, sq_axis_int(axis, AXIS_L), steps);
    const sq_channel_part part =
        sq_channel_part_pick(whole, pick, (int64_t)channels, 1, sub, what, size);
    sub->axis[AXIS_L] = (double)steps;
    sub->in[IN_Z] = sq_tensor_slice(&whole->in[IN_Z], 0, t, steps);
    sub->in[IN_T] = sq_tensor_slice(&whole->in[IN_T], 0, t, steps);
    sub->out[0] = sq_tensor_slice(&whole->out[0], 2, t, steps);
    sq_tensor *const by_filter[] = {&sub->in[IN_OUT], &sub->in[IN_DELTA], &sub->out[0]};
    for (size_t i = 0; i < sizeof by_filter / sizeof by_filter[0]; i++)
        sq_channel_cut(by_filter[i], 0, 1, part);
    const size_t end = strlen(what);
    snprintf(what + end, size - end, " t=%lld..%lld", (long long)t, (long long)(t + steps));
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=1,L=1,D=1,E=1,F=1,inner=0",
    "B=1,L=37,D=16,F=16",
    "B=2,L=33,D=12,E=5,F=16,shift=0.05",
    "B=3,L=129,D=33,E=33,F=64,inner=1",
    "B=1,L=67,D=70,E=7,F=65,inner=0,shift=-0.3",
    "B=2,L=2049,D=9,F=100",
    NULL,
};

const sq_op sq_op_hyena_filter = {
    .name = "hyena_filter",
    .source = "Poli et al.: Hyena Hierarchy, arXiv 2302.10866, equation 7",
    .doc = "h_t = mlp(z_t) (e^(-t |delta|) + shift), with sin(freq x) between the layers",
    .is_mixer = false,
    .axes = axes,
    .at_width = sq_channels_at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_hyena_filter_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
