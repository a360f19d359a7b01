/* output: see output.h. */
#include "bench/output.h"

#include <math.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/host.h"
#include "core/text.h"

enum { MAX_COLUMNS = 79 }; /* of the line that is rewritten, in a terminal that is wide enough */

void sq_progress_begin(sq_progress *progress, const sq_plan *plan, FILE *stream, bool is_terminal)
{
    *progress = (sq_progress){.stream = stream, .is_terminal = is_terminal};
    for (int i = 0; i < plan->count; i++) {
        if (plan->item[i].is_done)
            continue;
        progress->total++;
        if (plan->item[i].status == SQ_RUN_OK)
            progress->predicted_total += plan->item[i].seconds;
    }
}

/* The prediction of what is left, scaled by how the prediction of what is done came out. */
static void format_eta(const sq_progress *p, char *out, size_t size)
{
    double elapsed = sq_monotonic_seconds() - p->started;
    double scale = p->predicted_done > 0 ? elapsed / p->predicted_done : 1;
    double left = fmax(0, (p->predicted_total - p->predicted_done) * scale);
    int seconds = (int)fmin(ceil(left), 359999);
    if (seconds >= 3600)
        snprintf(out, size, "%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
    else
        snprintf(out, size, "%d:%02d", seconds / 60, seconds % 60);
}

/* One column less than the terminal has: a line that wraps could not be rewritten. */
static int columns(const sq_progress *p)
{
    struct winsize size;
    int fd = fileno(p->stream);
    if (fd < 0 || ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col < 2)
        return MAX_COLUMNS;
    return size.ws_col - 1 < MAX_COLUMNS ? size.ws_col - 1 : MAX_COLUMNS;
}

static void rewrite(sq_progress *p, char *line)
{
    int n = (int)strlen(line), room = columns(p);
    if (n > room)
        line[n = room] = 0;
    p->shown = p->shown < room ? p->shown : room; /* it may have been made narrower */
    fprintf(p->stream, "\r%s%*s", line, p->shown > n ? p->shown - n : 0, "");
    fflush(p->stream);
    p->shown = n;
}

static void wipe(sq_progress *p)
{
    if (p->is_terminal && p->shown)
        fprintf(p->stream, "\r%*s\r", p->shown, "");
    p->shown = 0;
}

static void on_started(void *self, const sq_plan_item *item)
{
    sq_progress *p = self;
    char line[128], eta[16];
    if (!p->done && !p->started)
        p->started = sq_monotonic_seconds(); /* not before: measuring the ceilings is no part of the rate */
    if (!p->is_terminal)
        return;
    format_eta(p, eta, sizeof eta);
    snprintf(line, sizeof line, "[%d/%d] %d failed, ETA %s  %.60s", p->done + 1, p->total,
             p->failed, eta, item->key);
    rewrite(p, line);
}

static void print_row(sq_progress *p, const sq_plan_item *item, const sq_record *record)
{
    char time[32] = "", eta[16];
    if (record->n_samples)
        sq_format_ns(record->stats.median, time, sizeof time);
    format_eta(p, eta, sizeof eta);
    fprintf(p->stream, "[%d/%d, ETA %s] %s%s%s %s%s%s\n", p->done, p->total, eta,
            sq_run_status_name(record->status), *time ? " " : "", time, item->key,
            record->reason[0] ? ": " : "", record->reason);
    fflush(p->stream);
}

static void on_finished(void *self, const sq_plan_item *item, const sq_record *record)
{
    sq_progress *p = self;
    p->done++;
    if (item->status == SQ_RUN_OK)
        p->predicted_done += item->seconds;
    bool is_failure = sq_status_is_failure(record->status);
    p->failed += is_failure;
    if (is_failure)
        wipe(p);
    if (is_failure || !p->is_terminal)
        print_row(p, item, record);
}

static void on_note(void *self, const char *line)
{
    sq_progress *p = self;
    wipe(p);
    fprintf(p->stream, "%s\n", line);
}

sq_observer sq_progress_observer(sq_progress *progress)
{
    return (sq_observer){
        .self = progress, .started = on_started, .finished = on_finished, .note = on_note};
}

void sq_progress_end(sq_progress *progress)
{
    wipe(progress);
}
