#include "reports/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

sq_status sq_check_dir(const char *path, sq_error *err)
{
    if (path[0] && strlen(path) <= SQ_PATH_ROOM)
        return SQ_OK;
    return sq_fail(err, SQ_BAD_ARGUMENT, "output folder: name is empty or too long");
}

sq_status sq_make_dirs(const char *path, sq_error *err)
{
    char part[SQ_PATH_ROOM + 16];
    size_t length = strlen(path);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return sq_fail(err, SQ_IO, "make folder %s: %s", part, strerror(errno));
    }
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return sq_fail(err, SQ_IO, "%s is not a folder", path);
    return SQ_OK;
}

sq_status sq_write_file(const char *dir, const char *name, const char *text, sq_error *err)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    if (!file)
        return sq_fail(err, SQ_IO, "write %s: %s", path, strerror(errno));
    size_t length = strlen(text);
    bool is_whole = fwrite(text, 1, length, file) == length;
    is_whole = fclose(file) == 0 && is_whole;
    return is_whole ? SQ_OK : sq_fail(err, SQ_IO, "write %s: %s", path, strerror(errno));
}

sq_status sq_read_file(const char *path, sq_text *out, sq_error *err)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return sq_fail(err, SQ_IO, "read %s: %s", path, strerror(errno));
    char part[8192];
    size_t got;
    while ((got = fread(part, 1, sizeof part, file)) > 0)
        sq_text_add_n(out, part, got);
    bool is_whole = !ferror(file);
    fclose(file);
    return is_whole ? SQ_OK : sq_fail(err, SQ_IO, "read %s: %s", path, strerror(errno));
}
