/* What S4, S4D and Hyena start from: closed forms, what follows from the definitions, and the parameters
 * of official modules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/safetensors.h"
#include "kernels/hyena_filter/hyena_start.h"
#include "kernels/s4d_kernel/s4d_start.h"
#include "kernels/shared/hippo.h"

#define CASES SQ_SOURCE_DIR "/tests/golden/data/"

enum { N = 16, MODES = N / 2 };

static const double pi = 3.14159265358979323846;

static void is_near(double got, double want, double within)
{
    if (!(fabs(got - want) <= within))
        fail_msg("got %.17g, want %.17g", got, want);
}

/* --- S4D --- */

static void test_closed_forms(void **state)
{
    (void)state;
    sq_c64 lin[MODES], inv[MODES], real[MODES], b[MODES];
    sq_error err;
    assert_int_equal(sq_s4d_start_modes(SQ_S4D_LIN, N, lin, b, &err), SQ_OK);
    assert_int_equal(sq_s4d_start_modes(SQ_S4D_INV, N, inv, b, &err), SQ_OK);
    assert_int_equal(sq_s4d_start_modes(SQ_S4D_REAL, N, real, b, &err), SQ_OK);
    is_near(lin[7].re, -0.5, 0);
    is_near(lin[0].im, 0, 0);
    is_near(lin[7].im, -7 * pi, 1e-14);
    is_near(inv[0].im, -16 / pi * 15, 1e-12);
    is_near(inv[7].im, -16 / pi * (16.0 / 15 - 1), 1e-12);
    is_near(real[7].re, -8, 0);
    is_near(real[7].im, 0, 0);
    is_near(b[3].re, 1, 0);
    is_near(b[3].im, 0, 0);
}

static void test_names(void **state)
{
    (void)state;
    sq_error err;
    for (int i = 0; i < SQ_S4D_STARTS; i++) {
        sq_s4d_start found;
        assert_int_equal(sq_s4d_start_find(sq_s4d_start_name((sq_s4d_start)i), &found, &err),
                         SQ_OK);
        assert_int_equal(found, i);
    }
    sq_s4d_start found;
    const char *const unknown[] = {"", "Lin", "linear", "legt", "diag-lin"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_int_equal(sq_s4d_start_find(unknown[i], &found, &err), SQ_BAD_ARGUMENT);
        assert_non_null(strstr(err.message, "lin, inv, real or legs"));
    }
}

static void test_sizes_that_are_none(void **state)
{
    (void)state;
    const int64_t bad[] = {-2, 0, 1, 3, 1026, INT64_MAX};
    sq_error err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (int s = 0; s < SQ_S4D_STARTS; s++)
            assert_int_equal(sq_s4d_start_modes((sq_s4d_start)s, bad[i], NULL, NULL, &err),
                             SQ_BAD_SHAPE);
        assert_int_equal(sq_hippo_legs(bad[i], NULL, NULL, NULL, NULL, &err), SQ_BAD_SHAPE);
    }
}

/* --- LegS --- */

/* Sum over the modes and their conjugates, of which one is stored. */
static double both(sq_c64 x)
{
    return 2 * x.re;
}

