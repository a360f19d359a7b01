/* seqmark doctor: what this machine can do, and how to mend what is missing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/ask.h"
#include "bench/child.h"
#include "bench/command.h"
#include "bench/doctor_gpu.h"
#include "bench/exchange.h"
#include "bench/paths.h"
#include "bench/peer.h"
#include "profile/profile.h"

static const sq_option options[] = {
    SQ_OPTION_HELP, SQ_OPTION_DEVICE, SQ_OPTION_DB, SQ_OPTION_OUTPUT, {NULL, 0, NULL, NULL},
};

typedef struct {
    const sq_given *given;
    sq_table *table;
    sq_target target;
    char unfit[512]; /* the first thing that a campaign cannot do without */
} examination;

/* state: "ok", "limited" (works, with less), "missing" (nothing can be measured), "absent" (not
 * here, not needed). */
static void add(examination *e, const char *check, const char *state, const char *detail,
                const char *mend)
{
    sq_table_text(e->table, check);
    sq_table_text(e->table, state);
    sq_table_text(e->table, detail);
    sq_table_text(e->table, mend);
    if (strcmp(state, "missing") == 0 && !e->unfit[0])
        snprintf(e->unfit, sizeof e->unfit, "%.100s: %.400s", check, detail);
}

/* --- devices --- */

static void check_cpu(examination *e)
{
    sq_error err = {.status = SQ_OK};
    sq_target target = {.name = ""};
    char detail[400];
    if (sq_target_open("cpu", &target, &err) != SQ_OK) {
        add(e, "cpu backend", "missing", err.message, "build seqmark again");
    } else {
        snprintf(detail, sizeof detail, "%s, %d cores, %d operator/provider pairs",
                 target.device.name, target.device.sm_count, target.catalog.count);
        add(e, "cpu backend", "ok", detail, "");
    }
    sq_target_close(&target);
}

/* The driver's control file: there is a GPU that should work. */
static bool has_driver(void)
{
    return access("/dev/nvidiactl", F_OK) == 0;
}

static void describe_gpu(examination *e)
{
    const sq_device *d = &e->target.device;
    char detail[400], memory[32];
    sq_format_bytes((double)d->memory_bytes, memory, sizeof memory);
    snprintf(detail, sizeof detail, "%s, %s, %d SMs, %s", d->name, d->arch, d->sm_count, memory);
    add(e, "gpu", "ok", detail, "");
    snprintf(detail, sizeof detail, "driver %s, toolkit %s, cuBLAS %s, cuFFT %s",
             e->target.environment.driver, e->target.environment.toolkit,
             e->target.environment.cublas, e->target.environment.cufft);
    add(e, "cuda", "ok", detail, "");
    snprintf(detail, sizeof detail, "up to %.0f MHz SM, %.0f MHz memory; never changed by seqmark",
             d->max_sm_mhz, d->max_memory_mhz);
    add(e, "clocks", "ok", detail, "");
}

static void check_gpu(examination *e)
{
    const char *device = sq_given_value(e->given, "device", "0");
    sq_error err = {.status = SQ_OK};
    bool is_asked = sq_given_has(e->given, "device") && strcmp(device, "cpu") != 0;
    if (strcmp(device, "cpu") == 0)
        return;
    if (sq_target_open(device, &e->target, &err) == SQ_OK) {
        describe_gpu(e);
        return;
    }
    add(e, "gpu", is_asked || has_driver() ? "missing" : "absent", err.message,
        has_driver() ? "build with nvcc on PATH (cmake --preset release), or set SEQMARK_WORKER"
                     : "an NVIDIA GPU with a driver for CUDA 13, and a build with nvcc");
}

/* --- CUPTI and NVML, asked in a process of their own: without a driver some of their calls crash,
 * and this program touches no CUDA --- */

static size_t describe_cupti(const void *arg, void *out, size_t size)
{
    (void)arg;
    sq_profile_describe_cupti(out, size);
    return strlen(out);
}

static size_t describe_nvml(const void *arg, void *out, size_t size)
{
    (void)arg;
    sq_profile_describe_nvml(out, size);
    return strlen(out);
}

static void check_described(examination *e, const char *check, sq_child_fn describe, const char *mend)
{
    char line[400] = "absent: asking crashed or hung";
    size_t n = sq_ask_child(describe, NULL, line, sizeof line - 1);
    if (n)
        line[n] = 0;
    bool is_absent = strncmp(line, "absent", 6) == 0, has_gpu = e->target.name[0] != 0;
    const char *state = !is_absent ? "ok" : has_gpu ? "limited" : "absent";
    const char *detail = strncmp(line, "absent: ", 8) == 0 ? line + 8 : line;
    add(e, check, state, detail, is_absent && has_gpu ? mend : "");
}

