/* baselines: see the header. */
#include "db/baselines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/grow.h"
#include "db/store.h"

enum { KNOWN_NAMES = 200 };
static const char trees_suffix[] = "-trees";

/* --- trees --- */

sq_status sq_db_trees(const sq_db *db, char out[SQ_TREE_PATH], sq_error *err)
{
    int n = snprintf(out, SQ_TREE_PATH, "%s%s", db->path, trees_suffix);
    return n < SQ_TREE_PATH ? SQ_OK : sq_fail(err, SQ_BAD_ARGUMENT, "%s: too long", db->path);
}

/* Relative to the folder of the store, so that the two move together. */
static sq_status tree_path(const sq_db *db, const char *hash, char out[SQ_TREE_PATH], sq_error *err)
{
    char trees[SQ_TREE_PATH];
    out[0] = 0;
    if (!hash[0])
        return SQ_OK;
    SQ_TRY(sq_db_trees(db, trees, err));
    int n = snprintf(out, SQ_TREE_PATH, "%s/%s", strrchr(trees, '/') + 1, hash);
    return n < SQ_TREE_PATH ? SQ_OK : sq_fail(err, SQ_BAD_ARGUMENT, "%s: too long", db->path);
}

static void place_tree(const sq_db *db, const char *stored, char out[SQ_TREE_PATH])
{
    int folder = (int)(strrchr(db->path, '/') - db->path) + 1;
    if (!stored[0] || stored[0] == '/')
        folder = 0;
    if (snprintf(out, SQ_TREE_PATH, "%.*s%s", folder, db->path, stored) >= SQ_TREE_PATH)
        out[0] = 0;
}

/* --- candidates --- */

static sq_status refuse_candidate(sq_db *db, const char *uuid, const char *suite, const char *why,
                                  sq_error *err)
{
    bool found;
    sq_row row = sq_row_new(db, SQ_SQL_NEAREST_CANDIDATE);
    sq_row_text(&row, suite);
    SQ_TRY(sq_row_step(&row, &found, err));
    char nearest[256] = "";
    if (found) {
        sq_row_copy(&row, 0, nearest, sizeof nearest);
        sq_row_end(&row);
    }
    return sq_fail(err, SQ_BAD_ARGUMENT, "campaign %.8s %s; %s%s", uuid, why,
                   found ? "the nearest that can be a baseline is " : "no campaign here can be one",
                   nearest);
}

sq_status sq_db_check_candidate(sq_db *db, const char *campaign_uuid, sq_db_candidate *out,
                                sq_error *err)
{
    bool found;
    char suite[64], why[120];
    *out = (sq_db_candidate){.state = ""};
    sq_row row = sq_row_new(db, SQ_SQL_CANDIDATE);
    sq_row_text(&row, campaign_uuid);
    SQ_TRY(sq_row_step(&row, &found, err));
    if (!found)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: no campaign %s", db->path, campaign_uuid);
    sq_row_copy(&row, 0, suite, sizeof suite);
    sq_row_copy(&row, 1, out->state, sizeof out->state);
    sq_row_copy(&row, 2, out->version, sizeof out->version);
    sq_row_copy(&row, 3, out->git_commit, sizeof out->git_commit);
    out->is_dirty = sqlite3_column_int(row.stmt, 4) != 0;
    out->planned = sqlite3_column_int(row.stmt, 5);
    out->timed = sqlite3_column_int(row.stmt, 6);
    sq_row_end(&row);
    bool is_over = strcmp(out->state, "finished") == 0 || strcmp(out->state, "budget") == 0;
    if (is_over && out->timed > 0)
        return SQ_OK;
    snprintf(why, sizeof why, is_over ? "has no run with a time" : "is not finished (%s)",
             out->state);
    return refuse_candidate(db, campaign_uuid, suite, why, err);
}

/* --- rows --- */

static void take_row(const sq_db *db, const sq_row *row, sq_baseline *out)
{
    char stored[SQ_TREE_PATH];
    sq_row_copy(row, 0, out->name, sizeof out->name);
    sq_row_copy(row, 1, out->campaign, sizeof out->campaign);
    sq_row_copy(row, 2, out->label, sizeof out->label);
    sq_row_copy(row, 3, out->suite, sizeof out->suite);
    sq_row_copy(row, 4, out->git_commit, sizeof out->git_commit);
    out->made = sq_row_number(row, 5);
    out->started = sq_row_number(row, 6);
    sq_row_copy(row, 7, stored, sizeof stored);
    place_tree(db, stored, out->tree);
    sq_row_copy(row, 8, out->tree_hash, sizeof out->tree_hash);
    out->cells = sqlite3_column_int(row->stmt, 9);
}

sq_status sq_db_put_baseline(sq_db *db, const char *name, const char *campaign_uuid,
                             const char *tree_hash, double made, sq_error *err)
{
    char path[SQ_TREE_PATH];
    int64_t campaign_id;
    SQ_TRY(tree_path(db, tree_hash, path, err));
    sq_row row = sq_row_new(db, SQ_SQL_PUT_BASELINE);
    sq_row_text(&row, name);
    sq_row_text(&row, campaign_uuid);
    sq_row_text(&row, path);
    sq_row_text(&row, tree_hash);
    sq_row_real(&row, made);
    SQ_TRY(sq_row_run(&row, &campaign_id, err));
    return campaign_id
               ? SQ_OK
               : sq_fail(err, SQ_BAD_ARGUMENT, "%s: no campaign %s", db->path, campaign_uuid);
}

sq_status sq_db_find_baseline(sq_db *db, const char *name, sq_baseline *out, sq_error *err)
{
    bool found;
    *out = (sq_baseline){.name = ""};
    sq_row row = sq_row_new(db, SQ_SQL_FIND_BASELINE);
    sq_row_text(&row, name);
    SQ_TRY(sq_row_step(&row, &found, err));
    if (!found)
        return sq_db_fail_unknown(db, SQ_SQL_KNOWN_BASELINES, KNOWN_NAMES, "baseline", name, err);
    take_row(db, &row, out);
    sq_row_end(&row);
    return SQ_OK;
}

sq_status sq_db_drop_baseline(sq_db *db, const char *name, sq_error *err)
{
    sq_baseline known;
    SQ_TRY(sq_db_find_baseline(db, name, &known, err));
    sq_row row = sq_row_new(db, SQ_SQL_DROP_BASELINE);
    sq_row_text(&row, name);
    return sq_row_run(&row, NULL, err);
}

sq_status sq_db_list_baselines(sq_db *db, sq_baseline **out, int *n, sq_error *err)
{
    bool found;
    *out = NULL;
    *n = 0;
    sq_row row = sq_row_new(db, SQ_SQL_LIST_BASELINES);
    sq_status status = sq_row_step(&row, &found, err);
    while (status == SQ_OK && found) {
        if (!sq_grow(out, *n, sizeof **out)) {
            sq_row_end(&row);
            status = sq_fail(err, SQ_OUT_OF_MEMORY, "%s: out of memory", db->path);
            break;
        }
        take_row(db, &row, &(*out)[(*n)++]);
        status = sq_row_step(&row, &found, err);
    }
    if (status != SQ_OK) {
        free(*out);
        *out = NULL;
        *n = 0;
    }
    return status;
}