static void test_low_rank_makes_the_matrix(void **state)
{
    (void)state;
    sq_c64 a[MODES], p[MODES], b[MODES], v[N * MODES];
    sq_error err;
    assert_int_equal(sq_hippo_legs(N, a, p, b, v, &err), SQ_OK);
    for (int i = 0; i < N; i++) {
        double vp_i = 0, vb_i = 0; /* (V P)_i, (V b)_i */
        for (int n = 0; n < MODES; n++) {
            vp_i += both(sq_c64_mul(v[i * MODES + n], p[n]));
            vb_i += both(sq_c64_mul(v[i * MODES + n], b[n]));
        }
        is_near(vp_i, sqrt(i + 0.5), 1e-12);
        is_near(vb_i, sqrt(2 * i + 1.0), 1e-12);
        for (int k = 0; k < N; k++) {
            double sum = -sqrt((i + 0.5) * (k + 0.5));
            for (int n = 0; n < MODES; n++)
                sum += both(
                    sq_c64_mul(sq_c64_mul(v[i * MODES + n], a[n]), sq_c64_conj(v[k * MODES + n])));
            is_near(sum,
                    k > i    ? 0
                    : k == i ? -(i + 1.0)
                             : -sqrt((2 * i + 1.0) * (2 * k + 1.0)),
                    1e-11);
            is_near(sum, sq_hippo_legs_a(i, k), 1e-11);
        }
    }
    for (int n = 0; n < MODES; n++) {
        is_near(a[n].re, -0.5, 0);
        assert_true(a[n].im < 0 && (n == 0 || a[n].im > a[n - 1].im));
        assert_true(v[n].re > 0);
        is_near(v[n].im, 0, 1e-14);
    }
}

static void test_legs_of_s4d_is_that_without_low_rank(void **state)
{
    (void)state;
    sq_c64 a[MODES], p[MODES], b[MODES], v[N * MODES], diagonal[MODES], cut[MODES];
    sq_error err;
    assert_int_equal(sq_hippo_legs(N, a, p, b, v, &err), SQ_OK);
    assert_int_equal(sq_s4d_start_modes(SQ_S4D_LEGS, N, diagonal, cut, &err), SQ_OK);
    bool is_cut = false;
    for (int n = 0; n < MODES; n++) {
        is_near(diagonal[n].im, a[n].im, 0);
        is_near(cut[n].re, b[n].re, 0);
        is_near(cut[n].im, fmax(-2, fmin(2, b[n].im)), 0);
        is_cut = is_cut || fabs(b[n].im) > 2;
    }
    assert_true(is_cut);
}

/* --- Hyena --- */

static void test_positions(void **state)
{
    (void)state;
    double z[4 * 5], t[4];
    sq_error err;
    assert_int_equal(sq_hyena_positions(4, 5, z, t, &err),
                     SQ_OK); /* f = 1e-4, 1; w = 0, pi/2, .. */
    for (int l = 0; l < 4; l++) {
        is_near(t[l], l / 3.0, 1e-16);
        is_near(z[5 * l], l / 3.0, 1e-16);
        is_near(z[5 * l + 1], cos(1e-4 * l * pi / 2), 1e-15);
        is_near(z[5 * l + 2], (double[]){1, 0, -1, 0}[l], 1e-15);
        is_near(z[5 * l + 3], -sin(1e-4 * l * pi / 2), 1e-15);
        is_near(z[5 * l + 4], (double[]){0, -1, 0, 1}[l], 1e-15);
    }
    assert_int_equal(sq_hyena_positions(1, 3, z, t, &err), SQ_OK);
    is_near(t[0], 0, 0);
    is_near(z[1], 1, 0);
    assert_int_equal(sq_hyena_positions(1, 3, NULL, NULL, &err), SQ_OK);
}

static void test_rates(void **state)
{
    (void)state;
    double delta[3];
    sq_error err;
    assert_int_equal(sq_hyena_rates(3, 0.5, 2, 0.25, delta, &err), SQ_OK);
    is_near(exp(delta[0] * 2), 0.25, 1e-15);
    is_near(exp(delta[2] * 0.5), 0.25, 1e-15);
    is_near(delta[1], (delta[0] + delta[2]) / 2, 1e-15);
    assert_int_equal(sq_hyena_rates(1, 0.5, 2, 0.25, delta, &err), SQ_OK);
    is_near(exp(delta[0] * 2), 0.25, 1e-15);
}