static void add_finding(examination *e, const sq_gpu_finding *f)
{
    add(e, f->check, f->state, f->detail, f->mend);
}

/* What the driver says of the GPU as it is now; "nvml" has said so where it cannot be asked. */
static void check_state(examination *e)
{
    sq_nvml_state state;
    sq_gpu_finding findings[SQ_MAX_FINDINGS];
    if (!sq_doctor_ask(&e->target.device, &state))
        return;
    int n = sq_doctor_judge(&state, findings);
    for (int i = 0; i < n; i++)
        add_finding(e, &findings[i]);
}

/* --- counters: only a trial knows about permission, MIG and other clients --- */

static sq_status plan_trial(const sq_target *target, sq_plan_item *item, sq_error *err)
{
    sq_subject subject;
    sq_names names;
    char key[SQ_KEY_MAX];
    SQ_TRY(sq_subject_find(SQ_KIND_OP, "rmsnorm", &subject, err));
    SQ_TRY(sq_catalog_names(&target->catalog, &subject, &names, err));
    snprintf(key, sizeof key, "rmsnorm@%.60s/fwd/bf16/B=1,L=64,D=1024/clean-cold,plain,unlocked",
             names.count ? names.item[0] : "");
    sq_names_free(&names);
    *item = (sq_plan_item){.status = SQ_RUN_OK};
    SQ_TRY(sq_cell_parse(key, &item->cell, &subject, err));
    sq_cell_key(&item->cell, item->key);
    return SQ_OK;
}

static sq_status count_trial(examination *e, sq_gpu_finding *finding, sq_error *err)
{
    sq_plan_item item;
    sq_record record;
    SQ_TRY(plan_trial(&e->target, &item, err));
    sq_asker asker = {.target = &e->target, .policy = sq_policy_find("quick")};
    sq_record_init(&record, &item.cell);
    sq_status s = sq_ask_profile(&asker, &item, &record, err);
    sq_asker_stop(&asker);
    if (s == SQ_OK)
        sq_doctor_judge_counters(&record, finding);
    sq_record_free(&record);
    return s;
}

static void check_counters(examination *e)
{
    sq_gpu_finding finding;
    sq_error err = {.status = SQ_OK};
    if (!e->target.name[0])
        return;
    if (count_trial(e, &finding, &err) == SQ_OK)
        add_finding(e, &finding);
    else
        add(e, "counters", "limited", err.message, "");
}

/* --- peers --- */

/* What is missing for an implementation; "ok": nothing. */
static const char *lack_of(const json_t *offered, size_t i)
{
    const char *missing = sq_message_text(json_array_get(offered, i), "missing", "");
    return *missing ? missing : "ok";
}

static bool is_lacked_before(const json_t *offered, size_t i)
{
    size_t j = 0;
    while (j < i && strcmp(lack_of(offered, j), lack_of(offered, i)) != 0)
        j++;
    return j < i;
}

/* Names of those that lack what the i-th does, or how many they are. */
static void describe_lack(const json_t *offered, size_t i, sq_text *out)
{
    enum { NAMED = 6 };
    const size_t all = json_array_size(offered);
    size_t count = 0, told = 0;
    for (size_t j = i; j < all; j++)
        count += strcmp(lack_of(offered, j), lack_of(offered, i)) == 0;
    if (count > NAMED)
        sq_text_printf(out, " %zu of %zu", count, all);
    for (size_t j = i; j < all && count <= NAMED; j++) {
        const json_t *item = json_array_get(offered, j);
        if (strcmp(lack_of(offered, j), lack_of(offered, i)) == 0)
            sq_text_printf(out, "%s %s %s", told++ ? "," : "",
                           sq_message_text(item, "operator", ""),
                           sq_message_text(item, "name", ""));
    }
    sq_text_printf(out, " %.60s", lack_of(offered, i));
}

/* "torch 2.11.0: 15 of 17 ok; ssd mamba-ssm, selective_scan mamba-ssm not importable: ..." */
static void describe_peer(const json_t *hello, sq_text *out, int *n_fine, int *n_missing)
{
    char versions[256];
    const json_t *offered = json_object_get(hello, "implementations");
    sq_peer_versions(hello, versions, sizeof versions);
    sq_text_printf(out, "%s:", versions);
    for (size_t i = 0; i < json_array_size(offered); i++) {
        ++*(strcmp(lack_of(offered, i), "ok") == 0 ? n_fine : n_missing);
        if (is_lacked_before(offered, i))
            continue;
        sq_text_add(out, i ? ";" : "");
        describe_lack(offered, i, out);
    }
}

