/* counts: what the counter passes gave, judged and made into values. Knows no CUPTI. Internal to
 * profile/. */
#ifndef SQ_PROFILE_COUNTS_H
#define SQ_PROFILE_COUNTS_H

#include "core/record.h"
#include "profile/sets.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_COUNT_REPEATS = 3 };

/* Of the instructions executed: how far the repeats of two images may lie apart, and those of one
 * image among themselves (a kernel that waits for another by polling varies from launch to launch),
 * before the launches are taken for different work. */
#define SQ_COUNT_TOLERANCE 0.02
#define SQ_COUNT_SCATTER 0.5

/* One image of a set, counted over SQ_COUNT_REPEATS launches. */
typedef struct {
    const sq_set_image *image;
    char refused[96];         /* the validity of all its values; empty where it was counted */
    size_t n_known;           /* CUPTI names that the chip knows, */
    const char *const *known; /* in the order of value */
    double value[SQ_COUNT_REPEATS][SQ_SET_MAX_METRICS];
} sq_image_counts;

/* Adds a value for every metric of the images to the record: median and spread over the repeats, the
 * SM clock of the image, and a validity:
 *   unsupported   this chip has no such counter, or refused as the image was;
 *   inconsistent  the image's launches, or this image and an earlier one, did not do the same work
 *                 (SQ_COUNT_SCATTER, SQ_COUNT_TOLERANCE): the number is dropped.
 * A metric of several images comes from the first that counted it. Sums of scalar arithmetic
 * (counted_flops_*) are added where their parts were counted. */
sq_status sq_counts_keep(const sq_image_counts *counts, int n, const char *chip, sq_record *record);

/* A value without a number. */
sq_status sq_counts_add_absent(sq_record *record, const char *metric, const char *validity);

/* median, n, spread of `n` repeats (at most 16); validity says "inconsistent: ..." for a NAN. */
sq_value sq_counts_summary(const char *metric, const double *repeats, int n);

#ifdef __cplusplus
}
#endif
#endif
