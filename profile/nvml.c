/* nvml: clocks, power, temperature and modes of a GPU, by the driver's own library. Every field may
 * be absent. The few types needed are declared here, since nvml.h is not in every toolkit. */
#include "profile/profile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "profile/library.h"

typedef void *nvml_device;

enum { CLOCK_SM = 1, CLOCK_MEMORY = 2, SENSOR_GPU = 0 };

typedef struct {
    void *library;
    nvml_device device;
} nvml;

static sq_status open_device(const char *pci, nvml *n, sq_error *err)
{
    char why[256] = "";
    int (*init)(void), (*by_pci)(const char *, nvml_device *);
    n->library = sq_library_open("libnvidia-ml.so.1", why, sizeof why);
    if (!n->library)
        return sq_fail(err, SQ_UNSUPPORTED, "NVML absent: %s", why);
    if (!sq_library_find(n->library, "nvmlInit_v2", &init) ||
        !sq_library_find(n->library, "nvmlDeviceGetHandleByPciBusId_v2", &by_pci))
        return sq_fail(err, SQ_UNSUPPORTED, "NVML is too old");
    int code = init();
    if (code != 0)
        return sq_fail(err, SQ_UNSUPPORTED, "nvmlInit_v2 gives error %d", code);
    code = by_pci(pci, &n->device);
    if (code != 0)
        return sq_fail(err, SQ_UNSUPPORTED, "NVML knows no GPU at %s (error %d)", pci, code);
    return SQ_OK;
}

/* An unsigned fact of the device times `scale`; NAN where the call is missing or refused. */
static double get_unsigned(const nvml *n, const char *symbol, double scale)
{
    int (*get)(nvml_device, unsigned *);
    unsigned value;
    if (!sq_library_find(n->library, symbol, &get) || get(n->device, &value) != 0)
        return NAN;
    return value * scale;
}

static double get_indexed(const nvml *n, const char *symbol, int index)
{
    int (*get)(nvml_device, int, unsigned *);
    unsigned value;
    if (!sq_library_find(n->library, symbol, &get) || get(n->device, index, &value) != 0)
        return NAN;
    return value;
}

static void get_mode(const nvml *n, const char *symbol, char *out, size_t size)
{
    int (*get)(nvml_device, unsigned *, unsigned *);
    unsigned now, pending;
    if (sq_library_find(n->library, symbol, &get) && get(n->device, &now, &pending) == 0)
        snprintf(out, size, "%s", now ? "on" : "off");
}

static void get_driver(const nvml *n, char *out, unsigned size)
{
    int (*get)(char *, unsigned);
    if (!sq_library_find(n->library, "nvmlSystemGetDriverVersion", &get) || get(out, size) != 0)
        out[0] = '\0';
}

static unsigned long long get_reasons(const nvml *n)
{
    int (*get)(nvml_device, unsigned long long *);
    unsigned long long bits;
    if (!sq_library_find(n->library, "nvmlDeviceGetCurrentClocksEventReasons", &get) &&
        !sq_library_find(n->library, "nvmlDeviceGetCurrentClocksThrottleReasons", &get))
        return 0;
    return get(n->device, &bits) == 0 ? bits : 0;
}

sq_status sq_nvml_read(const char *pci, sq_nvml_state *out, sq_error *err)
{
    nvml n = {NULL, NULL};
    *out = (sq_nvml_state){NAN, NAN, NAN, NAN, NAN, 0, "", "", ""};
    SQ_TRY(open_device(pci, &n, err)); /* never closed: that costs more than the library holds */
    out->sm_mhz = get_indexed(&n, "nvmlDeviceGetClockInfo", CLOCK_SM);
    out->memory_mhz = get_indexed(&n, "nvmlDeviceGetClockInfo", CLOCK_MEMORY);
    out->temperature_c = get_indexed(&n, "nvmlDeviceGetTemperature", SENSOR_GPU);
    out->power_w = get_unsigned(&n, "nvmlDeviceGetPowerUsage", 1e-3);
    out->power_limit_w = get_unsigned(&n, "nvmlDeviceGetEnforcedPowerLimit", 1e-3);
    out->clock_reasons = get_reasons(&n);
    get_driver(&n, out->driver, sizeof out->driver);
    get_mode(&n, "nvmlDeviceGetEccMode", out->ecc, sizeof out->ecc);
    get_mode(&n, "nvmlDeviceGetMigMode", out->mig, sizeof out->mig);
    return SQ_OK;
}

void sq_profile_describe_nvml(char *out, size_t size)
{
    char why[256] = "", version[80] = "unknown version";
    int (*init)(void), (*driver)(char *, unsigned);
    void *library = sq_library_open("libnvidia-ml.so.1", why, sizeof why);
    if (!library)
        snprintf(out, size, "absent: %s", why);
    else if (!sq_library_find(library, "nvmlInit_v2", &init) || init() != 0)
        snprintf(out, size, "absent: the library is there, but nvmlInit_v2 fails (no driver?)");
    else {
        if (sq_library_find(library, "nvmlSystemGetDriverVersion", &driver))
            driver(version, sizeof version);
        snprintf(out, size, "present, driver %s", version);
    }
}
