/* profile_model: from the numbers of a run to percentages of ceilings, the roofline, shares and
 * the verdict. Every name of a metric or ceiling that the page knows is in the tables here. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/profile_data.h"

enum { PARTS = 3, CEILINGS = 4, PEAKS = 3, WAVEFRONT_BYTES = 128, WARP = 32 };

/* Names ending in '*' take the cell's type: "tensor_ops_*" is tensor_ops_bf16. */
typedef struct {
    const char *metric;
    double factor;
} sq_part;

static const struct {
    const char *name, *unit;
    sq_part work[PARTS];           /* summed */
    double per_ns;                 /* work / ns * per_ns is in `unit` */
    const char *ceiling[CEILINGS]; /* the highest that was measured counts */
    const char *peak_pct[PEAKS];   /* percent of peak; the highest counts */
} resources[SQ_USES] = {
    {"DRAM",
     "GB/s",
     {{"dram_bytes_read", 1}, {"dram_bytes_written", 1}},
     1,
     {"copy_gbytes_per_s", "read_gbytes_per_s"},
     {"dram_pct"}},
    {"L2",
     "GB/s",
     {{"l2_to_sm_bytes", 1}, {"sm_to_l2_bytes", 1}},
     1,
     {"l2_read_gbytes_per_s"},
     {"l2_pct", "l2_data_pct", "l2_out_pct"}},
    {"shared memory",
     "GB/s",
     {{"shared_wavefronts", WAVEFRONT_BYTES}},
     1,
     {"shared_read_gbytes_per_s"},
     {"l1_data_pct"}},
    {"tensor pipes",
     "TFLOP/s",
     {{"tensor_ops_*", 1}},
     1e-3,
     {"gemm_*_tflops"},
     {"tensor_pipe_pct"}},
    {"f32 arithmetic",
     "TFLOP/s",
     {{"thread_fadd", 1}, {"thread_fmul", 1}, {"thread_ffma", 2}},
     1e-3,
     {"fma_f32_tflops", "gemm_f32_tflops"},
     {"fma_pct"}},
    {"special functions", "Gop/s", {{"inst_xu", WARP}}, 1, {"ex2_gops_per_s"}, {"xu_pct"}},
};
enum { DRAM, L2, SHARED, TENSOR, SIMT };

/* The first limits of a verdict are the first resources. */
_Static_assert((int)SQ_LIMIT_DRAM == DRAM && (int)SQ_LIMIT_L2 == L2 && (int)SQ_LIMIT_L1 == SHARED &&
                   (int)SQ_LIMIT_TENSOR == TENSOR,
               "one order");
static const char *const issue_pct[PEAKS] = {"issue_pct"};

static const struct {
    const char *metric, *name, *meaning;
} pipes[] = {
    {"inst_tensor", "tensor", "matrix products (mma, wgmma)"},
    {"inst_fma", "fma", "f32 arithmetic and integer multiply"},
    {"inst_alu", "alu", "integers, logic, comparisons"},
    {"inst_f16", "f16", "f16 and bf16 arithmetic outside the tensor cores"},
    {"inst_f64", "f64", "double precision"},
    {"inst_xu", "xu", "special functions and conversions"},
    {"inst_lsu", "lsu", "loads, stores, shared memory, shuffles"},
    {"inst_tma", "tma", "bulk copies by the memory accelerator"},
    {"inst_uniform", "uniform", "what is the same for a whole warp"},
    {"inst_cbu", "cbu", "branches and barriers"},
    {"inst_adu", "adu", "indexed constants, some barriers"},
    {"inst_tex", "tex", "texture unit"},
};
enum { PIPES = sizeof pipes / sizeof pipes[0] };
_Static_assert((int)PIPES <= SQ_MIX_MAX, "room for the pipes");

static const char inst_total[] = "instructions", warps_active[] = "warps_active",
                  occupancy[] = "occupancy_pct", stall_prefix[] = "stall_";

/* --- names --- */

static void fill_name(const char *pattern, const char *dtype, char out[96])
{
    const char *star = strchr(pattern, '*');
    if (star)
        snprintf(out, 96, "%.*s%s%s", (int)(star - pattern), pattern, dtype, star + 1);
    else
        snprintf(out, 96, "%s", pattern);
}

