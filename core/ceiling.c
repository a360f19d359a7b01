/* ceiling: see ceiling.h. */
#include "core/ceiling.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char launch[] = "Launch", memory[] = "Memory", latency[] = "Latency of one load",
                  tensor[] = "Matrix products", core[] = "Arithmetic on the cores",
                  atomics[] = "Atomics", links[] = "Links", power[] = "Power and clock";

const sq_ceiling_def sq_ceiling_defs[] = {
    {"launch_plain_ns", "ns", launch, "an empty kernel, one after the other in a stream",
     SQ_PEAK_NONE},
    {"launch_graph_ns", "ns", launch, "an empty kernel, one after the other in a graph",
     SQ_PEAK_NONE},
    {"enqueue_plain_ns", "ns", launch, "host time to enqueue an empty kernel", SQ_PEAK_NONE},
    {"enqueue_graph_ns", "ns", launch, "host time to enqueue a graph, per kernel in it",
     SQ_PEAK_NONE},
    {"round_trip_ns", "ns", launch, "an empty kernel from its launch to the host seeing its end",
     SQ_PEAK_NONE},
    {"copy_gbytes_per_s", "GB/s", memory,
     "copy far beyond the cache, bytes read plus bytes written", SQ_PEAK_DRAM},
    {"read_gbytes_per_s", "GB/s", memory, "read far beyond the cache", SQ_PEAK_DRAM},
    {"write_gbytes_per_s", "GB/s", memory, "write far beyond the cache", SQ_PEAK_DRAM},
    {"triad_gbytes_per_s", "GB/s", memory, "a = b + s c in f32, two arrays read and one written",
     SQ_PEAK_DRAM},
    {"l2_read_gbytes_per_s", "GB/s", memory, "read of a set that stays in L2, past L1", SQ_PEAK_L2},
    {"shared_read_gbytes_per_s", "GB/s", memory, "read of shared memory without conflicts",
     SQ_PEAK_SHARED},
    {"chase_l1_ns", "ns", latency, "hit in L1", SQ_PEAK_NONE},
    {"chase_shared_ns", "ns", latency, "shared memory", SQ_PEAK_NONE},
    {"chase_l2_ns", "ns", latency, "hit in L2", SQ_PEAK_NONE},
    {"chase_dram_ns", "ns", latency, "device memory, random order in 512 MiB", SQ_PEAK_NONE},
    {"gemm_bf16_tflops", "TFLOP/s", tensor, "bf16, f32 accumulation: burst", SQ_PEAK_HALF},
    {"gemm_bf16_sustained_tflops", "TFLOP/s", tensor, "bf16: sustained", SQ_PEAK_HALF},
    {"gemm_f16_tflops", "TFLOP/s", tensor, "f16, f32 accumulation: burst", SQ_PEAK_HALF},
    {"gemm_f16_sustained_tflops", "TFLOP/s", tensor, "f16: sustained", SQ_PEAK_HALF},
    {"gemm_fp8_tflops", "TFLOP/s", tensor, "fp8 e4m3, bf16 result: burst", SQ_PEAK_FP8},
    {"gemm_fp8_sustained_tflops", "TFLOP/s", tensor, "fp8 e4m3: sustained", SQ_PEAK_FP8},
    {"gemm_int8_tops", "TOP/s", tensor, "int8, int32 result: burst", SQ_PEAK_INT8},
    {"gemm_int8_sustained_tops", "TOP/s", tensor, "int8: sustained", SQ_PEAK_INT8},
    {"gemm_tf32_tflops", "TFLOP/s", tensor, "tf32: burst", SQ_PEAK_TF32},
    {"gemm_tf32_sustained_tflops", "TFLOP/s", tensor, "tf32: sustained", SQ_PEAK_TF32},
    {"gemm_f32_tflops", "TFLOP/s", tensor, "f32 on the CUDA cores: burst", SQ_PEAK_SIMT},
    {"gemm_f32_sustained_tflops", "TFLOP/s", tensor, "f32: sustained", SQ_PEAK_SIMT},
    {"fma_f32_tflops", "TFLOP/s", core, "f32 multiply-add in registers", SQ_PEAK_SIMT},
    {"ex2_gops_per_s", "Gop/s", core, "ex2 in registers (special-function unit)", SQ_PEAK_MUFU},
    {"atomic_same_gops_per_s", "Gop/s", atomics, "add to one address of device memory",
     SQ_PEAK_NONE},
    {"atomic_distinct_gops_per_s", "Gop/s", atomics, "add to neighbouring addresses in L2",
     SQ_PEAK_NONE},
    {"atomic_shared_gops_per_s", "Gop/s", atomics, "add to shared memory without conflicts",
     SQ_PEAK_NONE},
    {"host_to_device_gbytes_per_s", "GB/s", links, "copy from pinned host memory", SQ_PEAK_NONE},
    {"device_to_host_gbytes_per_s", "GB/s", links, "copy to pinned host memory", SQ_PEAK_NONE},
    {"peer_gbytes_per_s", "GB/s", links, "copy to another GPU", SQ_PEAK_NONE},
    {"idle_power_w", "W", power, "board power with nothing running", SQ_PEAK_NONE},
    {"load_power_w", "W", power, "board power under bf16 products", SQ_PEAK_NONE},
    {"load_sm_mhz", "MHz", power, "SM clock under bf16 products", SQ_PEAK_NONE},
    {NULL, NULL, NULL, NULL, SQ_PEAK_NONE},
};

