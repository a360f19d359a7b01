/* nvml: see nvml.h. The few types needed are declared here, since nvml.h is not in every toolkit.
 */
#include "profile/nvml.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profile/library.h"
#include "profile/profile.h"

typedef void *nvml_device;

enum { NVML_SUCCESS = 0, NVML_INVALID_ARGUMENT = 2, NVML_NOT_SUPPORTED = 3, NVML_NO_PERMISSION = 4 };
#define CLOCK_LIMIT_TDP 0xffffff01u /* in place of MHz: the clock that the power limit guarantees */
enum { CLOCK_SM = 1, CLOCK_MEMORY = 2 };
enum { SENSOR_GPU = 0, THRESHOLD_SLOWDOWN = 1 };
enum { MAX_PROCESSES = 64, MAX_ANCESTORS = 32 };

/* The version of a versioned struct: its size, and the number in the top byte. */
#define VERSION_1(type) ((unsigned)sizeof(type) | 1u << 24)

typedef struct {
    unsigned version;
    int sensor, celsius;
} temperature_v1;

typedef struct {
    unsigned version;
    int celsius;
} margin_v1;

typedef struct {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
} process_info;

typedef enum {
    TYPE_DOUBLE,
    TYPE_UNSIGNED,
    TYPE_ULONG,
    TYPE_ULLONG,
    TYPE_LLONG,
    TYPE_INT
} value_type;

typedef struct {
    unsigned id, scope;
    long long timestamp, latency;
    int type, result;
    union {
        double d;
        int i;
        unsigned u;
        unsigned long ul;
        unsigned long long ull;
        long long ll;
    } value;
} field_value;

struct sq_nvml {
    void *library;
    nvml_device device;
};

/* --- opening --- */

static const char *library_name(void)
{
    const char *named = getenv("SEQMARK_NVML");
    return named && *named ? named : "libnvidia-ml.so.1";
}

static sq_status start(sq_nvml *n, sq_error *err)
{
    char why[256] = "";
    int (*init)(void);
    n->library = sq_library_open(library_name(), why, sizeof why);
    if (!n->library)
        return sq_fail(err, SQ_UNSUPPORTED, "NVML absent: %s", why);
    if (!sq_library_find(n->library, "nvmlInit_v2", &init))
        return sq_fail(err, SQ_UNSUPPORTED, "NVML is too old: it has no nvmlInit_v2");
    int code = init();
    if (code == NVML_NO_PERMISSION)
        return sq_fail(err, SQ_UNSUPPORTED, "NVML refused: no permission for the driver's devices");
    return code == NVML_SUCCESS
               ? SQ_OK
               : sq_fail(err, SQ_UNSUPPORTED, "nvmlInit_v2 gives error %d (no driver?)", code);
}

static sq_status find_device(sq_nvml *n, const char *pci, sq_error *err)
{
    int (*by_pci)(const char *, nvml_device *);
    if (!sq_library_find(n->library, "nvmlDeviceGetHandleByPciBusId_v2", &by_pci))
        return sq_fail(err, SQ_UNSUPPORTED, "NVML is too old: it finds no GPU by PCI id");
    int code = by_pci(pci, &n->device);
    return code == NVML_SUCCESS
               ? SQ_OK
               : sq_fail(err, SQ_UNSUPPORTED, "NVML knows no GPU at %s (error %d)", pci, code);
}

/* Never shut down: starting it again costs more than the library holds. */
sq_status sq_nvml_open(const char *pci, sq_nvml **out, sq_error *err)
{
    sq_nvml *n = calloc(1, sizeof *n);
    *out = NULL;
    if (!n)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for NVML");
    sq_status status = start(n, err);
    if (status == SQ_OK)
        status = find_device(n, pci, err);
    if (status == SQ_OK)
        *out = n;
    else
        free(n);
    return status;
}

void sq_nvml_close(sq_nvml *nvml)
{
    free(nvml);
}

