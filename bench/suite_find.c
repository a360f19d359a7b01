/* suite_find: where suite files live, and which there are. */
#include "bench/suite.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/paths.h"
#include "core/text.h"

const char *const *sq_suite_folders(void)
{
    /* Installed: bin/seqmark and share/seqmark/suites. In the tree: build/<preset>/seqmark. */
    static const char *const places[] = {"../share/seqmark/suites", "../../bench/suites"};
    static char resolved[2][PATH_MAX];
    static const char *folders[3];
    char here[1024], path[1100];
    int n = 0;
    folders[0] = NULL;
    if (!sq_program_folder(here, sizeof here))
        return folders;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", here, places[i]);
        if (realpath(path, resolved[i]))
            folders[n++] = resolved[i];
    }
    folders[n] = NULL;
    return folders;
}

static bool ends_in_yaml(const char *name)
{
    size_t n = strlen(name);
    return (n > 5 && strcmp(name + n - 5, ".yaml") == 0) ||
           (n > 4 && strcmp(name + n - 4, ".yml") == 0);
}

static void add_folder(const char *folder, sq_text *list)
{
    DIR *dir = opendir(folder);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        size_t n = strlen(e->d_name);
        if (n > 5 && strcmp(e->d_name + n - 5, ".yaml") == 0)
            sq_text_printf(list, "%s%.*s", list->length ? "," : "", (int)(n - 5), e->d_name);
    }
    if (dir)
        closedir(dir);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

sq_status sq_suite_names(sq_names *out, sq_error *err)
{
    sq_text list = {.data = NULL};
    *out = (sq_names){.count = 0};
    for (const char *const *f = sq_suite_folders(); *f; f++)
        add_folder(*f, &list);
    sq_status s = list.length ? sq_names_split(list.data, out, err) : SQ_OK;
    sq_text_free(&list);
    if (out->count)
        qsort(out->item, (size_t)out->count, sizeof *out->item, by_name);
    return s;
}

static sq_status fail_unknown_suite(const char *name, sq_error *err)
{
    sq_names names;
    SQ_TRY(sq_suite_names(&names, err));
    const char **candidates = calloc((size_t)names.count + 1, sizeof *candidates);
    for (int i = 0; candidates && i < names.count; i++)
        candidates[i] = names.item[i];
    sq_status s = candidates ? sq_fail_unknown(err, "suite", name, candidates)
                             : sq_fail(err, SQ_BAD_ARGUMENT, "unknown suite \"%s\"", name);
    free(candidates);
    sq_names_free(&names);
    return s;
}

sq_status sq_suite_find(const char *name, char *path, size_t size, sq_error *err)
{
    if (strchr(name, '/') || ends_in_yaml(name)) {
        snprintf(path, size, "%s", name);
        return SQ_OK;
    }
    for (const char *const *f = sq_suite_folders(); *f; f++) {
        snprintf(path, size, "%s/%s.yaml", *f, name);
        if (access(path, R_OK) == 0)
            return SQ_OK;
    }
    return fail_unknown_suite(name, err);
}
