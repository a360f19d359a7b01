/* client: one worker process, seen from its parent: start, ask, listen with a time limit, end.
 *
 * The worker gets pipes as stdin, stdout and stderr, a process group of its own (a terminal's ^C
 * does not reach it) and dies with its parent.
 */
#ifndef SQ_BENCH_CLIENT_H
#define SQ_BENCH_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sq_client sq_client;

/* argv: NULL-ended; argv[0] is the path. A program that cannot be executed shows as a worker that
 * ended with exit code 127. */
sq_status sq_client_start(const char *const *argv, sq_client **out, sq_error *err);

/* What reasons call it; "the worker" at first. Cut at 63 bytes. */
void sq_client_call(sq_client *client, const char *who);
const char *sq_client_name(const sq_client *client);

/* Sends one request (a line). SQ_IO: the worker is gone. Takes no reference of `request`. */
sq_status sq_client_send(sq_client *client, const json_t *request, sq_error *err);

/* The next message; json_decref it. SQ_TIMEOUT: silent for `seconds`; SQ_IO: the worker ended (err
 * says how: signal or exit code, and its last words on stderr); SQ_INTERNAL: what it wrote is no
 * message; SQ_INTERRUPTED: a second signal asked to stop at once (bench/signals.h). */
sq_status sq_client_receive(sq_client *client, double seconds, json_t **out, sq_error *err);

/* Ends the worker: closes its stdin and waits a moment, then kills. Accepts NULL. */
void sq_client_stop(sq_client *client);
/* Kills its process group at once. Accepts NULL. */
void sq_client_kill(sq_client *client);

#ifdef __cplusplus
}
#endif
#endif
