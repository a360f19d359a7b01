/* tree: see the header. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "bench/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/paths.h"
#include "bench/scratch.h"
#include "core/grow.h"
#include "core/hash.h"

enum { COPY_BYTES = 1 << 16 };
static const char unfinished[] = ".new";

/* --- copying --- */

static sq_status fail_at(const char *doing, const char *path, sq_error *err)
{
    return sq_fail(err, SQ_IO, "cannot %s %.380s: %s", doing, path, strerror(errno));
}

static sq_status join(char out[PATH_MAX], const char *folder, const char *name, sq_error *err)
{
    if (snprintf(out, PATH_MAX, "%s/%s", folder, name) < PATH_MAX)
        return SQ_OK;
    return sq_fail(err, SQ_IO, "%.380s: the path is too long", folder);
}

static sq_status copy_bytes(int from, int to, const char *source, const char *target, sq_error *err)
{
    char *room = malloc(COPY_BYTES);
    sq_status status =
        room ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a copy of %s", source);
    ssize_t got = 1;
    while (status == SQ_OK && (got = read(from, room, COPY_BYTES)) > 0)
        for (ssize_t done = 0, n; status == SQ_OK && done < got; done += n)
            if ((n = write(to, room + done, (size_t)(got - done))) < 0)
                status = fail_at("write", target, err);
    if (status == SQ_OK && got < 0)
        status = fail_at("read", source, err);
    free(room);
    return status;
}

static sq_status copy_file(const char *source, const char *target, sq_error *err)
{
    struct stat file;
    int from = open(source, O_RDONLY | O_CLOEXEC);
    if (from < 0 || fstat(from, &file) != 0) {
        sq_status status = fail_at("read", source, err);
        close(from);
        return status;
    }
    mode_t mode = file.st_mode & S_IXUSR ? 0755 : 0644;
    int to = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    sq_status status = to < 0 ? fail_at("make", target, err) : SQ_OK;
    if (status == SQ_OK)
        status = copy_bytes(from, to, source, target, err);
    if (status == SQ_OK && fsync(to) != 0)
        status = fail_at("write", target, err);
    if (to >= 0 && close(to) != 0 && status == SQ_OK)
        status = fail_at("write", target, err);
    close(from);
    return status;
}

static sq_status make_folder(const char *path, sq_error *err)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST ? SQ_OK : fail_at("make", path, err);
}

static sq_status make_folders(const char *tree, sq_error *err)
{
    static const char *const parts[] = {".",
                                        "bin",
                                        "lib",
                                        "share",
                                        "share/seqmark",
                                        "share/seqmark/suites",
                                        "share/seqmark/external"};
    char path[PATH_MAX];
    SQ_TRY(make_folder(tree, err));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        SQ_TRY(join(path, tree, parts[i], err));
        SQ_TRY(make_folder(path, err));
    }
    return SQ_OK;
}

/* The files of a folder whose names end so. */
static sq_status copy_folder(const char *from, const char *to, const char *ending, sq_error *err)
{
    char source[PATH_MAX], target[PATH_MAX];
    size_t length = strlen(ending);
    sq_status status = SQ_OK;
    DIR *dir = opendir(from);
    if (!dir)
        return fail_at("read", from, err);
    for (struct dirent *e = readdir(dir); e && status == SQ_OK; e = readdir(dir)) {
        size_t n = strlen(e->d_name);
        if (n <= length || strcmp(e->d_name + n - length, ending) != 0)
            continue;
        status = join(source, from, e->d_name, err);
        if (status == SQ_OK)
            status = join(target, to, e->d_name, err);
        if (status == SQ_OK)
            status = copy_file(source, target, err);
    }
    closedir(dir);
    return status;
}

/* What an installed tree has in share/seqmark and a checkout in bench/. */
static sq_status copy_shared(const char *name, const char *ending, const char *tree, sq_error *err)
{
    static const char *const places[] = {"../share/seqmark", "../../bench"};
    char program[1024], place[PATH_MAX], from[PATH_MAX], shared[PATH_MAX], to[PATH_MAX];
    if (!sq_program_folder(program, sizeof program))
        return sq_fail(err, SQ_IO, "cannot find this program's own path");
    SQ_TRY(join(shared, tree, "share/seqmark", err));
    SQ_TRY(join(to, shared, name, err));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        SQ_TRY(join(place, program, places[i], err));
        SQ_TRY(join(from, place, name, err));
        if (access(from, R_OK) == 0)
            return copy_folder(from, to, ending, err);
    }
    return SQ_OK;
}

static sq_status copy_as(const char *source, const char *tree, const char *name, sq_error *err)
{
    char target[PATH_MAX];
    SQ_TRY(join(target, tree, name, err));
    return copy_file(source, target, err);
}

static sq_status copy_program(const char *tree, sq_error *err)
{
    char source[PATH_MAX];
    if (!sq_program_path(source, sizeof source))
        return sq_fail(err, SQ_IO, "cannot find this program's own path");
    SQ_TRY(copy_as(source, tree, "bin/seqmark", err));
    if (sq_cuda_worker_path(source, sizeof source) && access(source, R_OK) == 0)
        SQ_TRY(copy_as(source, tree, "bin/seqmark-worker", err));
    if (sq_time_library_path(source, sizeof source))
        SQ_TRY(copy_as(source, tree, "lib/libseqmark_time.so", err));
    SQ_TRY(copy_shared("suites", ".yaml", tree, err));
    return copy_shared("external", ".py", tree, err);
}

