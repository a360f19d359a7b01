/* phases: see phases.h. */
#include "bench/worker/phases.h"

#include <string.h>

#include "core/host.h"

void sq_stopwatch_start(sq_stopwatch *watch) { watch->last = sq_monotonic_seconds(); }

sq_status sq_stopwatch_lap(sq_stopwatch *watch, const char *metric, sq_record *record)
{
    double now = sq_monotonic_seconds(), ms = 1e3 * (now - watch->last);
    watch->last = now;
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0) {
            record->values[i].value += ms;
            return SQ_OK;
        }
    return sq_record_add_number(record, metric, ms);
}
