/* history_find: which nights may be joined and where their level changes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/segments.h"
#include "reports/history.h"

/* How many nights of the cell's own replicate spread stand behind that of one night. */
static const double prior_runs = 8;
/* A median knows the middle of normal values worse than the mean does. */
static const double median_loss = 1.5707963267948966;
static const double off_deviations = 3;

/* Room for the longest series. */
typedef struct {
    sq_history *history;
    const sq_history_options *options;
    int *alike; /* by ground: the first one that it may be joined with */
    double *value, *error;
    bool *has_new_code;
    int *night; /* of the track: its nights with a time */
    sq_segment *cut;
    int n, n_cuts;
    sq_night_noise noise;
} finding;

/* --- tracks --- */

static void find_alike(finding *f)
{
    const sq_history *h = f->history;
    for (int i = 0; i < h->n_grounds; i++) {
        f->alike[i] = 0;
        while (sq_footing_differs(&h->ground[f->alike[i]], &h->ground[i], f->options->across) !=
               SQ_JOIN_GROUND)
            f->alike[i]++;
    }
}

static void add_to_track(finding *f, sq_history_series *s, int night)
{
    int ground = f->alike[s->night[night].ground], track = 0;
    while (track < s->n_tracks && f->alike[s->night[s->first_of_track[track]].ground] != ground)
        track++;
    if (track == s->n_tracks)
        s->first_of_track[s->n_tracks++] = night;
    s->night[night].track = track;
}

/* --- nights --- */

/* A night's own spread is of few runs: it is shrunk towards that of all nights. */
static void set_errors(sq_history_series *s)
{
    double squares = 0, runs = 0;
    for (int i = 0; i < s->n_nights; i++)
        if (s->night[i].n > 1) {
            squares += s->night[i].squares;
            runs += s->night[i].n - 1;
        }
    for (int i = 0; i < s->n_nights && runs > 0; i++) {
        sq_history_night *night = &s->night[i];
        if (night->n == 0)
            continue;
        double own = prior_runs * squares / runs + night->squares;
        double variance = own / (prior_runs + night->n - 1) / night->n;
        night->error = sqrt(variance * (night->n > 2 ? median_loss : 1));
    }
}

static void gather(finding *f, const sq_history_series *s, int track)
{
    uint64_t code = 0;
    f->n = 0;
    for (int i = 0; i < s->n_nights; i++) {
        const sq_history_night *night = &s->night[i];
        if (night->track != track || night->n == 0)
            continue;
        f->value[f->n] = log(night->ns);
        f->error[f->n] = night->error;
        f->has_new_code[f->n] = night->code != code || !code;
        f->night[f->n++] = i;
        code = night->code;
    }
}

/* --- segments and changes --- */

static void add_segment(finding *f, sq_history_series *s, int track, const sq_segment *cut)
{
    double least = fmax(f->options->min_change, off_deviations * f->noise.deviation);
    s->segment[s->n_segments] = (sq_history_segment){.track = track,
                                                     .first = f->night[cut->first],
                                                     .last = f->night[cut->end - 1],
                                                     .n = cut->end - cut->first,
                                                     .ns = exp(cut->level)};
    for (int i = cut->first; i < cut->end; i++) {
        s->night[f->night[i]].segment = s->n_segments;
        s->night[f->night[i]].is_off = fabs(f->value[i] - cut->level) > least;
    }
    s->n_segments++;
}

static bool comes_back(const finding *f, int k)
{
    double least = fmax(f->options->min_change, f->noise.deviation);
    for (int later = k + 1; later < f->n_cuts; later++)
        if (fabs(f->cut[later].level - f->cut[k - 1].level) < least)
            return true;
    return false;
}

static bool has_new_code(const sq_history_series *s, const sq_history_change *c)
{
    uint64_t before = sq_history_last_good(s, c)->code, after = sq_history_first_bad(s, c)->code;
    return !before || !after || before != after;
}

