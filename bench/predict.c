/* predict: see predict.h. */
#include "bench/predict.h"

#include <math.h>
#include <string.h>

#include "bench/time/sampling.h"

static double known(double value, double guess)
{
    return value > 0 ? value : guess;
}

static sq_rates cpu_rates(const sq_device *device)
{
    /* The reference works element by element in double: one or two GFLOP/s a core. */
    double cores = known(device->sm_count, 1);
    return (sq_rates){.bytes = 5e9,
                      .matrix_flops = 1.5e9 * cores,
                      .flops = 1.5e9 * cores,
                      .special = 5e7 * cores,
                      .reference_work = 7e8 * cores,
                      .launch_ns = 2e3,
                      .set_up_seconds = 0.05};
}

static sq_rates gpu_rates(const sq_device *device)
{
    double clock = known(device->max_sm_mhz, 1500) * 1e6, sms = known(device->sm_count, 100);
    double bus = known(device->memory_bus_bits, 5120) / 8;
    /* A clock and SM: 128 FMA lanes, 16 special functions; 2048 (sm_80) or 4096 (sm_90) tensor
     * FLOPs of the 16-bit types. Two transfers a memory clock. */
    double tensor = device->compute_major >= 9 ? 4096 : 2048;
    return (sq_rates){.bytes = bus * 2 * known(device->max_memory_mhz, 1500) * 1e6,
                      .matrix_flops = tensor * sms * clock,
                      .flops = 256 * sms * clock,
                      .special = 16 * sms * clock,
                      .reference_work = 1e9,
                      .launch_ns = 4e3,
                      .rests = true,
                      .set_up_seconds = 0.4};
}

sq_rates sq_rates_nominal(const sq_device *device)
{
    return strcmp(device->backend, "cpu") == 0 ? cpu_rates(device) : gpu_rates(device);
}

static double in_base_unit(const sq_ceiling *ceiling)
{
    switch (ceiling->unit[0]) {
    case 'T':
        return ceiling->value * 1e12;
    case 'G':
        return ceiling->value * 1e9;
    default:
        return ceiling->value;
    }
}

void sq_rates_use(sq_rates *rates, const sq_ceiling *ceiling)
{
    double value = in_base_unit(ceiling);
    if (!(value > 0))
        return;
    if (strcmp(ceiling->name, "copy_gbytes_per_s") == 0)
        rates->bytes = value;
    else if (strcmp(ceiling->name, "gemm_bf16_tflops") == 0)
        rates->matrix_flops = value;
    else if (strcmp(ceiling->name, "gemm_f32_tflops") == 0)
        rates->flops = value;
}

double sq_predict_launch_ns(const sq_rates *rates, const sq_cost *cost, sq_dtype dtype,
                            const char *provider)
{
    bool is_tensor = dtype != SQ_DTYPE_F32;
    double matrix = cost->matrix_flops / (is_tensor ? rates->matrix_flops : rates->flops);
    double seconds = fmax((cost->bytes_read + cost->bytes_written) / rates->bytes,
                          matrix + (cost->flops - cost->matrix_flops) / rates->flops);
    seconds = fmax(seconds, cost->special / rates->special);
    /* Usual shares: the reference is what the CPU's rates are about; a naive kernel uses no tensor
     * cores and little reuse. */
    double share = strcmp(provider, "cpu/ref") == 0 ? 1 : strstr(provider, "naive") ? 0.01 : 0.3;
    return seconds / share * 1e9 + rates->launch_ns;
}

double sq_predict_run_seconds(const sq_rates *rates, const sq_policy *policy, const sq_cost *cost,
                              double launch_ns)
{
    double launch = launch_ns / 1e9;
    double proof = fmin(cost->flops / 2, policy->proof_work) / rates->reference_work;
    double warmup = fmax(policy->warmup_launches * launch, policy->warmup_seconds);
    double least = (launch > 0.2 ? fmin(3, policy->min_samples) : policy->min_samples) * launch;
    double most = fmin(policy->max_seconds, policy->max_samples * launch);
    double sampled = fmax(least, most), rest = fmin(policy->rest * launch, SQ_LONGEST_REST_SECONDS);
    double rests = rates->rests ? sampled / launch * rest : 0;
    return rates->set_up_seconds + proof + launch + warmup + sampled + rests;
}
