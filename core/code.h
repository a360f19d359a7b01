/* code: which code can run in the cells of an operator or a family: hashes made at build time
 * (cmake/code_hash.c). Linked into what measures only.
 */
#ifndef SQ_CORE_CODE_H
#define SQ_CORE_CODE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* kind: "cpu" and "cuda" of an operator's providers on that backend, "model" of a family's graph. */
typedef struct {
    const char *kind, *name, *hash; /* 16 hex digits */
} sq_code;

extern const sq_code sq_code_table[]; /* ended by a NULL kind */

#ifdef __cplusplus
}
#endif
#endif
