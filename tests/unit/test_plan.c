/* Plans: products, tokens, width, selection, refusals, order, hash; and the size of the suites. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "bench/plan.h"
#include "bench/suite.h"

/* What one test plans: a catalog, one group written as key, value pairs, and the request. */
typedef struct {
    sq_catalog catalog;
    sq_settings group, overrides;
    sq_policy policy;
    sq_rates rates;
    sq_plan_request request;
    sq_plan plan;
    sq_error err;
} bench;

static void offer(sq_catalog *catalog, const char *op, const char *provider)
{
    assert_int_equal(sq_catalog_add(catalog, op, provider, NULL), SQ_OK);
}

/* The providers that seqmark-worker is built with. */
static void offer_cuda(sq_catalog *catalog)
{
    strcpy(catalog->backend, "cuda");
    for (int i = 0; sq_ops[i]; i++) {
        offer(catalog, sq_ops[i]->name, "cuda/naive");
        offer(catalog, sq_ops[i]->name, "cuda/portable");
    }
    offer(catalog, "long_conv", "cufft");
    offer(catalog, "linear", "cublas");
    offer(catalog, "ssd", "cuda/native");
    offer(catalog, "simple_gla", "cuda/native");
    offer(catalog, "retention", "cuda/native");
    offer(catalog, "gla", "cuda/chunkwise");
    offer(catalog, "simple_gla", "cuda/chunkwise");
    offer(catalog, "ssd", "cuda/chunkwise");
    offer(catalog, "retention", "cuda/chunkwise");
    offer(catalog, "retention", "cuda/parallel");
    offer(catalog, "retention", "cuda/recurrent");
}

static void offer_cpu(sq_catalog *catalog)
{
    strcpy(catalog->backend, "cpu");
    for (int i = 0; sq_ops[i]; i++)
        offer(catalog, sq_ops[i]->name, "cpu/ref");
}

static void set(sq_settings *settings, const char *key, const char *value, const char *origin)
{
    assert_int_equal(sq_settings_set(settings, key, value, origin, NULL), SQ_OK);
}

/* pairs: key, value, ..., NULL. */
static bench *new_bench(const char *const *pairs)
{
    bench *b = calloc(1, sizeof *b);
    sq_device device = {.backend = "cuda",
                        .sm_count = 132,
                        .max_sm_mhz = 1980,
                        .compute_major = 9,
                        .memory_bus_bits = 5120,
                        .max_memory_mhz = 2619};
    offer_cuda(&b->catalog);
    for (; *pairs; pairs += 2)
        set(&b->group, pairs[0], pairs[1], "test:1:1");
    b->policy = *sq_policy_find("nightly");
    b->policy.max_cell_seconds = 1e9;
    b->rates = sq_rates_nominal(&device);
    b->request = (sq_plan_request){.groups = &b->group,
                                   .n_groups = 1,
                                   .catalog = &b->catalog,
                                   .overrides = &b->overrides,
                                   .policy = &b->policy,
                                   .rates = &b->rates,
                                   .replicates = 1};
    return b;
}

#define BENCH(...) new_bench((const char *const[]){__VA_ARGS__, NULL})

static void make(bench *b)
{
    if (sq_plan_build(&b->request, &b->plan, &b->err) != SQ_OK)
        fail_msg("%s", b->err.message);
}

static void refuse(bench *b, const char *why)
{
    assert_int_not_equal(sq_plan_build(&b->request, &b->plan, &b->err), SQ_OK);
    assert_int_equal(b->plan.count, 0);
    if (!strstr(b->err.message, why))
        fail_msg("\"%s\" does not say \"%s\"", b->err.message, why);
}

static void free_bench(bench *b)
{
    sq_plan_free(&b->plan);
    sq_catalog_free(&b->catalog);
    sq_settings_free(&b->group);
    sq_settings_free(&b->overrides);
    free(b);
}

/* --- products --- */

