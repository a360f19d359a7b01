/* cmd_verify: what the files of the verb share. */
#ifndef SQ_BENCH_CMD_VERIFY_H
#define SQ_BENCH_CMD_VERIFY_H

#include <jansson.h>

#include "bench/command.h"

typedef struct {
    sq_target target;
    sq_client *client; /* NULL: to be started */
    const char *dtype;
    sq_table *table; /* a row a case; of --fuzz a row for all cells of a kind */
    int ok, mismatches, unsupported, refused;
    char first_mismatch[1000], first_refused[1000];
    char why[480]; /* of the last case without an answer */
} sq_verification_run;

/* Counts an answer, and adds its row where there is a table. */
void sq_verification_add(sq_verification_run *v, const json_t *answer);
/* Takes the request. *answer is NULL where there is none, which counts as a case called `name`:
 * refused, or a mismatch where its worker did not survive; the next request starts a new one then. */
sq_status sq_verification_ask(sq_verification_run *v, const char *name, json_t *request,
                              const char *kind, json_t **answer, sq_error *err);

/* --- cmd_verify_cells.c: --cell and --fuzz --- */

bool sq_verify_is_of_cells(const sq_given *given);
sq_status sq_verify_cells(sq_verification_run *v, const sq_given *given, sq_error *err);

#endif
