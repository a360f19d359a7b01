/* The graph: what it plans, what it refuses, and a block against plain loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/compare.h"
#include "models/graph.h"

static const sq_device host = {.backend = "cpu"};

/* A planned graph of a family at the axes of `text`. */
static sq_graph *build_pass(sq_pass pass, const char *family_name, const char *text, sq_dtype dtype)
{
    const sq_family *family = sq_family_find(family_name);
    assert_non_null(family);
    sq_axis_value axis[SQ_MAX_AXES];
    sq_error err = {.message = ""};
    assert_int_equal(sq_axis_parse_assignments(family->axes, text, axis, &err), SQ_OK);
    assert_int_equal(family->check(axis, &err), SQ_OK);
    sq_graph *graph = sq_graph_new(dtype);
    assert_non_null(graph);
    assert_int_equal(family->build(graph, pass, axis, &err), SQ_OK);
    if (sq_graph_plan(graph, &err) != SQ_OK)
        fail_msg("%s: %s", family_name, err.message);
    return graph;
}

static sq_graph *build(const char *family_name, const char *text, sq_dtype dtype)
{
    return build_pass(SQ_PASS_FWD, family_name, text, dtype);
}

static void draw(sq_graph *graph, char *arena)
{
    for (int i = 0; i < sq_graph_tensor_count(graph); i++) {
        const sq_graph_tensor *t = sq_graph_tensor_at(graph, i);
        sq_tensor whole = sq_tensor_dense(arena + t->offset, t->spec.dtype, t->spec.rank, t->spec.dim);
        if (t->kind == SQ_TENSOR_INPUT || t->kind == SQ_TENSOR_PARAM)
            sq_rng_fill(&whole, 0, t->spec.draw, 7, (uint32_t)i);
        else
            memset(whole.data, 0xff, sq_tensor_bytes(&whole));
    }
}

static sq_tensor tensor_named(const sq_graph *graph, char *arena, const char *name)
{
    for (int i = 0; i < sq_graph_tensor_count(graph); i++) {
        const sq_graph_tensor *t = sq_graph_tensor_at(graph, i);
        if (strcmp(t->name, name) == 0)
            return sq_tensor_dense(arena + t->offset, t->spec.dtype, t->spec.rank, t->spec.dim);
    }
    fail_msg("no tensor %s", name);
    return (sq_tensor){.rank = 0};
}

/* An arena with the graph bound to it, all drawn and nothing launched. */
static char *bind(sq_graph *graph, sq_providers_fn providers, sq_fusions_fn fusions,
                  const char *provider)
{
    sq_error err = {.message = ""};
    assert_int_equal(sq_graph_select(graph, providers, fusions, provider, &host, &err), SQ_OK);
    char *arena = malloc(sq_graph_arena_bytes(graph) + 1);
    assert_non_null(arena);
    draw(graph, arena);
    assert_int_equal(sq_graph_bind(graph, arena, NULL, NULL, &err), SQ_OK);
    return arena;
}

static void launch(sq_graph *graph)
{
    sq_error err = {.message = ""};
    if (sq_graph_launch(graph, &err) != SQ_OK)
        fail_msg("%s", err.message);
}

static char *run(sq_graph *graph)
{
    char *arena = bind(graph, sq_providers_cpu, NULL, "cpu/ref");
    launch(graph);
    return arena;
}

static const char *const small[][2] = {
    {"transformer", "B=2,L=13,D=32,H=4,Hkv=2,window=5"}, {"mamba", "B=2,L=13,D=32,N=4"},
    {"mamba2", "B=2,L=13,D=32,P=8,N=16,G=2"},            {"hyena", "B=2,L=13,D=32"},
    {"retnet", "B=2,L=13,D=32,H=2"},                     {"samba", "B=2,L=13,D=32,N=4,H=4,window=3"},
};
enum { N_SMALL = sizeof small / sizeof *small };

static void test_every_family_runs(void **state)
{
    (void)state;
    int families = 0;
    while (sq_families[families])
        families++;
    assert_int_equal(families, N_SMALL);
    for (int i = 0; i < N_SMALL; i++) {
        sq_graph *f32 = build(small[i][0], small[i][1], SQ_DTYPE_F32);
        sq_graph *bf16 = build(small[i][0], small[i][1], SQ_DTYPE_BF16);
        char *a = run(f32), *b = run(bf16);
        sq_tensor want = tensor_named(f32, a, "y"), got = tensor_named(bf16, b, "y");
        sq_compare_result r = sq_compare(&got, &want, (sq_tolerance){.rel_l2 = 0.05, .max_abs = 0.5});
        if (!r.is_ok || r.rel_l2 == 0)
            fail_msg("%s: bf16 against f32 is off by %g", small[i][0], r.rel_l2);
        free(a);
        free(b);
        sq_graph_free(f32);
        sq_graph_free(bf16);
    }
}

