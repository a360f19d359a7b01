/* nvml: clocks, heat, power, energy and modes of a GPU, by the driver's own library.
 *
 * Loaded at run time: $SEQMARK_NVML where that names a library, else libnvidia-ml.so.1. Every field
 * may be absent on its own (too old a driver, no permission, MIG, a part without the sensor): NAN
 * or "" then, never 0. Nothing is set but the clocks of who asks for it (sq_nvml_lock_clocks).
 */
#ifndef SQ_PROFILE_NVML_H
#define SQ_PROFILE_NVML_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Why clocks were held down. Only the last three disturb a measurement: the software power cap is
 * the normal state of tensor-bound work, sync boost and "below base" say nothing of a fault. */
typedef enum {
    SQ_THROTTLE_SW_POWER,
    SQ_THROTTLE_SYNC_BOOST,
    SQ_THROTTLE_BELOW_BASE,
    SQ_THROTTLE_SW_THERMAL,
    SQ_THROTTLE_HW_THERMAL,
    SQ_THROTTLE_HW_BRAKE,
    SQ_THROTTLE_COUNT
} sq_throttle_kind;

/* ms: time held down by each since the driver was loaded, NAN unknown. reasons: the driver's bits
 * of this moment, for drivers without the counters; has_reasons: they are known. */
typedef struct {
    double ms[SQ_THROTTLE_COUNT];
    unsigned long long reasons;
    bool has_reasons;
} sq_nvml_throttle;

typedef struct {
    double sm_mhz, memory_mhz, max_sm_mhz, max_memory_mhz;
    double temperature_c, memory_temperature_c;
    double slowdown_c; /* temperature at which the clocks are held down */
    double headroom_c; /* degrees left until then */
    double power_w;    /* mean of the last second, as the driver keeps it */
    double power_instant_w, power_limit_w, default_power_limit_w;
    double energy_j; /* since the driver was loaded; ticks about every 0.1 s */
    sq_nvml_throttle throttle;
    double ecc_corrected, ecc_uncorrected; /* since the driver was loaded */
    double remapped_rows;
    double other_processes; /* with compute contexts, not of this process's family; NAN also where
                               the driver's process ids are not this machine's (containers) */
    double pcie_generation, pcie_width, max_pcie_generation, max_pcie_width;
    char driver[32];
    char ecc[16], mig[16], persistence[16]; /* "on", "off" */
    char virtualization[16];                /* "none", "passthrough", "vgpu", "host" */
} sq_nvml_state;

typedef struct sq_nvml sq_nvml;

/* The GPU with this PCI bus id. SQ_UNSUPPORTED, saying why, where NVML or the GPU cannot be had. */
sq_status sq_nvml_open(const char *pci, sq_nvml **out, sq_error *err);
void sq_nvml_close(sq_nvml *nvml); /* accepts NULL; the library stays loaded */

/* Each accepts NULL, for which nothing is known. Not for two threads at once on one handle. */
void sq_nvml_snapshot(sq_nvml *nvml, sq_nvml_state *out); /* some ms on a real driver */
void sq_nvml_read_throttle(sq_nvml *nvml, sq_nvml_throttle *out);
double sq_nvml_energy_j(sq_nvml *nvml);
double sq_nvml_headroom_c(sq_nvml *nvml);
double sq_nvml_temperature_c(sq_nvml *nvml);
double sq_nvml_power_w(sq_nvml *nvml); /* of now; the mean of a second where that is all there is */

/* Holds the SM clock at `mhz`, or where that is below 0 at the part's base clock, until it is
 * unlocked: also beyond the end of this process. SQ_UNSUPPORTED, saying why: no permission, or a GPU
 * whose clocks cannot be locked. SQ_BAD_ARGUMENT: the GPU has no such clock. */
sq_status sq_nvml_lock_clocks(sq_nvml *nvml, int mhz, sq_error *err);
/* Back to what the driver does by itself; a lock of somebody else is undone too. */
sq_status sq_nvml_unlock_clocks(sq_nvml *nvml, sq_error *err);

/* Open, snapshot, close. *out is all unknown after a failure. */
sq_status sq_nvml_read(const char *pci, sq_nvml_state *out, sq_error *err);

/* What passed between two snapshots; NAN where either is unknown or a counter ran backwards. */
typedef struct {
    double throttled_ms[SQ_THROTTLE_COUNT];
    double energy_j;
    double ecc_errors; /* corrected and uncorrected */
} sq_nvml_change;

sq_nvml_change sq_nvml_difference(const sq_nvml_state *before, const sq_nvml_state *after);

/* True where the GPU was held down by heat, its slowdown logic or a power brake in between; `why`
 * (of `size` bytes) then says by what and how long. Where the driver keeps no time of a reason, the
 * bits of the two moments decide. */
bool sq_nvml_disturbed(const sq_nvml_throttle *before, const sq_nvml_throttle *after, char *why,
                       size_t size);

#ifdef __cplusplus
}
#endif
#endif
