/* block_cases: every family's block on a device against the host's reference. */
#ifndef SQ_TESTS_SUPPORT_BLOCK_CASES_H
#define SQ_TESTS_SUPPORT_BLOCK_CASES_H

#include "tests/support/op_cases.h"

/* One case: a launch proved over a prefix (bench/worker/job_block.c), a second launch that must
 * give the same bits. `provider`: for the mixers, as in a block cell. filter->op names a family, if
 * set. */
void sq_block_cases_run(const sq_rig *rig, const sq_case_filter *filter, const char *provider,
                        double max_work, sq_case_counts *counts);

#endif
