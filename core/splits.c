/* splits: see splits.h. */
#include "core/splits.h"

#include <math.h>

#include "core/rng.h"

int32_t sq_splits(int n)
{
    if (n < 2)
        return 0;
    double ways = 1;
    for (int k = 1; k <= n / 2; k++)
        ways = ways * (n - n / 2 + k) / k;
    ways = n % 2 ? ways : ways / 2; /* equal halves: which is first makes no difference */
    return ways < INT32_MAX ? (int32_t)lrint(ways) : INT32_MAX;
}

/* Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S). */
double sq_split_sum(const double *values, int n, int chosen, uint64_t seed, int64_t draw)
{
    double sum = 0;
    for (int i = 0, left = chosen; left > 0; i++) {
        uint64_t bits = sq_rng_bits(seed, (uint32_t)i, draw);
        double unit = (double)(bits >> 11) * 0x1p-53;
        if (unit * (n - i) < left)
            sum += values[i], left--;
    }
    return sum;
}

double sq_split_difference(const double *values, int n, uint64_t seed, int64_t draw)
{
    if (n < 2)
        return NAN;
    int half = n / 2;
    double all = 0, chosen = sq_split_sum(values, n, half, seed, draw);
    for (int i = 0; i < n; i++)
        all += values[i];
    return (all - chosen) / (n - half) - chosen / half;
}