static void test_product_of_lists(void **state)
{
    (void)state;
    bench *b =
        BENCH("op", "attention", "seqlen", "128..512*2", "heads", "2,4", "dtype", "bf16,f32");
    make(b);
    /* 3 lengths, 2 heads, 2 dtypes, 2 providers */
    assert_int_equal(b->plan.count, 24);
    assert_int_equal(b->plan.n_cells, 24);
    free_bench(b);
}

static void test_cache_and_launch_are_lists_too(void **state)
{
    (void)state;
    bench *b = BENCH("op", "attention", "provider", "cuda/naive", "cache", "hot,rotate", "launch",
                     "plain,graph,batch");
    make(b);
    assert_int_equal(b->plan.count, 6);
    int batches = 0;
    for (int i = 0; i < b->plan.count; i++)
        batches += b->plan.item[i].cell.launch == SQ_LAUNCH_BATCH;
    assert_int_equal(batches, 2);
    free_bench(b);
}

static void test_a_cold_batch_is_refused(void **state)
{
    (void)state;
    bench *b = BENCH("op", "attention", "provider", "cuda/naive", "launch", "plain,batch");
    refuse(b, "test:1:1: launch: launch batch cannot be clean-cold");
    set(&b->group, "cache", "hot,dirty-cold", "test:1:1");
    refuse(b, "launch batch cannot be dirty-cold");
    set(&b->group, "launch", "grahp", "test:1:1");
    refuse(b, "did you mean \"graph\"");
    free_bench(b);
}

static void test_repeats_are_dropped(void **state)
{
    (void)state;
    bench *b =
        BENCH("op", "attention,attention", "seqlen", "128,128,0.125k", "provider", "cuda/naive");
    make(b);
    assert_int_equal(b->plan.count, 1);
    free_bench(b);
}

static void test_tokens_fix_the_batch(void **state)
{
    (void)state;
    bench *b = BENCH("op", "ssd", "provider", "cuda/portable", "seqlen", "1k,4k", "tokens", "16k");
    make(b);
    assert_int_equal(b->plan.count, 2);
    for (int i = 0; i < 2; i++) {
        const sq_cell *cell = &b->plan.item[i].cell;
        assert_true(cell->value[SQ_AXIS_B] * cell->value[SQ_AXIS_L] == 16384);
    }
    free_bench(b);
}

static void test_length_beyond_tokens_is_refused(void **state)
{
    (void)state;
    bench *b = BENCH("op", "ssd", "seqlen", "32k", "tokens", "16k");
    refuse(b, "batch would be less than 1");
    free_bench(b);
}

static void test_tokens_and_batch_exclude_each_other(void **state)
{
    (void)state;
    bench *b = BENCH("op", "ssd", "batch", "4", "tokens", "16k");
    refuse(b, "batch");
    free_bench(b);
    b = BENCH("op", "ssd", "provider", "cuda/portable", "seqlen", "1k", "tokens", "16k");
    set(&b->overrides, "batch", "3", "command line");
    make(b); /* the command line beats the file */
    assert_int_equal(b->plan.count, 1);
    assert_true(b->plan.item[0].cell.value[SQ_AXIS_B] == 3);
    free_bench(b);
}

static void test_width_shapes_and_is_kept(void **state)
{
    (void)state;
    bench *b =
        BENCH("op", "attention", "provider", "cuda/portable", "width", "2048", "seqlen", "1k");
    make(b);
    assert_int_equal(b->plan.item[0].width, 2048);
    assert_true(sq_cell_axis(&b->plan.item[0].cell, "H", 0) *
                    sq_cell_axis(&b->plan.item[0].cell, "D", 0) ==
                2048);
    free_bench(b);
    b = BENCH("op", "attention", "width", "100");
    refuse(b, "attention");
    free_bench(b);
}

static void test_impossible_shape_names_the_rule(void **state)
{
    (void)state;
    bench *b = BENCH("op", "attention", "heads", "6", "kv-heads", "4");
    refuse(b, "attention");
    assert_int_equal(b->err.status, SQ_BAD_SHAPE);
    free_bench(b);
}

