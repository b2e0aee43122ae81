/* test_blas.c -- the products against plain loops, the decompositions against their definitions. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "blas.h"

static uint64_t state = 1;

static double draw(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int32_t)(state >> 32) * 0x1p-31;
}

Test(blas, linear_equals_the_plain_loop_for_few_and_many_rows_and_any_stride) {
    enum { OUT = 7, IN = 11, LD_X = 13, LD_Y = 9, ROWS = 9 };
    float x[ROWS * LD_X], w[OUT * IN], y[ROWS * LD_Y];
    double x64[ROWS * LD_X], w64[OUT * IN], y64[ROWS * LD_Y];
    for (size_t i = 0; i < ROWS * LD_X; i++) x64[i] = x[i] = (float)draw();
    for (size_t i = 0; i < OUT * IN; i++) w64[i] = w[i] = (float)draw();
    for (size_t rows = 0; rows <= ROWS; rows++) {
        for (size_t i = 0; i < ROWS * LD_Y; i++) y64[i] = y[i] = 5;
        blas_linear(rows, OUT, IN, x, LD_X, w, y, LD_Y);
        blas_linear_f64(rows, OUT, IN, x64, LD_X, w64, y64, LD_Y);
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t o = 0; o < LD_Y; o++) {
                const bool inside = r < rows && o < OUT;
                double sum = inside ? 0 : 5;
                for (size_t i = 0; i < IN && inside; i++)
                    sum += x64[r * LD_X + i] * w64[o * IN + i];
                cr_assert_float_eq(y[r * LD_Y + o], sum, 1e-6);
                cr_assert_float_eq(y64[r * LD_Y + o], sum, 1e-14);
            }
        }
    }
}

Test(blas, linear_over_nothing_is_zero) {
    float x = 1, w = 1, y[2] = { 3, 3 };
    double x64 = 1, w64 = 1, y64[2] = { 3, 3 };
    blas_linear(1, 2, 0, &x, 1, &w, y, 2);
    blas_linear_f64(1, 2, 0, &x64, 1, &w64, y64, 2);
    cr_assert(y[0] == 0 && y[1] == 0 && y64[0] == 0 && y64[1] == 0);
}

Test(blas, gemm_takes_transposes_strides_alpha_and_beta) {
    enum { M = 3, N = 4, K = 5, LD = 6 };
    double a[LD * LD], b[LD * LD], c[LD * LD];
    float a32[LD * LD], b32[LD * LD], c32[LD * LD];
    for (int trans = 0; trans < 4; trans++) {
        const int ta = trans & 1, tb = trans >> 1;
        for (size_t i = 0; i < LD * LD; i++) {
            a[i] = a32[i] = (float)draw();
            b[i] = b32[i] = (float)draw();
            c[i] = c32[i] = 2;
        }
        blas_gemm_f64(ta, tb, M, N, K, 3, a, LD, b, LD, 0.5, c, LD);
        blas_gemm(ta, tb, M, N, K, 3, a32, LD, b32, LD, 0.5f, c32, LD);
        for (size_t i = 0; i < M; i++) {
            for (size_t j = 0; j < N; j++) {
                double sum = 0;
                for (size_t k = 0; k < K; k++)
                    sum +=
                        (ta ? a[k * LD + i] : a[i * LD + k]) * (tb ? b[j * LD + k] : b[k * LD + j]);
                cr_assert_float_eq(c[i * LD + j], 3 * sum + 1, 1e-13);
                cr_assert_float_eq(c32[i * LD + j], 3 * sum + 1, 1e-5);
            }
        }
    }
}

Test(blas, eigh_gives_known_values_descending_and_vectors_as_rows) {
    double a[4] = { 2, 1, 1, 2 }, values[2];
    cr_assert_eq(blas_eigh(2, a, values), 0);
    cr_assert_float_eq(values[0], 3, 1e-14);
    cr_assert_float_eq(values[1], 1, 1e-14);
    cr_assert_float_eq(a[0], a[1], 1e-14); /* (1, 1) */
    cr_assert_float_eq(a[2], -a[3], 1e-14);
    cr_assert_float_eq(fabs(a[0]), sqrt(0.5), 1e-14);
}

Test(blas, eigh_rows_satisfy_the_eigenvalue_equation) {
    enum { N = 7 };
    double a[N * N], u[N * N], values[N];
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j <= i; j++) a[i * N + j] = a[j * N + i] = draw();
    memcpy(u, a, sizeof u);
    cr_assert_eq(blas_eigh(N, u, values), 0);
    for (size_t v = 0; v < N; v++) {
        if (v) cr_assert(values[v] <= values[v - 1]);
        for (size_t i = 0; i < N; i++) {
            double product = 0;
            for (size_t j = 0; j < N; j++) product += a[i * N + j] * u[v * N + j];
            cr_assert_float_eq(product, values[v] * u[v * N + i], 1e-13);
        }
    }
}