/* --- single facts: NAN where the call is missing or refused --- */

static double get_unsigned(const sq_nvml *n, const char *symbol)
{
    int (*get)(nvml_device, unsigned *);
    unsigned value;
    if (!sq_library_find(n->library, symbol, &get) || get(n->device, &value) != NVML_SUCCESS)
        return NAN;
    return value;
}

static double get_indexed(const sq_nvml *n, const char *symbol, int index)
{
    int (*get)(nvml_device, int, unsigned *);
    unsigned value;
    if (!sq_library_find(n->library, symbol, &get) || get(n->device, index, &value) != NVML_SUCCESS)
        return NAN;
    return value;
}

static void get_switch(const sq_nvml *n, const char *symbol, char *out, size_t size)
{
    double value = get_unsigned(n, symbol);
    if (!isnan(value))
        snprintf(out, size, "%s", value != 0 ? "on" : "off");
}

/* A mode with a second, pending value. */
static void get_mode(const sq_nvml *n, const char *symbol, char *out, size_t size)
{
    int (*get)(nvml_device, unsigned *, unsigned *);
    unsigned now, pending;
    if (sq_library_find(n->library, symbol, &get) && get(n->device, &now, &pending) == NVML_SUCCESS)
        snprintf(out, size, "%s", now ? "on" : "off");
}

static void get_virtualization(const sq_nvml *n, char *out, size_t size)
{
    static const char *const names[] = {"none", "passthrough", "vgpu", "host", "host"};
    double mode = get_unsigned(n, "nvmlDeviceGetVirtualizationMode");
    if (mode >= 0 && mode < (double)(sizeof names / sizeof names[0]))
        snprintf(out, size, "%s", names[(int)mode]);
}

static void get_driver(const sq_nvml *n, char *out, unsigned size)
{
    int (*get)(char *, unsigned);
    if (!sq_library_find(n->library, "nvmlSystemGetDriverVersion", &get) ||
        get(out, size) != NVML_SUCCESS)
        out[0] = '\0';
}

/* --- fields: one call reads many --- */

static double field_number(const field_value *f)
{
    if (f->result != NVML_SUCCESS)
        return NAN;
    switch (f->type) {
    case TYPE_DOUBLE:
        return f->value.d;
    case TYPE_UNSIGNED:
        return f->value.u;
    case TYPE_ULONG:
        return (double)f->value.ul;
    case TYPE_ULLONG:
        return (double)f->value.ull;
    case TYPE_LLONG:
        return (double)f->value.ll;
    case TYPE_INT:
        return f->value.i;
    default:
        return NAN;
    }
}

enum { MAX_FIELDS = 16, FIELD_POWER_INSTANT = 186 };

/* *out[i] = field ids[i] times scale[i]. */
static void get_fields(const sq_nvml *n, const unsigned *ids, const double *scale, int count,
                       double *const *out)
{
    int (*get)(nvml_device, int, field_value *);
    field_value fields[MAX_FIELDS];
    memset(fields, 0, sizeof fields);
    for (int i = 0; i < count; i++)
        fields[i].id = ids[i];
    bool is_read = sq_library_find(n->library, "nvmlDeviceGetFieldValues", &get) &&
                   get(n->device, count, fields) == NVML_SUCCESS;
    for (int i = 0; i < count; i++)
        *out[i] = is_read ? scale[i] * field_number(&fields[i]) : NAN;
}

static bool get_reasons(const sq_nvml *n, unsigned long long *bits)
{
    int (*get)(nvml_device, unsigned long long *);
    *bits = 0;
    if (!sq_library_find(n->library, "nvmlDeviceGetCurrentClocksEventReasons", &get) &&
        !sq_library_find(n->library, "nvmlDeviceGetCurrentClocksThrottleReasons", &get))
        return false;
    return get(n->device, bits) == NVML_SUCCESS;
}

