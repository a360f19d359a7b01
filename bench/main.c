/* main: walks the table of verbs. `seqmark --worker cpu` is the other half of the CPU backend: a
 * campaign starts this program again as its worker. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/worker/worker.h"
#include "core/stamp.h"
#include "core/text.h"

static const struct {
    const char *name, *help;
    sq_command_fn run;
} commands[] = {
#define SQ_COMMAND(name, help) {#name, help, sq_cmd_##name},
#include "bench/commands.def"
#undef SQ_COMMAND
};

enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(FILE *stream)
{
    fputs("seqmark compares sequence-model architectures: sweeps, proofs, times, counters, reports."
          "\n\nUsage: seqmark COMMAND [options]\n\nCommands:\n",
          stream);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(stream, "  %-14s%s\n", commands[i].name, commands[i].help);
    fputs("\n\"seqmark COMMAND --help\" tells more.\n", stream);
}

static void refuse(const char *name, sq_outcome *outcome)
{
    const char *names[N_COMMANDS + 1] = {NULL};
    sq_error err = {.status = SQ_OK};
    for (int i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    sq_outcome_error(outcome, sq_fail_unknown(&err, "command", name, names), &err);
}

static void dispatch(int argc, char **argv, sq_outcome *outcome)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, argv[1]) == 0) {
            commands[i].run(argc - 1, argv + 1, outcome);
            return;
        }
    }
    refuse(argv[1], outcome);
}

static int serve_cpu(void)
{
    sq_worker_options options = {.backend = &sq_backend_cpu,
                                 .providers = sq_providers_cpu,
                                 .in_fd = STDIN_FILENO,
                                 .out_fd = STDOUT_FILENO};
    return sq_worker_serve(&options);
}

/* What was written may still fail when the buffer goes out: a full disk behind a redirection. */
static void flush_data(sq_outcome *outcome)
{
    if ((fflush(stdout) != 0 || ferror(stdout)) && outcome->code == SQ_EXIT_FINE)
        sq_outcome_set(outcome, SQ_EXIT_ERROR, "cannot write to stdout: %s", strerror(errno));
}

/* One line, whatever the reason quotes: names of files and labels may hold line ends and escape
 * sequences of terminals. */
static void print_outcome(const sq_outcome *outcome)
{
    sq_text line = {.data = NULL};
    sq_text_add_plain(&line, outcome->why);
    fprintf(stderr, "seqmark: exit %d: %s\n", outcome->code, line.data ? line.data : "");
    sq_text_free(&line);
}

int main(int argc, char **argv)
{
    sq_outcome outcome = {.code = SQ_EXIT_FINE};
    if (argc == 3 && strcmp(argv[1], "--worker") == 0 && strcmp(argv[2], "cpu") == 0)
        return serve_cpu();
    if (argc < 2) {
        print_help(stderr);
        sq_outcome_set(&outcome, SQ_EXIT_ERROR, "no command given");
    } else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
    } else if (strcmp(argv[1], "--version") == 0) {
        printf("seqmark %s %s%s\n", sq_build_stamp.version, sq_build_stamp.git_commit,
               sq_build_stamp.is_dirty ? " (changed)" : "");
    } else {
        dispatch(argc, argv, &outcome);
    }
    flush_data(&outcome);
    if (outcome.why[0])
        print_outcome(&outcome);
    return outcome.code;
}