/* 2^64 elements, 2^63 of a block: counted in 64 bits they would look small. */
static void test_a_shape_beyond_counting_is_refused(void **state)
{
    (void)state;
    bench *b = BENCH("op", "attention", "batch", "1m", "seqlen", "16m", "heads", "4096",
                     "head-dim", "256");
    refuse(b, "2^56");
    assert_int_equal(b->err.status, SQ_BAD_SHAPE);
    free_bench(b);
    b = BENCH("family", "retnet", "batch", "65536", "seqlen", "16m", "width", "65536");
    refuse(b, "2^56");
    assert_int_equal(b->err.status, SQ_BAD_SHAPE);
    free_bench(b);
}

static void test_mixers_and_all(void **state)
{
    (void)state;
    int mixers = 0, families = 0;
    for (int i = 0; sq_ops[i]; i++)
        mixers += sq_ops[i]->is_mixer;
    while (sq_families[families])
        families++;
    bench *b = BENCH("op", "mixers", "provider", "cuda/naive", "seqlen", "64");
    make(b);
    assert_int_equal(b->plan.count, mixers);
    free_bench(b);
    b = BENCH("family", "all", "seqlen", "64");
    make(b); /* a block has one best provider set */
    assert_int_equal(b->plan.count, families);
    assert_string_equal(b->plan.item[0].cell.provider, "cuda/portable");
    free_bench(b);
}

/* --- names --- */

static void test_unknown_names_are_refused_with_the_nearest(void **state)
{
    (void)state;
    bench *b = BENCH("op", "atention");
    refuse(b, "attention");
    free_bench(b);
    b = BENCH("family", "mamba3");
    refuse(b, "mamba");
    free_bench(b);
    b = BENCH("op", "ssd", "provider", "cuda/portible");
    refuse(b, "cuda/portable");
    free_bench(b);
    b = BENCH("op", "ssd", "dtype", "bf17");
    refuse(b, "bf16");
    free_bench(b);
    b = BENCH("op", "ssd", "pass", "foward");
    refuse(b, "test:1:1: pass");
    free_bench(b);
    b = BENCH("op", "ssd", "taps", "4");
    refuse(b, "no axis \"taps\"");
    free_bench(b);
    b = BENCH("op", "ssd", "on", "gpu");
    refuse(b, "cuda");
    free_bench(b);
    b = BENCH("seqlen", "64");
    refuse(b, "needs op or family");
    free_bench(b);
}

static void test_overrides_lie_over_the_groups_that_they_fit(void **state)
{
    (void)state;
    bench *b = BENCH("op", "attention,ssd", "provider", "cuda/naive", "seqlen", "64");
    set(&b->overrides, "window", "16,32", "command line");
    make(b);
    assert_int_equal(b->plan.count, 3); /* attention twice, ssd as it was */
    free_bench(b);
    b = BENCH("op", "ssd", "seqlen", "64");
    set(&b->overrides, "window", "16", "command line");
    refuse(b, "--window");
    free_bench(b);
    b = BENCH("op", "ssd", "seqlen", "64");
    set(&b->overrides, "provider", "cuda/nave", "command line");
    refuse(b, "cuda/naive");
    free_bench(b);
}

static void test_selection_from_groups(void **state)
{
    (void)state;
    char *name = "ssd";
    sq_names only = {.item = &name, .count = 1};
    bench *b = BENCH("op", "attention,ssd", "provider", "cuda/naive", "seqlen", "64");
    b->request.only_ops = &only;
    make(b);
    assert_int_equal(b->plan.count, 1);
    assert_string_equal(b->plan.item[0].cell.subject, "ssd");
    free_bench(b);
}

static void test_backend_of_a_group(void **state)
{
    (void)state;
    bench *b = BENCH("op", "ssd", "on", "cpu");
    refuse(b, "no cell is left");
    free_bench(b);
}

