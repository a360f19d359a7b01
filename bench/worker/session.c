/* session: see session.h. */
#include "bench/worker/session.h"

#include "bench/worker/prove_files.h"
#include "bench/worker/slowdown.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

static void set_reason(sq_record *record, sq_run_status status, const char *text)
{
    record->status = status;
    snprintf(record->reason, sizeof record->reason, "%.*s", SQ_REASON_MAX - 1, text);
}

void sq_session_fail(sq_record *record, sq_status status, const sq_error *err)
{
    sq_run_status outcome = status == SQ_UNSUPPORTED     ? SQ_RUN_UNSUPPORTED
                            : status == SQ_OUT_OF_MEMORY ? SQ_RUN_OOM
                            : status == SQ_MISMATCH      ? SQ_RUN_MISMATCH
                                                         : SQ_RUN_ERROR;
    const char *text = err->message[0] ? err->message : sq_status_text(status);
    set_reason(record, outcome, text);
}

void sq_session_start(const sq_task *task, sq_record *record)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    sq_record_init(record, &task->cell);
    record->started = (double)now.tv_sec + 1e-6 * (double)now.tv_usec;
}

/* --- check --- */

static sq_status free_bytes(const sq_rig *rig, size_t *out, sq_error *err)
{
    size_t total;
    return rig->backend->memory(rig->device, out, &total, err);
}

void sq_session_check(sq_session *session, const sq_task *task, sq_fit *fit)
{
    sq_error err = {.status = SQ_OK};
    sq_job *job = NULL;
    size_t available = 0;
    *fit = (sq_fit){.bytes = NAN, .free_bytes = NAN};
    if (free_bytes(&session->rig, &available, &err) == SQ_OK)
        fit->free_bytes = (double)available;
    if (sq_job_new(&session->rig, &task->subject, &task->cell, &job, &err) == SQ_OK) {
        fit->is_supported = true;
        fit->bytes = (double)job->bytes;
    } else {
        snprintf(fit->reason, sizeof fit->reason, "%.*s", SQ_REASON_MAX - 1, err.message);
    }
    sq_job_free(job);
}

/* --- run --- */

sq_status sq_session_check_memory(const sq_job *job, bool try_oom, sq_error *err)
{
    size_t available = 0;
    SQ_TRY(free_bytes(job->rig, &available, err));
    if (job->bytes <= available || try_oom)
        return SQ_OK;
    return sq_fail(err, SQ_OUT_OF_MEMORY, "needs %.3f GB, %.3f GB are free",
                   1e-9 * (double)job->bytes, 1e-9 * (double)available);
}

