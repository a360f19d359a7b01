/* series: what one figure draws, read from the store. */
#ifndef SQ_REPORTS_SERIES_H
#define SQ_REPORTS_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cell.h"
#include "reports/palette.h"
#include "reports/query.h"

#ifdef __cplusplus
extern "C" {
#endif

/* lo, hi: interval of y, NAN where there is none. */
typedef struct {
    double length, x, y, lo, hi;
} sq_point;

/* Points of one subject (and window) by one provider, by rising length. */
typedef struct {
    char subject[SQ_NAME_MAX], provider[SQ_NAME_MAX], label[SQ_LABEL_MAX];
    double window;
    sq_point *points;
    int n_points;
} sq_series;

typedef struct {
    sq_series *series;
    int n_series;
} sq_series_set;

/* What the cells of a figure have in common, and the device's measured ceilings (NAN: none). */
typedef struct {
    bool is_found;
    char device[128], pass[16], dtype[16], cache[32], launch[32], clock_mode[32];
    double width, amount;
    bool is_tokens; /* amount is B * L, else B */
    int64_t device_id;
    int left_out; /* cells of other shapes at the same place */
    double copy_gbytes_per_s, gemm_tflops, gemm_f32_tflops;
} sq_group;

/* Columns of a figure's query: subject, window_keys, provider, L, x, y, lo, hi. */
sq_status sq_series_read(const sq_scope *scope, const char *query, const char *kind,
                         sq_series_set *out, sq_error *err);
void sq_series_free(sq_series_set *set);

sq_status sq_group_read(const sq_scope *scope, const char *kind, sq_group *out, sq_error *err);

/* Lengths at which a series of ratios passes 1, interpolated in log-log between the points on either
 * side; points within 2 % of 1 are ties and on no side. `is_rising`: the ratio grows there. Returns
 * how many were written to out. */
typedef struct {
    double length;
    bool is_rising;
} sq_crossing;
int sq_series_crossings(const sq_series *series, sq_crossing *out, int capacity);

#ifdef __cplusplus
}
#endif
#endif
