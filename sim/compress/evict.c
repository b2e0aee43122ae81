/* evict.c -- votes, choices and the attention that is left; see evict.h.
 *
 * Queries are taken a few at a time, in order. Probabilities of a piece of queries are worked out
 * for all heads at once (every head and query apart), added up to votes, turned into choices one
 * query after the other (what earlier queries said counts), and then applied. */
#include "evict.h"

#include <math.h>
#include <string.h>

#include "buffer.h"

enum {
    PIECE = 16,    /* queries at a time */
    SINKS = 4,     /* first tokens that streaming keeps */
    WINDOW = 64,   /* newest queries that vote in SnapKV, and newest tokens that it keeps */
    POOL_REACH = 2 /* neighbours on either side that SnapKV pools a vote over */
};

static const RowFormat float_rows = { .type = ROW_F32 };

typedef struct {
    const Eviction *eviction;
    const EvictionText *text;
    const Kernels *kernels;
    size_t group, row_bytes; /* heads that share what is kept; bytes of a row of bits */
    float *p;                /* [heads, PIECE, tokens] probabilities */
    float *votes;            /* [kept_heads, PIECE, tokens] of each query */
    double *sums;            /* [kept_heads, tokens] of the queries that count so far */
    float *recent;           /* [kept_heads, WINDOW, tokens] of the last queries, a ring */
    float *work;             /* [kept_heads, 2, tokens] */
} Run;

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* ---- choosing ---- */

/* The m-th largest of x [n], 1 <= m <= n; reorders x (Hoare's selection). */
static float select_largest(size_t n, size_t m, float *x) {
    size_t low = 0, high = n - 1;
    while (low < high) {
        const float pivot = x[low + (high - low) / 2];
        size_t i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i > j) break;
            const float t = x[i];
            x[i++] = x[j];
            x[j] = t;
            if (j == 0) break;
            j--;
        }
        if (m - 1 <= j)
            high = j;
        else if (m - 1 >= i)
            low = i;
        else
            break;
    }
    return x[m - 1];
}

static void keep(unsigned char *kept, size_t token) {
    kept[token / 8] |= (unsigned char)(1u << token % 8);
}

void evict_choose(size_t n, const float *votes, size_t m, float *work, unsigned char *kept) {
    if (m == 0 || n == 0) return;
    if (m >= n) {
        for (size_t t = 0; t < n; t++) keep(kept, t);
        return;
    }
    memcpy(work, votes, n * sizeof *work);
    const float least = select_largest(n, m, work);
    size_t above = 0;
    for (size_t t = 0; t < n; t++) above += votes[t] > least;
    size_t ties = m - above;
    for (size_t t = 0; t < n; t++)
        if (votes[t] > least || (votes[t] == least && ties && ties--)) keep(kept, t);
}

/* Means over neighbours; the ends have fewer. */
static void pool(size_t n, const double *sums, float *votes) {
    for (size_t t = 0; t < n; t++) {
        const size_t from = t > POOL_REACH ? t - POOL_REACH : 0;
        const size_t to = smaller(n, t + POOL_REACH + 1);
        double sum = 0;
        for (size_t i = from; i < to; i++) sum += sums[i];
        votes[t] = (float)(sum / (double)(2 * POOL_REACH + 1));
    }
}

/* How many of the newest tokens are kept whatever the votes say. */
static size_t newest(EvictionKind kind, size_t kept) {
    switch (kind) {
    case EVICT_STREAMING:
        return kept - smaller(SINKS, kept - 1);
    case EVICT_H2O:
        return (kept + 1) / 2;
    case EVICT_SNAPKV:
        return smaller(WINDOW, (kept + 1) / 2);
    default:
        return 0;
    }
}

