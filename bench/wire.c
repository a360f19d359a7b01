/* wire: one table of fields per struct, read by both the writer and the parser, so that the two
 * directions cannot drift apart. */
#include "bench/wire.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum { TEXT, INT, INT64, INT3, REAL, BOOL, STATUS } field_kind;

/* size: of the char array, TEXT only. */
typedef struct {
    const char *name;
    field_kind kind;
    size_t offset, size;
} field;

#define F(type, kind, member) {#member, kind, offsetof(type, member), sizeof(((type *)0)->member)}

static const field device_fields[] = {
    F(sq_device, TEXT, backend),
    F(sq_device, INT, index),
    F(sq_device, TEXT, uuid),
    F(sq_device, TEXT, name),
    F(sq_device, TEXT, arch),
    F(sq_device, TEXT, pci),
    F(sq_device, INT, sm_count),
    F(sq_device, INT64, memory_bytes),
    F(sq_device, INT64, l2_bytes),
    F(sq_device, REAL, max_sm_mhz),
    F(sq_device, REAL, max_memory_mhz),
    F(sq_device, REAL, memory_bus_bits),
    F(sq_device, INT, compute_major),
    F(sq_device, INT, compute_minor),
    F(sq_device, INT64, shared_bytes_per_block),
    {NULL, INT, 0, 0},
};

static const field environment_fields[] = {
    F(sq_environment, TEXT, fingerprint),
    F(sq_environment, TEXT, driver),
    F(sq_environment, TEXT, toolkit),
    F(sq_environment, TEXT, cublas),
    F(sq_environment, TEXT, cufft),
    F(sq_environment, TEXT, cudnn),
    F(sq_environment, TEXT, cupti),
    F(sq_environment, TEXT, compiler),
    F(sq_environment, TEXT, flags),
    F(sq_environment, TEXT, host),
    F(sq_environment, TEXT, kernel),
    F(sq_environment, TEXT, os),
    F(sq_environment, TEXT, cpu),
    F(sq_environment, TEXT, ecc),
    F(sq_environment, TEXT, mig),
    F(sq_environment, REAL, power_limit_w),
    {NULL, INT, 0, 0},
};

static const field policy_fields[] = {
    F(sq_policy, INT, warmup_launches),
    F(sq_policy, REAL, warmup_seconds),
    F(sq_policy, INT, min_samples),
    F(sq_policy, INT, max_samples),
    F(sq_policy, REAL, max_seconds),
    F(sq_policy, REAL, target_interval),
    F(sq_policy, REAL, max_interval),
    F(sq_policy, REAL, max_cell_seconds),
    F(sq_policy, REAL, timeout_seconds),
    F(sq_policy, REAL, rest),
    F(sq_policy, REAL, proof_work),
    F(sq_policy, BOOL, try_oom),
    F(sq_policy, BOOL, energy),
    F(sq_policy, REAL, cooldown_seconds),
    {NULL, INT, 0, 0},
};

static const field ceiling_fields[] = {
    F(sq_ceiling, TEXT, name),
    F(sq_ceiling, TEXT, unit),
    F(sq_ceiling, REAL, value),
    F(sq_ceiling, REAL, lo),
    F(sq_ceiling, REAL, hi),
    F(sq_ceiling, REAL, sm_mhz),
    {NULL, INT, 0, 0},
};

static const field value_fields[] = {
    F(sq_value, TEXT, metric),
    F(sq_value, REAL, value),
    F(sq_value, INT, n),
    F(sq_value, REAL, spread),
    F(sq_value, REAL, sm_mhz),
    F(sq_value, TEXT, validity),
    {NULL, INT, 0, 0},
};

static const field kernel_fields[] = {
    F(sq_kernel_record, TEXT, name),
    F(sq_kernel_record, TEXT, symbol),
    F(sq_kernel_record, INT64, ns),
    F(sq_kernel_record, INT3, grid),
    F(sq_kernel_record, INT3, block),
    F(sq_kernel_record, INT, registers),
    F(sq_kernel_record, INT, shared_bytes),
    {NULL, INT, 0, 0},
};

static const field check_fields[] = {
    F(sq_check, TEXT, tensor),
    F(sq_check, REAL, rel_l2),
    F(sq_check, REAL, max_abs),
    F(sq_check, REAL, tolerance_rel_l2),
    F(sq_check, REAL, tolerance_max_abs),
    F(sq_check, TEXT, slice),
    {NULL, INT, 0, 0},
};

