#include "core/status.h"

#include <stdio.h>

const char *sq_status_text(sq_status status)
{
    static const char *const texts[] = {
#define SQ_STATUS(symbol, text) [symbol] = text,
#include "core/status.def"
#undef SQ_STATUS
    };
    return (unsigned)status < SQ_STATUS_COUNT ? texts[status] : "unknown status";
}

sq_status sq_fail_at(sq_error *err, const char *file, int line, sq_status status,
                     const char *format, ...)
{
    if (!err)
        return status;
    err->status = status;
    err->file = file;
    err->line = line;
    /* Through a second buffer: a caller may quote the message that is being replaced. */
    char message[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    snprintf(err->message, sizeof err->message, "%s", message);
    return status;
}
