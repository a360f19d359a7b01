/* any_call: the supports() of a test's provider that takes every call. */
#ifndef SQ_TESTS_ANY_CALL_H
#define SQ_TESTS_ANY_CALL_H

#include "kernels/op.h"

static inline sq_status sq_supports_any(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)call, (void)device, (void)why;
    return SQ_OK;
}

#endif
