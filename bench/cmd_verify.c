/* seqmark verify: operators against golden data, a case or a tree of them. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/cmd_verify.h"
#include "bench/exchange.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    SQ_OPTION_DEVICE,
    {"dtype", 0, "TYPE", "of golden data: f32 (default), bf16 or f16"},
    {"cell", 0, "CELL", "prove this cell, as its key says it"},
    {"fuzz", 0, "N", "prove N cells drawn by seed"},
    {"seed", 0, "S", "of --cell's inputs, of --fuzz's first cell (default 1)"},
    {"layout", 0, "LAYOUT", "--cell: dense (default) or strided inputs"},
    {"values", 0, "VALUES", "--cell: usual (default), strong, tiny, subnormal, zero, gates"},
    {"op", 0, "NAME", "--fuzz: this operator alone"},
    {"provider", 0, "NAME", "--fuzz: this provider alone"},
    {"proof-work", 0, "N", "multiply-adds that a reference may cost (default 2m)"},
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

static const char *const columns[] = {"case",      "kind",   "subject", "verdict",
                                      "provider",  "tensor", "rel_l2",  "max_abs",
                                      "tolerance", "reason", NULL};

static const sq_patience patience = {.silence = 300, .total = 0};

enum {
    MAX_DEPTH = 16,
    MAX_PATH = 4096,
    ROOM_FOR_NAMES = 32, /* of the files of a case */
};

/* --- the cases under a path --- */

/* why: what is wrong with it, so that nobody knows which cases it holds; "": it is a case. */
typedef struct {
    char *path;
    char why[64];
} folder;

typedef struct {
    folder *item;
    int count;
} folders;

static void free_folders(folders *list)
{
    for (int i = 0; i < list->count; i++)
        free(list->item[i].path);
    free(list->item);
}

static sq_status add_folder(folders *list, const char *path, const char *why, sq_error *err)
{
    folder *grown = realloc(list->item, sizeof *grown * (size_t)(list->count + 1));
    if (grown)
        list->item = grown;
    char *copy = grown ? strdup(path) : NULL;
    if (!copy)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the list of cases");
    grown[list->count] = (folder){.path = copy};
    snprintf(grown[list->count].why, sizeof grown->why, "%s", why);
    list->count++;
    return SQ_OK;
}

/* A folder that is being searched, and those that it lies in. */
typedef struct searched {
    const struct searched *above;
    struct stat info;
    int depth;
} searched;

/* Whether path is a folder, and none that it lies in itself (by a symbolic link). */
static bool is_new_folder(const char *path, const searched *above, searched *out)
{
    *out = (searched){.above = above, .depth = above ? above->depth + 1 : 0};
    if (stat(path, &out->info) != 0 || !S_ISDIR(out->info.st_mode))
        return false;
    for (const searched *at = above; at; at = at->above)
        if (at->info.st_dev == out->info.st_dev && at->info.st_ino == out->info.st_ino)
            return false;
    return true;
}

static sq_status collect(const char *path, const searched *here, folders *list, sq_error *err);

static sq_status collect_inner(const char *path, const char *name, const searched *here,
                               folders *list, sq_error *err)
{
    char inner[MAX_PATH];
    searched next;
    if (snprintf(inner, sizeof inner, "%s/%s", path, name) >= MAX_PATH - ROOM_FOR_NAMES)
        return add_folder(list, path, "the path of what it holds is too long", err);
    if (!is_new_folder(inner, here, &next))
        return SQ_OK;
    return next.depth < MAX_DEPTH ? collect(inner, &next, list, err)
                                  : add_folder(list, inner, "folders too deep", err);
}

static bool has_entry(const char *path, const char *name)
{
    char inner[MAX_PATH];
    struct stat info;
    snprintf(inner, sizeof inner, "%s/%s", path, name);
    return lstat(inner, &info) == 0;
}

/* A folder with a file of a case is one; all folders are searched. One that is given must be there,
 * one inside of it that cannot be searched is a row of the answer. */
