/* op_cases: every provider of every operator on the operator's own test shapes, and on those of
 * op_shapes, against the reference.
 *
 * The CPU tests and the GPU runner differ only in the rig. One case: inputs drawn by seed, outputs
 * and workspace poisoned between guard zones; a launch; the whole output (or, above max_work, a
 * slice) against the reference; a second launch that must give the same bits; inputs that must be
 * untouched. Every pass that the provider has.
 */
#ifndef SQ_TESTS_SUPPORT_OP_CASES_H
#define SQ_TESTS_SUPPORT_OP_CASES_H

#include "bench/worker/job.h"

enum { SQ_CASE_SEED = 20240 };

/* NULL: all. `program` is what the replay command starts with. is_once: every shape of every pass
 * in one type and layout, which take turns, so that a provider's shapes together meet them all.
 * is_unproved: each case is launched once and that is all, for runs that a sanitizer watches.
 * without: a provider that is left out. option: what else the replay command needs. */
typedef struct {
    const char *program, *op, *provider, *shape, *dtype, *pass, *without, *option;
    bool is_once, is_unproved;
} sq_case_filter;

/* is_taken: of one operator, whether a provider took a case of that pass and type. */
typedef struct {
    int passed, failed, unsupported;
    bool is_taken[SQ_PASS_COUNT][SQ_DTYPE_COUNT];
} sq_case_counts;

typedef struct {
    const sq_op *op;
    const sq_provider *provider;
    const char *shape;
    sq_dtype dtype;
    sq_layout layout;
    sq_pass pass;
} sq_op_case;

/* "OP PROVIDER SHAPE DTYPE PASS" from argv[1..]; absent ones and "all" select all. Returns the
 * first argument that starts with "--", or NULL; the filter's option is the same. */
const char *sq_case_filter_parse(int argc, char **argv, sq_case_filter *filter);

/* Runs all cases that the filter selects, prints a line with the replay command for each failing
 * one, and one for each provider that supports no case of its operator, and for each type that no
 * provider takes in a pass that one takes in another type. max_work: multiply-adds that one proof's
 * reference may cost. */
void sq_op_cases_run(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                     sq_case_counts *counts);

/* The same on those shapes alone whose reference costs at most max_work. */
void sq_op_cases_run_cheap(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                           sq_case_counts *counts);

/* True where the reference of `op` at `shape` costs at most max_work. */
bool sq_case_is_cheap(const sq_op *op, const char *shape, double max_work);
bool sq_case_is_selected(const char *wanted, const char *name); /* wanted NULL: always */

/* Gradients of attention over so many keys that a probability is below the normal numbers of f16,
 * whole: a slice's own gradients would be below them, too. */
void sq_op_cases_run_long(const sq_rig *rig, const sq_case_filter *filter, sq_case_counts *counts);

/* sq_million_shapes in every pass, proved by the slices of up to `seeds` seeds. */
void sq_op_cases_run_million(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                             int seeds, sq_case_counts *counts);

/* Calls whose largest tensor has more than 2^31 elements, proved by `seeds` slices that reach
 * beyond them: many sequences in pass fwd; is_full: in every pass, and one sequence in passes fwd
 * and bwd. Skips what the device has no room for, and says so. */
void sq_op_cases_run_large(const sq_rig *rig, const sq_case_filter *filter, double max_work,
                           int seeds, bool is_full, sq_case_counts *counts);

/* The default widths of `op`, with the batch that makes the call's largest tensor 9/8 * 2^31
 * elements; of a step that is too small for that in any batch, wider ones. */
sq_status sq_batch_shape(const sq_op *op, sq_pass pass, char *shape, size_t size, sq_error *err);
/* Without memory: SQ_MISMATCH where fewer than `seeds` slices of a case reach beyond 2^31 elements.
 */
sq_status sq_op_case_reaches(const sq_rig *rig, const sq_op_case *c, double max_work, int seeds,
                             sq_error *err);

/* One case with the slices of `seeds` seeds instead of the whole. SQ_MISMATCH where one is wrong.
 * */
sq_status sq_op_case_prove_slices(const sq_rig *rig, const sq_op_case *c, double max_work,
                                  int seeds, sq_error *err);

#endif
