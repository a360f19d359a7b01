/* seqmark ack: an answer to a verdict, and the answers there are. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/command.h"
#include "core/host.h"
#include "db/verdicts.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    SQ_OPTION_DB,
    {"reason", 0, "TEXT", "why; must be given"},
    {"kind", 0, "KIND",
     "expected (the change was meant), accepted (it was not, and stays; default), flake (noise of "
     "this cell)"},
    {"until", 0, "DATE|TIME",
     "the answer holds up to the end of this day, UTC (2026-12-31), or so long (14d); default: no "
     "end, of a flake 30d; 0d takes an earlier answer back"},
    {"list", 0, NULL, "the answers there are, newest first, instead of giving one"},
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

enum { DAY = 24 * 3600, FLAKE_DAYS = 30 };

/* --- giving one --- */

static sq_status read_until(const char *text, const char *kind, double now, double *until,
                            sq_error *err)
{
    double span, day;
    *until = strcmp(kind, "flake") == 0 ? now + FLAKE_DAYS * DAY : (double)NAN;
    if (!text)
        return SQ_OK;
    if (sq_parse_day(text, &day)) {
        *until = day + DAY; /* its end */
        if (*until > now)
            return SQ_OK;
        return sq_fail(err, SQ_BAD_ARGUMENT, "--until %s is over", text);
    }
    if (!sq_parse_duration(text, &span))
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "--until \"%s\": a day like 2026-12-31, or a time like "
                       "14d",
                       text);
    *until = now + span;
    return SQ_OK;
}

static void copy_author(char *out, size_t size)
{
    const char *user = getenv("LOGNAME");
    if (!user || !*user)
        user = getenv("USER");
    if (user && *user)
        snprintf(out, size, "%s", user);
    else
        snprintf(out, size, "user %ld", (long)geteuid());
}

static sq_status read_answer(const sq_given *given, sq_answer *out, sq_error *err)
{
    int kind;
    const char *reason = sq_given_value(given, "reason", "");
    *out = (sq_answer){.made = sq_wall_seconds()};
    SQ_TRY(sq_find_name("kind of answer", sq_given_value(given, "kind", "accepted"),
                        sq_answer_kinds, &kind, err));
    if (!reason[strspn(reason, " \t\n")])
        return sq_fail(err, SQ_BAD_ARGUMENT, "an answer needs its --reason");
    if (strlen(reason) >= sizeof out->reason)
        return sq_fail(err, SQ_BAD_ARGUMENT, "the reason is longer than %d bytes",
                       (int)sizeof out->reason - 1);
    snprintf(out->kind, sizeof out->kind, "%s", sq_answer_kinds[kind]);
    snprintf(out->reason, sizeof out->reason, "%s", reason);
    copy_author(out->author, sizeof out->author);
    return read_until(sq_given_value(given, "until", NULL), out->kind, out->made, &out->until, err);
}

static sq_status answer(const sq_given *given, sq_error *err)
{
    sq_db *db = NULL;
    sq_answer a;
    char uuid[SQ_UUID_TEXT];
    if (given->n_arguments != 1)
        return sq_fail(err, SQ_BAD_ARGUMENT, "ack takes one verdict, or --list");
    if (sq_given_has(given, "output"))
        return sq_fail(err, SQ_BAD_ARGUMENT, "--output belongs to ack --list");
    SQ_TRY(read_answer(given, &a, err));
    SQ_TRY(sq_given_open_store(given, &db, err));
    sq_status status = sq_db_resolve_verdict(db, given->argument[0], uuid, err);
    if (status == SQ_OK)
        status = sq_db_put_answer(db, uuid, &a, err);
    sq_db_close(db);
    if (status == SQ_OK)
        fprintf(stderr, "verdict %.8s: %s\n", uuid, a.kind);
    return status;
}

/* --- the list --- */

static sq_status list(const sq_given *given, sq_error *err)
{
    static const char sql[] =
        "SELECT substr(v.verdict_uuid, 1, 8) AS verdict, a.kind, a.reason, "
        "coalesce(strftime('%Y-%m-%d %H:%M', a.until, 'unixepoch'), '') AS until, "
        "CASE WHEN a.until <= CAST(?1 AS REAL) THEN 'over' WHEN EXISTS (SELECT 1 FROM "
        "acknowledgement x "
        "WHERE x.verdict_id = a.verdict_id AND x.made > a.made) THEN 'replaced' ELSE 'holds' END "
        "AS state, a.author, strftime('%Y-%m-%d %H:%M', a.made, 'unixepoch') AS made, "
        "v.verdict AS said, v.metric, 100 * v.effect AS effect_pct, v.baseline_name AS baseline, "
        "v.key AS cell FROM acknowledgement a JOIN v_verdict v USING (verdict_id) "
        "ORDER BY a.made DESC, a.acknowledgement_id DESC";
    static const char *const not_beside[] = {"reason", "kind", "until"};
    sq_format format;
    sq_db *db = NULL;
    sq_table *table = NULL;
    if (given->n_arguments)
        return sq_fail(err, SQ_BAD_ARGUMENT, "ack --list takes no verdict");
    for (size_t i = 0; i < sizeof not_beside / sizeof *not_beside; i++)
        if (sq_given_has(given, not_beside[i]))
            return sq_fail(err, SQ_BAD_ARGUMENT,
                           "--list gives no answer; --%s cannot stand beside it", not_beside[i]);
    char now[32];
    snprintf(now, sizeof now, "%.3f", sq_wall_seconds());
    SQ_TRY(sq_given_format(given, &format, err));
    SQ_TRY(sq_db_open(sq_given_db(given), SQ_DB_READ, &db, err));
    sq_status status = sq_query_table(sq_db_handle(db), sql, now, NULL, &table, err);
    sq_db_close(db);
    return status == SQ_OK ? sq_table_print(table, format, err) : status;
}

static sq_status execute(const sq_given *given, sq_error *err)
{
    return sq_given_has(given, "list") ? list(given, err) : answer(given, err);
}

void sq_cmd_ack(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "ack VERDICT --reason TEXT [options]\n       seqmark ack --list [options]",
        .text = "Answers a verdict of the gate, named by the beginning of its uuid. An answered "
                "change\ndoes not count in later nights beside the same baseline as long as it "
                "grows no\nlarger; a flake does not count beside any.",
        .options = options};
    sq_verb_run(&verb, argc, argv, execute, outcome);
}
