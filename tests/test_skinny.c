/* test_skinny.c -- products of few rows with stored weights, on every tier: exact on whole numbers,
 * within the bound of their sums otherwise, nothing touched beside what is theirs, and the same
 * bits for any number of threads. */
#define _DEFAULT_SOURCE
#include <float.h>
#include <stdlib.h>

#include "skinny.h"
#include "tiers.h"

typedef struct {
    size_t rows, out, in;
} Shape;

static const Shape shapes[] = {
    { 1, 1, 1 },     { 1, 37, 131 },  { 2, 12, 128 },  { 3, 13, 7 },
    { 4, 11, 300 },  { 5, 25, 513 },  { 8, 40, 640 },  { 13, 29, 389 },
    { 16, 24, 512 }, { 17, 50, 257 }, { 33, 9, 1000 }, { 1, 30, 5001 }
};

static const RowType types[] = { ROW_F32, ROW_BF16, ROW_F16 };

enum { GAP = 3, UNTOUCHED = -77 };

typedef struct {
    float *x, *y, *w; /* w: the weights as floats */
    void *stored;     /* directly before a forbidden page */
    size_t ld_x, ld_y;
} Scene;

static float *floats(size_t count) {
    float *p = malloc((count + 1) * sizeof *p);
    cr_assert_not_null(p);
    return p;
}

static Scene scene_new(const Shape *shape, RowType type, bool whole) {
    const Kernels ref = kernels_select(0);
    const RowFormat format = row_format(type, shape->in);
    Scene s = { .ld_x = shape->in + GAP, .ld_y = shape->out + GAP };
    s.x = floats(shape->rows * s.ld_x);
    s.y = floats(shape->rows * s.ld_y);
    s.w = floats(shape->out * shape->in);
    s.stored = guarded(0, shape->out * row_bytes(format));
    fill_floats(s.x, shape->rows * s.ld_x, whole);
    fill_floats(s.w, shape->out * shape->in, whole);
    for (size_t o = 0; o < shape->out; o++) {
        unsigned char *row = (unsigned char *)s.stored + o * row_bytes(format);
        ref.encode[type](&format, s.w + o * shape->in, row);
        ref.decode[type](&format, shape->in, row, s.w + o * shape->in);
    }
    for (size_t i = 0; i < shape->rows * s.ld_y; i++) s.y[i] = UNTOUCHED;
    return s;
}

static void scene_free(Scene *s) {
    free(s->x), free(s->y), free(s->w);
}

static void run(const Kernels *tier, int threads, const Shape *shape, RowType type,
                const Scene *s) {
    skinny_linear(tier, threads, shape->rows, shape->out, shape->in, s->x, s->ld_x, type, s->stored,
                  s->y, s->ld_y);
}

static void check(const Scene *s, const Shape *shape, RowType type, bool whole, const char *name) {
    for (size_t r = 0; r < shape->rows; r++) {
        for (size_t o = 0; o < s->ld_y; o++) {
            const float got = s->y[r * s->ld_y + o];
            if (o >= shape->out) {
                cr_assert(got == UNTOUCHED, "%s: wrote beside the row", name);
                continue;
            }
            double sum = 0, size = 0;
            for (size_t i = 0; i < shape->in; i++) {
                const double term = (double)s->x[r * s->ld_x + i] * s->w[o * shape->in + i];
                sum += term;
                size += fabs(term);
            }
            const double bound = whole ? 0 : (8 + (double)shape->in / 4) * FLT_EPSILON / 2 * size;
            cr_assert(fabs(got - sum) <= bound, "%s %s %zux%zux%zu: y[%zu][%zu] %g, not %g (%g)",
                      name, row_type_name(type), shape->rows, shape->out, shape->in, r, o,
                      (double)got, sum, bound);
        }
    }
}

FOR_EACH_SUBJECT(skinny, product_is_that_of_the_plain_loop) {
    const Kernels tier = table_of(*subject);
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t type = 0; type < COUNT(types); type++)
            for (int whole = 0; whole < 2; whole++) {
                Scene s = scene_new(&shapes[i], types[type], whole);
                run(&tier, 2, &shapes[i], types[type], &s);
                check(&s, &shapes[i], types[type], whole, subjects[*subject]);
                scene_free(&s);
            }
}

Test(skinny, products_are_the_same_bits_for_any_number_of_threads) {
    const Kernels tier = kernels_select(kernels_detect());
    const Shape shape = { 5, 70, 1500 };
    Scene one = scene_new(&shape, ROW_BF16, false);
    float *first = floats(shape.rows * one.ld_y);
    run(&tier, 1, &shape, ROW_BF16, &one);
    memcpy(first, one.y, shape.rows * one.ld_y * sizeof *first);
    for (int threads = 2; threads < 6; threads++) {
        run(&tier, threads, &shape, ROW_BF16, &one);
        cr_assert_arr_eq(first, one.y, shape.rows * one.ld_y * sizeof *first);
    }
    free(first);
    scene_free(&one);
}

Test(skinny, products_over_nothing_are_zero_and_of_nothing_touch_nothing) {
    const Kernels tier = kernels_select(kernels_detect());
    float x = 1, w = 1, y[2] = { 3, 3 };
    skinny_linear(&tier, 2, 1, 0, 1, &x, 1, ROW_F32, &w, y, 2);
    skinny_linear(&tier, 2, 0, 2, 1, &x, 1, ROW_F32, &w, y, 2);
    cr_assert(y[0] == 3 && y[1] == 3);
    skinny_linear(&tier, 2, 1, 2, 0, &x, 1, ROW_F32, &w, y, 2);
    cr_assert(y[0] == 0 && y[1] == 0);
}