static void test_cell_by_key(void **state)
{
    (void)state;
    bench *b = BENCH("op", "attention", "provider", "cuda/portable", "seqlen", "96");
    char key[SQ_KEY_MAX];
    make(b);
    strcpy(key, b->plan.item[0].key);
    sq_plan_free(&b->plan);
    const char *keys[] = {key, NULL};
    b->request.n_groups = 0;
    b->request.cells = keys;
    make(b);
    assert_int_equal(b->plan.count, 1);
    assert_string_equal(b->plan.item[0].key, key);
    sq_plan_free(&b->plan);
    keys[0] = "attention@fwd/bf16/L=12";
    refuse(b, "cell key");
    keys[0] = "atention@cuda/portable/fwd/bf16/L=12/clean-cold,plain,unlocked";
    refuse(b, "attention");
    keys[0] = "attention@cuda/portable/fwd/bf16/L=12/clean-cold,batch,unlocked";
    refuse(b, "launch batch cannot be clean-cold");
    keys[0] = "attention@cuda/x/fwd/bf16/L=12/clean-cold,plain,unlocked";
    refuse(b, "provider");
    free_bench(b);
}

/* --- rows decided while planning --- */

static void test_long_cells_are_skipped_with_the_figure(void **state)
{
    (void)state;
    bench *b = BENCH("op", "attention", "provider", "cuda/naive", "seqlen", "128,128k");
    b->policy.max_cell_seconds = 0.5;
    make(b);
    for (int i = 0; i < b->plan.count; i++) {
        const sq_plan_item *item = &b->plan.item[i];
        bool is_long = item->cell.value[SQ_AXIS_L] > 1000;
        assert_int_equal(item->status, is_long ? SQ_RUN_SKIPPED : SQ_RUN_OK);
        assert_int_equal(strstr(item->reason, "max-cell-time") != NULL, is_long);
    }
    free_bench(b);
}

static void test_missing_pass_is_an_unsupported_row(void **state)
{
    (void)state;
    bench *b = BENCH("family", "mamba", "seqlen", "64", "pass", "bwd");
    make(b);
    assert_int_equal(b->plan.item[0].status, SQ_RUN_UNSUPPORTED);
    assert_true(strlen(b->plan.item[0].reason) > 0);
    free_bench(b);
}

static void test_filter_that_keeps_nothing(void **state)
{
    (void)state;
    sq_filter *filter = NULL;
    bench *b = BENCH("op", "ssd", "seqlen", "64,128");
    assert_int_equal(sq_filter_parse("L>1k", &filter, &b->err), SQ_OK);
    b->request.filter = filter;
    refuse(b, "the filter keeps none");
    sq_filter_free(filter);
    assert_int_equal(sq_filter_parse("L>64", &filter, &b->err), SQ_OK);
    b->request.filter = filter;
    make(b);
    assert_true(b->plan.item[0].cell.value[SQ_AXIS_L] == 128);
    sq_filter_free(filter);
    free_bench(b);
}

/* --- order and hash --- */

static void test_replicates_come_in_rounds_of_their_own_order(void **state)
{
    (void)state;
    bench *b = BENCH("op", "ssd", "provider", "cuda/naive", "seqlen", "64..1024+32");
    b->request.replicates = 3;
    b->request.is_random = true;
    b->request.seed = 7;
    make(b);
    int n = b->plan.n_cells, moved = 0;
    assert_int_equal(b->plan.count, 3 * n);
    for (int i = 0; i < b->plan.count; i++)
        assert_int_equal(b->plan.item[i].replicate, i / n);
    for (int i = 0; i < n; i++) {
        int seen = 0;
        for (int k = 0; k < n; k++)
            seen += strcmp(b->plan.item[i].key, b->plan.item[n + k].key) == 0;
        assert_int_equal(seen, 1);
        moved += strcmp(b->plan.item[i].key, b->plan.item[n + i].key) != 0;
    }
    assert_true(moved > n / 2);
    free_bench(b);
}

