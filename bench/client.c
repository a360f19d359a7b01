/* client: see client.h. */
#include "bench/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/signals.h"
#include "core/host.h"
#include "core/text.h"

enum { LAST_WORDS = 400, MAX_LINE = 256 << 20 };

struct sq_client {
    pid_t pid;
    int in, out, err;           /* the worker's stdin, stdout, stderr */
    sq_text line;               /* what has come of the next message */
    char words[LAST_WORDS + 1]; /* the end of its stderr */
    size_t n_words;
    char who[64]; /* "the worker", in every reason */
};

/* --- start --- */

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
}

/* Close-on-exec, so that no worker inherits the pipes of another. Written to at [1], read at [0].
 * The worker's stdin is a socket: writing to a dead reader of it is an error that can be told not
 * to come as a signal. */
static bool open_pipe(int pair[2], bool is_socket)
{
    if ((is_socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, pair) : pipe(pair)) != 0) {
        pair[0] = pair[1] = -1;
        return false;
    }
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    fcntl(pair[1], F_SETFD, FD_CLOEXEC);
    return true;
}

/* In the child, between fork and exec: async-signal-safe calls only. */
static void become_worker(const char *const *argv, pid_t parent, int in, int out, int err)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* the parent died before prctl could tell us */
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(127);
    execv(argv[0], (char *const *)argv);
    static const char message[] = "cannot execute the worker ";
    ssize_t ignored = write(2, message, sizeof message - 1);
    ignored = write(2, argv[0], strlen(argv[0]));
    ignored = write(2, "\n", 1);
    (void)ignored;
    _exit(127);
}

static sq_status launch(const char *const *argv, sq_client *client, int in[2], int out[2],
                        int errors[2], sq_error *err)
{
    if (!open_pipe(in, true) || !open_pipe(out, false) || !open_pipe(errors, false))
        return sq_fail(err, SQ_IO, "pipe: %s", strerror(errno));
    /* Threads of the reference that spin while they wait turn 0.3 ms into 38 ms on a machine with
     * other work (measured: attention, L = 64, two cores). Read once, when the worker loads its
     * runtime. */
    setenv("OMP_WAIT_POLICY", "passive", 0);
    pid_t parent = getpid();
    client->pid = fork();
    if (client->pid < 0)
        return sq_fail(err, SQ_IO, "fork: %s", strerror(errno));
    if (client->pid == 0)
        become_worker(argv, parent, in[0], out[1], errors[1]);
    setpgid(client->pid, client->pid); /* both sides do: no race with a kill of the group */
    client->in = in[1];
    client->out = out[0];
    client->err = errors[0];
    in[1] = out[0] = errors[0] = -1;
    return SQ_OK;
}

sq_status sq_client_start(const char *const *argv, sq_client **out, sq_error *err)
{
    int in[2] = {-1, -1}, from[2] = {-1, -1}, errors[2] = {-1, -1};
    sq_client *client = calloc(1, sizeof *client);
    *out = NULL;
    if (!client)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a worker");
    sq_client_call(client, "the worker");
    sq_status s = launch(argv, client, in, from, errors, err);
    close_pair(in);
    close_pair(from);
    close_pair(errors);
    if (s != SQ_OK)
        free(client);
    else
        *out = client;
    return s;
}

void sq_client_call(sq_client *client, const char *who)
{
    snprintf(client->who, sizeof client->who, "%s", who);
}

const char *sq_client_name(const sq_client *client)
{
    return client->who;
}

/* --- talk --- */

