/* cpu_rig: the op cases against the CPU, in a cmocka test. */
#ifndef SQ_TESTS_SUPPORT_CPU_RIG_H
#define SQ_TESTS_SUPPORT_CPU_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/support/op_cases.h"

/* To be closed by its backend. */
static inline sq_rig sq_open_cpu_rig(sq_providers_fn providers)
{
    sq_error err;
    sq_rig rig;
    memset(&rig, 0, sizeof rig);
    rig.backend = &sq_backend_cpu;
    rig.providers = providers;
    if (rig.backend->open(0, &rig.device, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return rig;
}

/* Some cases of sq_op_cases_run_cheap pass, and none fails. */
static inline void sq_assert_cheap_op_cases(sq_providers_fn providers, const sq_case_filter *filter,
                                            double max_work)
{
    sq_rig rig = sq_open_cpu_rig(providers);
    sq_case_counts counts;
    memset(&counts, 0, sizeof counts);
    sq_op_cases_run_cheap(&rig, filter, max_work, &counts);
    printf("%d passed, %d failed, %d unsupported\n", counts.passed, counts.failed,
           counts.unsupported);
    assert_true(counts.passed > 0);
    assert_int_equal(counts.failed, 0);
    rig.backend->close(rig.device);
}

#endif
