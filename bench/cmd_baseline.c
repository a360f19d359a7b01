/* seqmark baseline: campaigns with a name, and the program that measured each, kept. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/command.h"
#include "bench/tree.h"
#include "core/host.h"
#include "core/stamp.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    SQ_OPTION_DB,
    {"no-binary", 0, NULL, "set: keeps no copy of this program; suspects cannot be confirmed then"},
    {"device", 0, "DEVICE", "list: whose environment the baselines are held against"},
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

/* --- what is in use --- */

typedef struct {
    const sq_baseline *baseline;
    int n;
} baselines;

static bool uses_tree(void *self, const char *hash)
{
    const baselines *all = self;
    for (int i = 0; i < all->n; i++)
        if (strcmp(all->baseline[i].tree_hash, hash) == 0)
            return true;
    return false;
}

/* Removes the trees that no baseline of this store names. */
static sq_status sweep(sq_db *db, int *removed, sq_error *err)
{
    char trees[SQ_TREE_PATH];
    sq_baseline *all = NULL;
    int n;
    SQ_TRY(sq_db_trees(db, trees, err));
    SQ_TRY(sq_db_list_baselines(db, &all, &n, err));
    baselines in_use = {all, n};
    *removed = sq_tree_sweep(trees, uses_tree, &in_use);
    free(all);
    return SQ_OK;
}

/* --- set --- */

static sq_status check_name(const char *name, sq_error *err)
{
    bool is_good = isalnum((unsigned char)name[0]) && strlen(name) < sizeof((sq_baseline *)0)->name;
    for (const char *c = name; *c; c++)
        is_good = is_good && (isalnum((unsigned char)*c) || strchr("._-", *c));
    return is_good ? SQ_OK
                   : sq_fail(err, SQ_BAD_ARGUMENT,
                             "\"%s\" is no name of a baseline: letters, digits, \".\", \"_\" and "
                             "\"-\", at most 63",
                             name);
}

/* A kept program is of use only if it is the one that measured. */
static sq_status check_program(const sq_db_candidate *c, const char *campaign, sq_error *err)
{
    if (strcmp(c->version, sq_build_stamp.version) != 0 ||
        strcmp(c->git_commit, sq_build_stamp.git_commit) != 0)
        return sq_fail(
            err, SQ_BAD_ARGUMENT,
            "campaign %.8s was measured by seqmark %s %.12s and this is %s %.12s: set it "
            "with that program, or --no-binary",
            campaign, c->version, c->git_commit, sq_build_stamp.version, sq_build_stamp.git_commit);
    if (c->is_dirty || sq_build_stamp.is_dirty)
        fprintf(stderr,
                "the program was built with local changes: whether it is the one that "
                "measured %.8s cannot be told\n",
                campaign);
    return SQ_OK;
}

static sq_status keep(sq_db *db, const char *name, const char *campaign, bool has_tree,
                      sq_error *err)
{
    char trees[SQ_TREE_PATH], hash[SQ_HASH_TEXT] = "";
    int removed;
    SQ_TRY(sq_db_trees(db, trees, err));
    sq_status status = has_tree ? sq_tree_keep(trees, hash, err) : SQ_OK;
    if (status == SQ_OK)
        status = sq_db_put_baseline(db, name, campaign, hash, sq_wall_seconds(), err);
    /* What it replaced, or what a set that failed or was killed has left. */
    sq_status swept = sweep(db, &removed, status == SQ_OK ? err : NULL);
    return status == SQ_OK ? swept : status;
}

static sq_status set(const sq_given *given, sq_db *db, sq_error *err)
{
    char campaign[SQ_UUID_TEXT];
    sq_db_candidate candidate;
    sq_baseline made;
    const char *name = given->argument[1];
    bool has_tree = !sq_given_has(given, "no-binary");
    SQ_TRY(check_name(name, err));
    SQ_TRY(sq_db_resolve_campaign(db, given->argument[2], campaign, err));
    SQ_TRY(sq_db_check_candidate(db, campaign, &candidate, err));
    if (has_tree)
        SQ_TRY(check_program(&candidate, campaign, err));
    if (strcmp(candidate.state, "budget") == 0)
        fprintf(stderr,
                "campaign %.8s was ended by its budget: %d runs have a time, %d were planned\n",
                campaign, candidate.timed, candidate.planned);
    SQ_TRY(keep(db, name, campaign, has_tree, err));
    SQ_TRY(sq_db_find_baseline(db, name, &made, err));
    fprintf(stderr, "baseline %s is campaign %.8s (%s%s%s, %d cells)%s%s\n", name, campaign,
            made.suite, made.suite[0] && made.label[0] ? " " : "", made.label, made.cells,
            has_tree ? "; its program is in " : "; no program is kept", made.tree);
    return SQ_OK;
}