static const sq_nvml_throttle unknown_throttle = {.ms = {NAN, NAN, NAN, NAN, NAN, NAN}};

void sq_nvml_read_throttle(sq_nvml *n, sq_nvml_throttle *out)
{
    static const unsigned ids[SQ_THROTTLE_COUNT] = {74, 76, 81, 269, 270, 271};
    static const double to_ms[SQ_THROTTLE_COUNT] = {1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6};
    double *const at[SQ_THROTTLE_COUNT] = {&out->ms[0], &out->ms[1], &out->ms[2],
                                           &out->ms[3], &out->ms[4], &out->ms[5]};
    *out = unknown_throttle;
    if (!n)
        return;
    get_fields(n, ids, to_ms, SQ_THROTTLE_COUNT, at);
    out->has_reasons = get_reasons(n, &out->reasons);
}

double sq_nvml_energy_j(sq_nvml *n)
{
    int (*get)(nvml_device, unsigned long long *);
    unsigned long long millijoules;
    if (!n || !sq_library_find(n->library, "nvmlDeviceGetTotalEnergyConsumption", &get) ||
        get(n->device, &millijoules) != NVML_SUCCESS)
        return NAN;
    return 1e-3 * (double)millijoules;
}

/* Memory temperature, power now and of the last second, volatile ECC errors, remapped rows. */
static void get_state_fields(const sq_nvml *n, sq_nvml_state *out)
{
    static const unsigned ids[] = {82, FIELD_POWER_INSTANT, 185, 3, 4, 142, 143};
    static const double scale[] = {1, 1e-3, 1e-3, 1, 1, 1, 1};
    double correctable, uncorrectable;
    double *const at[] = {
        &out->memory_temperature_c, &out->power_instant_w, &out->power_w, &out->ecc_corrected,
        &out->ecc_uncorrected,      &correctable,          &uncorrectable};
    get_fields(n, ids, scale, sizeof ids / sizeof ids[0], at);
    out->remapped_rows = correctable + uncorrectable;
}

/* --- heat --- */

static double get_temperature(const sq_nvml *n)
{
    int (*get)(nvml_device, temperature_v1 *);
    temperature_v1 reading = {.version = VERSION_1(temperature_v1), .sensor = SENSOR_GPU};
    if (sq_library_find(n->library, "nvmlDeviceGetTemperatureV", &get) &&
        get(n->device, &reading) == NVML_SUCCESS)
        return reading.celsius;
    return get_indexed(n, "nvmlDeviceGetTemperature", SENSOR_GPU);
}

/* The driver's own margin (T.Limit) where it has one; it moves with the sensor that is hottest. */
static double get_headroom(const sq_nvml *n, double temperature_c, double slowdown_c)
{
    int (*get)(nvml_device, margin_v1 *);
    margin_v1 margin = {.version = VERSION_1(margin_v1)};
    if (sq_library_find(n->library, "nvmlDeviceGetMarginTemperature", &get) &&
        get(n->device, &margin) == NVML_SUCCESS)
        return margin.celsius;
    return slowdown_c - temperature_c;
}

static void get_heat(const sq_nvml *n, sq_nvml_state *out)
{
    out->temperature_c = get_temperature(n);
    out->slowdown_c = get_indexed(n, "nvmlDeviceGetTemperatureThreshold", THRESHOLD_SLOWDOWN);
    out->headroom_c = get_headroom(n, out->temperature_c, out->slowdown_c);
    if (isnan(out->slowdown_c))
        out->slowdown_c = out->temperature_c + out->headroom_c;
}

double sq_nvml_headroom_c(sq_nvml *n)
{
    sq_nvml_state heat;
    if (!n)
        return NAN;
    get_heat(n, &heat);
    return heat.headroom_c;
}

double sq_nvml_temperature_c(sq_nvml *n) { return n ? get_temperature(n) : NAN; }