static sq_status find_in_track(finding *f, sq_history_series *s, int track, sq_error *err)
{
    gather(f, s, track);
    if (f->n == 0)
        return SQ_OK;
    const sq_nights nights = {f->value, f->error, f->has_new_code, f->n};
    f->n_cuts = sq_segments_of(&nights, log1p(f->options->min_change), f->cut, &f->noise);
    if (f->n_cuts == 0)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the segments of a cell");
    s->deviation = f->noise.deviation;
    for (int k = 0; k < f->n_cuts; k++) {
        add_segment(f, s, track, &f->cut[k]);
        if (k == 0)
            continue;
        sq_history_change *c = &s->change[s->n_changes++];
        *c = (sq_history_change){.before = s->n_segments - 2, .after = s->n_segments - 1};
        c->ratio = s->segment[c->after].ns / s->segment[c->before].ns;
        c->is_gone = comes_back(f, k);
        c->has_new_code = has_new_code(s, c);
    }
    return SQ_OK;
}

/* Changes of several tracks, in the order of their first nights. */
static void sort_changes(sq_history_series *s)
{
    for (int i = 1; i < s->n_changes; i++) {
        sq_history_change c = s->change[i];
        int k = i;
        for (; k > 0 && s->segment[s->change[k - 1].after].first > s->segment[c.after].first; k--)
            s->change[k] = s->change[k - 1];
        s->change[k] = c;
    }
}

static sq_status find_in_series(finding *f, sq_history_series *s, sq_error *err)
{
    size_t n = (size_t)s->n_nights;
    s->first_of_track = calloc(n, sizeof *s->first_of_track);
    s->segment = calloc(n, sizeof *s->segment);
    s->change = calloc(n, sizeof *s->change);
    if (!s->first_of_track || !s->segment || !s->change)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the segments of a cell");
    for (int i = 0; i < s->n_nights; i++)
        add_to_track(f, s, i);
    set_errors(s);
    for (int track = 0; track < s->n_tracks; track++)
        SQ_TRY(find_in_track(f, s, track, err));
    sort_changes(s);
    return SQ_OK;
}

/* --- the whole --- */

/* The newest change first, the larger one of a campaign before the smaller. */
static int by_change(const void *a, const void *b)
{
    const sq_history_series *x = a, *y = b;
    const sq_history_change *of_x = x->n_changes ? &x->change[x->n_changes - 1] : NULL,
                            *of_y = y->n_changes ? &y->change[y->n_changes - 1] : NULL;
    int at_x = of_x ? sq_history_first_bad(x, of_x)->campaign : -1,
        at_y = of_y ? sq_history_first_bad(y, of_y)->campaign : -1;
    double size_x = of_x ? fabs(log(of_x->ratio)) : 0, size_y = of_y ? fabs(log(of_y->ratio)) : 0;
    if (at_x != at_y)
        return at_y - at_x;
    if (size_x != size_y)
        return size_x < size_y ? 1 : -1;
    int key = strcmp(x->key, y->key);
    return key ? key : strcmp(x->device, y->device);
}

static bool make_room(finding *f)
{
    const sq_history *h = f->history;
    size_t n = 1;
    for (int i = 0; i < h->n_series; i++)
        n = (size_t)h->series[i].n_nights > n ? (size_t)h->series[i].n_nights : n;
    f->alike = calloc((size_t)h->n_grounds, sizeof *f->alike);
    f->value = calloc(n, sizeof *f->value);
    f->error = calloc(n, sizeof *f->error);
    f->has_new_code = calloc(n, sizeof *f->has_new_code);
    f->night = calloc(n, sizeof *f->night);
    f->cut = calloc(n / SQ_SEGMENT_MIN + 1, sizeof *f->cut);
    return f->alike && f->value && f->error && f->has_new_code && f->night && f->cut;
}

sq_status sq_history_find(sq_history *history, const sq_history_options *options, sq_error *err)
{
    finding f = {.history = history, .options = options};
    SQ_TRY(sq_history_drop_idle(history, err));
    bool has_room = make_room(&f);
    sq_status status = has_room ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for segments");
    if (has_room)
        find_alike(&f);
    for (int i = 0; i < history->n_series && status == SQ_OK; i++)
        status = find_in_series(&f, &history->series[i], err);
    if (status == SQ_OK)
        qsort(history->series, (size_t)history->n_series, sizeof *history->series, by_change);
    free(f.alike);
    free(f.value);
    free(f.error);
    free(f.has_new_code);
    free(f.night);
    free(f.cut);
    return status;
}
