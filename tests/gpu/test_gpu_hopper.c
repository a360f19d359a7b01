/* What kernels/hw/{tma,wgmma}_sm90.cuh promise, one primitive after the other, in whole numbers: of a
 * wrong descriptor or layout the first wrong elements are said. Exits 77 where there is no sm_90.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/gpu/hopper_primitives.h"
#include "tests/gpu/wgmma_code.h"
#include "tests/gpu/outcome.h"

enum { SIDE = HOPPER_SIDE, KEYS = HOPPER_KEYS, MOST_SAID = 6 };

/* -1, 0, 1: sums of 128 products, and of 64 of those, are exact in what they are rounded to. */
static int draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (int)((*state >> 16) % 3) - 1;
}

static uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static float of_bf16(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void draw_all(uint16_t *to, int n, uint32_t seed)
{
    for (int i = 0; i < n; i++)
        to[i] = bf16_of((float)draw(&seed));
}

/* One primitive's result: counts and says what is wrong. */
typedef struct {
    const char *what;
    int wrong;
} judged;

static void judge(judged *j, int row, int column, float got, float want)
{
    if (got == want)
        return;
    if (j->wrong++ < MOST_SAID)
        printf("%s (%d, %d): %g, not %g\n", j->what, row, column, got, want);
}

static bool is_good(const judged *j)
{
    printf("%s %s", j->wrong ? "FAILED" : "ok", j->what);
    printf(j->wrong ? ": %d wrong\n" : "\n", j->wrong);
    return j->wrong == 0;
}

static bool is_inside(int t, int x)
{
    return t < HOPPER_TIMES && x < HOPPER_COLUMNS;
}

static int ragged_index(int b, int t, int h, int x)
{
    return ((b * HOPPER_TIMES + t) * HOPPER_HEADS + h) * HOPPER_COLUMNS + x;
}

static bool tile_is_good(const hopper_input *in, const hopper_output *out)
{
    judged j = {.what = "tile by TMA, swizzled (row, column)"};
    for (int r = 0; r < SIDE; r++)
        for (int c = 0; c < SIDE; c++) {
            const int at = r * SIDE + ((c / 8) ^ (r % 8)) * 8 + c % 8;
            const bool is_there = is_inside(64 + r, 64 + c);
            judge(&j, r, c, of_bf16(out->tile[at]),
                  is_there ? of_bf16(in->ragged[ragged_index(1, 64 + r, 1, 64 + c)]) : 0);
        }
    return is_good(&j);
}

static bool store_is_good(const hopper_input *in, const hopper_output *out)
{
    judged j = {.what = "tile stored by TMA (element, 0), bits"};
    for (int b = 0; b < HOPPER_BATCHES; b++)
        for (int t = 0; t < HOPPER_TIMES; t++)
            for (int h = 0; h < HOPPER_HEADS; h++)
                for (int x = 0; x < HOPPER_COLUMNS; x++) {
                    const int at = ragged_index(b, t, h, x);
                    const bool is_there = b == 1 && h == 1 && t >= 64 && x >= 64;
                    judge(&j, at, 0, out->stored[at], is_there ? in->ragged[at] : 0xffff);
                }
    return is_good(&j);
}

/* What the matrices should be, in their layouts of hopper_output. */
typedef struct {
    float scores[SIDE][SIDE], state[SIDE][KEYS], plain[SIDE][KEYS], narrow[SIDE][SIDE],
        query[SIDE][SIDE], values[SIDE][SIDE];
} truth;

static void compute(const hopper_input *in, truth *t)
{
    memset(t, 0, sizeof *t);
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++)
            for (int n = 0; n < KEYS; n++) {
                t->scores[i][j] += of_bf16(in->q[i][n]) * of_bf16(in->k[j][n]);
                t->state[i][n] += of_bf16(in->v[j][i]) * of_bf16(in->k[j][n]);
                t->plain[i][n] += of_bf16(in->v[i][j]) * of_bf16(in->k[j][n]);
            }
    for (int v = 0; v < SIDE; v++)
        memcpy(t->narrow[v], t->state[v], sizeof t->narrow[v]);
    for (int v = 0; v < SIDE; v++)
        for (int i = 0; i < SIDE; i++) {
            for (int n = 0; n < KEYS; n++)
                t->query[v][i] += t->state[v][n] * of_bf16(in->q[i][n]);
            for (int j = 0; j < SIDE; j++)
                t->values[v][i] += of_bf16(in->v[j][v]) * t->scores[i][j];
        }
}

static bool matrix_is_good(const char *what, const float *got, const float *want, int columns)
{
    judged j = {.what = what};
    for (int i = 0; i < SIDE * columns; i++)
        judge(&j, i / columns, i % columns, got[i], want[i]);
    return is_good(&j);
}

static bool out_is_good(const hopper_output *out, const truth *t)
{
    judged j = {.what = "out by stmatrix.trans and TMA (i, v)"};
    for (int i = 0; i < SIDE; i++)
        for (int v = 0; v < SIDE; v++) {
            const float want = t->values[v][i] / 16, got = of_bf16(out->out[i][v]);
            const float error = got > want ? got - want : want - got;
            const float most = (want < 0 ? -want : want) / 256; /* half an ulp of bf16 */
            judge(&j, i, v, error <= most ? want : got, want);
        }
    return is_good(&j);
}

static bool all_is_good(const hopper_input *in, const hopper_output *out)
{
    static truth t;
    compute(in, &t);
    bool good = tile_is_good(in, out);
    good &= store_is_good(in, out);
    good &= matrix_is_good("scores: A and B by rows (i, j)", out->scores[0], t.scores[0], SIDE);
    good &= matrix_is_good("scores in two parts: B by every other 8 rows (i, j)", out->part[0],
                           t.scores[0], SIDE);
    good &= matrix_is_good("state: A by ldmatrix.trans, B by columns (v, n)", out->state[0],
                           t.state[0], KEYS);
    good &=
        matrix_is_good("plain: A by rows, B by columns (i, n)", out->plain[0], t.plain[0], KEYS);
    good &=
        matrix_is_good("narrow: the same, 64 columns (v, n)", out->narrow[0], t.narrow[0], SIDE);
    good &= matrix_is_good("query: A packed from sums, B by rows (v, i)", out->query[0], t.query[0],
                           SIDE);
    good &=
        matrix_is_good("values: B by rows from stmatrix (v, i)", out->values[0], t.values[0], SIDE);
    return out_is_good(out, &t) && good;
}

/* A program of plain sm_90, whose kernels are empty, is known. */
static bool code_is_good(void)
{
    const sq_status plain = wgmma_code_90(NULL), own = wgmma_code_90a(NULL);
    const bool is_good = plain == SQ_DEVICE && own == SQ_OK;
    printf("%s code for sm_90 is refused and for sm_90a is not: %s, %s\n",
           is_good ? "ok" : "FAILED", sq_status_text(plain), sq_status_text(own));
    return is_good;
}

int main(void)
{
    static hopper_input in;
    static hopper_output out;
    sq_error err = {.message = ""};
    draw_all(in.q[0], SIDE * KEYS, 1);
    draw_all(in.k[0], SIDE * KEYS, 2);
    draw_all(in.v[0], SIDE * SIDE, 3);
    draw_all(in.ragged, HOPPER_ELEMENTS, 4);
    const sq_status status = hopper_run(&in, &out, &err);
    if (status != SQ_OK)
        return sq_outcome_of(status, &err);
    const bool knows_its_code = code_is_good(), is_right = all_is_good(&in, &out);
    return knows_its_code && is_right ? EXIT_SUCCESS : EXIT_FAILURE;
}
