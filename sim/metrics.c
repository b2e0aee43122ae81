/* metrics.c -- the error metrics; see metrics.h.
 *
 * Logits and probabilities are looked at one (head, query) row at a time: no [S, S] matrix is held.
 * Heads run in parallel, each with sums of its own, added up in the order of the heads, so the
 * result does not depend on the number of threads. */
#include "metrics.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "buffer.h"

static const double LEAST_PROBABILITY = 1e-30;
static const double PERCENTILE = 0.99;

/* sqrt(a / b); equal things that are nothing differ by nothing. */
static double relative(double a, double b) {
    return a == 0 ? 0 : sqrt(a / b);
}

double metrics_relative(size_t n, const float *a, const double *b) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = a[i] - b[i];
        difference += d * d;
        size += b[i] * b[i];
    }
    return relative(difference, size);
}

double metrics_max_abs(size_t n, const float *a, const double *b) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        const double difference = fabs(a[i] - b[i]);
        if (isnan(difference)) return difference;
        if (difference > most) most = difference;
    }
    return most;
}

/* ---- outputs ---- */

static double cosine_difference(size_t n, const float *a, const double *b) {
    double difference = 0, sizes = 0;
    for (size_t i = 0; i < n; i++) {
        /* 1 - 2<a,b> / (<a,a> + <b,b>) without its cancellation. */
        const double d = a[i] - b[i];
        difference += d * d;
        sizes += (double)a[i] * a[i] + b[i] * b[i];
    }
    return sizes == 0 ? 0 : difference / sizes;
}

/* 1 - the mean over rows of cos(a, b). A row that is nothing points where another nothing does. */
static double mean_cosine_loss(size_t rows, size_t width, const float *a, const double *b) {
    double loss = 0;
    for (size_t r = 0; r < rows; r++) {
        double ab = 0, aa = 0, bb = 0;
        for (size_t i = r * width; i < (r + 1) * width; i++) {
            ab += a[i] * b[i];
            aa += (double)a[i] * a[i];
            bb += b[i] * b[i];
        }
        if (aa == 0 && bb == 0) continue;
        loss += aa == 0 || bb == 0 ? 1 : 1 - ab / (sqrt(aa) * sqrt(bb));
    }
    return rows ? loss / (double)rows : 0;
}

static uint32_t difference_bits(float a, double b) {
    const float difference = (float)fabs(a - b);
    uint32_t bits;
    memcpy(&bits, &difference, sizeof bits);
    return bits;
}

/* The bin in which the count reaches *rank; *rank becomes the rank within it. */
static uint32_t bin_of_rank(const size_t *counts, size_t *rank) {
    uint32_t bin = 0;
    while (*rank >= counts[bin]) *rank -= counts[bin++];
    return bin;
}

/* The smallest |a - b| (as float) that at least PERCENTILE of all do not exceed. Floats that are
 * not negative sort as their bits do: the upper half of the bits is found by counting, then the
 * lower half among those. */
static Status percentile(size_t n, const float *a, const double *b, double *out, Error *err) {
    enum { BINS = 1 << 16 };
    if (n == 0) {
        *out = 0;
        return OK;
    }
    size_t *counts, *low_counts;
    TRY(BUFFER(&counts, 2 * (size_t)BINS, "counts", err));
    low_counts = counts + BINS;
    size_t rank = (size_t)ceil(PERCENTILE * (double)n) - 1;
    for (size_t i = 0; i < n; i++) counts[difference_bits(a[i], b[i]) >> 16]++;
    const uint32_t high = bin_of_rank(counts, &rank);
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = difference_bits(a[i], b[i]);
        if (bits >> 16 == high) low_counts[bits & (BINS - 1)]++;
    }
    const uint32_t bits = high << 16 | bin_of_rank(low_counts, &rank);
    buffer_free(counts);
    float difference;
    memcpy(&difference, &bits, sizeof difference);
    *out = difference;
    return OK;
}

/* ---- logits and probabilities ---- */

/* What one head adds to the pooled metrics. */
typedef struct {
    double logit_difference, logit_size; /* squares of row-centred logits */
    double kl, tv;                       /* sums over queries */
} HeadSums;

static void centre(size_t n, double *x) {
    double mean = 0;
    for (size_t i = 0; i < n; i++) mean += x[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) x[i] -= mean;
}

static void softmax(size_t n, double *x) {
    double max = x[0], sum = 0;
    for (size_t i = 1; i < n; i++) max = fmax(max, x[i]);
    for (size_t i = 0; i < n; i++) sum += x[i] = exp(x[i] - max);
    for (size_t i = 0; i < n; i++) x[i] /= sum;
}

