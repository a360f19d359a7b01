/* golden: one case of golden data: a folder with case.json (what was computed, by whose code, with
 * which options) and data.safetensors (its tensors, named ROLE.NAME; roles: input, param, output,
 * cotangent, grad, aux).
 */
#ifndef SQ_BENCH_VERIFY_GOLDEN_H
#define SQ_BENCH_VERIFY_GOLDEN_H

#include <jansson.h>
#include <stdbool.h>

#include "bench/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* misread: an option that was asked for as what it is not (a text as a number ...). */
typedef struct {
    char name[128], kind[32], subject[64];
    json_t *json;
    sq_safetensors file;
    char *misread; /* "" or its name; a case that is read is constant otherwise */
} sq_golden;

enum { SQ_GOLDEN_OPTION_MAX = 64 };

/* SQ_IO or SQ_BAD_ARGUMENT with the file and what is wrong. sq_golden_close also after a failure;
 * zero-initialise before. */
sq_status sq_golden_open(const char *folder, sq_golden *out, sq_error *err);
void sq_golden_close(sq_golden *golden);

/* Whether what the case says of its tensors holds: gradients and cotangents have the shapes of what
 * they belong to, options has_NAME say which inputs there are, and nothing was misread.
 * SQ_UNSUPPORTED with what does not. */
sq_status sq_golden_agrees(const sq_golden *golden, sq_error *err);

/* A number of the case's options; true and false are 1 and 0, null and absent are `fallback`. */
double sq_golden_number(const sq_golden *golden, const char *option, double fallback);
/* A number inside an option that is a list. */
double sq_golden_item(const sq_golden *golden, const char *option, int index, double fallback);
/* The same as whole numbers, cut to what sums of a few hold. */
int64_t sq_golden_integer(const sq_golden *golden, const char *option, int64_t fallback);
int64_t sq_golden_integer_item(const sq_golden *golden, const char *option, int index,
                               int64_t fallback);
/* A text of the options, or "". */
const char *sq_golden_text(const sq_golden *golden, const char *option);
bool sq_golden_is_text(const sq_golden *golden,
                       const char *option); /* of what may be a number too */
/* Whether option "activation" is SiLU, under either of its official names. */
bool sq_golden_is_silu(const sq_golden *golden);
/* How far the official code in f32 was from this data, over the largest magnitude: the worst tensor
 * of the role. NAN where nobody knows. */
double sq_golden_f32_error(const sq_golden *golden, const char *role);

/* NULL where the case has none such. */
const sq_stored_tensor *sq_golden_tensor(const sq_golden *golden, const char *role,
                                         const char *name);
bool sq_golden_has_role(const sq_golden *golden, const char *role);

#ifdef __cplusplus
}
#endif
#endif