/* A name is on the disk when its folder is. */
static sq_status sync_folder(const char *path, sq_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sq_status status = fd >= 0 && fsync(fd) == 0 ? SQ_OK : fail_at("write", path, err);
    if (fd >= 0)
        close(fd);
    return status;
}

static sq_status copy_and_name(const char *trees, const char *made, char hash[SQ_HASH_TEXT],
                               sq_error *err)
{
    char path[PATH_MAX], found[SQ_HASH_TEXT];
    sq_error ignored = {.status = SQ_OK};
    SQ_TRY(make_folders(made, err));
    SQ_TRY(copy_program(made, err));
    SQ_TRY(sq_tree_hash(made, hash, err));
    SQ_TRY(join(path, trees, hash, err));
    if (sq_tree_hash(path, found, &ignored) == SQ_OK && strcmp(found, hash) == 0)
        return SQ_OK;
    sq_remove_folder(path); /* one that was damaged since */
    if (rename(made, path) != 0)
        return fail_at("make", path, err);
    return sync_folder(trees, err);
}

sq_status sq_tree_keep(const char *trees, char hash[SQ_HASH_TEXT], sq_error *err)
{
    char made[PATH_MAX];
    hash[0] = 0;
    SQ_TRY(join(made, trees, unfinished, err));
    SQ_TRY(make_folder(trees, err));
    sq_remove_folder(made); /* of one that was killed */
    sq_status status = copy_and_name(trees, made, hash, err);
    sq_remove_folder(made);
    return status;
}

/* --- hashing --- */

typedef struct {
    char **path; /* below the tree */
    int n;
} file_list;

static void free_list(file_list *list)
{
    for (int i = 0; i < list->n; i++)
        free(list->path[i]);
    free(list->path);
}

static sq_status add_file(file_list *list, const char *path, sq_error *err)
{
    char *copy = sq_grow(&list->path, list->n, sizeof *list->path) ? strdup(path) : NULL;
    if (!copy)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a list of files");
    list->path[list->n++] = copy;
    return SQ_OK;
}

static sq_status list_files(const char *tree, const char *below, file_list *list, sq_error *err);

/* name: of an entry of the tree, below it. */
static sq_status list_entry(const char *tree, const char *name, file_list *list, sq_error *err)
{
    char path[PATH_MAX];
    struct stat file;
    SQ_TRY(join(path, tree, name, err));
    if (lstat(path, &file) != 0)
        return fail_at("read", path, err);
    return S_ISDIR(file.st_mode) ? list_files(tree, name, list, err) : add_file(list, name, err);
}

/* below: a folder of the tree, "" for itself. */
static sq_status list_files(const char *tree, const char *below, file_list *list, sq_error *err)
{
    char folder[PATH_MAX], name[PATH_MAX];
    SQ_TRY(join(folder, tree, below, err));
    DIR *dir = opendir(folder);
    if (!dir)
        return fail_at("read", folder, err);
    sq_status status = SQ_OK;
    for (struct dirent *e = readdir(dir); e && status == SQ_OK; e = readdir(dir)) {
        /* Python leaves compiled adapters beside their sources. */
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, "__pycache__") == 0)
            continue;
        if (below[0])
            status = join(name, below, e->d_name, err);
        else
            snprintf(name, sizeof name, "%s", e->d_name);
        if (status == SQ_OK)
            status = list_entry(tree, name, list, err);
    }
    closedir(dir);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static sq_status hash_file(const char *tree, const char *name, uint64_t *hash, sq_error *err)
{
    char path[PATH_MAX], room[4096];
    struct stat info;
    size_t got;
    SQ_TRY(join(path, tree, name, err));
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &info) != 0) {
        sq_status status = fail_at("read", path, err);
        if (file)
            fclose(file);
        return status;
    }
    *hash = sq_hash_add(*hash, name, strlen(name) + 1);
    *hash = sq_hash_add(*hash, info.st_mode & S_IXUSR ? "x" : "-", 1);
    while ((got = fread(room, 1, sizeof room, file)) > 0)
        *hash = sq_hash_add(*hash, room, got);
    sq_status status = ferror(file) ? fail_at("read", path, err) : SQ_OK;
    fclose(file);
    return status;
}

sq_status sq_tree_hash(const char *tree, char hash[SQ_HASH_TEXT], sq_error *err)
{
    file_list list = {NULL, 0};
    uint64_t sum = sq_hash_start;
    hash[0] = 0;
    sq_status status = list_files(tree, "", &list, err);
    if (status == SQ_OK && list.n)
        qsort(list.path, (size_t)list.n, sizeof *list.path, by_name);
    for (int i = 0; i < list.n && status == SQ_OK; i++)
        status = hash_file(tree, list.path[i], &sum, err);
    if (status == SQ_OK)
        snprintf(hash, SQ_HASH_TEXT, "%016" PRIx64, sum);
    free_list(&list);
    return status;
}

/* --- sweeping --- */

/* Anything else in the folder is not ours to remove. */
static bool is_ours(const char *name)
{
    return strcmp(name, unfinished) == 0 || (strlen(name) == SQ_HASH_TEXT - 1 &&
                                             strspn(name, "0123456789abcdef") == SQ_HASH_TEXT - 1);
}

int sq_tree_sweep(const char *trees, bool (*uses)(void *self, const char *hash), void *self)
{
    char path[PATH_MAX];
    int removed = 0;
    DIR *dir = opendir(trees);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        if (!is_ours(e->d_name) || uses(self, e->d_name) ||
            join(path, trees, e->d_name, NULL) != SQ_OK)
            continue;
        sq_remove_folder(path);
        removed++;
    }
    if (dir)
        closedir(dir);
    rmdir(trees); /* fails while there is something in it */
    return removed;
}