static void tell(const char *name, bool is_ceiling, sq_name_fn take, void *arg)
{
    static const char *const dtypes[] = {"bf16", "f16"}; /* of the tensor pipes */
    char filled[96];
    for (int i = 0; name && i < (strchr(name, '*') ? 2 : 1); i++) {
        fill_name(name, dtypes[i], filled);
        take(arg, filled, is_ceiling);
    }
}

void sq_model_names(sq_name_fn take, void *arg)
{
    static const char *const others[] = {"issue_pct", inst_total, warps_active, occupancy,
                                         "flops",     "bytes",    "activity_ns"};
    for (int i = 0; i < SQ_USES; i++) {
        for (int k = 0; k < PARTS; k++)
            tell(resources[i].work[k].metric, false, take, arg);
        for (int k = 0; k < CEILINGS; k++)
            tell(resources[i].ceiling[k], true, take, arg);
        for (int k = 0; k < PEAKS; k++)
            tell(resources[i].peak_pct[k], false, take, arg);
    }
    for (int i = 0; i < PIPES; i++)
        take(arg, pipes[i].metric, false);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        take(arg, others[i], false);
}

/* --- uses --- */

/* Work of a launch; NAN and the reason where a part is absent. */
static double work_of(const sq_profile *p, const sq_part *part, const char **absent)
{
    double sum = 0;
    char metric[96];
    for (int i = 0; i < PARTS && part[i].metric; i++) {
        fill_name(part[i].metric, p->dtype, metric);
        sum += part[i].factor * sq_profile_number(p, metric, absent);
        if (isnan(sum))
            return NAN;
    }
    return sum;
}

static const sq_ceiling *ceiling_of(const sq_profile *p, const char *const *names)
{
    const sq_ceiling *best = NULL;
    char name[96];
    for (int i = 0; i < CEILINGS && names[i]; i++) {
        fill_name(names[i], p->dtype, name);
        const sq_ceiling *ceiling = sq_profile_ceiling(p, name);
        if (ceiling && (!best || ceiling->value > best->value))
            best = ceiling;
    }
    return best;
}

/* The highest of those that were taken (a chip may lack one); NAN and a reason where none was. */
static double peak_of(const sq_profile *p, const char *const *names, const char **absent)
{
    double most = NAN;
    for (int i = 0; i < PEAKS && names[i]; i++) {
        const char *why = NULL;
        double pct = sq_profile_number(p, names[i], &why);
        if (isnan(pct) && i == 0)
            *absent = why;
        most = fmax(most, pct); /* fmax passes over NAN */
    }
    return most;
}

static void fill_use(const sq_profile *p, int i, sq_use *use)
{
    const char *no_work = NULL, *no_peak = NULL;
    const sq_ceiling *ceiling = ceiling_of(p, resources[i].ceiling);
    double peak = peak_of(p, resources[i].peak_pct, &no_peak);
    *use = (sq_use){.name = resources[i].name,
                    .unit = resources[i].unit,
                    .achieved = work_of(p, resources[i].work, &no_work) / p->median_ns *
                                resources[i].per_ns,
                    .ceiling = ceiling ? ceiling->value : NAN,
                    .pct = NAN};
    use->pct = 100 * use->achieved / use->ceiling;
    if (!isnan(use->pct))
        snprintf(use->basis, sizeof use->basis, "measured ceiling %.64s", ceiling->name);
    else if (!isnan(peak))
        snprintf(use->basis, sizeof use->basis, "counter, of theoretical peak (%s)",
                 !ceiling  ? "no ceiling was measured"
                 : no_work ? no_work
                           : "no time");
    else
        snprintf(use->basis, sizeof use->basis, "%.150s", no_work ? no_work : no_peak);
    if (isnan(use->pct))
        use->pct = peak;
}

/* --- roofline --- */

static void fill_level(const sq_profile *p, int i, double flops, sq_level *level)
{
    const char *absent = "";
    const sq_ceiling *ceiling = ceiling_of(p, resources[i].ceiling);
    double bytes = work_of(p, resources[i].work, &absent);
    *level = (sq_level){.name = resources[i].name,
                        .bytes = bytes,
                        .intensity = bytes > 0 && flops > 0 ? flops / bytes : NAN,
                        .gbytes_per_s = bytes / p->median_ns,
                        .roof_gbytes_per_s = ceiling ? ceiling->value : NAN};
    if (ceiling)
        snprintf(level->roof, sizeof level->roof, "%s", ceiling->name);
    if (isnan(bytes))
        snprintf(level->absent, sizeof level->absent, "%s", absent);
    if (i == DRAM && !ceiling && p->dram_peak_gbytes_per_s > 0) {
        level->roof_gbytes_per_s = p->dram_peak_gbytes_per_s;
        strcpy(level->roof, "theoretical");
    }
}

