#include "profile/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *open_in(const char *folder, const char *below, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s/%s", folder, below, name);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

void *sq_library_open(const char *name, char *why, size_t size)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library)
        return library;
    const char *message = dlerror(); /* valid until the next dlopen */
    snprintf(why, size, "%s", message ? message : name);
    const char *homes[] = {getenv("CUDA_HOME"), "/usr/local/cuda"};
    const char *const below[] = {"/lib64", "/extras/CUPTI/lib64", "/targets/x86_64-linux/lib"};
    for (size_t h = 0; h < 2; h++)
        for (size_t b = 0; homes[h] && b < 3; b++)
            if ((library = open_in(homes[h], below[b], name)))
                return library;
    return NULL;
}

int sq_library_find(void *library, const char *symbol, void *function)
{
    void *address = library ? dlsym(library, symbol) : NULL;
    memcpy(function, &address, sizeof address); /* POSIX: object and function pointers are alike */
    return address != NULL;
}
