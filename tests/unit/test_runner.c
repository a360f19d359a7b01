/* The runner over a worker that misbehaves on demand (tests/fault/fake_worker.py) and a sink in
 * memory: every failure is a row, the campaign goes on, batches and replicates keep their processes
 * apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "bench/runner.h"
#include "profile/profile.h"

enum { MAX_ROWS = 256 };

/* --- a sink that remembers --- */

typedef struct {
    sq_run_status status;
    int replicate;
    char key[SQ_KEY_MAX], reason[SQ_REASON_MAX];
    double tokens, width, counted;
    char counted_validity[96];
    int n_kernels, n_samples;
} row;

typedef struct {
    row rows[MAX_ROWS];
    int n_rows, n_ceilings, fails_at; /* fails_at: the row that cannot be stored; -1 none */
    char state[16];
} memory;

static sq_status on_begin(void *self, const sq_campaign *campaign,
                          const sq_environment *environment, const sq_device *device,
                          const sq_metric_def *metrics, sq_error *err)
{
    (void)self, (void)campaign, (void)environment, (void)metrics, (void)err;
    assert_string_equal(device->name, "Fake GPU");
    return SQ_OK;
}

static double value_of(const sq_record *record, const char *metric, char *validity)
{
    for (int i = 0; i < record->n_values; i++) {
        if (strcmp(record->values[i].metric, metric) != 0)
            continue;
        if (validity)
            strcpy(validity, record->values[i].validity);
        return record->values[i].value;
    }
    return NAN;
}

static sq_status on_run(void *self, const sq_record *record, sq_error *err)
{
    memory *m = self;
    assert_true(m->n_rows < MAX_ROWS);
    if (m->n_rows == m->fails_at)
        return sq_fail(err, SQ_STORE, "disk full");
    row *r = &m->rows[m->n_rows++];
    *r = (row){.status = record->status,
               .replicate = record->replicate,
               .n_kernels = record->n_kernels,
               .n_samples = record->n_samples};
    sq_cell_key(&record->cell, r->key);
    strcpy(r->reason, record->reason);
    r->tokens = value_of(record, "tokens", NULL);
    r->width = value_of(record, "width", NULL);
    r->counted = value_of(record, "dram_bytes_read", r->counted_validity);
    return SQ_OK;
}

static sq_status on_ceiling(void *self, const sq_ceiling *ceiling, sq_error *err)
{
    (void)ceiling, (void)err;
    ((memory *)self)->n_ceilings++;
    return SQ_OK;
}

static sq_status on_finish(void *self, const char *state, sq_error *err)
{
    (void)err;
    snprintf(((memory *)self)->state, 16, "%s", state);
    return SQ_OK;
}

/* --- a campaign --- */

typedef struct {
    sq_target target;
    sq_settings group;
    sq_policy policy;
    sq_plan plan;
    memory store;
    sq_runner_options options;
    sq_runner_result result;
    sq_error err;
    char log[32];
} rig;

static const sq_campaign campaign = {.uuid = "u", .seed = 5};

