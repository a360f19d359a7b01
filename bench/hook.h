/* hook: a command that is told how a night ended. */
#ifndef SQ_BENCH_HOOK_H
#define SQ_BENCH_HOOK_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_HOOK_WORDS = 32, SQ_HOOK_SECONDS = 60 };

/* Splits at blanks, as a shell would but for everything else that a shell does: '...' and "..." keep
 * blanks, a backslash keeps the next character. The words point into `room`, which is as large as the
 * command. SQ_BAD_ARGUMENT: no word, too many, or a quote that is not closed. */
sq_status sq_hook_split(const char *command, char *room, char *words[SQ_HOOK_WORDS + 1],
                        sq_error *err);

/* Runs it without a shell, with $SEQMARK_EXIT_CODE and $SEQMARK_LINE in its environment and stdout on
 * our stderr; kills it after SQ_HOOK_SECONDS. An error says how it failed. */
sq_status sq_hook_run(const char *command, int code, const char *line, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
