/* What a job's times put on its record: modes, copies of the inputs, throttled runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/worker/session.h"
#include "bench/worker/slowdown.h"

static sq_session session;

static void on_stage(void *arg, const char *stage)
{
    (void)arg, (void)stage;
}

static int open_session(void **state)
{
    (void)state;
    sq_error err;
    session = (sq_session){.rig = {.backend = &sq_backend_cpu, .providers = sq_providers_cpu},
                           .on_stage = on_stage};
    return session.rig.backend->open(0, &session.rig.device, &err) == SQ_OK ? 0 : -1;
}

static int close_session(void **state)
{
    (void)state;
    sq_session_close(&session);
    session.rig.backend->close(session.rig.device);
    return 0;
}

static const sq_policy policy = {.warmup_launches = 3,
                                 .min_samples = 10,
                                 .max_samples = 20,
                                 .max_seconds = 0.05,
                                 .target_interval = 0.005,
                                 .max_interval = 1e6,
                                 .max_cell_seconds = 0.5,
                                 .proof_work = 1e6};

static sq_task task_of(const char *subject, const char *shape)
{
    char key[SQ_KEY_MAX];
    sq_error err;
    sq_task task = {.seed = 3, .policy = policy};
    snprintf(key, sizeof key, "%s@cpu/ref/fwd/f32/%s/clean-cold,plain,unlocked", subject, shape);
    if (sq_cell_parse(key, &task.cell, &task.subject, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return task;
}

static sq_record run_task(const sq_task *task)
{
    sq_record record;
    sq_session_run(&session, task, &record);
    return record;
}

static double value_of(const sq_record *record, const char *metric)
{
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return record->values[i].value;
    return NAN;
}

static void copies_of_the_inputs_take_turns(void **state)
{
    (void)state;
    static const char *const subjects[][2] = {{"rmsnorm", "B=2,L=512,D=256"},
                                              {"block:mamba", "B=1,L=64,D=64"}};
    for (int i = 0; i < 2; i++) {
        sq_task task = task_of(subjects[i][0], subjects[i][1]);
        sq_record plain = run_task(&task);
        task.cell.cache = SQ_CACHE_ROTATE;
        sq_record record = run_task(&task);
        if (record.status != SQ_RUN_OK)
            fail_msg("%s: %s", subjects[i][0], record.reason);
        double copies = value_of(&record, "copies");
        assert_true(copies >= 2 && copies <= 256);
        assert_true(record.n_samples >= 10);
        /* the inputs are some of the bytes, and there are copies - 1 more of them */
        assert_true((double)(record.peak_bytes - plain.peak_bytes) > 1000 * (copies - 1));
        assert_true((double)record.peak_bytes <= copies * (double)plain.peak_bytes);
        assert_true(isnan(value_of(&plain, "copies")));
        sq_record_free(&plain);
        sq_record_free(&record);
    }
}

static void modes_that_cannot_be_here_are_unsupported(void **state)
{
    (void)state;
    sq_task task = task_of("rmsnorm", "B=2,L=5,D=32");
    task.cell.cache = SQ_CACHE_ROTATE;
    sq_record record = run_task(&task);
    assert_int_equal(record.status, SQ_RUN_UNSUPPORTED);
    assert_non_null(strstr(record.reason, "copies of 1408 bytes"));
    sq_record_free(&record);
    task = task_of("rmsnorm", "B=2,L=5,D=32");
    task.cell.launch = SQ_LAUNCH_GRAPH;
    record = run_task(&task);
    assert_int_equal(record.status, SQ_RUN_UNSUPPORTED);
    assert_non_null(strstr(record.reason, "no graphs"));
    assert_int_equal(record.n_samples, 0);
    sq_record_free(&record);
}

static void a_batch_says_how_many(void **state)
{
    (void)state;
    sq_task task = task_of("rmsnorm", "B=2,L=5,D=32");
    task.cell.cache = SQ_CACHE_HOT;
    task.cell.launch = SQ_LAUNCH_BATCH;
    sq_record record = run_task(&task);
    if (record.status != SQ_RUN_OK)
        fail_msg("%s", record.reason);
    assert_true(value_of(&record, "batch_launches") >= 2);
    sq_record_free(&record);
}

static bool always_slowed(void *arg, char *why, size_t size)
{
    (void)arg;
    snprintf(why, size, "power brake for 3 ms");
    return true;
}

static void a_run_with_nothing_but_dropped_samples_is_throttled(void **state)
{
    (void)state;
    sq_task task = task_of("rmsnorm", "B=2,L=5,D=32");
    sq_job *job = NULL;
    sq_error err = {.message = ""};
    double setup_ns;
    sq_record record;
    sq_rig rig = session.rig;
    rig.watch = (sq_watch){.was_slowed = always_slowed};
    sq_record_init(&record, &task.cell);
    assert_int_equal(sq_job_new(&rig, &task.subject, &task.cell, &job, &err), SQ_OK);
    assert_int_equal(job->ops->prepare(job, 1, &setup_ns, &err), SQ_OK);
    assert_int_equal(sq_measure(job, &policy, task.cell.cache, NULL, NULL, &record, &err), SQ_OK);
    assert_int_equal(record.status, SQ_RUN_THROTTLED);
    assert_non_null(strstr(record.reason, "samples were dropped: power brake for 3 ms"));
    assert_int_equal(record.n_samples, 0);
    assert_true(isnan(record.cycles));
    assert_true(value_of(&record, "dropped_samples") >= 1);
    sq_job_free(job);
    sq_record_free(&record);
}

