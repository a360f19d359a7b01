#include "reports/palette.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cell.h"

/* Hues that stay apart for colour-blind readers (after Okabe and Ito). `own_window`: the window is
 * part of what the subject is, so it is not told in the label. */
static const struct {
    const char *subject;
    bool is_windowed, own_window;
    const char *colour;
} palette[] = {
    {"attention", false, false, "#0072b2"}, {"transformer", false, false, "#0072b2"},
    {"attention", true, false, "#4cb4e7"},  {"selective_scan", false, false, "#d1380b"},
    {"mamba", false, false, "#d1380b"},     {"ssd", false, false, "#e69f00"},
    {"mamba2", false, false, "#e69f00"},    {"retention", false, false, "#a5549c"},
    {"retnet", false, false, "#a5549c"},    {"long_conv", false, false, "#009e73"},
    {"hyena", false, false, "#009e73"},     {"samba", true, true, "#4cb4e7"},
    {"samba", false, true, "#4cb4e7"},
};
enum { PALETTE = sizeof palette / sizeof palette[0] };

static const char *const others[] = {"#8c6d31", "#555555", "#e377c2",
                                     "#7f7f00", "#1f3b73", "#17a2a2"};
enum { OTHERS = sizeof others / sizeof others[0] };

static const struct {
    const char *provider, *style;
} styles[] = {
    {"cuda/native", "dt 1 pt 5"}, {"cuda/portable", "dt 1 pt 7"},   {"cuda/naive", "dt (3,3) pt 9"},
    {"cufft", "dt (9,3) pt 13"},  {"cudnn", "dt (9,3,2,3) pt 11"},  {"cublas", "dt (9,3) pt 4"},
    {"cpu/ref", "dt 1 pt 6"},     {"fastest of each", "dt 1 pt 7"},
};
static const char *const other_styles[] = {"dt (6,2) pt 8", "dt (2,2,6,2) pt 10", "dt (4,4) pt 12",
                                           "dt (12,3) pt 14"};

/* A stable number below `count` for a name. */
static size_t name_index(const char *name, size_t count)
{
    char hash[SQ_HASH_TEXT];
    sq_hash_text(name, hash);
    return (size_t)(strtoull(hash, NULL, 16) % count);
}

int sq_series_rank(const char *subject, double window)
{
    for (int i = 0; i < PALETTE; i++)
        if (!strcmp(palette[i].subject, subject) && palette[i].is_windowed == (window > 0))
            return i;
    return PALETTE;
}

void sq_series_label(const char *subject, double window, char out[SQ_LABEL_MAX])
{
    int rank = sq_series_rank(subject, window);
    if (!(window > 0) || (rank < PALETTE && palette[rank].own_window))
        snprintf(out, SQ_LABEL_MAX, "%s", subject);
    else
        snprintf(out, SQ_LABEL_MAX, "%.70s W%.0f", subject, window);
}

const char *sq_series_colour(const char *subject, double window)
{
    int rank = sq_series_rank(subject, window);
    if (rank < PALETTE)
        return palette[rank].colour;
    char label[SQ_LABEL_MAX];
    sq_series_label(subject, window, label);
    return others[name_index(label, OTHERS)];
}

const char *sq_provider_style(const char *provider)
{
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++)
        if (!strcmp(styles[i].provider, provider))
            return styles[i].style;
    return other_styles[name_index(provider, sizeof other_styles / sizeof other_styles[0])];
}

void sq_format_length(double length, char out[SQ_LENGTH_TEXT])
{
    if (length >= 1024 && fmod(length, 1024) == 0)
        snprintf(out, SQ_LENGTH_TEXT, "%.0fk", length / 1024);
    else
        snprintf(out, SQ_LENGTH_TEXT, "%.0f", length);
}
