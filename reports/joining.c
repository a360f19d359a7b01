/* joining: see the header. */
#include "reports/joining.h"

#include <stdio.h>
#include <string.h>

#include "reports/query.h"

const char *const sq_join_names[SQ_JOIN_COUNT + 1] = {
    "device", "driver", "toolkit", "harness", "policy", "cache", "launch", "clock", NULL};

sq_status sq_across_parse(const char *text, sq_across *out, sq_error *err)
{
    *out = 0;
    for (const char *word = text;;) {
        int field;
        char name[32];
        size_t length = strcspn(word, ",");
        snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1),
                 word);
        SQ_TRY(sq_find_name("thing to compare across", name, sq_join_names, &field, err));
        *out |= 1u << field;
        if (!word[length])
            return SQ_OK;
        word += length + 1;
    }
}

void sq_across_format(sq_across across, sq_text *out)
{
    const char *separator = "";
    for (int i = 0; i < SQ_JOIN_COUNT; i++) {
        if (!(across & 1u << i))
            continue;
        sq_text_printf(out, "%s%s", separator, sq_join_names[i]);
        separator = ",";
    }
}

/* --- runs --- */

void sq_footing_read(sqlite3_stmt *row, int column, sq_footing *out)
{
    for (int i = 0; i < SQ_JOIN_GROUND; i++)
        sq_query_copy(row, column + i, out->value[i], sizeof out->value[i]);
}

sq_join sq_footing_differs(const sq_footing *a, const sq_footing *b, sq_across across)
{
    for (int i = 0; i < SQ_JOIN_GROUND; i++)
        if (!(across & 1u << i) && strcmp(a->value[i], b->value[i]) != 0)
            return (sq_join)i;
    return SQ_JOIN_GROUND;
}

static const char *or_unknown(const char *value)
{
    return value[0] ? value : "unknown";
}

/* The settings of two policies that differ: "max_samples 100 and 50, rest 4 and 0". */
static sq_status describe_policies(sq_db *db, const char *a, const char *b, sq_text *out,
                                   sq_error *err)
{
    static const char sql[] =
        "WITH a AS (SELECT key, value FROM json_each(?1)), b AS (SELECT key, value FROM "
        "json_each(?2)), keys AS (SELECT key FROM a UNION SELECT key FROM b) "
        "SELECT group_concat(key || ' ' || coalesce(a.value, 'unknown') || ' and ' || "
        "coalesce(b.value, 'unknown'), ', ') "
        "FROM keys LEFT JOIN a USING (key) LEFT JOIN b USING (key) WHERE a.value IS NOT b.value";
    const sq_scope scope = {db, a};
    sqlite3_stmt *row = NULL;
    bool has_row;
    SQ_TRY(sq_query_plain(&scope, sql, &row, err));
    sqlite3_bind_text(row, 2, b, -1, SQLITE_STATIC);
    sq_status status = sq_query_step(&scope, row, &has_row, err);
    if (status == SQ_OK && has_row)
        sq_text_add(out, sq_query_text(row, 0));
    sqlite3_finalize(row);
    return status;
}

sq_status sq_footing_describe(sq_db *db, const sq_footing *a, const sq_footing *b, sq_join field,
                              sq_text *out, sq_error *err)
{
    const char *x = a->value[field], *y = b->value[field];
    sq_text_printf(out, "%s: ", sq_join_names[field]);
    if (field == SQ_JOIN_POLICY && x[0] && y[0])
        return describe_policies(db, x, y, out, err);
    if (field == SQ_JOIN_POLICY) /* the known one is too long to print */
        sq_text_printf(out, "%s and %s", x[0] ? "stored" : "unknown", y[0] ? "stored" : "unknown");
    else
        sq_text_printf(out, "%s and %s", or_unknown(x), or_unknown(y));
    return SQ_OK;
}

/* The footing that all others are held against, and the fields that are in `crossed`. */
typedef struct {
    sq_db *db;
    sq_across across, seen;
    sq_text *crossed;
    sq_footing first;
    const char *first_name;
    bool has_first;
} joining;

/* Describes the fields in which `other` differs from the first and that are not in `known`. */
static sq_status describe(const joining *j, const sq_footing *other, sq_across known,
                          sq_across *found, sq_text *out, sq_error *err)
{
    *found = 0;
    for (int i = 0; i < SQ_JOIN_GROUND; i++) {
        if ((known & 1u << i) || strcmp(j->first.value[i], other->value[i]) == 0)
            continue;
        sq_text_add(out, out->length ? "; " : "");
        SQ_TRY(sq_footing_describe(j->db, &j->first, other, (sq_join)i, out, err));
        *found |= 1u << i;
    }
    return SQ_OK;
}

static sq_status refuse(const joining *j, const sq_footing *other, const char *name, sq_error *err)
{
    sq_text text = {.data = NULL}, fields = {.data = NULL};
    sq_across found;
    sq_status status = describe(j, other, j->across, &found, &text, err);
    sq_across_format(found, &fields);
    if (status == SQ_OK && strcmp(j->first_name, name) == 0)
        status = sq_fail(err, SQ_BAD_ARGUMENT,
                         "the runs of %s differ in %s; --across %s takes them together", name,
                         text.data, fields.data);
    else if (status == SQ_OK)
        status = sq_fail(err, SQ_BAD_ARGUMENT,
                         "%s and %s differ in %s; --across %s compares them all the same",
                         j->first_name, name, text.data, fields.data);
    sq_text_free(&text);
    sq_text_free(&fields);
    return status;
}

