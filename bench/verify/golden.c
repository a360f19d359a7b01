/* golden: see golden.h. */
#include "bench/verify/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void copy_text(const json_t *json, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(json, key));
    snprintf(out, size, "%s", text ? text : "");
}

static void name_of(const char *folder, char *out, size_t size)
{
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    size_t start = length;
    while (start > 0 && folder[start - 1] != '/')
        start--;
    snprintf(out, size, "%.*s", (int)(length - start), folder + start);
}

sq_status sq_golden_open(const char *folder, sq_golden *out, sq_error *err)
{
    char path[4096];
    json_error_t where;
    *out = (sq_golden){.json = NULL};
    name_of(folder, out->name, sizeof out->name);
    snprintf(path, sizeof path, "%s/case.json", folder);
    out->json = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    if (!out->json)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%.200s:%d: %.200s", path, where.line, where.text);
    copy_text(out->json, "kind", out->kind, sizeof out->kind);
    copy_text(out->json, "subject", out->subject, sizeof out->subject);
    if (!out->kind[0] || !out->subject[0] || !json_is_object(json_object_get(out->json, "options")))
        return sq_fail(err, SQ_BAD_ARGUMENT, "%.200s: a case has kind, subject and options", path);
    snprintf(path, sizeof path, "%s/data.safetensors", folder);
    return sq_safetensors_open(path, &out->file, err);
}

void sq_golden_close(sq_golden *golden)
{
    json_decref(golden->json);
    sq_safetensors_close(&golden->file);
    *golden = (sq_golden){.json = NULL};
}

static const json_t *option_of(const sq_golden *golden, const char *option)
{
    return json_object_get(json_object_get(golden->json, "options"), option);
}

static double number_of(const json_t *json, double fallback)
{
    if (json_is_boolean(json))
        return json_is_true(json);
    return json_is_number(json) ? json_number_value(json) : fallback;
}

double sq_golden_number(const sq_golden *golden, const char *option, double fallback)
{
    return number_of(option_of(golden, option), fallback);
}

double sq_golden_item(const sq_golden *golden, const char *option, int index, double fallback)
{
    return number_of(json_array_get(option_of(golden, option), (size_t)index), fallback);
}

static int64_t integer_of(const json_t *json, int64_t fallback)
{
    const double number = number_of(json, NAN), most = 0x1p53;
    return isnan(number) ? fallback : (int64_t)fmin(fmax(number, -most), most);
}

int64_t sq_golden_integer(const sq_golden *golden, const char *option, int64_t fallback)
{
    return integer_of(option_of(golden, option), fallback);
}

int64_t sq_golden_integer_item(const sq_golden *golden, const char *option, int index,
                               int64_t fallback)
{
    return integer_of(json_array_get(option_of(golden, option), (size_t)index), fallback);
}

const char *sq_golden_text(const sq_golden *golden, const char *option)
{
    const char *text = json_string_value(option_of(golden, option));
    return text ? text : "";
}

bool sq_golden_is_silu(const sq_golden *golden)
{
    const char *activation = sq_golden_text(golden, "activation");
    return strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0;
}

double sq_golden_f32_error(const sq_golden *golden, const char *role)
{
    const json_t *run = json_object_get(json_object_get(golden->json, "float32_run"), role);
    return number_of(json_object_get(run, "max_abs_diff_over_max_abs"), NAN);
}

const sq_stored_tensor *sq_golden_tensor(const sq_golden *golden, const char *role,
                                         const char *name)
{
    char full[192];
    snprintf(full, sizeof full, "%s.%s", role, name);
    return sq_safetensors_find(&golden->file, full);
}

bool sq_golden_has_role(const sq_golden *golden, const char *role)
{
    const size_t length = strlen(role);
    for (int i = 0; i < golden->file.count; i++) {
        const char *name = golden->file.tensor[i].name;
        if (strncmp(name, role, length) == 0 && name[length] == '.')
            return true;
    }
    return false;
}
