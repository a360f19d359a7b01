/* record: the one contract between measuring and keeping.
 *
 * `bench` fills records, a sink takes them, `db` is a sink. Absent is absent: a number nobody
 * measured is NAN (or -1 where noted), never 0.
 */
#ifndef SQ_CORE_RECORD_H
#define SQ_CORE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cell.h"
#include "core/stats.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_UUID_TEXT = 37, SQ_REASON_MAX = 320 };

/* Raise when numbers move for the same cell (cost formulas, policy, timing method). */
#define SQ_HARNESS_VERSION 4

#define SQ_RUN_STATUSES(X)                                                                         \
    X(OK, "ok")                                                                                    \
    X(UNSUPPORTED, "unsupported")                                                                  \
    X(OOM, "oom")                                                                                  \
    X(TIMEOUT, "timeout")                                                                          \
    X(CRASHED, "crashed")                                                                          \
    X(MISMATCH, "mismatch")                                                                        \
    X(NOISY, "noisy")                                                                              \
    X(THROTTLED, "throttled")                                                                      \
    X(SKIPPED, "skipped")                                                                          \
    X(ERROR, "error")

typedef enum {
#define SQ_X(symbol, text) SQ_RUN_##symbol,
    SQ_RUN_STATUSES(SQ_X)
#undef SQ_X
    SQ_RUN_STATUS_COUNT
} sq_run_status;

const char *sq_run_status_name(sq_run_status status);
sq_status sq_run_status_parse(const char *name, sq_run_status *out, sq_error *err);

/* Random (version 4) UUID text from the system's entropy. */
sq_status sq_uuid_new(char out[SQ_UUID_TEXT], sq_error *err);

/* What a metric name means; the rows of profile/metrics.c. better: "lower", "higher" or "". */
typedef struct {
    const char *name, *unit, *better, *source, *doc;
} sq_metric_def;

/* One measured or derived number of a run. validity: "ok", "refused: ...", "unsupported: ...". */
typedef struct {
    char metric[96];
    double value;  /* NAN where validity is not ok */
    int n;         /* repeats behind the value */
    double spread; /* (max - min) / |median| over the repeats, NAN for n < 2 */
    double sm_mhz; /* SM clock of the pass that counted it, NAN where unknown */
    char validity[96];
} sq_value;

/* One kernel that a launch of the cell ran (CUPTI activity). name: as people read it; symbol: as the
 * linker does. */
typedef struct {
    char name[192], symbol[256];
    int64_t ns;
    int32_t grid[3], block[3];
    int32_t registers, shared_bytes;
} sq_kernel_record;

/* The outcome of one proof of one output tensor. slice: "" for the whole tensor, else which
 * part. */
typedef struct {
    char tensor[32];
    double rel_l2, max_abs, tolerance_rel_l2, tolerance_max_abs;
    char slice[96];
} sq_check;

typedef struct {
    char uuid[SQ_UUID_TEXT];
    sq_cell cell;
    int replicate, attempt;
    sq_run_status status;
    char reason[SQ_REASON_MAX]; /* empty when ok */
    double started;             /* Unix time, seconds */
    char kernel_hash[SQ_HASH_TEXT];
    char checksum[SQ_HASH_TEXT]; /* of the proved output's bits; "" where nothing was proved */
    char versions[256]; /* software that a peer measured with: "torch 2.11.0, ..."; else empty */
    int32_t *samples; /* ns, in the order taken; owned; NULL when none */
    int n_samples;
    sq_stats stats;     /* all zero when there are no samples */
    double cycles;      /* of one launch; NAN unknown */
    double sm_mhz;      /* NAN unknown */
    double setup_ns;    /* prepare(): plans, heuristics; NAN unknown */
    int64_t peak_bytes; /* tensors + workspace; -1 unknown */
    sq_check *checks;
    int n_checks;
    sq_value *values;
    int n_values;
    sq_kernel_record *kernels;
    int n_kernels;
} sq_record;

/* Zero/NAN state for `cell`; sq_record_free releases what was added (NULL allowed). */
void sq_record_init(sq_record *record, const sq_cell *cell);
void sq_record_free(sq_record *record);
/* Back to a fresh record of the same cell, uuid, replicate and attempt. */
void sq_record_restart(sq_record *record);
/* Takes back what was timed and proved: samples, statistics, clock, cycles, checksum. */
void sq_record_drop_times(sq_record *record);
sq_status sq_record_add_value(sq_record *record, const sq_value *value);
sq_status sq_record_add_kernel(sq_record *record, const sq_kernel_record *kernel);
sq_status sq_record_add_check(sq_record *record, const sq_check *check);
/* Convenience: a derived value with validity "ok", n = 1. A NAN is absent: nothing is added. */
sq_status sq_record_add_number(sq_record *record, const char *metric, double value);
/* A value with what is behind it; where `validity` is not "ok" the number is absent. */
sq_status sq_record_add_measured(sq_record *record, const char *metric, double value, int n,
                                 double spread, const char *validity);
/* Copies the samples and computes stats. */
sq_status sq_record_set_samples(sq_record *record, const int32_t *samples, int n);

/* Facts of a device. Strings are empty and numbers -1 (NAN for doubles) where unknown. */
typedef struct {
    char backend[16]; /* "cpu", "cuda" */
    int index;
    char uuid[64], name[128], arch[16] /* "sm_90", "x86_64" */, pci[24];
    int sm_count; /* SMs, or CPU cores */
    int64_t memory_bytes, l2_bytes;
    double max_sm_mhz, max_memory_mhz;
    double memory_bus_bits;
    int compute_major, compute_minor;
    int64_t shared_bytes_per_block; /* opt-in maximum */
} sq_device;

/* Facts of the environment: NULL-free, empty where unknown. */
typedef struct {
    char fingerprint[SQ_HASH_TEXT]; /* hash over the rest */
    char driver[32], toolkit[32], cublas[32], cufft[32], cudnn[32], cupti[32];
    char compiler[128], flags[256];
    char host[64], kernel[128], os[96], cpu[128];
    char ecc[16], mig[16];
    double power_limit_w; /* NAN unknown */
} sq_environment;

typedef struct {
    char uuid[SQ_UUID_TEXT];
    char suite[64], label[64];
    const char *argv;   /* the command as a shell takes it; the caller's memory */
    const char *policy; /* the measuring policy as a JSON object; NULL unknown */
    char plan_hash[SQ_HASH_TEXT];
    char version[32], git_commit[48];
    bool git_dirty;
    uint64_t seed;
    int planned;     /* runs in the plan */
    double started;  /* Unix time, seconds */
} sq_campaign;

/* A measured ceiling of a device (core/ceiling.h has the names). lo/hi: 95 % interval; sm_mhz: the
 * SM clock while it was measured, NAN where unknown or of no matter. */
typedef struct {
    char name[64], unit[16];
    double value, lo, hi, sm_mhz;
} sq_ceiling;

/* Where records go. Every function returns only when the thing is durable. */
typedef struct {
    void *self;
    sq_status (*begin)(void *self, const sq_campaign *campaign, const sq_environment *environment,
                       const sq_device *device, const sq_metric_def *metrics, sq_error *err);
    sq_status (*run)(void *self, const sq_record *record, sq_error *err);
    sq_status (*ceiling)(void *self, const sq_ceiling *ceiling, sq_error *err);
    /* state: "finished", "budget", "interrupted", "failed". */
    sq_status (*finish)(void *self, const char *state, sq_error *err);
} sq_sink;

#ifdef __cplusplus
}
#endif
#endif
