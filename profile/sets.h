/* sets: which metrics are counted together, on which chip.
 *
 * A set is a text file, profile/sets/<chip>/<set>.txt, embedded in the program; a user may give a
 * file of the same form. One thing a line, '#' starts a comment:
 *
 *   passes N               passes that CUPTI's scheduler needs (a test holds it to that); optional
 *   METRIC                 a counted row of profile/metrics.c
 *   METRIC CUPTI_NAME      the same by another name, or a metric of the user's own
 *   METRIC -               the chip has no such counter
 *   CUPTI_NAME             a metric of the user's own, called by its CUPTI name
 *   include SET            the images of another set
 *
 * The metrics of one file are one image: CUPTI schedules them together. "stalls,mix" are the images
 * of both. Metrics that stand in several images tell whether launches were alike.
 */
#ifndef SQ_PROFILE_SETS_H
#define SQ_PROFILE_SETS_H

#include "core/record.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_SET_MAX_METRICS = 96, SQ_SET_MAX_IMAGES = 12, SQ_SET_MAX_FILES = 24 };

/* cupti: NULL where the chip has none. */
typedef struct {
    const char *metric, *cupti;
} sq_set_line;

typedef struct {
    char name[64]; /* of the set or file */
    int passes;    /* as stated; 0: unknown */
    int n;
    sq_set_line line[SQ_SET_MAX_METRICS];
} sq_set_image;

typedef struct {
    int passes; /* as the named files state; 0: unknown */
    int n_images, n_extra, n_texts;
    sq_set_image image[SQ_SET_MAX_IMAGES];
    sq_metric_def extra[SQ_SET_MAX_METRICS]; /* the user's own metrics */
    char *source[SQ_SET_MAX_METRICS];        /* of extra */
    char *text[SQ_SET_MAX_FILES];            /* the files; all names point into them */
} sq_counter_set;

/* Names of the shipped sets, NULL-ended; "timeline" is for PM sampling. */
extern const char *const sq_set_names[];

/* The CUPTI name in the source of a metric, counted or sampled; NULL where it is neither. */
const char *sq_metric_cupti_name(const sq_metric_def *metric);

/* `names`: shipped sets, separated by commas, or the path of one file (with a "."
 * or "/" in it). chip as CUPTI names it: its
 * sets, else those of the nearest chip; NULL: GH100. SQ_BAD_ARGUMENT names the line at fault. Free
 * with sq_set_free. */
sq_status sq_set_load(const char *names, const char *chip, sq_counter_set **out, sq_error *err);
/* The metric table with the set's own metrics behind it, ended by a NULL name; free() it. NULL for
 * want of memory. */
sq_metric_def *sq_set_metrics(const sq_counter_set *set);
void sq_set_free(sq_counter_set *set); /* accepts NULL */

/* The folder of profile/sets/ that serves a chip. */
const char *sq_set_folder(const char *chip);

#ifdef __cplusplus
}
#endif
#endif
