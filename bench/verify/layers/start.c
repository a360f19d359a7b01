/* layers without operators: the numbers that state spaces start from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/verify/layers/hippo.h"
#include "bench/verify/layers/layers.h"

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

/* The sign that the case gave vector k: official programs leave it to chance. */
static double sign_of(const sq_stored_tensor *v, int64_t modes, int64_t k, const sq_c64 *ours,
                      int64_t n)
{
    double dot = 0;
    for (int64_t i = 0; v && i < n; i++)
        dot += sq_stored_number(v, 2 * (i * modes + k)) * ours[i * modes + k].re +
               sq_stored_number(v, 2 * (i * modes + k) + 1) * ours[i * modes + k].im;
    return dot < 0 ? -1 : 1;
}

typedef struct {
    int64_t n, modes;
    sq_c64 *a, *p, *b, *v;
    double *dense;
} legs;

static void put_legs(sq_tape *t, const sq_golden *g, const legs *l)
{
    const sq_stored_tensor *v = sq_golden_tensor(g, "output", "legs.V");
    for (int64_t k = 0; k < l->modes; k++) {
        const double sign = sign_of(v, l->modes, k, l->v, l->n);
        l->p[k] = sq_c64_scale(l->p[k], sign);
        l->b[k] = sq_c64_scale(l->b[k], sign);
        for (int64_t i = 0; i < l->n; i++)
            l->v[i * l->modes + k] = sq_c64_scale(l->v[i * l->modes + k], sign);
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

static void put_diagonal(sq_tape *t, const sq_golden *g, const char *name, sq_s4d_start start,
                         const legs *l)
{
    sq_hippo_diagonal(start, l->n, l->a);
    for (int64_t k = 0; k < l->modes; k++)
        l->b[k] = sq_c64_of(1, 0);
    put(t, g, name, "A", &l->a[0].re, 2 * l->modes);
    put(t, g, name, "B", &l->b[0].re, 2 * l->modes);
}

static void s4_init(sq_tape *t, const sq_golden *g)
{
    legs l = {.n = sq_golden_integer(g, "N", 0)};
    l.modes = l.n / 2;
    if (l.n < 2 || l.n % 2 != 0 || l.n > 1024) {
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
    const sq_status s = memory ? sq_hippo_legs(l.n, l.a, l.p, l.b, l.v, &why)
                               : sq_fail(&why, SQ_OUT_OF_MEMORY, "no memory for a start");
    if (s == SQ_OK) {
        put_legs(t, g, &l);
        put_diagonal(t, g, "diag-lin", SQ_S4D_LIN, &l);
        put_diagonal(t, g, "diag-inv", SQ_S4D_INV, &l);
        put_diagonal(t, g, "diag-real", SQ_S4D_REAL, &l);
    } else {
        sq_tape_refuse(t, s, "%s", why.message);
    }
    free(memory);
}

const sq_verify_layer sq_layers_start[] = {
    {"s4_init", s4_init},
    {NULL, NULL},
};
