/* cmd_verify: what the files of the verb share. */
#ifndef SQ_BENCH_CMD_VERIFY_H
#define SQ_BENCH_CMD_VERIFY_H

#include <jansson.h>

#include "bench/command.h"

typedef struct {
    sq_target target;
    sq_client *client; /* NULL: to be started */
    const char *dtype;
    bool is_of_cells; /* not of golden data */
    sq_table *table;  /* a row a case; of --fuzz a row for all cells of a kind */
    int ok, mismatches, unsupported, broken;
    char first_mismatch[1000], first_broken[480];
} sq_verification_run;

/* Counts an answer, and adds its row where there is a table. */
void sq_verification_add(sq_verification_run *v, const json_t *answer);
/* Takes the request. *answer is NULL where the worker refused or did not survive: that is a broken
 * case called `name`, and the next request starts a new worker. */
sq_status sq_verification_ask(sq_verification_run *v, const char *name, json_t *request,
                              const char *kind, json_t **answer, sq_error *err);

/* --- cmd_verify_cells.c: --cell and --fuzz --- */

bool sq_verify_is_of_cells(const sq_given *given);
sq_status sq_verify_cells(sq_verification_run *v, const sq_given *given, sq_error *err);

#endif
