/* paths: see paths.h. */
#include "bench/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SQ_LIBRARY_FOLDER
#define SQ_LIBRARY_FOLDER "../lib"
#endif

bool sq_program_path(char *out, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n <= 0)
        return false;
    out[n] = 0;
    return true;
}

bool sq_program_folder(char *out, size_t size)
{
    if (!sq_program_path(out, size))
        return false;
    char *slash = strrchr(out, '/');
    if (!slash)
        return false;
    *slash = 0;
    return true;
}

bool sq_find_program(const char *name, char *out, size_t size)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        snprintf(out, size, "%.*s/%s", (int)n, path, name);
        if (n && access(out, X_OK) == 0)
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

bool sq_cuda_worker_path(char *out, size_t size)
{
    const char *told = getenv("SEQMARK_WORKER");
    char folder[1024];
    if (told && *told) {
        snprintf(out, size, "%s", told);
        return true;
    }
    if (sq_program_folder(folder, sizeof folder)) {
        snprintf(out, size, "%s/seqmark-worker", folder);
        if (access(out, X_OK) == 0)
            return true;
    }
    return sq_find_program("seqmark-worker", out, size);
}

bool sq_time_library_path(char *out, size_t size)
{
    static const char *const places[] = {".", "../lib", "../lib64", SQ_LIBRARY_FOLDER};
    const char *told = getenv("SEQMARK_TIME_LIBRARY");
    char folder[1024];
    if (told && *told) {
        snprintf(out, size, "%s", told);
        return true;
    }
    for (size_t i = 0; sq_program_folder(folder, sizeof folder) && i < 4; i++) {
        snprintf(out, size, "%s/%s/libseqmark_time.so", folder, places[i]);
        if (access(out, R_OK) == 0)
            return true;
    }
    *out = 0;
    return false;
}
