/* gates: see gates.h. */
#include "db/gates.h"

#include "db/store.h"

sq_status sq_db_find_gate(sq_db *db, const char *night, const char *baseline, bool is_pending,
                          sq_db_judged *out, bool *found, sq_error *err)
{
    sq_row row = sq_row_new(db, SQ_SQL_FIND_GATE);
    *out = (sq_db_judged){.exit_code = 0};
    sq_row_text(&row, night);
    sq_row_text(&row, baseline);
    sq_row_int(&row, is_pending);
    SQ_TRY(sq_row_step(&row, found, err));
    if (!*found)
        return SQ_OK;
    sq_row_copy(&row, 0, out->uuid, sizeof out->uuid);
    out->exit_code = sqlite3_column_int(row.stmt, 1);
    sq_row_copy(&row, 2, out->why, sizeof out->why);
    sq_row_copy(&row, 3, out->rerun, sizeof out->rerun);
    sq_row_copy(&row, 4, out->baseline_rerun, sizeof out->baseline_rerun);
    sq_row_copy(&row, 5, out->settings, sizeof out->settings);
    sq_row_end(&row);
    return SQ_OK;
}

sq_status sq_db_last_sentinels(sq_db *db, const char *suite, const char *uuid, int nights,
                               sq_db_sentinels *out, sq_error *err)
{
    sq_row row = sq_row_new(db, SQ_SQL_LAST_SENTINELS);
    bool found;
    *out = (sq_db_sentinels){.nights = 0};
    sq_row_text(&row, suite);
    sq_row_text(&row, uuid);
    sq_row_int(&row, nights);
    SQ_TRY(sq_row_step(&row, &found, err));
    if (!found)
        return SQ_OK;
    *out = (sq_db_sentinels){.nights = sqlite3_column_int(row.stmt, 0),
                             .sentinels = sqlite3_column_int(row.stmt, 1),
                             .alarms = sqlite3_column_int(row.stmt, 2)};
    sq_row_end(&row);
    return SQ_OK;
}
