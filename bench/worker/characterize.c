/* characterize: see characterize.h. */
#include "bench/worker/characterize.h"

#include <math.h>
#include <string.h>

#include "core/ceiling.h"

/* The driver's power is the mean of a second, so idle starts after one. */
enum { IDLE_READINGS = 8 };
static const double idle_rest_seconds = 1.5, idle_interval_seconds = 0.1;

static const sq_probe_effort effort = {.policy = {.warmup_launches = 3,
                                                  .warmup_seconds = 0.05,
                                                  .min_samples = 20,
                                                  .max_samples = 100,
                                                  .max_seconds = 0.3,
                                                  .target_interval = 0.002,
                                                  .max_interval = INFINITY,
                                                  .max_cell_seconds = 2},
                                       .bursts = 3,
                                       .burst_seconds = 0.02,
                                       .rest_seconds = 0.5,
                                       .sustained_seconds = 2.5};

/* The products whose load stands for what the card draws. */
static const char load_probe[] = "gemm_bf16_tflops";

static sq_status give(const sq_ceiling_listener *listener, const sq_ceiling *ceiling,
                      const char *why, sq_error *err)
{
    if (isnan(ceiling->value)) {
        listener->absent(listener->arg, ceiling->name, why);
        return SQ_OK;
    }
    return listener->take(listener->arg, ceiling, err);
}

static sq_status measure_idle(sq_nvml *nvml, const sq_ceiling_listener *listener, const char *why,
                              sq_error *err)
{
    double power_w[IDLE_READINGS];
    int n = 0;
    if (nvml)
        sq_probe_rest(idle_rest_seconds);
    for (int i = 0; nvml && i < IDLE_READINGS; i++) {
        sq_nvml_state state;
        sq_nvml_snapshot(nvml, &state);
        if (!isnan(state.power_w))
            power_w[n++] = state.power_w;
        sq_probe_rest(idle_interval_seconds);
    }
    sq_ceiling idle = sq_ceiling_of_readings("idle_power_w", power_w, n);
    return give(listener, &idle, why, err);
}

static sq_status measure_list(const sq_rig *rig, const sq_probe *probes,
                              const sq_ceiling_listener *listener, sq_nvml *nvml, const char *why,
                              sq_error *err)
{
    for (const sq_probe *probe = probes; probe && probe->name; probe++) {
        sq_probe_load load = {.power = sq_ceiling_new("load_power_w"),
                              .clock = sq_ceiling_new("load_sm_mhz")};
        listener->alive(listener->arg);
        SQ_TRY(sq_probe_measure(rig, probe, &effort, listener, nvml, &load, err));
        if (strcmp(probe->name, load_probe) != 0)
            continue;
        SQ_TRY(give(listener, &load.power, why, err));
        SQ_TRY(give(listener, &load.clock, "no clock was read under load", err));
    }
    return SQ_OK;
}

sq_status sq_characterize(const sq_rig *rig, const sq_ceiling_listener *listener, sq_error *err)
{
    const sq_device *device = rig->backend->facts(rig->device);
    sq_error why = {.message = "the driver tells no power"};
    sq_nvml *nvml = NULL;
    bool has_driver = strcmp(device->backend, "cuda") == 0;
    if (has_driver)
        sq_nvml_open(device->pci, &nvml, &why);
    sq_status status = has_driver ? measure_idle(nvml, listener, why.message, err) : SQ_OK;
    if (status == SQ_OK)
        status = measure_list(rig, rig->backend->probes, listener, nvml, why.message, err);
    if (status == SQ_OK)
        status = measure_list(rig, rig->vendor_probes, listener, nvml, why.message, err);
    sq_nvml_close(nvml);
    return status;
}
