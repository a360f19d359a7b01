/* cache_proof: see cache_proof.h. */
#include "profile/cache_proof.h"

#include <math.h>
#include <stdio.h>

#define CACHED_SHARE 0.1      /* of what the L2 could hold */
#define COUNTER_ACCURACY 0.02 /* of the inputs */
#define LEAST_BYTES 1048576.0

static sq_cache_verdict absent(const char *why)
{
    sq_cache_verdict verdict = {.ratio = NAN};
    snprintf(verdict.validity, sizeof verdict.validity, "unsupported: %s", why);
    return verdict;
}

sq_cache_verdict sq_cache_judge(sq_cache cache, double compulsory, double counted, double l2_bytes)
{
    if (!isfinite(compulsory) || !isfinite(counted))
        return absent("no bytes were counted to judge the cache by");
    if (compulsory < LEAST_BYTES)
        return absent("below 1 MiB of inputs the counters do not tell where they came from");
    sq_cache_verdict verdict = {.ratio = counted / compulsory, .validity = "ok"};
    if (cache == SQ_CACHE_HOT)
        return verdict;
    double could_be = l2_bytes > 0 ? fmin(compulsory, l2_bytes) : compulsory;
    double missing = compulsory - counted;
    verdict.is_judged = true;
    if (missing <= CACHED_SHARE * could_be || missing <= COUNTER_ACCURACY * compulsory)
        return verdict;
    verdict.ratio = NAN;
    snprintf(verdict.validity, sizeof verdict.validity,
             "inconsistent: not %s: %.1f %% of the inputs were in the L2", sq_cache_name(cache),
             100 * missing / compulsory);
    return verdict;
}
