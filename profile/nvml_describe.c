/* nvml_describe: the state of a GPU in words, and what of it stands in the way of good numbers. */
#include "profile/nvml.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Adds a phrase, with a comma between two. */
static void add(char *out, size_t size, const char *format, ...)
{
    size_t n = strlen(out);
    va_list args;
    if (n > 0)
        n += (size_t)snprintf(out + n, size - n, ", ");
    if (n >= size)
        return;
    va_start(args, format);
    vsnprintf(out + n, size - n, format, args);
    va_end(args);
}

void sq_nvml_describe(const sq_nvml_state *s, char *out, size_t size)
{
    out[0] = '\0';
    if (!isnan(s->temperature_c))
        add(out, size, "%.0f C", s->temperature_c);
    if (!isnan(s->headroom_c))
        add(out, size, "%.0f C from slowdown", s->headroom_c);
    if (!isnan(s->power_w))
        add(out, size, "%.0f W", s->power_w);
    if (!isnan(s->power_limit_w))
        add(out, size, "limit %.0f W", s->power_limit_w);
    if (!isnan(s->pcie_generation) && !isnan(s->pcie_width))
        add(out, size, "PCIe %.0f x%.0f", s->pcie_generation, s->pcie_width);
    if (s->ecc[0])
        add(out, size, "ECC %s", s->ecc);
    if (s->persistence[0])
        add(out, size, "persistence %s", s->persistence);
    if (s->virtualization[0] && strcmp(s->virtualization, "none") != 0)
        add(out, size, "%s", s->virtualization);
    if (isnan(s->energy_j))
        add(out, size, "no energy counter");
    if (isnan(s->throttle.ms[SQ_THROTTLE_SW_THERMAL]))
        add(out, size, "no throttle times");
}

bool sq_nvml_troubles(const sq_nvml_state *s, char *out, size_t size)
{
    char why[96];
    out[0] = '\0';
    sq_nvml_throttle now = s->throttle;
    for (int i = 0; i < SQ_THROTTLE_COUNT; i++)
        now.ms[i] = NAN; /* only what holds at this moment */
    if (s->other_processes > 0)
        add(out, size, "%.0f other process%s on the GPU", s->other_processes,
            s->other_processes > 1 ? "es" : "");
    if (strcmp(s->mig, "on") == 0)
        add(out, size, "MIG is on: a slice shares memory and power with others");
    if (strcmp(s->virtualization, "vgpu") == 0)
        add(out, size, "a virtual GPU: others may share it");
    if (s->headroom_c < 10)
        add(out, size, "hot");
    if (sq_nvml_disturbed(&now, &now, why, sizeof why)) {
        char *remark = strstr(why, " (");
        if (remark)
            *remark = '\0';
        add(out, size, "slowed: %s", why);
    }
    if (s->ecc_uncorrected > 0)
        add(out, size, "%.0f uncorrected ECC errors", s->ecc_uncorrected);
    return out[0] != '\0';
}