static void test_hyena_refuses(void **state)
{
    (void)state;
    sq_error err;
    assert_int_equal(sq_hyena_positions(0, 3, NULL, NULL, &err), SQ_BAD_SHAPE);
    const int64_t features[] = {-1, 0, 1, 2, 4};
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
        assert_int_equal(sq_hyena_positions(4, features[i], NULL, NULL, &err), SQ_BAD_SHAPE);
    assert_int_equal(sq_hyena_rates(0, 1, 1, 0.1, NULL, &err), SQ_BAD_SHAPE);
    const double bad[][3] = {{0, 1, 0.1}, {1, -1, 0.1},  {1, 1, 0},
                             {1, 1, 1},   {NAN, 1, 0.1}, {1, 1, NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sq_hyena_rates(2, bad[i][0], bad[i][1], bad[i][2], NULL, &err),
                         SQ_BAD_ARGUMENT);
}

/* --- official parameters --- */

/* The authors' later program starts imaginary parts from here on. */
static const double least_imag = 1e-4;

static void open_case(const char *name, sq_safetensors *out)
{
    char path[256];
    sq_error err;
    snprintf(path, sizeof path, CASES "%s/data.safetensors", name);
    if (sq_safetensors_open(path, out, &err) != SQ_OK)
        fail_msg("%s", err.message);
}

static void test_official_poles(void **state)
{
    (void)state;
    static const struct {
        const char *folder;
        sq_s4d_start start;
    } cases[] = {{"s4d_zoh_lin_L127", SQ_S4D_LIN},
                 {"s4d_zoh_inv_L513", SQ_S4D_INV},
                 {"s4d_bilinear_legs_L65", SQ_S4D_LEGS}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sq_safetensors file;
        sq_c64 a[64], b[64];
        sq_error err;
        open_case(cases[i].folder, &file);
        const sq_stored_tensor *re = sq_safetensors_find(&file, "param.kernel.A_real");
        const sq_stored_tensor *im = sq_safetensors_find(&file, "param.kernel.A_imag");
        const int64_t modes = re->dim[1];
        assert_int_equal(sq_s4d_start_modes(cases[i].start, 2 * modes, a, b, &err), SQ_OK);
        for (int64_t k = 0; k < re->count; k++) {
            double a_real, a_imag;
            sq_s4d_start_store(a[k % modes], true, &a_real, &a_imag);
            is_near(a_real, sq_stored_number(re, k), 1e-6);
            is_near(fmax(a_imag, least_imag), sq_stored_number(im, k), 1e-6 * fmax(1, a_imag));
        }
        sq_safetensors_close(&file);
    }
}

static void test_official_positions(void **state)
{
    (void)state;
    static const char *const cases[] = {"hyena_o2_L1", "hyena_o2_L337", "hyena_o3_L65"};
    static double made[512 * 5], time[512];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sq_safetensors file;
        sq_error err;
        open_case(cases[i], &file);
        const sq_stored_tensor *z = sq_safetensors_find(&file, "param.filter_fn.pos_emb.z");
        const sq_stored_tensor *t = sq_safetensors_find(&file, "param.filter_fn.pos_emb.t");
        const sq_stored_tensor *delta =
            sq_safetensors_find(&file, "param.filter_fn.modulation.deltas");
        assert_true(z->count <= 512 * 5);
        assert_int_equal(sq_hyena_positions(z->dim[1], z->dim[2], made, time, &err), SQ_OK);
        for (int64_t k = 0; k < z->count; k++)
            is_near(made[k], sq_stored_number(z, k), 1e-7);
        for (int64_t k = 0; k < t->count; k++)
            is_near(time[k], sq_stored_number(t, k), 1e-7);
        assert_int_equal(
            sq_hyena_rates(delta->count, SQ_HYENA_FAST, SQ_HYENA_SLOW, SQ_HYENA_TARGET, made, &err),
            SQ_OK);
        for (int64_t k = 0; k < delta->count; k++)
            is_near(made[k], sq_stored_number(delta, k), 1e-6);
        sq_safetensors_close(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_sizes_that_are_none),
        cmocka_unit_test(test_low_rank_makes_the_matrix),
        cmocka_unit_test(test_legs_of_s4d_is_that_without_low_rank),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_hyena_refuses),
        cmocka_unit_test(test_official_poles),
        cmocka_unit_test(test_official_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
