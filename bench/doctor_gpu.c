/* doctor_gpu: see doctor_gpu.h. */
#include "bench/doctor_gpu.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/child.h"

/* NVML's clock event reasons of the moment. */
enum { REASON_USER_CLOCKS = 0x2, REASON_HW = 0x8, REASON_DISTURBED = 0x8 | 0x20 | 0x40 | 0x80 };

static const double near_slowdown_c = 10; /* where --cooldown begins to wait */

static void set(sq_gpu_finding *f, const char *check, bool is_fine, const char *mend)
{
    *f = (sq_gpu_finding){
        .check = check, .state = is_fine ? "ok" : "limited", .mend = is_fine ? "" : mend};
}

static void set_unknown(sq_gpu_finding *f, const char *check, const char *why)
{
    *f = (sq_gpu_finding){.check = check, .state = "absent", .mend = ""};
    snprintf(f->detail, sizeof f->detail, "%s", why);
}

static const char silent[] = "the driver does not tell";

static void judge_mig(const sq_nvml_state *s, sq_gpu_finding *f)
{
    bool is_on = strcmp(s->mig, "on") == 0;
    if (!s->mig[0]) {
        set_unknown(f, "mig", silent);
        return;
    }
    set(f, "mig", !is_on, "as root: nvidia-smi -mig 0");
    snprintf(f->detail, sizeof f->detail, "%s",
             is_on ? "on: a slice shares memory, cache and power with its neighbours, and counters "
                     "of the whole device are refused"
                   : "off");
}

static void judge_processes(const sq_nvml_state *s, sq_gpu_finding *f)
{
    if (isnan(s->other_processes)) {
        set_unknown(f, "gpu processes",
                    "cannot be told, as in a container with its own process ids");
        return;
    }
    set(f, "gpu processes", s->other_processes == 0,
        "end them, or take another --device; nvidia-smi lists them");
    snprintf(f->detail, sizeof f->detail,
             s->other_processes > 0 ? "%g others compute on this GPU: times will be disturbed"
                                    : "%g others",
             s->other_processes);
}

static void judge_ecc(const sq_nvml_state *s, sq_gpu_finding *f)
{
    bool is_bad = s->ecc_uncorrected > 0 || s->remapped_rows > 0;
    if (isnan(s->ecc_uncorrected) && isnan(s->remapped_rows)) {
        set_unknown(f, "memory errors", strcmp(s->ecc, "off") == 0 ? "ECC is off" : silent);
        return;
    }
    set(f, "memory errors", !is_bad, "reset or exchange the card");
    snprintf(f->detail, sizeof f->detail,
             "ECC %s, %g uncorrected and %g corrected errors since the driver was loaded, %g rows "
             "remapped",
             s->ecc[0] ? s->ecc : "unknown", fmax(0, s->ecc_uncorrected), fmax(0, s->ecc_corrected),
             fmax(0, s->remapped_rows));
}

static void judge_heat(const sq_nvml_state *s, sq_gpu_finding *f)
{
    if (isnan(s->temperature_c)) {
        set_unknown(f, "heat", silent);
        return;
    }
    bool is_hot = s->headroom_c < near_slowdown_c;
    set(f, "heat", !is_hot, "let it cool; runs wait by themselves unless --cooldown off");
    size_t n = (size_t)snprintf(f->detail, sizeof f->detail, "%g C", s->temperature_c);
    if (!isnan(s->headroom_c))
        snprintf(f->detail + n, sizeof f->detail - n, ", %g C below slowdown", s->headroom_c);
}

static void judge_throttling(const sq_nvml_state *s, sq_gpu_finding *f)
{
    static const struct {
        unsigned long long bit;
        const char *name;
    } reasons[] = {{REASON_HW, "hardware slowdown"},
                   {0x20, "thermal slowdown by the driver"},
                   {0x40, "thermal slowdown by the hardware"},
                   {0x80, "power brake"}};
    if (!s->throttle.has_reasons) {
        set_unknown(f, "throttling", silent);
        return;
    }
    set(f, "throttling", !(s->throttle.reasons & REASON_DISTURBED),
        "samples taken meanwhile are dropped: look after cooling and power supply");
    size_t n = 0;
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0] && n < sizeof f->detail; i++)
        if (s->throttle.reasons & reasons[i].bit)
            n += (size_t)snprintf(f->detail + n, sizeof f->detail - n, "%s%s", n ? ", " : "",
                                  reasons[i].name);
    if (!n)
        snprintf(f->detail, sizeof f->detail, "none now");
}

