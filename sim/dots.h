/* dots.h -- dot products in double for the code that defines what is correct, in a fixed order of
 * additions: eight sums side by side, so that no addition waits for the one before it. */
#ifndef KVLAB_DOTS_H
#define KVLAB_DOTS_H

#include <stddef.h>

enum { DOT_SUMS = 8 };

static inline double dots_total(const double *sums) {
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) +
           ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

static inline double dot_f64(size_t n, const double *x, const double *y) {
    double sums[DOT_SUMS] = { 0 };
    size_t i = 0;
    for (; i + DOT_SUMS <= n; i += DOT_SUMS)
        for (size_t j = 0; j < DOT_SUMS; j++) sums[j] += x[i + j] * y[i + j];
    for (; i < n; i++) sums[0] += x[i] * y[i];
    return dots_total(sums);
}

static inline double dot_f32(size_t n, const float *x, const float *y) {
    double sums[DOT_SUMS] = { 0 };
    size_t i = 0;
    for (; i + DOT_SUMS <= n; i += DOT_SUMS)
        for (size_t j = 0; j < DOT_SUMS; j++) sums[j] += (double)x[i + j] * y[i + j];
    for (; i < n; i++) sums[0] += (double)x[i] * y[i];
    return dots_total(sums);
}

#endif
