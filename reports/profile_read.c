/* profile_read: one run out of the store. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/profile_data.h"
#include "reports/query.h"

/* Takes one row into *profile. SQ_OUT_OF_MEMORY. */
typedef sq_status (*take_fn)(sq_profile *profile, sqlite3_stmt *row);

/* ?1 is the run. *count receives the rows. */
static sq_status read_rows(sq_db *db, const char *query, sq_profile *profile, take_fn take,
                           int *count, sq_error *err)
{
    char id[24];
    snprintf(id, sizeof id, "%" PRId64, profile->run_id);
    const sq_scope scope = {db, id};
    sqlite3_stmt *row = NULL;
    bool has_row = true;
    *count = 0;
    SQ_TRY(sq_query_plain(&scope, query, &row, err));
    sq_status status = SQ_OK;
    while ((status = sq_query_step(&scope, row, &has_row, err)) == SQ_OK && has_row) {
        ++*count;
        if (take(profile, row) != SQ_OK) {
            status = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the profile");
            break;
        }
    }
    sqlite3_finalize(row);
    return status;
}

/* Room for one more element at the end of *list, zeroed; NULL on out of memory. */
static void *add(void **list, int *count, size_t size)
{
    void *grown = realloc(*list, ((size_t)*count + 1) * size);
    if (!grown)
        return NULL;
    *list = grown;
    return memset((char *)grown + (size_t)(*count)++ * size, 0, size);
}
#define SQ_ADD(profile, list, count)                                                               \
    add((void **)&(profile)->list, &(profile)->count, sizeof *(profile)->list)

static sq_status take_run(sq_profile *p, sqlite3_stmt *row)
{
    sq_query_copy(row, 0, p->key, sizeof p->key);
    sq_query_copy(row, 1, p->hash, sizeof p->hash);
    sq_query_copy(row, 2, p->subject, sizeof p->subject);
    sq_query_copy(row, 3, p->dtype, sizeof p->dtype);
    sq_query_copy(row, 4, p->status, sizeof p->status);
    sq_query_copy(row, 5, p->reason, sizeof p->reason);
    sq_query_copy(row, 6, p->device, sizeof p->device);
    sq_query_copy(row, 7, p->backend, sizeof p->backend);
    sq_query_copy(row, 8, p->campaign, sizeof p->campaign);
    p->n_samples = sqlite3_column_int(row, 9);
    p->median_ns = sq_query_number(row, 10);
    p->lo_ns = sq_query_number(row, 11);
    p->hi_ns = sq_query_number(row, 12);
    p->sm_mhz = sq_query_number(row, 13);
    p->device_id = sqlite3_column_int64(row, 14);
    p->dram_peak_gbytes_per_s = sq_query_number(row, 17);
    sq_query_copy(row, 15, p->cache, sizeof p->cache);
    sq_query_copy(row, 16, p->launch, sizeof p->launch);
    return SQ_OK;
}

static sq_status take_facts(sq_profile *p, sqlite3_stmt *row)
{
    for (int i = 0; i < sqlite3_column_count(row); i++) {
        sq_profile_fact *fact = SQ_ADD(p, fact, n_facts);
        if (!fact || !(fact->name = strdup(sqlite3_column_name(row, i))) ||
            !(fact->text = strdup(sq_query_text(row, i))))
            return SQ_OUT_OF_MEMORY;
    }
    return SQ_OK;
}

static sq_status take_value(sq_profile *p, sqlite3_stmt *row)
{
    sq_profile_value *value = SQ_ADD(p, value, n_values);
    if (!value)
        return SQ_OUT_OF_MEMORY;
    sq_query_copy(row, 0, value->of.metric, sizeof value->of.metric);
    value->of.value = sq_query_number(row, 1);
    value->of.n = sqlite3_column_int(row, 2);
    value->of.spread = sq_query_number(row, 3);
    value->of.sm_mhz = sq_query_number(row, 4);
    sq_query_copy(row, 5, value->of.validity, sizeof value->of.validity);
    sq_query_copy(row, 6, value->unit, sizeof value->unit);
    sq_query_copy(row, 7, value->source, sizeof value->source);
    sq_query_copy(row, 8, value->doc, sizeof value->doc);
    return SQ_OK;
}

static sq_status take_kernel(sq_profile *p, sqlite3_stmt *row)
{
    sq_profile_kernel *kernel = SQ_ADD(p, kernel, n_kernels);
    if (!kernel)
        return SQ_OUT_OF_MEMORY;
    sq_query_copy(row, 0, kernel->name, sizeof kernel->name);
    sq_query_copy(row, 1, kernel->grid, sizeof kernel->grid);
    sq_query_copy(row, 2, kernel->block, sizeof kernel->block);
    kernel->registers = sqlite3_column_int(row, 3);
    kernel->shared_bytes = sq_query_number(row, 4);
    kernel->ns = sq_query_number(row, 5);
    kernel->launches = sqlite3_column_int(row, 6);
    p->kernel_ns += kernel->ns;
    return SQ_OK;
}

