/* metrics.c -- the error metrics; see metrics.h.
 *
 * Logits and probabilities are looked at one (head, query) row at a time: no [S, S] matrix is held.
 * Heads run in parallel, each with sums of its own, added up in their order, so the result does not
 * depend on the number of threads. */
#include "metrics.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "blas.h"
#include "buffer.h"

static const double LEAST_PROBABILITY = 1e-30;
static const double PERCENTILE = 0.99;

/* sqrt(a / b); equal things that are nothing differ by nothing. */
static double relative(double a, double b) {
    return a == 0 ? 0 : sqrt(a / b);
}

static double squared_difference(size_t n, const float *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

static double squared(size_t n, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += b[i] * b[i];
    return sum;
}

double metrics_relative(size_t n, const float *a, const double *b) {
    return relative(squared_difference(n, a, b), squared(n, b));
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

static double squared_f32(size_t n, const float *a) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * a[i];
    return sum;
}

/* The sum over rows of 1 - cos(a, b). A row that is nothing points where another nothing does. */
static double cosine_loss(size_t rows, size_t width, const float *a, const double *b) {
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
    return loss;
}

/* Absolute differences are counted by the leading bits of their floats, which sort as their values
 * do: the exponent and MANTISSA_BITS of the mantissa. */
enum { MANTISSA_BITS = 11, CUT_BITS = 23 - MANTISSA_BITS, BINS = 1 << (31 - CUT_BITS) };

static void count_differences(size_t n, const float *a, const double *b, uint64_t *counts) {
    for (size_t i = 0; i < n; i++) {
        const float difference = (float)fabs(a[i] - b[i]);
        uint32_t bits;
        memcpy(&bits, &difference, sizeof bits);
        counts[bits >> CUT_BITS]++;
    }
}

/* The least difference that at least PERCENTILE of all do not exceed, cut to its bin. */
static double percentile(const uint64_t *counts) {
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < BINS; i++) total += counts[i];
    if (total == 0) return 0;
    const uint64_t rank = (uint64_t)ceil(PERCENTILE * (double)total);
    uint32_t bin = 0;
    while ((seen += counts[bin]) < rank) bin++;
    const uint32_t bits = bin << CUT_BITS;
    float difference;
    memcpy(&difference, &bits, sizeof difference);
    return difference;
}

/* ---- logits and probabilities ---- */

/* What one query of a head adds to the pooled metrics. */
typedef struct {
    double logit_difference, logit_size; /* squares of row-centred logits */
    double kl, tv;
} RowSums;

static void centre(size_t n, double *x) {
    double mean = 0;
    for (size_t i = 0; i < n; i++) mean += x[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) x[i] -= mean;
}

/* Logits of -INFINITY are not seen; where none is seen all probabilities are 0. */
static void softmax(size_t n, double *x) {
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, x[i]);
    for (size_t i = 0; i < n; i++) sum += x[i] = x[i] == -INFINITY ? 0 : exp(x[i] - max);
    for (size_t i = 0; i < n && sum != 0; i++) x[i] /= sum;
}

/* Adds one row of n visible logits, exact and approximate; both are overwritten. kept: bits of the
 * tokens that the approximation sees, or NULL. */
static void add_row(RowSums *sums, size_t n, double *exact, double *approx,
                    const unsigned char *kept) {
    centre(n, exact);
    centre(n, approx);
    for (size_t i = 0; i < n; i++) {
        const double d = approx[i] - exact[i];
        sums->logit_difference += d * d;
        sums->logit_size += exact[i] * exact[i];
    }
    for (size_t i = 0; kept && i < n; i++)
        if (!(kept[i / 8] >> i % 8 & 1)) approx[i] = -INFINITY;
    softmax(n, exact);
    softmax(n, approx);
    double distance = 0;
    for (size_t i = 0; i < n; i++) {
        if (exact[i] > 0) sums->kl += exact[i] * log(exact[i] / fmax(approx[i], LEAST_PROBABILITY));
        distance += fabs(exact[i] - approx[i]);
    }
    sums->tv += distance / 2;
}

