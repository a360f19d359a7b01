/* serial: runs that resemble the ones before them, as an autoregressive series of first order does: two
 * that lie k apart have correlation r^k. What n of them know, and how r is seen in many short series.
 */
#ifndef SQ_CORE_SERIAL_H
#define SQ_CORE_SERIAL_H

#ifdef __cplusplus
extern "C" {
#endif

/* Variance of the mean of n neighbours over that of n independent values. */
double sq_serial_inflation(int n, double r);

/* What is expected of the squared deviations of n neighbours from their own mean, in variances of one,
 * and the degrees of freedom it counts for (Satterthwaite, Biometrics Bull. 2, 1946, 110): with r = 0
 * both are n - 1. `of_square` is the part of the variance of that sum that follows, for sums over
 * several series: df = (sum of expected)^2 / (sum of of_square). */
typedef struct {
    double expected, of_square;
} sq_serial_squares;
sq_serial_squares sq_serial_squares_of(int n, double r);

/* r, from many series of at least three runs. Each adds by how much its squared differences over two
 * runs exceed those over one: nothing on average where the order of its runs means nothing, whatever
 * their distribution. `weight` makes series of different spread alike, and may not come from the
 * values themselves. Start with all zero. */
typedef struct {
    int series;
    double excess, squares, lag1; /* sums: of that, of its square, of the differences over one */
} sq_serial;
void sq_serial_add(sq_serial *serial, const double *values, int n, double weight);
/* 0 unless the excess is more than two standard errors; then one standard error more than it says, since
 * what believes in too little is wrong more often; at most 0.9. */
double sq_serial_correlation(const sq_serial *serial);

#ifdef __cplusplus
}
#endif
#endif
