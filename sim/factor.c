/* factor.c -- weight matrices from structured orthogonal factors; see factor.h.
 *
 * Two sweeps. The first writes diag(i^-decay) B^T into the leading rows, ORTHOGONAL_LANES of them
 * at a time out of unit vectors; the second applies U down the columns, a strip of as many columns
 * at a time, so that a strip is a line of the cache wide and stays there while it is transformed.
 */
#include "factor.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "buffer.h"
#include "orthogonal.h"
#include "random.h"

enum { LANES = ORTHOGONAL_LANES, TOKENS_AT_ONCE = 4 };

Rows rows_dense(float *w, size_t count, size_t cols) {
    return (Rows){ .w = w, .count = count, .cols = cols, .block = count, .stride = count };
}

float *rows_at(const Rows *rows, size_t i) {
    return rows->w + (i / rows->block * rows->stride + rows->first + i % rows->block) * rows->cols;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

float factor_dot(size_t n, const float *a, const float *b) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* row <- size * unit vector along (blend axis + (1 - blend) row). */
static void blend_row(size_t n, double blend, const float *axis, double size, float *row) {
    const float along = (float)blend, random = (float)(1 - blend);
    for (size_t j = 0; j < n; j++) row[j] = along * axis[j] + random * row[j];
    const float scale = (float)(size / sqrt(factor_dot(n, row, row)));
    for (size_t j = 0; j < n; j++) row[j] *= scale;
}

/* Rows from..from+LANES-1 of diag(i^-decay) B^T. */
static void fill_right(const Rows *rows, const Factor *factor, const Orthogonal *right, size_t from,
                       float *x, float *work) {
    const size_t n = rows->cols, lanes = smaller(LANES, smaller(rows->count, n) - from);
    memset(x, 0, n * LANES * sizeof *x);
    for (size_t lane = 0; lane < lanes; lane++)
        x[(from + lane) * LANES + lane] = (float)pow((double)(from + lane + 1), -factor->decay);
    orthogonal_apply(right, x, work);
    for (size_t lane = 0; lane < lanes; lane++) {
        const size_t i = from + lane;
        float *row = rows_at(rows, i);
        for (size_t j = 0; j < n; j++) row[j] = x[j * LANES + lane];
        if (i < factor->axis_count)
            blend_row(n, factor->blend, factor->axes + i * n, pow((double)(i + 1), -factor->decay),
                      row);
    }
}

/* Columns from..from+LANES-1 of U times what the leading rows hold, times the gain. */
static void apply_left(const Rows *rows, const float *gain, const Orthogonal *left, size_t from,
                       float *x, float *work) {
    const size_t lanes = smaller(LANES, rows->cols - from),
                 given = smaller(rows->count, rows->cols);
    memset(x, 0, rows->count * LANES * sizeof *x);
    for (size_t i = 0; i < given; i++)
        memcpy(x + i * LANES, rows_at(rows, i) + from, lanes * sizeof *x);
    orthogonal_apply(left, x, work);
    for (size_t i = 0; i < rows->count; i++) {
        const float scale = gain ? gain[i] : 1;
        float *row = rows_at(rows, i) + from;
        for (size_t lane = 0; lane < lanes; lane++) row[lane] = scale * x[i * LANES + lane];
    }
}

static void fill_with(const Rows *rows, const Factor *factor, const Orthogonal *left,
                      const Orthogonal *right, int threads, float *scratch) {
    const size_t given = smaller(rows->count, rows->cols);
    const size_t room = LANES * (rows->count > rows->cols ? rows->count : rows->cols);
#pragma omp parallel num_threads(threads)
    {
        float *x = scratch + 2 * room * (size_t)omp_get_thread_num();
#pragma omp for schedule(static)
        for (size_t i = 0; i < given; i += LANES) fill_right(rows, factor, right, i, x, x + room);
#pragma omp for schedule(static)
        for (size_t j = 0; j < rows->cols; j += LANES)
            apply_left(rows, factor->gain, left, j, x, x + room);
    }
}

Status factor_fill(const Rows *rows, const Factor *factor, Error *err) {
    const int threads = omp_get_max_threads();
    const size_t longer = rows->count > rows->cols ? rows->count : rows->cols;
    Orthogonal left = { 0 }, right = { 0 };
    float *scratch = NULL;
    const uint64_t left_stream = random_bits(factor->seed, factor->stream, 0);
    const uint64_t right_stream = random_bits(factor->seed, factor->stream, 1);
    Status status = orthogonal_new(&left, rows->count, factor->seed, left_stream, err);
    if (status == OK) status = orthogonal_new(&right, rows->cols, factor->seed, right_stream, err);
    if (status == OK)
        status = BUFFER(&scratch, 2 * LANES * longer * (size_t)threads, "weight factors", err);
    if (status == OK) fill_with(rows, factor, &left, &right, threads, scratch);
    buffer_free(scratch);
    orthogonal_free(&right);
    orthogonal_free(&left);
    return status;
}

void rows_scale(const Rows *rows, double scale) {
    const float factor = (float)scale;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < rows->count; i++) {
        float *row = rows_at(rows, i);
        for (size_t j = 0; j < rows->cols; j++) row[j] *= factor;
    }
}

void rows_add_outer(const Rows *rows, const float *u, const float *v) {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < rows->count; i++) {
        if (u[i] == 0) continue;
        float *row = rows_at(rows, i);
        for (size_t j = 0; j < rows->cols; j++) row[j] += u[i] * v[j];
    }
}

/* One row against four tokens: the row is loaded once. */
static void dot_four(size_t n, const float *w, const float *x, float *out, size_t ld_out) {
    float a = 0, b = 0, c = 0, d = 0;
#pragma omp simd reduction(+ : a, b, c, d)
    for (size_t i = 0; i < n; i++) {
        a += w[i] * x[i];
        b += w[i] * x[n + i];
        c += w[i] * x[2 * n + i];
        d += w[i] * x[3 * n + i];
    }
    out[0] = a, out[ld_out] = b, out[2 * ld_out] = c, out[3 * ld_out] = d;
}

void rows_product(const Rows *rows, size_t from, size_t count, size_t tokens, const float *x,
                  float *out, size_t ld_out) {
    const size_t n = rows->cols, whole = tokens / TOKENS_AT_ONCE * TOKENS_AT_ONCE;
    enum { ROWS_AT_ONCE = 16 }; /* that stay in the cache while the tokens pass */
#pragma omp parallel for schedule(static)
    for (size_t start = 0; start < count; start += ROWS_AT_ONCE) {
        const size_t end = smaller(count, start + ROWS_AT_ONCE);
        for (size_t t = 0; t < whole; t += TOKENS_AT_ONCE)
            for (size_t i = start; i < end; i++)
                dot_four(n, rows_at(rows, from + i), x + t * n, out + t * ld_out + i, ld_out);
        for (size_t t = whole; t < tokens; t++)
            for (size_t i = start; i < end; i++)
                out[t * ld_out + i] = factor_dot(n, rows_at(rows, from + i), x + t * n);
    }
}
