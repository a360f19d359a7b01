/* code_hash: a program of the build that tells, for each operator and family, which code can run in
 * its cells, as a hash that changes when that code does and not with comments, line breaks or other
 * operators (docs/schema.md, kernel_hash).
 *
 *   code_hash OUT ROOT [@sources - - FILE...] [@KIND NAME SALT FILE...]...
 *
 * writes the table of core/code.h. To the files of a group belong what they include by quotes below
 * kernels/ and models/, and those of the sources that define a function or a table which they use
 * (names that begin with sq_; .cu files for kind "cuda" only), and so on. Not kernels/op.h,
 * kernels/fusion.h and .def files: those say how the harness calls kernels, and are no code of theirs. SALT stands for what
 * else makes the code: compiler and flags.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILES = 512, MAX_PATH = 512, MAX_NAMES = 1 << 14 };

/* A file, its text stripped. */
typedef struct {
    char path[MAX_PATH];
    char *text;
} source;

/* A set of names, by their hashes; 0 is an empty place. */
typedef struct {
    uint64_t slot[MAX_NAMES];
    int n;
} names;

typedef struct {
    const char *root, *kind;
    source file[MAX_FILES];
    int n;
    names used; /* in all of the files */
} closure;

/* What a group may take from: each with the names that it defines. */
static struct {
    source file[MAX_FILES];
    uint64_t *defines[MAX_FILES]; /* ended by 0 */
    int n;
} known;

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

static source read_source(const char *root, const char *path)
{
    source file;
    if (strlen(path) >= MAX_PATH)
        die("too long a path", path);
    strcpy(file.path, path);
    file.text = read_all(root, path);
    strip(file.text);
    return file;
}

/* --- names --- */

/* FNV-1a, 64 bit, as core/cell.c has it. */
static uint64_t hash_bytes(uint64_t hash, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    return hash;
}

static const uint64_t hash_start = 0xcbf29ce484222325u;

static bool is_word(char c)
{
    return c == '_' || isalnum((unsigned char)c);
}

/* The next name that begins with sq_; its length in *n. NULL: none is left. */
static const char *next_name(const char *begin, const char *from, size_t *n)
{
    for (const char *at = from; (at = strstr(at, "sq_")); at++) {
        if (at > begin && is_word(at[-1]))
            continue;
        for (*n = 0; is_word(at[*n]);)
            (*n)++;
        return at;
    }
    return NULL;
}

/* Whether the name was in the set before it is added (or only looked for). */
static bool find_name(names *set, uint64_t hash, bool is_added)
{
    size_t at = (size_t)hash % MAX_NAMES;
    for (; set->slot[at] && set->slot[at] != hash; at = (at + 1) % MAX_NAMES)
        ;
    if (set->slot[at])
        return true;
    if (is_added && set->n++ > MAX_NAMES / 2)
        die("too many names", "a group");
    if (is_added)
        set->slot[at] = hash;
    return false;
}

/* Past a bracket and what is in it. */
static const char *skip_bracket(const char *from)
{
    int depth = 0;
    for (; *from; from++) {
        depth += *from == '(' || *from == '[';
        depth -= *from == ')' || *from == ']';
        if (depth == 0)
            return from + 1;
    }
    return from;
}

/* "type name(...);" and "extern type name[...];", which use nothing. */
static bool is_declaration(const char *begin, const char *at, size_t n)
{
    const char *after = at + n + strspn(at + n, " \n"), *before = at;
    while (before > begin && strchr(" \n", before[-1]))
        before--;
    bool has_type = before > begin && (before[-1] == '*' || is_word(before[-1])) &&
                    !(before - begin > 6 && strncmp(before - 6, "return", 6) == 0);
    if (*after == '(' || *after == '[')
        after = skip_bracket(after);
    after += strspn(after, " \n");
    return has_type && (*after == ';' || strncmp(after, "__attribute__", 13) == 0);
}

/* Headers declare more than their readers use. */
static void use_names(names *set, const source *file)
{
    size_t n, length = strlen(file->path);
    bool is_header = length > 2 && strcmp(file->path + length - 2, ".h") == 0;
    for (const char *at = file->text; (at = next_name(file->text, at, &n)); at += n)
        if (!is_header || !is_declaration(file->text, at, n))
            find_name(set, hash_bytes(hash_start, at, n), true);
}

/* "name(...) {" and "name[...] = {" define; a call, a declaration or an assignment does not. */
static bool is_definition(const char *after)
{
    after += strspn(after, " \n");
    bool is_function = *after == '(';
    if (!is_function && *after != '[' && *after != '=')
        return false;
    if (*after != '=')
        after = skip_bracket(after);
    after += strspn(after, " \n");
    if (!is_function && *after == '=')
        after += 1 + strspn(after + 1, " \n");
    return *after == '{';
}

