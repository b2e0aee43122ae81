/* Random Hadamard rotations: orthogonal, their own inverse up to signs, and what they are for. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "rotation.h"

static const size_t widths[] = { 1, 2, 16, 48, 80, 128, 448, 512 };
enum { WIDTHS = sizeof widths / sizeof *widths, WIDEST = 512 };

static Rotation rotation_of(size_t n) {
    Rotation r;
    Error err;
    cr_assert_eq(rotation_new(&r, n, 5, n, &err), OK);
    return r;
}

static void fill(size_t n, uint64_t stream, float *x) {
    for (size_t i = 0; i < n; i++) x[i] = (float)random_normal(3, stream, i);
}

static double dot(size_t n, const float *a, const float *b) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

Test(rotation, a_row_turned_and_turned_back_is_the_row) {
    float x[WIDEST], y[WIDEST];
    for (size_t w = 0; w < WIDTHS; w++) {
        Rotation r = rotation_of(widths[w]);
        fill(widths[w], 1, x);
        memcpy(y, x, sizeof y);
        rotation_apply(&r, y);
        rotation_undo(&r, y);
        for (size_t i = 0; i < widths[w]; i++) cr_assert_float_eq(x[i], y[i], 4e-6);
        rotation_free(&r);
    }
}

Test(rotation, products_of_rows_turned_alike_are_what_they_were) {
    float x[WIDEST], y[WIDEST];
    for (size_t w = 0; w < WIDTHS; w++) {
        const size_t n = widths[w];
        Rotation r = rotation_of(n);
        fill(n, 1, x), fill(n, 2, y);
        const double before = dot(n, x, y), size = sqrt(dot(n, x, x) * dot(n, y, y));
        rotation_apply(&r, x), rotation_apply(&r, y);
        cr_assert_float_eq(dot(n, x, y), before, 1e-6 * size);
        rotation_free(&r);
    }
}

Test(rotation, a_single_outlier_spreads_evenly_over_its_block) {
    float x[WIDEST] = { 0 };
    for (size_t w = 0; w < WIDTHS; w++) {
        const size_t n = widths[w];
        Rotation r = rotation_of(n);
        memset(x, 0, sizeof x);
        x[n / 3] = 8;
        rotation_apply(&r, x);
        size_t touched = 0;
        for (size_t i = 0; i < n; i++)
            if (x[i] != 0) {
                touched++;
                cr_assert_float_eq(fabs(x[i]), 8 / sqrt((double)r.block), 1e-5);
            }
        cr_assert_eq(touched, r.block);
        rotation_free(&r);
    }
}

Test(rotation, the_block_is_the_largest_power_of_two_that_divides_the_width) {
    static const size_t blocks[] = { 1, 2, 16, 16, 16, 128, 64, 512 };
    for (size_t w = 0; w < WIDTHS; w++) {
        Rotation r = rotation_of(widths[w]);
        cr_assert_eq(r.block, blocks[w]);
        rotation_free(&r);
    }
}

Test(rotation, no_rotation_turns_nothing) {
    const Rotation none = { 0 };
    float x[] = { 1, 2, 3 };
    rotation_apply(&none, x);
    rotation_undo(&none, x);
    cr_assert(x[0] == 1 && x[1] == 2 && x[2] == 3);
}
