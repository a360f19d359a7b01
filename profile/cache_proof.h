/* cache_proof: was the cache in the state that a cell names? Judged by the bytes that came from device
 * memory: what is compulsory to read and did not come from there was in the L2. */
#ifndef SQ_PROFILE_CACHE_PROOF_H
#define SQ_PROFILE_CACHE_PROOF_H

#include <stdbool.h>

#include "core/cell.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double ratio;      /* counted over compulsory; NAN where the validity is not ok */
    char validity[96]; /* ok; unsupported: nothing to judge by; inconsistent: the inputs were cached */
    bool is_judged;    /* the state was found right or wrong */
} sq_cache_verdict;

/* compulsory: bytes that each launch must read; counted: bytes of device memory read by one; NAN
 * unknown. l2_bytes: size of the cache, <= 0 unknown.
 * A cold cell (all but hot) is wrong where more than a tenth of what could have been in the L2 (the
 * inputs, or its size where that is less) was not read from device memory, and that is more than 2 %
 * of the inputs, the accuracy of the counter. More bytes than the compulsory ones are no fault: inputs
 * are read again, lines of outputs are fetched before they are written. Inputs below 1 MiB are not
 * judged: code, tables and other traffic weigh as much. Hot cells get a ratio and no judgement. */
sq_cache_verdict sq_cache_judge(sq_cache cache, double compulsory, double counted, double l2_bytes);

#ifdef __cplusplus
}
#endif
#endif
