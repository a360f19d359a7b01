/* wire: what is written is what is read, unknowns and infinities included; bad input is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/wire.h"

static const sq_axis axes[] = {{.name = "B", .def = 1, .min = 1, .max = 8},
                               {.name = "L", .def = 4, .min = 1, .max = 8},
                               {.name = NULL}};

static sq_cell toy_cell(void)
{
    sq_cell cell = {.kind = SQ_KIND_OP, .subject = "toy", .provider = "cpu/ref", .axes = axes};
    sq_axis_defaults(axes, cell.value);
    return cell;
}

/* Through text, as over the pipe. */
static json_t *through_text(json_t *json)
{
    assert_non_null(json);
    char *text = json_dumps(json, JSON_COMPACT);
    assert_non_null(text);
    assert_null(strchr(text, '\n'));
    json_t *again = json_loads(text, 0, NULL);
    assert_non_null(again);
    free(text);
    json_decref(json);
    return again;
}

static sq_record full_record(const sq_cell *cell)
{
    sq_record r;
    sq_record_init(&r, cell);
    r.status = SQ_RUN_NOISY;
    snprintf(r.reason, sizeof r.reason, "wide: \"12 %%\"\tand more");
    r.started = 1795380310.25;
    strcpy(r.checksum, "0123456789abcdef");
    strcpy(r.versions, "torch 2.11.0, python 3.12");
    r.setup_ns = 1e9 / 3;
    r.peak_bytes = ((int64_t)1 << 52) + 1;
    assert_int_equal(sq_record_set_samples(&r, (int32_t[]){7, INT32_MAX, 5}, 3), SQ_OK);
    sq_check check = {"y", INFINITY, 0.25, 1e-3, 2, "b=1"};
    assert_int_equal(sq_record_add_check(&r, &check), SQ_OK);
    sq_value value = {"dram_bytes", NAN, 3, NAN, 1980, "refused: no permission"};
    assert_int_equal(sq_record_add_value(&r, &value), SQ_OK);
    sq_kernel_record kernel = {"k<float>", "_Z1kIfEvv", 1234567890123, {1, 2, 3}, {4, 5, 6}, 255, 1024};
    assert_int_equal(sq_record_add_kernel(&r, &kernel), SQ_OK);
    return r;
}

static void record_survives_the_pipe(void **state)
{
    (void)state;
    sq_error err = {.status = SQ_OK};
    sq_cell cell = toy_cell();
    sq_record sent = full_record(&cell), got;
    sq_record_init(&got, &cell);
    snprintf(got.uuid, sizeof got.uuid, "the-parent's-own");
    got.replicate = 2;
    got.attempt = 1;
    json_t *json = through_text(sq_wire_record(&sent));
    if (sq_wire_record_parse(json, &got, &err) != SQ_OK)
        fail_msg("%s", err.message);
    assert_string_equal(got.uuid, "the-parent's-own");
    assert_int_equal(got.replicate, 2);
    assert_int_equal(got.attempt, 1);
    assert_int_equal(got.status, SQ_RUN_NOISY);
    assert_string_equal(got.reason, sent.reason);
    assert_string_equal(got.versions, sent.versions);
    assert_string_equal(got.checksum, sent.checksum);
    assert_true(got.started == sent.started && got.setup_ns == sent.setup_ns);
    assert_true(isnan(got.sm_mhz) && isnan(got.cycles));
    assert_int_equal(got.peak_bytes, sent.peak_bytes);
    assert_int_equal(got.n_samples, 3);
    assert_memory_equal(got.samples, sent.samples, 3 * sizeof *got.samples);
    assert_true(got.stats.median == 7 && got.stats.n == 3);
    assert_int_equal(got.n_checks, 1);
    assert_true(isinf(got.checks[0].rel_l2) && got.checks[0].max_abs == 0.25);
    assert_string_equal(got.checks[0].slice, "b=1");
    assert_int_equal(got.n_values, 1);
    assert_true(isnan(got.values[0].value) && got.values[0].sm_mhz == 1980);
    assert_string_equal(got.values[0].validity, "refused: no permission");
    assert_int_equal(got.n_kernels, 1);
    assert_memory_equal(&got.kernels[0].grid, &sent.kernels[0].grid, sizeof got.kernels[0].grid);
    assert_true(got.kernels[0].ns == 1234567890123 && got.kernels[0].registers == 255);
    json_decref(json);
    sq_record_free(&sent);
    sq_record_free(&got);
}

