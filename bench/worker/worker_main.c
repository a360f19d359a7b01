/* seqmark-worker: the executable that links CUDA. seqmark starts it; people may ask it --probe. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/worker/worker.h"
#include "core/stamp.h"
#include "kernels/linear/cublas_probe.h"

static const char usage[] =
    "usage: seqmark-worker [--device N] [--probe] [--version]\n"
    "Measures cells on a CUDA device as seqmark asks over stdin and stdout (JSON lines).\n"
    "  --device N   the device to use (0)\n"
    "  --probe      print what device, environment and providers there are, and end\n"
    "  --version    print which code this is, and end\n"
    "Exit codes: 0 done, 1 usage or pipe, 5 no device, 8 the device failed beyond repair.\n";

static bool parse_device(const char *text, int *out)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    *out = (int)value;
    return end != text && !*end && errno == 0 && value >= 0 && value < 1024;
}

/* The read end of a pipe that holds one hello. */
static int hello_pipe(void)
{
    static const char hello[] = "{\"do\":\"hello\"}\n";
    int ends[2];
    if (pipe(ends) != 0)
        return -1;
    bool is_written = write(ends[1], hello, sizeof hello - 1) == (ssize_t)sizeof hello - 1;
    close(ends[1]);
    return is_written ? ends[0] : -1;
}

int main(int argc, char **argv)
{
    sq_worker_options options = {.backend = &sq_backend_cuda,
                                 .providers = sq_providers_cuda,
                                 .fusions = sq_fusions_cuda,
                                 .vendor_probes = sq_cublas_probes};
    bool is_probe = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return SQ_WORKER_DONE;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("seqmark-worker %s %s%s, device code %s\n", sq_build_stamp.version,
                   sq_build_stamp.git_commit, sq_build_stamp.is_dirty ? " (changed)" : "",
                   sq_build_stamp.device_code);
            return SQ_WORKER_DONE;
        }
        if (strcmp(argv[i], "--probe") == 0) {
            is_probe = true;
        } else if (strcmp(argv[i], "--device") != 0 || i + 1 == argc ||
                   !parse_device(argv[++i], &options.device)) {
            fputs(usage, stderr);
            return SQ_WORKER_FAILED;
        }
    }
    /* Libraries may print to stdout; the parent must not read that. */
    options.in_fd = is_probe ? hello_pipe() : STDIN_FILENO;
    options.out_fd = dup(STDOUT_FILENO);
    if (options.in_fd < 0 || options.out_fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        perror("seqmark-worker");
        return SQ_WORKER_FAILED;
    }
    return sq_worker_serve(&options);
}
