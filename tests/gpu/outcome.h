/* outcome: how a GPU test ends whose run on the device did not.
 */
#ifndef SQ_TESTS_GPU_OUTCOME_H
#define SQ_TESTS_GPU_OUTCOME_H

#include <stdio.h>
#include <stdlib.h>

#include "core/status.h"

enum { EXIT_SKIP = 77 };

/* Says why, and gives the exit code: 77 where the device cannot, or is not there. */
static inline int sq_outcome_of(sq_status status, const sq_error *err)
{
    printf("%s: %s\n", status == SQ_UNSUPPORTED ? "skipped" : "FAILED", err->message);
    return status == SQ_UNSUPPORTED ? EXIT_SKIP : EXIT_FAILURE;
}

#endif
