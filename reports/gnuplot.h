/* gnuplot: run as a process, without a shell; text of the store enters scripts only quoted. */
#ifndef SQ_REPORTS_GNUPLOT_H
#define SQ_REPORTS_GNUPLOT_H

#include "core/status.h"
#include "core/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Adds `string` as one double-quoted gnuplot string in which everything that could mean something
 * (quotes, backslash, backquote, @ % { } ...) is an octal escape. (Single quotes do not serve:
 * gnuplot 5.4 ends a string that starts with a doubled quote.) Control characters become spaces,
 * bytes that are no UTF-8 "?". Draw it with `noenhanced`, so that _ ^ { } stay what they are. */
void sq_gnuplot_quote(sq_text *script, const char *string);

/* Runs `program -d script` in folder `dir` and waits (at most a minute). What it prints is added to
 * `talk`. SQ_UNSUPPORTED: there is no such program; SQ_IO: it failed. */
sq_status sq_gnuplot_run(const char *program, const char *dir, const char *script, sq_text *talk,
                         sq_error *err);

/* The program to run: `program` (NULL: "gnuplot" of PATH), tried once on nothing. free() it. NULL
 * where it is not there or does not run; `note` (else empty) then says so. A name with a slash is
 * made absolute: figures are drawn in their own folder. */
char *sq_gnuplot_find(const char *program, char *note, size_t size);

#ifdef __cplusplus
}
#endif
#endif
