/* peer: other people's implementations, brought by adapters (docs/peers.md): programs of any language
 * that speak bench/wire.h's lines. Here: which adapters there are, and what one offers.
 *
 * A provider "external:torch/fla" is the implementation fla of the adapter torch. An adapter's name is
 * its file's, without folder, ending and a last "_peer" or "_peers": torch_peers.py is torch.
 */
#ifndef SQ_BENCH_PEER_H
#define SQ_BENCH_PEER_H

#include "bench/catalog.h"
#include "bench/client.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_ADAPTERS = 16, SQ_PEER_ABI = 2 };

typedef struct {
    char name[32], path[1024];
} sq_adapter;

/* Of one name the first counts: $SEQMARK_PEERS (files and folders, between colons), then the folder
 * beside the program. */
typedef struct {
    sq_adapter item[SQ_MAX_ADAPTERS];
    int count;
} sq_adapters;

void sq_adapters_find(sq_adapters *out);
const sq_adapter *sq_adapter_find(const sq_adapters *adapters, const char *name);

/* Whether a provider is an adapter's. Names of "external:A/I": A is written to `adapter` (32 bytes),
 * *implementation points to I. False where it has not that form. */
bool sq_provider_is_external(const char *provider);
bool sq_provider_split(const char *provider, char adapter[32], const char **implementation);

/* Starts an adapter: a .py file by $SEQMARK_PYTHON (a path, or a name on PATH; python3 where it
 * is not set), anything else by itself. */
sq_status sq_adapter_start(const sq_adapter *adapter, sq_client **out, sq_error *err);

/* What a hello asks for. SURVEY: also what is missing for each implementation, for which an adapter
 * imports them all: tens of seconds. */
typedef enum { SQ_HELLO_NAMES, SQ_HELLO_SURVEY } sq_hello;

/* {"do":"hello"}: what every new process of an adapter is told and asked first, and its answer, looked
 * through: the right name and ABI. device: "cpu", "0" ... json_decref(*hello). Errors name the
 * adapter. */
sq_status sq_adapter_greet(const sq_adapter *adapter, const char *device, sq_hello wanted,
                           sq_client *client, json_t **hello, sq_error *err);

/* The two above for one question only. */
sq_status sq_adapter_ask_hello(const sq_adapter *adapter, const char *device, sq_hello wanted,
                               json_t **hello, sq_error *err);

/* Adds what a hello offers, what cannot be imported there included: its cells become rows that say
 * so. */
sq_status sq_adapter_offer(const sq_adapter *adapter, const json_t *hello, sq_catalog *catalog,
                           sq_error *err);

/* "torch 2.11.0, triton 3.6.0" of a hello's or record's "versions". */
void sq_peer_versions(const json_t *message, char *out, size_t size);

/* Asks every adapter that a list of providers ("cuda/portable,external:torch/fla", "@file") names and
 * that `catalog` has not yet, and adds what they offer. SQ_DEVICE: one is not there, cannot be started
 * or does not greet. */
sq_status sq_peers_complete(const char *providers, const char *device, sq_catalog *catalog,
                            sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
