/* palette: one colour per subject and one line style per provider, the same in every figure. */
#ifndef SQ_REPORTS_PALETTE_H
#define SQ_REPORTS_PALETTE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_LABEL_MAX = 96, SQ_LENGTH_TEXT = 24 };

/* "attention", "attention W2048", "samba". window: keys, 0 for none. */
void sq_series_label(const char *subject, double window, char out[SQ_LABEL_MAX]);

/* "#0072b2". A mixer and its family share the hue; an unknown subject gets a hue of its own by
 * name. */
const char *sq_series_colour(const char *subject, double window);
/* Place in legends: known subjects in the order of the palette, then the others. */
int sq_series_rank(const char *subject, double window);

/* gnuplot: "dt 1 pt 7". */
const char *sq_provider_style(const char *provider);

/* "512", "1k", "128k", "1000": a length as people write it (k = 1024). */
void sq_format_length(double length, char out[SQ_LENGTH_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
