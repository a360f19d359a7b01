/* verdicts: what a judging says, and what people answer. The rules are the gate's (core/night.h);
 * here they are rows. */
#ifndef SQ_DB_VERDICTS_H
#define SQ_DB_VERDICTS_H

#include "db/db.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One judging of campaign `campaign` against `baseline`; all uuids. */
typedef struct {
    char uuid[SQ_UUID_TEXT], campaign[SQ_UUID_TEXT], baseline[SQ_UUID_TEXT];
    char baseline_name[64];                                 /* "": the campaign itself was given */
    char rerun[SQ_UUID_TEXT], baseline_rerun[SQ_UUID_TEXT]; /* of the suspects; "": none */
    double judged;                                          /* Unix time */
    const char *version, *git_commit;                       /* of the program that judged */
    const char *settings;                                   /* JSON */
    int exit_code;                                          /* -1: suspects are to be confirmed */
    char why[900];
    int sentinels, sentinel_alarms, controls;
    double control_shift, control_lo, control_hi; /* NAN unknown */
} sq_gate;

/* Of one metric of one cell. Effects, floor and detectable change are fractions of the baseline:
 * 0.03 is 3 % more of it (expm1 of a difference of logarithms). NAN and 0 replicates: unknown. */
typedef struct {
    char uuid[SQ_UUID_TEXT];
    const char *cell_key, *metric, *verdict, *confirmed, *cause;
    bool is_sentinel;
    double effect, effect_lo, effect_hi, p, q, floor, detectable;
    int n_baseline, n_night, n_wanted;
} sq_verdict;

/* Stores a judging with its verdicts, in one transaction. One whose uuid is known is brought up to
 * date: the gate's reruns, exit code and reason, a verdict's word, confirmation and cause. A verdict
 * of a metric and cell that the gate has already is that verdict, and keeps its uuid. */
sq_status sq_db_put_gate(sq_db *db, const sq_gate *gate, const sq_verdict *verdicts, int n,
                         sq_error *err);

/* --- answers --- */

extern const char *const sq_answer_kinds[]; /* "expected", "accepted", "flake", NULL */

typedef struct {
    char kind[16], reason[400], author[64];
    double made, until;                  /* until NAN: no end */
    double effect, effect_lo, effect_hi; /* of the verdict that was answered */
} sq_answer;

/* VERDICT: a uuid prefix. Unknown or ambiguous: SQ_BAD_ARGUMENT with the nearest. */
sq_status sq_db_resolve_verdict(sq_db *db, const char *text, char uuid[SQ_UUID_TEXT],
                                sq_error *err);
/* Only suspicions are answered: an interval that could not be told would cover any change, and wrong
 * numbers always count. */
sq_status sq_db_put_answer(sq_db *db, const char *verdict_uuid, const sq_answer *answer,
                           sq_error *err);
/* The newest answer that holds at `at` for a metric of a cell beside this baseline: of a flake
 * whatever the baseline was, of a change only where it was answered beside the same one. failure: of
 * the metric "result" the status of the cell, since a lack of memory that was accepted is no crash;
 * else "". */
sq_status sq_db_find_answer(sq_db *db, const char *cell_key, const char *metric,
                            const char *failure, const char *baseline_uuid, double at, sq_answer *out, bool *found,
                            sq_error *err);
/* Whether the answer is one to this effect too: a flake's is to all, a change's to one of the same
 * sign that is not larger than the interval of the one that was answered, or, of a count, not by 1 %
 * of the baseline. */
bool sq_answer_covers(const sq_answer *answer, double effect);

#ifdef __cplusplus
}
#endif
#endif
