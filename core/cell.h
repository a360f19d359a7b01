/* cell: the unit of measuring, and its canonical key.
 *
 *   attention@cuda/portable/fwd/bf16/B=8,L=2048,H=16,.../clean-cold,plain,unlocked
 *   block:mamba@cuda/portable/fwd/bf16/B=8,L=2048,D=2048,.../clean-cold,plain,unlocked
 *
 * Two cells are the same if and only if their keys are. Rows of different cells are never averaged.
 */
#ifndef SQ_CORE_CELL_H
#define SQ_CORE_CELL_H

#include "core/axes.h"
#include "core/dtype.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_KEY_MAX = 640, SQ_HASH_TEXT = 17, SQ_NAME_MAX = 64 };

typedef enum { SQ_KIND_OP, SQ_KIND_BLOCK, SQ_KIND_COUNT } sq_kind;
typedef enum { SQ_PASS_FWD, SQ_PASS_BWD, SQ_PASS_FWDBWD, SQ_PASS_STEP, SQ_PASS_COUNT } sq_pass;
/* The passes that an operator can have; fwdbwd is two of them in one sample. */
enum { SQ_OWN_PASSES = 3 };
extern const sq_pass sq_own_passes[SQ_OWN_PASSES];
/* Cache before a sample (docs/methodology.md): no line of the inputs and no dirty line; a memset's
 * dirty lines, as triton's do_bench leaves them; the launch's own lines; other inputs' lines. */
typedef enum {
    SQ_CACHE_CLEAN_COLD,
    SQ_CACHE_DIRTY_COLD,
    SQ_CACHE_HOT,
    SQ_CACHE_ROTATE,
    SQ_CACHE_COUNT
} sq_cache;
/* What a sample launches: the call; a CUDA graph of the call; many calls back to back. */
typedef enum { SQ_LAUNCH_PLAIN, SQ_LAUNCH_GRAPH, SQ_LAUNCH_BATCH, SQ_LAUNCH_COUNT } sq_launch;
/* The SM clock while the cell was measured: as found, or held at so many MHz, or at the base clock
 * of the part ("unlocked", "locked@1200", "locked@base"). */
typedef int sq_clock;
enum { SQ_CLOCK_UNLOCKED = 0, SQ_CLOCK_BASE = -1, SQ_CLOCK_MOST_MHZ = 9999, SQ_CLOCK_TEXT = 16 };

const char *sq_kind_name(sq_kind kind); /* "op", "block" */
const char *sq_pass_name(sq_pass pass); /* "fwd", ... */
const char *sq_cache_name(sq_cache cache);
const char *sq_launch_name(sq_launch launch);
void sq_clock_format(sq_clock clock, char out[SQ_CLOCK_TEXT]);
sq_status sq_pass_parse(const char *name, sq_pass *out, sq_error *err);
sq_status sq_cache_parse(const char *name, sq_cache *out, sq_error *err);
sq_status sq_launch_parse(const char *name, sq_launch *out, sq_error *err);
sq_status sq_clock_parse(const char *name, sq_clock *out, sq_error *err);
/* What clocks are locked to: "1200", "base". */
sq_status sq_clock_parse_lock(const char *text, sq_clock *out, sq_error *err);
/* SQ_BAD_ARGUMENT for a pair that cannot be: only the first launch of a batch would be cold. */
sq_status sq_modes_check(sq_cache cache, sq_launch launch, sq_error *err);

typedef struct {
    sq_kind kind;
    char subject[SQ_NAME_MAX];  /* operator or family */
    char provider[SQ_NAME_MAX]; /* "cpu/ref", "cuda/portable", "cufft" ... */
    sq_pass pass;
    sq_dtype dtype;
    const sq_axis *axes; /* the subject's table (static storage) */
    sq_axis_value value[SQ_MAX_AXES];
    sq_cache cache;
    sq_launch launch;
    sq_clock clock;
} sq_cell;

/* Writes the canonical key. SQ_KEY_MAX is enough for every subject in the tree. */
void sq_cell_key(const sq_cell *cell, char key[SQ_KEY_MAX]);

/* 16 lower-case hex digits of a 64-bit hash of a text (FNV-1a). */
void sq_hash_text(const char *text, char out[SQ_HASH_TEXT]);

/* Value of the axis called `name` or flagged so; `fallback` where the subject has none. */
double sq_cell_axis(const sq_cell *cell, const char *name, double fallback);

#ifdef __cplusplus
}
#endif
#endif
