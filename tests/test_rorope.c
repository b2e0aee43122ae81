/* Rotated principal components: RoPE lets unitary maps across heads through, and complex ones keep
 * at least what real ones keep. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "random.h"
#include "rorope.h"

enum { HEADS = 4, WIDTH = 12, ROTATED = 8, N = HEADS * WIDTH, TOKENS = 60 };

/* Keys [TOKENS, N] whose heads share much at each frequency, up to phases. */
static void make_keys(double *k, uint64_t seed) {
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t h = 0; h < HEADS; h++)
            for (size_t i = 0; i < WIDTH; i++) {
                const size_t pair = i % (ROTATED / 2);
                const double phase = 6.28 * random_uniform(seed, 1, h * WIDTH + pair);
                const double x = random_normal(seed, 2, t * WIDTH + pair);
                const double y = random_normal(seed, 3, t * WIDTH + pair);
                const double shared = i < ROTATED / 2 ? cos(phase) * x - sin(phase) * y
                                                      : sin(phase) * x + cos(phase) * y;
                k[t * N + h * WIDTH + i] =
                    2 * shared + random_normal(seed, 4, (t * HEADS + h) * WIDTH + i);
            }
}

static void moments_of(const double *k, double *m) {
    blas_gemm_f64(1, 0, N, N, TOKENS, 1, k, N, k, N, 0, m, N);
}

/* trace(B^T M B): the energy that a basis keeps. */
static double energy(size_t columns, const double *basis, const double *m) {
    double *part = calloc(N * columns, sizeof *part), sum = 0;
    blas_gemm_f64(0, 0, N, columns, N, 1, m, N, basis, columns, 0, part, columns);
    for (size_t i = 0; i < N * columns; i++) sum += basis[i] * part[i];
    free(part);
    return sum;
}

static Rorope rorope(const Rope *rope, size_t fold, size_t kept, bool real) {
    return (Rorope){ .heads = HEADS,
                     .width = WIDTH,
                     .rope = rope,
                     .fold = fold,
                     .kept = kept,
                     .real = real,
                     .interleaved = rope->interleaved };
}

Test(rorope, complex_components_keep_at_least_the_energy_of_real_ones_at_every_rank) {
    static double k[TOKENS * N], m[N * N];
    make_keys(k, 1);
    moments_of(k, m);
    for (size_t layout = 0; layout < 2; layout++)
        for (size_t fold = 1; fold <= ROTATED / 2; fold *= 2) {
            const Rope rope = { .theta = 100, .dim = ROTATED, .interleaved = layout };
            double before = 0;
            for (size_t kept = 1; kept <= HEADS * fold; kept++) {
                const Rorope complex = rorope(&rope, fold, kept, false);
                const Rorope real = rorope(&rope, fold, kept, true);
                const size_t columns = 2 * rorope_slots(&complex);
                double *basis = malloc(N * columns * sizeof *basis);
                Error err;
                cr_assert_eq(rorope_basis(&complex, m, N, basis, &err), OK);
                const double more = energy(columns, basis, m);
                cr_assert_eq(rorope_basis(&real, m, N, basis, &err), OK);
                const double less = energy(columns, basis, m);
                cr_assert_geq(more, less * (1 - 1e-12), "fold %zu kept %zu", fold, kept);
                cr_assert_geq(more, before * (1 - 1e-12));
                if (kept == 1 && fold == 1 && !layout)
                    cr_assert_gt(more, 1.1 * less, "phases must tell them apart");
                before = more;
                free(basis);
            }
        }
}

/* Real components turn both parts alike. */
Test(rorope, real_components_do_not_mix_real_and_imaginary_parts) {
    static double k[TOKENS * N], m[N * N], basis[N * ROTATED];
    const Rope rope = { .theta = 100, .dim = ROTATED };
    const Rorope real = rorope(&rope, 1, 1, true);
    Error err;
    make_keys(k, 2);
    moments_of(k, m);
    cr_assert_eq(rorope_basis(&real, m, N, basis, &err), OK);
    for (size_t h = 0; h < HEADS; h++)
        for (size_t pair = 0; pair < ROTATED / 2; pair++) {
            const double *x = basis + (h * WIDTH + pair) * ROTATED;
            const double *y = basis + (h * WIDTH + pair + ROTATED / 2) * ROTATED;
            cr_assert_float_eq(x[pair + ROTATED / 2], 0, 1e-14);
            cr_assert_float_eq(y[pair], 0, 1e-14);
            cr_assert_float_eq(x[pair], y[pair + ROTATED / 2], 1e-14);
        }
}

/* Rotates each of `heads` heads of x by the position; slots of the basis turn as the frequency that
 * they stand for. */