/* Every stratum is whole before the next begins; over all, each cell has each replicate once. */
static void test_many_cells_are_divided_into_strata(void **state)
{
    (void)state;
    bench *b = BENCH("op", "ssd", "provider", "cuda/naive", "seqlen", "64..7712+32", "batch", "1,2,3",
                     "dtype", "bf16,f32");
    b->request.replicates = 2;
    b->request.is_random = true;
    b->request.seed = 7;
    make(b);
    int n = b->plan.n_cells, first[2] = {0, 0}, n_strata = (n + 399) / 400;
    assert_true(n_strata > 2);
    int *rounds = calloc((size_t)n, sizeof *rounds), changes = 0, whole = 0, ascending = 0;
    for (int i = 0; i < b->plan.count; i++) {
        const sq_plan_item *item = &b->plan.item[i];
        assert_int_equal(rounds[item->place]++, item->replicate); /* 0 before 1, each once */
        bool is_turn = i && item->replicate != b->plan.item[i - 1].replicate;
        changes += is_turn;
        whole += item->replicate == 1;
        if (is_turn && item->replicate == 0)
            assert_int_equal(2 * whole, i);
        first[item->place > n / 2] += i < n; /* the plan's first half holds both halves of the cells */
        ascending += i && item->place > b->plan.item[i - 1].place;
    }
    assert_int_equal(changes, 2 * n_strata - 1);
    assert_true(first[0] > n / 3 && first[1] > n / 3);
    assert_in_range(ascending, b->plan.count / 3, 2 * b->plan.count / 3);
    for (int i = 0; i < n; i++)
        assert_int_equal(rounds[i], 2);
    free(rounds);
    free_bench(b);
}

/* Twice the replicates, the later ones each right behind the round of the others; not the same cells
 * under another seed. */
static void test_sentinels_have_rounds_of_their_own(void **state)
{
    (void)state;
    bench *b = BENCH("op", "ssd", "provider", "cuda/naive", "seqlen", "64..4096+32");
    char plain[SQ_HASH_TEXT], which[2][SQ_KEY_MAX];
    b->request.replicates = 3;
    b->request.is_random = true;
    make(b);
    strcpy(plain, b->plan.hash);
    for (int seed = 0; seed < 2; seed++) {
        sq_plan_free(&b->plan);
        b->request.sentinel_share = 0.05;
        b->request.seed = (uint64_t)seed + 7;
        make(b);
        int n = b->plan.n_cells, sentinels = (n + 19) / 20, seen = 0;
        assert_int_equal(b->plan.count, 3 * (n + sentinels));
        for (int i = 0; i < b->plan.count; i++) {
            const sq_plan_item *item = &b->plan.item[i];
            int round = i / (n + sentinels), at = i % (n + sentinels);
            assert_int_equal(item->replicate, at < n ? round : 3 + round);
            assert_true(at < n || item->is_sentinel);
            seen += item->is_sentinel;
        }
        assert_int_equal(seen, 6 * sentinels);
        strcpy(which[seed], b->plan.item[n].key);
    }
    assert_string_not_equal(which[0], which[1]);
    assert_string_not_equal(b->plan.hash, plain);
    free_bench(b);
}

static void test_hash_is_of_the_cells_not_of_the_order(void **state)
{
    (void)state;
    char first[SQ_HASH_TEXT], key[SQ_KEY_MAX];
    bench *b = BENCH("op", "ssd", "provider", "cuda/naive", "seqlen", "64..1024+32");
    b->request.is_random = true;
    b->request.seed = 1;
    make(b);
    strcpy(first, b->plan.hash);
    strcpy(key, b->plan.item[0].key);
    sq_plan_free(&b->plan);
    make(b);
    assert_string_equal(b->plan.item[0].key, key); /* the same seed, the same order */
    sq_plan_free(&b->plan);
    b->request.seed = 2;
    make(b);
    assert_string_equal(b->plan.hash, first);
    sq_plan_free(&b->plan);
    b->request.replicates = 2;
    make(b);
    assert_string_not_equal(b->plan.hash, first);
    sq_plan_free(&b->plan);
    b->request.replicates = 1;
    b->policy.max_samples++;
    make(b);
    assert_string_not_equal(b->plan.hash, first);
    free_bench(b);
}