static void fill_roofline(const sq_profile *p, sq_model *m)
{
    double flops = sq_profile_number(p, "flops", NULL);
    for (int i = 0; i < SQ_LEVELS; i++)
        fill_level(p, i, flops, &m->level[i]);
    m->tflops = flops > 0 ? flops / p->median_ns / 1e3 : NAN;
    m->compulsory_intensity = flops / sq_profile_number(p, "bytes", NULL);
    const sq_ceiling *flat = ceiling_of(p, resources[TENSOR].ceiling);
    const sq_ceiling *simt = ceiling_of(p, resources[SIMT].ceiling);
    m->flat_tflops = flat ? flat->value : NAN;
    m->simt_tflops = simt ? simt->value : NAN;
    snprintf(m->flat_roof, sizeof m->flat_roof, "%s", flat ? flat->name : "");
}

/* --- shares --- */

/* Largest first, absent ones last. */
static int by_share(const void *a, const void *b)
{
    double x = ((const sq_share *)a)->pct, y = ((const sq_share *)b)->pct;
    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y);
    return (x < y) - (x > y);
}

static void fill_mix(const sq_profile *p, sq_model *m)
{
    const char *no_total = NULL;
    double total = sq_profile_number(p, inst_total, &no_total);
    for (int i = 0; i < PIPES; i++) {
        const char *absent = NULL;
        double count = sq_profile_number(p, pipes[i].metric, &absent);
        double pct = total > 0 ? 100 * count / total : NAN;
        m->mix[m->n_mix++] =
            (sq_share){pipes[i].name, pipes[i].meaning, pct, isnan(count) ? absent : no_total};
    }
    qsort(m->mix, (size_t)m->n_mix, sizeof *m->mix, by_share);
}

/* Every stored stall reason: a chip may have others than the next. */
static void fill_stalls(const sq_profile *p, sq_model *m)
{
    const char *no_total = NULL;
    double total = sq_profile_number(p, warps_active, &no_total);
    for (int i = 0; i < p->n_values && m->n_stalls < SQ_STALLS_MAX; i++) {
        const char *metric = p->value[i].of.metric, *absent = NULL;
        if (strncmp(metric, stall_prefix, sizeof stall_prefix - 1) != 0)
            continue;
        const char *name = metric + sizeof stall_prefix - 1;
        double count = sq_profile_number(p, metric, &absent);
        if (strcmp(name, "selected") != 0)
            m->stall[m->n_stalls++] =
                (sq_share){name, sq_stall_meaning(name), total > 0 ? 100 * count / total : NAN,
                           isnan(count) ? absent : no_total};
    }
    qsort(m->stall, (size_t)m->n_stalls, sizeof *m->stall, by_share);
}

static void fill_evidence(const sq_profile *p, sq_model *m)
{
    sq_evidence *e = &m->evidence;
    for (int i = 0; i < SQ_LIMITS; i++)
        e->use_pct[i] =
            peak_of(p, i == SQ_LIMIT_ISSUE ? issue_pct : resources[i].peak_pct, &e->absent[i]);
    e->occupancy_pct = sq_profile_number(p, occupancy, NULL);
    e->event_ns = p->median_ns;
    e->traced_ns = p->traced_ns;
    if (m->n_stalls && !isnan(m->stall[0].pct)) {
        e->stall = m->stall[0].name;
        e->stall_pct = m->stall[0].pct;
    }
}

void sq_model_of(const sq_profile *profile, sq_model *out)
{
    *out = (sq_model){.n_mix = 0};
    for (int i = 0; i < SQ_USES; i++)
        fill_use(profile, i, &out->use[i]);
    fill_roofline(profile, out);
    fill_mix(profile, out);
    fill_stalls(profile, out);
    fill_evidence(profile, out);
    out->verdict = sq_verdict_of(&out->evidence);
}
