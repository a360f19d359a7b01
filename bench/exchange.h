/* exchange: one request to a child process and its answer (bench/wire.h), and what a failed one means
 * for the row of a cell. Shared by workers and peers.
 */
#ifndef SQ_BENCH_EXCHANGE_H
#define SQ_BENCH_EXCHANGE_H

#include "bench/client.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_STAGE_TEXT = 32 };

/* How long an answer may take. */
typedef struct {
    double silence; /* seconds without a sign of life */
    double total;   /* seconds in all; 0: as long as there are signs of life */
} sq_patience;

/* Asks and waits for a message `kind`; stages on the way are signs of life. `stage` (may be NULL)
 * receives the last one. json_decref(*out). Errors are those of sq_client_receive, and
 * SQ_BAD_ARGUMENT: the child refuses and is well; SQ_INTERNAL: it answered something else. */
sq_status sq_exchange(sq_client *client, const json_t *request, const char *kind,
                      sq_patience patience, char stage[SQ_STAGE_TEXT], json_t **out,
                      sq_error *err);

/* Tells a worker the ceilings, so that it can give floors. */
sq_status sq_exchange_ceilings(sq_client *client, const sq_ceiling *ceilings, int n,
                               sq_patience patience, sq_error *err);

/* Fields of a message; a text that is absent or empty is the fallback, a number NAN. 64-bit integers
 * may be texts. */
const char *sq_message_text(const json_t *message, const char *key, const char *fallback);
double sq_message_number(const json_t *message, const char *key);

/* Ends a row with a status and its reason, which is cut where it is too long. */
void sq_conclude(sq_record *record, sq_run_status status, const char *reason);

/* Ends the row of a failed exchange. True: the child is of no more use; false: it only refused. */
bool sq_conclude_failed(sq_record *record, sq_status status, const char *stage,
                        const sq_error *why);

/* What an answer to "check" says: a cell that is unsupported, or that cannot fit (unless asked to
 * try), ends its row. */
void sq_conclude_check(sq_record *record, const json_t *answer, bool try_oom);

#ifdef __cplusplus
}
#endif
#endif
