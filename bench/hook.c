/* hook: see hook.h. */
#include "bench/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/gpu_lock.h"

enum { NOT_RUN = 127 };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* One word from *at on, into *to, both moved on. False: a quote is open. */
static bool take_word(const char **at, char **to)
{
    char quote = 0;
    for (; **at && (quote || !is_blank(**at)); ++*at) {
        char c = **at;
        if (c == quote) {
            quote = 0;
        } else if (!quote && (c == '\'' || c == '"')) {
            quote = c;
        } else {
            if (c == '\\' && quote != '\'' && (*at)[1])
                c = *++*at;
            *(*to)++ = c;
        }
    }
    *(*to)++ = 0;
    return !quote;
}

sq_status sq_hook_split(const char *command, char *room, char *words[SQ_HOOK_WORDS + 1],
                        sq_error *err)
{
    int n = 0;
    for (const char *at = command;;) {
        while (is_blank(*at))
            at++;
        if (!*at)
            break;
        if (n == SQ_HOOK_WORDS)
            return sq_fail(err, SQ_BAD_ARGUMENT, "--hook: more than %d words", SQ_HOOK_WORDS);
        words[n++] = room;
        if (!take_word(&at, &room))
            return sq_fail(err, SQ_BAD_ARGUMENT, "--hook: a quote is not closed: %.200s", command);
    }
    words[n] = NULL;
    return n ? SQ_OK : sq_fail(err, SQ_BAD_ARGUMENT, "--hook: no command");
}

static void become(char **words, int code, const char *line)
{
    char number[16];
    int null = open("/dev/null", O_RDONLY);
    snprintf(number, sizeof number, "%d", code);
    setenv("SEQMARK_EXIT_CODE", number, 1);
    setenv("SEQMARK_LINE", line, 1);
    unsetenv(SQ_GPU_HELD); /* what it leaves running does not hold the GPU */
    dup2(null, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    setpgid(0, 0);
    execvp(words[0], words);
    _exit(NOT_RUN);
}

/* False: it had to be killed. */
static bool wait_for(pid_t child, int *status)
{
    const struct timespec step = {.tv_nsec = 20000000};
    for (int waited_ms = 0; waited_ms < 1000 * SQ_HOOK_SECONDS; waited_ms += 20) {
        if (waitpid(child, status, WNOHANG) == child)
            return true;
        nanosleep(&step, NULL);
    }
    kill(-child, SIGKILL);
    waitpid(child, status, 0);
    return false;
}

static sq_status judge(const char *word, int status, sq_error *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return SQ_OK;
    if (WIFSIGNALED(status))
        return sq_fail(err, SQ_IO, "the hook %s died of signal %d", word, WTERMSIG(status));
    if (WEXITSTATUS(status) == NOT_RUN)
        return sq_fail(err, SQ_IO, "the hook %s could not be run: is it there, and executable?",
                       word);
    return sq_fail(err, SQ_IO, "the hook %s ended with exit code %d", word, WEXITSTATUS(status));
}

static sq_status run_words(char **words, int code, const char *line, sq_error *err)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        become(words, code, line);
    if (child < 0)
        return sq_fail(err, SQ_IO, "the hook %s: %s", words[0], strerror(errno));
    if (!wait_for(child, &status))
        return sq_fail(err, SQ_TIMEOUT, "the hook %s was killed after %d s", words[0],
                       SQ_HOOK_SECONDS);
    return judge(words[0], status, err);
}

sq_status sq_hook_run(const char *command, int code, const char *line, sq_error *err)
{
    char *words[SQ_HOOK_WORDS + 1], *room = malloc(strlen(command) + 1);
    sq_status s = room ? sq_hook_split(command, room, words, err)
                       : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the hook");
    if (s == SQ_OK)
        s = run_words(words, code, line, err);
    free(room);
    return s;
}
