/* cmd_nightly_preflight: is this machine fit, and what the baseline was measured on? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd_nightly.h"
#include "bench/doctor_gpu.h"
#include "bench/tree.h"

static sq_status check_gpu(const sq_target *target, sq_error *err)
{
    sq_nvml_state state;
    sq_gpu_finding finding[SQ_MAX_FINDINGS];
    if (strcmp(target->device.backend, "cuda") != 0 || !sq_doctor_ask(&target->device, &state))
        return SQ_OK;
    int n = sq_doctor_judge(&state, finding);
    for (int i = 0; i < n; i++) {
        const sq_gpu_finding *f = &finding[i];
        if (sq_doctor_is_unfit(f))
            return sq_fail(err, SQ_DEVICE, "%s: %s; %s", f->check, f->detail, f->mend);
        if (strcmp(f->state, "limited") == 0)
            fprintf(stderr, "%s: %s\n", f->check, f->detail);
    }
    return SQ_OK;
}

static sq_status check_ground(const sq_night *night, sq_db *db, sq_error *err)
{
    sq_text crossed = {.data = NULL};
    const sq_target *target = &night->run.target;
    char *policy = sq_run_write_policy(&night->run);
    sq_status s = policy ? sq_joining_preview(db, &target->device, &target->environment, policy,
                                              night->baseline.campaign, night->baseline.name,
                                              night->gate.across, &crossed, err)
                         : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the policy");
    if (s == SQ_BAD_ARGUMENT)
        s = err->status = SQ_DEVICE; /* the environment is not the baseline's */
    if (s == SQ_OK && crossed.length)
        fprintf(stderr, "beside %s across %s\n", night->baseline.name, crossed.data);
    free(policy);
    sq_text_free(&crossed);
    return s;
}

sq_status sq_night_check_program(const sq_baseline *baseline, sq_error *err)
{
    char hash[SQ_HASH_TEXT];
    if (!baseline->tree[0])
        return sq_fail(err, SQ_IO, "no program is kept for baseline %s", baseline->name);
    SQ_TRY(sq_tree_hash(baseline->tree, hash, err));
    return strcmp(hash, baseline->tree_hash) == 0
               ? SQ_OK
               : sq_fail(err, SQ_IO, "the program kept for baseline %s was changed",
                         baseline->name);
}

static void warn_of_program(const sq_baseline *baseline)
{
    sq_error why = {.status = SQ_OK};
    if (sq_night_check_program(baseline, &why) != SQ_OK)
        fprintf(stderr, "%s: suspects will stay unresolved\n", why.message);
}

sq_status sq_night_preflight(sq_night *night, sq_db *db, sq_error *err)
{
    SQ_TRY(check_gpu(&night->run.target, err));
    SQ_TRY(check_ground(night, db, err));
    sq_warn_of_age(&night->baseline);
    warn_of_program(&night->baseline);
    return SQ_OK;
}
