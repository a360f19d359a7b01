/* backend_cases: what core/backend/backend.h promises of every backend, checked against plain host
 * code: inputs by index, poison, strided gathers, checksums, copies, refusals, samples. */
#ifndef SQ_TESTS_SUPPORT_BACKEND_CASES_H
#define SQ_TESTS_SUPPORT_BACKEND_CASES_H

#include "tests/support/op_cases.h"

/* Prints a line for each case that fails. */
void sq_backend_cases_run(const sq_rig *rig, sq_case_counts *counts);

#endif