/* The choice of cached head g for the query at `position`, number i of its piece. */
static void choose(const Run *run, size_t g, size_t position, size_t i, unsigned char *kept) {
    const size_t tokens = run->text->tokens, visible = position + 1;
    const size_t count = eviction_kept(run->eviction, visible);
    const size_t late = newest(run->eviction->kind, count), early = visible - late;
    const double *sums = run->sums + g * tokens;
    float *votes = run->work + 2 * g * tokens, *work = votes + tokens;
    for (size_t t = early; t < visible; t++) keep(kept, t);
    switch (run->eviction->kind) {
    case EVICT_STREAMING:
        for (size_t t = 0; t < count - late; t++) keep(kept, t);
        return;
    case EVICT_H2O:
        for (size_t t = 0; t < early; t++) votes[t] = (float)sums[t];
        break;
    case EVICT_SNAPKV:
        pool(early, sums, votes);
        break;
    default:
        memcpy(votes, run->votes + (g * PIECE + i) * tokens, visible * sizeof *votes);
    }
    evict_choose(early, votes, count - late, work, kept);
}

/* What the query at `position` said counts from now on. */
static void remember(const Run *run, size_t g, size_t position, size_t i) {
    const size_t tokens = run->text->tokens, visible = position + 1;
    const float *votes = run->votes + (g * PIECE + i) * tokens;
    double *sums = run->sums + g * tokens;
    for (size_t t = 0; t < visible; t++) sums[t] += votes[t];
    if (run->eviction->kind != EVICT_SNAPKV) return;
    float *ring = run->recent + (g * WINDOW + position % WINDOW) * tokens;
    for (size_t t = 0; t < visible; t++) {
        sums[t] -= ring[t];
        ring[t] = votes[t];
    }
}

/* ---- a piece of queries ---- */

static void softmax(size_t n, float *x) {
    float max = -INFINITY;
    double sum = 0;
    for (size_t i = 0; i < n; i++) max = fmaxf(max, x[i]);
    for (size_t i = 0; i < n; i++) sum += x[i] = expf(x[i] - max);
    const float factor = (float)(1 / sum);
    for (size_t i = 0; i < n; i++) x[i] *= factor;
}

/* Probabilities of head h for `count` queries from `position` on. */
static void attend(const Run *run, size_t h, size_t position, size_t count) {
    const EvictionText *s = run->text;
    const size_t ld = s->heads * s->key_dim;
    float *p = run->p + h * PIECE * s->tokens;
    run->kernels->scores[ROW_F32](&float_rows, count, position + count, s->key_dim,
                                  s->q + position * ld + h * s->key_dim, ld, s->k + h * s->key_dim,
                                  ld * sizeof *s->k, p, s->tokens);
    for (size_t i = 0; i < count; i++) {
        float *row = p + i * s->tokens;
        for (size_t t = 0; t <= position + i; t++) row[t] *= (float)s->scale;
        softmax(position + i + 1, row);
    }
}

static void vote(const Run *run, size_t g, size_t position, size_t count) {
    const size_t tokens = run->text->tokens;
    for (size_t i = 0; i < count; i++) {
        float *votes = run->votes + (g * PIECE + i) * tokens;
        memset(votes, 0, (position + i + 1) * sizeof *votes);
        for (size_t h = g * run->group; h < (g + 1) * run->group; h++) {
            const float *p = run->p + (h * PIECE + i) * tokens;
            for (size_t t = 0; t <= position + i; t++) votes[t] += p[t];
        }
    }
}

/* Leaves the kept probabilities of one row and scales them to sum to 1; all 0 where none is left.
 */
static void renormalise(size_t n, const unsigned char *kept, float *p) {
    double sum = 0;
    for (size_t t = 0; t < n; t++) {
        if (!(kept[t / 8] >> t % 8 & 1)) p[t] = 0;
        sum += p[t];
    }
    for (size_t t = 0; t < n && sum > 0; t++) p[t] = (float)(p[t] / sum);
}

