/* policy: the three built-in measuring policies (docs/architecture.md, section 5). */
#include "bench/policy.h"

#include <stdio.h>
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
      .rest = 4,
      .proof_work = 2e7,
      .cooldown_seconds = -1}},
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
      .rest = 4,
      .proof_work = 5e7,
      .cooldown_seconds = -1}},
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
      .rest = 4,
      .proof_work = 2e8,
      .cooldown_seconds = -1}},
};

const char *const sq_policy_names[] = {"quick", "nightly", "paper", NULL};

const sq_policy_field sq_policy_fields[] = {
    {"warmup-launches", SQ_POLICY_COUNT, offsetof(sq_policy, warmup_launches)},
    {"warmup-time", SQ_POLICY_SECONDS, offsetof(sq_policy, warmup_seconds)},
    {"min-samples", SQ_POLICY_COUNT, offsetof(sq_policy, min_samples)},
    {"max-samples", SQ_POLICY_COUNT, offsetof(sq_policy, max_samples)},
    {"max-time", SQ_POLICY_SECONDS, offsetof(sq_policy, max_seconds)},
    {"target-interval", SQ_POLICY_NUMBER, offsetof(sq_policy, target_interval)},
    {"max-interval", SQ_POLICY_NUMBER, offsetof(sq_policy, max_interval)},
    {"max-cell-time", SQ_POLICY_SECONDS, offsetof(sq_policy, max_cell_seconds)},
    {"timeout", SQ_POLICY_SECONDS, offsetof(sq_policy, timeout_seconds)},
    {"rest", SQ_POLICY_NUMBER, offsetof(sq_policy, rest)},
    {"proof-work", SQ_POLICY_NUMBER, offsetof(sq_policy, proof_work)},
    {"try-oom", SQ_POLICY_SWITCH, offsetof(sq_policy, try_oom)},
    {"energy", SQ_POLICY_SWITCH, offsetof(sq_policy, energy)},
    {"cooldown", SQ_POLICY_COOLDOWN, offsetof(sq_policy, cooldown_seconds)},
    {NULL, SQ_POLICY_COUNT, 0},
};

const sq_policy *sq_policy_find(const char *name)
{
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++)
        if (strcmp(policies[i].name, name) == 0)
            return &policies[i].policy;
    return NULL;
}

static void format_cooldown(double seconds, char *out, size_t size)
{
    if (seconds > 0)
        snprintf(out, size, "%.10g", seconds);
    else
        snprintf(out, size, "%s", seconds < 0 ? "auto" : "off");
}

void sq_policy_format(const sq_policy *policy, const sq_policy_field *field, char *out,
                      size_t size)
{
    const void *at = (const char *)policy + field->offset;
    switch (field->kind) {
    case SQ_POLICY_COUNT: snprintf(out, size, "%d", *(const int *)at); break;
    case SQ_POLICY_SWITCH: snprintf(out, size, "%s", *(const bool *)at ? "on" : "off"); break;
    case SQ_POLICY_NUMBER: snprintf(out, size, "%.10g", *(const double *)at); break;
    case SQ_POLICY_COOLDOWN: format_cooldown(*(const double *)at, out, size); break;
    case SQ_POLICY_SECONDS: snprintf(out, size, "%.10g", *(const double *)at); break;
    }
}

static bool is_same(const sq_policy *a, const sq_policy *b, const sq_policy_field *field)
{
    char x[32], y[32];
    sq_policy_format(a, field, x, sizeof x);
    sq_policy_format(b, field, y, sizeof y);
    return strcmp(x, y) == 0;
}

static int count_differences(const sq_policy *a, const sq_policy *b)
{
    int n = 0;
    for (const sq_policy_field *f = sq_policy_fields; f->setting; f++)
        n += !is_same(a, b, f);
    return n;
}

void sq_policy_options(const sq_policy *policy, sq_text *out)
{
    int nearest = 0;
    char text[32];
    for (int i = 1; sq_policy_names[i]; i++)
        if (count_differences(policy, &policies[i].policy) <
            count_differences(policy, &policies[nearest].policy))
            nearest = i;
    sq_text_printf(out, " --policy %s", policies[nearest].name);
    for (const sq_policy_field *f = sq_policy_fields; f->setting; f++) {
        if (is_same(policy, &policies[nearest].policy, f))
            continue;
        sq_policy_format(policy, f, text, sizeof text);
        sq_text_printf(out, " --%s %s%s", f->setting, text,
                       f->kind == SQ_POLICY_SECONDS ? "s" : "");
    }
}
