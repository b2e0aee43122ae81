/* sample.c -- mean and principal axes of a sample of tokens; see sample.h. */
#include "sample.h"

#include <math.h>
#include <string.h>

#include "buffer.h"
#include "factor.h"
#include "random.h"

enum { AXES = 64, ITERATIONS = 6, STREAM_START = 0x53616D70 };
static const double LATENT_EPSILON = 1e-6;

Status sample_new(Sample *sample, size_t tokens, size_t width, Error *err) {
    static const char what[] = "a sample of tokens";
    Sample draft = { .tokens = tokens, .width = width };
    draft.axis_count = width < AXES ? width : AXES;
    Status status = BUFFER(&draft.x, tokens * width, what, err);
    if (status == OK) status = BUFFER(&draft.mean, width, what, err);
    if (status == OK) status = BUFFER(&draft.axes, draft.axis_count * width, what, err);
    if (status == OK)
        *sample = draft;
    else
        sample_free(&draft);
    return status;
}

void sample_free(Sample *sample) {
    buffer_free(sample->x);
    buffer_free(sample->mean);
    buffer_free(sample->axes);
    *sample = (Sample){ 0 };
}

void sample_normalise(Sample *sample) {
    const size_t n = sample->width;
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < sample->tokens; t++) {
        float *x = sample->x + t * n;
        const double square = factor_dot(n, x, x) / (double)n;
        const float scale = (float)(1 / sqrt(square + LATENT_EPSILON));
        for (size_t j = 0; j < n; j++) x[j] *= scale;
    }
}

/* Gram and Schmidt's process, each row twice against those before it; a row that vanishes
 * becomes zero. */
static void orthonormalise(size_t count, size_t n, float *rows) {
    for (size_t i = 0; i < count; i++) {
        float *row = rows + i * n;
        const double before = sqrt(factor_dot(n, row, row));
        for (size_t before_i = 0; before_i < 2 * i; before_i++) {
            const float *other = rows + before_i % i * n;
            const float along = factor_dot(n, row, other);
            for (size_t j = 0; j < n; j++) row[j] -= along * other[j];
        }
        const double size = sqrt(factor_dot(n, row, row));
        const float scale = size > 1e-5 * before ? (float)(1 / size) : 0;
        for (size_t j = 0; j < n; j++) row[j] *= scale;
    }
}

static void fill_mean(Sample *sample, size_t from) {
    const size_t n = sample->width;
    memset(sample->mean, 0, n * sizeof *sample->mean);
    for (size_t t = from; t < sample->tokens; t++)
        for (size_t j = 0; j < n; j++) sample->mean[j] += sample->x[t * n + j];
    for (size_t j = 0; j < n; j++) sample->mean[j] /= (float)(sample->tokens - from);
}

/* axes <- (axes X^T) X for the centred tokens X: weights [axis_count, tokens] is scratch. */
static void iterate(Sample *sample, size_t from, float *weights) {
    const size_t n = sample->width, tokens = sample->tokens - from;
    const float *x = sample->x + from * n;
    const Rows rows = rows_dense(sample->x + from * n, tokens, n);
    rows_product(&rows, 0, tokens, sample->axis_count, sample->axes, weights, tokens);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < sample->axis_count; i++) {
        float *axis = sample->axes + i * n, *weight = weights + i * tokens;
        const float offset = factor_dot(n, axis, sample->mean);
        float total = 0;
        for (size_t t = 0; t < tokens; t++) total += weight[t] -= offset;
        for (size_t j = 0; j < n; j++) axis[j] = -total * sample->mean[j];
        for (size_t t = 0; t < tokens; t++)
            for (size_t j = 0; j < n; j++) axis[j] += weight[t] * x[t * n + j];
    }
    orthonormalise(sample->axis_count, n, sample->axes);
}

Status sample_describe(Sample *sample, size_t from, uint64_t seed, Error *err) {
    float *weights = NULL;
    TRY(BUFFER(&weights, sample->axis_count * sample->tokens, "principal axes", err));
    fill_mean(sample, from);
    for (size_t i = 0; i < sample->axis_count * sample->width; i++)
        sample->axes[i] = (float)random_normal(seed, STREAM_START, i);
    orthonormalise(sample->axis_count, sample->width, sample->axes);
    for (int i = 0; i < ITERATIONS; i++) iterate(sample, from, weights);
    buffer_free(weights);
    return OK;
}
