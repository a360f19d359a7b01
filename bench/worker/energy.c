/* energy: see energy.h. */
#include "bench/worker/energy.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/worker/load.h"
#include "bench/worker/meter.h"

const sq_energy_plan sq_energy_plan_default = {
    .idle_seconds = 1, .load_seconds = 2, .tick_seconds = 1};

/* Launches between two waits: short against a tick, long against the wait itself. */
#define CHUNK_SECONDS 5e-3
#define IDLE_STEP_SECONDS 5e-3
#define ALIVE_SECONDS 1.0

enum { MAX_TICKS = 8192, MAX_MARKS = 16384, LEAST_TICKS = 3 };

/* How many launches were done when. */
typedef struct {
    double seconds, launches;
} mark;

typedef struct {
    const sq_energy_plan *plan;
    sq_nvml *nvml;
    const sq_job_load *load; /* NULL: idle */
    sq_alive_fn alive;
    void *alive_arg;
    double last_alive;
    mark *marks;
    int n_marks;
    sq_tick *ticks;
    int n_ticks;
    char validity[96];
} window;

/* --- the loop --- */

static sq_status step(window *w, sq_error *err)
{
    double launches = w->marks[w->n_marks - 1].launches;
    if (w->load) {
        SQ_TRY(sq_load_run(w->load, err));
        launches += w->load->chunk;
    } else {
        poll(NULL, 0, (int)(1e3 * IDLE_STEP_SECONDS));
    }
    double now = sq_job_clock();
    w->marks[w->n_marks++] = (mark){.seconds = now, .launches = launches};
    if (now - w->last_alive >= ALIVE_SECONDS) {
        w->last_alive = now;
        w->alive(w->alive_arg);
    }
    return SQ_OK;
}

/* Until the ticks span `seconds`, or the counter stands still. */
static sq_status run_to_ticks(window *w, sq_meter *meter, double seconds, sq_error *err)
{
    sq_tick first = {0, 0}, last = {0, 0};
    double moved = w->last_alive = sq_job_clock();
    int seen = 0;
    w->marks[w->n_marks++] = (mark){.seconds = moved, .launches = 0};
    while (w->n_marks < MAX_MARKS) {
        SQ_TRY(step(w, err));
        double now = w->marks[w->n_marks - 1].seconds;
        int n = sq_meter_count(meter, &last);
        if (n > 0 && seen == 0)
            sq_meter_read(meter, &first, 1);
        if (n > seen)
            moved = now;
        seen = n;
        if (n >= LEAST_TICKS && last.seconds - first.seconds >= seconds)
            return SQ_OK;
        if (now - moved > w->plan->tick_seconds) {
            snprintf(w->validity, sizeof w->validity,
                     "refused: the energy counter stood still for %.2g s", now - moved);
            return SQ_OK;
        }
    }
    snprintf(w->validity, sizeof w->validity, "refused: no window of %g s could be had", seconds);
    return SQ_OK;
}

/* Ticks after the last launch would count time without load. */
static void take_ticks(window *w, sq_meter *meter)
{
    w->n_ticks = sq_meter_read(meter, w->ticks, MAX_TICKS);
    while (w->n_ticks > 0 && w->ticks[w->n_ticks - 1].seconds > w->marks[w->n_marks - 1].seconds)
        w->n_ticks--;
}

static sq_status watch(window *w, double seconds, sq_error *err)
{
    sq_nvml_throttle before, after;
    char why[80];
    sq_meter *meter;
    sq_nvml_read_throttle(w->nvml, &before);
    SQ_TRY(sq_meter_start(w->nvml, &meter, err));
    sq_status status = run_to_ticks(w, meter, seconds, err);
    if (status == SQ_OK)
        take_ticks(w, meter);
    if (w->n_ticks < LEAST_TICKS && strcmp(w->validity, "ok") == 0)
        snprintf(w->validity, sizeof w->validity, "refused: %d ticks make no window", w->n_ticks);
    sq_meter_stop(meter);
    sq_nvml_read_throttle(w->nvml, &after);
    if (status == SQ_OK && sq_nvml_disturbed(&before, &after, why, sizeof why))
        snprintf(w->validity, sizeof w->validity, "inconsistent: %s", why);
    return status;
}

/* Fills marks and ticks. Where NVML or its counter is absent only the validity. */
static sq_status open_and_watch(window *w, double seconds, sq_error *err)
{
    strcpy(w->validity, "ok");
    if (!w->nvml || isnan(sq_nvml_energy_j(w->nvml))) {
        snprintf(w->validity, sizeof w->validity, "unsupported: %s",
                 w->nvml ? "the driver keeps no energy counter" : "there is no NVML to ask");
        return SQ_OK;
    }
    w->marks = calloc(MAX_MARKS, sizeof *w->marks);
    w->ticks = calloc(MAX_TICKS, sizeof *w->ticks);
    if (!w->marks || !w->ticks)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for an energy window");
    return watch(w, seconds, err);
}