static void rotate(const double *frequencies, size_t position, size_t pairs, size_t kept,
                   bool adjacent, double *x) {
    for (size_t slot = 0; slot < pairs; slot++) {
        const double angle = (double)position * frequencies[slot / kept];
        double *re = x + (adjacent ? 2 * slot : slot);
        double *im = x + (adjacent ? 2 * slot + 1 : slot + pairs);
        const double a = *re, b = *im;
        *re = cos(angle) * a - sin(angle) * b;
        *im = sin(angle) * a + cos(angle) * b;
    }
}

static double dot(size_t n, const double *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void check_invariance(bool interleaved, bool real) { /* T7 */
    enum { COLUMNS = HEADS * ROTATED };
    static double k[TOKENS * N], q[TOKENS * N], m[N * N], basis[N * COLUMNS];
    const Rope rope = { .theta = 100, .dim = ROTATED, .interleaved = interleaved };
    const Rorope all = rorope(&rope, 1, HEADS, real);
    double frequencies[ROTATED / 2];
    Error err;
    make_keys(k, 3);
    make_keys(q, 4);
    moments_of(k, m);
    rope_frequencies(&rope, frequencies);
    cr_assert_eq(rorope_basis(&all, m, N, basis, &err), OK);
    for (size_t t = 0; t < TOKENS; t++) {
        const size_t position = TOKENS - t; /* of the key; queries stand at 2 TOKENS */
        double turned_k[COLUMNS], turned_q[COLUMNS], plain = 0;
        for (size_t h = 0; h < HEADS; h++) { /* the rotated parts alone */
            double *kh = k + t * N + h * WIDTH, *qh = q + t * N + h * WIDTH;
            for (size_t i = ROTATED; i < WIDTH; i++) kh[i] = qh[i] = 0;
        }
        blas_gemm_f64(1, 0, COLUMNS, 1, N, 1, basis, COLUMNS, k + t * N, 1, 0, turned_k, 1);
        blas_gemm_f64(1, 0, COLUMNS, 1, N, 1, basis, COLUMNS, q + t * N, 1, 0, turned_q, 1);
        rotate(frequencies, position, COLUMNS / 2, HEADS, interleaved, turned_k);
        rotate(frequencies, 2 * TOKENS, COLUMNS / 2, HEADS, interleaved, turned_q);
        for (size_t h = 0; h < HEADS; h++) {
            rotate(frequencies, position, ROTATED / 2, 1, interleaved, k + t * N + h * WIDTH);
            rotate(frequencies, 2 * TOKENS, ROTATED / 2, 1, interleaved, q + t * N + h * WIDTH);
            plain += dot(ROTATED, k + t * N + h * WIDTH, q + t * N + h * WIDTH);
        }
        cr_assert_float_eq(dot(COLUMNS, turned_k, turned_q), plain, 1e-9, "token %zu", t);
    }
}

Test(rorope, logits_stay_when_all_components_are_kept) {
    check_invariance(false, false);
}
Test(rorope, so_they_do_interleaved_and_with_real_components) {
    check_invariance(true, false);
    check_invariance(false, true);
}

Test(rorope, what_is_removed_is_orthogonal_to_what_is_kept) {
    enum { COLUMNS = ROTATED };
    static double k[TOKENS * N], m[N * N], basis[N * COLUMNS], rest[N * N], part[COLUMNS * N];
    const Rope rope = { .theta = 100, .dim = ROTATED };
    const Rorope r = rorope(&rope, 2, 2, false);
    Error err;
    make_keys(k, 5);
    moments_of(k, m);
    cr_assert_eq(rorope_slots(&r), COLUMNS / 2);
    cr_assert_eq(rorope_basis(&r, m, N, basis, &err), OK);
    memcpy(rest, m, sizeof m);
    cr_assert_eq(rorope_remove(&r, basis, N, rest, N, &err), OK);
    blas_gemm_f64(1, 0, COLUMNS, N, N, 1, basis, COLUMNS, rest, N, 0, part, N);
    for (size_t i = 0; i < COLUMNS * N; i++) cr_assert_float_eq(part[i], 0, 1e-9);
}

Test(rorope, folds_that_do_not_fit_are_refused) {
    static double m[N * N], basis[N * N];
    const Rope rope = { .theta = 100, .dim = ROTATED };
    const Rorope fold = rorope(&rope, 3, 1, false), kept = rorope(&rope, 2, 9, false);
    Error err;
    cr_assert_eq(rorope_basis(&fold, m, N, basis, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "3 frequencies"), "%s", err.text);
    cr_assert_eq(rorope_basis(&kept, m, N, basis, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "1 to 8"), "%s", err.text);
}
