/* figures: the list of figures, and drawing one of them. */
#ifndef SQ_REPORTS_FIGURES_H
#define SQ_REPORTS_FIGURES_H

#include "core/text.h"
#include "reports/series.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A figure: what it asks (?2 is `kind`), how it is drawn, what its caption says. Texts are the
 * files reports/figures/<query>.{sql,gp,txt}. */
typedef struct {
    const char *id, *title, *kind;
    const char *query, *script, *caption;
    bool is_ratio;    /* y is relative to a baseline: crossings are marked */
    bool is_roofline; /* x is arithmetic intensity, not length */
} sq_figure;

extern const sq_figure sq_figures[]; /* NULL-ended (id) */

typedef enum { SQ_DRAWN, SQ_NO_DATA, SQ_NOT_DRAWN } sq_figure_outcome;

/* Writes <dir>/<id>.csv, .gp, .svg and .png and the caption (plain text). SQ_NO_DATA: the store has
 * nothing for it. SQ_NOT_DRAWN: data but no picture, `note` says why. gnuplot == NULL: do not try.
 */
sq_status sq_figure_render(const sq_scope *scope, const sq_figure *figure, const char *dir,
                           const char *gnuplot, sq_figure_outcome *outcome, sq_text *caption,
                           char *note, size_t note_size, sq_error *err);

/* --- parts of it, each in its own file --- */

/* The gnuplot script that draws both pictures. */
void sq_figure_script(const sq_figure *figure, const sq_group *group, const sq_series_set *set,
                      sq_text *script);
void sq_figure_caption(const sq_figure *figure, const sq_group *group, const sq_series_set *set,
                       sq_text *caption);

/* The subject that ratios of this kind are against. */
const char *sq_baseline_of(const char *kind);
/* "730", "3.4k": an interpolated length. */
void sq_format_crossing(double length, char out[SQ_LENGTH_TEXT]);

/* Ends a script: draws what `plot` plots into <id>.svg and again into <id>.png. */
void sq_figure_outputs(const char *id, const char *plot, sq_text *script);
/* "set yrange" and "set ytics" of a logarithmic axis that shows lo to hi. */
void sq_figure_value_axis(sq_text *script, double lo, double hi);

#ifdef __cplusplus
}
#endif
#endif