static sq_status collect(const char *path, const searched *here, folders *list, sq_error *err)
{
    if (has_entry(path, "case.json") || has_entry(path, "data.safetensors"))
        SQ_TRY(add_folder(list, path, "", err));
    DIR *dir = opendir(path);
    if (!dir && here->depth == 0)
        return sq_fail(err, SQ_IO, "%.400s: %s", path, strerror(errno));
    if (!dir)
        return add_folder(list, path, strerror(errno), err);
    sq_status s = SQ_OK;
    for (struct dirent *e; s == SQ_OK && (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        s = collect_inner(path, e->d_name, here, list, err);
    }
    closedir(dir);
    return s;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const folder *)a)->path, ((const folder *)b)->path);
}

/* --- one case --- */

static void add_row(const sq_verification_run *v, const json_t *answer)
{
    for (int i = 0; v->table && columns[i]; i++) {
        const json_t *value = json_object_get(answer, columns[i]);
        if (json_is_string(value))
            sq_table_text(v->table, json_string_value(value));
        else
            sq_table_number(v->table, json_is_number(value) ? json_number_value(value) : NAN, 3);
    }
}

static void count_mismatch(sq_verification_run *v, const char *name, const char *why)
{
    if (v->mismatches++ == 0)
        snprintf(v->first_mismatch, sizeof v->first_mismatch, "%.640s: %.320s", name, why);
}

void sq_verification_add(sq_verification_run *v, const json_t *answer)
{
    const char *verdict = sq_message_text(answer, "verdict", "");
    add_row(v, answer);
    v->ok += strcmp(verdict, "ok") == 0;
    v->unsupported += strcmp(verdict, "unsupported") == 0;
    if (strcmp(verdict, "mismatch") == 0)
        count_mismatch(v, sq_message_text(answer, "case", "?"),
                       sq_message_text(answer, "reason", "?"));
}

/* A case that cannot be read or made is neither right nor wrong, one that ends its worker is wrong. */
static void add_unanswered(sq_verification_run *v, const char *name, bool is_refused)
{
    json_t *row = json_pack("{ss ss ss}", "case", name, "verdict",
                            is_refused ? "unsupported" : "mismatch", "reason", v->why);
    add_row(v, row); /* NULL where the last words of the worker are no UTF-8 */
    json_decref(row);
    if (!is_refused)
        count_mismatch(v, name, v->why);
    else if (v->refused++ == 0)
        snprintf(v->first_refused, sizeof v->first_refused, "%.400s: %.480s", name, v->why);
}

sq_status sq_verification_ask(sq_verification_run *v, const char *name, json_t *request,
                              const char *kind, json_t **answer, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    *answer = NULL;
    if (!request)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request (is the path UTF-8?)");
    sq_status s = v->client ? SQ_OK : sq_target_start_worker(&v->target, &v->client, err);
    if (s != SQ_OK) {
        json_decref(request);
        return s;
    }
    s = sq_exchange(v->client, request, kind, patience, NULL, answer, &why);
    json_decref(request);
    if (s == SQ_INTERRUPTED)
        return sq_fail(err, s, "interrupted");
    if (s == SQ_OK)
        return SQ_OK;
    snprintf(v->why, sizeof v->why, "%.479s", why.message);
    add_unanswered(v, name, s == SQ_BAD_ARGUMENT);
    if (s != SQ_BAD_ARGUMENT) { /* the worker is gone or confused */
        sq_client_kill(v->client);
        v->client = NULL;
    }
    return SQ_OK;
}

/* Requests and rows are JSON: a name of other bytes can be neither. */
static bool is_utf8(const char *text)
{
    json_t *json = json_string(text);
    json_decref(json);
    return json != NULL;
}

