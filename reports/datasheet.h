/* datasheet: what one device can do at most: the ceilings of one `seqmark characterize`. */
#ifndef SQ_REPORTS_DATASHEET_H
#define SQ_REPORTS_DATASHEET_H

#include "core/ceiling.h"
#include "core/table.h"
#include "db/db.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_DATASHEET = 64, SQ_SLUG_MAX = 80 };

/* Everything that the sheet is made of. */
typedef struct {
    sq_device device;
    char campaign[SQ_UUID_TEXT];
    sq_ceiling ceiling[SQ_MAX_DATASHEET]; /* in the order of sq_ceiling_defs; unknown names last */
    int n;
} sq_datasheet;

typedef struct {
    char page[1200]; /* path of <out_dir>/<device>.html */
    char note[256];  /* what was left out, else empty */
} sq_datasheet_result;

/* The ceilings that campaign `uuid` stored, and its device. SQ_BAD_ARGUMENT: it stored none. */
sq_status sq_datasheet_read(sq_db *db, const char *uuid, sq_datasheet *out, sq_error *err);

/* Renders the page (figures as SVG inside) into out_dir, with figures/ beside it. gnuplot: NULL for
 * the one of PATH; without it there are tables only. */
sq_status sq_datasheet_render(sq_db *db, const sq_datasheet *sheet, const char *out_dir,
                              const char *gnuplot, sq_datasheet_result *result, sq_error *err);

/* The ceilings as text: name, value, unit, interval, SM clock, peak of the architecture, percent of
 * it, what it is. */
sq_status sq_datasheet_table(const sq_datasheet *sheet, sq_format format, sq_text *out,
                             sq_error *err);

/* --- parts --- */

/* "nvidia-h100-80gb-hbm3": a device's name as the name of a file. */
void sq_datasheet_slug(const char *name, char out[SQ_SLUG_MAX]);
/* The peak that the architecture allows at the clock observed, in the ceiling's unit; NAN: none. */
double sq_datasheet_peak(const sq_datasheet *sheet, const sq_ceiling *ceiling);

/* Rooflines, and burst beside sustained: the gnuplot scripts `id`.gp, and the data as csv. False:
 * there is nothing to draw. */
bool sq_datasheet_roofline(const sq_datasheet *sheet, const char *id, sq_text *script,
                           sq_text *csv);
bool sq_datasheet_bursts(const sq_datasheet *sheet, const char *id, sq_text *script, sq_text *csv);

#ifdef __cplusplus
}
#endif
#endif