double sq_nvml_power_w(sq_nvml *n)
{
    static const unsigned id = FIELD_POWER_INSTANT;
    static const double to_watts = 1e-3;
    double watts = NAN;
    double *const at = &watts;
    if (n)
        get_fields(n, &id, &to_watts, 1, &at);
    return n && isnan(watts) ? 1e-3 * get_unsigned(n, "nvmlDeviceGetPowerUsage") : watts;
}

/* --- other processes --- */

static bool is_here(long pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld", pid);
    return access(path, F_OK) == 0;
}

static long parent_of(long pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    size_t n = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file)
        fclose(file);
    line[n] = '\0';
    char *behind_name = strrchr(line, ')'); /* the name may hold anything */
    return behind_name && strlen(behind_name) > 4 ? strtol(behind_name + 4, NULL, 10) : 0;
}

/* This process, what it started, and what its own parent started: workers and peers of one
 * seqmark. Everything descends from process 1, so that one is nobody's family. */
static bool is_family(long pid)
{
    long self = getpid(), parent = getppid();
    for (int i = 0; i < MAX_ANCESTORS && pid > 1; i++) {
        if (pid == self || pid == parent)
            return true;
        pid = parent_of(pid);
    }
    return false;
}

static double count_others(const sq_nvml *n)
{
    int (*get)(nvml_device, unsigned *, process_info *);
    process_info list[MAX_PROCESSES];
    unsigned count = MAX_PROCESSES;
    if (!sq_library_find(n->library, "nvmlDeviceGetComputeRunningProcesses_v3", &get) ||
        get(n->device, &count, list) != NVML_SUCCESS)
        return NAN;
    int others = 0;
    for (unsigned i = 0; i < count && i < MAX_PROCESSES; i++) {
        if (!is_here(list[i].pid))
            return NAN;
        others += !is_family(list[i].pid);
    }
    return others;
}

/* --- clocks --- */

static sq_status judge_clocks(int code, const char *what, sq_error *err)
{
    if (code == NVML_SUCCESS)
        return SQ_OK;
    if (code == NVML_NO_PERMISSION)
        return sq_fail(err, SQ_UNSUPPORTED, "%s: no permission; the driver lets root alone", what);
    if (code == NVML_NOT_SUPPORTED)
        return sq_fail(err, SQ_UNSUPPORTED, "%s: this GPU, or this part of one, cannot", what);
    return sq_fail(err, code == NVML_INVALID_ARGUMENT ? SQ_BAD_ARGUMENT : SQ_UNSUPPORTED,
                   "%s: the driver refuses (error %d)", what, code);
}

sq_status sq_nvml_lock_clocks(sq_nvml *n, int mhz, sq_error *err)
{
    int (*lock)(nvml_device, unsigned, unsigned);
    char what[64] = "lock clocks to base";
    double most = get_indexed(n, "nvmlDeviceGetMaxClockInfo", CLOCK_SM);
    unsigned clock = mhz < 0 ? CLOCK_LIMIT_TDP : (unsigned)mhz;
    if (mhz >= 0)
        snprintf(what, sizeof what, "lock clocks to %d MHz", mhz);
    if (mhz > most) /* false for NAN */
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: the GPU goes up to %.0f MHz", what, most);
    if (!sq_library_find(n->library, "nvmlDeviceSetGpuLockedClocks", &lock))
        return sq_fail(err, SQ_UNSUPPORTED, "%s: the driver is too old", what);
    return judge_clocks(lock(n->device, clock, clock), what, err);
}

sq_status sq_nvml_unlock_clocks(sq_nvml *n, sq_error *err)
{
    int (*reset)(nvml_device);
    if (!sq_library_find(n->library, "nvmlDeviceResetGpuLockedClocks", &reset))
        return sq_fail(err, SQ_UNSUPPORTED, "unlock clocks: the driver is too old");
    return judge_clocks(reset(n->device), "unlock clocks", err);
}

/* --- all of it --- */