/* Adds one row of n visible logits, exact and approximate; both are overwritten. */
static void add_row(HeadSums *sums, size_t n, double *exact, double *approx) {
    centre(n, exact);
    centre(n, approx);
    for (size_t i = 0; i < n; i++) {
        const double d = approx[i] - exact[i];
        sums->logit_difference += d * d;
        sums->logit_size += exact[i] * exact[i];
    }
    softmax(n, exact);
    softmax(n, approx);
    double distance = 0;
    for (size_t i = 0; i < n; i++) {
        if (exact[i] > 0) sums->kl += exact[i] * log(exact[i] / fmax(approx[i], LEAST_PROBABILITY));
        distance += fabs(exact[i] - approx[i]);
    }
    sums->tv += distance / 2;
}

static double dot(size_t n, const double *x, const double *y) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static double dot_f32(size_t n, const float *x, const float *y) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * y[i];
    return sum;
}

/* All queries of one head; rows [2 * tokens] is room for two rows of logits. */
static void add_head(HeadSums *sums, const Reference *e, const Approximation *a, size_t h,
                     double *rows) {
    const size_t g = h / (e->heads / e->kv_heads);
    double *exact = rows, *approx = rows + e->tokens;
    for (size_t i = 0; i < e->tokens; i++) {
        const double *q = e->q + (i * e->heads + h) * e->key_dim;
        const float *q_rot = a->q_rot + (i * e->heads + h) * a->key_dim;
        for (size_t t = 0; t <= i; t++) {
            exact[t] = e->scale * dot(e->key_dim, q, e->k + (t * e->kv_heads + g) * e->key_dim);
            approx[t] =
                a->scale * dot_f32(a->key_dim, q_rot, a->k_rot + (t * e->heads + h) * a->key_dim);
        }
        add_row(sums, i + 1, exact, approx);
    }
}

static Status compare_logits(ErrorMetrics *metrics, const Reference *e, const Approximation *a,
                             Error *err) {
    HeadSums *sums = NULL;
    double *rows = NULL;
    Status status = BUFFER(&sums, e->heads, "sums", err);
    if (status == OK) status = BUFFER(&rows, 2 * e->heads * e->tokens, "rows of logits", err);
    if (status == OK) {
        HeadSums total = { 0 };
#pragma omp parallel for schedule(dynamic)
        for (size_t h = 0; h < e->heads; h++) add_head(&sums[h], e, a, h, rows + 2 * h * e->tokens);
        for (size_t h = 0; h < e->heads; h++) {
            total.logit_difference += sums[h].logit_difference;
            total.logit_size += sums[h].logit_size;
            total.kl += sums[h].kl;
            total.tv += sums[h].tv;
        }
        const double count = e->tokens ? (double)(e->heads * e->tokens) : 1;
        metrics->logit_rel = relative(total.logit_difference, total.logit_size);
        metrics->attn_kl = total.kl / count;
        metrics->attn_tv = total.tv / count;
    }
    buffer_free(rows);
    buffer_free(sums);
    return status;
}

Status metrics_compute(ErrorMetrics *metrics, const Reference *exact, const Approximation *approx,
                       Error *err) {
    const size_t keys = exact->tokens * exact->kv_heads * exact->key_dim,
                 values = exact->tokens * exact->kv_heads * exact->value_dim,
                 width = exact->heads * exact->value_dim, outs = exact->tokens * width;
    ErrorMetrics m = { NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN };
    if (approx->y) m.y_rel = metrics_relative(exact->tokens * exact->hidden, approx->y, exact->y);
    if (approx->k_pre) m.k_rel = metrics_relative(keys, approx->k_pre, exact->k_pre);
    if (approx->v) m.v_rel = metrics_relative(values, approx->v, exact->v);
    if (approx->out) {
        m.out_rel = metrics_relative(outs, approx->out, exact->out);
        m.out_cos = mean_cosine_loss(exact->tokens, width, approx->out, exact->out);
        m.cos_diff = cosine_difference(outs, approx->out, exact->out);
        m.max_abs = metrics_max_abs(outs, approx->out, exact->out);
        TRY(percentile(outs, approx->out, exact->out, &m.p99_abs, err));
    }
    if (approx->q_rot && approx->k_rot) TRY(compare_logits(&m, exact, approx, err));
    *metrics = m;
    return OK;
}
