/* gated: what the files of the gate share. Not for other modules; they include reports/gate.h. */
#ifndef SQ_REPORTS_GATED_H
#define SQ_REPORTS_GATED_H

#include <stdint.h>

#include "core/cell.h"
#include "core/night.h"
#include "reports/bound.h"
#include "reports/gate.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- gate_read.c: one campaign --- */

/* One cell's runs, the newest attempt of each replicate, in the order of the replicates. ns, cycles
 * and setup have n_timed elements, those of runs with a time; NAN where unknown. */
typedef struct {
    int64_t cell_id;
    char key[SQ_KEY_MAX], dtype[16], kernel_hash[SQ_HASH_TEXT];
    int harness;
    int n_runs, n_timed;
    sq_run_status *status;
    int *replicate; /* of the timed ones */
    double *ns, *cycles, *setup;
    double median_ns;             /* NAN: none is timed */
    double peak_bytes, registers; /* NAN unknown */
    double dram_least, dram_most; /* of the runs that were counted ... */
    int n_dram;                   /* ... which are so many */
    double dram_spread;           /* from least to most; of a single run, that of its launches */
    double bytes, matrix_flops;
    bool is_sentinel;
    char reason[SQ_REASON_MAX]; /* of the latest run without a time */
} sq_gate_cell;

typedef struct {
    sq_gate_cell *cell; /* in the order of cell_id */
    int n_cells;
    int64_t device_id;
    sq_roofs roofs;
    int watched, disturbed; /* runs of which it is known whether others computed on the GPU; with */
    char suite[64], label[64], uuid[SQ_UUID_TEXT];
    double inconclusive_limit; /* of its suite; NAN: that says none */
    void *room; /* of all runs */
} sq_gate_side;

sq_status sq_gate_side_read(sq_db *db, const char *campaign, sq_gate_side *out, sq_error *err);
void sq_gate_side_free(sq_gate_side *side);

/* --- gate.c --- */

/* What became of a suspicion; names as the store has them. */
typedef enum {
    SQ_STANDING_NONE, /* no suspicion */
    SQ_STANDING_PENDING,
    SQ_STANDING_DISMISSED,
    SQ_STANDING_CLOCKS,
    SQ_STANDING_UNRESOLVED,
    SQ_STANDING_CONFIRMED
} sq_standing;
const char *sq_standing_name(sq_standing standing);

/* What can be suspected: the quantities of core/night.h, and that a cell fails. */
enum { SQ_GATE_FAILING = SQ_NIGHT_QUANTITIES, SQ_GATE_SUSPICIONS };

typedef struct {
    const sq_gate_cell *baseline, *night; /* NULL: not in that campaign */
    sq_night_result result;
    sq_standing standing[SQ_GATE_SUSPICIONS];
    sq_interval again[SQ_NIGHT_TESTS]; /* change of the blocks, as a difference of logarithms */
    char cause[240];
    char name[SQ_GATE_SUSPICIONS][9]; /* of the verdicts, for `seqmark ack`; "": no suspicion */
    unsigned answered;                /* bit 1 << suspicion: `seqmark ack` has */
    bool is_answered;                 /* all that there are: the cell does not count */
    bool is_noted;                    /* the cause tells of an answer, which must not be lost */
} sq_gate_row;

struct sq_judging {
    sq_gate_options options;
    sq_night_policy policy;
    sq_gate_side baseline, night;
    sq_gate_row *row; /* cells of either side, then sentinels; worst first */
    int n_rows;       /* without sentinels */
    sq_gate_row *sentinel;
    int n_sentinels, asked, alarms; /* asked: sentinels with runs enough on both halves */
    sq_night_summary summary;
    int missing; /* cells with a time in the baseline and none tonight, for no fault of theirs */
    double missing_share; /* of the cells that should have been compared */
    bool is_disturbed;    /* others computed on the GPU */
    sq_text crossed;
    double *numbers;         /* behind the runs that are judged */
    char uuid[SQ_UUID_TEXT]; /* "": not stored yet */
    sq_gate_reruns reruns;
    sq_gate_end end; /* of a night that was judged before ... */
    bool has_end;    /* ... if it was */
    struct {
        int nights, sentinels, alarms;
    } last; /* nights of this suite, newest first, this one among them once it is stored */
};

/* The worst of a row's standings, of those that are not answered where there are such. */
sq_standing sq_gate_standing(const sq_gate_row *row);
/* Its name, or "answered". */
const char *sq_gate_standing_word(const sq_gate_row *row);
/* Of one suspicion, as a difference of logarithms; NAN where it is no number. */
double sq_gate_change(const sq_gate_row *row, int suspicion);
/* Looks for the answers that people gave (gate_rows.c). */
sq_status sq_gate_answer(sq_judging *gate, sq_db *db, sq_error *err);
/* The largest change of time or cycles, else of what is suspected: a difference of logarithms. */
double sq_gate_effect(const sq_gate_row *row);
const char *sq_gate_key(const sq_gate_row *row);
bool sq_gate_is_failed(const sq_gate_row *row); /* failed tonight; OOM is a normal row */
const char *sq_gate_quantity(int suspicion);    /* "time" ... "result" */
/* "1a2b3c4d", of several suspicions "time 1a2b3c4d, setup 5e6f7a8b". */
void sq_gate_names(const sq_gate_row *row, sq_text *out);
/* "time +3.1 %, setup +12 %": what is suspected, or was and is not dismissed. */
void sq_gate_describe(const sq_gate_row *row, sq_text *out);

/* "main" or the campaign. */
const char *sq_gate_baseline_name(const sq_judging *gate);

/* --- gate_end.c --- */

/* Cells that nobody has answered, by the worst of their standings. */
int sq_gate_count(const sq_judging *gate, sq_standing least, sq_standing most);
int sq_gate_answered(const sq_judging *gate); /* cells */

/* --- gate_print.c --- */

sq_table *sq_gate_counts(const sq_judging *gate);
sq_table *sq_gate_changes(const sq_judging *gate); /* cells that are not as they were */
sq_table *sq_gate_all(const sq_judging *gate);

#ifdef __cplusplus
}
#endif
#endif