static void free_window(window *w)
{
    free(w->marks);
    free(w->ticks);
}

/* --- figures --- */

/* Launches done at a moment between two marks. */
static double launches_at(const window *w, double seconds)
{
    mark before = w->marks[0];
    for (int i = 1; i < w->n_marks; i++) {
        mark after = w->marks[i];
        if (after.seconds >= seconds && after.seconds > before.seconds) {
            double share = (seconds - before.seconds) / (after.seconds - before.seconds);
            return before.launches + share * (after.launches - before.launches);
        }
        before = after;
    }
    return before.launches;
}

static double watts_between(const sq_tick *a, const sq_tick *b)
{
    return (b->joules - a->joules) / (b->seconds - a->seconds);
}

/* half: one tick of energy, or what the power moved between the two halves of the window. */
static sq_power power_of(const window *w)
{
    sq_power power = {.watts = NAN, .half = NAN, .ticks = w->n_ticks};
    snprintf(power.validity, sizeof power.validity, "%s", w->validity);
    if (strcmp(w->validity, "ok") != 0)
        return power;
    const sq_tick *first = w->ticks, *last = first + w->n_ticks - 1;
    const sq_tick *middle = first + w->n_ticks / 2;
    power.watts = watts_between(first, last);
    double drift = fabs(watts_between(middle, last) - watts_between(first, middle)) / 2;
    power.half = fmax(power.watts / (w->n_ticks - 1), drift);
    return power;
}

sq_status sq_energy_idle(sq_nvml *nvml, const sq_energy_plan *plan, sq_alive_fn alive,
                         void *alive_arg, sq_power *out, sq_error *err)
{
    window w = {.plan = plan, .nvml = nvml, .alive = alive, .alive_arg = alive_arg};
    sq_status status = open_and_watch(&w, plan->idle_seconds, err);
    if (status == SQ_OK)
        *out = power_of(&w);
    free_window(&w);
    return status;
}

typedef struct {
    double joules, half; /* of one launch, without the idle power */
    int launches;
    char validity[96];
} launch_energy;

static launch_energy energy_of(const window *w, const sq_power *load, const sq_power *idle)
{
    launch_energy e = {.joules = NAN, .half = NAN};
    const char *validity = strcmp(load->validity, "ok") != 0 ? load->validity : idle->validity;
    snprintf(e.validity, sizeof e.validity, "%s", validity);
    if (strcmp(validity, "ok") != 0)
        return e;
    double from = w->ticks[0].seconds, to = w->ticks[w->n_ticks - 1].seconds;
    double launches = launches_at(w, to) - launches_at(w, from);
    double seconds = (to - from) / launches; /* of one launch */
    e.joules = (load->watts - idle->watts) * seconds;
    e.half = (load->half + idle->half) * seconds;
    e.launches = (int)launches;
    if (!(launches >= 1))
        strcpy(e.validity, "refused: no whole launch fits the window");
    else if (!(e.joules > e.half))
        strcpy(e.validity, "inconsistent: no more than idle power, within the error of both");
    return e;
}

static sq_status add_power(sq_record *record, const char *metric, const sq_power *p)
{
    return sq_record_add_measured(record, metric, p->watts, p->ticks, 2 * p->half / p->watts,
                                  p->validity);
}

static sq_status add_figures(const window *w, double tokens, const sq_power *idle,
                             sq_record *record)
{
    sq_power load = power_of(w);
    launch_energy e = energy_of(w, &load, idle);
    double spread = 2 * e.half / e.joules;
    SQ_TRY(sq_record_add_number(record, "energy_is_graph", w->load->graph != NULL));
    SQ_TRY(add_power(record, "idle_power_w", idle));
    SQ_TRY(add_power(record, "load_power_w", &load));
    SQ_TRY(sq_record_add_measured(record, "energy_j_per_launch", e.joules, e.launches, spread,
                                  e.validity));
    return sq_record_add_measured(record, "energy_j_per_token", e.joules / tokens, e.launches,
                                  spread, e.validity);
}

sq_status sq_energy_measure(sq_job *job, sq_nvml *nvml, const sq_energy_plan *plan,
                            double launch_seconds, const sq_power *idle, sq_alive_fn alive,
                            void *alive_arg, sq_record *record, sq_error *err)
{
    sq_job_load load;
    SQ_TRY(sq_load_open(job, launch_seconds, CHUNK_SECONDS, &load, err));
    window w = {.plan = plan, .nvml = nvml, .load = &load, .alive = alive, .alive_arg = alive_arg};
    sq_status status = open_and_watch(&w, plan->load_seconds, err);
    if (status == SQ_OK)
        status = add_figures(&w, job->tokens, idle, record);
    free_window(&w);
    sq_load_close(&load);
    return status;
}
