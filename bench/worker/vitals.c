/* vitals: see vitals.h. */
#include "bench/worker/vitals.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void sq_vitals_open(const sq_device *device, sq_vitals *vitals)
{
    sq_error err = {.status = SQ_OK};
    *vitals = (sq_vitals){.nvml = NULL};
    if (strcmp(device->backend, "cuda") == 0 &&
        sq_nvml_open(device->pci, &vitals->nvml, &err) != SQ_OK)
        snprintf(vitals->why, sizeof vitals->why, "%.79s", err.message);
}

void sq_vitals_close(sq_vitals *vitals)
{
    sq_nvml_close(vitals->nvml);
    *vitals = (sq_vitals){.nvml = NULL};
}

sq_watch sq_vitals_watch(sq_vitals *vitals)
{
    return sq_watch_driver(vitals->nvml, &vitals->throttle);
}

void sq_vitals_begin(sq_vitals *vitals)
{
    if (vitals->nvml)
        sq_nvml_snapshot(vitals->nvml, &vitals->before);
}

static sq_status add(const sq_vitals *vitals, const char *metric, double number, sq_record *record)
{
    char validity[sizeof((sq_value *)0)->validity] = "ok";
    if (isnan(number))
        snprintf(validity, sizeof validity, "unsupported: %s",
                 vitals->nvml ? "the driver does not tell" : vitals->why);
    return sq_record_add_measured(record, metric, number, 1, NAN, validity);
}

sq_status sq_vitals_end(sq_vitals *vitals, sq_record *record)
{
    sq_nvml_state after;
    if (!vitals->nvml && !vitals->why[0])
        return SQ_OK;
    sq_nvml_snapshot(vitals->nvml, &after);
    if (!vitals->nvml)
        vitals->before = after;
    if (isnan(record->sm_mhz))
        record->sm_mhz = after.sm_mhz;
    sq_nvml_change change = sq_nvml_difference(&vitals->before, &after);
    const struct {
        const char *metric;
        double value;
    } numbers[] = {
        {"temperature_c", after.temperature_c},
        {"power_w", after.power_w},
        {"sm_mhz_before", vitals->before.sm_mhz},
        {"sm_mhz_after", after.sm_mhz},
        {"memory_mhz", after.memory_mhz},
        {"throttle_sw_power_ms", change.throttled_ms[SQ_THROTTLE_SW_POWER]},
        {"throttle_sw_thermal_ms", change.throttled_ms[SQ_THROTTLE_SW_THERMAL]},
        {"throttle_hw_thermal_ms", change.throttled_ms[SQ_THROTTLE_HW_THERMAL]},
        {"throttle_hw_brake_ms", change.throttled_ms[SQ_THROTTLE_HW_BRAKE]},
        {"ecc_errors", change.ecc_errors},
        {"gpu_processes", after.other_processes},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        SQ_TRY(add(vitals, numbers[i].metric, numbers[i].value, record));
    return SQ_OK;
}