static const unsigned char *kept_row(const Reference *e, const Approximation *a, size_t h,
                                     size_t i) {
    if (!a->kept) return NULL;
    const size_t head = h / (e->heads / a->kept_heads);
    return a->kept + (head * e->queries + i) * ((e->tokens + 7) / 8);
}

/* Queries of a head whose logits are held at once. */
enum { QUERY_BLOCK = 64 };

/* Room for one head. */
typedef struct {
    double *exact, *approx; /* [QUERY_BLOCK, tokens] logits */
    double *queries, *keys; /* [QUERY_BLOCK, d], [tokens, d]: the approximation's, widened */
} LogitRoom;

static Status logit_room_new(LogitRoom *r, const Reference *e, const Approximation *a, Error *err) {
    *r = (LogitRoom){ .exact = NULL };
    TRY(BUFFER(&r->exact, QUERY_BLOCK * e->tokens, "logits", err));
    TRY(BUFFER(&r->approx, QUERY_BLOCK * e->tokens, "logits", err));
    TRY(BUFFER(&r->queries, QUERY_BLOCK * a->key_dim, "queries of a head", err));
    return BUFFER(&r->keys, e->tokens * a->key_dim, "keys of a head", err);
}

static void logit_room_free(LogitRoom *r) {
    buffer_free(r->exact);
    buffer_free(r->approx);
    buffer_free(r->queries);
    buffer_free(r->keys);
}

/* Rows of n floats, ld apart, as doubles. */
static void widen(size_t rows, size_t n, const float *x, size_t ld, double *out) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) out[r * n + i] = x[r * ld + i];
}

/* Logits of queries from .. to - 1 of one head over the keys that the last of them sees. */
static void block_logits(const Reference *e, const Approximation *a, size_t h, size_t from,
                         size_t to, LogitRoom *r) {
    const size_t g = h / (e->heads / e->kv_heads), n = e->tokens - e->queries + to;
    const size_t d = e->key_dim, own = a->key_dim;
    blas_gemm_f64(0, 1, to - from, n, d, e->scale, e->q + (from * e->heads + h) * d, e->heads * d,
                  e->k + g * d, e->kv_heads * d, 0, r->exact, e->tokens);
    widen(to - from, own, a->q_rot + (from * e->heads + h) * own, e->heads * own, r->queries);
    blas_gemm_f64(0, 1, to - from, n, own, a->scale, r->queries, own, r->keys, own, 0, r->approx,
                  e->tokens);
}

/* All queries of one head. */
static void add_head(RowSums *sums, const Reference *e, const Approximation *a, size_t h,
                     LogitRoom *r) {
    const size_t first = e->tokens - e->queries;
    widen(e->tokens, a->key_dim, a->k_rot + h * a->key_dim, e->heads * a->key_dim, r->keys);
    for (size_t from = 0; from < e->queries; from += QUERY_BLOCK) {
        const size_t to = from + QUERY_BLOCK < e->queries ? from + QUERY_BLOCK : e->queries;
        block_logits(e, a, h, from, to, r);
        for (size_t i = from; i < to; i++)
            add_row(sums, first + i + 1, r->exact + (i - from) * e->tokens,
                    r->approx + (i - from) * e->tokens, kept_row(e, a, h, i));
    }
}

/* Heads side by side, each with sums of its own and products on one thread: small products that
 * many threads shared would wait for each other. */
static void add_heads(RowSums *sums, const Reference *e, const Approximation *a, size_t count,
                      LogitRoom *rooms) {
    const int threads = blas_threads();
    blas_set_threads(1);
#pragma omp parallel for schedule(dynamic) num_threads((int)count)
    for (size_t h = 0; h < e->heads; h++) add_head(&sums[h], e, a, h, &rooms[omp_get_thread_num()]);
    blas_set_threads(threads);
}

