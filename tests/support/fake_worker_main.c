/* seqmark_fake_worker: the worker on tests/support/fake_backend.h. seqmark starts it through
 * $SEQMARK_WORKER; $FAKE_GPU and $FAKE_NVML say what goes wrong. */
#include <unistd.h>

#include "bench/worker/worker.h"
#include "tests/support/fake_backend.h"

int main(void)
{
    sq_worker_options options = {.backend = fake_backend(),
                                 .providers = fake_providers,
                                 .in_fd = STDIN_FILENO,
                                 .out_fd = dup(STDOUT_FILENO)};
    dup2(STDERR_FILENO, STDOUT_FILENO);
    return sq_worker_serve(&options);
}
