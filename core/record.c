#include "core/record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/grow.h"
#include "core/text.h"

static const char *const status_names[] = {
#define SQ_X(symbol, text) text,
    SQ_RUN_STATUSES(SQ_X)
#undef SQ_X
    NULL};

const char *sq_run_status_name(sq_run_status status)
{
    return (unsigned)status < SQ_RUN_STATUS_COUNT ? status_names[status] : "unknown";
}

sq_status sq_run_status_parse(const char *name, sq_run_status *out, sq_error *err)
{
    int index = 0;
    SQ_TRY(sq_find_name("status", name, status_names, &index, err));
    *out = (sq_run_status)index;
    return SQ_OK;
}

sq_status sq_uuid_new(char out[SQ_UUID_TEXT], sq_error *err)
{
    unsigned char b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        return sq_fail(err, SQ_IO, "no randomness from the system for a uuid");
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(out, SQ_UUID_TEXT,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
    return SQ_OK;
}

void sq_record_init(sq_record *record, const sq_cell *cell)
{
    *record = (sq_record){.cell = *cell,
                          .status = SQ_RUN_ERROR,
                          .cycles = NAN,
                          .sm_mhz = NAN,
                          .setup_ns = NAN,
                          .peak_bytes = -1};
}

void sq_record_free(sq_record *record)
{
    if (!record)
        return;
    free(record->samples);
    free(record->checks);
    free(record->values);
    free(record->kernels);
    record->samples = NULL;
    record->checks = NULL;
    record->values = NULL;
    record->kernels = NULL;
    record->n_samples = record->n_checks = record->n_values = record->n_kernels = 0;
    record->stats = (sq_stats){.n = 0};
}

void sq_record_restart(sq_record *record)
{
    sq_record fresh;
    sq_record_init(&fresh, &record->cell);
    memcpy(fresh.uuid, record->uuid, sizeof fresh.uuid);
    fresh.replicate = record->replicate;
    fresh.attempt = record->attempt;
    sq_record_free(record);
    *record = fresh;
}

void sq_record_drop_times(sq_record *record)
{
    sq_record_set_samples(record, NULL, 0);
    record->sm_mhz = record->cycles = NAN;
    record->checksum[0] = 0;
}

/* Appends `size` bytes to the array *items of *count. */
static sq_status append(void **items, int *count, const void *item, size_t size)
{
    if (!sq_grow(items, *count, size))
        return SQ_OUT_OF_MEMORY;
    memcpy((char *)*items + (size_t)*count * size, item, size);
    (*count)++;
    return SQ_OK;
}

sq_status sq_record_add_value(sq_record *record, const sq_value *value)
{
    return append((void **)&record->values, &record->n_values, value, sizeof *value);
}

sq_status sq_record_add_kernel(sq_record *record, const sq_kernel_record *kernel)
{
    return append((void **)&record->kernels, &record->n_kernels, kernel, sizeof *kernel);
}

sq_status sq_record_add_check(sq_record *record, const sq_check *check)
{
    return append((void **)&record->checks, &record->n_checks, check, sizeof *check);
}

sq_status sq_record_add_number(sq_record *record, const char *metric, double value)
{
    sq_value v = {.value = value, .n = 1, .spread = NAN, .sm_mhz = NAN, .validity = "ok"};
    if (isnan(value))
        return SQ_OK;
    if (strlen(metric) >= sizeof v.metric)
        return SQ_BAD_ARGUMENT;
    snprintf(v.metric, sizeof v.metric, "%s", metric);
    return sq_record_add_value(record, &v);
}

sq_status sq_record_add_measured(sq_record *record, const char *metric, double value, int n,
                                 double spread, const char *validity)
{
    bool is_ok = strcmp(validity, "ok") == 0;
    sq_value v = {.value = is_ok ? value : NAN,
                  .n = is_ok ? n : 0,
                  .spread = is_ok ? spread : NAN,
                  .sm_mhz = NAN};
    if (strlen(metric) >= sizeof v.metric)
        return SQ_BAD_ARGUMENT;
    snprintf(v.metric, sizeof v.metric, "%s", metric);
    snprintf(v.validity, sizeof v.validity, "%s", validity);
    return sq_record_add_value(record, &v);
}

sq_status sq_record_set_samples(sq_record *record, const int32_t *samples, int n)
{
    int32_t *copy = NULL;
    if (n < 0)
        return SQ_BAD_ARGUMENT;
    if (n > 0) {
        copy = (int32_t *)malloc((size_t)n * sizeof *copy);
        if (!copy)
            return SQ_OUT_OF_MEMORY;
        memcpy(copy, samples, (size_t)n * sizeof *copy);
    }
    free(record->samples);
    record->samples = copy;
    record->n_samples = n;
    record->stats = sq_stats_of(copy, n);
    return SQ_OK;
}
