/* nvml_change: what passed between two readings of NVML. */
#include "profile/nvml.h"

#include <math.h>
#include <stdio.h>

/* A counter that ran backwards was reset: what passed is unknown. */
static double passed(double before, double after)
{
    return after >= before ? after - before : NAN;
}

sq_nvml_change sq_nvml_difference(const sq_nvml_state *before, const sq_nvml_state *after)
{
    sq_nvml_change change = {.energy_j = passed(before->energy_j, after->energy_j),
                             .ecc_errors = passed(before->ecc_corrected, after->ecc_corrected) +
                                           passed(before->ecc_uncorrected, after->ecc_uncorrected)};
    for (int i = 0; i < SQ_THROTTLE_COUNT; i++)
        change.throttled_ms[i] = passed(before->throttle.ms[i], after->throttle.ms[i]);
    return change;
}

/* Bits of nvmlClocksEventReasons. */
enum {
    REASON_HW_SLOWDOWN = 0x8,
    REASON_SW_THERMAL = 0x20,
    REASON_HW_THERMAL = 0x40,
    REASON_HW_BRAKE = 0x80
};

/* HW_SLOWDOWN stands for either of the two hardware reasons. */
static const struct {
    sq_throttle_kind kind;
    unsigned long long bits;
    const char *name;
} disturbances[] = {
    {SQ_THROTTLE_SW_THERMAL, REASON_SW_THERMAL, "thermal slowdown by the driver"},
    {SQ_THROTTLE_HW_THERMAL, REASON_HW_THERMAL | REASON_HW_SLOWDOWN,
     "thermal slowdown by the hardware"},
    {SQ_THROTTLE_HW_BRAKE, REASON_HW_BRAKE | REASON_HW_SLOWDOWN, "power brake"},
};

static bool has_bits(const sq_nvml_throttle *t, unsigned long long bits)
{
    return t->has_reasons && (t->reasons & bits);
}

bool sq_nvml_disturbed(const sq_nvml_throttle *before, const sq_nvml_throttle *after, char *why,
                       size_t size)
{
    for (size_t i = 0; i < sizeof disturbances / sizeof disturbances[0]; i++) {
        double ms = passed(before->ms[disturbances[i].kind], after->ms[disturbances[i].kind]);
        if (ms > 0) {
            snprintf(why, size, "%s for %.3g ms", disturbances[i].name, ms);
            return true;
        }
        unsigned long long bits = disturbances[i].bits;
        if (isnan(ms) && (has_bits(before, bits) || has_bits(after, bits))) {
            snprintf(why, size, "%s (seen; the driver keeps no time of it)", disturbances[i].name);
            return true;
        }
    }
    return false;
}