static void judge_clocks(const sq_nvml_state *s, sq_gpu_finding *f)
{
    if (isnan(s->sm_mhz) || isnan(s->max_sm_mhz)) {
        set_unknown(f, "clocks now", silent);
        return;
    }
    bool is_set = s->throttle.has_reasons && (s->throttle.reasons & REASON_USER_CLOCKS);
    set(f, "clocks now", !is_set, "as root: nvidia-smi -rac (and -rgc)");
    snprintf(f->detail, sizeof f->detail, "SM %g of %g MHz, memory %g of %g MHz%s", s->sm_mhz,
             s->max_sm_mhz, s->memory_mhz, s->max_memory_mhz,
             is_set ? ": held down by application clocks" : "");
}

static void judge_power(const sq_nvml_state *s, sq_gpu_finding *f)
{
    if (isnan(s->power_limit_w)) {
        set_unknown(f, "power cap", silent);
        return;
    }
    bool is_low = s->power_limit_w < s->default_power_limit_w - 1;
    set(f, "power cap", !is_low, "as root: nvidia-smi -pl WATTS");
    size_t n = (size_t)snprintf(f->detail, sizeof f->detail, "%g W", s->power_limit_w);
    if (!isnan(s->default_power_limit_w))
        snprintf(f->detail + n, sizeof f->detail - n, " of %g W by default%s",
                 s->default_power_limit_w, is_low ? ": tensor-bound cells will be slower" : "");
}

static void judge_modes(const sq_nvml_state *s, sq_gpu_finding *f)
{
    bool is_shared = strcmp(s->virtualization, "vgpu") == 0;
    bool is_slow = strcmp(s->persistence, "off") == 0;
    if (!s->persistence[0] && !s->virtualization[0]) {
        set_unknown(f, "driver modes", silent);
        return;
    }
    set(f, "driver modes", !is_shared && !is_slow,
        is_shared ? "a whole GPU" : "as root: nvidia-smi -pm 1, or nvidia-persistenced");
    snprintf(f->detail, sizeof f->detail, "persistence %s, virtualization %s%s",
             s->persistence[0] ? s->persistence : "unknown",
             s->virtualization[0] ? s->virtualization : "unknown",
             is_shared ? ": counters and clocks are the host's"
             : is_slow ? ": every start of a worker may load the driver anew"
                       : "");
}

static void judge_driver_counters(const sq_nvml_state *s, sq_gpu_finding *f)
{
    bool has_throttle = !isnan(s->throttle.ms[SQ_THROTTLE_SW_THERMAL]);
    if (isnan(s->energy_j) && !has_throttle) {
        set_unknown(f, "driver counters", "no energy, no throttle times");
        return;
    }
    set(f, "driver counters", !isnan(s->energy_j) && has_throttle, "a newer driver");
    snprintf(f->detail, sizeof f->detail, "%s, %s", isnan(s->energy_j) ? "no energy" : "energy",
             has_throttle ? "throttle times"
                          : "no throttle times: its state of the moment decides");
}

static size_t read_state(const void *pci, void *out, size_t size)
{
    (void)size;
    return sq_nvml_read(pci, out, NULL) == SQ_OK ? sizeof(sq_nvml_state) : 0;
}

bool sq_doctor_ask(const sq_device *device, sq_nvml_state *out)
{
    return sq_ask_child(read_state, device->pci, out, sizeof *out) == sizeof *out;
}

bool sq_doctor_is_unfit(const sq_gpu_finding *finding)
{
    return strcmp(finding->state, "limited") == 0 &&
           (strcmp(finding->check, "gpu processes") == 0 ||
            strcmp(finding->check, "throttling") == 0);
}

int sq_doctor_judge(const sq_nvml_state *state, sq_gpu_finding *out)
{
    static void (*const judges[])(const sq_nvml_state *, sq_gpu_finding *) = {
        judge_mig,    judge_processes, judge_ecc,   judge_heat,           judge_throttling,
        judge_clocks, judge_power,     judge_modes, judge_driver_counters};
    const int n = (int)(sizeof judges / sizeof judges[0]);
    for (int i = 0; i < n && i < SQ_MAX_FINDINGS; i++)
        judges[i](state, &out[i]);
    return n;
}

void sq_doctor_judge_counters(const sq_record *trial, sq_gpu_finding *out)
{
    int fine = 0;
    const char *why = "the trial counted nothing";
    for (int i = 0; i < trial->n_values; i++) {
        const sq_value *value = &trial->values[i];
        if (strncmp(value->metric, "phase_", 6) == 0)
            continue;
        if (strcmp(value->validity, "ok") == 0)
            fine++;
        else
            why = value->validity;
    }
    set(out, "counters", fine > 0,
        "modprobe nvidia NVreg_RestrictProfilingToAdminUsers=0, or root (CAP_SYS_ADMIN); end "
        "other profilers (ncu, nsys, DCGM: dcgmi profile --pause)");
    if (fine)
        snprintf(out->detail, sizeof out->detail, "%d of a trial cell", fine);
    else
        snprintf(out->detail, sizeof out->detail, "%s: rows will have times without counters", why);
}
