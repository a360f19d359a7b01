/* cmd_run_launch: `seqmark run --profile`, what other profilers are put around. */
#include <stdio.h>

#include "bench/ask.h"
#include "bench/cmd_run.h"
#include "bench/peer.h"
#include "bench/signals.h"

typedef struct {
    int launched, failed;
    char first[SQ_KEY_MAX + 400];
} tally;

static void note_failure(tally *t, const sq_plan_item *item, const char *why)
{
    fprintf(stderr, "%s: %s\n", item->key, why);
    if (t->failed++ == 0)
        snprintf(t->first, sizeof t->first, "%s: %.320s", item->key, why);
}

/* Cells that cannot be launched are told; the others go on. */
static sq_status launch(sq_asker *asker, const sq_plan_item *item, tally *t, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    if (item->replicate > 0)
        return SQ_OK;
    if (item->status != SQ_RUN_OK || sq_provider_is_external(item->cell.provider)) {
        note_failure(t, item,
                     item->status != SQ_RUN_OK ? item->reason : "a peer is no process of ours");
        return SQ_OK;
    }
    sq_status s = sq_ask_launch(asker, item, &why);
    if (s == SQ_INTERRUPTED)
        return sq_fail(err, s, "%s", why.message);
    if (s != SQ_OK) {
        note_failure(t, item, why.message);
        return SQ_OK;
    }
    t->launched++;
    fprintf(stderr, "launched %s\n", item->key);
    return SQ_OK;
}

sq_status sq_run_launch(const sq_run *run, sq_outcome *outcome, sq_error *err)
{
    sq_asker asker = {.target = &run->target, .policy = &run->policy, .seed = run->seed};
    tally t = {.launched = 0};
    sq_status s = SQ_OK;
    sq_signals_install();
    for (int i = 0; i < run->plan.count && s == SQ_OK && sq_signals_count() == 0; i++)
        s = launch(&asker, &run->plan.item[i], &t, err);
    sq_asker_stop(&asker);
    if (s == SQ_INTERRUPTED || sq_signals_count() > 0)
        sq_outcome_set(outcome, SQ_EXIT_INTERRUPTED, "interrupted; nothing is stored");
    else if (s == SQ_OK && t.failed)
        sq_outcome_set(outcome, SQ_EXIT_FAILED, "%d of %d cells not launched; first: %.700s",
                       t.failed, t.failed + t.launched, t.first);
    else if (s == SQ_OK)
        sq_outcome_set(outcome, SQ_EXIT_FINE, "%d cell%s launched once; nothing is stored",
                       t.launched, t.launched == 1 ? "" : "s");
    return s == SQ_INTERRUPTED ? SQ_OK : s;
}