/* --- the suites of the tree --- */

static double largest_cell; /* bytes, of the suites counted so far */

/* Plans a suite; building a plan checks every cell's shape. */
static bench *plan_suite(const char *name, bool is_cuda)
{
    char path[512];
    sq_suite suite = {.n_groups = 0};
    bench *b = BENCH("op", "ssd");
    snprintf(path, sizeof path, SQ_SOURCE_DIR "/bench/suites/%s.yaml", name);
    if (sq_suite_load(path, &suite, &b->err) != SQ_OK)
        fail_msg("%s", b->err.message);
    if (!is_cuda) {
        sq_catalog_free(&b->catalog);
        offer_cpu(&b->catalog);
    }
    sq_settings *groups = calloc((size_t)suite.n_groups, sizeof *groups);
    for (int i = 0; i < suite.n_groups; i++) {
        assert_int_equal(sq_settings_merge(&groups[i], &suite.defaults, NULL), SQ_OK);
        assert_int_equal(sq_settings_merge(&groups[i], &suite.groups[i], NULL), SQ_OK);
    }
    assert_int_equal(sq_settings_policy(&suite.campaign, &b->policy, &b->err), SQ_OK);
    b->request.groups = groups;
    b->request.n_groups = suite.n_groups;
    make(b);
    for (int i = 0; i < suite.n_groups; i++)
        sq_settings_free(&groups[i]);
    free(groups);
    sq_suite_free(&suite);
    return b;
}

static int count_cells(const char *name, bool is_cuda)
{
    bench *b = plan_suite(name, is_cuda);
    int n = b->plan.n_cells;
    for (int i = 0; i < b->plan.count; i++)
        largest_cell = fmax(largest_cell, b->plan.item[i].tensor_bytes);
    free_bench(b);
    return n;
}

/* Kernels that nobody watches are not measured every night; every operator is, and every pass. */
static void test_the_nightly_suite_has_what_is_watched(void **state)
{
    bench *b = plan_suite("nightly", true);
    int passes[SQ_PASS_COUNT] = {0};
    (void)state;
    for (int i = 0; i < b->plan.count; i++) {
        const sq_cell *cell = &b->plan.item[i].cell;
        passes[cell->pass]++;
        assert_string_not_equal(cell->provider, "cuda/naive");
    }
    assert_true(passes[SQ_PASS_FWD] > 1500 && passes[SQ_PASS_BWD] > 50 && passes[SQ_PASS_STEP] > 5);
    for (int k = 0; sq_ops[k]; k++) {
        int n = 0;
        for (int i = 0; i < b->plan.count; i++)
            n += strcmp(b->plan.item[i].cell.subject, sq_ops[k]->name) == 0;
        if (n == 0)
            fail_msg("nightly has no %s", sq_ops[k]->name);
    }
    free_bench(b);
}

static void test_suites_have_their_size(void **state)
{
    (void)state;
    largest_cell = 0;
    int aa = count_cells("aa", true);
    assert_in_range(aa, 220, 250);
    assert_true(largest_cell > 1e9 && largest_cell < 2.0 * (1 << 30));
    assert_in_range(count_cells("quick", true), 50, 64);
    assert_in_range(count_cells("quick", false), 30, 60);
    assert_in_range(count_cells("nightly", true), 1800, 2200);
    assert_in_range(count_cells("nightly", false), 50, 300);
    assert_in_range(count_cells("aa", false), 8, 12);
    assert_in_range(count_cells("paper", true), 90, 200);
    assert_in_range(count_cells("paper", false), 20, 80);
    assert_in_range(count_cells("passes", true), 100, 180);
    assert_in_range(count_cells("passes", false), 50, 60);
}