/* The numbers of a record; its arrays are handled by name below. */
static const field record_fields[] = {
    F(sq_record, STATUS, status),
    F(sq_record, TEXT, reason),
    F(sq_record, REAL, started),
    F(sq_record, TEXT, kernel_hash),
    F(sq_record, TEXT, checksum),
    F(sq_record, REAL, cycles),
    F(sq_record, REAL, sm_mhz),
    F(sq_record, TEXT, versions),
    F(sq_record, REAL, setup_ns),
    F(sq_record, INT64, peak_bytes),
    {NULL, INT, 0, 0},
};

_Static_assert(sizeof(int) == sizeof(int32_t), "INT fields are int or int32_t");

/* --- writing --- */

/* Text from drivers and files may not be UTF-8, which JSON must be. */
static json_t *write_text(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    size_t length = strlen(text);
    char *ascii = malloc(length + 1);
    if (!ascii)
        return NULL;
    for (size_t i = 0; i <= length; i++)
        ascii[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    json = json_string(ascii);
    free(ascii);
    return json;
}

static json_t *write_real(double value)
{
    if (isnan(value))
        return json_null();
    if (isinf(value))
        return json_string(value > 0 ? "inf" : "-inf");
    return json_real(value);
}

static json_t *write_field(const field *f, const void *object)
{
    const char *at = (const char *)object + f->offset;
    switch (f->kind) {
    case TEXT: return write_text(at);
    case INT: return json_integer(*(const int *)(const void *)at);
    case INT64: return json_integer(*(const int64_t *)(const void *)at);
    case REAL: return write_real(*(const double *)(const void *)at);
    case BOOL: return json_boolean(*(const bool *)(const void *)at);
    case STATUS: return json_string(sq_run_status_name(*(const sq_run_status *)(const void *)at));
    case INT3: {
        const int32_t *v = (const int32_t *)(const void *)at;
        return json_pack("[iii]", (int)v[0], (int)v[1], (int)v[2]);
    }
    }
    return NULL;
}

static json_t *write_object(const field *fields, const void *object)
{
    json_t *json = json_object();
    for (const field *f = fields; json && f->name; f++)
        if (json_object_set_new(json, f->name, write_field(f, object)) != 0) {
            json_decref(json);
            json = NULL;
        }
    return json;
}

static json_t *write_array(const field *fields, const void *items, size_t size, int count)
{
    json_t *array = json_array();
    for (int i = 0; array && i < count; i++)
        json_array_append_new(array, write_object(fields, (const char *)items + (size_t)i * size));
    return array;
}

static json_t *write_samples(const sq_record *record)
{
    json_t *array = json_array();
    for (int i = 0; array && i < record->n_samples; i++)
        json_array_append_new(array, json_integer(record->samples[i]));
    return array;
}

json_t *sq_wire_device(const sq_device *device) { return write_object(device_fields, device); }

json_t *sq_wire_environment(const sq_environment *environment)
{
    return write_object(environment_fields, environment);
}

json_t *sq_wire_policy(const sq_policy *policy) { return write_object(policy_fields, policy); }

json_t *sq_wire_ceiling(const sq_ceiling *ceiling)
{
    return write_object(ceiling_fields, ceiling);
}

json_t *sq_wire_record(const sq_record *record)
{
    char key[SQ_KEY_MAX];
    sq_cell_key(&record->cell, key);
    json_t *json = write_object(record_fields, record);
    if (!json)
        return NULL;
    json_object_set_new(json, "cell", write_text(key));
    json_object_set_new(json, "samples", write_samples(record));
    json_object_set_new(json, "checks", write_array(check_fields, record->checks, sizeof(sq_check),
                                                    record->n_checks));
    json_object_set_new(json, "values", write_array(value_fields, record->values, sizeof(sq_value),
                                                    record->n_values));
    json_object_set_new(json, "kernels",
                        write_array(kernel_fields, record->kernels, sizeof(sq_kernel_record),
                                    record->n_kernels));
    return json;
}

/* --- parsing --- */

static bool read_real(const json_t *json, double *out)
{
    const char *text = json_string_value(json);
    if (json_is_null(json))
        *out = NAN;
    else if (json_is_number(json))
        *out = json_number_value(json);
    else if (text && (strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0))
        *out = text[0] == '-' ? -INFINITY : INFINITY;
    else
        return false;
    return true;
}

static bool read_int(const json_t *json, int *out)
{
    json_int_t value = json_integer_value(json);
    if (!json_is_integer(json) || value < INT_MIN || value > INT_MAX)
        return false;
    *out = (int)value;
    return true;
}

static bool read_int3(const json_t *json, int32_t out[3])
{
    if (json_array_size(json) != 3)
        return false;
    bool is_good = true;
    for (size_t i = 0; i < 3; i++)
        is_good = is_good && read_int(json_array_get(json, i), &out[i]);
    return is_good;
}

static bool read_text(const json_t *json, char *out, size_t size)
{
    const char *text = json_string_value(json);
    if (!text)
        return false;
    size_t length = strnlen(text, size - 1);
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

static bool read_field(const field *f, const json_t *json, void *object)
{
    void *at = (char *)object + f->offset;
    switch (f->kind) {
    case TEXT: return read_text(json, at, f->size);
    case INT: return read_int(json, at);
    case REAL: return read_real(json, at);
    case INT3: return read_int3(json, at);
    case INT64:
        *(int64_t *)at = json_integer_value(json);
        return json_is_integer(json);
    case BOOL:
        *(bool *)at = json_is_true(json);
        return json_is_boolean(json);
    case STATUS:
        return json_is_string(json) &&
               sq_run_status_parse(json_string_value(json), at, NULL) == SQ_OK;
    }
    return false;
}

/* What a field is when the sender does not say: "", NAN or -1; 0 for a status, bool or triple. */
static void forget_field(const field *f, void *object)
{
    char *at = (char *)object + f->offset;
    memset(at, 0, f->size);
    if (f->kind == REAL)
        *(double *)(void *)at = NAN;
    else if (f->kind == INT)
        *(int *)(void *)at = -1;
    else if (f->kind == INT64)
        *(int64_t *)(void *)at = -1;
}

/* is_whole: a field that is not there is an error; else it is unknown. */
static sq_status read_object(const field *fields, const char *what, bool is_whole,
                             const json_t *json, void *object, sq_error *err)
{
    if (!json_is_object(json))
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: not a JSON object", what);
    for (const field *f = fields; f->name; f++) {
        const json_t *value = json_object_get(json, f->name);
        if (!value && is_whole)
            return sq_fail(err, SQ_BAD_ARGUMENT, "%s: no field \"%s\"", what, f->name);
        forget_field(f, object);
        if (value && !read_field(f, value, object))
            return sq_fail(err, SQ_BAD_ARGUMENT, "%s: field \"%s\" has the wrong form", what,
                           f->name);
    }
    return SQ_OK;
}

sq_status sq_wire_device_parse(const json_t *json, sq_device *device, sq_error *err)
{
    return read_object(device_fields, "device", false, json, device, err);
}

sq_status sq_wire_environment_parse(const json_t *json, sq_environment *environment, sq_error *err)
{
    return read_object(environment_fields, "environment", false, json, environment, err);
}

sq_status sq_wire_policy_parse(const json_t *json, sq_policy *policy, sq_error *err)
{
    return read_object(policy_fields, "policy", true, json, policy, err);
}

sq_status sq_wire_ceiling_parse(const json_t *json, sq_ceiling *ceiling, sq_error *err)
{
    return read_object(ceiling_fields, "ceiling", true, json, ceiling, err);
}

static sq_status read_samples(const json_t *array, sq_record *record, sq_error *err)
{
    size_t count = json_array_size(array);
    if (count == 0)
        return SQ_OK;
    int32_t *samples = malloc(count * sizeof *samples);
    if (!samples)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "record: no memory for %zu samples", count);
    sq_status status = SQ_OK;
    for (size_t i = 0; i < count && status == SQ_OK; i++)
        if (!read_int(json_array_get(array, i), &samples[i]) || samples[i] < 0)
            status = sq_fail(err, SQ_BAD_ARGUMENT, "record: sample %zu has the wrong form", i);
    if (status == SQ_OK)
        status = sq_record_set_samples(record, samples, (int)count);
    free(samples);
    return status;
}

static sq_status read_arrays(const json_t *json, sq_record *record, sq_error *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json, "checks"), i, item) {
        sq_check check;
        SQ_TRY(read_object(check_fields, "check", false, item, &check, err));
        SQ_TRY(sq_record_add_check(record, &check));
    }
    json_array_foreach(json_object_get(json, "values"), i, item) {
        sq_value value;
        SQ_TRY(read_object(value_fields, "value", false, item, &value, err));
        SQ_TRY(sq_record_add_value(record, &value));
    }
    json_array_foreach(json_object_get(json, "kernels"), i, item) {
        sq_kernel_record kernel;
        SQ_TRY(read_object(kernel_fields, "kernel", false, item, &kernel, err));
        SQ_TRY(sq_record_add_kernel(record, &kernel));
    }
    return read_samples(json_object_get(json, "samples"), record, err);
}

sq_status sq_wire_record_parse(const json_t *json, sq_record *record, sq_error *err)
{
    char key[SQ_KEY_MAX];
    sq_cell_key(&record->cell, key);
    const char *sent = json_string_value(json_object_get(json, "cell"));
    if (sent && strcmp(sent, key) != 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "record: it is about %s, asked was %s", sent, key);
    sq_record_restart(record);
    SQ_TRY(read_object(record_fields, "record", false, json, record, err));
    return read_arrays(json, record, err);
}
