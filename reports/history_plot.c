/* history_plot: one series as inline SVG, coloured by the page's style. Only numbers of ours and
 * escaped texts go into it. */
#include <math.h>
#include <stdio.h>

#include "reports/history_page.h"

/* In units of the picture; a small one is shown at a tenth. */
typedef struct {
    double left, right, top, bottom, width, height;
} frame;

static const frame small_frame = {30, 2570, 40, 320, 2600, 360};
static const frame large_frame = {70, 940, 24, 250, 960, 300};

/* Which ns stand at the lower and the upper end. */
typedef struct {
    const sq_history *h;
    const sq_history_series *s;
    frame at;
    double lo, hi;
} plot;

static void take_range(plot *p, double ns)
{
    if (!isfinite(ns))
        return;
    p->lo = isnan(p->lo) ? ns : fmin(p->lo, ns);
    p->hi = isnan(p->hi) ? ns : fmax(p->hi, ns);
}

/* The levels with room for their noise, and at least 2 % on either side: what lies beyond is drawn at
 * the edge, so that one spike does not flatten a year. */
static void set_range(plot *p)
{
    double room = fmax(0.02, 5 * p->s->deviation);
    p->lo = p->hi = NAN;
    for (int i = 0; i < p->s->n_segments; i++)
        take_range(p, p->s->segment[i].ns);
    p->lo *= 1 - room;
    p->hi *= 1 + room;
}

static double x_of(const plot *p, int night)
{
    int campaign = p->s->night[night].campaign, last = p->h->n_campaigns - 1;
    double share = last > 0 ? (double)campaign / last : 0.5;
    return p->at.left + share * (p->at.right - p->at.left);
}

static double y_of(const plot *p, double ns)
{
    double share = (fmax(p->lo, fmin(p->hi, ns)) - p->lo) / (p->hi - p->lo);
    return p->at.bottom - share * (p->at.bottom - p->at.top);
}

/* --- parts --- */

/* A line for each track: its nights may lie between those of another. */
static void add_nights(const plot *p, sq_text *page)
{
    sq_text_add(page, "<path class=\"nights\" d=\"");
    for (int track = 0; track < p->s->n_tracks; track++) {
        const char *move = "M";
        for (int i = p->s->first_of_track[track]; i < p->s->n_nights; i++) {
            const sq_history_night *night = &p->s->night[i];
            if (night->track != track || night->n == 0)
                continue;
            sq_text_printf(page, "%s%.0f %.0f", move, x_of(p, i), y_of(p, night->ns));
            move = "L";
        }
    }
    sq_text_add(page, "\"/>");
}

static void add_points(const plot *p, sq_text *page)
{
    for (int i = 0; i < p->s->n_nights; i++) {
        const sq_history_night *night = &p->s->night[i];
        if (night->n == 0)
            continue;
        const sq_history_campaign *c = &p->h->campaign[night->campaign];
        double x = x_of(p, i);
        char uuid[9];
        snprintf(uuid, sizeof uuid, "%.8s", c->uuid);
        if (isfinite(night->lo) && isfinite(night->hi))
            sq_text_printf(page, "<path class=\"interval\" d=\"M%.1f %.1fV%.1f\"/>", x,
                           y_of(p, night->lo), y_of(p, night->hi));
        sq_text_printf(page, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"><title>",
                       night->is_off ? "night off" : "night", x, y_of(p, night->ns));
        sq_text_add_html(page, c->started);
        sq_text_printf(page, ": %.6g us (", night->ns / 1e3);
        sq_text_add_html(page, uuid);
        sq_text_add(page, ")</title></circle>\n");
    }
}

/* The change that a segment begins with decides its colour. */
static const char *class_of(const sq_history_series *s, int segment)
{
    for (int i = 0; i < s->n_changes; i++)
        if (s->change[i].after == segment)
            return s->change[i].ratio > 1 ? "slower" : "faster";
    return "level";
}

static void add_segments(const plot *p, sq_text *page)
{
    double least = (p->at.right - p->at.left) / 200; /* a segment of few nights is still seen */
    for (int i = 0; i < p->s->n_segments; i++) {
        const sq_history_segment *segment = &p->s->segment[i];
        double from = x_of(p, segment->first), to = x_of(p, segment->last);
        if (to - from < least)
            to = from + least;
        sq_text_printf(page, "<path class=\"%s\" d=\"M%.0f %.0fH%.0f\"/>", class_of(p->s, i), from,
                       y_of(p, segment->ns), to);
    }
}

