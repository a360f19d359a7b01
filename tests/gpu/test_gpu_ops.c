/* The one GPU test runner: what the backend promises; every CUDA provider of every operator, and
 * every block, against the CPU reference; then the properties that hold whatever the numbers are.
 *
 *   test_gpu_ops [OP|FAMILY [PROVIDER [SHAPE [DTYPE [PASS]]]]]
 *                [--cases|--properties|--long|--drift|--large|--beyond|--small|--once|--races|--backend]
 *
 * "all" in place of a name selects all.
 * --cases, --properties: of the operators only what is compared with the reference, or only what holds whatever
 *   the numbers are: an operator of many cases is a matter of minutes, and a pass of these one of its parts.
 * --long: instead sequences of 2^20 steps, and those of --drift.
 * --drift: recurrences over 2^18 steps, and their last steps one by one.
 * --large: shapes beyond 2^31 elements in pass fwd, where at least 40 GB are free: not two of these at a time.
 * --beyond: such shapes in every pass, and one sequence of as many elements.
 * --small: only cases whose reference is cheap, for runs under compute-sanitizer: each is launched
 *   once, and what it computes is not looked at, for that would take most of the time.
 * --once: of those every shape of every provider and pass once, types and layouts in turn.
 * --races: the same without cuda/native. Its threads wait at barriers in shared memory (mbarrier),
 *   which racecheck does not know as such: it calls each tile that a producer hands on a race.
 * --backend: only what the backend promises.
 * Exits 77 with the reason where there is no device, 1 where a case failed.
 */
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "tests/support/backend_cases.h"
#include "tests/support/block_cases.h"
#include "tests/support/op_cases.h"
#include "tests/support/properties.h"

#define MAX_WORK 5e7 /* of one proof: the whole of nearly all test shapes */
#define SMALL_MAX_WORK 2e5
#define LARGE_MAX_WORK 2e7 /* of one slice of a large call */
#define PROPERTY_MAX_WORK 2e7
enum { MILLION_SEEDS = 4, LARGE_SEEDS = 4, EXIT_SKIP = 77 };
static const size_t large_bytes = (size_t)40 << 30;

static const char *const options[] = {"--cases", "--properties", "--long",  "--drift",
                                      "--large", "--beyond",     "--small", "--once",
                                      "--races", "--backend",    NULL};

/* What block cells may name: every mixer has the first two; where one has no cuda/native, or not in
 * that type, another takes its place. In pass step cuda/native does runs of nodes at once. */
static const char *const block_providers[] = {"cuda/portable", "cuda/naive", "cuda/native", NULL};

static void run_long(const sq_rig *rig, const sq_case_filter *filter, sq_case_counts *counts)
{
    sq_op_cases_run_million(rig, filter, LARGE_MAX_WORK, MILLION_SEEDS, counts);
    sq_properties_of_drift(rig, filter, LARGE_MAX_WORK, counts);
}

static void run_large(const sq_rig *rig, const sq_case_filter *filter, bool is_full,
                      sq_case_counts *counts)
{
    sq_error err = {.status = SQ_OK};
    size_t available = 0, total = 0;
    if (rig->backend->memory(rig->device, &available, &total, &err) != SQ_OK ||
        available < large_bytes) {
        printf("skip: %.1f GB are free, the large shapes need %.1f\n", 1e-9 * (double)available,
               1e-9 * (double)large_bytes);
        return;
    }
    sq_op_cases_run_large(rig, filter, LARGE_MAX_WORK, LARGE_SEEDS, is_full, counts);
}

static void run_cases(const sq_rig *rig, const sq_case_filter *filter, sq_case_counts *counts)
{
    sq_op_cases_run(rig, filter, MAX_WORK, counts);
    sq_op_cases_run_long(rig, filter, counts);
}

static void run_all(const sq_rig *rig, const sq_case_filter *filter, sq_case_counts *counts)
{
    if (!filter->op)
        sq_backend_cases_run(rig, counts);
    run_cases(rig, filter, counts);
    for (const char *const *provider = block_providers; *provider; provider++) {
        sq_block_cases_run(rig, filter, *provider, MAX_WORK, counts);
        sq_properties_of_blocks(rig, filter, *provider, counts);
    }
    sq_properties_of_ops(rig, filter, PROPERTY_MAX_WORK, counts);
}

static int run_suite(const sq_rig *rig, const sq_case_filter *filter, const char *option)
{
    sq_case_counts counts = {0};
    const bool is_full = option && strcmp(option, "--beyond") == 0;
    const bool is_large = is_full || (option && strcmp(option, "--large") == 0);
    const bool is_long = option && strcmp(option, "--long") == 0;
    if (is_large)
        run_large(rig, filter, is_full, &counts);
    else if (is_long)
        run_long(rig, filter, &counts);
    else if (option && strcmp(option, "--drift") == 0)
        sq_properties_of_drift(rig, filter, LARGE_MAX_WORK, &counts);
    else if (option && strcmp(option, "--backend") == 0)
        sq_backend_cases_run(rig, &counts);
    else if (option && strcmp(option, "--cases") == 0)
        run_cases(rig, filter, &counts);
    else if (option && strcmp(option, "--properties") == 0)
        sq_properties_of_ops(rig, filter, PROPERTY_MAX_WORK, &counts);
    else if (option)
        sq_op_cases_run_cheap(rig, filter, SMALL_MAX_WORK, &counts);
    else
        run_all(rig, filter, &counts);
    printf("%d passed, %d failed (%d unsupported or not applicable)\n", counts.passed,
           counts.failed, counts.unsupported);
    return counts.failed > 0 || (counts.passed == 0 && !is_large && !is_long);
}

int main(int argc, char **argv)
{
    sq_case_filter filter;
    sq_error err = {.status = SQ_OK};
    sq_rig rig = {
        .backend = &sq_backend_cuda, .providers = sq_providers_cuda, .fusions = sq_fusions_cuda};
    const char *option = sq_case_filter_parse(argc, argv, &filter);
    int known = 0;
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was found stays, also where the time runs out */
    const bool is_races = option && strcmp(option, "--races") == 0;
    filter.is_once = is_races || (option && strcmp(option, "--once") == 0);
    filter.is_unproved = filter.is_once || (option && strcmp(option, "--small") == 0);
    filter.without = is_races ? "cuda/native" : NULL;
    if (option && sq_find_name("option", option, options, &known, &err) != SQ_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (rig.backend->count(&err) == 0 || rig.backend->open(0, &rig.device, &err) != SQ_OK) {
        printf("skipped: %s\n", err.message);
        return EXIT_SKIP;
    }
    int exit_code = run_suite(&rig, &filter, option);
    rig.backend->close(rig.device);
    return exit_code;
}