static bool has_step(const char *family)
{
    return strncmp(family, "mamba", 5) == 0 || strcmp(family, "retnet") == 0;
}

/* Which node wrote each byte of the arena last: a node must read what its producer wrote. */
static void test_no_activation_is_overwritten_while_needed(void **state)
{
    (void)state;
    for (int f = 0; f < 2 * N_SMALL; f++) {
        const char *const *of = small[f % N_SMALL];
        const sq_pass pass = f < N_SMALL ? SQ_PASS_FWD : SQ_PASS_STEP;
        if (pass == SQ_PASS_STEP && !has_step(of[0]))
            continue;
        sq_graph *graph = build_pass(pass, of[0], of[1], SQ_DTYPE_F32);
        size_t bytes = sq_graph_arena_bytes(graph);
        char *arena = bind(graph, sq_providers_cpu, NULL, "cpu/ref");
        int *writer = malloc(bytes * sizeof *writer);
        assert_non_null(writer);
        for (size_t i = 0; i < bytes; i++)
            writer[i] = -1; /* inputs and parameters */
        for (int n = 0; n < sq_graph_node_count(graph); n++) {
            const sq_call *call = sq_graph_call_at(graph, n);
            for (int k = 0; k < SQ_MAX_IN; k++) {
                const sq_tensor *in = &call->in[k];
                if (!in->rank)
                    continue;
                size_t first = (size_t)((char *)in->data - arena);
                int expected = writer[first];
                for (int64_t e = 0; e < sq_tensor_count(in); e++) {
                    size_t at = first + 4 * (size_t)sq_tensor_offset(in, e);
                    assert_true(at < bytes);
                    assert_int_equal(writer[at], expected);
                }
            }
            for (int k = 0; k < SQ_MAX_OUT; k++) {
                size_t first = (size_t)((char *)call->out[k].data - arena);
                for (size_t i = 0; call->out[k].rank && i < sq_tensor_bytes(&call->out[k]); i++)
                    writer[first + i] = n;
            }
        }
        free(arena);
        free(writer);
        sq_graph_free(graph);
    }
}

static void test_activations_share_memory(void **state)
{
    (void)state;
    sq_graph *graph = build("samba", "B=1,L=256,D=64,N=4,H=4", SQ_DTYPE_F32);
    size_t sum = 0;
    for (int i = 0; i < sq_graph_tensor_count(graph); i++) {
        const sq_graph_tensor *t = sq_graph_tensor_at(graph, i);
        sq_tensor whole = sq_tensor_dense(NULL, t->spec.dtype, t->spec.rank, t->spec.dim);
        sum += sq_tensor_bytes(&whole);
    }
    assert_true(sq_graph_arena_bytes(graph) < sum * 3 / 4);
    sq_graph_free(graph);
}

/* y = x + W_o softmax(q k / sqrt(P)) v in plain loops. */
static void plain_transformer(const sq_graph *g, char *arena, int L, int D, int H, double *y)
{
    const float *x = tensor_named(g, arena, "x").data, *norm = tensor_named(g, arena, "norm.w").data;
    const float *wqkv = tensor_named(g, arena, "qkv_proj.w").data;
    const float *wo = tensor_named(g, arena, "out_proj.w").data;
    int P = D / H;
    double *qkv = calloc((size_t)(L * 3 * D), sizeof *qkv), *o = calloc((size_t)(L * D), sizeof *o);
    assert_non_null(qkv);
    assert_non_null(o);
    for (int t = 0; t < L; t++) {
        double square = 0;
        for (int d = 0; d < D; d++)
            square += (double)x[t * D + d] * x[t * D + d];
        double scale = 1 / sqrt(square / D + 1e-5);
        for (int n = 0; n < 3 * D; n++)
            for (int d = 0; d < D; d++)
                qkv[t * 3 * D + n] += wqkv[n * D + d] * scale * norm[d] * x[t * D + d];
    }
    for (int h = 0; h < H; h++)
        for (int t = 0; t < L; t++) {
            double sum = 0;
            for (int s = 0; s <= t; s++) {
                double score = 0;
                for (int p = 0; p < P; p++)
                    score += qkv[t * 3 * D + h * P + p] * qkv[s * 3 * D + D + h * P + p];
                double weight = exp(score / sqrt(P));
                sum += weight;
                for (int p = 0; p < P; p++)
                    o[t * D + h * P + p] += weight * qkv[s * 3 * D + 2 * D + h * P + p];
            }
            for (int p = 0; p < P; p++)
                o[t * D + h * P + p] /= sum;
        }
    for (int t = 0; t < L; t++)
        for (int n = 0; n < D; n++) {
            y[t * D + n] = x[t * D + n];
            for (int d = 0; d < D; d++)
                y[t * D + n] += wo[n * D + d] * o[t * D + d];
        }
    free(qkv);
    free(o);
}