static int idles;
static double idled_ns;

static sq_status count_idle(sq_backend_device *device, double ns, sq_error *err)
{
    (void)device, (void)err;
    idles++;
    idled_ns = ns;
    return SQ_OK;
}

static sq_status take_50_us(sq_backend_device *device, const sq_sample_request *request,
                            sq_sample *out, sq_error *err)
{
    (void)device;
    *out = (sq_sample){.ns = 50000, .sm_mhz = NAN};
    return request->launch(request->arg, err);
}

/* $SEQMARK_TEST_SLOW adds to the launches of the cells it names, and to no others. */
static void cells_can_be_slowed_for_tests(void **state)
{
    (void)state;
    static const struct {
        const char *told;
        double ns;
    } cases[] = {{"3:B=2,L=5,", 1500}, {"3:B=3,;10:rmsnorm@", 5000}, {"3:B=3,", 0}, {"3:", 0},
                 {"-3:rmsnorm", 0},    {"", 0}};
    sq_backend backend = sq_backend_cpu;
    backend.idle = count_idle;
    backend.sample = take_50_us;
    sq_task task = task_of("rmsnorm", "B=2,L=5,D=32");
    const sq_rig kept = session.rig;
    session.rig.backend = &backend;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        idles = 0, idled_ns = 0;
        setenv("SEQMARK_TEST_SLOW", cases[i].told, 1);
        sq_record record = run_task(&task);
        assert_int_equal(record.status, SQ_RUN_OK);
        assert_true(idled_ns == cases[i].ns);
        assert_true(cases[i].ns > 0 ? idles >= record.n_samples : idles == 0);
        sq_record_free(&record);
    }
    unsetenv("SEQMARK_TEST_SLOW");
    session.rig = kept;
}

static size_t copied;

static sq_status count_copy(sq_backend_device *device, void *to, const void *from, size_t bytes,
                            sq_error *err)
{
    copied += bytes;
    return sq_backend_cpu.copy(device, to, from, bytes, err);
}

/* $SEQMARK_TEST_LARGER adds to the memory of the cells it names, and to what a counted launch moves. */
static void cells_can_be_made_larger_for_tests(void **state)
{
    (void)state;
    sq_task task = task_of("rmsnorm", "B=2,L=512,D=512");
    sq_record plain = run_task(&task);
    sq_backend backend = sq_backend_cpu;
    const sq_rig kept = session.rig;
    sq_error err = {.message = ""};
    backend.copy = count_copy;
    session.rig.backend = &backend;
    setenv("SEQMARK_TEST_LARGER", "1:B=3,;10:L=512,", 1);
    sq_record larger = run_task(&task);
    assert_int_equal(larger.status, SQ_RUN_OK);
    assert_int_equal(copied, 0); /* its time is what it was */
    size_t added = (size_t)(larger.peak_bytes - plain.peak_bytes);
    assert_in_range(added, plain.peak_bytes / 10 - 4096, plain.peak_bytes / 10);
    sq_job *job = NULL;
    double setup_ns;
    assert_int_equal(sq_job_new(&session.rig, &task.subject, &task.cell, &job, &err), SQ_OK);
    assert_int_equal(sq_surplus_add(job, &task.cell, &err), SQ_OK);
    assert_int_equal(job->ops->prepare(job, 1, &setup_ns, &err), SQ_OK);
    assert_int_equal(sq_job_launch_next(job, &err), SQ_OK);
    assert_int_equal(copied, added / SQ_SURPLUS_PARTS * (SQ_SURPLUS_PARTS - 1));
    sq_job_free(job);
    unsetenv("SEQMARK_TEST_LARGER");
    session.rig = kept;
    sq_record_free(&larger);
    sq_record_free(&plain);
}

/* A known hash; of the operator alone, whatever its shape. */
static void the_code_that_can_run_is_told(void **state)
{
    (void)state;
    static const char *const cells[][2] = {{"rmsnorm", "B=2,L=5,D=32"},
                                           {"rmsnorm", "B=1,L=9,D=64"},
                                           {"linear", "B=1,L=9,K=64,N=64"},
                                           {"block:mamba", "B=1,L=16,D=64"},
                                           {"block:hyena", "B=1,L=16,D=64"}};
    char hash[5][SQ_HASH_TEXT];
    for (int i = 0; i < 5; i++) {
        sq_task task = task_of(cells[i][0], cells[i][1]);
        sq_record record = run_task(&task);
        assert_int_equal(strlen(record.kernel_hash), SQ_HASH_TEXT - 1);
        strcpy(hash[i], record.kernel_hash);
        sq_record_free(&record);
    }
    assert_string_equal(hash[0], hash[1]);
    for (int i = 1; i < 5; i++)
        for (int k = i + 1; k < 5; k++)
            assert_string_not_equal(hash[i], hash[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_of_the_inputs_take_turns),
        cmocka_unit_test(modes_that_cannot_be_here_are_unsupported),
        cmocka_unit_test(a_batch_says_how_many),
        cmocka_unit_test(the_code_that_can_run_is_told),
        cmocka_unit_test(cells_can_be_slowed_for_tests),
        cmocka_unit_test(cells_can_be_made_larger_for_tests),
        cmocka_unit_test(a_run_with_nothing_but_dropped_samples_is_throttled),
    };
    return cmocka_run_group_tests(tests, open_session, close_session);
}