static void add_vertical(const plot *p, const char *class, double x, sq_text *page)
{
    sq_text_printf(page, "<path class=\"%s\" d=\"M%.0f %.0fV%.0f\"/>", class, x, p->at.top / 2,
                   p->at.bottom);
}

/* A dotted line where the first night of a track stands on other things than the one before. */
static void add_breaks(const plot *p, sq_text *page)
{
    for (int track = 1; track < p->s->n_tracks; track++) {
        int night = p->s->first_of_track[track];
        add_vertical(p, "break", (x_of(p, night - 1) + x_of(p, night)) / 2, page);
    }
}

static void add_changes(const plot *p, bool is_large, sq_text *page)
{
    for (int i = 0; i < p->s->n_changes; i++) {
        const sq_history_change *change = &p->s->change[i];
        const char *class = change->ratio > 1 ? "slower" : "faster";
        int night = p->s->segment[change->after].first;
        double x = (x_of(p, p->s->segment[change->before].last) + x_of(p, night)) / 2;
        add_vertical(p, change->ratio > 1 ? "change slower" : "change faster", x, page);
        if (is_large)
            sq_text_printf(page, "<text class=\"%s\" x=\"%.0f\" y=\"%.0f\">%+.2f %%</text>", class,
                           x + 4, p->at.top - 6 + 12 * (i % 2), 100 * (change->ratio - 1));
    }
}

/* --- axes --- */

/* 1, 2 or 5 times a power of ten, for about five of it in the range. */
static double tick_step(double range)
{
    double rough = range / 5, power = pow(10, floor(log10(rough)));
    double lead = rough / power;
    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

static void add_value_axis(const plot *p, sq_text *page)
{
    double step = tick_step((p->hi - p->lo) / 1e3); /* us */
    int digits = (int)fmax(0, -floor(log10(step)));
    for (double us = ceil(p->lo / 1e3 / step) * step; us * 1e3 <= p->hi; us += step) {
        double y = y_of(p, us * 1e3);
        sq_text_printf(page, "<path class=\"grid\" d=\"M%.0f %.1fH%.0f\"/>", p->at.left, y,
                       p->at.right);
        sq_text_printf(page, "<text class=\"tick end\" x=\"%.0f\" y=\"%.1f\">%.*f</text>\n",
                       p->at.left - 6, y + 4, digits, us);
    }
    sq_text_printf(page, "<text class=\"tick end\" x=\"%.0f\" y=\"%.0f\">us</text>", p->at.left - 6,
                   p->at.bottom + 18);
}

static void add_date(const plot *p, int campaign, double x, const char *class, sq_text *page)
{
    char day[11];
    snprintf(day, sizeof day, "%.10s", p->h->campaign[campaign].started);
    sq_text_printf(page, "<text class=\"%s\" x=\"%.0f\" y=\"%.0f\">", class, x, p->at.bottom + 18);
    sq_text_add_html(page, day);
    sq_text_add(page, "</text>");
}

static void add_date_axis(const plot *p, sq_text *page)
{
    int last = p->h->n_campaigns - 1;
    add_date(p, 0, p->at.left, "tick", page);
    if (last > 1)
        add_date(p, last / 2, (p->at.left + p->at.right) / 2, "tick middle", page);
    if (last > 0)
        add_date(p, last, p->at.right, "tick end", page);
}

/* --- the whole --- */

void sq_history_plot(const sq_history *h, const sq_history_series *s, bool is_large, sq_text *page)
{
    char summary[SQ_HISTORY_SUMMARY];
    plot p = {.h = h, .s = s, .at = is_large ? large_frame : small_frame};
    set_range(&p);
    sq_history_summary(h, s, summary);
    sq_text_printf(page, "<svg class=\"%s\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"",
                   is_large ? "history" : "spark", p.at.width, p.at.height);
    sq_text_add_html(page, summary);
    sq_text_add(page, "\">");
    if (is_large) {
        add_value_axis(&p, page);
        add_date_axis(&p, page);
    }
    add_breaks(&p, page);
    add_nights(&p, page);
    add_changes(&p, is_large, page);
    add_segments(&p, page);
    if (is_large)
        add_points(&p, page);
    sq_text_add(page, "</svg>");
}
