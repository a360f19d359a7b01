/* properties: what must hold of every operator and every block whatever the numbers are.
 *
 * causality changing the inputs from a time t0 on leaves the outputs before t0 as they were:
 *                      to the bit, or within the subject's causality_bound (FFT paths)
 *   backward causality a loss of the outputs before a time t0 alone has gradients of 0 by the inputs
 *                      from t0 on, or within causality_bound
 *   leaks              of long_conv, a future 10^4 times as large moves an output by no more than its
 *                      row's rounding (docs/methodology.md)
 *   prefix invariance  the first k steps of a run over L are a run over k
 *   batch permutation  rotating the batch rows of the inputs rotates the outputs, to the tolerance
 *   chunk invariance   an operator with an axis "chunk" gives the same result for every chunk
 *   steps              a prefix, then pass step token by token, is the whole
 *   documents          behind a document's start the result is that of the document alone, wherever
 *                      in a chunk it starts
 *   idle steps         a step without decay and input, of a recurrence, is no step (dt = 0)
 *   forgetting         behind a step whose decay is e^-50 the result is that of the rest alone
 *   heads              rotating independent heads (or channels) of the inputs rotates the outputs
 *   linearity          f(x) + f(y) = f(x + y) for inputs that an operator is linear in, in f32
 *   providers          the providers of an operator agree with each other
 *
 * Subjects where a property does not apply (attention with causal=0, a batch of 1) are passed over.
 */
#ifndef SQ_TESTS_SUPPORT_PROPERTIES_H
#define SQ_TESTS_SUPPORT_PROPERTIES_H

#include "tests/support/op_cases.h"
#include "tests/support/specimen.h"

/* All properties of every operator and provider on those of its test shapes whose reference costs
 * at most max_work, in f32 and bf16; causality, steps and documents in f16 too, up to a tenth of
 * it. Prints a line for each failure. */
void sq_properties_of_ops(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                          sq_case_counts *counts);

/* The same of every family, at a small shape; provider: as in a block cell. filter->op may name
 * one. */
void sq_properties_of_blocks(const sq_rig *rig, const sq_case_filter *filter, const char *provider,
                             sq_case_counts *counts);

/* Of recurrences, over 2^18 steps in bf16: passes fwd and bwd are within 2e-2 of the reference (and
 * within the operator's tolerance), by slices above max_work; the last steps, one by one from the
 * state before them, are those of the whole. */
void sq_properties_of_drift(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                            sq_case_counts *counts);

#endif
