/* Chains of launches: every link follows the whole chain before it, as launches and as a graph, though
 * it may begin earlier; on sm_90 all links but a chain's first may. Exits 77 where there is no device.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/gpu/chained_kernels.h"
#include "tests/gpu/outcome.h"

enum { LINKS = CHAINED_CALLS * CHAINED_LINKS };

static bool numbers_are_good(const char *what, const chained_output *out)
{
    int wrong = 0;
    for (int i = 0; i < CHAINED_BLOCKS; i++) {
        const int want = (i + LINKS) % CHAINED_BLOCKS + LINKS;
        if (out->numbers[i] != want && wrong++ == 0)
            printf("%s: block %d has %d, not %d\n", what, i, out->numbers[i], want);
    }
    printf("%s %s: %d wrong\n", wrong ? "FAILED" : "ok", what, wrong);
    return wrong == 0;
}

/* Before sm_90 there are no such launches; for devices after it no code with the wait was built. */
static bool edges_are_good(const chained_output *out)
{
    const bool is_hopper = out->major == 9 && out->minor == 0;
    const int want = is_hopper ? CHAINED_CALLS * (CHAINED_LINKS - 1) : 0;
    const bool is_good = out->early == want;
    printf("%s edges that let the next link begin: %d, of %d\n", is_good ? "ok" : "FAILED",
           out->early, want);
    return is_good;
}

int main(void)
{
    bool good = true;
    for (int is_graph = 0; is_graph < 2; is_graph++) {
        chained_output out;
        sq_error err = {.message = ""};
        const sq_status status = chained_run(is_graph, &out, &err);
        if (status != SQ_OK)
            return sq_outcome_of(status, &err);
        good &= numbers_are_good(is_graph ? "graph" : "launches", &out);
        good &= !is_graph || edges_are_good(&out);
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