/* A plan of ssd cells over `lengths`, on the fake worker in `mode` for keys that hold `when`. */
static rig *new_rig(const char *mode, const char *when, const char *lengths, int replicates)
{
    rig *r = calloc(1, sizeof *r);
    sq_rates rates;
    setenv("SEQMARK_WORKER", SQ_SOURCE_DIR "/tests/fault/fake_worker.py", 1);
    setenv("FAKE_WORKER", mode, 1);
    setenv("FAKE_WHEN", when, 1);
    strcpy(r->log, "/tmp/sq_runner_XXXXXX");
    close(mkstemp(r->log));
    setenv("FAKE_LOG", r->log, 1);
    if (sq_target_open("0", &r->target, &r->err) != SQ_OK)
        fail_msg("%s", r->err.message);
    sq_settings_set(&r->group, "op", "ssd", "t", NULL);
    sq_settings_set(&r->group, "provider", "cuda/portable", "t", NULL);
    sq_settings_set(&r->group, "seqlen", lengths, "t", NULL);
    sq_settings_set(&r->group, "width", "256", "t", NULL);
    r->policy = *sq_policy_find("quick");
    r->policy.timeout_seconds = 4; /* a worker of a busy machine takes a second to start */
    rates = sq_rates_nominal(&r->target.device);
    sq_plan_request request = {.groups = &r->group,
                               .n_groups = 1,
                               .catalog = &r->target.catalog,
                               .policy = &r->policy,
                               .rates = &rates,
                               .replicates = replicates,
                               .is_random = true,
                               .seed = 5};
    if (sq_plan_build(&request, &r->plan, &r->err) != SQ_OK)
        fail_msg("%s", r->err.message);
    r->store.fails_at = -1;
    r->options = (sq_runner_options){.plan = &r->plan,
                                     .target = &r->target,
                                     .policy = &r->policy,
                                     .campaign = &campaign,
                                     .metrics = sq_metrics,
                                     .sink = {&r->store, on_begin, on_run, on_ceiling, on_finish}};
    return r;
}

static void run(rig *r)
{
    if (sq_runner_run(&r->options, &r->result, &r->err) != SQ_OK)
        fail_msg("%s", r->err.message);
}

static void free_rig(rig *r)
{
    unlink(r->log);
    sq_plan_free(&r->plan);
    sq_settings_free(&r->group);
    sq_target_close(&r->target);
    free(r);
}

static const row *find_row(const rig *r, const char *text)
{
    for (int i = 0; i < r->store.n_rows; i++)
        if (strstr(r->store.rows[i].key, text))
            return &r->store.rows[i];
    fail_msg("no row of %s", text);
    return NULL;
}

/* One bad cell among three: its row says so, the others are fine. */
static void one_bad(const char *mode, sq_run_status status, const char *reason)
{
    rig *r = new_rig(mode, "L=128,", "64,128,256", 1);
    run(r);
    const row *bad = find_row(r, "L=128,");
    if (bad->status != status || !strstr(bad->reason, reason))
        fail_msg("%s gave %s (%s)", mode, sq_run_status_name(bad->status), bad->reason);
    assert_true(bad->tokens == 128);
    assert_int_equal(r->store.n_rows, 3);
    assert_int_equal(r->result.count[SQ_RUN_OK], 2);
    assert_int_equal(r->result.left, 0);
    assert_string_equal(r->store.state, "finished");
    free_rig(r);
}

static void test_failures_become_rows(void **state)
{
    (void)state;
    one_bad("crash", SQ_RUN_CRASHED, "signal 11");
    one_bad("crash", SQ_RUN_CRASHED, "illegal memory access");
    one_bad("exit", SQ_RUN_CRASHED, "exit code 9");
    one_bad("exit", SQ_RUN_CRASHED, "in stage proof");
    one_bad("hang", SQ_RUN_TIMEOUT, "silent for 4 s");
    one_bad("garbage", SQ_RUN_ERROR, "wrote no message");
    one_bad("refuse", SQ_RUN_ERROR, "cannot read the request");
    one_bad("wrong", SQ_RUN_MISMATCH, "rel_l2");
    one_bad("sticky", SQ_RUN_ERROR, "misaligned address");
    one_bad("unsupported", SQ_RUN_UNSUPPORTED, "head dim");
    one_bad("oom", SQ_RUN_OOM, "are free");
}

/* Eight stages, each well within the limit, together beyond it. */
static void test_signs_of_life_are_no_timeout(void **state)
{
    (void)state;
    rig *r = new_rig("slow", "L=128,", "128", 1);
    run(r);
    assert_int_equal(r->store.rows[0].status, SQ_RUN_OK);
    free_rig(r);
}

static void test_rows_carry_width_tokens_and_samples(void **state)
{
    (void)state;
    rig *r = new_rig("well", "", "64", 1);
    run(r);
    assert_true(r->store.rows[0].width == 256);
    assert_true(r->store.rows[0].tokens == 64);
    assert_int_equal(r->store.rows[0].n_samples, 10);
    assert_int_equal(r->store.n_ceilings, 1);
    free_rig(r);
}

