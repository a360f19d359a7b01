/* history_campaigns: which campaigns a history is of, in the order of their turns. */
#include <stdlib.h>

#include "core/grow.h"
#include "reports/history.h"
#include "reports/query.h"

/* Columns of history_campaigns.sql. */
enum {
    CAMPAIGN_ID,
    CAMPAIGN_UUID,
    CAMPAIGN_SUITE,
    CAMPAIGN_LABEL,
    CAMPAIGN_COMMIT,
    CAMPAIGN_DIRTY,
    CAMPAIGN_STATE,
    CAMPAIGN_STARTED,
    CAMPAIGN_TURN,
    CAMPAIGN_STARTED_UTC
};

static void take_campaign(sqlite3_stmt *row, sq_history_campaign *c)
{
    *c = (sq_history_campaign){.id = sqlite3_column_int64(row, CAMPAIGN_ID),
                               .clock = sq_query_number(row, CAMPAIGN_STARTED),
                               .turn = sq_query_number(row, CAMPAIGN_TURN),
                               .is_dirty = sqlite3_column_int(row, CAMPAIGN_DIRTY) != 0};
    sq_query_copy(row, CAMPAIGN_UUID, c->uuid, sizeof c->uuid);
    sq_query_copy(row, CAMPAIGN_SUITE, c->suite, sizeof c->suite);
    sq_query_copy(row, CAMPAIGN_LABEL, c->label, sizeof c->label);
    sq_query_copy(row, CAMPAIGN_COMMIT, c->commit, sizeof c->commit);
    sq_query_copy(row, CAMPAIGN_STATE, c->state, sizeof c->state);
    sq_query_copy(row, CAMPAIGN_STARTED_UTC, c->started, sizeof c->started);
}

sq_status sq_history_campaigns(sq_db *db, const sq_history_options *options, sq_history *out,
                               sq_error *err)
{
    const sq_scope scope = {db, NULL};
    sqlite3_stmt *row = NULL;
    bool has_row = true;
    SQ_TRY(sq_query_plain(&scope, sq_figure_history_campaigns_sql, &row, err));
    sqlite3_bind_text(row, 1, options->suite, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 2, options->label, -1, SQLITE_STATIC);
    sqlite3_bind_double(row, 3, options->since);
    sq_status status = SQ_OK;
    while ((status = sq_query_step(&scope, row, &has_row, err)) == SQ_OK && has_row) {
        if (!sq_grow(&out->campaign, out->n_campaigns, sizeof *out->campaign)) {
            status = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the campaigns");
            break;
        }
        sq_history_campaign *c = &out->campaign[out->n_campaigns++];
        take_campaign(row, c);
        c->is_set_back = out->n_campaigns > 1 && c->clock < c[-1].clock;
    }
    sqlite3_finalize(row);
    return status;
}

sq_status sq_history_drop_idle(sq_history *h, sq_error *err)
{
    int *place = calloc((size_t)h->n_campaigns + 1, sizeof *place), kept = 0;
    if (!place)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the campaigns");
    for (int i = 0; i < h->n_series; i++)
        for (int k = 0; k < h->series[i].n_nights; k++)
            place[h->series[i].night[k].campaign] = 1;
    for (int i = 0; i < h->n_campaigns; i++) {
        if (place[i])
            h->campaign[kept] = h->campaign[i];
        place[i] = place[i] ? kept++ : -1;
    }
    h->n_campaigns = kept;
    for (int i = 0; i < h->n_series; i++)
        for (int k = 0; k < h->series[i].n_nights; k++)
            h->series[i].night[k].campaign = place[h->series[i].night[k].campaign];
    free(place);
    return SQ_OK;
}