static const sq_nvml_state unknown_state = {
    .sm_mhz = NAN,
    .memory_mhz = NAN,
    .max_sm_mhz = NAN,
    .max_memory_mhz = NAN,
    .temperature_c = NAN,
    .memory_temperature_c = NAN,
    .slowdown_c = NAN,
    .headroom_c = NAN,
    .power_w = NAN,
    .power_instant_w = NAN,
    .power_limit_w = NAN,
    .default_power_limit_w = NAN,
    .energy_j = NAN,
    .throttle = {.ms = {NAN, NAN, NAN, NAN, NAN, NAN}},
    .ecc_corrected = NAN,
    .ecc_uncorrected = NAN,
    .remapped_rows = NAN,
    .other_processes = NAN,
    .pcie_generation = NAN,
    .pcie_width = NAN,
    .max_pcie_generation = NAN,
    .max_pcie_width = NAN,
};

static void get_modes(const sq_nvml *n, sq_nvml_state *out)
{
    get_driver(n, out->driver, sizeof out->driver);
    get_mode(n, "nvmlDeviceGetEccMode", out->ecc, sizeof out->ecc);
    get_mode(n, "nvmlDeviceGetMigMode", out->mig, sizeof out->mig);
    get_switch(n, "nvmlDeviceGetPersistenceMode", out->persistence, sizeof out->persistence);
    get_virtualization(n, out->virtualization, sizeof out->virtualization);
    out->pcie_generation = get_unsigned(n, "nvmlDeviceGetCurrPcieLinkGeneration");
    out->pcie_width = get_unsigned(n, "nvmlDeviceGetCurrPcieLinkWidth");
    out->max_pcie_generation = get_unsigned(n, "nvmlDeviceGetMaxPcieLinkGeneration");
    out->max_pcie_width = get_unsigned(n, "nvmlDeviceGetMaxPcieLinkWidth");
}

void sq_nvml_snapshot(sq_nvml *n, sq_nvml_state *out)
{
    *out = unknown_state;
    if (!n)
        return;
    out->sm_mhz = get_indexed(n, "nvmlDeviceGetClockInfo", CLOCK_SM);
    out->memory_mhz = get_indexed(n, "nvmlDeviceGetClockInfo", CLOCK_MEMORY);
    out->max_sm_mhz = get_indexed(n, "nvmlDeviceGetMaxClockInfo", CLOCK_SM);
    out->max_memory_mhz = get_indexed(n, "nvmlDeviceGetMaxClockInfo", CLOCK_MEMORY);
    get_heat(n, out);
    get_state_fields(n, out);
    if (isnan(out->power_w))
        out->power_w = 1e-3 * get_unsigned(n, "nvmlDeviceGetPowerUsage");
    out->power_limit_w = 1e-3 * get_unsigned(n, "nvmlDeviceGetEnforcedPowerLimit");
    out->default_power_limit_w = 1e-3 * get_unsigned(n, "nvmlDeviceGetPowerManagementDefaultLimit");
    out->energy_j = sq_nvml_energy_j(n);
    sq_nvml_read_throttle(n, &out->throttle);
    out->other_processes = count_others(n);
    get_modes(n, out);
}

sq_status sq_nvml_read(const char *pci, sq_nvml_state *out, sq_error *err)
{
    sq_nvml *n;
    *out = unknown_state;
    SQ_TRY(sq_nvml_open(pci, &n, err));
    sq_nvml_snapshot(n, out);
    sq_nvml_close(n);
    return SQ_OK;
}

void sq_profile_describe_nvml(char *out, size_t size)
{
    sq_nvml n = {NULL, NULL};
    sq_error err = {.status = SQ_OK};
    char version[32] = "";
    if (start(&n, &err) != SQ_OK) {
        snprintf(out, size, "absent: %s", err.message);
        return;
    }
    get_driver(&n, version, sizeof version);
    snprintf(out, size, "present, driver %s", version[0] ? version : "of unknown version");
}