/* --- drop --- */

static sq_status drop(const sq_given *given, sq_db *db, sq_error *err)
{
    int removed;
    SQ_TRY(sq_db_drop_baseline(db, given->argument[1], err));
    SQ_TRY(sweep(db, &removed, err));
    fprintf(stderr, "baseline %s is dropped; its campaign stays%s\n", given->argument[1],
            removed ? ", the program kept for it is removed" : "");
    return SQ_OK;
}

/* --- list --- */

static void add_difference(sq_text *out, const char *what, const char *then, const char *now)
{
    if (strcmp(then, now) != 0)
        sq_text_printf(out, "%s%s %s (now %s)", out->length ? ", " : "", what,
                       then[0] ? then : "unknown", now[0] ? now : "unknown");
}

/* What differs between the machine that a baseline was measured on and this one. */
static sq_status describe_difference(sq_db *db, const sq_baseline *baseline,
                                     const sq_target *target, sq_text *out, sq_error *err)
{
    static const char sql[] =
        "SELECT e.driver, e.toolkit, e.cublas, e.cufft, e.cudnn, e.host, e.kernel, e.ecc, e.mig, "
        "iif(e.power_limit_w IS NULL, '', format('%g', e.power_limit_w)), d.name, d.uuid FROM "
        "campaign c "
        "JOIN environment e ON e.env_id = c.env_id JOIN device d ON d.device_id = c.device_id "
        "WHERE c.uuid = ?1";
    static const char *const names[] = {"driver", "toolkit",     "cuBLAS", "cuFFT",
                                        "cuDNN",  "host",        "kernel", "ECC",
                                        "MIG",    "power limit", "device", "card"};
    const sq_environment *e = &target->environment;
    char limit[32] = "";
    sq_status status = SQ_OK;
    sqlite3_stmt *row = NULL;
    if (isfinite(e->power_limit_w))
        snprintf(limit, sizeof limit, "%g", e->power_limit_w);
    const char *const now[] = {e->driver, e->toolkit, e->cublas,           e->cufft,
                               e->cudnn,  e->host,    e->kernel,           e->ecc,
                               e->mig,    limit,      target->device.name, target->device.uuid};
    if (sqlite3_prepare_v2(sq_db_handle(db), sql, -1, &row, NULL) != SQLITE_OK)
        return sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(sq_db_handle(db)));
    sqlite3_bind_text(row, 1, baseline->campaign, -1, SQLITE_STATIC);
    if (sqlite3_step(row) == SQLITE_ROW)
        for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
            const char *then = (const char *)sqlite3_column_text(row, i);
            add_difference(out, names[i], then ? then : "", now[i]);
        }
    else
        status = sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(sq_db_handle(db)));
    sqlite3_finalize(row);
    return status;
}

static const char *state_of_tree(const sq_baseline *baseline)
{
    char found[SQ_HASH_TEXT];
    sq_error why = {.status = SQ_OK};
    if (!baseline->tree_hash[0])
        return "none";
    if (sq_tree_hash(baseline->tree, found, &why) != SQ_OK)
        return "missing";
    return strcmp(found, baseline->tree_hash) == 0 ? "kept" : "changed";
}

static void add_date(sq_table *table, double seconds)
{
    char text[32];
    sq_format_utc(seconds, text, sizeof text);
    sq_table_text(table, text);
}

static void warn(const sq_baseline *b, const char *difference, const char *tree)
{
    if (difference[0])
        fprintf(stderr, "baseline %s was measured under other conditions: %s\n", b->name,
                difference);
    if (strcmp(tree, "missing") == 0 || strcmp(tree, "changed") == 0)
        fprintf(stderr, "the program kept for baseline %s is %s: %s\n", b->name, tree, b->tree);
}