/* Outputs of head h for the scored queries among `count` from `position` on. */
static void apply(const Run *run, size_t h, size_t position, size_t count,
                  const unsigned char *kept, float *out) {
    const EvictionText *s = run->text;
    const size_t first = s->tokens - s->queries, skip = position < first ? first - position : 0;
    const size_t ld = s->heads * s->value_dim, g = h / run->group;
    for (size_t i = skip; i < count; i++) {
        const size_t query = position + i - first, visible = position + i + 1;
        float *p = run->p + (h * PIECE + i) * s->tokens, *o = out + query * ld + h * s->value_dim;
        renormalise(visible, kept + (g * s->queries + query) * run->row_bytes, p);
        memset(o, 0, s->value_dim * sizeof *o);
        run->kernels->values[ROW_F32](&float_rows, 1, visible, s->value_dim, p, s->tokens,
                                      s->v + h * s->value_dim, ld * sizeof *s->v, o, ld);
    }
}

static void run_piece(const Run *run, size_t position, size_t count, unsigned char *kept,
                      float *out) {
    const EvictionText *s = run->text;
    const size_t first = s->tokens - s->queries;
#pragma omp parallel for schedule(dynamic)
    for (size_t h = 0; h < s->heads; h++) attend(run, h, position, count);
#pragma omp parallel for schedule(dynamic)
    for (size_t g = 0; g < s->kept_heads; g++) {
        vote(run, g, position, count);
        for (size_t i = 0; i < count; i++) {
            if (position + i >= first)
                choose(run, g, position + i, i,
                       kept + (g * s->queries + position + i - first) * run->row_bytes);
            remember(run, g, position + i, i);
        }
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t h = 0; h < s->heads; h++) apply(run, h, position, count, kept, out);
}

/* ---- the whole text ---- */

/* The first query whose say counts for the first that is scored. */
static size_t first_position(const Eviction *e, const EvictionText *s) {
    const size_t first = s->tokens - s->queries;
    if (e->kind == EVICT_H2O) return 0;
    if (e->kind == EVICT_SNAPKV) return first > WINDOW ? first - WINDOW : 0;
    return first;
}

static Status run_new(Run *run, Error *err) {
    const EvictionText *s = run->text;
    const size_t ring = run->eviction->kind == EVICT_SNAPKV ? WINDOW : 0;
    TRY(BUFFER(&run->p, s->heads * PIECE * s->tokens, "probabilities", err));
    TRY(BUFFER(&run->votes, s->kept_heads * PIECE * s->tokens, "votes", err));
    TRY(BUFFER(&run->sums, s->kept_heads * s->tokens, "sums of votes", err));
    TRY(BUFFER(&run->recent, s->kept_heads * ring * s->tokens, "recent votes", err));
    return BUFFER(&run->work, s->kept_heads * 2 * s->tokens, "votes", err);
}

Status evict_run(const Eviction *eviction, const EvictionText *text, const Kernels *kernels,
                 unsigned char *kept, float *out, Error *err) {
    Run run = { .eviction = eviction, .text = text, .kernels = kernels };
    run.group = text->heads / text->kept_heads;
    run.row_bytes = (text->tokens + 7) / 8;
    const Status status = run_new(&run, err);
    if (status == OK) {
        memset(kept, 0, text->kept_heads * text->queries * run.row_bytes);
        for (size_t at = first_position(eviction, text); at < text->tokens; at += PIECE)
            run_piece(&run, at, smaller(PIECE, text->tokens - at), kept, out);
    }
    buffer_free(run.work);
    buffer_free(run.recent);
    buffer_free(run.sums);
    buffer_free(run.votes);
    buffer_free(run.p);
    return status;
}

void evict_positions(const Eviction *eviction, const EvictionText *text, const unsigned char *kept,
                     uint32_t *positions) {
    const size_t count = eviction_kept(eviction, text->tokens), bytes = (text->tokens + 7) / 8;
    for (size_t g = 0; g < text->kept_heads; g++) {
        const unsigned char *row = kept + ((g + 1) * text->queries - 1) * bytes;
        size_t found = 0;
        for (size_t t = 0; t < text->tokens && found < count; t++)
            if (row[t / 8] >> t % 8 & 1) positions[g * count + found++] = (uint32_t)t;
    }
}
