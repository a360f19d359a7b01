/* golden: see golden.h. */
#include "bench/verify/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
    struct stat info;
    *out = (sq_golden){.misread = calloc(1, SQ_GOLDEN_OPTION_MAX)};
    if (!out->misread)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a case");
    name_of(folder, out->name, sizeof out->name);
    snprintf(path, sizeof path, "%s/case.json", folder);
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) /* reading a pipe would not end */
        return sq_fail(err, SQ_BAD_ARGUMENT, "%.200s: no file", path);
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
    free(golden->misread);
    *golden = (sq_golden){.json = NULL};
}

static const json_t *option_of(const sq_golden *golden, const char *option)
{
    return json_object_get(json_object_get(golden->json, "options"), option);
}

typedef enum { OPTION_NUMBER, OPTION_LIST, OPTION_TEXT } option_kind;

/* An option that must be a number, a list or a text: the first that is something else is kept. */
static const json_t *option_as(const sq_golden *golden, const char *option, option_kind kind)
{
    const json_t *json = option_of(golden, option);
    const bool is_right[] = {json_is_number(json) || json_is_boolean(json), json_is_array(json),
                             json_is_string(json)};
    if (json && !json_is_null(json) && !is_right[kind] && golden->misread && !golden->misread[0])
        snprintf(golden->misread, SQ_GOLDEN_OPTION_MAX, "%s", option);
    return json;
}

static double number_of(const json_t *json, double fallback)
{
    if (json_is_boolean(json))
        return json_is_true(json);
    return json_is_number(json) ? json_number_value(json) : fallback;
}

double sq_golden_number(const sq_golden *golden, const char *option, double fallback)
{
    return number_of(option_as(golden, option, OPTION_NUMBER), fallback);
}

double sq_golden_item(const sq_golden *golden, const char *option, int index, double fallback)
{
    return number_of(json_array_get(option_as(golden, option, OPTION_LIST), (size_t)index), fallback);
}

static int64_t integer_of(const json_t *json, int64_t fallback)
{
    const double number = number_of(json, NAN), most = 0x1p53;
    return isnan(number) ? fallback : (int64_t)fmin(fmax(number, -most), most);
}

int64_t sq_golden_integer(const sq_golden *golden, const char *option, int64_t fallback)
{
    return integer_of(option_as(golden, option, OPTION_NUMBER), fallback);
}

int64_t sq_golden_integer_item(const sq_golden *golden, const char *option, int index,
                               int64_t fallback)
{
    return integer_of(json_array_get(option_as(golden, option, OPTION_LIST), (size_t)index), fallback);
}

const char *sq_golden_text(const sq_golden *golden, const char *option)
{
    const char *text = json_string_value(option_as(golden, option, OPTION_TEXT));
    return text ? text : "";
}

bool sq_golden_is_text(const sq_golden *golden, const char *option)
{
    return json_is_string(option_of(golden, option));
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

/* --- whether a case agrees with itself --- */

static bool is_alike(const sq_stored_tensor *a, const sq_stored_tensor *b)
{
    return a && b && a->rank == b->rank &&
           memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

/* What follows the role of a tensor's name, or NULL for another role. */
static const char *name_in(const sq_stored_tensor *tensor, const char *role)
{
    const size_t length = strlen(role);
    const bool is = strncmp(tensor->name, role, length) == 0 && tensor->name[length] == '.';
    return is ? tensor->name + length + 1 : NULL;
}

static sq_status check_shape(const sq_golden *golden, const sq_stored_tensor *t, sq_error *err)
{
    const char *of_output = name_in(t, "cotangent"), *of_input = name_in(t, "grad");
    const sq_stored_tensor *of = NULL;
    if (!of_output && !of_input)
        return SQ_OK;
    if (of_output)
        of = sq_golden_tensor(golden, "output", of_output);
    else if (!(of = sq_golden_tensor(golden, "input", of_input)))
        of = sq_golden_tensor(golden, "param", of_input);
    if (!of)
        return sq_fail(err, SQ_UNSUPPORTED, "%.100s: the case has no such %s", t->name,
                       of_output ? "output" : "input or parameter");
    return is_alike(t, of) ? SQ_OK
                           : sq_fail(err, SQ_UNSUPPORTED, "%.100s: its shape is not that of %.100s",
                                     t->name, of->name);
}

static sq_status check_inputs(const sq_golden *golden, sq_error *err)
{
    static const char *const names[] = {
        "z", "D", "delta_bias", "dt_bias", "bias", "initial_state", "initial_states", NULL};
    for (int i = 0; names[i]; i++) {
        char option[40];
        snprintf(option, sizeof option, "has_%s", names[i]);
        const json_t *json = option_of(golden, option);
        const bool has = sq_golden_tensor(golden, "input", names[i]);
        if (json_is_boolean(json) && json_is_true(json) != has)
            return sq_fail(err, SQ_UNSUPPORTED, "%s is %s, but the case has %s input.%s", option,
                           has ? "false" : "true", has ? "an" : "no", names[i]);
    }
    return SQ_OK;
}

sq_status sq_golden_agrees(const sq_golden *golden, sq_error *err)
{
    if (golden->misread && golden->misread[0])
        return sq_fail(err, SQ_UNSUPPORTED, "option %s: not of the kind that is needed here",
                       golden->misread);
    const json_t *wild = json_array_get(json_object_get(golden->json, "non_finite_by_design"), 0);
    if (wild)
        return sq_fail(err, SQ_UNSUPPORTED, "%.100s: not finite by design, which proves nothing",
                       json_is_string(wild) ? json_string_value(wild) : "a tensor");
    for (int i = 0; i < golden->file.count; i++)
        SQ_TRY(check_shape(golden, &golden->file.tensor[i], err));
    return check_inputs(golden, err);
}

bool sq_golden_has_role(const sq_golden *golden, const char *role)
{
    for (int i = 0; i < golden->file.count; i++)
        if (name_in(&golden->file.tensor[i], role))
            return true;
    return false;
}
