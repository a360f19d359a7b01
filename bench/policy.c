/* policy: the three built-in measuring policies (docs/architecture.md, section 5). */
#include "bench/policy.h"

#include <string.h>

static const struct {
    const char *name;
    sq_policy policy;
} policies[] = {
    {"quick",
     {.warmup_launches = 3,
      .warmup_seconds = 0.025,
      .min_samples = 10,
      .max_samples = 100,
      .max_seconds = 0.2,
      .target_interval = 0.005,
      .max_interval = 0.25,
      .max_cell_seconds = 2,
      .timeout_seconds = 60,
      .proof_work = 2e7}},
    {"nightly",
     {.warmup_launches = 3,
      .warmup_seconds = 0.025,
      .min_samples = 10,
      .max_samples = 100,
      .max_seconds = 0.2,
      .target_interval = 0.005,
      .max_interval = 0.1,
      .max_cell_seconds = 5,
      .timeout_seconds = 120,
      .proof_work = 5e7}},
    {"paper",
     {.warmup_launches = 3,
      .warmup_seconds = 0.025,
      .min_samples = 10,
      .max_samples = 500,
      .max_seconds = 2,
      .target_interval = 0.005,
      .max_interval = 0.05,
      .max_cell_seconds = 20,
      .timeout_seconds = 300,
      .proof_work = 2e8}},
};

const sq_policy *sq_policy_find(const char *name)
{
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++)
        if (strcmp(policies[i].name, name) == 0)
            return &policies[i].policy;
    return NULL;
}
