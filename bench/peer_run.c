/* peer_run: see peer_run.h. */
#include "bench/peer_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench/exchange.h"
#include "bench/peer_record.h"
#include "bench/peer_request.h"
#include "bench/plausible.h"
#include "bench/scratch.h"
#include "bench/wire.h"
#include "core/host.h"

/* Compiling and tuning a kernel took 140 s with signs of life in between; nothing takes longer. */
static const double longest_run_seconds = 900;

/* Outputs that were proved and are larger than this are not written again only to be summed. */
static const double cheap_bytes = 256 << 20;

enum { MAX_FAILED_STARTS = 2 };

/* One cell on its way. */
typedef struct {
    sq_peers *peers;
    const sq_adapter *adapter;
    sq_peer *peer;
    const sq_plan_item *item;
    const char *proved;
    sq_record *record;
} errand;

/* --- processes --- */

static void end_peer(sq_peer *peer, void (*end)(sq_client *))
{
    end(peer->client);
    peer->client = NULL;
    peer->cells = 0;
}

static void end_all(sq_peers *peers, void (*end)(sq_client *))
{
    for (int i = 0; i < SQ_MAX_ADAPTERS; i++)
        end_peer(&peers->peer[i], end);
    end(peers->prover);
    peers->prover = NULL;
}

void sq_peers_stop(sq_peers *peers) { end_all(peers, sq_client_stop); }
void sq_peers_kill(sq_peers *peers) { end_all(peers, sq_client_kill); }

/* SQ_INTERRUPTED and SQ_OUT_OF_MEMORY are the campaign's affair, everything else the row's. */
static sq_status blame(errand *e, sq_status s, const char *stage, const sq_error *why,
                       sq_error *err)
{
    if (s == SQ_INTERRUPTED || s == SQ_OUT_OF_MEMORY)
        return sq_fail(err, s, "%s", why->message);
    sq_record_restart(e->record);
    if (sq_conclude_failed(e->record, s, stage, why))
        end_peer(e->peer, sq_client_kill);
    return SQ_OK;
}

static sq_status start(errand *e, sq_error *why)
{
    json_t *hello = NULL;
    SQ_TRY(sq_adapter_start(e->adapter, &e->peer->client, why));
    sq_status s = sq_adapter_greet(e->adapter, e->peers->target->name, SQ_HELLO_NAMES,
                                   e->peer->client, &hello, why);
    json_decref(hello);
    if (s != SQ_OK)
        end_peer(e->peer, sq_client_kill);
    return s;
}

/* Starts the adapter where it is not running. One that never greets is not waited for at every cell. */
static sq_status ensure_peer(errand *e, sq_error *why)
{
    sq_peer *peer = e->peer;
    if (peer->cells >= e->peers->batch_cells)
        end_peer(peer, sq_client_stop);
    if (peer->client)
        return SQ_OK;
    if (peer->failures >= MAX_FAILED_STARTS)
        return sq_fail(why, SQ_IO, "peer %s: it did not start %d times in a row",
                       e->adapter->name, peer->failures);
    sq_status s = start(e, why);
    peer->failures = s == SQ_OK ? 0 : peer->failures + 1;
    return s;
}

/* --- check and run --- */

static sq_status exchange(errand *e, const char *verb, const char *kind, const char *folder,
                          char stage[SQ_STAGE_TEXT], json_t **answer, sq_error *why)
{
    const sq_peers *peers = e->peers;
    sq_peer_question question = {.cell = &e->item->cell,
                                 .policy = peers->policy,
                                 .device = &peers->target->device,
                                 .seed = peers->seed,
                                 .folder = folder};
    sq_patience patience = {.silence = peers->policy->timeout_seconds,
                            .total = longest_run_seconds};
    json_t *request = NULL;
    *answer = NULL;
    SQ_TRY(sq_peer_request(verb, &question, &request, why));
    sq_status s = sq_exchange(e->peer->client, request, kind, patience, stage, answer, why);
    json_decref(request);
    return s;
}