static void test_transformer_against_plain_loops(void **state)
{
    (void)state;
    enum { L = 11, D = 12, H = 3 };
    sq_graph *graph = build("transformer", "B=1,L=11,D=12,H=3", SQ_DTYPE_F32);
    char *arena = run(graph);
    double want[L * D];
    plain_transformer(graph, arena, L, D, H, want);
    const float *got = tensor_named(graph, arena, "y").data;
    for (int i = 0; i < L * D; i++)
        assert_true(fabs(got[i] - want[i]) < 1e-5);
    free(arena);
    sq_graph_free(graph);
}

/* --- one token --- */

/* Copies what `to` has of kind `kind` from the tensor of `from` whose name has `.final` for
 * `.initial`; zeros where there is no `from`. */
static void take_over(const sq_graph *from, char *from_arena, const sq_graph *to, char *to_arena,
                      sq_tensor_kind kind)
{
    for (int i = 0; i < sq_graph_tensor_count(to); i++) {
        const sq_graph_tensor *t = sq_graph_tensor_at(to, i);
        if (t->kind != kind || strcmp(t->name, "x") == 0)
            continue;
        sq_tensor target = tensor_named(to, to_arena, t->name);
        const char *initial = strstr(t->name, ".initial");
        char name[SQ_NAME_MAX + 8];
        snprintf(name, sizeof name, "%.*s%s%s", initial ? (int)(initial - t->name) : 99, t->name,
                 initial ? ".final" : "", initial ? initial + strlen(".initial") : "");
        memset(target.data, 0, sq_tensor_bytes(&target));
        if (!from)
            continue;
        sq_tensor source = tensor_named(from, from_arena, name);
        assert_int_equal(sq_tensor_bytes(&source), sq_tensor_bytes(&target));
        memcpy(target.data, source.data, sq_tensor_bytes(&source));
    }
}

/* Token after token from a state of zeros is the forward pass. */
static void step_through(const char *family, const char *shape, int length)
{
    char axes[96];
    snprintf(axes, sizeof axes, "%s,L=%d", shape, length);
    sq_graph *all = build(family, axes, SQ_DTYPE_F32), *last = NULL;
    char *all_arena = run(all), *last_arena = NULL;
    sq_tensor x = tensor_named(all, all_arena, "x"), y = tensor_named(all, all_arena, "y");
    for (int t = 0; t < length; t++) {
        snprintf(axes, sizeof axes, "%s,L=%d", shape, t + 1);
        sq_graph *graph = build_pass(SQ_PASS_STEP, family, axes, SQ_DTYPE_F32);
        char *arena = bind(graph, sq_providers_cpu, NULL, "cpu/ref");
        take_over(all, all_arena, graph, arena, SQ_TENSOR_PARAM);
        take_over(last, last_arena, graph, arena, SQ_TENSOR_INPUT);
        sq_tensor token = tensor_named(graph, arena, "x"), got = tensor_named(graph, arena, "y");
        for (int64_t b = 0; b < x.dim[0]; b++)
            memcpy((float *)token.data + b * token.stride[0],
                   (float *)x.data + b * x.stride[0] + t * x.stride[1],
                   sizeof(float) * (size_t)x.dim[2]);
        launch(graph);
        sq_tensor want = sq_tensor_slice(&y, 1, t, 1);
        const sq_tolerance tolerance = {.rel_l2 = 1e-5, .max_abs = 1e-4};
        sq_compare_result r = sq_compare(&got, &want, tolerance);
        if (!r.is_ok)
            fail_msg("%s: token %d is off by %g", family, t, r.rel_l2);
        free(last_arena);
        sq_graph_free(last);
        last = graph, last_arena = arena;
    }
    free(all_arena);
    free(last_arena);
    sq_graph_free(all);
    sq_graph_free(last);
}