Test(blas, eigh_complex_rows_satisfy_the_eigenvalue_equation) {
    enum { N = 5 };
    double a[2 * N * N], u[2 * N * N], values[N];
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j <= i; j++) {
            a[2 * (i * N + j)] = a[2 * (j * N + i)] = draw();
            a[2 * (i * N + j) + 1] = i == j ? 0 : draw();
            a[2 * (j * N + i) + 1] = -a[2 * (i * N + j) + 1];
        }
    }
    memcpy(u, a, sizeof u);
    cr_assert_eq(blas_eigh_complex(N, u, values), 0);
    for (size_t v = 0; v < N; v++) {
        if (v) cr_assert(values[v] <= values[v - 1]);
        double norm = 0;
        for (size_t i = 0; i < 2 * N; i++) norm += u[2 * v * N + i] * u[2 * v * N + i];
        cr_assert_float_eq(norm, 1, 1e-13);
        for (size_t i = 0; i < N; i++) {
            double re = 0, im = 0;
            for (size_t j = 0; j < N; j++) {
                const double *m = a + 2 * (i * N + j), *x = u + 2 * (v * N + j);
                re += m[0] * x[0] - m[1] * x[1];
                im += m[0] * x[1] + m[1] * x[0];
            }
            cr_assert_float_eq(re, values[v] * u[2 * (v * N + i)], 1e-13);
            cr_assert_float_eq(im, values[v] * u[2 * (v * N + i) + 1], 1e-13);
        }
    }
}

/* Right vectors are orthonormal, and |A v| is the singular value. */
static void check_svd(size_t m, size_t n) {
    enum { MOST = 8 };
    double a[MOST * MOST], copy[MOST * MOST], values[MOST], vt[MOST * MOST];
    const size_t rank = m < n ? m : n;
    double squares = 0, total = 0;
    for (size_t i = 0; i < m * n; i++) copy[i] = a[i] = draw(), squares += a[i] * a[i];
    cr_assert_eq(blas_svd(m, n, a, values, vt), 0);
    for (size_t v = 0; v < rank; v++) {
        if (v) cr_assert(values[v] <= values[v - 1]);
        total += values[v] * values[v];
        double length = 0;
        for (size_t i = 0; i < m; i++) {
            double product = 0;
            for (size_t j = 0; j < n; j++) product += copy[i * n + j] * vt[v * n + j];
            length += product * product;
        }
        cr_assert_float_eq(sqrt(length), values[v], 1e-13);
        for (size_t w = 0; w <= v; w++) {
            double dot = 0;
            for (size_t j = 0; j < n; j++) dot += vt[v * n + j] * vt[w * n + j];
            cr_assert_float_eq(dot, v == w, 1e-13);
        }
    }
    cr_assert_float_eq(total, squares, 1e-12);
}

Test(blas, svd_gives_values_and_right_vectors_of_tall_wide_and_square_matrices) {
    check_svd(8, 3);
    check_svd(3, 8);
    check_svd(5, 5);
    check_svd(1, 4);
    check_svd(4, 1);
}

Test(blas, orthonormalise_keeps_the_span_and_makes_columns_orthonormal) {
    enum { M = 7, N = 4 };
    double a[M * N], q[M * N];
    for (size_t i = 0; i < M * N; i++) q[i] = a[i] = draw();
    cr_assert_eq(blas_orthonormalise(M, N, q), 0);
    for (size_t v = 0; v < N; v++) {
        for (size_t w = 0; w <= v; w++) {
            double dot = 0;
            for (size_t i = 0; i < M; i++) dot += q[i * N + v] * q[i * N + w];
            cr_assert_float_eq(dot, v == w, 1e-14);
        }
        double projected[M] = { 0 };
        for (size_t w = 0; w < N; w++) {
            double dot = 0;
            for (size_t i = 0; i < M; i++) dot += q[i * N + w] * a[i * N + v];
            for (size_t i = 0; i < M; i++) projected[i] += dot * q[i * N + w];
        }
        for (size_t i = 0; i < M; i++) cr_assert_float_eq(projected[i], a[i * N + v], 1e-13);
    }
}

Test(blas, decompositions_of_nothing_succeed) {
    double a[1], values[1], vt[1];
    cr_assert_eq(blas_eigh(0, a, values), 0);
    cr_assert_eq(blas_eigh_complex(0, a, values), 0);
    cr_assert_eq(blas_svd(0, 3, a, values, vt), 0);
    cr_assert_eq(blas_orthonormalise(3, 0, a), 0);
}

Test(blas, decompositions_refuse_nan) {
    double a[4] = { 1, NAN, NAN, 1 }, values[2], vt[4];
    cr_assert_neq(blas_eigh(2, a, values), 0);
    double b[4] = { 1, NAN, NAN, 1 };
    cr_assert_neq(blas_svd(2, 2, b, values, vt), 0);
}
