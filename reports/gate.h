/* gate: what a night says beside its baseline (core/night.h), from the store and into it.
 *
 *   sq_gate_open      reads both sides and judges them
 *   sq_gate_suspects  what has to be measured again before it counts
 *   sq_gate_confirm   what measuring again said
 *   sq_gate_store     the gate and its verdicts, in one transaction
 *   sq_gate_print ... tables, JSON, JUnit XML, a page
 */
#ifndef SQ_REPORTS_GATE_H
#define SQ_REPORTS_GATE_H

#include <stdbool.h>

#include "core/status.h"
#include "core/table.h"
#include "db/db.h"
#include "reports/joining.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Names: as the user called them, for messages. baseline_name: of the baseline ("main"), empty where
 * a campaign was given itself. Numbers are those of sq_night_policy. */
typedef struct {
    const char *baseline_text, *night_text, *baseline_name;
    char baseline[SQ_UUID_TEXT], night[SQ_UUID_TEXT];
    sq_across across; /* what the sides may differ in; else they are refused */
    double q, min_effect, setup_min_effect;
    double inconclusive_limit; /* NAN: that of the night's suite, else the policy's default */
    int min_replicates;
    int allow_failed;                 /* cells */
    bool is_nightly; /* measures suspects again, and ends the night */
    const char *version, *git_commit; /* of this program */
} sq_gate_options;
sq_gate_options sq_gate_options_default(void);

typedef struct sq_judging sq_judging;

/* SQ_DEVICE where the sides must not stand beside each other (reports/joining.h). */
sq_status sq_gate_open(sq_db *db, const sq_gate_options *options, sq_judging **out, sq_error *err);
void sq_gate_free(sq_judging *gate); /* accepts NULL */

/* --- measuring again --- */

typedef struct {
    const char *key;
    bool is_failing;     /* newly: tonight's code alone is run again, once */
    bool wants_counters; /* DRAM bytes or registers */
    bool is_counts_alone; /* no time is suspected: as many runs as are counted tell all */
} sq_suspect;

/* The suspects that nothing has been said of, worst first: how many there are, `room` of them in
 * `out` (may be NULL where room is 0). None where the night is unfit. */
int sq_gate_suspects(const sq_judging *gate, sq_suspect *out, int room);

/* Runs of a rerun are in blocks A B B A: replicates 2 i and 2 i + 1 of a cell on each side are those
 * of block i. `first` blocks are measured of each suspect, and `all` of those that they leave open. */
typedef struct {
    int first, all;
} sq_gate_blocks;
sq_gate_blocks sq_gate_blocks_of(const sq_judging *gate);

/* The campaigns of the reruns: tonight's code, and the baseline's ("": not begun). */
typedef struct {
    char night[SQ_UUID_TEXT], baseline[SQ_UUID_TEXT];
} sq_gate_reruns;
/* Goes on with the gate of this night and baseline that is pending in the store, where there is one, and
 * with its reruns. */
sq_status sq_gate_take_up(sq_judging *gate, sq_db *db, sq_error *err);
sq_gate_reruns sq_gate_reruns_of(const sq_judging *gate);
void sq_gate_set_reruns(sq_judging *gate, const sq_gate_reruns *reruns);

/* Reads the reruns. is_last: what they leave open stays unresolved, for the reason `why` where it is
 * not NULL; else it stays a suspect. */
sq_status sq_gate_confirm(sq_judging *gate, sq_db *db, bool is_last, const char *why,
                          sq_error *err);
/* Nothing more will be measured of the suspects but the first `kept`: they stay unresolved, for this
 * reason. */
void sq_gate_give_up(sq_judging *gate, int kept, const char *why);

/* --- the end --- */

typedef struct {
    int code;
    char why[900];
} sq_gate_end;
sq_gate_end sq_gate_conclude(const sq_judging *gate);

/* The gate that was taken up, else a new one. is_final: the exit code is stored; else it stays pending.
 */
sq_status sq_gate_store(sq_judging *gate, sq_db *db, bool is_final, sq_error *err);

/* What is stored of a night that `nightly` judged to its end beside this baseline. */
sq_status sq_gate_find(sq_db *db, const char *night, const char *baseline, sq_gate_end *out,
                       bool *found, sq_error *err);

/* A night that was judged, to be told once more: what became of its suspects, its exit code and the
 * names of its verdicts are those that are stored; answers given since are told. *is_same is false where
 * it was judged by other limits than this gate's: then it is this gate's own view, without an end. */
sq_status sq_gate_recall(sq_judging *gate, sq_db *db, bool *is_same, sq_error *err);

/* --- in words --- */

/* table and md: counts, then the cells that are not as they were; json: one object of everything;
 * csv and jsonl: a row a cell. */
sq_status sq_gate_print(const sq_judging *gate, sq_format format, sq_text *out, sq_error *err);
/* A line for each thing that is worth saying and is in no table. */
void sq_gate_notes(const sq_judging *gate, sq_text *out);
/* JUnit XML: a test case a cell. */
void sq_gate_junit(const sq_judging *gate, sq_text *out);
/* One offline page. */
void sq_gate_page(const sq_judging *gate, sq_text *out);

#ifdef __cplusplus
}
#endif
#endif
