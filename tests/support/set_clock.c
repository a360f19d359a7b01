/* set_clock: the wall clock of a program as $FAKE_CLOCK says: a file with the seconds by which it is
 * ahead, read at every look, so that it can be set while the program runs. By LD_PRELOAD. The monotonic
 * clock is left alone, as the kernel does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

typedef int (*clock_fn)(clockid_t, struct timespec *);

static long seconds_ahead(void)
{
    const char *path = getenv("FAKE_CLOCK");
    FILE *file = path ? fopen(path, "r") : NULL;
    long seconds = 0;
    if (file && fscanf(file, "%ld", &seconds) != 1)
        seconds = 0;
    if (file)
        fclose(file);
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    union {
        void *symbol;
        clock_fn call;
    } real = {.symbol = dlsym(RTLD_NEXT, "clock_gettime")};
    int status = real.call(clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += seconds_ahead();
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec t;
    (void)zone;
    int status = clock_gettime(CLOCK_REALTIME, &t);
    if (status == 0)
        *now = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
    return status;
}

time_t time(time_t *out)
{
    struct timespec t = {.tv_sec = 0};
    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}
