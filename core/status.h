/* status: how every library function of seqmark reports failure.
 *
 * A function that can fail returns sq_status and, where it takes a sq_error, writes there what went
 * wrong in one sentence that names the thing. Libraries never print and never exit; only
 * bench/main.c turns an error into text on stderr and an exit code.
 */
#ifndef SQ_CORE_STATUS_H
#define SQ_CORE_STATUS_H

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
#define SQ_STATUS(symbol, text) symbol,
#include "core/status.def"
#undef SQ_STATUS
    SQ_STATUS_COUNT
} sq_status;

typedef struct {
    sq_status status;
    char message[480];
    const char *file;
    int line;
} sq_error;

/* Text of a status ("out of memory"); never NULL. */
const char *sq_status_text(sq_status status);

/* Fills *err (which may be NULL) and returns `status`; use through sq_fail. */
sq_status sq_fail_at(sq_error *err, const char *file, int line, sq_status status,
                     const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 5, 6)))
#endif
    ;

#define sq_fail(err, status, ...) sq_fail_at((err), __FILE__, __LINE__, (status), __VA_ARGS__)

/* Returns the failure of `expr` to the caller. Only where no resource is held. */
#define SQ_TRY(expr)                                                                               \
    do {                                                                                           \
        sq_status sq_try_status_ = (expr);                                                         \
        if (sq_try_status_ != SQ_OK)                                                               \
            return sq_try_status_;                                                                 \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
