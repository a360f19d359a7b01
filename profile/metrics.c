/* metrics: every number that a run may carry, in one table.
 *
 * source: "derived", "nvml", "traced", or "cupti:" and the CUPTI metric that counts it. The basic
 * counter set is the rows with a CUPTI source; together they take two passes on GH100 (a unit test
 * pins that).
 */
#include "profile/profile.h"

#include <string.h>

const sq_metric_def sq_metrics[] = {
    /* derived from the cell */
    {"flops", "FLOP", "", "derived", "compulsory operations; a multiply-add counts 2"},
    {"matrix_flops", "FLOP", "", "derived", "share of flops that tensor cores can do"},
    {"special", "op", "", "derived", "compulsory exp2-like operations"},
    {"bytes", "B", "", "derived",
     "compulsory traffic: every input read once, every output written once"},
    {"bytes_read", "B", "", "derived", "compulsory bytes read"},
    {"bytes_written", "B", "", "derived", "compulsory bytes written"},
    {"tokens", "token", "", "derived", "batch times sequence length"},
    {"width", "channel", "", "derived", "model width that the shape was matched to"},
    {"floor_ns", "ns", "", "derived",
     "least time under the measured ceilings: the largest of bytes, flops and special functions"},
    /* how the run was made */
    {"proof_reused", "", "", "derived",
     "1: the output has the bits that an earlier run of the campaign proved; no proof of its own"},
    /* the driver's word on a run */
    {"temperature_c", "C", "lower", "nvml", "GPU temperature after the run"},
    {"power_w", "W", "lower", "nvml", "board power after the run, averaged by the driver over 1 s"},
    {"sm_mhz_before", "MHz", "", "nvml", "SM clock before the run"},
    {"sm_mhz_after", "MHz", "", "nvml", "SM clock after the run"},
    {"memory_mhz", "MHz", "", "nvml", "memory clock after the run"},
    {"throttle_sw_power_ms", "ms", "", "nvml",
     "time of the run under the software power cap: normal for tensor-bound work, drops nothing"},
    {"throttle_sw_thermal_ms", "ms", "lower", "nvml",
     "time of the run under thermal slowdown by the driver"},
    {"throttle_hw_thermal_ms", "ms", "lower", "nvml",
     "time of the run under thermal slowdown by the hardware"},
    {"throttle_hw_brake_ms", "ms", "lower", "nvml", "time of the run under the power brake"},
    {"ecc_errors", "error", "lower", "nvml", "ECC errors during the run, corrected or not"},
    {"gpu_processes", "process", "lower", "nvml",
     "other processes with compute contexts on the GPU after the run"},
    {"cooldown_s", "s", "lower", "derived", "rest before the run (--cooldown)"},
    {"kernels_lost", "kernel", "lower", "traced",
     "kernels missing from the trace: beyond its room, or without timestamps"},
    /* counted */
    {"counter_time_ns", "ns", "", "cupti:gpu__time_duration.sum",
     "duration inside the counter pass; normalises counters, never a performance"},
    {"counter_sm_hz", "Hz", "", "cupti:sm__cycles_elapsed.avg.per_second",
     "SM clock inside the counter pass"},
    {"dram_bytes_read", "B", "lower", "cupti:dram__bytes_read.sum",
     "bytes read from device memory"},
    {"dram_bytes_written", "B", "lower", "cupti:dram__bytes_write.sum",
     "bytes written to device memory"},
    {"dram_pct", "%", "", "cupti:dram__throughput.avg.pct_of_peak_sustained_elapsed",
     "device memory throughput, of its peak"},
    {"tensor_pipe_pct", "%", "",
     "cupti:sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed",
     "tensor pipe busy, of its peak"},
    {"tensor_ops_bf16", "FLOP", "", "cupti:sm__ops_path_tensor_src_bf16_dst_fp32.sum",
     "bf16 tensor operations executed, f32 accumulation; a multiply-add counts 2"},
    {"occupancy_pct", "%", "", "cupti:sm__warps_active.avg.pct_of_peak_sustained_active",
     "warps resident, of what the SM can hold"},
    {"l2_hit_pct", "%", "", "cupti:LTS.TriageCompute.lts__average_t_sector_hit_rate_realtime.pct",
     "L2 sector hit rate, one-pass measure (differs from lts__t_sector_hit_rate)"},
    {.name = NULL},
};

const sq_metric_def *sq_metric_find(const char *name)
{
    for (const sq_metric_def *m = sq_metrics; m->name; m++)
        if (strcmp(m->name, name) == 0)
            return m;
    return NULL;
}
