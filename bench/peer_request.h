/* peer_request: what a peer is asked, spelled out so that an adapter parses no cell key
 * (docs/peers.md). */
#ifndef SQ_BENCH_PEER_REQUEST_H
#define SQ_BENCH_PEER_REQUEST_H

#include <jansson.h>

#include "bench/policy.h"
#include "bench/subject.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const sq_cell *cell;
    const sq_policy *policy;
    const sq_device *device; /* its L2 cache says how many sets of inputs rotate in turn */
    uint64_t seed;
    const char *folder; /* outputs are written to FOLDER/NAME; NULL: they are not wanted */
} sq_peer_question;

/* verb: "check" or "run"; json_decref(*out). SQ_UNSUPPORTED: a cell that is no operator's, a pass
 * that the operator has not or peers do not measure, gradients too large to be proved. */
sq_status sq_peer_request(const char *verb, const sq_peer_question *question, json_t **out,
                          sq_error *err);

/* Paths of the outputs in the order of the operator's list, and their bytes; n receives how many. */
typedef struct {
    char path[SQ_MAX_OUT][512];
    size_t bytes; /* of all */
    int n;
} sq_peer_outputs;

sq_status sq_peer_list_outputs(const sq_cell *cell, const char *folder, sq_peer_outputs *out,
                               sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
