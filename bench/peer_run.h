/* peer_run: cells of external providers, measured by the adapters' processes and proved here.
 *
 * One long-lived process an adapter and batch of cells, as workers are; one prover beside them, a
 * worker of the CPU backend that compares what a peer wrote with the reference.
 */
#ifndef SQ_BENCH_PEER_RUN_H
#define SQ_BENCH_PEER_RUN_H

#include "bench/peer.h"
#include "bench/plan.h"
#include "bench/target.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A process of an adapter. */
typedef struct {
    sq_client *client; /* NULL: none running */
    int cells;         /* cells it has been given */
    int failures;      /* starts in a row that came to nothing */
} sq_peer;

/* Zero-initialise and set the first six; end with sq_peers_stop. */
typedef struct {
    const sq_target *target;
    const sq_policy *policy;
    uint64_t seed;
    int batch_cells;            /* cells that one process may be given */
    const sq_ceiling *ceilings; /* for the floors of the rows */
    int n_ceilings;
    sq_adapters adapters; /* found with the first cell */
    bool is_found;
    sq_peer peer[SQ_MAX_ADAPTERS];
    sq_client *prover;
} sq_peers;

/* Checks, runs and proves one cell into `record` (initialised for the cell). proved: the checksum of an
 * output that this campaign has proved, or "". Whatever the peer does is told in record->status and
 * reason and returns SQ_OK. SQ_INTERRUPTED: stop at once. */
sq_status sq_peers_run(sq_peers *peers, const sq_plan_item *item, const char *proved,
                       sq_record *record, sq_error *err);

/* Ends the processes: kindly, or at once. */
void sq_peers_stop(sq_peers *peers);
void sq_peers_kill(sq_peers *peers);

#ifdef __cplusplus
}
#endif
#endif