const sq_ceiling_def *sq_ceiling_find(const char *name)
{
    for (const sq_ceiling_def *def = sq_ceiling_defs; def->name; def++)
        if (strcmp(def->name, name) == 0)
            return def;
    return NULL;
}

sq_ceiling sq_ceiling_new(const char *name)
{
    const sq_ceiling_def *def = sq_ceiling_find(name);
    sq_ceiling ceiling = {.value = NAN, .lo = NAN, .hi = NAN, .sm_mhz = NAN};
    snprintf(ceiling.name, sizeof ceiling.name, "%s", name);
    snprintf(ceiling.unit, sizeof ceiling.unit, "%s", def ? def->unit : "");
    return ceiling;
}

double sq_ceiling_value(const sq_ceiling *list, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].value;
    return NAN;
}

/* --- peaks --- */

/* Per clock and SM; 0: no such unit. Dense products; a multiply-add counts 2. */
typedef struct {
    const char *arch;
    double per_clock[SQ_PEAK_COUNT];
} architecture;

#define RATES(half, tf32, fp8, int8, simt, mufu)                                                   \
    {                                                                                              \
        [SQ_PEAK_L2] = 64, [SQ_PEAK_SHARED] = 128, [SQ_PEAK_HALF] = half, [SQ_PEAK_TF32] = tf32,   \
        [SQ_PEAK_FP8] = fp8, [SQ_PEAK_INT8] = int8, [SQ_PEAK_SIMT] = simt, [SQ_PEAK_MUFU] = mufu   \
    }

/* From NVIDIA's architecture whitepapers and tuning guides: peak rate over SMs and boost clock. The
 * rates of sm_86 and sm_89 are the workstation cards'; GeForce does half of them with f32
 * accumulation, and a bound may be high but not low. */
static const architecture architectures[] = {
    {"sm_80", RATES(2048, 1024, 0, 4096, 128, 16)},
    {"sm_86", RATES(1024, 512, 0, 2048, 256, 16)},
    {"sm_89", RATES(1024, 512, 2048, 2048, 256, 16)},
    {"sm_90", RATES(4096, 2048, 8192, 8192, 256, 16)},
    {"sm_100", RATES(8192, 4096, 16384, 16384, 256, 16)},
    {"sm_103", RATES(8192, 4096, 16384, 16384, 256, 32)},
    {"sm_120", RATES(1024, 512, 2048, 2048, 256, 16)},
    {NULL, {0}},
};

static double dram_rate(const sq_device *device)
{
    return device->memory_bus_bits / 8 * device->max_memory_mhz * 2 * 1e-3;
}

double sq_peak_rate(const sq_device *device, sq_peak peak, double sm_mhz)
{
    if (peak == SQ_PEAK_NONE || peak >= SQ_PEAK_COUNT || strcmp(device->backend, "cuda") != 0)
        return NAN;
    if (peak == SQ_PEAK_DRAM)
        return dram_rate(device) > 0 ? dram_rate(device) : (double)NAN;
    for (const architecture *a = architectures; a->arch; a++) {
        if (strcmp(a->arch, device->arch) != 0)
            continue;
        double rate = a->per_clock[peak] * device->sm_count * sm_mhz; /* per microsecond */
        bool is_tera = peak >= SQ_PEAK_HALF && peak <= SQ_PEAK_SIMT;
        return rate > 0 ? rate * (is_tera ? 1e-6 : 1e-3) : (double)NAN;
    }
    return NAN;
}

double sq_peak_flops(const sq_device *device, sq_dtype dtype, double sm_mhz)
{
    sq_peak tensor_unit = dtype == SQ_DTYPE_F32 ? SQ_PEAK_TF32 : SQ_PEAK_HALF;
    double simt = sq_peak_rate(device, SQ_PEAK_SIMT, sm_mhz);
    return fmax(sq_peak_rate(device, tensor_unit, sm_mhz), simt); /* fmax passes over NAN */
}
