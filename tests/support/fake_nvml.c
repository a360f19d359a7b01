/* fake_nvml: a library that answers NVML's calls from a script instead of a driver.
 *
 * Load it through $SEQMARK_NVML. The script is $FAKE_NVML: words "name=value", in NVML's own units; "@FILE" reads them from a file, at
 * every call. A name that is not there is NOT_SUPPORTED. A value is a number, "!4" for that error
 * code, or "5e8/s" for a counter that grows so fast from the first call on, in steps of tick_ms
 * (1) milliseconds. processes=self,parent,123 lists process ids, driver=TEXT is text. Built with
 * FAKE_NVML_OLD it lacks what old drivers lack. $FAKE_NVML_LOG: a file that gets a line for each call
 * that a test may have to wait for: "margin", "lock MHz MHz", "unlock". lock=0 and unlock=0 let the
 * clocks be locked and unlocked.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/fake_nvml.h"

enum { SUCCESS = 0, NOT_SUPPORTED = 3, MAX_SCRIPT = 4096, MAX_WORD = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of added_millijoules */
static double added_millijoules;

void fake_nvml_add_energy(double millijoules)
{
    pthread_mutex_lock(&lock);
    added_millijoules += millijoules;
    pthread_mutex_unlock(&lock);
}

static double seconds_since_first(void)
{
    static struct timespec first;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (first.tv_sec == 0)
        first = now;
    return (double)(now.tv_sec - first.tv_sec) + 1e-9 * (double)(now.tv_nsec - first.tv_nsec);
}

