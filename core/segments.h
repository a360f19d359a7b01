/* segments: where a series of nights changes its level.
 *
 * The series is cut into segments of one level each (a weighted median), by the exact minimum of
 *     sum of |value - level| / (noise of the night)  +  penalty * (number of changes)
 * over all cuts into segments of at least SQ_SEGMENT_MIN nights: the L1 Potts functional. What is
 * gone after one or two nights is no segment, so no change. Noise and penalty are taken from the
 * series itself, whose nights with the same code are A/A measurements, and each change must pass a
 * test for the whole series' rate of false changes (docs/methodology.md, "History").
 */
#ifndef SQ_CORE_SEGMENTS_H
#define SQ_CORE_SEGMENTS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_SEGMENT_MIN = 3 };

/* Nights first ... end - 1, and their level. */
typedef struct {
    int first, end;
    double level;
} sq_segment;

/* The exact minimum of sum of weight[i] |value[i] - level| + penalty * (segments - 1), into
 * segment[] (room for n / SQ_SEGMENT_MIN + 1). Fewer than 2 SQ_SEGMENT_MIN values are one segment.
 * Returns the number of segments; 0: n is 0, or no memory. O(n^2) time, O(n) memory. */
int sq_potts(const double *value, const double *weight, int n, double penalty, sq_segment *segment);

/* One cell's nights in order. error: standard error of a night's value from its own runs, NAN where
 * unknown; has_new_code: the night ran other code than the one before it. Both may be NULL. */
typedef struct {
    const double *value; /* logarithms of night medians */
    const double *error;
    const bool *has_new_code;
    int n;
} sq_nights;

/* Night-to-night standard deviation of the logarithm, and the correlation of a night with the next;
 * both robust against changes of the level. */
typedef struct {
    double deviation, correlation;
} sq_night_noise;

/* The segments of a series, into segment[] as above. A change smaller than min_step (logarithm) is
 * none. *noise receives what was found of it. Returns their number; 0: no nights, or no memory. */
int sq_segments_of(const sq_nights *nights, double min_step, sq_segment *segment,
                   sq_night_noise *noise);

#ifdef __cplusplus
}
#endif
#endif
