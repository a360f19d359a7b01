/* clocks: see clocks.h. */
#define _GNU_SOURCE /* SOCK_CLOEXEC */
#include "bench/clocks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "profile/nvml.h"

/* NVML takes some 100 ms to start. */
enum { PATIENCE_MS = 30000, MAX_FILES = 1024 };

struct sq_clocks {
    pid_t keeper;
    int socket; /* of packets: what the keeper did is told by one sq_error each */
    char pci[sizeof((sq_device *)0)->pci];
};

/* --- the keeper --- */

/* Nothing of the campaign may be kept open: its store is locked by a file. */
static void leave_files(int socket)
{
    int nothing = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3 && nothing >= 0; fd++)
        dup2(nothing, fd);
    for (int fd = 3; fd < MAX_FILES; fd++)
        if (fd != socket)
            close(fd);
}

static void ignore_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        signal(signals[i], SIG_IGN);
}

static void tell(int socket, sq_status status, sq_error *told)
{
    told->status = status;
    while (send(socket, told, sizeof *told, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void wait_for_the_end(int socket)
{
    char ignored;
    ssize_t n;
    do
        n = read(socket, &ignored, 1);
    while (n > 0 || (n < 0 && errno == EINTR));
}

static void keep(const char *pci, sq_clock clock, int socket)
{
    sq_error told = {.status = SQ_OK};
    sq_nvml *nvml = NULL;
    setsid();
    ignore_signals();
    leave_files(socket);
    sq_status status = sq_nvml_open(pci, &nvml, &told);
    if (status == SQ_OK)
        status = sq_nvml_lock_clocks(nvml, clock, &told);
    tell(socket, status, &told);
    if (status == SQ_OK) {
        wait_for_the_end(socket);
        told = (sq_error){.status = SQ_OK};
        tell(socket, sq_nvml_unlock_clocks(nvml, &told), &told);
    }
    _exit(0);
}

/* --- the campaign's side --- */

/* What the keeper did. SQ_IO: it is not there any more. */
static sq_status hear(const sq_clocks *clocks, sq_error *err)
{
    sq_error told = {.status = SQ_OK};
    struct pollfd from = {.fd = clocks->socket, .events = POLLIN};
    int n;
    do
        n = poll(&from, 1, PATIENCE_MS);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return sq_fail(err, SQ_TIMEOUT, "clocks: the driver does not answer");
    if (recv(clocks->socket, &told, sizeof told, 0) != (ssize_t)sizeof told)
        return sq_fail(err, SQ_IO, "clocks: the process that holds them has gone");
    return told.status == SQ_OK ? SQ_OK : sq_fail(err, told.status, "%.400s", told.message);
}

/* A keeper that waits for the driver is left alone: it unlocks, and ends, as soon as that answers.
 */
static void part(sq_clocks *clocks, bool is_waiting)
{
    close(clocks->socket);
    while (!is_waiting && waitpid(clocks->keeper, NULL, 0) < 0 && errno == EINTR)
        ;
    free(clocks);
}

static sq_status start(const sq_device *device, sq_clock clock, sq_clocks *clocks, sq_error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return sq_fail(err, SQ_IO, "clocks: no socket: %s", strerror(errno));
    clocks->keeper = fork();
    if (clocks->keeper == 0)
        keep(device->pci, clock, pair[1]);
    close(pair[1]);
    clocks->socket = pair[0];
    if (clocks->keeper > 0)
        return SQ_OK;
    close(pair[0]);
    return sq_fail(err, SQ_IO, "clocks: no process: %s", strerror(errno));
}

sq_status sq_clocks_lock(const sq_device *device, sq_clock clock, sq_clocks **out, sq_error *err)
{
    *out = NULL;
    if (clock == SQ_CLOCK_UNLOCKED)
        return SQ_OK;
    sq_clocks *clocks = calloc(1, sizeof *clocks);
    if (!clocks)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory to lock clocks");
    snprintf(clocks->pci, sizeof clocks->pci, "%s", device->pci);
    sq_status status = start(device, clock, clocks, err);
    if (status != SQ_OK) {
        free(clocks);
        return status;
    }
    status = hear(clocks, err);
    if (status == SQ_OK)
        *out = clocks;
    else
        part(clocks, status == SQ_TIMEOUT);
    return status;
}

/* Where the keeper was killed. */
static sq_status unlock_here(const char *pci, sq_error *err)
{
    sq_nvml *nvml = NULL;
    SQ_TRY(sq_nvml_open(pci, &nvml, err));
    sq_status status = sq_nvml_unlock_clocks(nvml, err);
    sq_nvml_close(nvml);
    return status;
}

sq_status sq_clocks_unlock(sq_clocks *clocks, sq_error *err)
{
    if (!clocks)
        return SQ_OK;
    shutdown(clocks->socket, SHUT_WR);
    sq_status status = hear(clocks, err);
    if (status == SQ_IO)
        status = unlock_here(clocks->pci, err);
    part(clocks, status == SQ_TIMEOUT);
    return status;
}
