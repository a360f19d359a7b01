/* fake_cupti: a table of CUPTI functions that count what they are told and fail where they are told. */
#ifndef SQ_TESTS_FAKE_CUPTI_H
#define SQ_TESTS_FAKE_CUPTI_H

#include "profile/profiler_parts.h"

#ifdef SQ_HAS_CUPTI

enum { FAKE_SAMPLES = 40 };

typedef struct {
    const char *failing; /* the function that gives `result` */
    CUptiResult result;
    const char *chip;
    CUpti_Profiler_Support_Level supported, vgpu;
    const char *unknown;  /* a metric that the chip does not know */
    const char *missing;  /* a metric that is configured and comes back as NAN */
    double drift;         /* factor on the instructions of the second image */
    double scatter;       /* relative growth of the instructions from repeat to repeat */
    size_t passes;        /* of every image */
    size_t never_ends;    /* passes do not end */
    size_t lost_ranges;
    int kernels;          /* that a launch runs */
    bool has_no_stamps;
    bool has_time_trigger;
    bool overflows;
    size_t gap_at; /* samples before this one come gap_ns earlier; 0: none */
    uint64_t gap_ns;
    /* what was seen */
    int launches, counted, resets, ranges_open, hosts_open, ranges_enabled, kinds_enabled;
    bool is_sampling;
} fake_cupti;

extern fake_cupti fake;

/* A fake that works: GH100, 2 passes, 2 kernels a launch. */
void fake_reset(void);
const sq_cupti *fake_table(void);
/* Launches of the fake; `arg` is not looked at. */
sq_launches fake_launches(void);

#endif
#endif
