/* fake_nvml: what a test needs of tests/support/fake_nvml.c, and NVML's own types and calls. */
#ifndef SQ_TESTS_FAKE_NVML_H
#define SQ_TESTS_FAKE_NVML_H

#ifdef __cplusplus
extern "C" {
#endif

/* Energy that the counter has beyond its script: what a launch of a test costs. Found by dlsym. */
void fake_nvml_add_energy(double millijoules);

typedef struct {
    unsigned version;
    int sensor, celsius;
} fake_temperature;

typedef struct {
    unsigned version;
    int celsius;
} fake_margin;

typedef struct {
    unsigned id, scope;
    long long timestamp, latency;
    int type, result;
    union {
        double d;
        unsigned u;
        unsigned long long ull;
    } value;
} fake_field;

typedef struct {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
} fake_process;

int nvmlInit_v2(void);
int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, void **out);
int nvmlSystemGetDriverVersion(char *out, unsigned size);
int nvmlDeviceGetClockInfo(void *device, int clock, unsigned *out);
int nvmlDeviceGetMaxClockInfo(void *device, int clock, unsigned *out);
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *out);
int nvmlDeviceGetTemperatureThreshold(void *device, int threshold, unsigned *out);
int nvmlDeviceGetTemperatureV(void *device, fake_temperature *out);
int nvmlDeviceGetMarginTemperature(void *device, fake_margin *out);
int nvmlDeviceSetGpuLockedClocks(void *device, unsigned least, unsigned most);
int nvmlDeviceResetGpuLockedClocks(void *device);
int nvmlDeviceGetPowerUsage(void *device, unsigned *out);
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *out);
int nvmlDeviceGetPowerManagementDefaultLimit(void *device, unsigned *out);
int nvmlDeviceGetPersistenceMode(void *device, unsigned *out);
int nvmlDeviceGetVirtualizationMode(void *device, unsigned *out);
int nvmlDeviceGetCurrPcieLinkGeneration(void *device, unsigned *out);
int nvmlDeviceGetCurrPcieLinkWidth(void *device, unsigned *out);
int nvmlDeviceGetMaxPcieLinkGeneration(void *device, unsigned *out);
int nvmlDeviceGetMaxPcieLinkWidth(void *device, unsigned *out);
int nvmlDeviceGetEccMode(void *device, unsigned *now, unsigned *pending);
int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *pending);
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *out);
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *out);
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *out);
int nvmlDeviceGetFieldValues(void *device, int count, fake_field *list);
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, fake_process *list);

#ifdef __cplusplus
}
#endif
#endif