static void test_steps_are_the_forward_pass(void **state)
{
    (void)state;
    step_through("mamba", "B=2,D=32,N=4", 7);
    step_through("mamba2", "B=2,D=32,P=8,N=16,G=2", 7);
    step_through("retnet", "B=2,D=32,H=2", 7);
}

static void test_blocks_without_a_step_say_why(void **state)
{
    (void)state;
    for (int i = 0; i < N_SMALL; i++) {
        const sq_family *family = sq_family_find(small[i][0]);
        sq_axis_value axis[SQ_MAX_AXES];
        sq_error err = {.message = ""};
        assert_int_equal(sq_axis_parse_assignments(family->axes, small[i][1], axis, &err), SQ_OK);
        assert_int_equal(family->check(axis, &err), SQ_OK);
        sq_graph *graph = sq_graph_new(SQ_DTYPE_F32);
        assert_int_equal(family->build(graph, SQ_PASS_BWD, axis, &err), SQ_UNSUPPORTED);
        if (!has_step(family->name)) {
            assert_int_equal(family->build(graph, SQ_PASS_STEP, axis, &err), SQ_UNSUPPORTED);
            assert_non_null(strstr(err.message, "no pass step: "));
        }
        sq_graph_free(graph);
    }
}

static void test_cost_of_a_step_counts_its_states(void **state)
{
    (void)state;
    sq_graph *graph = build_pass(SQ_PASS_STEP, "retnet", "B=3,L=64,D=128,H=2", SQ_DTYPE_BF16);
    sq_cost cost = sq_graph_cost(graph);
    const double token = 3 * 128 * 2, states = 3.0 * 2 * 64 * 128 * 4;
    assert_true(cost.bytes_written == token + states);
    assert_true(cost.bytes_read == token + states + (double)sq_graph_param_bytes(graph));
    sq_graph_free(graph);
}

/* --- runs of nodes --- */

/* What was launched, and where the fusion that was asked saw its tensors. */
static struct {
    int nodes, runs, plans;
    char wiring[128];
} seen;
static bool is_refused; /* what the fusion says */

static sq_status count_node(const sq_call *call, void *plan, sq_error *err)
{
    assert_null(plan);
    seen.nodes++;
    return sq_op_reference(call, err);
}

static sq_status take_any(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)call;
    (void)device;
    (void)why;
    return SQ_OK;
}

static size_t workspace_of_node(const sq_call *call)
{
    (void)call;
    return 100;
}

static const sq_provider *counted(const sq_op *op)
{
    static const sq_provider table[] = {{.name = "cpu/other",
                                         .supports = take_any,
                                         .workspace = workspace_of_node,
                                         .launch = count_node,
                                         .passes = SQ_HAS_STEP},
                                        {.name = "cpu/fused",
                                         .supports = take_any,
                                         .workspace = workspace_of_node,
                                         .launch = count_node,
                                         .passes = SQ_HAS_STEP},
                                        {.name = NULL}};
    (void)op;
    return table;
}

/* Where x and B of ssd lie in the convolution's output, and whether the norm reads ssd's. */
static sq_status supports_token(const sq_call *const *calls, const sq_device *device, sq_error *why)
{
    const char *from = calls[0]->out[0].data;
    assert_ptr_equal(device, &host);
    assert_int_equal((uintptr_t)from % 256, 0);
    snprintf(seen.wiring, sizeof seen.wiring, "%td %td %d",
             (const char *)calls[1]->in[0].data - from, (const char *)calls[1]->in[3].data - from,
             calls[2]->in[0].data == calls[1]->out[0].data);
    return is_refused ? sq_fail(why, SQ_UNSUPPORTED, "not today") : SQ_OK;
}

static sq_status supports_run(const sq_call *const *calls, const sq_device *device, sq_error *why)
{
    (void)calls;
    (void)device;
    (void)why;
    return SQ_OK;
}

static size_t workspace_of_run(const sq_call *const *calls)
{
    (void)calls;
    return 1000;
}

static sq_status prepare_run(const sq_call *const *calls, void **plan, sq_error *err)
{
    (void)calls;
    (void)err;
    *plan = &seen;
    seen.plans++;
    return SQ_OK;
}