/* A second answer into the same record must not add to the first. */
static void parsing_replaces_what_was_there(void **state)
{
    (void)state;
    sq_cell cell = toy_cell();
    sq_record sent = full_record(&cell), got;
    sq_record_init(&got, &cell);
    json_t *json = through_text(sq_wire_record(&sent));
    assert_int_equal(sq_wire_record_parse(json, &got, NULL), SQ_OK);
    assert_int_equal(sq_wire_record_parse(json, &got, NULL), SQ_OK);
    assert_int_equal(got.n_values, 1);
    assert_int_equal(got.n_samples, 3);
    json_decref(json);
    sq_record_free(&sent);
    sq_record_free(&got);
}

static void record_of_another_cell_is_refused(void **state)
{
    (void)state;
    sq_error err;
    sq_cell cell = toy_cell(), other = toy_cell();
    other.value[1] = 5;
    sq_record sent = full_record(&cell), got;
    sq_record_init(&got, &other);
    json_t *json = through_text(sq_wire_record(&sent));
    assert_int_equal(sq_wire_record_parse(json, &got, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "L=4"));
    json_decref(json);
    sq_record_free(&sent);
    sq_record_free(&got);
}

static void refuse_record(const char *text, const char *names)
{
    sq_error err;
    sq_cell cell = toy_cell();
    sq_record got;
    sq_record_init(&got, &cell);
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    assert_int_equal(sq_wire_record_parse(json, &got, &err), SQ_BAD_ARGUMENT);
    if (!strstr(err.message, names))
        fail_msg("\"%s\" does not name \"%s\"", err.message, names);
    json_decref(json);
    sq_record_free(&got);
}

static void bad_fields_are_named(void **state)
{
    (void)state;
    refuse_record("7", "object");
    refuse_record("{\"status\":\"excellent\"}", "status");
    refuse_record("{\"status\":\"ok\",\"setup_ns\":\"soon\"}", "setup_ns");
    refuse_record("{\"status\":\"ok\",\"samples\":[1,-2]}", "sample 1");
    refuse_record("{\"status\":\"ok\",\"samples\":[2147483648]}", "sample 0");
    refuse_record("{\"status\":\"ok\",\"kernels\":[{\"grid\":[1,2]}]}", "grid");
}

static void absent_fields_are_unknown(void **state)
{
    (void)state;
    sq_device device;
    json_t *json = json_loads("{\"name\":\"a card\"}", 0, NULL);
    assert_int_equal(sq_wire_device_parse(json, &device, NULL), SQ_OK);
    assert_string_equal(device.name, "a card");
    assert_string_equal(device.uuid, "");
    assert_int_equal(device.l2_bytes, -1);
    assert_true(isnan(device.max_sm_mhz));
    json_decref(json);
}

static void policy_must_be_whole(void **state)
{
    (void)state;
    sq_error err;
    sq_policy policy = {
        .warmup_launches = 3, .min_samples = 10, .proof_work = 1e7, .try_oom = true};
    sq_policy got;
    json_t *json = through_text(sq_wire_policy(&policy));
    assert_int_equal(sq_wire_policy_parse(json, &got, &err), SQ_OK);
    assert_true(got.try_oom && got.proof_work == 1e7 && got.min_samples == 10);
    json_object_del(json, "max_seconds");
    assert_int_equal(sq_wire_policy_parse(json, &got, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "max_seconds"));
    json_decref(json);
}

static void text_is_cut_and_mended(void **state)
{
    (void)state;
    sq_environment environment = {.power_limit_w = 700}, got;
    snprintf(environment.host, sizeof environment.host, "caf\xe9"); /* Latin-1, not UTF-8 */
    json_t *json = through_text(sq_wire_environment(&environment));
    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    json_object_set_new(json, "driver", json_string(longer));
    assert_int_equal(sq_wire_environment_parse(json, &got, NULL), SQ_OK);
    assert_string_equal(got.host, "caf?");
    assert_int_equal(strlen(got.driver), sizeof got.driver - 1);
    assert_true(got.power_limit_w == 700);
    json_decref(json);
}

static void ceiling_survives_the_pipe(void **state)
{
    (void)state;
    sq_ceiling ceiling = {"copy", "GB/s", 3012.25, 3000, 3020, 1755}, got;
    json_t *json = through_text(sq_wire_ceiling(&ceiling));
    assert_int_equal(sq_wire_ceiling_parse(json, &got, NULL), SQ_OK);
    assert_string_equal(got.unit, "GB/s");
    assert_true(got.value == 3012.25 && got.lo == 3000 && got.hi == 3020 && got.sm_mhz == 1755);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_survives_the_pipe),
        cmocka_unit_test(parsing_replaces_what_was_there),
        cmocka_unit_test(record_of_another_cell_is_refused),
        cmocka_unit_test(bad_fields_are_named),
        cmocka_unit_test(absent_fields_are_unknown),
        cmocka_unit_test(policy_must_be_whole),
        cmocka_unit_test(text_is_cut_and_mended),
        cmocka_unit_test(ceiling_survives_the_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
