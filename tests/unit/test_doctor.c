/* What doctor foretells: every trouble of a GPU is found, and nothing is found where nothing is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/doctor_gpu.h"

static sq_nvml_state sound(void)
{
    sq_nvml_state s;
    assert_int_equal(sq_nvml_read("nowhere", &s, NULL), SQ_UNSUPPORTED); /* all is unknown */
    strcpy(s.mig, "off");
    strcpy(s.ecc, "on");
    strcpy(s.persistence, "on");
    strcpy(s.virtualization, "none");
    s.sm_mhz = 345;
    s.max_sm_mhz = 1980;
    s.memory_mhz = s.max_memory_mhz = 2619;
    s.temperature_c = 40;
    s.headroom_c = 47;
    s.power_limit_w = s.default_power_limit_w = 700;
    s.throttle.ms[SQ_THROTTLE_SW_THERMAL] = s.energy_j = 1e3;
    s.throttle.has_reasons = true;
    s.throttle.reasons = 0x1 | 0x4; /* idle, software power cap: no faults */
    s.ecc_corrected = 3;
    s.ecc_uncorrected = s.remapped_rows = 0;
    s.other_processes = 0;
    return s;
}

static const sq_gpu_finding *find(const sq_gpu_finding *findings, int n, const char *check)
{
    for (int i = 0; i < n; i++)
        if (strcmp(findings[i].check, check) == 0)
            return &findings[i];
    fail_msg("nothing is said of %s", check);
    return NULL;
}

/* Only `check` is limited, and its detail says `words`. */
static void foretells(const sq_nvml_state *state, const char *check, const char *words)
{
    sq_gpu_finding findings[SQ_MAX_FINDINGS];
    int n = sq_doctor_judge(state, findings);
    const sq_gpu_finding *found = find(findings, n, check);
    if (strcmp(found->state, "limited") != 0 || !strstr(found->detail, words))
        fail_msg("%s is %s: %s", check, found->state, found->detail);
    assert_true(found->mend[0]);
    for (int i = 0; i < n; i++)
        if (&findings[i] != found)
            assert_string_equal(findings[i].state, "ok");
}

static void a_sound_gpu_has_no_trouble(void **state)
{
    (void)state;
    sq_gpu_finding findings[SQ_MAX_FINDINGS];
    sq_nvml_state s = sound();
    int n = sq_doctor_judge(&s, findings);
    assert_in_range(n, 8, SQ_MAX_FINDINGS);
    for (int i = 0; i < n; i++) {
        assert_string_equal(findings[i].state, "ok");
        assert_string_equal(findings[i].mend, "");
    }
}

static void each_trouble_is_foretold(void **state)
{
    (void)state;
    sq_nvml_state s = sound();
    strcpy(s.mig, "on");
    foretells(&s, "mig", "slice");
    s = sound(), s.other_processes = 2;
    foretells(&s, "gpu processes", "2 others");
    s = sound(), s.ecc_uncorrected = 1;
    foretells(&s, "memory errors", "1 uncorrected");
    s = sound(), s.remapped_rows = 4;
    foretells(&s, "memory errors", "4 rows");
    s = sound(), s.headroom_c = 3;
    foretells(&s, "heat", "3 C below slowdown");
    s = sound(), s.throttle.reasons = 0x40 | 0x8;
    foretells(&s, "throttling", "hardware slowdown, thermal slowdown by the hardware");
    s = sound(), s.throttle.reasons = 0x80;
    foretells(&s, "throttling", "power brake");
    s = sound(), s.throttle.reasons = 0x2;
    foretells(&s, "clocks now", "345 of 1980 MHz");
    s = sound(), s.power_limit_w = 500;
    foretells(&s, "power cap", "500 W of 700 W");
    s = sound(), strcpy(s.persistence, "off");
    foretells(&s, "driver modes", "persistence off");
    s = sound(), s.energy_j = NAN;
    foretells(&s, "driver counters", "no energy, throttle times");
    s = sound(), strcpy(s.virtualization, "vgpu");
    foretells(&s, "driver modes", "vgpu");
}

static void what_the_driver_keeps_to_itself_is_absent(void **state)
{
    (void)state;
    sq_nvml_state s;
    sq_gpu_finding findings[SQ_MAX_FINDINGS];
    sq_nvml_read("nowhere", &s, NULL);
    int n = sq_doctor_judge(&s, findings);
    for (int i = 0; i < n; i++) {
        assert_string_equal(findings[i].state, "absent");
        assert_true(findings[i].detail[0]);
    }
}

static void a_trial_tells_of_the_counters(void **state)
{
    (void)state;
    sq_gpu_finding finding;
    sq_cell cell = {.axes = NULL};
    sq_record trial;
    sq_value value = {.metric = "dram_bytes_read", .value = NAN, .validity = "refused: no permission"};
    sq_record_init(&trial, &cell);
    assert_int_equal(sq_record_add_number(&trial, "phase_counters_ms", 9), SQ_OK);
    sq_doctor_judge_counters(&trial, &finding);
    assert_string_equal(finding.state, "limited");
    assert_int_equal(sq_record_add_value(&trial, &value), SQ_OK);
    sq_doctor_judge_counters(&trial, &finding);
    assert_string_equal(finding.state, "limited");
    assert_non_null(strstr(finding.detail, "no permission"));
    assert_int_equal(sq_record_add_number(&trial, "dram_pct", 50), SQ_OK);
    sq_doctor_judge_counters(&trial, &finding);
    assert_string_equal(finding.state, "ok");
    sq_record_free(&trial);
}

static int no_nvml(void **state)
{
    (void)state;
    return setenv("SEQMARK_NVML", "/nowhere/libnvml.so", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_gpu_has_no_trouble),
        cmocka_unit_test(each_trouble_is_foretold),
        cmocka_unit_test(what_the_driver_keeps_to_itself_is_absent),
        cmocka_unit_test(a_trial_tells_of_the_counters),
    };
    return cmocka_run_group_tests(tests, no_nvml, NULL);
}