static sq_status launch_run(const sq_call *const *calls, void *plan, sq_error *err)
{
    assert_ptr_equal(plan, &seen);
    assert_int_equal(calls[0]->workspace_bytes, 1000);
    seen.runs++;
    for (int i = 0; i < 3 && (i < 2 || calls[1]->op == sq_op_find("ssd")); i++)
        SQ_TRY(sq_op_reference(calls[i], err));
    return SQ_OK;
}

static void release_run(void *plan)
{
    assert_ptr_equal(plan, &seen);
    seen.plans--;
}

static const sq_fusion *fused(const sq_op *op)
{
    static const char *const token[] = {"causal_conv1d", "ssd", "rmsnorm", NULL};
    static const char *const pair[] = {"linear", "rmsnorm", NULL};
    static const sq_fusion of_ssd[] = {{"cpu/fused", token, 1, supports_token, workspace_of_run,
                                        prepare_run, launch_run, release_run},
                                       {.provider = NULL}};
    static const sq_fusion of_linear[] = {{"cpu/fused", pair, 0, supports_run, workspace_of_run,
                                           prepare_run, launch_run, release_run},
                                          {.provider = NULL}};
    return op == sq_op_find("ssd") ? of_ssd : op == sq_op_find("linear") ? of_linear : NULL;
}

/* Launches the graph with `provider` and returns y; the graph is freed. */
static double *launch_counted(sq_graph *graph, const char *provider)
{
    memset(&seen, 0, sizeof seen);
    char *arena = bind(graph, counted, fused, provider);
    launch(graph);
    sq_tensor y = tensor_named(graph, arena, "y");
    double *copy = calloc((size_t)sq_tensor_count(&y), sizeof *copy);
    assert_non_null(copy);
    for (int64_t i = 0; i < sq_tensor_count(&y); i++)
        copy[i] = ((const float *)y.data)[i];
    assert_int_equal(seen.plans, seen.runs);
    free(arena);
    sq_graph_free(graph);
    assert_int_equal(seen.plans, 0);
    return copy;
}

static double *launch_token(const char *shape, const char *provider)
{
    return launch_counted(build_pass(SQ_PASS_STEP, "mamba2", shape, SQ_DTYPE_F32), provider);
}

static void test_a_run_of_nodes_is_done_at_once(void **state)
{
    (void)state;
    const char *shape = "B=2,L=9,D=32,P=8,N=16,G=2";
    enum { Y = 2 * 32 };
    double *plain = launch_token(shape, "cpu/other");
    assert_int_equal(seen.runs, 0);
    assert_int_equal(seen.nodes, 6);
    double *at_once = launch_token(shape, "cpu/fused");
    assert_int_equal(seen.runs, 1);
    assert_int_equal(seen.nodes, 3);
    assert_string_equal(seen.wiring, "0 256 1"); /* x: 64 channels of f32 */
    assert_memory_equal(plain, at_once, Y * sizeof *plain);
    is_refused = true;
    double *refused = launch_token(shape, "cpu/fused");
    is_refused = false;
    assert_int_equal(seen.runs, 0);
    assert_int_equal(seen.nodes, 6);
    assert_memory_equal(plain, refused, Y * sizeof *plain);
    free(plain);
    free(at_once);
    free(refused);
}

/* a = norm(x), b = linear(from), c = norm(b), y = linear(c) + residual: b and c are the run. from and
 * residual: 'x', 'a' or 'b'. */
static void run_pair(char from, char residual, int runs)
{
    sq_graph *g = sq_graph_new(SQ_DTYPE_F32);
    assert_non_null(g);
    sq_graph_begin(g, SQ_PASS_STEP, 1, 4);
    sq_tid x = sq_graph_input(g, "x", 8, (sq_draw){.kind = SQ_DRAW_NORMAL, .b = 1});
    sq_tid y = sq_graph_output(g, "y", 8), in[4] = {x, SQ_TID_PARAM, SQ_TID_NONE, SQ_TID_NONE};
    sq_tid a = sq_graph_node(g, "a", "rmsnorm", SQ_TID_NONE, 2, in, "D=8,weight=1");
    in[0] = from == 'a' ? a : x;
    sq_tid b = sq_graph_node(g, "b", "linear", SQ_TID_NONE, 2, in, "K=8,N=8");
    in[0] = b;
    in[0] = sq_graph_node(g, "c", "rmsnorm", SQ_TID_NONE, 2, in, "D=8,weight=1");
    in[3] = residual == 'a' ? a : residual == 'b' ? b : x;
    sq_graph_node(g, "out", "linear", y, 4, in, "K=8,N=8,residual=1");
    sq_error err;
    assert_int_equal(sq_graph_plan(g, &err), SQ_OK);
    free(launch_counted(g, "cpu/fused"));
    assert_int_equal(seen.runs, runs);
    assert_int_equal(seen.nodes, 4 - 2 * runs);
}