static sq_status add_numbers(const sq_session *session, const sq_device *device,
                             const sq_cost *cost, double tokens, sq_record *record)
{
    double floor_ns = sq_ceilings_floor_ns(&session->ceilings, device, record->cell.dtype, cost);
    const struct {
        const char *metric;
        double value;
    } numbers[] = {
        {"flops", cost->flops},
        {"matrix_flops", cost->matrix_flops},
        {"special", cost->special},
        {"bytes", cost->bytes_read + cost->bytes_written},
        {"bytes_read", cost->bytes_read},
        {"bytes_written", cost->bytes_written},
        {"tokens", tokens},
        {"floor_ns", floor_ns},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (!isnan(numbers[i].value))
            SQ_TRY(sq_record_add_number(record, numbers[i].metric, numbers[i].value));
    return SQ_OK;
}

/* The checks join the record; what does not hold ends it. */
static sq_status keep_proof(const sq_proof *proof, sq_record *record)
{
    for (int i = 0; i < proof->n_checks; i++)
        SQ_TRY(sq_record_add_check(record, &proof->checks[i]));
    if (!proof->is_ok)
        set_reason(record, SQ_RUN_MISMATCH, proof->reason);
    return SQ_OK;
}

static sq_status lap(sq_session *session, const char *metric, sq_record *record)
{
    return sq_stopwatch_lap(&session->watch, metric, record);
}

static void on_cooling(void *arg)
{
    sq_session *session = arg;
    session->on_stage(session->arg, "cooling");
}

/* Rests before the run as the policy says, and notes it. */
static sq_status rest(sq_session *session, double seconds, sq_record *record)
{
    char validity[sizeof((sq_value *)0)->validity] = "ok";
    if (seconds == 0 || (seconds < 0 && session->gave_up_cooling))
        return SQ_OK;
    sq_cooldown done = sq_cooldown_rest(seconds, &sq_cooldown_limits_default, session->vitals.nvml,
                                        on_cooling, session);
    if (done.seconds == 0)
        return SQ_OK;
    SQ_TRY(lap(session, "phase_cooldown_ms", record));
    session->gave_up_cooling = done.is_still_hot;
    if (done.is_still_hot)
        snprintf(validity, sizeof validity,
                 "inconsistent: after %.0f s still %.0f C from slowdown; no more waits",
                 done.seconds, done.headroom_c);
    return sq_record_add_measured(record, "cooldown_s", done.seconds, 1, NAN, validity);
}

static void on_energy(void *arg)
{
    sq_session *session = arg;
    session->on_stage(session->arg, "energy");
}

/* Before anything else of the process has warmed the device. */
static sq_status measure_idle(sq_session *session, sq_error *err)
{
    if (session->has_idle)
        return SQ_OK;
    on_energy(session);
    SQ_TRY(sq_energy_idle(session->vitals.nvml, &sq_energy_plan_default, on_energy, session,
                          &session->idle, err));
    session->has_idle = true;
    return SQ_OK;
}

static sq_status measure_energy(sq_session *session, sq_job *job, sq_record *record, sq_error *err)
{
    if (record->n_samples == 0)
        return SQ_OK;
    on_energy(session);
    SQ_TRY(sq_record_add_number(record, "energy_is_hot", record->cell.cache != SQ_CACHE_ROTATE));
    return sq_energy_measure(job, session->vitals.nvml, &sq_energy_plan_default,
                             1e-9 * record->stats.median, &session->idle, on_energy, session,
                             record, err);
}

/* What became of a proof that an earlier run of the cell had made. */
static sq_status add_reuse(sq_record *record, bool is_same)
{
    sq_value value = {.metric = "proof_reused", .value = is_same ? 1 : NAN, .n = is_same};
    value.spread = value.sm_mhz = NAN;
    strcpy(value.validity,
           is_same ? "ok" : "inconsistent: the output differs from the proved one; proved again");
    return sq_record_add_value(record, &value);
}

/* One launch on poisoned outputs, compared with the reference, or with the bits of an output that
 * was. *is_ok: nothing is wrong. */
static sq_status prove(sq_session *session, const sq_task *task, sq_job *job, uint64_t *sum,
                       sq_record *record, bool *is_ok, sq_error *err)
{
    sq_proof proof;
    char text[SQ_HASH_TEXT];
    session->on_stage(session->arg, "proof");
    SQ_TRY(sq_job_run_once(job, err));
    SQ_TRY(job->ops->checksum(job, sum, err));
    snprintf(text, sizeof text, "%016" PRIx64, *sum);
    bool is_same = *is_ok = strcmp(text, task->proved) == 0;
    if (task->proved[0])
        SQ_TRY(add_reuse(record, is_same));
    if (!is_same) {
        SQ_TRY(job->ops->prove(job, task->policy.proof_work, &proof, err));
        SQ_TRY(keep_proof(&proof, record));
        *is_ok = proof.is_ok;
    }
    if (*is_ok)
        strcpy(record->checksum, text);
    return SQ_OK;
}

static void on_alive(void *arg)
{
    sq_session *session = arg;
    session->on_stage(session->arg, "samples");
}

static sq_status time_job(sq_session *session, const sq_task *task, sq_job *job, uint64_t proved,
                          sq_record *record, sq_error *err)
{
    uint64_t sum = 0;
    session->on_stage(session->arg, "warm-up");
    sq_vitals_begin(&session->vitals);
    SQ_TRY(lap(session, "phase_vitals_ms", record));
    SQ_TRY(sq_measure(job, &task->policy, task->cell.cache, on_alive, session, record, err));
    sq_stopwatch_start(&session->watch); /* the time until here is in its phases */
    SQ_TRY(sq_vitals_end(&session->vitals, record));
    SQ_TRY(lap(session, "phase_vitals_ms", record));
    if (task->policy.energy) {
        SQ_TRY(measure_energy(session, job, record, err));
        SQ_TRY(lap(session, "phase_energy_ms", record));
    }
    SQ_TRY(job->ops->checksum(job, &sum, err));
    if (sum != proved) {
        sq_record_drop_times(record);
        set_reason(record, SQ_RUN_MISMATCH,
                   "the output changed between launches: its checksum "
                   "differs from that of the proved launch");
    }
    return SQ_OK;
}

static sq_status run_job(sq_session *session, const sq_task *task, sq_job *job, sq_record *record,
                         sq_error *err)
{
    bool is_ok = false;
    uint64_t proved = 0;
    strcpy(record->kernel_hash, job->kernel_hash);
    SQ_TRY(add_numbers(session, job->rig->backend->facts(job->rig->device), &job->cost, job->tokens,
                       record));
    SQ_TRY(sq_session_check_memory(job, task->policy.try_oom, err));
    if (task->policy.energy) {
        SQ_TRY(measure_idle(session, err));
        SQ_TRY(lap(session, "phase_energy_ms", record));
    }
    SQ_TRY(rest(session, task->policy.cooldown_seconds, record));
    session->on_stage(session->arg, "prepare");
    SQ_TRY(job->ops->prepare(job, task->seed, &record->setup_ns, err));
    record->peak_bytes = (int64_t)job->bytes;
    SQ_TRY(lap(session, "phase_setup_ms", record));
    SQ_TRY(prove(session, task, job, &proved, record, &is_ok, err));
    SQ_TRY(lap(session, "phase_proof_ms", record));
    return is_ok ? time_job(session, task, job, proved, record, err) : SQ_OK;
}

static void open_vitals(sq_session *session)
{
    if (!session->has_vitals)
        sq_vitals_open(session->rig.backend->facts(session->rig.device), &session->vitals);
    session->rig.watch = sq_vitals_watch(&session->vitals);
    session->has_vitals = true;
}

void sq_session_run(sq_session *session, const sq_task *task, sq_record *record)
{
    char key[SQ_KEY_MAX];
    sq_error err = {.status = SQ_OK};
    sq_job *job = NULL;
    sq_session_start(task, record);
    sq_cell_key(&task->cell, key);
    sq_nvtx_push(key);
    sq_stopwatch_start(&session->watch);
    open_vitals(session);
    sq_status status = sq_job_new(&session->rig, &task->subject, &task->cell, &job, &err);
    if (status == SQ_OK)
        status = sq_surplus_add(job, &task->cell, &err);
    if (status == SQ_OK)
        status = run_job(session, task, job, record, &err);
    if (status != SQ_OK) {
        sq_record_drop_times(record);
        sq_session_fail(record, status, &err);
    }
    sq_job_free(job);
    lap(session, "phase_teardown_ms", record);
    sq_nvtx_pop();
}

/* --- sustain --- */

#define SUSTAIN_INTERVAL 0.1 /* seconds: as often as the driver reads its power sensor */

static void on_sustain(void *arg)
{
    sq_session *session = arg;
    session->on_stage(session->arg, "sustain");
}

static sq_status sustain_job(sq_session *session, const sq_task *task, sq_job *job, double seconds,
                             sq_sustain_point *points, int *n, sq_error *err)
{
    double setup_ns;
    SQ_TRY(sq_session_check_memory(job, false, err));
    session->on_stage(session->arg, "prepare");
    SQ_TRY(job->ops->prepare(job, task->seed, &setup_ns, err));
    return sq_sustain_run(job, session->vitals.nvml, seconds, SUSTAIN_INTERVAL, on_sustain, session,
                          points, n, err);
}

sq_status sq_session_sustain(sq_session *session, const sq_task *task, double seconds,
                             sq_sustain_point *points, int *n, sq_error *err)
{
    sq_job *job = NULL;
    *n = 0;
    open_vitals(session);
    SQ_TRY(sq_job_new(&session->rig, &task->subject, &task->cell, &job, err));
    sq_status status = sustain_job(session, task, job, seconds, points, n, err);
    sq_job_free(job);
    return status;
}

/* --- prove --- */

static sq_status prove_files(sq_session *session, const sq_task *task, const char *const *paths,
                             int n, const sq_device *device, sq_record *record, sq_error *err)
{
    const sq_cell *cell = &task->cell;
    sq_proof_files files = {.op = task->subject.op,
                            .cell = cell,
                            .seed = task->seed,
                            .max_work = task->policy.proof_work,
                            .paths = paths,
                            .n_paths = n,
                            .proved = task->proved};
    sq_proof proof;
    char checksum[SQ_HASH_TEXT];
    if (!files.op)
        return sq_fail(err, SQ_UNSUPPORTED, "a block is proved by its own worker only");
    SQ_TRY(sq_prove_files(&session->rig, &files, &proof, checksum, err));
    if (task->proved[0])
        SQ_TRY(add_reuse(record, strcmp(checksum, task->proved) == 0));
    SQ_TRY(keep_proof(&proof, record));
    if (proof.is_ok)
        strcpy(record->checksum, checksum);
    sq_cost cost = sq_op_cost(files.op, cell->pass, cell->dtype, cell->value);
    return add_numbers(session, device, &cost, sq_op_tokens(cell->pass, cell->value), record);
}

void sq_session_prove(sq_session *session, const sq_task *task, const char *const *paths, int n,
                      const sq_device *device, sq_record *record)
{
    sq_error err = {.status = SQ_OK};
    sq_session_start(task, record);
    session->on_stage(session->arg, "proof");
    record->status = SQ_RUN_OK;
    sq_status status = prove_files(session, task, paths, n, device, record, &err);
    if (status != SQ_OK)
        sq_session_fail(record, status, &err);
}

void sq_session_close(sq_session *session)
{
    sq_profiler_close(session->profiler);
    session->profiler = NULL;
    sq_vitals_close(&session->vitals);
    session->has_vitals = false;
}
