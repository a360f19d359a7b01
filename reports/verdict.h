/* verdict: what holds a cell back, in words, with the numbers behind it. A pure function of what
 * was counted: nothing is read, nothing is guessed. */
#ifndef SQ_REPORTS_VERDICT_H
#define SQ_REPORTS_VERDICT_H

#ifdef __cplusplus
extern "C" {
#endif

/* The units that can be the limit, by how busy they were. */
typedef enum {
    SQ_LIMIT_DRAM,
    SQ_LIMIT_L2,
    SQ_LIMIT_L1, /* the data stage that L1 and shared memory have in common */
    SQ_LIMIT_TENSOR,
    SQ_LIMIT_ISSUE, /* the schedulers' issue slots */
    SQ_LIMITS
} sq_limit;

const char *sq_limit_name(sq_limit limit); /* "DRAM", "L1 and shared memory" ... */

/* At this percent of its peak a unit is what binds; below the second it does not matter. */
enum { SQ_VERDICT_BOUND_PCT = 80, SQ_VERDICT_BUSY_PCT = 60 };

typedef struct {
    double use_pct[SQ_LIMITS];     /* NAN: absent */
    const char *absent[SQ_LIMITS]; /* why, where absent */
    double occupancy_pct;          /* NAN: absent */
    const char *stall;             /* top stall reason; NULL: absent */
    double stall_pct;              /* its share of warp time */
    double event_ns, traced_ns;    /* time of one launch by events, and by its kernels; NAN */
} sq_evidence;

typedef enum {
    SQ_VERDICT_UNDECIDED, /* something is absent that could be the limit */
    SQ_VERDICT_BOUND,     /* `limit` is at SQ_VERDICT_BOUND_PCT or more */
    SQ_VERDICT_NEAR,      /* `limit` is busy, and not saturated */
    SQ_VERDICT_LATENCY    /* every unit is below SQ_VERDICT_BUSY_PCT */
} sq_verdict_kind;

typedef struct {
    sq_verdict_kind kind;
    int limit; /* a sq_limit: the busiest unit known; -1: none is known */
    char words[1200];
} sq_verdict;

const char *sq_verdict_kind_name(sq_verdict_kind kind); /* "bound", "near", "latency" ... */

/* The highest of the five: at least 80 is bound by it. None at 60 is latency, told with occupancy
 * and the top stall; that takes all five, so where one is absent the verdict is open. */
sq_verdict sq_verdict_of(const sq_evidence *evidence);

/* What a stall reason means, in one line; NULL for an unknown one. `name` as in CUPTI's
 * smsp__warps_issue_stalled_<name>. */
const char *sq_stall_meaning(const char *name);

#ifdef __cplusplus
}
#endif
#endif