static uint64_t *list_definitions(const char *text)
{
    uint64_t *list = calloc(1, sizeof *list);
    size_t n, count = 0;
    for (const char *at = text; (at = next_name(text, at, &n)); at += n) {
        if (!is_definition(at + n))
            continue;
        list = realloc(list, (count + 2) * sizeof *list);
        if (!list)
            die("no memory", "names");
        list[count++] = hash_bytes(hash_start, at, n);
        list[count] = 0;
    }
    return list;
}

/* --- a group --- */

static bool has(const closure *c, const char *path)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->file[i].path, path) == 0)
            return true;
    return false;
}

static void add(closure *c, const char *path)
{
    if (has(c, path))
        return;
    if (c->n == MAX_FILES)
        die("too many files", path);
    c->file[c->n] = read_source(c->root, path);
    use_names(&c->used, &c->file[c->n++]);
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

static bool ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n > m && strcmp(path + n - m, end) == 0;
}

static bool is_code(const char *path)
{
    return (strncmp(path, "kernels/", 8) == 0 || strncmp(path, "models/", 7) == 0) &&
           strcmp(path, "kernels/op.h") != 0 &&
           strcmp(path, "kernels/fusion.h") != 0 && !ends_in(path, ".def");
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
    if (is_code(path) && exists(c->root, path))
        add(c, path);
}

static void add_includes(closure *c, int i)
{
    for (const char *at = c->file[i].text; (at = strstr(at, "include")); at++) {
        char name[MAX_PATH];
        if (sscanf(at, "include \"%511[^\"\n]\"", name) == 1 ||
            sscanf(at, "include\"%511[^\"\n]\"", name) == 1)
            add_include(c, c->file[i].path, name);
    }
}

/* Sources of the same part of the tree that define what is used. */
static void add_definitions(closure *c)
{
    size_t part = strcspn(c->file[0].path, "/");
    for (int i = 0; i < known.n; i++) {
        const char *path = known.file[i].path;
        bool is_used = false;
        if (has(c, path) || strncmp(path, c->file[0].path, part + 1) != 0 ||
            (ends_in(path, ".cu") && strcmp(c->kind, "cuda") != 0))
            continue;
        for (const uint64_t *name = known.defines[i]; *name && !is_used; name++)
            is_used = find_name(&c->used, *name, false);
        if (is_used)
            add(c, path);
    }
}

static void complete(closure *c)
{
    for (int i = 0, before = -1; before != c->n;) {
        before = c->n;
        for (; i < c->n; i++) /* files are appended meanwhile */
            add_includes(c, i);
        add_definitions(c);
    }
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return hash_bytes(hash, text, strlen(text) + 1); /* where a text ends counts */
}

/* In the order of the paths, so that the order of includes and of the command does not matter. */
static uint64_t hash_closure(const closure *c, const char *salt)
{
    uint64_t hash = hash_text(hash_start, salt);
    bool is_done[MAX_FILES] = {false};
    for (int k = 0; k < c->n; k++) {
        int next = -1;
        for (int i = 0; i < c->n; i++)
            if (!is_done[i] && (next < 0 || strcmp(c->file[i].path, c->file[next].path) < 0))
                next = i;
        is_done[next] = true;
        hash = hash_text(hash, c->file[next].text);
    }
    return hash;
}

/* The words of a group, up to the next. */
static int count_words(char **word, int n)
{
    int used = 3;
    if (n < 4 || word[0][0] != '@')
        die("groups are @KIND NAME SALT FILE...", word[0]);
    while (used < n && word[used][0] != '@')
        used++;
    return used;
}

static void write_group(FILE *out, const char *root, char **word, int n)
{
    static closure c;
    memset(&c, 0, sizeof c);
    c.root = root;
    c.kind = word[0] + 1;
    for (int i = 3; i < n; i++)
        add(&c, word[i]);
    complete(&c);
    fprintf(out, "    {\"%s\", \"%s\", \"%016" PRIx64 "\"},", c.kind, word[1],
            hash_closure(&c, word[2]));
    fprintf(out, " /* %d files */\n", c.n);
    for (int i = 0; i < c.n; i++)
        free(c.file[i].text);
}

static void read_known(const char *root, char **word, int n)
{
    for (int i = 3; i < n; i++) {
        if (known.n == MAX_FILES)
            die("too many files", word[i]);
        known.file[known.n] = read_source(root, word[i]);
        known.defines[known.n] = list_definitions(known.file[known.n].text);
        known.n++;
    }
}

static void free_known(void)
{
    for (int i = 0; i < known.n; i++) {
        free(known.file[i].text);
        free(known.defines[i]);
    }
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
    for (int i = 3, n; i < argc; i += n) {
        n = count_words(argv + i, argc - i);
        if (strcmp(argv[i], "@sources") == 0)
            read_known(argv[2], argv + i, n);
        else
            write_group(out, argv[2], argv + i, n);
    }
    free_known();
    fprintf(out, "    {NULL, NULL, NULL},\n};\n");
    return fclose(out) == 0 ? 0 : 1;
}