sq_status sq_client_send(sq_client *client, const json_t *request, sq_error *err)
{
    char *text = json_dumps(request, JSON_COMPACT);
    if (!text)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request");
    size_t length = strlen(text), sent = 0;
    text[length++] = '\n'; /* in the place of the NUL */
    sq_status s = SQ_OK;
    while (s == SQ_OK && sent < length) {
        ssize_t n = send(client->in, text + sent, length - sent, MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        else if (errno != EINTR)
            s = sq_fail(err, SQ_IO, "%s does not listen: %s", client->who, strerror(errno));
    }
    free(text);
    return s;
}

static void keep_words(sq_client *client, const char *text, size_t n)
{
    if (n > LAST_WORDS) {
        text += n - LAST_WORDS;
        n = LAST_WORDS;
    }
    if (client->n_words + n > LAST_WORDS) {
        size_t drop = client->n_words + n - LAST_WORDS;
        memmove(client->words, client->words + drop, client->n_words - drop);
        client->n_words -= drop;
    }
    memcpy(client->words + client->n_words, text, n);
    client->n_words += n;
    client->words[client->n_words] = 0;
}

static void read_stderr(sq_client *client)
{
    char text[4096];
    ssize_t n = read(client->err, text, sizeof text);
    if (n > 0) {
        keep_words(client, text, (size_t)n);
    } else if (n == 0 || errno != EINTR) {
        close(client->err);
        client->err = -1;
    }
}

/* What a child wrote, fit for one line of a terminal: no control characters, nothing but UTF-8. */
static void add_plain(const char *text, size_t n, char *out, size_t size)
{
    sq_text raw = {.data = NULL}, plain = {.data = NULL};
    sq_text_add_n(&raw, text, n);
    if (raw.data)
        sq_text_add_plain(&plain, raw.data);
    snprintf(out, size, "%s", plain.data ? plain.data : "");
    sq_text_free(&raw);
    sq_text_free(&plain);
}

/* The last line that is not empty. */
static void last_line(const sq_client *client, char *out, size_t size)
{
    size_t end = client->n_words;
    while (end && (unsigned char)client->words[end - 1] <= ' ')
        end--;
    size_t start = end;
    while (start && client->words[start - 1] != '\n')
        start--;
    add_plain(client->words + start, end - start, out, size);
}

/* Takes the end of the worker, if it has ended, and with it whatever it started and left behind:
 * the group lives on while its leader is not yet taken. */
static bool take_end(sq_client *client, int *status)
{
    siginfo_t info = {.si_pid = 0};
    int code;
    do
        code = waitid(P_PID, (id_t)client->pid, &info, WEXITED | WNOHANG | WNOWAIT);
    while (code != 0 && errno == EINTR);
    if (code == 0 && info.si_pid == 0)
        return false;
    kill(-client->pid, SIGKILL);
    waitpid(client->pid, status, 0);
    client->pid = 0;
    return true;
}

/* Waits for the ended worker and says how it ended. */
static sq_status describe_end(sq_client *client, sq_error *err)
{
    int status = 0;
    char words[200];
    double until = sq_monotonic_seconds() + 2;
    bool has_ended;
    while (!(has_ended = take_end(client, &status)) && sq_monotonic_seconds() < until) {
        if (client->err >= 0 &&
            poll(&(struct pollfd){.fd = client->err, .events = POLLIN}, 1, 10) > 0)
            read_stderr(client);
    }
    while (client->err >= 0 &&
           poll(&(struct pollfd){.fd = client->err, .events = POLLIN}, 1, 0) > 0)
        read_stderr(client);
    last_line(client, words, sizeof words);
    const char *colon = words[0] ? ": " : "";
    if (!has_ended)
        return sq_fail(err, SQ_IO, "%s closed its pipe%s%s", client->who, colon, words);
    if (WIFSIGNALED(status))
        return sq_fail(err, SQ_IO, "%s died of signal %d (%s)%s%s", client->who, WTERMSIG(status),
                       strsignal(WTERMSIG(status)), colon, words);
    return sq_fail(err, SQ_IO, "%s ended with exit code %d%s%s", client->who, WEXITSTATUS(status),
                   colon, words);
}

/* Takes the first whole line off the buffer, if there is one. */
static bool take_message(sq_client *client, json_t **out, sq_status *s, sq_error *err)
{
    char *end = client->line.length ? memchr(client->line.data, '\n', client->line.length) : NULL;
    if (!end)
        return false;
    size_t n = (size_t)(end - client->line.data);
    json_error_t why;
    *out = json_loadb(client->line.data, n, 0, &why);
    *s = SQ_OK;
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        char line[160];
        add_plain(client->line.data, n < 100 ? n : 100, line, sizeof line);
        *s = sq_fail(err, SQ_INTERNAL, "%s wrote no message but \"%s\"", client->who, line);
    }
    client->line.length -= n + 1;
    memmove(client->line.data, end + 1, client->line.length);
    client->line.data[client->line.length] = 0;
    return true;
}

/* Reads what is there. SQ_IO at the end of the worker. */
static sq_status read_stdout(sq_client *client, sq_error *err)
{
    char text[65536];
    ssize_t n = read(client->out, text, sizeof text);
    if (n == 0)
        return describe_end(client, err);
    if (n < 0)
        return errno == EINTR ? SQ_OK
                              : sq_fail(err, SQ_IO, "reading %s: %s", client->who, strerror(errno));
    sq_text_add_n(&client->line, text, (size_t)n);
    if (client->line.is_failed || client->line.length > MAX_LINE)
        return sq_fail(err, SQ_INTERNAL, "%s wrote a line of more than %d bytes", client->who,
                       MAX_LINE);
    return SQ_OK;
}

sq_status sq_client_receive(sq_client *client, double seconds, json_t **out, sq_error *err)
{
    double until = sq_monotonic_seconds() + seconds;
    sq_status s = SQ_OK;
    *out = NULL;
    while (!take_message(client, out, &s, err)) {
        double left = until - sq_monotonic_seconds();
        struct pollfd fds[2] = {{.fd = client->out, .events = POLLIN},
                                {.fd = client->err, .events = POLLIN}}; /* -1 is passed over */
        if (sq_signals_count() >= 2)
            return sq_fail(err, SQ_INTERRUPTED, "interrupted twice");
        if (left <= 0)
            return sq_fail(err, SQ_TIMEOUT, "silent for %g s", seconds);
        int n = poll(fds, 2, left > 1 ? 1000 : (int)(left * 1000) + 1);
        if (n > 0 && fds[1].revents)
            read_stderr(client);
        if (n > 0 && fds[0].revents)
            SQ_TRY(read_stdout(client, err));
    }
    return s;
}

/* --- end --- */

static void dispose(sq_client *client)
{
    if (client->in >= 0)
        close(client->in);
    if (client->out >= 0)
        close(client->out);
    if (client->err >= 0)
        close(client->err);
    sq_text_free(&client->line);
    free(client);
}

/* Reaps the worker if it ends within `seconds`; a process that hangs in a driver may never. */
static bool has_ended(sq_client *client, double seconds)
{
    double until = sq_monotonic_seconds() + seconds;
    int status;
    while (client->pid > 0 && !take_end(client, &status)) {
        if (sq_monotonic_seconds() >= until)
            return false;
        poll(NULL, 0, 5);
    }
    return true;
}

void sq_client_kill(sq_client *client)
{
    if (!client)
        return;
    if (client->pid > 0) {
        kill(-client->pid, SIGKILL);
        has_ended(client, 10);
    }
    dispose(client);
}

void sq_client_stop(sq_client *client)
{
    if (!client)
        return;
    close(client->in);
    client->in = -1;
    has_ended(client, 3);
    sq_client_kill(client);
}
