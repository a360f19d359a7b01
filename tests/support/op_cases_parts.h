/* op_cases_parts: what the files of op_cases share. */
#ifndef SQ_TESTS_SUPPORT_OP_CASES_PARTS_H
#define SQ_TESTS_SUPPORT_OP_CASES_PARTS_H

#include "tests/support/op_cases.h"

sq_status sq_case_open(const sq_rig *rig, const sq_op_case *c, sq_job **job, sq_error *err);
sq_status sq_case_launch(sq_job *job, sq_error *err); /* prepares it and launches once */
/* After a launch: the slice of a seed. SQ_MISMATCH where it is wrong. */
sq_status sq_case_prove_seed(sq_job *job, double max_work, uint64_t seed, sq_error *err);
/* Adds what became of a case, and prints a line where it failed. */
void sq_case_count(const sq_case_filter *filter, const sq_op_case *c, sq_status status,
                   const sq_error *err, sq_case_counts *counts);

/* Calls `fn` for every operator and provider that the filter selects. */
typedef void (*sq_case_provider_fn)(const sq_rig *rig, const sq_case_filter *filter, sq_op_case c,
                                    double max_work, sq_case_counts *counts);
void sq_case_each_provider(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                           sq_case_provider_fn fn, sq_case_counts *counts);

#endif
