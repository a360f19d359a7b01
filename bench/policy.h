/* policy: how long a cell may be sampled and when it is enough. Set by the suite. */
#ifndef SQ_BENCH_POLICY_H
#define SQ_BENCH_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int warmup_launches;     /* at least this many unmeasured launches ... */
    double warmup_seconds;   /* ... and at least this long */
    int min_samples;         /* 10; 3 where one launch exceeds 200 ms */
    int max_samples;         /* cap: whichever of the two comes first */
    double max_seconds;      /* cap on the sum of the samples */
    double target_interval;  /* stop when (hi - lo) / median is at most this (0.005) */
    double max_interval;     /* wider than this at the cap: status noisy */
    double max_cell_seconds; /* a launch predicted or seen to take longer is skipped */
    double timeout_seconds;  /* the parent kills a worker that is silent for longer */
    double rest;             /* of a GPU after a launch, in multiples of what it took; 0: none */
    double proof_work;       /* multiply-adds that a proof's reference may cost */
    bool try_oom;            /* try cells that are predicted not to fit */
    bool energy;             /* measures the energy of a launch: some seconds more a run */
    double cooldown_seconds; /* rest before a run; 0: none; below 0: while the GPU is hot */
} sq_policy;

/* The built-in policies: "quick", "nightly", "paper"; NULL for another name. */
const sq_policy *sq_policy_find(const char *name);
/* Their names, NULL-ended. */
extern const char *const sq_policy_names[];

typedef enum {
    SQ_POLICY_COUNT,   /* int */
    SQ_POLICY_NUMBER,  /* double */
    SQ_POLICY_SECONDS, /* double */
    SQ_POLICY_SWITCH,  /* bool */
    SQ_POLICY_COOLDOWN /* double: seconds, 0 for "off", below 0 for "auto" */
} sq_policy_kind;

/* A field of sq_policy and the setting that says it; NULL-ended. */
typedef struct {
    const char *setting;
    sq_policy_kind kind;
    size_t offset;
} sq_policy_field;

extern const sq_policy_field sq_policy_fields[];

/* A field as its setting takes it: "3", "0.025", "off". */
void sq_policy_format(const sq_policy *policy, const sq_policy_field *field, char *out,
                      size_t size);
/* The options of a command line that say this policy: the nearest built-in one and the fields
 * that differ from it, each with a blank before it: " --policy quick --max-samples 50". */
void sq_policy_options(const sq_policy *policy, sq_text *out);

#ifdef __cplusplus
}
#endif
#endif