static sq_status take_check(sq_profile *p, sqlite3_stmt *row)
{
    sq_check *check = SQ_ADD(p, check, n_checks);
    if (!check)
        return SQ_OUT_OF_MEMORY;
    sq_query_copy(row, 0, check->tensor, sizeof check->tensor);
    sq_query_copy(row, 1, check->slice, sizeof check->slice);
    check->rel_l2 = sq_query_number(row, 2);
    check->max_abs = sq_query_number(row, 3);
    check->tolerance_rel_l2 = sq_query_number(row, 4);
    check->tolerance_max_abs = sq_query_number(row, 5);
    return SQ_OK;
}

/* The ceilings of the run's device: of its own campaign where that has any, else the newest. */
static sq_status read_ceilings(sq_db *db, sq_profile *p, sq_error *err)
{
    const sq_scope scope = {db, p->campaign};
    sqlite3_stmt *row = NULL;
    bool has_row = true;
    SQ_TRY(sq_query_plain(&scope, sq_figure_ceilings_sql, &row, err));
    sqlite3_bind_int64(row, 2, p->device_id);
    sq_status status = SQ_OK;
    while ((status = sq_query_step(&scope, row, &has_row, err)) == SQ_OK && has_row) {
        sq_ceiling *ceiling = SQ_ADD(p, ceiling, n_ceilings);
        if (!ceiling) {
            status = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the ceilings");
            break;
        }
        sq_query_copy(row, 0, ceiling->name, sizeof ceiling->name);
        sq_query_copy(row, 1, ceiling->unit, sizeof ceiling->unit);
        ceiling->value = sq_query_number(row, 2);
        ceiling->lo = sq_query_number(row, 3);
        ceiling->hi = sq_query_number(row, 4);
    }
    sqlite3_finalize(row);
    return status;
}

sq_status sq_profile_read(sq_db *db, int64_t run_id, sq_profile *out, sq_error *err)
{
    int count;
    *out = (sq_profile){.run_id = run_id, .traced_ns = NAN};
    SQ_TRY(read_rows(db, sq_figure_profile_run_sql, out, take_run, &count, err));
    if (!count)
        return sq_fail(err, SQ_BAD_ARGUMENT, "the store has no run %" PRId64, run_id);
    SQ_TRY(read_rows(db, sq_figure_profile_facts_sql, out, take_facts, &count, err));
    SQ_TRY(read_rows(db, sq_figure_profile_values_sql, out, take_value, &count, err));
    SQ_TRY(read_rows(db, sq_figure_profile_kernels_sql, out, take_kernel, &count, err));
    SQ_TRY(read_rows(db, sq_figure_profile_checks_sql, out, take_check, &count, err));
    /* Of several traced launches the median, where it is stored; the list is of one launch. */
    out->traced_ns = sq_profile_number(out, "activity_ns", NULL);
    if (isnan(out->traced_ns) && out->n_kernels)
        out->traced_ns = out->kernel_ns;
    return read_ceilings(db, out, err);
}

void sq_profile_free(sq_profile *profile)
{
    for (int i = 0; i < profile->n_facts; i++) {
        free(profile->fact[i].name);
        free(profile->fact[i].text);
    }
    free(profile->fact);
    free(profile->check);
    free(profile->value);
    free(profile->kernel);
    free(profile->ceiling);
    *profile = (sq_profile){.run_id = 0};
}

double sq_profile_number(const sq_profile *profile, const char *metric, const char **absent)
{
    const char *ignored;
    absent = absent ? absent : &ignored;
    *absent = !strcmp(profile->backend, "cuda") ? "not counted in this run"
                                                : "there are counters on CUDA devices only";
    for (int i = 0; i < profile->n_values; i++) {
        const sq_value *value = &profile->value[i].of;
        if (strcmp(value->metric, metric))
            continue;
        if (!strcmp(value->validity, "ok") && !isnan(value->value))
            return value->value;
        *absent = strcmp(value->validity, "ok") ? value->validity : "stored without a value";
        return NAN;
    }
    return NAN;
}

const sq_ceiling *sq_profile_ceiling(const sq_profile *profile, const char *name)
{
    for (int i = 0; i < profile->n_ceilings; i++)
        if (!strcmp(profile->ceiling[i].name, name) && profile->ceiling[i].value > 0)
            return &profile->ceiling[i];
    return NULL;
}

const char *sq_profile_fact_text(const sq_profile *profile, const char *name)
{
    for (int i = 0; i < profile->n_facts; i++)
        if (!strcmp(profile->fact[i].name, name) && *profile->fact[i].text)
            return profile->fact[i].text;
    return "unknown";
}