static Status add_logits(ErrorSums *sums, const Reference *e, const Approximation *a, Error *err) {
    const size_t threads = (size_t)omp_get_max_threads();
    LogitRoom *rooms = NULL;
    RowSums *heads = NULL;
    Status status = BUFFER(&rooms, threads, "room for logits", err);
    if (status == OK) status = BUFFER(&heads, e->heads, "sums of heads", err);
    for (size_t i = 0; status == OK && i < threads; i++)
        status = logit_room_new(&rooms[i], e, a, err);
    if (status == OK) add_heads(heads, e, a, threads, rooms);
    for (size_t h = 0; status == OK && h < e->heads; h++) {
        sums->logits.difference += heads[h].logit_difference;
        sums->logits.size += heads[h].logit_size;
        sums->kl += heads[h].kl;
        sums->tv += heads[h].tv;
    }
    for (size_t i = 0; rooms && i < threads; i++) logit_room_free(&rooms[i]);
    buffer_free(rooms);
    buffer_free(heads);
    if (status != OK) return status;
    sums->attended += (double)(e->heads * e->queries);
    sums->logits.given = true;
    return OK;
}

/* ---- the sums ---- */

/* Adds n values to the sums of a metric where the approximation has them. */
#define ADD(sums, n, approx, exact)                                                                \
    do {                                                                                           \
        if (!(approx)) break;                                                                      \
        (sums).difference += squared_difference((n), (approx), (exact));                           \
        (sums).size += squared((n), (exact));                                                      \
        (sums).given = true;                                                                       \
    } while (0)

static void add_outputs(ErrorSums *sums, const Reference *exact, const float *out) {
    const size_t width = exact->heads * exact->value_dim, n = exact->queries * width;
    const double most = metrics_max_abs(n, out, exact->out);
    sums->cosine_loss += cosine_loss(exact->queries, width, out, exact->out);
    sums->cosines += (double)exact->queries;
    sums->cos_sizes += squared_f32(n, out) + squared(n, exact->out);
    sums->max_abs = isnan(most) || isnan(sums->max_abs) ? NAN : fmax(sums->max_abs, most);
    count_differences(n, out, exact->out, sums->abs_counts);
}

Status metrics_add(ErrorSums *sums, const Reference *exact, const Approximation *approx,
                   Error *err) {
    const size_t heads = exact->tokens * exact->kv_heads;
    if (!sums->abs_counts) TRY(BUFFER(&sums->abs_counts, BINS, "counts", err));
    if (approx->q_rot && approx->k_rot) TRY(add_logits(sums, exact, approx, err));
    ADD(sums->y, exact->queries * exact->hidden, approx->y, exact->y);
    ADD(sums->k, heads * exact->key_dim, approx->k_pre, exact->k_pre);
    ADD(sums->v, heads * exact->value_dim, approx->v, exact->v);
    ADD(sums->out, exact->queries * exact->heads * exact->value_dim, approx->out, exact->out);
    if (approx->out) add_outputs(sums, exact, approx->out);
    return OK;
}

ErrorMetrics metrics_of(const ErrorSums *s) {
#define RELATIVE(sums) ((sums).given ? relative((sums).difference, (sums).size) : NAN)
    const double attended = s->attended > 0 ? s->attended : 1,
                 cosines = s->cosines > 0 ? s->cosines : 1;
    ErrorMetrics m = { .y_rel = RELATIVE(s->y),
                       .out_rel = RELATIVE(s->out),
                       .k_rel = RELATIVE(s->k),
                       .v_rel = RELATIVE(s->v),
                       .logit_rel = RELATIVE(s->logits) };
#undef RELATIVE
    m.attn_kl = s->logits.given ? s->kl / attended : NAN;
    m.attn_tv = s->logits.given ? s->tv / attended : NAN;
    m.out_cos = s->out.given ? s->cosine_loss / cosines : NAN;
    /* 1 - 2<a,b> / (<a,a> + <b,b>) without its cancellation. */
    m.cos_diff = !s->out.given ? NAN : s->cos_sizes == 0 ? 0 : s->out.difference / s->cos_sizes;
    m.max_abs = s->out.given ? s->max_abs : NAN;
    m.p99_abs = s->out.given ? percentile(s->abs_counts) : NAN;
    return m;
}

void metrics_free(ErrorSums *sums) {
    buffer_free(sums->abs_counts);
    *sums = (ErrorSums){ 0 };
}

Status metrics_compute(ErrorMetrics *metrics, const Reference *exact, const Approximation *approx,
                       Error *err) {
    ErrorSums sums = { 0 };
    const Status status = metrics_add(&sums, exact, approx, err);
    if (status == OK) *metrics = metrics_of(&sums);
    metrics_free(&sums);
    return status;
}
