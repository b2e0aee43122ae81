/* codebook.c -- Lloyd's iteration on the normal density; see codebook.h.
 *
 * A cell from a to b has mass F(b) - F(a) and mean (f(a) - f(b)) / mass, f and F the density and
 * the distribution of N(0, 1). Centroids move to the means of their cells, edges halfway between
 * centroids, until nothing moves. The mean squared error is then 1 - sum mass * centroid^2, since
 * the quantised value is the mean of what it stands for. */
#include "codebook.h"

#include <assert.h>
#include <math.h>

static const double PI = 3.14159265358979323846;

static double density(double x) {
    return isinf(x) ? 0 : exp(-x * x / 2) / sqrt(2 * PI);
}

/* Mass of the cell from a to b, from the side on which the tails are small. */
static double mass(double a, double b) {
    return a > 0 ? (erfc(a / sqrt(2)) - erfc(b / sqrt(2))) / 2
                 : (erfc(-b / sqrt(2)) - erfc(-a / sqrt(2))) / 2;
}

static double lower_edge(const Codebook *c, size_t i) {
    return i == 0 ? -INFINITY : c->edge[i - 1];
}

static double upper_edge(const Codebook *c, size_t i) {
    return i + 1 == c->count ? INFINITY : c->edge[i];
}

/* One step; the farthest that a centroid moved. */
static double iterate(Codebook *c) {
    double moved = 0;
    for (size_t i = 0; i + 1 < c->count; i++)
        c->edge[i] = (c->centroid[i] + c->centroid[i + 1]) / 2;
    for (size_t i = 0; i < c->count; i++) {
        const double a = lower_edge(c, i), b = upper_edge(c, i);
        const double mean = (density(a) - density(b)) / mass(a, b);
        moved = fmax(moved, fabs(mean - c->centroid[i]));
        c->centroid[i] = mean;
    }
    return moved;
}

Codebook codebook_normal(unsigned bits) {
    enum { STEPS_MOST = 200000 };
    assert(bits >= 1 && bits <= CODEBOOK_BITS_MOST);
    Codebook c = { .count = (size_t)1 << bits };
    /* From an even spread over the range that a good codebook has. */
    for (size_t i = 0; i < c.count; i++)
        c.centroid[i] = (2 * ((double)i + 0.5) / (double)c.count - 1) * (1 + 0.5 * bits);
    for (int step = 0; step < STEPS_MOST && iterate(&c) > 1e-13; step++) {
    }
    c.error = 1;
    for (size_t i = 0; i < c.count; i++)
        c.error -= mass(lower_edge(&c, i), upper_edge(&c, i)) * c.centroid[i] * c.centroid[i];
    return c;
}

size_t codebook_code(const Codebook *codebook, double value) {
    size_t low = 0, high = codebook->count - 1;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (value > codebook->edge[middle])
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
