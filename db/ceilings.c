/* ceilings: what an earlier campaign measured on the same device. */
#include "db/db.h"

#include "db/store.h"

enum { ROOM = sizeof((sq_db_ceilings){.n = 0}).ceiling / sizeof(sq_ceiling) };

static void take_row(const sq_row *row, sq_db_ceilings *out)
{
    sq_ceiling *c = &out->ceiling[out->n++];
    sq_row_copy(row, 0, out->campaign, sizeof out->campaign);
    out->started = sq_row_number(row, 1);
    sq_row_copy(row, 2, c->name, sizeof c->name);
    sq_row_copy(row, 3, c->unit, sizeof c->unit);
    c->value = sq_row_number(row, 4);
    c->lo = sq_row_number(row, 5);
    c->hi = sq_row_number(row, 6);
    c->sm_mhz = sq_row_number(row, 7);
}

sq_status sq_db_find_ceilings(sq_db *db, const char *suite, const char *device_uuid,
                              const char *fingerprint, double since, sq_db_ceilings *out,
                              sq_error *err)
{
    bool found;
    *out = (sq_db_ceilings){.n = 0};
    sq_row row = sq_row_new(db, SQ_SQL_FIND_CEILINGS);
    sq_row_text(&row, suite);
    sq_row_text(&row, device_uuid);
    sq_row_text(&row, fingerprint);
    sq_row_real(&row, since);
    SQ_TRY(sq_row_step(&row, &found, err));
    while (found && out->n < ROOM) {
        take_row(&row, out);
        SQ_TRY(sq_row_step(&row, &found, err));
    }
    if (found)
        sq_row_end(&row);
    return SQ_OK;
}
