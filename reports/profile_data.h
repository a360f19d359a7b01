/* profile_data: what the store holds about one run, and what the page makes of it. For the files
 * profile_*.c; others include profile.h. */
#ifndef SQ_REPORTS_PROFILE_DATA_H
#define SQ_REPORTS_PROFILE_DATA_H

#include <stdbool.h>

#include "core/record.h"
#include "core/table.h"
#include "reports/profile.h"
#include "reports/verdict.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- profile_read.c: as it is stored --- */

typedef struct {
    sq_value of;
    char unit[24], source[160], doc[256];
} sq_profile_value;

/* Launches of one kernel with one shape, together. */
typedef struct {
    char name[192], grid[40], block[40];
    double ns; /* all launches */
    int launches, registers;
    double shared_bytes;
} sq_profile_kernel;

typedef struct {
    char *name, *text; /* owned */
} sq_profile_fact;

typedef struct {
    int64_t run_id, device_id;
    char key[SQ_KEY_MAX], hash[SQ_HASH_TEXT], subject[SQ_NAME_MAX], dtype[16], status[16];
    char cache[16], launch[16]; /* modes of the cell */
    char reason[SQ_REASON_MAX], device[128], backend[16], campaign[SQ_UUID_TEXT];
    int n_samples;
    double median_ns, lo_ns, hi_ns, sm_mhz;
    double dram_peak_gbytes_per_s; /* by memory clock and bus; NAN unknown */
    sq_profile_fact *fact;
    int n_facts;
    sq_check *check;
    int n_checks;
    sq_profile_value *value;
    int n_values;
    sq_profile_kernel *kernel; /* most time first */
    int n_kernels;
    double kernel_ns; /* sum of the listed kernels */
    double traced_ns; /* kernel time of one launch; NAN without a trace */
    sq_ceiling *ceiling;
    int n_ceilings;
} sq_profile;

/* Zero-initialise *out; sq_profile_free it also after a failure. */
sq_status sq_profile_read(sq_db *db, int64_t run_id, sq_profile *out, sq_error *err);
void sq_profile_free(sq_profile *profile);

/* The value where its validity is ok, else NAN. *absent (may be NULL) then says why. */
double sq_profile_number(const sq_profile *profile, const char *metric, const char **absent);
/* The text of a fact; "unknown" where it is empty. */
const char *sq_profile_fact_text(const sq_profile *profile, const char *name);
const sq_ceiling *sq_profile_ceiling(const sq_profile *profile, const char *name);

/* --- profile_model.c: what it means --- */

enum { SQ_USES = 6, SQ_LEVELS = 3, SQ_MIX_MAX = 16, SQ_STALLS_MAX = 24 };

/* How much of one resource was used. */
typedef struct {
    const char *name, *unit; /* "DRAM", "GB/s" */
    double achieved;         /* by counted work over the measured time; NAN absent */
    double ceiling;          /* measured; NAN absent */
    double pct;              /* of the measured ceiling, else of peak by counter; NAN absent */
    char basis[160];         /* which of the two, or why absent */
} sq_use;

/* One memory level in the roofline: flops per byte moved there. */
typedef struct {
    const char *name;
    double bytes, intensity, gbytes_per_s; /* of the launch; NAN absent */
    double roof_gbytes_per_s;              /* NAN: none */
    char roof[64];                         /* the ceiling's name, or "theoretical" */
    char absent[SQ_REASON_MAX];
} sq_level;

/* A share of a whole, in percent. NAN: absent. */
typedef struct {
    const char *name, *meaning;
    double pct;
    const char *absent;
} sq_share;

typedef struct {
    sq_use use[SQ_USES];
    sq_level level[SQ_LEVELS];
    double tflops, compulsory_intensity; /* compulsory flops over time, over compulsory bytes */
    double flat_tflops, simt_tflops;     /* roofs; NAN none */
    char flat_roof[64];
    sq_share mix[SQ_MIX_MAX];
    int n_mix;
    sq_share stall[SQ_STALLS_MAX]; /* largest first, absent ones last; without "selected" */
    int n_stalls;
    sq_evidence evidence;
    sq_verdict verdict;
} sq_model;

/* Points into `profile`, which must outlive it. */
void sq_model_of(const sq_profile *profile, sq_model *out);

/* Calls `take` with every metric and ceiling that the page looks up by name, so that a test can
 * hold them against profile/metrics.c and core/ceiling.c. */
typedef void (*sq_name_fn)(void *arg, const char *name, bool is_ceiling);
void sq_model_names(sq_name_fn take, void *arg);

/* --- kernel_name.c --- */

/* A mangled name as its innermost identifier, "void f<8>(int)" as "f<8>"; others as they are. */
void sq_kernel_short_name(const char *name, char *out, size_t size);

/* --- profile_tables.c: the sections as tables; NULL on out of memory --- */

sq_table *sq_profile_kernel_table(const sq_profile *profile);
sq_table *sq_profile_use_table(const sq_model *model);
sq_table *sq_profile_level_table(const sq_model *model);
sq_table *sq_profile_mix_table(const sq_model *model);
sq_table *sq_profile_stall_table(const sq_model *model);
sq_table *sq_profile_value_table(const sq_profile *profile);
sq_table *sq_profile_check_table(const sq_profile *profile);
sq_table *sq_curve_table(const sq_curve *series);
/* Mean, lowest and highest of every column but the time. */
sq_table *sq_curve_summary(const sq_curve *series);

/* "652.5", "14815": four digits, never an exponent. */
void sq_format_quantity(double value, char out[32]);

/* "1.398 ms (95 % interval 1.397 ms to 1.400 ms, 40 samples)", or why there is no time. */
void sq_profile_time_text(const sq_profile *profile, char *out, size_t size);
/* Event time beside the traced kernels, in a sentence. */
void sq_profile_gap_text(const sq_profile *profile, char *out, size_t size);
/* How the result was proved, in a phrase. */
void sq_profile_proof_text(const sq_profile *profile, char *out, size_t size);
/* Burst against sustained, in words: the first 0.1 s against the last 2 s; and how the calls met the
 * cache, which need not be as the cell's samples did. */
void sq_curve_sustain_text(const sq_profile *profile, const sq_curve *series, char *out, size_t size);
/* How long and how fine it is, and the same. */
void sq_curve_timeline_text(const sq_profile *profile, const sq_curve *series, char *out,
                            size_t size);
/* "Absent: lsu, tma (not counted in this run)." for every reason; nothing where all is there. */
void sq_share_absent_text(const sq_share *share, int n, sq_text *out);

/* --- profile_json.c --- */

void sq_profile_add_json(const sq_profile *profile, const sq_model *model,
                         const sq_profile_options *options, sq_text *out);

/* --- profile_plot.c --- */

/* Writes dir/<id>.gp and, with gnuplot, dir/<id>.svg and .png. *is_drawn: there is a picture.
 * `note` (else empty) says why not. */
typedef struct {
    const char *dir, *gnuplot;
    char note[200];
} sq_plotter;

sq_status sq_plot_roofline(sq_plotter *plotter, const sq_profile *profile, const sq_model *model,
                           bool *is_drawn, sq_error *err);
sq_status sq_plot_curve(sq_plotter *plotter, const char *id, const char *title,
                        const sq_profile *profile, const sq_curve *series, bool *is_drawn,
                        sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
