/* layers without operators: the numbers that state spaces start from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/verify/layers/layers.h"
#include "kernels/s4d_kernel/s4d_start.h"
#include "kernels/shared/hippo.h"

/* `pair` numbers as the case's output PREFIX.NAME, where it stores that; rank and dims are its own.
 */
static void put(sq_tape *t, const sq_golden *g, const char *prefix, const char *name,
                const double *value, int64_t count)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    const sq_stored_tensor *want = sq_golden_tensor(g, "output", full);
    if (want && want->count == count)
        sq_tape_output(t, full, sq_tape_values(t, value, want->rank, want->dim));
}

/* A complex number of size 1 by which a vector of the case, (rows, modes, 2), is ours turned: official
 * programs leave it to chance. */
static sq_c64 phase_of(const sq_stored_tensor *stored, int64_t modes, int64_t k, const sq_c64 *ours,
                       int64_t rows)
{
    sq_c64 dot = sq_c64_of(0, 0);
    if (!stored || stored->count != 2 * rows * modes)
        return sq_c64_of(1, 0);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t at = i * modes + k;
        const sq_c64 theirs =
            sq_c64_of(sq_stored_number(stored, 2 * at), sq_stored_number(stored, 2 * at + 1));
        dot = sq_c64_add(dot, sq_c64_conj_mul(ours[at], theirs));
    }
    const double size = hypot(dot.re, dot.im);
    return size > 0 ? sq_c64_scale(dot, 1 / size) : sq_c64_of(1, 0);
}

typedef struct {
    int64_t n, modes;
    sq_c64 *a, *p, *b, *v;
    double *dense;
} legs;

static void put_legs(sq_tape *t, const sq_golden *g, const legs *l)
{
    const sq_stored_tensor *v = sq_golden_tensor(g, "output", "legs.V");
    const sq_stored_tensor *p = sq_golden_tensor(g, "output", "legs.P");
    for (int64_t k = 0; k < l->modes; k++) {
        const sq_c64 phase = v ? phase_of(v, l->modes, k, l->v, l->n)
                               : sq_c64_conj(phase_of(p, l->modes, k, l->p, 1));
        l->p[k] = sq_c64_conj_mul(phase, l->p[k]);
        l->b[k] = sq_hippo_clip(sq_c64_conj_mul(phase, l->b[k]));
        for (int64_t i = 0; i < l->n; i++)
            l->v[i * l->modes + k] = sq_c64_mul(phase, l->v[i * l->modes + k]);
    }
    for (int64_t i = 0; i < l->n * l->n; i++)
        l->dense[i] = sq_hippo_legs_a(i / l->n, i % l->n);
    put(t, g, "legs", "A_dense", l->dense, l->n * l->n);
    for (int64_t i = 0; i < l->n; i++)
        l->dense[i] = sq_hippo_legs_b(i);
    put(t, g, "legs", "B_dense", l->dense, l->n);
    put(t, g, "legs", "w", &l->a[0].re, 2 * l->modes);
    put(t, g, "legs", "P", &l->p[0].re, 2 * l->modes);
    put(t, g, "legs", "B", &l->b[0].re, 2 * l->modes);
    put(t, g, "legs", "V", &l->v[0].re, 2 * l->n * l->modes);
    put(t, g, "diag-legs", "A", &l->a[0].re, 2 * l->modes);
    put(t, g, "diag-legs", "B", &l->b[0].re, 2 * l->modes);
}

static sq_status put_diagonal(sq_tape *t, const sq_golden *g, sq_s4d_start start, const legs *l,
                              sq_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "diag-%s", sq_s4d_start_name(start));
    SQ_TRY(sq_s4d_start_modes(start, l->n, l->a, l->b, err));
    put(t, g, name, "A", &l->a[0].re, 2 * l->modes);
    put(t, g, name, "B", &l->b[0].re, 2 * l->modes);
    return SQ_OK;
}

static void s4_init(sq_tape *t, const sq_golden *g)
{
    legs l = {.n = sq_golden_integer(g, "N", 0)};
    l.modes = l.n / 2;
    if (l.n < 2 || l.n % 2 != 0 || l.n > 256) { /* of more, eigenvectors take minutes */
        sq_tape_refuse(t, SQ_UNSUPPORTED, "no start of %lld states", (long long)l.n);
        return;
    }
    sq_c64 *memory = calloc((size_t)(3 * l.modes + l.n * l.modes + l.n * l.n), sizeof *memory);
    sq_error why = {.status = SQ_OK};
    if (memory) {
        l.a = memory;
        l.p = l.a + l.modes;
        l.b = l.p + l.modes;
        l.v = l.b + l.modes;
        l.dense = &l.v[l.n * l.modes].re;
    }
    sq_status s = memory ? sq_hippo_legs(l.n, l.a, l.p, l.b, l.v, &why)
                         : sq_fail(&why, SQ_OUT_OF_MEMORY, "no memory for a start");
    if (s == SQ_OK)
        put_legs(t, g, &l);
    for (int start = 0; s == SQ_OK && start < SQ_S4D_LEGS;
         start++) /* LegS: with its eigenvectors */
        s = put_diagonal(t, g, (sq_s4d_start)start, &l, &why);
    if (s != SQ_OK)
        sq_tape_refuse(t, s, "%s", why.message);
    free(memory);
}

const sq_verify_layer sq_layers_start[] = {
    {"s4_init", s4_init},
    {NULL, NULL},
};
