#include "reports/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIMEOUT_SECONDS = 60, NOT_FOUND = 127 };

/* Bytes of the UTF-8 sequence at `text`, 0 where it is none. */
static int sequence_length(const unsigned char *text)
{
    int length = text[0] < 0x80                      ? 1
                 : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                 : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                 : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                     : 0;
    for (int i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* Characters that mean nothing inside double quotes, in any version of gnuplot. */
static bool is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(" .,:;/_-+=()<>#", c) != NULL);
}

void sq_gnuplot_quote(sq_text *script, const char *string)
{
    const unsigned char *c = (const unsigned char *)string;
    sq_text_add(script, "\"");
    while (*c) {
        int length = sequence_length(c);
        for (int i = 0; i < length; i++)
            if (is_plain(c[i]))
                sq_text_add_n(script, (const char *)c + i, 1);
            else
                sq_text_printf(script, "\\%03o", c[i] < 0x20 || c[i] == 0x7f ? ' ' : c[i]);
        if (length == 0)
            sq_text_add(script, "?");
        c += length ? length : 1;
    }
    sq_text_add(script, "\"");
}

static void become_gnuplot(const char *program, const char *dir, const char *script, int talk_fd)
{
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, 0) < 0 || dup2(talk_fd, 1) < 0 || dup2(talk_fd, 2) < 0 ||
        chdir(dir) != 0)
        _exit(1);
    /* -d: the user's own start-up file must not change a report. */
    char *const argv[] = {(char *)program, "-d", (char *)script, NULL};
    execvp(program, argv);
    _exit(errno == ENOENT || errno == EACCES || errno == ENOTDIR ? NOT_FOUND : 1);
}

static long seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec;
}

/* Reads until end of file; false when the time is up. */
static bool listen_to(int fd, sq_text *talk)
{
    long end = seconds_now() + TIMEOUT_SECONDS;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        long left = end - seconds_now();
        int ready = left > 0 ? poll(&wait, 1, (int)(1000 * left)) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        char part[4096];
        ssize_t got = ready > 0 ? read(fd, part, sizeof part) : -1;
        if (got < 0 && ready > 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        sq_text_add_n(talk, part, (size_t)got);
    }
}

sq_status sq_gnuplot_run(const char *program, const char *dir, const char *script, sq_text *talk,
                         sq_error *err)
{
    int pipe_fd[2];
    if (pipe(pipe_fd) != 0)
        return sq_fail(err, SQ_IO, "pipe: %s", strerror(errno));
    fcntl(pipe_fd[0], F_SETFD, FD_CLOEXEC);
    fcntl(pipe_fd[1], F_SETFD, FD_CLOEXEC);
    pid_t child = fork();
    if (child == 0)
        become_gnuplot(program, dir, script, pipe_fd[1]);
    close(pipe_fd[1]);
    bool is_done = child > 0 && listen_to(pipe_fd[0], talk);
    close(pipe_fd[0]);
    if (child < 0)
        return sq_fail(err, SQ_IO, "fork: %s", strerror(errno));
    if (!is_done)
        kill(child, SIGKILL);
    int state = 0;
    while (waitpid(child, &state, 0) < 0 && errno == EINTR)
        ;
    if (!is_done)
        return sq_fail(err, SQ_IO, "gnuplot was stopped after %d s", TIMEOUT_SECONDS);
    if (WIFEXITED(state) && WEXITSTATUS(state) == NOT_FOUND)
        return sq_fail(err, SQ_UNSUPPORTED, "%s not found", program);
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0)
        return sq_fail(err, SQ_IO, "gnuplot failed on %s: %.200s", script,
                       talk->data ? talk->data : "");
    return SQ_OK;
}

char *sq_gnuplot_find(const char *program, char *note, size_t size)
{
    if (!program)
        program = "gnuplot";
    char *path = strchr(program, '/') ? realpath(program, NULL) : strdup(program);
    sq_text talk = {0};
    sq_error why = {0};
    note[0] = '\0';
    if (!path || sq_gnuplot_run(path, "/", "/dev/null", &talk, &why) != SQ_OK) {
        snprintf(note, size, "%.100s %s: tables only", program,
                 !path || why.status == SQ_UNSUPPORTED ? "not found" : "does not run");
        free(path);
        path = NULL;
    }
    sq_text_free(&talk);
    return path;
}