static sq_status take_footing(joining *j, const sq_footing *other, const char *name, sq_error *err)
{
    if (!j->has_first) {
        j->has_first = true;
        j->first = *other;
        j->first_name = name;
        return SQ_OK;
    }
    if (sq_footing_differs(&j->first, other, j->across) != SQ_JOIN_GROUND)
        return refuse(j, other, name, err);
    sq_across found;
    sq_status status = describe(j, other, j->seen, &found, j->crossed, err);
    j->seen |= found;
    return status;
}

static sq_status take_campaign(joining *j, const char *campaign, const char *name, sq_error *err)
{
    static const char sql[] =
        "SELECT DISTINCT " SQ_FOOTING_COLUMNS " FROM campaign c JOIN run r USING (campaign_id) "
        "JOIN device d ON d.device_id = r.device_id "
        "JOIN environment e ON e.env_id = r.env_id "
        "WHERE c.uuid = ?1 AND r.median_ns IS NOT NULL";
    const sq_scope scope = {j->db, campaign};
    sqlite3_stmt *row = NULL;
    bool has_row = true;
    sq_status status = sq_query_plain(&scope, sql, &row, err);
    while (status == SQ_OK && (status = sq_query_step(&scope, row, &has_row, err)) == SQ_OK &&
           has_row) {
        sq_footing footing;
        sq_footing_read(row, 0, &footing);
        status = take_footing(j, &footing, name, err);
    }
    sqlite3_finalize(row);
    return status;
}

sq_status sq_joining_check(sq_db *db, const char *const *campaigns, const char *const *names, int n,
                           sq_across across, sq_text *crossed, sq_error *err)
{
    joining j = {.db = db, .across = across, .crossed = crossed};
    for (int i = 0; i < n; i++)
        SQ_TRY(take_campaign(&j, campaigns[i], names[i], err));
    return SQ_OK;
}

sq_status sq_joining_preview(sq_db *db, const sq_device *device, const sq_environment *environment,
                             const char *policy, const char *campaign, const char *name,
                             sq_across across, sq_text *crossed, sq_error *err)
{
    static const char sql[] = "WITH c AS (SELECT ?1 AS policy), d AS (SELECT ?2 AS name), "
                              "e AS (SELECT ?3 AS driver, ?4 AS toolkit), "
                              "r AS (SELECT ?5 AS harness_version) "
                              "SELECT " SQ_FOOTING_COLUMNS " FROM c, d, e, r";
    joining j = {.db = db, .across = across, .crossed = crossed};
    const sq_scope scope = {db, policy};
    sq_footing tonight;
    sqlite3_stmt *row = NULL;
    bool has_row;
    SQ_TRY(sq_query_plain(&scope, sql, &row, err));
    sqlite3_bind_text(row, 2, device->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 3, environment->driver, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 4, environment->toolkit, -1, SQLITE_STATIC);
    sqlite3_bind_int(row, 5, SQ_HARNESS_VERSION);
    sq_status s = sq_query_step(&scope, row, &has_row, err);
    if (s == SQ_OK) {
        sq_footing_read(row, 0, &tonight);
        s = take_footing(&j, &tonight, "this machine", err);
    }
    sqlite3_finalize(row);
    return s == SQ_OK ? take_campaign(&j, campaign, name, err) : s;
}

/* --- cells --- */

enum { N_MODES = SQ_JOIN_COUNT - SQ_JOIN_GROUND };

/* "KEY/clean-cold,plain,unlocked": where its modes begin and how long each is. */
typedef struct {
    const char *at[N_MODES];
    int length[N_MODES];
} modes;

static modes modes_of(const char *key)
{
    modes m = {{NULL}, {0}};
    const char *at = strrchr(key, '/');
    at = at ? at + 1 : key + strlen(key);
    for (int i = 0; i < N_MODES; i++) {
        m.at[i] = at;
        m.length[i] = (int)strcspn(at, ",");
        at += m.length[i] + (at[m.length[i]] == ',');
    }
    return m;
}

void sq_joining_key(const char *key, sq_across across, char out[SQ_KEY_MAX])
{
    modes m = modes_of(key);
    int n = snprintf(out, SQ_KEY_MAX, "%.*s", (int)(m.at[0] - key), key);
    for (int i = 0; i < N_MODES && n < SQ_KEY_MAX; i++) {
        bool is_open = across & 1u << (SQ_JOIN_GROUND + i);
        n += snprintf(out + n, (size_t)(SQ_KEY_MAX - n), "%s%.*s", i ? "," : "",
                      is_open ? 1 : m.length[i], is_open ? "*" : m.at[i]);
    }
}

sq_across sq_modes_describe(const char *key_a, const char *key_b, sq_across known, sq_text *out)
{
    sq_across found = 0;
    modes a = modes_of(key_a), b = modes_of(key_b);
    for (int i = 0; i < N_MODES; i++) {
        sq_across bit = 1u << (SQ_JOIN_GROUND + i);
        bool is_same =
            a.length[i] == b.length[i] && memcmp(a.at[i], b.at[i], (size_t)a.length[i]) == 0;
        if (is_same || (known & bit))
            continue;
        sq_text_printf(out, "%s%s: %.*s and %.*s", out->length ? "; " : "",
                       sq_join_names[SQ_JOIN_GROUND + i], a.length[i], a.at[i], b.length[i],
                       b.at[i]);
        found |= bit;
    }
    return found;
}