/* --- the suite passes --- */

static bool has_pass(const sq_op *op, sq_pass pass)
{
    sq_axis_value axis[SQ_MAX_AXES];
    sq_tensor_list list;
    sq_axis_defaults(op->axes, axis);
    assert_int_equal(sq_op_check(op, axis, NULL), SQ_OK);
    return sq_op_tensors(op, pass, SQ_DTYPE_BF16, axis, &list, NULL) == SQ_OK;
}

static void check_has_every_pass(const bench *b)
{
    for (int k = 0; sq_ops[k]; k++) {
        for (size_t j = 0; j < SQ_OWN_PASSES; j++) {
            int found = 0;
            for (int i = 0; i < b->plan.count; i++) {
                const sq_plan_item *item = &b->plan.item[i];
                found += strcmp(item->cell.subject, sq_ops[k]->name) == 0 &&
                         item->cell.pass == sq_own_passes[j] && item->status == SQ_RUN_OK;
            }
            if ((found > 0) != has_pass(sq_ops[k], sq_own_passes[j]))
                fail_msg("%s, pass %s: %d cells", sq_ops[k]->name, sq_pass_name(sq_own_passes[j]), found);
        }
    }
}

static void test_passes_has_every_operator_in_every_pass(void **state)
{
    (void)state;
    static const char stateless[] = "group_norm layernorm rmsnorm rope xpos";
    bench *b = plan_suite("passes", true), *cpu = plan_suite("passes", false);
    double seconds = 0;
    check_has_every_pass(b);
    check_has_every_pass(cpu);
    for (int i = 0; i < b->plan.count; i++) {
        const sq_plan_item *item = &b->plan.item[i];
        seconds += item->seconds;
        if (item->cell.pass == SQ_PASS_STEP && !strstr(stateless, item->cell.subject) &&
            item->tensor_bytes < 256.0 * (1 << 20))
            fail_msg("%s moves %g bytes", item->key, item->tensor_bytes);
    }
    assert_true(seconds < 160);
    free_bench(b);
    free_bench(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product_of_lists),
        cmocka_unit_test(test_cache_and_launch_are_lists_too),
        cmocka_unit_test(test_a_cold_batch_is_refused),
        cmocka_unit_test(test_repeats_are_dropped),
        cmocka_unit_test(test_tokens_fix_the_batch),
        cmocka_unit_test(test_length_beyond_tokens_is_refused),
        cmocka_unit_test(test_tokens_and_batch_exclude_each_other),
        cmocka_unit_test(test_width_shapes_and_is_kept),
        cmocka_unit_test(test_impossible_shape_names_the_rule),
        cmocka_unit_test(test_a_shape_beyond_counting_is_refused),
        cmocka_unit_test(test_mixers_and_all),
        cmocka_unit_test(test_unknown_names_are_refused_with_the_nearest),
        cmocka_unit_test(test_overrides_lie_over_the_groups_that_they_fit),
        cmocka_unit_test(test_selection_from_groups),
        cmocka_unit_test(test_backend_of_a_group),
        cmocka_unit_test(test_cell_by_key),
        cmocka_unit_test(test_long_cells_are_skipped_with_the_figure),
        cmocka_unit_test(test_missing_pass_is_an_unsupported_row),
        cmocka_unit_test(test_filter_that_keeps_nothing),
        cmocka_unit_test(test_replicates_come_in_rounds_of_their_own_order),
        cmocka_unit_test(test_sentinels_have_rounds_of_their_own),
        cmocka_unit_test(test_many_cells_are_divided_into_strata),
        cmocka_unit_test(test_hash_is_of_the_cells_not_of_the_order),
        cmocka_unit_test(test_the_nightly_suite_has_what_is_watched),
        cmocka_unit_test(test_suites_have_their_size),
        cmocka_unit_test(test_passes_has_every_operator_in_every_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
