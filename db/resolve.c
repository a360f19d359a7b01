/* resolve: which campaign or run is meant, and what a campaign still lacks. */
#include "db/db.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/text.h"
#include "db/store.h"

/* --- what a campaign holds --- */

sq_status sq_db_find_campaign(sq_db *db, const char *plan_hash, sq_db_campaign *out, bool *found,
                              sq_error *err)
{
    char seed[24];
    memset(out, 0, sizeof *out);
    sq_row row = sq_row_new(db, SQ_SQL_FIND_PLAN);
    sq_row_text(&row, plan_hash);
    SQ_TRY(sq_row_step(&row, found, err));
    if (!*found)
        return SQ_OK;
    sq_row_copy(&row, 0, out->uuid, sizeof out->uuid);
    sq_row_copy(&row, 1, seed, sizeof seed);
    out->seed = strtoull(seed, NULL, 10);
    out->planned = sqlite3_column_int(row.stmt, 2);
    sq_row_copy(&row, 3, out->state, sizeof out->state);
    out->done = sqlite3_column_int(row.stmt, 4);
    sq_row_end(&row);
    return SQ_OK;
}

static bool is_listed(const char *name, const char *const *list)
{
    for (; list && *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

sq_status sq_db_has_run(sq_db *db, const char *campaign_uuid, const char *cell_key, int replicate,
                        const char *const *retry, bool *found, int *attempts, sq_error *err)
{
    bool has_row;
    *found = false;
    *attempts = 0;
    sq_row row = sq_row_new(db, SQ_SQL_LIST_ATTEMPTS);
    sq_row_text(&row, campaign_uuid);
    sq_row_text(&row, cell_key);
    sq_row_int(&row, replicate);
    SQ_TRY(sq_row_step(&row, &has_row, err));
    while (has_row) {
        char status[16];
        sq_row_copy(&row, 0, status, sizeof status);
        *found = *found || !is_listed(status, retry);
        ++*attempts;
        SQ_TRY(sq_row_step(&row, &has_row, err));
    }
    return SQ_OK;
}

sq_status sq_db_find_checksum(sq_db *db, const char *campaign_uuid, const char *cell_key,
                              char out[SQ_HASH_TEXT], sq_error *err)
{
    bool has_row;
    out[0] = 0;
    sq_row row = sq_row_new(db, SQ_SQL_FIND_CHECKSUM);
    sq_row_text(&row, campaign_uuid);
    sq_row_text(&row, cell_key);
    SQ_TRY(sq_row_step(&row, &has_row, err));
    if (has_row) {
        sq_row_copy(&row, 0, out, SQ_HASH_TEXT);
        sq_row_end(&row);
    }
    return SQ_OK;
}

/* --- names that are not known, or not alone --- */

enum { KNOWN_NAMES = 200, SHOWN_NAMES = 8, KNOWN_KEYS = 2000, SHOWN_BYTES = 240 };

typedef struct {
    char **name; /* NULL-ended */
    int n;
} name_list;

static void free_names(name_list *list)
{
    for (int i = 0; i < list->n; i++)
        free(list->name[i]);
    free(list->name);
}

/* The first column of a query whose one parameter is the limit. */
static sq_status list_names(sq_db *db, sq_sql which, int limit, name_list *out, sq_error *err)
{
    bool found;
    sq_row row = sq_row_new(db, which);
    sq_row_int(&row, limit);
    out->name = calloc((size_t)limit + 1, sizeof *out->name);
    if (!out->name)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: out of memory", db->path);
    SQ_TRY(sq_row_step(&row, &found, err));
    while (found && out->n < limit) {
        const char *text = (const char *)sqlite3_column_text(row.stmt, 0);
        out->name[out->n] = strdup(text ? text : "");
        if (!out->name[out->n]) {
            sq_row_end(&row);
            return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: out of memory", db->path);
        }
        out->n++;
        SQ_TRY(sq_row_step(&row, &found, err));
    }
    return SQ_OK;
}

sq_status sq_db_fail_unknown(sq_db *db, sq_sql known, int limit, const char *what,
                             const char *text, sq_error *err)
{
    name_list names = {0};
    sq_status status = list_names(db, known, limit, &names, err);
    if (status != SQ_OK)
        goto done;
    if (names.n == 0) {
        status = sq_fail(err, SQ_BAD_ARGUMENT, "no %s \"%s\": %s holds none", what, text, db->path);
        goto done;
    }
    const char *nearest = sq_nearest(text, (const char *const *)names.name);
    sq_text message = {0};
    sq_text_printf(&message, "unknown %s \"%s\"", what, text);
    if (nearest)
        sq_text_printf(&message, "; did you mean \"%s\"?", nearest);
    else
        sq_text_printf(&message, "; the newest are");
    for (int i = 0; !nearest && i < names.n && i < SHOWN_NAMES && message.length < SHOWN_BYTES; i++)
        sq_text_printf(&message, "%s %s", i ? "," : "", names.name[i]);
    status = sq_fail(err, SQ_BAD_ARGUMENT, "%s", message.is_failed ? "unknown name" : message.data);
    sq_text_free(&message);
done:
    free_names(&names);
    return status;
}

static sq_status fail_ambiguous(const char *what, const char *text, const sq_text *matches,
                                sq_error *err)
{
    return sq_fail(err, SQ_BAD_ARGUMENT, "\"%s\" means more than one %s:%s", text, what,
                   matches->is_failed ? " (out of memory)" : matches->data);
}

/* --- campaigns --- */

/* "latest" and "latest~N". *is_latest is false where the text is neither. */
static sq_status resolve_latest(sq_db *db, const char *text, char uuid[SQ_UUID_TEXT],
                                bool *is_latest, sq_error *err)
{
    static const char word[] = "latest";
    long back = 0;
    *is_latest = false;
    if (strncmp(text, word, sizeof word - 1) != 0)
        return SQ_OK;
    const char *rest = text + sizeof word - 1;
    if (*rest == '~' && isdigit((unsigned char)rest[1])) {
        char *end;
        back = strtol(rest + 1, &end, 10);
        rest = end;
    }
    if (*rest)
        return SQ_OK;
    *is_latest = true;
    bool found;
    sq_row row = sq_row_new(db, SQ_SQL_NTH_CAMPAIGN);
    sq_row_int(&row, back);
    SQ_TRY(sq_row_step(&row, &found, err));
    if (!found)
        return sq_fail(err, SQ_BAD_ARGUMENT, "no campaign \"%s\": %s holds %s", text, db->path,
                       back ? "fewer" : "none");
    sq_row_copy(&row, 0, uuid, SQ_UUID_TEXT);
    sq_row_end(&row);
    return SQ_OK;
}

static sq_status resolve_baseline(sq_db *db, const char *name, char uuid[SQ_UUID_TEXT],
                                  sq_error *err)
{
    bool found;
    sq_row row = sq_row_new(db, SQ_SQL_BASELINE_CAMPAIGN);
    sq_row_text(&row, name);
    SQ_TRY(sq_row_step(&row, &found, err));
    if (!found)
        return sq_db_fail_unknown(db, SQ_SQL_KNOWN_BASELINES, KNOWN_NAMES, "baseline", name, err);
    sq_row_copy(&row, 0, uuid, SQ_UUID_TEXT);
    sq_row_end(&row);
    return SQ_OK;
}

enum { PLACE_LABEL, PLACE_PREFIX, PLACE_NONE };

/* Reads the matches, best place first (SQ_SQL_MATCH_CAMPAIGN). Writes the first one's uuid; *n
 * counts those of the same place, and `listed` names them. */
static sq_status match_campaign(sq_db *db, const char *text, char uuid[SQ_UUID_TEXT], int *n,
                                sq_text *listed, sq_error *err)
{
    bool found;
    int place = PLACE_NONE;
    *n = 0;
    sq_row row = sq_row_new(db, SQ_SQL_MATCH_CAMPAIGN);
    sq_row_text(&row, text);
    SQ_TRY(sq_row_step(&row, &found, err));
    while (found) {
        if (*n == 0) {
            place = sqlite3_column_int(row.stmt, 1);
            sq_row_copy(&row, 0, uuid, SQ_UUID_TEXT);
        }
        /* The whole uuid leaves no doubt, whatever else is labelled so. */
        if (sqlite3_column_int(row.stmt, 1) != place || (*n == 1 && strcasecmp(text, uuid) == 0)) {
            sq_row_end(&row);
            return SQ_OK;
        }
        if (++*n <= SHOWN_NAMES)
            sq_text_printf(listed, "%s %.8s (%s %s, %s)", *n > 1 ? "," : "",
                           (const char *)sqlite3_column_text(row.stmt, 0),
                           (const char *)sqlite3_column_text(row.stmt, 3),
                           (const char *)sqlite3_column_text(row.stmt, 2),
                           (const char *)sqlite3_column_text(row.stmt, 4));
        SQ_TRY(sq_row_step(&row, &found, err));
    }
    return SQ_OK;
}

static sq_status fail_unknown_campaign(sq_db *db, const char *text, sq_error *err)
{
    char uuid[SQ_UUID_TEXT];
    sq_error ignored = {.status = SQ_OK};
    if (resolve_baseline(db, text, uuid, &ignored) == SQ_OK)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "unknown campaign \"%s\"; did you mean \"baseline:%s\"?", text, text);
    return sq_db_fail_unknown(db, SQ_SQL_KNOWN_CAMPAIGNS, KNOWN_NAMES, "campaign", text, err);
}

sq_status sq_db_resolve_campaign(sq_db *db, const char *text, char uuid[SQ_UUID_TEXT],
                                 sq_error *err)
{
    static const char baseline[] = "baseline:";
    uuid[0] = '\0';
    if (!text[0])
        return sq_fail(err, SQ_BAD_ARGUMENT, "the name of the campaign is empty");
    if (strncmp(text, baseline, sizeof baseline - 1) == 0)
        return resolve_baseline(db, text + sizeof baseline - 1, uuid, err);
    bool is_latest;
    SQ_TRY(resolve_latest(db, text, uuid, &is_latest, err));
    if (is_latest)
        return SQ_OK;
    int n;
    sq_text listed = {0};
    sq_status status = match_campaign(db, text, uuid, &n, &listed, err);
    if (status == SQ_OK && n == 0)
        status = fail_unknown_campaign(db, text, err);
    else if (status == SQ_OK && n > 1)
        status = fail_ambiguous("campaign", text, &listed, err);
    sq_text_free(&listed);
    if (status != SQ_OK)
        uuid[0] = '\0';
    return status;
}

/* --- runs --- */

/* A run id: digits alone. They may begin a uuid or a hash as well, so an unknown id is no error. */
static sq_status run_by_id(sq_db *db, const char *text, int64_t *run_id, sq_error *err)
{
    *run_id = 0;
    if (text[strspn(text, "0123456789")] || strlen(text) > 18)
        return SQ_OK;
    sq_row row = sq_row_new(db, SQ_SQL_RUN_BY_ID);
    sq_row_int(&row, strtoll(text, NULL, 10));
    return sq_row_run(&row, run_id, err);
}

/* Runs by the beginning of their uuid and cells by that of their hash, together. */
static sq_status match_run(sq_db *db, const char *text, int64_t *run_id, int *n, sq_text *listed,
                           sq_error *err)
{
    bool found;
    *n = 0;
    sq_row row = sq_row_new(db, SQ_SQL_MATCH_RUN);
    sq_row_text(&row, text);
    sq_row_int(&row, SHOWN_NAMES);
    SQ_TRY(sq_row_step(&row, &found, err));
    while (found) {
        if (++*n == 1)
            *run_id = sqlite3_column_int64(row.stmt, 0);
        sq_text_printf(listed, "%s %s", *n > 1 ? "," : "",
                       (const char *)sqlite3_column_text(row.stmt, 1));
        SQ_TRY(sq_row_step(&row, &found, err));
    }
    return SQ_OK;
}

sq_status sq_db_resolve_run(sq_db *db, const char *text, int64_t *run_id, sq_error *err)
{
    *run_id = 0;
    if (!text[0])
        return sq_fail(err, SQ_BAD_ARGUMENT, "the name of the run is empty");
    SQ_TRY(run_by_id(db, text, run_id, err));
    if (*run_id)
        return SQ_OK;
    sq_row row = sq_row_new(db, SQ_SQL_RUN_BY_KEY);
    sq_row_text(&row, text);
    SQ_TRY(sq_row_run(&row, run_id, err));
    if (*run_id)
        return SQ_OK;
    int n;
    sq_text listed = {0};
    sq_status status = match_run(db, text, run_id, &n, &listed, err);
    if (status == SQ_OK && n == 0)
        status = sq_db_fail_unknown(db, SQ_SQL_KNOWN_KEYS, KNOWN_KEYS, "run or cell", text, err);
    else if (status == SQ_OK && n > 1)
        status = fail_ambiguous("run or cell", text, &listed, err);
    sq_text_free(&listed);
    if (status != SQ_OK)
        *run_id = 0;
    return status;
}

sq_status sq_db_check_suite(sq_db *db, const char *suite, sq_error *err)
{
    bool found;
    sq_row row = sq_row_new(db, SQ_SQL_FIND_SUITE);
    sq_row_text(&row, suite);
    SQ_TRY(sq_row_step(&row, &found, err));
    if (!found)
        return sq_db_fail_unknown(db, SQ_SQL_KNOWN_SUITES, KNOWN_NAMES, "suite", suite, err);
    sq_row_end(&row);
    return SQ_OK;
}
