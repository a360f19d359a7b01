/* history: the nights of cells in order, where their level changed, and the commits it lies between.
 * Nights that stand on different things (reports/joining.h) are in different segments. It shows and
 * does not judge. */
#ifndef SQ_REPORTS_HISTORY_H
#define SQ_REPORTS_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "core/table.h"
#include "db/db.h"
#include "reports/compare.h"
#include "reports/joining.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t cell_id;           /* 0: all cells */
    const char *suite, *label; /* of the campaigns; NULL: any */
    double since;              /* turn of the first campaign; 0: all */
    sq_across across;          /* what the nights of a segment may differ in */
    double min_change;         /* of the level that counts: 0.01 is 1 % */
    sq_keeps_fn keeps;         /* which cells; NULL: all */
    void *self;
} sq_history_options;

/* A campaign, in the order of turns. is_set_back: it began before the one in front of it, by the
 * clock. */
typedef struct {
    int64_t id;
    char uuid[SQ_UUID_TEXT], suite[64], label[64], commit[48], started[20], state[16];
    double clock, turn;
    bool is_dirty, is_set_back;
} sq_history_campaign;

/* What a cell showed in one campaign. ns: median of run medians with the 95 % interval of it, NAN
 * where no run has a time; status: of the newest run without a time, else SQ_RUN_OK. track: the
 * nights that it may be joined with. segment: of the series; -1: none. is_off: it lies off the level
 * of its segment by more than three deviations and the least change. */
typedef struct {
    int campaign, ground, track, segment;
    int n;
    double ns, lo, hi;
    double squares, error; /* of the logarithms of run medians; standard error of the night's */
    uint64_t code;         /* hash of kernel_hash; 0: unknown */
    int64_t env_id, device_id;
    sq_run_status status;
    bool is_off;
} sq_history_night;

/* first, last: nights of the series; between them may lie some of other tracks. */
typedef struct {
    int track, first, last, n;
    double ns;
} sq_history_segment;

/* From segment `before` to `after`, of one track. is_gone: the level came back to that before. */
typedef struct {
    int before, after;
    double ratio;
    bool is_gone, has_new_code;
} sq_history_change;

/* One cell on one model of device. Changes are in the order of their first nights. first_of_track: its
 * first night; tracks are in the order of these. */
typedef struct {
    int64_t cell_id, run_id; /* run_id: its newest */
    char key[SQ_KEY_MAX];
    const char *device;
    sq_history_night *night;
    sq_history_segment *segment;
    sq_history_change *change;
    int *first_of_track;
    int n_nights, n_timed, n_segments, n_changes, n_tracks;
    double deviation; /* night to night, of the logarithm, of the newest track */
} sq_history_series;

typedef struct {
    sq_history_campaign *campaign;
    sq_footing *ground;
    sq_history_series *series;
    int n_campaigns, n_grounds, n_series;
} sq_history;

/* Everything, of one state of the store: a campaign that runs meanwhile is seen as far as it was.
 * Refuses where no campaign or no timed run is left. sq_history_free accepts what is all zero. */
sq_status sq_history_read(sq_db *db, const sq_history_options *options, sq_history *out,
                          sq_error *err);
void sq_history_free(sq_history *history);

/* One series: heading, changes and nights; csv, json and jsonl: one row a night. Several: one row a
 * cell. notes: what the reader must know of the order of campaigns. */
sq_status sq_history_table(sq_db *db, const sq_history *history, bool is_one_cell, sq_format format,
                           sq_text *out, sq_text *notes, sq_error *err);

/* Writes <dir>/history.html, made if it is not there; path (of SQ_HISTORY_PATH) receives its name. */
enum { SQ_HISTORY_PATH = 1024 };
sq_status sq_history_page(sq_db *db, const sq_history *history, const char *dir,
                          char path[SQ_HISTORY_PATH], sq_error *err);

/* --- parts --- */

/* history_campaigns.c: those asked for; without those that have no night of any cell that is left. */
sq_status sq_history_campaigns(sq_db *db, const sq_history_options *options, sq_history *out,
                               sq_error *err);
sq_status sq_history_drop_idle(sq_history *h, sq_error *err);

/* history_find.c: tracks, segments, changes; puts the newest change first. */
sq_status sq_history_find(sq_history *history, const sq_history_options *options, sq_error *err);

/* history_words.c: what is said of them. */

/* The nights on either side of a change. */
const sq_history_night *sq_history_last_good(const sq_history_series *s,
                                             const sq_history_change *change);
const sq_history_night *sq_history_first_bad(const sq_history_series *s,
                                             const sq_history_change *change);
/* The change that begins with a night; NULL: none. */
const sq_history_change *sq_history_begins(const sq_history_series *s, int night);
/* The level of the newest night with a time, and of the segment before a night's own on its track
 * (NAN: there is none). */
double sq_history_level(const sq_history_series *s);
double sq_history_before(const sq_history_series *s, const sq_history_night *night);

const char *sq_history_kernels_word(const sq_history_change *change); /* "changed", "the same" */
const char *sq_history_state_word(const sq_history_change *change);   /* "stands", "went away" */
/* "abc123..def456", with "+" behind a commit whose tree was changed. */
enum { SQ_HISTORY_COMMITS = 32, SQ_HISTORY_SUMMARY = 320 };
void sq_history_commits(const sq_history *h, const sq_history_series *s,
                        const sq_history_change *change, char out[SQ_HISTORY_COMMITS]);
/* "DEVICE: 42 nights from ... to ..., noise 0.31 % a night, 1 change". */
void sq_history_summary(const sq_history *h, const sq_history_series *s,
                        char out[SQ_HISTORY_SUMMARY]);
/* What is to be said of a night: "change +5.1 %; driver: 580 and 590; off the level". */
sq_status sq_history_remark(sq_db *db, const sq_history *h, const sq_history_series *s, int night,
                            sq_text *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