static void log_call(const char *line)
{
    const char *path = getenv("FAKE_NVML_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file)
        return;
    fprintf(file, "%s\n", line);
    fclose(file);
}

/* --- the script --- */

static void read_script(char out[MAX_SCRIPT])
{
    const char *environment = getenv("FAKE_NVML");
    const char *script = environment ? environment : "";
    snprintf(out, MAX_SCRIPT, "%s", script);
    if (script[0] != '@')
        return;
    FILE *file = fopen(script + 1, "r");
    size_t n = file ? fread(out, 1, MAX_SCRIPT - 1, file) : 0;
    out[n] = '\0';
    if (file)
        fclose(file);
}

/* The text behind "name=". */
static bool find_word(const char *name, char out[MAX_WORD])
{
    char script[MAX_SCRIPT], *rest = NULL;
    size_t length = strlen(name);
    read_script(script);
    for (char *word = strtok_r(script, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
        if (strncmp(word, name, length) == 0 && word[length] == '=') {
            snprintf(out, MAX_WORD, "%.*s", MAX_WORD - 1, word + length + 1);
            return true;
        }
    return false;
}

static double tick_seconds(void)
{
    char word[MAX_WORD];
    return find_word("tick_ms", word) ? 1e-3 * strtod(word, NULL) : 1e-3;
}

static int find_number(const char *name, double *out)
{
    char word[MAX_WORD], *end;
    *out = 0;
    if (!find_word(name, word))
        return NOT_SUPPORTED;
    if (word[0] == '!')
        return atoi(word + 1);
    *out = strtod(word, &end);
    if (strcmp(end, "/s") == 0) {
        double tick = tick_seconds();
        *out *= tick * (double)(long long)(seconds_since_first() / tick);
    }
    return SUCCESS;
}

static int give(const char *name, unsigned *out)
{
    double value;
    int code = find_number(name, &value);
    if (code == SUCCESS)
        *out = (unsigned)value;
    return code;
}

/* --- NVML's calls --- */

typedef void *device;

int nvmlInit_v2(void)
{
    double value;
    int code = find_number("init", &value);
    seconds_since_first();
    return code == NOT_SUPPORTED ? SUCCESS : code;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, device *out)
{
    char wanted[MAX_WORD];
    if (find_word("pci", wanted) && strcmp(wanted, pci) != 0)
        return 6; /* not found */
    *out = &lock;
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *out, unsigned size)
{
    char word[MAX_WORD];
    if (!find_word("driver", word))
        return NOT_SUPPORTED;
    snprintf(out, size, "%s", word);
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(device d, int clock, unsigned *out)
{
    (void)d;
    return give(clock == 1 ? "sm_mhz" : "memory_mhz", out);
}

int nvmlDeviceGetMaxClockInfo(device d, int clock, unsigned *out)
{
    (void)d;
    return give(clock == 1 ? "max_sm_mhz" : "max_memory_mhz", out);
}

int nvmlDeviceGetTemperature(device d, int sensor, unsigned *out)
{
    (void)d;
    return sensor == 0 ? give("temperature", out) : NOT_SUPPORTED;
}

int nvmlDeviceGetTemperatureThreshold(device d, int threshold, unsigned *out)
{
    (void)d;
    return threshold == 1 ? give("slowdown", out) : NOT_SUPPORTED;
}

#define FACT(call, name)                                                                           \
    int call(device d, unsigned *out)                                                              \
    {                                                                                              \
        (void)d;                                                                                   \
        return give(name, out);                                                                    \
    }
#define MODE(call, name)                                                                           \
    int call(device d, unsigned *now, unsigned *pending)                                           \
    {                                                                                              \
        (void)d;                                                                                   \
        *pending = 0;                                                                              \
        return give(name, now);                                                                    \
    }

int nvmlDeviceSetGpuLockedClocks(device d, unsigned least, unsigned most)
{
    (void)d;
    double ignored;
    char line[64];
    int code = find_number("lock", &ignored);
    snprintf(line, sizeof line, "lock %u %u", least, most);
    if (code == SUCCESS)
        log_call(line);
    return code;
}

int nvmlDeviceResetGpuLockedClocks(device d)
{
    (void)d;
    double ignored;
    int code = find_number("unlock", &ignored);
    if (code == SUCCESS)
        log_call("unlock");
    return code;
}

FACT(nvmlDeviceGetPowerUsage, "power")
FACT(nvmlDeviceGetEnforcedPowerLimit, "limit")
FACT(nvmlDeviceGetPowerManagementDefaultLimit, "default_limit")
FACT(nvmlDeviceGetPersistenceMode, "persistence")
FACT(nvmlDeviceGetVirtualizationMode, "virtualization")
FACT(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
FACT(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
FACT(nvmlDeviceGetMaxPcieLinkGeneration, "max_pcie_generation")
FACT(nvmlDeviceGetMaxPcieLinkWidth, "max_pcie_width")
MODE(nvmlDeviceGetEccMode, "ecc")

static int give_reasons(unsigned long long *out)
{
    double value;
    int code = find_number("reasons", &value);
    *out = (unsigned long long)value;
    return code;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(device d, unsigned long long *out)
{
    (void)d;
    return give_reasons(out);
}

#ifndef FAKE_NVML_OLD

MODE(nvmlDeviceGetMigMode, "mig")

int nvmlDeviceGetTotalEnergyConsumption(device d, unsigned long long *out)
{
    double value;
    (void)d;
    int code = find_number("energy", &value);
    pthread_mutex_lock(&lock);
    *out = (unsigned long long)(value + added_millijoules);
    pthread_mutex_unlock(&lock);
    return code;
}

int nvmlDeviceGetCurrentClocksEventReasons(device d, unsigned long long *out)
{
    (void)d;
    return give_reasons(out);
}

/* The version word is the struct's size and its number: a caller that has it wrong is refused. */
int nvmlDeviceGetTemperatureV(device d, fake_temperature *out)
{
    (void)d;
    unsigned celsius = 0;
    if (out->version != (sizeof *out | 1u << 24))
        return 25; /* argument version mismatch */
    int code = out->sensor == 0 ? give("temperature", &celsius) : NOT_SUPPORTED;
    out->celsius = (int)celsius;
    return code;
}

int nvmlDeviceGetMarginTemperature(device d, fake_margin *out)
{
    (void)d;
    double celsius;
    if (out->version != (sizeof *out | 1u << 24))
        return 25;
    log_call("margin");
    int code = find_number("margin", &celsius);
    out->celsius = (int)celsius;
    return code;
}

static const struct {
    unsigned id;
    const char *name;
} fields[] = {
    {3, "sbe"},
    {4, "dbe"},
    {74, "sw_power"},
    {76, "sync_boost"},
    {81, "below_base"},
    {82, "memory_temperature"},
    {142, "remapped_correctable"},
    {143, "remapped_uncorrectable"},
    {185, "power_average"},
    {186, "power_instant"},
    {269, "sw_thermal"},
    {270, "hw_thermal"},
    {271, "hw_brake"},
};

static void fill_field(fake_field *field)
{
    double value = 0;
    field->result = NOT_SUPPORTED;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].id == field->id)
            field->result = find_number(fields[i].name, &value);
    bool is_small = field->id == 82 || field->id == 185 || field->id == 186;
    field->type = is_small ? 1 : 3; /* unsigned int, unsigned long long */
    if (is_small)
        field->value.u = (unsigned)value;
    else
        field->value.ull = (unsigned long long)value;
}

int nvmlDeviceGetFieldValues(device d, int count, fake_field *list)
{
    double ignored;
    (void)d;
    int code = find_number("fields", &ignored);
    if (code != SUCCESS && code != NOT_SUPPORTED)
        return code;
    for (int i = 0; i < count; i++)
        fill_field(&list[i]);
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *count, fake_process *list)
{
    char word[MAX_WORD], *rest = NULL;
    unsigned room = *count, n = 0;
    (void)d;
    if (!find_word("processes", word))
        return NOT_SUPPORTED;
    if (word[0] == '!')
        return atoi(word + 1);
    for (char *p = strtok_r(word, ",", &rest); p && n < room; p = strtok_r(NULL, ",", &rest)) {
        long pid = strcmp(p, "self") == 0     ? (long)getpid()
                   : strcmp(p, "parent") == 0 ? (long)getppid()
                                              : strtol(p, NULL, 10);
        list[n++] = (fake_process){.pid = (unsigned)pid};
    }
    *count = n;
    return SUCCESS;
}

#endif
