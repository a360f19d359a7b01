/* demangle: see demangle.h. The C++ runtime is asked at run time, so that no program needs it. */
#include "profile/demangle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile/library.h"

/* The Itanium C++ ABI's function: the result is malloc'ed; NULL where it is no mangled name. */
typedef char *(*demangler)(const char *symbol, char *buffer, size_t *length, int *status);

static demangler find_demangler(void)
{
    static demangler found;
    static int is_known;
    char why[256];
    if (!is_known)
        sq_library_find(sq_library_open("libstdc++.so.6", why, sizeof why), "__cxa_demangle",
                        &found);
    is_known = 1;
    return found;
}

/* Where the list of arguments starts: the '(' that the last character closes. The end where that is
 * no ')'. */
static size_t end_of_name(const char *text)
{
    size_t length = strlen(text);
    int depth = 0;
    for (size_t i = length; i > 0; i--) {
        depth += (text[i - 1] == ')') - (text[i - 1] == '(');
        if (depth == 0)
            return i == length ? length : i - 1;
    }
    return length;
}

void sq_demangle(const char *symbol, char *out, size_t size)
{
    demangler demangle = find_demangler();
    int status = 0;
    char *text = demangle ? demangle(symbol, NULL, NULL, &status) : NULL;
    if (text) {
        text[end_of_name(text)] = 0;
        /* a template's name starts with its return type */
        const char *name = strncmp(text, "void ", 5) == 0 ? text + 5 : text;
        snprintf(out, size, "%s", name);
    } else {
        snprintf(out, size, "%s", symbol);
    }
    free(text);
}
