/* serial: see serial.h. */
#include "core/serial.h"

#include <math.h>

static const double most_correlation = 0.9;

/* Sum of all correlations among n neighbours, over n. */
double sq_serial_inflation(int n, double r)
{
    double sum = 1, power = 1;
    for (int k = 1; k < n && fabs(power) > 1e-6; k++)
        sum += 2 * (1 - (double)k / n) * (power *= r);
    return sum;
}

/* Sum of the correlations of neighbour i of n with all. */
static double row_sum(int n, int i, double r)
{
    return 1 + (2 * r - pow(r, i + 1) - pow(r, n - i)) / (1 - r);
}

/* With M the matrix that takes the mean away and S the correlations: the traces of M S and of
 * M S M S. */
sq_serial_squares sq_serial_squares_of(int n, double r)
{
    double of_mean = sq_serial_inflation(n, r), rows = 0;
    for (int i = 0; i < n; i++)
        rows += pow(row_sum(n, i, r), 2);
    return (sq_serial_squares){n - of_mean, n * sq_serial_inflation(n, r * r) - 2 * rows / n +
                                                of_mean * of_mean};
}

/* Mean square of the differences over `lag` runs, as a variance of one run. */
static double of_lag(const double *values, int n, int lag)
{
    double sum = 0;
    for (int i = lag; i < n; i++)
        sum += pow(values[i] - values[i - lag], 2);
    return sum / 2 / (n - lag);
}

void sq_serial_add(sq_serial *serial, const double *values, int n, double weight)
{
    if (n < 3)
        return;
    double lag1 = weight * of_lag(values, n, 1);
    double excess = weight * of_lag(values, n, 2) - lag1;
    serial->series++;
    serial->lag1 += lag1;
    serial->excess += excess;
    serial->squares += excess * excess;
}

/* Of lag k the mean square is (1 - r^k) variances: that of 2 over that of 1 is 1 + r. */
double sq_serial_correlation(const sq_serial *serial)
{
    double n = serial->series, mean = serial->excess / n;
    double error = sqrt((serial->squares / n - mean * mean) / (n - 1));
    if (n < 2 || !(mean > 2 * error))
        return 0;
    return fmin((mean + error) * n / serial->lag1, most_correlation);
}