static void test_profile_joins_the_record_once_a_cell(void **state)
{
    (void)state;
    rig *r = new_rig("well", "", "64", 2);
    r->options.counters = "basic";
    run(r);
    assert_int_equal(r->store.n_rows, 2);
    assert_true(r->store.rows[0].counted == 123);
    assert_int_equal(r->store.rows[0].n_kernels, 1);
    assert_int_equal(r->store.rows[1].replicate, 1);
    assert_true(isnan(r->store.rows[1].counted));
    free_rig(r);
}

static void test_every_run_can_be_counted(void **state)
{
    (void)state;
    rig *r = new_rig("well", "", "64", 2);
    r->options.counters = "basic";
    r->options.counts_every_run = true;
    run(r);
    assert_true(r->store.rows[0].counted == 123 && r->store.rows[1].counted == 123);
    free_rig(r);
}

static void test_failed_profile_fails_no_cell(void **state)
{
    (void)state;
    rig *r = new_rig("profile-crash", "", "64,128", 1);
    r->options.counters = "basic";
    run(r);
    assert_int_equal(r->result.count[SQ_RUN_OK], 2);
    assert_true(isnan(r->store.rows[0].counted));
    assert_non_null(strstr(r->store.rows[0].counted_validity, "signal 11"));
    free_rig(r);
}

/* Which process ran what: pid, cell and known proof of every "run" request, in order. */
typedef struct {
    int pid[MAX_ROWS], n;
    char cell[MAX_ROWS][SQ_KEY_MAX], proved[MAX_ROWS][SQ_HASH_TEXT];
} history;

static void read_history(const rig *r, history *h)
{
    char line[4096];
    FILE *file = fopen(r->log, "r");
    assert_non_null(file);
    h->n = 0;
    while (fgets(line, sizeof line, file)) {
        json_t *request = json_loads(line, 0, NULL);
        assert_non_null(request);
        if (strcmp(json_string_value(json_object_get(request, "do")), "run") == 0) {
            const char *proved = json_string_value(json_object_get(request, "proved"));
            strcpy(h->cell[h->n], json_string_value(json_object_get(request, "cell")));
            snprintf(h->proved[h->n], SQ_HASH_TEXT, "%s", proved ? proved : "");
            h->pid[h->n++] = (int)json_integer_value(json_object_get(request, "pid"));
        }
        json_decref(request);
    }
    fclose(file);
}

static void test_a_worker_gets_at_most_a_batch(void **state)
{
    (void)state;
    rig *r = new_rig("well", "", "32..2k+24", 1);
    static history h;
    int of_this = 0;
    run(r);
    read_history(r, &h);
    assert_true(h.n > SQ_BATCH_CELLS);
    assert_int_equal(h.n, r->plan.count);
    for (int i = 0; i < h.n; i++) {
        of_this = i && h.pid[i] == h.pid[i - 1] ? of_this + 1 : 1;
        assert_true(of_this <= SQ_BATCH_CELLS);
    }
    free_rig(r);
}

static void test_replicates_never_share_a_process(void **state)
{
    (void)state;
    rig *r = new_rig("well", "", "32..1536+32", 3); /* more than a batch a round */
    static history h;
    run(r);
    read_history(r, &h);
    assert_true(r->plan.n_cells > SQ_BATCH_CELLS);
    assert_int_equal(h.n, 3 * r->plan.n_cells);
    for (int i = 0; i < h.n; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(h.cell[i], h.cell[k]) == 0)
                assert_int_not_equal(h.pid[i], h.pid[k]);
    free_rig(r);
}

