#include "reports/verdict.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"

static const char *const limit_names[SQ_LIMITS] = {"DRAM", "L2", "L1 and shared memory",
                                                   "tensor pipes", "instruction issue"};
/* The same within a sentence. */
static const char *const limit_words[SQ_LIMITS] = {"DRAM", "L2", "L1 and shared memory",
                                                   "the tensor pipes", "instruction issue"};

const char *sq_limit_name(sq_limit limit)
{
    return limit_names[limit];
}

const char *sq_verdict_kind_name(sq_verdict_kind kind)
{
    static const char *const names[] = {"undecided", "bound", "near", "latency"};
    return names[kind];
}

static const struct {
    const char *name, *meaning;
} stalls[] = {
    {"barrier", "waits for the other warps of its block at a barrier"},
    {"branch_resolving", "waits for the target of a branch"},
    {"dispatch_stall", "the dispatcher holds the warp back"},
    {"drain", "its last stores are draining before it ends"},
    {"gmma", "waits for warpgroup tensor products (wgmma)"},
    {"imc_miss", "waits for a constant that missed its cache"},
    {"lg_throttle", "the queue for global and local accesses is full: too many of them"},
    {"long_scoreboard", "waits for data from device memory or L2 (global, local, texture)"},
    {"math_pipe_throttle", "the arithmetic pipe it needs is busy"},
    {"membar", "waits at a memory fence"},
    {"mio_throttle", "the queue for shared memory and special functions is full"},
    {"misc", "reasons without a name"},
    {"no_instruction", "waits for its next instruction to be fetched"},
    {"not_selected", "ready, but another warp was issued: there are warps enough"},
    {"selected", "issuing: no stall"},
    {"short_scoreboard", "waits for shared memory or a special function"},
    {"sleeping", "sleeps by its own instruction"},
    {"tex_throttle", "the queue for texture accesses is full"},
    {"wait", "waits a fixed number of cycles that its last instruction takes"},
};

const char *sq_stall_meaning(const char *name)
{
    for (size_t i = 0; i < sizeof stalls / sizeof stalls[0]; i++)
        if (!strcmp(stalls[i].name, name))
            return stalls[i].meaning;
    return NULL;
}

/* --- words --- */

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
say(sq_verdict *verdict, const char *format, ...)
{
    size_t used = strlen(verdict->words);
    va_list args;
    va_start(args, format);
    vsnprintf(verdict->words + used, sizeof verdict->words - used, format, args);
    va_end(args);
}

static int busiest(const sq_evidence *e, int without)
{
    int best = -1;
    for (int i = 0; i < SQ_LIMITS; i++)
        if (i != without && !isnan(e->use_pct[i]) && (best < 0 || e->use_pct[i] > e->use_pct[best]))
            best = i;
    return best;
}

static bool is_whole(const sq_evidence *e)
{
    for (int i = 0; i < SQ_LIMITS; i++)
        if (isnan(e->use_pct[i]))
            return false;
    return true;
}

/* "; next DRAM, 41.0 %" */
static void say_next(sq_verdict *verdict, const sq_evidence *e)
{
    int next = busiest(e, verdict->limit);
    if (next >= 0)
        say(verdict, "; next is %s at %.1f %%", limit_words[next], e->use_pct[next]);
}

static void say_warps(sq_verdict *verdict, const sq_evidence *e)
{
    if (isnan(e->occupancy_pct))
        say(verdict, " Occupancy is absent.");
    else
        say(verdict, " Occupancy: %.1f %% of the warps that an SM can hold.", e->occupancy_pct);
    const char *meaning = e->stall ? sq_stall_meaning(e->stall) : NULL;
    if (!e->stall)
        say(verdict, " The stall reasons are absent.");
    else
        say(verdict, " Top stall: %s, %.1f %% of warp time%s%s%s.", e->stall, e->stall_pct,
            meaning ? " (" : "", meaning ? meaning : "", meaning ? ")" : "");
}

static const char *reason_of(const sq_evidence *e, int i)
{
    return e->absent[i] ? e->absent[i] : "no reason known";
}

/* Whether unit `i` is absent for the reason that `first` is absent for. */
static bool is_absent_like(const sq_evidence *e, int first, int i)
{
    return isnan(e->use_pct[first]) && isnan(e->use_pct[i]) &&
           !strcmp(reason_of(e, first), reason_of(e, i));
}

/* Every reason once, with the units that it holds for. */
static void say_absent(sq_verdict *verdict, const sq_evidence *e)
{
    for (int i = 0; i < SQ_LIMITS; i++) {
        bool is_said = !isnan(e->use_pct[i]);
        for (int k = 0; k < i && !is_said; k++)
            is_said = is_absent_like(e, i, k);
        if (is_said)
            continue;
        say(verdict, " Absent: %s", limit_words[i]);
        for (int k = i + 1; k < SQ_LIMITS; k++)
            if (is_absent_like(e, i, k))
                say(verdict, ", %s", limit_words[k]);
        say(verdict, " (%.120s).", reason_of(e, i));
    }
}

/* Where less than half of the window is kernels, the rest is the launch itself. */
static void say_launch(sq_verdict *verdict, const sq_evidence *e)
{
    char event[32], traced[32];
    if (!(e->traced_ns < 0.5 * e->event_ns))
        return;
    sq_format_ns(e->event_ns, event, sizeof event);
    sq_format_ns(e->traced_ns, traced, sizeof traced);
    say(verdict, " Launch-bound as well: of %s between the events its kernels ran %s.", event,
        traced);
}

static void decide(sq_verdict *verdict, const sq_evidence *e)
{
    double most = verdict->limit < 0 ? NAN : e->use_pct[verdict->limit];
    verdict->kind = most >= SQ_VERDICT_BOUND_PCT  ? SQ_VERDICT_BOUND
                    : !is_whole(e)                ? SQ_VERDICT_UNDECIDED
                    : most >= SQ_VERDICT_BUSY_PCT ? SQ_VERDICT_NEAR
                                                  : SQ_VERDICT_LATENCY;
}

sq_verdict sq_verdict_of(const sq_evidence *e)
{
    sq_verdict verdict = {.limit = busiest(e, -1)};
    decide(&verdict, e);
    const char *name = verdict.limit < 0 ? "" : limit_words[verdict.limit];
    double most = verdict.limit < 0 ? NAN : e->use_pct[verdict.limit];
    if (verdict.kind == SQ_VERDICT_BOUND)
        say(&verdict, "Bound by %s: %.1f %% of peak", name, most);
    else if (verdict.kind == SQ_VERDICT_NEAR)
        say(&verdict, "No unit is saturated; nearest is %s at %.1f %% of peak", name, most);
    else if (verdict.kind == SQ_VERDICT_LATENCY)
        say(&verdict,
            "Bound by latency: no unit reaches %d %% of its peak. Busiest is %s at %.1f %%",
            SQ_VERDICT_BUSY_PCT, name, most);
    else if (verdict.limit < 0)
        say(&verdict, "Undecided: no unit was counted");
    else
        say(&verdict, "Undecided: of what was counted, %s is busiest at %.1f %% of peak", name,
            most);
    say_next(&verdict, e);
    say(&verdict, ".");
    if (verdict.kind == SQ_VERDICT_NEAR || verdict.kind == SQ_VERDICT_LATENCY)
        say_warps(&verdict, e);
    say_absent(&verdict, e);
    say_launch(&verdict, e);
    return verdict;
}