static sq_status add_row(sq_table *table, sq_db *db, const sq_baseline *b, const sq_target *target,
                         sq_error *err)
{
    sq_text difference = {.data = NULL};
    double age = sq_warn_of_age(b);
    const char *tree = state_of_tree(b);
    SQ_TRY(describe_difference(db, b, target, &difference, err));
    sq_table_text(table, b->name);
    sq_table_text(table, b->campaign);
    sq_table_text(table, b->suite);
    sq_table_text(table, b->label);
    sq_table_number(table, b->cells, 9);
    add_date(table, b->started);
    add_date(table, b->made);
    sq_table_number(table, floor(10 * age) / 10, 6);
    sq_table_text(table, b->git_commit);
    sq_table_text(table, tree);
    sq_table_text(table, difference.data ? difference.data : "");
    warn(b, difference.data ? difference.data : "", tree);
    sq_text_free(&difference);
    return SQ_OK;
}

static sq_status list_on(const sq_target *target, sq_db *db, sq_format format, sq_error *err)
{
    static const char *const columns[] = {"name",   "campaign", "suite",   "label",
                                          "cells",  "measured", "set",     "age_days",
                                          "commit", "program",  "differs", NULL};
    sq_baseline *all = NULL;
    int n;
    SQ_TRY(sq_db_list_baselines(db, &all, &n, err));
    sq_table *table = sq_table_new(columns);
    sq_status status = SQ_OK;
    for (int i = 0; table && i < n && status == SQ_OK; i++)
        status = add_row(table, db, &all[i], target, err);
    free(all);
    if (status == SQ_OK)
        return sq_table_print(table, format, err);
    sq_table_free(table);
    return status;
}

static sq_status list(const sq_given *given, sq_db *db, sq_error *err)
{
    sq_format format;
    sq_target target = {.name = ""};
    SQ_TRY(sq_given_format(given, &format, err));
    sq_status status = sq_target_open(sq_given_value(given, "device", NULL), &target, err);
    if (status == SQ_OK && target.note[0])
        fprintf(stderr, "%s: held against the CPU\n", target.note);
    if (status == SQ_OK)
        status = list_on(&target, db, format, err);
    sq_target_close(&target);
    return status;
}

/* --- the verb --- */

static const struct {
    const char *name;
    int arguments; /* with its own name */
    bool is_writer;
    sq_status (*run)(const sq_given *given, sq_db *db, sq_error *err);
} actions[] = {{"set", 3, true, set}, {"list", 1, false, list}, {"drop", 2, true, drop}};

static sq_status execute(const sq_given *given, sq_error *err)
{
    static const char *const names[] = {"set", "list", "drop", NULL};
    int i;
    sq_db *db = NULL;
    if (given->n_arguments == 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "baseline takes set, list or drop");
    SQ_TRY(sq_find_name("action of baseline", given->argument[0], names, &i, err));
    if (given->n_arguments != actions[i].arguments)
        return sq_fail(err, SQ_BAD_ARGUMENT, "baseline %s takes %s", names[i],
                       i == 0   ? "a name and a campaign"
                       : i == 1 ? "no name"
                                : "one name");
    if (i != 0 && sq_given_has(given, "no-binary"))
        return sq_fail(err, SQ_BAD_ARGUMENT, "--no-binary belongs to baseline set");
    SQ_TRY(actions[i].is_writer ? sq_given_open_store(given, &db, err)
                                : sq_db_open(sq_given_db(given), SQ_DB_READ, &db, err));
    sq_status status = actions[i].run(given, db, err);
    sq_db_close(db);
    return status;
}

void sq_cmd_baseline(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "baseline set NAME CAMPAIGN [options]\n       seqmark baseline list [options]\n"
                 "       seqmark baseline drop NAME [options]",
        .text =
            "A baseline is a finished campaign with a name, baseline:NAME. \"set\" also copies "
            "this\nprogram (bin, lib, share) beside the store, so that suspects can be measured "
            "again with\nthe code of then; it moves a name that is taken. \"list\" warns of age "
            "and of what\ndiffers on this machine. \"drop\" forgets the name and the copy, not "
            "the campaign.",
        .options = options};
    sq_verb_run(&verb, argc, argv, execute, outcome);
}
