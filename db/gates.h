/* gates: what is asked of the judgings that are stored (db/verdicts.h writes them). */
#ifndef SQ_DB_GATES_H
#define SQ_DB_GATES_H

#include "db/db.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char uuid[SQ_UUID_TEXT], why[900], rerun[SQ_UUID_TEXT], baseline_rerun[SQ_UUID_TEXT];
    char settings[1000]; /* JSON */
    int exit_code;       /* of one that is not pending */
} sq_db_judged;

/* The newest gate of a night beside a baseline that is `nightly`'s (settings.by; a look by `gate` ends
 * no night), among those that are pending or those that are not. */
sq_status sq_db_find_gate(sq_db *db, const char *night, const char *baseline, bool is_pending,
                          sq_db_judged *out, bool *found, sq_error *err);

typedef struct {
    int nights, sentinels, alarms;
} sq_db_sentinels;

/* Of the last `nights` nights of a suite on the device of campaign `uuid`, each by its newest gate. */
sq_status sq_db_last_sentinels(sq_db *db, const char *suite, const char *uuid, int nights,
                               sq_db_sentinels *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