static void test_a_run_is_left_where_memory_forbids(void **state)
{
    (void)state;
    run_pair('x', 'x', 1);
    run_pair('x', 'b', 0); /* what the run hands on inside is read behind it */
    run_pair('a', 'a', 1);
    run_pair('a', 'x', 0); /* a ends at the run's first node: the second may write there */
}

static void test_cost_counts_parameters_once(void **state)
{
    (void)state;
    sq_graph *graph = build("transformer", "B=2,L=64,D=128,H=2", SQ_DTYPE_BF16);
    sq_cost cost = sq_graph_cost(graph);
    double tokens = 2 * 64, projections = 2 * tokens * 128 * (3 * 128 + 128);
    assert_true(cost.flops > projections);
    assert_true(cost.bytes_written == tokens * 128 * 2);
    assert_true(cost.bytes_read == tokens * 128 * 2 + (double)sq_graph_param_bytes(graph));
    sq_graph_free(graph);
}

static void expect_build_error(sq_graph *graph, const char *part)
{
    sq_error err = {.message = ""};
    assert_int_not_equal(sq_graph_plan(graph, &err), SQ_OK);
    if (!strstr(err.message, part))
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    sq_graph_free(graph);
}

static sq_graph *begin(sq_tid *x)
{
    sq_graph *graph = sq_graph_new(SQ_DTYPE_F32);
    assert_non_null(graph);
    sq_graph_begin(graph, SQ_PASS_FWD, 1, 4);
    *x = sq_graph_input(graph, "x", 8, (sq_draw){.kind = SQ_DRAW_NORMAL, .b = 1});
    return graph;
}

static void test_mistakes_are_named(void **state)
{
    (void)state;
    sq_tid x;
    sq_graph *g = begin(&x);
    sq_graph_node(g, "n", "no_such_op", SQ_TID_NONE, 1, &x, "D=8");
    expect_build_error(g, "no_such_op");

    g = begin(&x);
    const sq_tid wrong[] = {x, SQ_TID_PARAM};
    sq_graph_node(g, "n", "rmsnorm", SQ_TID_NONE, 2, wrong, "D=%d", 16);
    expect_build_error(g, "does not have the shape");

    g = begin(&x);
    sq_graph_node(g, "n", "rmsnorm", SQ_TID_NONE, 1, &x, "D=8,weight=1");
    expect_build_error(g, "needs tensor");

    g = begin(&x);
    sq_graph_view(g, x, 4, 8, 0);
    expect_build_error(g, "no view");

    g = begin(&x);
    sq_graph_join(g, sq_graph_view(g, x, 0, 4, 0));
    expect_build_error(g, "cannot be joined");
}

static void test_impossible_shapes_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"transformer", "D=100,H=3", "divide"}, {"transformer", "D=96,H=6,Hkv=4", "multiple"},
        {"mamba2", "D=30,P=64", "divide"},      {"mamba2", "D=64,P=64,G=4", "multiple"},
        {"retnet", "D=100,H=3", "divide"},      {"samba", "D=100,H=3", "divide"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const sq_family *family = sq_family_find(bad[i][0]);
        sq_axis_value axis[SQ_MAX_AXES];
        sq_error err = {.message = ""};
        assert_int_equal(sq_axis_parse_assignments(family->axes, bad[i][1], axis, &err), SQ_OK);
        assert_int_equal(family->check(axis, &err), SQ_BAD_SHAPE);
        assert_non_null(strstr(err.message, bad[i][2]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_family_runs),
        cmocka_unit_test(test_no_activation_is_overwritten_while_needed),
        cmocka_unit_test(test_activations_share_memory),
        cmocka_unit_test(test_transformer_against_plain_loops),
        cmocka_unit_test(test_steps_are_the_forward_pass),
        cmocka_unit_test(test_blocks_without_a_step_say_why),
        cmocka_unit_test(test_cost_of_a_step_counts_its_states),
        cmocka_unit_test(test_a_run_of_nodes_is_done_at_once),
        cmocka_unit_test(test_a_run_is_left_where_memory_forbids),
        cmocka_unit_test(test_cost_counts_parameters_once),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_impossible_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