static void refuse_name(sq_verification_run *v, const char *path)
{
    char name[512];
    snprintf(name, sizeof name, "%s", path);
    for (char *c = name; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    snprintf(v->why, sizeof v->why, "its path is no UTF-8");
    add_unanswered(v, name, true);
}

static sq_status verify(sq_verification_run *v, const folder *of, sq_error *err)
{
    json_t *answer = NULL;
    if (!is_utf8(of->path)) {
        refuse_name(v, of->path);
        return SQ_OK;
    }
    if (of->why[0]) {
        snprintf(v->why, sizeof v->why, "%s", of->why);
        add_unanswered(v, of->path, true);
        return SQ_OK;
    }
    SQ_TRY(sq_verification_ask(
        v, of->path, json_pack("{ss ss ss}", "do", "verify", "case", of->path, "dtype", v->dtype),
        "verification", &answer, err));
    if (answer)
        sq_verification_add(v, answer);
    json_decref(answer);
    return SQ_OK;
}

static sq_status verify_folders(sq_verification_run *v, const sq_given *given, sq_error *err)
{
    folders list = {.count = 0};
    searched top;
    sq_status s = SQ_OK;
    for (int i = 0; s == SQ_OK && i < given->n_arguments; i++) {
        (void)is_new_folder(given->argument[i], NULL, &top); /* collect says what is wrong */
        s = collect(given->argument[i], &top, &list, err);
    }
    if (s == SQ_OK && list.count == 0)
        s = sq_fail(err, SQ_BAD_ARGUMENT, "%.300s: no case.json there", given->argument[0]);
    if (list.count)
        qsort(list.item, (size_t)list.count, sizeof *list.item, by_path);
    if (s == SQ_OK)
        s = sq_target_open(sq_given_value(given, "device", NULL), &v->target, err);
    for (int i = 0; s == SQ_OK && i < list.count; i++)
        s = verify(v, &list.item[i], err);
    free_folders(&list);
    return s;
}

static void conclude(const sq_verification_run *v, sq_outcome *outcome)
{
    const int all = v->ok + v->mismatches + v->unsupported + v->refused;
    if (v->mismatches)
        sq_outcome_set(outcome, SQ_EXIT_WRONG, "%d of %d cases are wrong; first: %s", v->mismatches,
                       all, v->first_mismatch);
    else if (v->refused)
        sq_outcome_set(outcome, SQ_EXIT_FAILED, "%d of %d cases could not be verified; first: %s",
                       v->refused, all, v->first_refused);
    else if (v->unsupported)
        sq_outcome_set(outcome, SQ_EXIT_FAILED, "%d cases are right, %d unsupported", v->ok,
                       v->unsupported);
}

static sq_status run(const sq_given *given, sq_outcome *outcome, sq_error *err)
{
    sq_verification_run v = {.dtype = sq_given_value(given, "dtype", "f32")};
    sq_dtype dtype;
    sq_format format;
    SQ_TRY(sq_dtype_parse(v.dtype, &dtype, err));
    SQ_TRY(sq_given_format(given, &format, err));
    if (!sq_given_value(given, "fuzz", NULL) && !(v.table = sq_table_new(columns)))
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    sq_status s = sq_verify_is_of_cells(given) ? sq_verify_cells(&v, given, err)
                                               : verify_folders(&v, given, err);
    sq_client_stop(v.client);
    sq_target_close(&v.target);
    if (s != SQ_OK) {
        sq_table_free(v.table);
        return s;
    }
    conclude(&v, outcome);
    return sq_table_print(v.table, format, err);
}

void sq_cmd_verify(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "verify PATH.. | --cell CELL | --fuzz N [options]",
        .text =
            "Runs each case of golden data under PATH (a folder with case.json and\n"
            "data.safetensors, or a tree of such folders) through every provider of the operators\n"
            "that compute it, and compares with the official results. --cell proves one cell\n"
            "again, --fuzz cells drawn by seed; a row a provider and pass then, and for each "
            "wrong\n"
            "cell the command that replays it. Exit code 4: a case is wrong, or ends its worker;\n"
            "6: a case has no operator here, or could not be read or run.",
        .options = options};
    sq_error err = {.status = SQ_OK};
    sq_given given;
    if (!sq_verb_parse(&verb, argc, argv, &given, outcome))
        return;
    if ((given.n_arguments == 0) != sq_verify_is_of_cells(&given)) {
        sq_outcome_set(outcome, SQ_EXIT_ERROR,
                       "verify needs the path of a case, or else --cell or --fuzz");
        return;
    }
    sq_status s = run(&given, outcome, &err);
    if (s != SQ_OK)
        sq_outcome_error(outcome, s, &err);
}
