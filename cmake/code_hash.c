/* code_hash: a program of the build that tells, for each operator and family, which code can run in
 * its cells, as a hash that changes when that code does and not with comments, line breaks or other
 * operators (docs/schema.md, kernel_hash).
 *
 *   code_hash OUT ROOT [@KIND NAME SALT FILE...]...
 *
 * writes the table of core/code.h. The files of a group are read with what they include by quotes
 * below kernels/ and models/, but for kernels/op.h and .def files: those say how the harness calls
 * kernels, and are no code of theirs. But in kind "cuda", whose kernels call nothing there, a
 * header brings its .c file along. SALT stands for what else makes the code: compiler and flags.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILES = 256, MAX_PATH = 512 };

typedef struct {
    const char *root;
    bool brings_sources; /* a header is followed by the .c file beside it */
    char path[MAX_FILES][MAX_PATH];
    char *text[MAX_FILES]; /* stripped */
    int n;
} closure;

static void die(const char *what, const char *path)
{
    fprintf(stderr, "code_hash: %s: %s\n", path, what);
    exit(1);
}

/* --- one file --- */

static char *read_all(const char *root, const char *path)
{
    char full[2 * MAX_PATH];
    snprintf(full, sizeof full, "%s/%s", root, path);
    FILE *file = fopen(full, "rb");
    size_t size = 0, room = 1 << 16;
    char *text = malloc(room);
    if (!file || !text)
        die(file ? "no memory" : strerror(errno), full);
    for (size_t got; (got = fread(text + size, 1, room - size - 1, file)) > 0;) {
        size += got;
        if (room - size < 2 && !(text = realloc(text, room *= 2)))
            die("no memory", full);
    }
    fclose(file);
    text[size] = 0;
    return text;
}

/* Past a literal that starts at `from`. An apostrophe between digits is part of a number. */
static const char *skip_literal(const char *from)
{
    char quote = *from++;
    while (*from && *from != quote && *from != '\n')
        from += from[0] == '\\' && from[1] ? 2 : 1;
    return *from == quote ? from + 1 : from;
}

static const char *skip_comment(const char *from)
{
    if (from[1] == '/')
        return from + strcspn(from, "\n");
    const char *end = strstr(from + 2, "*/");
    return end ? end + 2 : from + strlen(from);
}

/* Past blanks, comments and joined lines; *is_line: a line ended. */
static const char *skip_blank(const char *from, bool *is_line)
{
    *is_line = false;
    for (;;) {
        if (from[0] == '\\' && from[1] == '\n') {
            from += 2;
        } else if (from[0] == '/' && (from[1] == '/' || from[1] == '*')) {
            from = skip_comment(from);
        } else if (isspace((unsigned char)*from)) {
            *is_line |= *from == '\n';
            from++;
        } else {
            return from;
        }
    }
}

/* In place: comments and blanks become one blank, or a line end where a directive needs one. */
static void strip(char *text)
{
    char *to = text;
    bool is_line, is_directive = false;
    const char *from = skip_blank(text, &is_line);
    while (*from) {
        is_directive |= *from == '#' && (to == text || to[-1] == '\n');
        bool is_number = to > text && isxdigit((unsigned char)to[-1]);
        const char *end =
            *from == '"' || (*from == '\'' && !is_number) ? skip_literal(from) : from + 1;
        memmove(to, from, (size_t)(end - from));
        to += end - from;
        from = skip_blank(end, &is_line);
        if (from == end || !*from)
            continue;
        bool ends_line = is_line && (is_directive || *from == '#');
        *to++ = ends_line ? '\n' : ' ';
        is_directive &= !ends_line;
    }
    *to = 0;
}

/* --- a group --- */

static void add(closure *c, const char *path)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->path[i], path) == 0)
            return;
    if (c->n == MAX_FILES || strlen(path) >= MAX_PATH)
        die("too many files, or too long a path", path);
    c->text[c->n] = read_all(c->root, path);
    strip(c->text[c->n]);
    strcpy(c->path[c->n++], path);
}

