/* joining: which rows may stand beside each other. Those from another device model, driver, toolkit,
 * timing method, policy or mode never do unasked: whoever puts rows of several campaigns together
 * (compare, gate, history) asks here. */
#ifndef SQ_REPORTS_JOINING_H
#define SQ_REPORTS_JOINING_H

#include <stdbool.h>

#include "core/cell.h"
#include "core/status.h"
#include "core/text.h"
#include "db/db.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    SQ_JOIN_DEVICE, /* the model, not the card */
    SQ_JOIN_DRIVER,
    SQ_JOIN_TOOLKIT,
    SQ_JOIN_HARNESS,
    SQ_JOIN_POLICY,
    SQ_JOIN_GROUND, /* how many of a run's footing; the rest are in the key of its cell */
    SQ_JOIN_CACHE = SQ_JOIN_GROUND,
    SQ_JOIN_LAUNCH,
    SQ_JOIN_CLOCK,
    SQ_JOIN_COUNT
} sq_join;

extern const char *const sq_join_names[]; /* "device", "driver" ..., NULL-ended */

/* A set of fields: bit 1 << field. */
typedef unsigned sq_across;

/* "driver,toolkit". */
sq_status sq_across_parse(const char *text, sq_across *out, sq_error *err);
void sq_across_format(sq_across across, sq_text *out);

/* --- runs --- */

/* What a run stands on beside its code and its cell. */
typedef struct {
    char value[SQ_JOIN_GROUND][400];
} sq_footing;

/* The columns of a footing, in a query that calls its tables so: run r, campaign c, device d of the
 * run, environment e of the run. Of the policy what bears on a time: how long a cell may take, a
 * proof may be, or how a night is judged does not. */
#define SQ_FOOTING_COLUMNS                                                                         \
    "d.name, e.driver, e.toolkit, r.harness_version, CASE c.policy WHEN '' THEN '' ELSE "          \
    "json_remove(c.policy, '$.max_cell_seconds', '$.timeout_seconds', '$.proof_work', "            \
    "'$.try_oom', '$.max_interval', '$.max_inconclusive') END"
void sq_footing_read(sqlite3_stmt *row, int column, sq_footing *out);

/* The first field in which they differ and that is not in `across`; SQ_JOIN_GROUND: none. */
sq_join sq_footing_differs(const sq_footing *a, const sq_footing *b, sq_across across);
/* "driver: 580.65 and 590.1"; of a policy the settings that differ, each with its values. */
sq_status sq_footing_describe(sq_db *db, const sq_footing *a, const sq_footing *b, sq_join field,
                              sq_text *out, sq_error *err);

/* Refuses (SQ_BAD_ARGUMENT, with the field and both values) where timed runs of these `n` campaigns
 * stand on different things that `across` does not allow; of one campaign too, which may have been
 * resumed under another driver. crossed: the fields that were allowed and do differ, as
 * "driver: 580.65 and 590.1; toolkit: 13.0 and 13.1"; "" where none does. names: of the campaigns,
 * as the user has called them. */
sq_status sq_joining_check(sq_db *db, const char *const *campaigns, const char *const *names, int n,
                           sq_across across, sq_text *crossed, sq_error *err);

/* The same before there is a run: whether timed runs on this device, in this environment, by this
 * program and policy (as the store keeps it) may stand beside those of a campaign. */
sq_status sq_joining_preview(sq_db *db, const sq_device *device, const sq_environment *environment,
                             const char *policy, const char *campaign, const char *name,
                             sq_across across, sq_text *crossed, sq_error *err);

/* --- cells --- */

/* The key with "*" for each mode that is in `across`: cells of the same text may be paired. */
void sq_joining_key(const char *key, sq_across across, char out[SQ_KEY_MAX]);
/* Adds "cache: clean-cold and hot; ..." for the modes in which the keys differ and that are not in
 * `known`, behind what is there; returns them. */
sq_across sq_modes_describe(const char *key_a, const char *key_b, sq_across known, sq_text *out);

#ifdef __cplusplus
}
#endif
#endif
