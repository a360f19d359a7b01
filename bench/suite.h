/* suite: a named set of cells with a measuring policy, from a YAML file.
 *
 *   name: quick
 *   description: one line
 *   policy: quick                 # or {base: quick, max-samples: 50}
 *   replicates: 1                 # and any other campaign setting (bench/settings.h)
 *   defaults: {dtype: bf16}       # for every group
 *   cells:                        # groups: the product of their lists
 *     - {op: attention, on: cuda, seqlen: 1k..16k*2, tokens: 16k, width: 2048}
 *
 * Unknown keys are refused with file, line, column and the nearest known one.
 */
#ifndef SQ_BENCH_SUITE_H
#define SQ_BENCH_SUITE_H

#include "bench/settings.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char name[64], description[256], path[1024];
    sq_settings campaign;
    sq_settings defaults;
    sq_settings *groups; /* as written, without the defaults */
    int n_groups;
} sq_suite;

/* Zero-initialise *out before; sq_suite_free it also after a failure. */
sq_status sq_suite_load(const char *path, sq_suite *out, sq_error *err);
void sq_suite_free(sq_suite *suite);

/* The folders that exist of those searched for NAME.yaml, in order, NULL-ended: bench/suites of the
 * tree that the program was built in, share/seqmark/suites where it was installed. */
const char *const *sq_suite_folders(void);
/* `name` is a path when it has a '/' or ends in .yaml, else it is looked up in the folders; unknown
 * names are refused with the nearest. */
sq_status sq_suite_find(const char *name, char *path, size_t size, sq_error *err);
/* Names of all suites found, sorted, each once. */
sq_status sq_suite_names(sq_names *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
