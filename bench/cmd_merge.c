/* seqmark merge: other stores into one. */
#include <stdio.h>

#include "bench/command.h"
#include "db/merge.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    {"db", 0, "FILE",
     "the store that takes the rows (default seqmark.db); made where there is none"},
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

static void add_row(sq_table *table, const char *file, const sq_db_merged *m)
{
    const int counts[] = {m->campaigns, m->runs,    m->known_runs, m->renumbered,
                          m->verdicts,  m->answers, m->baselines};
    sq_table_text(table, file);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        sq_table_number(table, counts[i], 9);
}

static void say(const char *file, const sq_db_merged *m)
{
    if (m->renumbered)
        fprintf(stderr,
                "%s: %d replicate%s measured in both stores; what came is a further attempt, and "
                "counts\n",
                file, m->renumbered, m->renumbered == 1 ? " was" : "s were");
    if (m->other_baselines)
        fprintf(stderr, "%s: %d baseline%s another campaign here, and stay%s so\n", file,
                m->other_baselines, m->other_baselines == 1 ? " means" : "s mean",
                m->other_baselines == 1 ? "s" : "");
    if (m->baselines)
        fprintf(stderr, "%s: the programs kept for its baselines stay beside it\n", file);
}

static sq_status merge_all(const sq_given *given, sq_db *db, sq_table *table, sq_error *err)
{
    for (int i = 0; i < given->n_arguments; i++) {
        sq_db_merged merged;
        SQ_TRY(sq_db_merge(db, given->argument[i], &merged, err));
        add_row(table, given->argument[i], &merged);
        say(given->argument[i], &merged);
    }
    return SQ_OK;
}

static sq_status execute(const sq_given *given, sq_error *err)
{
    static const char *const columns[] = {"file",       "campaigns",  "runs",
                                          "known_runs", "renumbered", "verdicts",
                                          "answers",    "baselines",  NULL};
    sq_format format;
    sq_db *db = NULL;
    if (given->n_arguments == 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "merge takes the stores whose rows are to come here");
    SQ_TRY(sq_given_format(given, &format, err));
    SQ_TRY(sq_db_open(sq_given_db(given), SQ_DB_WRITE, &db, err));
    sq_table *table = sq_table_new(columns);
    sq_status status = table ? merge_all(given, db, table, err)
                             : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    sq_db_close(db);
    if (status == SQ_OK)
        return sq_table_print(table, format, err);
    sq_table_free(table);
    return status;
}

void sq_cmd_merge(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "merge FILE.. [options]",
        .text = "Adds what the stores FILE have and this one has not. Rows are known by uuids and "
                "content\nhashes, so that a copy doubles nothing; the FILEs stay as they are. "
                "Prints what came.",
        .options = options};
    sq_verb_run(&verb, argc, argv, execute, outcome);
}