/* A process that died of the cell before is replaced, once. */
static sq_status check(errand *e, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    json_t *answer = NULL;
    sq_status s = ensure_peer(e, &why);
    if (s != SQ_OK)
        return blame(e, s, "hello", &why, err);
    bool was_used = e->peer->cells > 0;
    s = exchange(e, "check", "check", NULL, NULL, &answer, &why);
    if (s == SQ_IO && was_used) {
        end_peer(e->peer, sq_client_kill);
        s = ensure_peer(e, &why);
        if (s == SQ_OK)
            s = exchange(e, "check", "check", NULL, NULL, &answer, &why);
    }
    if (s == SQ_UNSUPPORTED) { /* no peer is asked such a thing */
        sq_conclude(e->record, SQ_RUN_UNSUPPORTED, why.message);
        return SQ_OK;
    }
    if (s != SQ_OK)
        return blame(e, s, "check", &why, err);
    e->peer->cells++;
    sq_conclude_check(e->record, answer, e->peers->policy->try_oom);
    json_decref(answer);
    return SQ_OK;
}

static double least_ns(const errand *e)
{
    sq_subject subject;
    sq_cost cost = {0};
    double bytes;
    const sq_cell *cell = &e->item->cell;
    if (sq_subject_find(cell->kind, cell->subject, &subject, NULL) == SQ_OK)
        sq_subject_cost(&subject, cell, &cost, &bytes, NULL);
    return sq_plausible_floor_ns(cell, cost.bytes_read, cost.bytes_written,
                                 &e->peers->target->device);
}

/* What a peer says that cannot be true is an error of its row, and the end of the process. */
static sq_status take_record(errand *e, const json_t *answer, double seconds, sq_error *err)
{
    sq_error why = {.status = SQ_OK}, told = {.status = SQ_OK};
    sq_peer_bounds bounds = {
        .policy = e->peers->policy, .wall_seconds = seconds, .floor_ns = least_ns(e)};
    sq_status s = sq_peer_record_read(answer, &bounds, e->record, &why);
    if (s == SQ_OK)
        return SQ_OK;
    sq_fail(&told, SQ_INTERNAL, "peer %s: %.300s", e->adapter->name, why.message);
    return blame(e, s == SQ_BAD_ARGUMENT ? SQ_INTERNAL : s, "", &told, err);
}

static sq_status run(errand *e, const char *folder, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    char stage[SQ_STAGE_TEXT] = "";
    json_t *answer = NULL;
    double started = sq_monotonic_seconds();
    sq_status s = exchange(e, "run", "record", folder, stage, &answer, &why);
    if (s != SQ_OK)
        return blame(e, s, stage, &why, err);
    s = take_record(e, answer, sq_monotonic_seconds() - started, err);
    json_decref(answer);
    return s;
}

/* --- proof --- */

static sq_status ensure_prover(sq_peers *peers, sq_error *why)
{
    if (peers->prover)
        return SQ_OK;
    SQ_TRY(sq_target_start_cpu_worker(&peers->prover, why));
    sq_client_call(peers->prover, "the prover");
    sq_patience patience = {.silence = peers->policy->timeout_seconds};
    return peers->n_ceilings ? sq_exchange_ceilings(peers->prover, peers->ceilings,
                                                    peers->n_ceilings, patience, why)
                             : SQ_OK;
}

static json_t *proof_request(const errand *e, const sq_peer_outputs *outputs)
{
    const sq_peers *peers = e->peers;
    char seed[24];
    json_t *paths = json_array();
    for (int i = 0; i < outputs->n; i++)
        json_array_append_new(paths, json_string(outputs->path[i]));
    snprintf(seed, sizeof seed, "%" PRIu64, peers->seed);
    return json_pack("{ss ss ss ss so so so}", "do", "prove", "cell", e->item->key, "seed", seed,
                     "proved", e->proved, "policy", sq_wire_policy(peers->policy), "device",
                     sq_wire_device(&peers->target->device), "outputs", paths);
}

