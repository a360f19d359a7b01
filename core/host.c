/* host: see host.h. */
#include "core/host.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Writes the text from `from` to the end of the line, without blanks and quotes around it. */
static void copy_value(const char *from, char *out, size_t size)
{
    static const char around[] = " \t\"";
    from += strspn(from, around);
    size_t length = strcspn(from, "\n");
    while (length > 0 && strchr(around, from[length - 1]))
        length--;
    snprintf(out, size, "%.*s", (int)length, from);
}

void sq_host_field(const char *path, const char *key, char *out, size_t size)
{
    char line[1024];
    out[0] = '\0';
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    while (!out[0] && fgets(line, sizeof line, file)) {
        size_t length = strlen(key);
        if (strncmp(line, key, length) != 0)
            continue;
        length += strspn(line + length, " \t");
        if (line[length] == ':' || line[length] == '=')
            copy_value(line + length + 1, out, size);
    }
    fclose(file);
}

static double read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double sq_monotonic_seconds(void) { return read_clock(CLOCK_MONOTONIC); }

double sq_wall_seconds(void) { return read_clock(CLOCK_REALTIME); }
