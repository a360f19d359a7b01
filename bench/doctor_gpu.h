/* doctor_gpu: what of a GPU's present state will trouble a campaign on it, in words. */
#ifndef SQ_BENCH_DOCTOR_GPU_H
#define SQ_BENCH_DOCTOR_GPU_H

#include "core/record.h"
#include "profile/nvml.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_FINDINGS = 12 };

/* state: "ok"; "limited": rows will say so; "absent": cannot be known here. mend: what helps, or "". */
typedef struct {
    const char *check, *state, *mend;
    char detail[240];
} sq_gpu_finding;

/* The present state, asked in a process of its own; false where the driver cannot be asked. */
bool sq_doctor_ask(const sq_device *device, sq_nvml_state *out);

/* Slices, other processes, memory errors, heat, throttling, power, clocks, the driver's modes. The
 * number of findings written to `out` (room for SQ_MAX_FINDINGS). */
int sq_doctor_judge(const sq_nvml_state *state, sq_gpu_finding *out);

/* Whether a night that begins so could be compared with none: others compute on the GPU, or it is
 * held down. */
bool sq_doctor_is_unfit(const sq_gpu_finding *finding);

/* What a trial profile of any cell says of the counters. */
void sq_doctor_judge_counters(const sq_record *trial, sq_gpu_finding *out);

#ifdef __cplusplus
}
#endif
#endif
