/* The one GPU test runner: every CUDA provider of every operator against the CPU reference.
 *
 *   test_gpu_ops [OP [PROVIDER [SHAPE [DTYPE]]]] [--large]
 *
 * --large: shapes beyond 2^31 elements instead, where at least 40 GB are free. Exits 77 with the reason
 * where there is no device, 1 where a case failed.
 */
#include <stdio.h>
#include <string.h>

#include "tests/support/op_cases.h"

#define MAX_WORK 1e8       /* of one proof: the whole of nearly all test shapes */
#define LARGE_MAX_WORK 2e6 /* of one slice of a large call */
enum { LARGE_SEEDS = 12, EXIT_SKIP = 77 };
static const size_t large_bytes = (size_t)40 << 30;

static void run_large(const sq_rig *rig, const sq_case_filter *filter, sq_case_counts *counts)
{
    sq_error err = {.status = SQ_OK};
    size_t available = 0, total = 0;
    if (rig->backend->memory(rig->device, &available, &total, &err) != SQ_OK ||
        available < large_bytes) {
        printf("skip: %.1f GB are free, the large shapes need %.0f\n", 1e-9 * (double)available,
               1e-9 * (double)large_bytes);
        return;
    }
    sq_op_cases_run_large(rig, filter, LARGE_MAX_WORK, LARGE_SEEDS, counts);
}

int main(int argc, char **argv)
{
    sq_case_filter filter;
    sq_case_counts counts = {0};
    sq_error err = {.status = SQ_OK};
    sq_rig rig = {.backend = &sq_backend_cuda, .providers = sq_providers_cuda};
    const char *option = sq_case_filter_parse(argc, argv, &filter);
    bool is_large = option && strcmp(option, "--large") == 0;
    if (option && !is_large) {
        fprintf(stderr, "unknown option %s; known: --large\n", option);
        return 1;
    }
    if (rig.backend->count(&err) == 0 || rig.backend->open(0, &rig.device, &err) != SQ_OK) {
        printf("skipped: %s\n", err.message);
        return EXIT_SKIP;
    }
    if (is_large)
        run_large(&rig, &filter, &counts);
    else
        sq_op_cases_run(&rig, &filter, MAX_WORK, &counts);
    rig.backend->close(rig.device);
    printf("%d passed, %d failed (%d unsupported)\n", counts.passed, counts.failed,
           counts.unsupported);
    return counts.failed > 0 || (counts.passed == 0 && !is_large);
}