static bool exists(const char *root, const char *path)
{
    char full[4 * MAX_PATH];
    snprintf(full, sizeof full, "%s/%s", root, path);
    FILE *file = fopen(full, "rb");
    if (file)
        fclose(file);
    return file != NULL;
}

static bool is_code(const char *path)
{
    size_t n = strlen(path);
    return (strncmp(path, "kernels/", 8) == 0 || strncmp(path, "models/", 7) == 0) &&
           strcmp(path, "kernels/op.h") != 0 && !(n > 4 && strcmp(path + n - 4, ".def") == 0);
}

/* Names are paths from the root, else beside the file. */
static void add_include(closure *c, const char *from, const char *name)
{
    char path[2 * MAX_PATH + 2];
    const char *slash = strrchr(from, '/');
    snprintf(path, sizeof path, "%s", name);
    if (!exists(c->root, path))
        snprintf(path, sizeof path, "%.*s/%s", slash ? (int)(slash - from) : 1, slash ? from : ".",
                 name);
    if (!is_code(path) || !exists(c->root, path))
        return;
    add(c, path);
    size_t n = strlen(path);
    if (!c->brings_sources || n < 2 || strcmp(path + n - 2, ".h") != 0)
        return;
    path[n - 1] = 'c';
    if (exists(c->root, path))
        add(c, path);
}

/* Files are appended while the list is walked: the end is reached when nothing new is included. */
static void add_includes(closure *c)
{
    for (int i = 0; i < c->n; i++)
        for (const char *at = c->text[i]; (at = strstr(at, "include")); at++) {
            char name[MAX_PATH];
            if (sscanf(at, "include \"%511[^\"\n]\"", name) == 1 ||
                sscanf(at, "include\"%511[^\"\n]\"", name) == 1)
                add_include(c, c->path[i], name);
        }
}

/* FNV-1a, 64 bit, as core/cell.c has it; the end of each text counts. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (;; text++) {
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
        if (!*text)
            return hash;
    }
}

/* In the order of the paths, so that the order of includes and of the command does not matter. */
static uint64_t hash_closure(const closure *c, const char *salt)
{
    uint64_t hash = hash_text(0xcbf29ce484222325u, salt);
    bool is_done[MAX_FILES] = {false};
    for (int k = 0; k < c->n; k++) {
        int next = -1;
        for (int i = 0; i < c->n; i++)
            if (!is_done[i] && (next < 0 || strcmp(c->path[i], c->path[next]) < 0))
                next = i;
        is_done[next] = true;
        hash = hash_text(hash, c->text[next]);
    }
    return hash;
}

/* Writes the row of the group that starts at word[0] = "@KIND"; returns the words it has. */
static int write_group(FILE *out, const char *root, char **word, int n)
{
    static closure c;
    int used = 3;
    if (n < 3 || word[0][0] != '@')
        die("groups are @KIND NAME SALT FILE...", word[0]);
    c = (closure){.root = root, .brings_sources = strcmp(word[0], "@cuda") != 0};
    for (; used < n && word[used][0] != '@'; used++)
        add(&c, word[used]);
    add_includes(&c);
    fprintf(out, "    {\"%s\", \"%s\", \"%016" PRIx64 "\"},\n", word[0] + 1, word[1],
            hash_closure(&c, word[2]));
    for (int i = 0; i < c.n; i++)
        free(c.text[i]);
    return used;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        die("code_hash OUT ROOT [@KIND NAME SALT FILE...]...", "usage");
    FILE *out = fopen(argv[1], "w");
    if (!out)
        die(strerror(errno), argv[1]);
    fprintf(out, "/* Generated by cmake/code_hash.c. */\n#include \"core/code.h\"\n\n"
                 "const sq_code sq_code_table[] = {\n");
    for (int i = 3; i < argc;)
        i += write_group(out, argv[2], argv + i, argc - i);
    fprintf(out, "    {NULL, NULL, NULL},\n};\n");
    return fclose(out) == 0 ? 0 : 1;
}