static void check_peer(examination *e, const sq_adapter *adapter, const char *device)
{
    sq_error err = {.status = SQ_OK};
    sq_text detail = {.data = NULL};
    json_t *hello = NULL;
    int n_fine = 0, n_missing = 0;
    char check[64];
    snprintf(check, sizeof check, "peer %s", adapter->name);
    if (sq_adapter_ask_hello(adapter, device, SQ_HELLO_SURVEY, &hello, &err) == SQ_OK)
        describe_peer(hello, &detail, &n_fine, &n_missing);
    else
        sq_text_add(&detail, err.message);
    json_decref(hello);
    add(e, check, !n_fine ? "absent" : n_missing ? "limited" : "ok", detail.data ? detail.data : "",
        n_fine && !n_missing ? "" : "docs/peers.md; $SEQMARK_PYTHON names another Python");
    sq_text_free(&detail);
}

static void check_peers(examination *e)
{
    sq_adapters adapters;
    char library[1200];
    sq_adapters_find(&adapters);
    for (int i = 0; i < adapters.count; i++)
        check_peer(e, &adapters.item[i], e->target.name[0] ? e->target.name : "cpu");
    if (!sq_time_library_path(library, sizeof library))
        add(e, "peers' clock", "limited", "no libseqmark_time.so: peers cannot be timed",
            "install the whole tree, or set SEQMARK_TIME_LIBRARY");
}

/* --- the rest --- */

static void check_gnuplot(examination *e)
{
    char path[1024];
    if (sq_find_program("gnuplot", path, sizeof path))
        add(e, "gnuplot", "ok", path, "");
    else
        add(e, "gnuplot", "limited", "not on PATH: reports have tables, no figures",
            "apt install gnuplot-nox");
}

static void check_threads(examination *e)
{
    char detail[200];
    const char *told = getenv("OMP_NUM_THREADS");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(detail, sizeof detail, "%ld cores online, OMP_NUM_THREADS %s", cores,
             told && *told ? told : "not set: the reference uses all");
    bool is_odd = told && *told && (atol(told) < 1 || atol(told) > cores);
    add(e, "threads", is_odd ? "limited" : "ok", detail,
        is_odd ? "set OMP_NUM_THREADS to at most the number of cores" : "");
}

static bool can_create(const char *path)
{
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    return access(slash ? folder : ".", W_OK) == 0;
}

static void check_store(examination *e)
{
    const char *path = sq_given_db(e->given);
    sq_error err = {.status = SQ_OK};
    sq_db *db = NULL;
    char detail[1200];
    if (access(path, F_OK) != 0) {
        snprintf(detail, sizeof detail, "%s %s", path,
                 can_create(path) ? "can be created" : "cannot be created here");
        add(e, "store", can_create(path) ? "ok" : "missing", detail,
            can_create(path) ? "" : "--db FILE in a folder that you may write to");
    } else if (sq_db_open(path, SQ_DB_PROBE, &db, &err) != SQ_OK) {
        add(e, "store", "missing", err.message, "--db FILE names another store");
    } else {
        add(e, "store", "ok", path, "");
    }
    sq_db_close(db);
}

static sq_status examine(const sq_given *given, sq_outcome *outcome, sq_error *err)
{
    static const char *const columns[] = {"check", "state", "detail", "mend", NULL};
    sq_format format;
    examination e = {.given = given};
    SQ_TRY(sq_given_format(given, &format, err));
    e.table = sq_table_new(columns);
    if (!e.table)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    check_cpu(&e);
    check_gpu(&e);
    check_described(&e, "cupti", describe_cupti, "install cuda-cupti-13-0");
    check_counters(&e);
    check_described(&e, "nvml", describe_nvml, "install the driver's libnvidia-ml.so.1");
    if (e.target.name[0])
        check_state(&e);
    check_peers(&e);
    check_gnuplot(&e);
    check_threads(&e);
    check_store(&e);
    sq_target_close(&e.target);
    SQ_TRY(sq_table_print(e.table, format, err));
    if (e.unfit[0])
        sq_outcome_set(outcome, SQ_EXIT_UNFIT, "this machine cannot measure yet: %s", e.unfit);
    return SQ_OK;
}

void sq_cmd_doctor(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "doctor [options]",
        .text = "Says what this machine can do and how to mend what is missing. Exit code 5 when\n"
                "nothing can be measured, or not on the device asked for.",
        .options = options};
    sq_error err = {.status = SQ_OK};
    sq_given given;
    if (!sq_verb_parse(&verb, argc, argv, &given, outcome))
        return;
    sq_status s = given.n_arguments
                      ? sq_fail(&err, SQ_BAD_ARGUMENT, "doctor takes options only, not \"%s\"",
                                given.argument[0])
                      : examine(&given, outcome, &err);
    if (s != SQ_OK)
        sq_outcome_error(outcome, s, &err);
}