/* The worker hears what was proved from the second run of a cell on, also of a crash's successor. */
static void test_a_proof_is_remembered(void **state)
{
    (void)state;
    rig *r = new_rig("well", "", "32,64,96", 3);
    static history h;
    strcpy(r->plan.proved[0], "feed"); /* of the store, as a resumed campaign has it */
    run(r);
    read_history(r, &h);
    for (int i = 0; i < h.n; i++) {
        bool is_known = strcmp(h.cell[i], r->plan.item[i].key) == 0 && r->plan.item[i].place == 0;
        assert_int_equal(strlen(h.proved[i]), is_known ? 4 : i < 3 ? 0 : 16);
        for (int k = 3; k < i; k++)
            assert_int_equal(strcmp(h.cell[i], h.cell[k]) == 0,
                             strcmp(h.proved[i], h.proved[k]) == 0);
    }
    free_rig(r);
}

/* The next cell is not blamed for a worker that died of the one before. */
static void test_sticky_error_spares_the_next_cell(void **state)
{
    (void)state;
    rig *r = new_rig("sticky", "L=64,", "64,96,128,160", 1);
    run(r);
    assert_int_equal(r->result.count[SQ_RUN_ERROR], 1);
    assert_int_equal(r->result.count[SQ_RUN_OK], 3);
    assert_non_null(strstr(r->result.first_failure, "misaligned address"));
    free_rig(r);
}

static void test_spent_budget_leaves_the_rest(void **state)
{
    (void)state;
    rig *r = new_rig("well", "", "64,128,256", 1);
    r->options.budget_seconds = 1e-6;
    run(r);
    assert_int_equal(r->result.left, 3);
    assert_string_equal(r->store.state, "budget");
    free_rig(r);
}

static void test_done_items_are_passed_over(void **state)
{
    (void)state;
    rig *r = new_rig("well", "", "64,128,256", 1);
    r->plan.item[1].is_done = true;
    run(r);
    assert_int_equal(r->store.n_rows, 2);
    assert_int_equal(r->result.left, 0);
    free_rig(r);
}

static void test_store_that_fails_ends_the_campaign(void **state)
{
    (void)state;
    rig *r = new_rig("well", "", "64,128,256", 1);
    r->store.fails_at = 1;
    assert_int_equal(sq_runner_run(&r->options, &r->result, &r->err), SQ_STORE);
    assert_non_null(strstr(r->err.message, "disk full"));
    assert_int_equal(r->store.n_rows, 1);
    assert_string_equal(r->store.state, "failed");
    free_rig(r);
}

static void test_device_that_is_not_there(void **state)
{
    (void)state;
    sq_target target = {.name = ""};
    sq_error err = {.status = SQ_OK};
    setenv("SEQMARK_WORKER", SQ_SOURCE_DIR "/tests/fault/fake_worker.py", 1);
    setenv("FAKE_WORKER", "silent-hello", 1);
    assert_int_equal(sq_target_open("0", &target, &err), SQ_DEVICE);
    assert_non_null(strstr(err.message, "no CUDA-capable device is detected"));
    setenv("SEQMARK_WORKER", "/nowhere/seqmark-worker", 1);
    assert_int_equal(sq_target_open("0", &target, &err), SQ_DEVICE);
    assert_int_equal(sq_target_open("gpu", &target, &err), SQ_BAD_ARGUMENT);
    sq_target_close(&target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures_become_rows),
        cmocka_unit_test(test_signs_of_life_are_no_timeout),
        cmocka_unit_test(test_rows_carry_width_tokens_and_samples),
        cmocka_unit_test(test_profile_joins_the_record_once_a_cell),
        cmocka_unit_test(test_every_run_can_be_counted),
        cmocka_unit_test(test_failed_profile_fails_no_cell),
        cmocka_unit_test(test_a_worker_gets_at_most_a_batch),
        cmocka_unit_test(test_replicates_never_share_a_process),
        cmocka_unit_test(test_a_proof_is_remembered),
        cmocka_unit_test(test_sticky_error_spares_the_next_cell),
        cmocka_unit_test(test_spent_budget_leaves_the_rest),
        cmocka_unit_test(test_done_items_are_passed_over),
        cmocka_unit_test(test_store_that_fails_ends_the_campaign),
        cmocka_unit_test(test_device_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