/* The proof's checks and derived numbers join the record; a wrong output leaves no time. */
static sq_status take_proof(errand *e, const json_t *answer, sq_error *why)
{
    sq_record *record = e->record, proof;
    sq_record_init(&proof, &record->cell);
    sq_status s = sq_wire_record_parse(json_object_get(answer, "record"), &proof, why);
    for (int i = 0; s == SQ_OK && i < proof.n_checks; i++)
        s = sq_record_add_check(record, &proof.checks[i]);
    for (int i = 0; s == SQ_OK && i < proof.n_values; i++)
        s = sq_record_add_value(record, &proof.values[i]);
    strcpy(record->checksum, proof.checksum);
    if (s == SQ_OK && proof.status != SQ_RUN_OK) {
        sq_record_drop_times(record);
        sq_conclude(record, proof.status, proof.reason);
    }
    sq_record_free(&proof);
    return s;
}

/* Without a proof there is no time. */
static sq_status prove(errand *e, const sq_peer_outputs *outputs, sq_error *err)
{
    sq_peers *peers = e->peers;
    sq_error why = {.status = SQ_OK};
    sq_patience patience = {.silence = peers->policy->timeout_seconds};
    json_t *answer = NULL, *request = proof_request(e, outputs);
    sq_status s = request ? ensure_prover(peers, &why)
                          : sq_fail(&why, SQ_OUT_OF_MEMORY, "no memory for a request");
    if (s == SQ_OK)
        s = sq_exchange(peers->prover, request, "record", patience, NULL, &answer, &why);
    if (s == SQ_OK)
        s = take_proof(e, answer, &why);
    json_decref(answer);
    json_decref(request);
    if (s == SQ_OK)
        return SQ_OK;
    sq_client_kill(peers->prover);
    peers->prover = NULL;
    if (s == SQ_INTERRUPTED || s == SQ_OUT_OF_MEMORY)
        return sq_fail(err, s, "%s", why.message);
    char reason[SQ_REASON_MAX];
    snprintf(reason, sizeof reason, "its outputs cannot be proved: %.280s", why.message);
    sq_record_drop_times(e->record);
    sq_conclude(e->record, SQ_RUN_ERROR, reason);
    return SQ_OK;
}

/* --- a cell --- */

static bool has_time(const sq_record *record) { return record->n_samples > 0; }

static sq_status run_and_prove(errand *e, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    sq_peer_outputs outputs;
    sq_scratch scratch = {.folder = ""};
    sq_status s = sq_peer_list_outputs(&e->item->cell, "", &outputs, &why);
    bool is_wanted = !e->proved[0] || (double)outputs.bytes <= cheap_bytes;
    if (s == SQ_OK && is_wanted)
        s = sq_scratch_open(outputs.bytes, &scratch, &why);
    if (s != SQ_OK) {
        sq_conclude(e->record, SQ_RUN_ERROR, why.message);
        return SQ_OK;
    }
    s = run(e, is_wanted ? scratch.folder : NULL, err);
    if (s == SQ_OK && is_wanted && has_time(e->record)) {
        sq_peer_list_outputs(&e->item->cell, scratch.folder, &outputs, NULL);
        s = prove(e, &outputs, err);
    }
    sq_scratch_close(&scratch);
    return s;
}

static sq_status find_adapter(errand *e)
{
    sq_peers *peers = e->peers;
    char name[32], reason[SQ_REASON_MAX];
    const char *implementation;
    if (!peers->is_found)
        sq_adapters_find(&peers->adapters);
    peers->is_found = true;
    if (sq_provider_split(e->item->cell.provider, name, &implementation))
        e->adapter = sq_adapter_find(&peers->adapters, name);
    if (e->adapter) {
        e->peer = &peers->peer[e->adapter - peers->adapters.item];
        return SQ_OK;
    }
    snprintf(reason, sizeof reason, "no adapter for provider %s", e->item->cell.provider);
    sq_conclude(e->record, SQ_RUN_ERROR, reason);
    return SQ_UNSUPPORTED;
}

sq_status sq_peers_run(sq_peers *peers, const sq_plan_item *item, const char *proved,
                       sq_record *record, sq_error *err)
{
    errand e = {.peers = peers, .item = item, .proved = proved, .record = record};
    if (find_adapter(&e) != SQ_OK)
        return SQ_OK;
    record->status = SQ_RUN_OK;
    SQ_TRY(check(&e, err));
    return record->status == SQ_RUN_OK ? run_and_prove(&e, err) : SQ_OK;
}
