/* bench_judge.c -- bounds, and results held to them; see bench_judge.h.
 *
 * Bounds, with u = 2^-24 for sums in float and r the rounding of a route's operands (relative to
 * the greatest of a row; u where they stay floats):
 *
 *   a score        2 u sum|q k| + 2 r max|q| sum|k|, times the softmax scale: call it e
 *   an output      (2 e + 16 u + 2 r) max|v|: weights are off by e both above and below the line
 *   a projection   (4 + in/8) u sum|x w|: at least eight partial sums side by side
 *   all outputs    relative to their norm: 4 r + 64 u, as independent roundings add up by squares
 *                  and both the output and its error shrink alike with length
 */
#include "bench_judge.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const double UNIT = 0x1p-24;
static const unsigned char EMPTY = 0xff;

static void wrong(Verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Keeps the first complaint. */
static void wrong(Verdict *v, const char *format, ...) {
    if (v->what[0]) return;
    va_list args;
    va_start(args, format);
    vsnprintf(v->what, sizeof v->what, format, args);
    va_end(args);
}

/* ---- what must not change ---- */

static uint64_t sum_of(const Guarded *g) {
    uint64_t sum = g->bytes;
    const unsigned char *bytes = g->room;
    for (size_t i = 0; i < g->bytes; i++) sum = sum * 31 + bytes[i];
    return sum;
}

static uint64_t inputs_sum(const Scene *s) {
    const bool writes_pool = s->params.c.work == WORK_ENCODE;
    return (writes_pool ? 0 : sum_of(&s->pool)) + 3 * sum_of(&s->q) + 7 * sum_of(&s->w);
}

/* ---- attention and projections ---- */

static double bound_of(const Scene *s, const Expected *r, size_t row, size_t e) {
    if (!r->row) {
        const double in = (double)s->params.c.dk;
        return (4 + in / 8) * UNIT * r->size[row * r->width + e];
    }
    const ExpectedRow *a = &r->row[row];
    const double operand = s->params.kernels->rounding[s->params.c.type];
    const double score = 2 * UNIT * a->terms + 2 * operand * a->coarse;
    return (2 * score + 16 * UNIT + 2 * operand) * a->greatest;
}

/* Whole numbers, one row that scores higher than the rest: the result is that row. */
static bool is_decided(const Scene *s, const Expected *r, size_t row) {
    return s->params.input == INPUT_WHOLE && (!r->row || r->row[row].decided);
}

/* Whole numbers with a draw between the best rows: any mixture of them may come out. */
static bool is_open(const Scene *s, const Expected *r, size_t row) {
    return s->params.input == INPUT_WHOLE && r->row && !r->row[row].decided;
}

/* Where the softmax scale is no power of two the weight of the one row is not exactly 1: it cancels
 * up to the rounding of one product and one quotient. */
static double decided_bound(const Scene *s, double expected) {
    return s->params.c.work == WORK_EXPANDED ? 4 * UNIT * fabs(expected) : 0;
}

/* A result, held to what it must be; false when it is not. */
static bool holds(Verdict *v, double got, double expected, double bound) {
    const double off = fabs(got - expected);
    v->values++;
    v->exact += bound == 0;
    if (bound > 0) v->worst = fmax(v->worst, off / bound);
    return off <= bound;
}

static void judge_row(const Scene *s, const Expected *r, size_t row, Verdict *v, double *error,
                      double *norm) {
    const float *out = (const float *)s->out.room + row * r->width;
    const bool decided = is_decided(s, r, row);
    for (size_t e = 0; e < r->width; e++) {
        const double exactly = r->out[row * r->width + e];
        const double expected = decided ? (float)exactly : exactly;
        const double bound = decided ? decided_bound(s, expected) : bound_of(s, r, row, e);
        *error += (out[e] - exactly) * (out[e] - exactly);
        *norm += exactly * exactly;
        if (!holds(v, out[e], expected, bound))
            wrong(v, "row %zu element %zu is %.9g, not %.9g (at most %.3g off)", row, e,
                  (double)out[e], expected, bound);
    }
}

static void judge_lse(const Scene *s, const Expected *r, size_t row, Verdict *v) {
    const ExpectedRow *a = &r->row[row];
    const double operand = s->params.kernels->rounding[s->params.c.type];
    const double got = ((const float *)s->lse.room)[row];
    const bool decided = is_decided(s, r, row);
    const double expected = decided ? (float)a->lse : a->lse;
    const double bound =
        decided ? 0
                : 2 * UNIT * a->terms + 2 * operand * a->coarse + 16 * UNIT * (1 + fabs(a->lse));
    if (!holds(v, got, expected, bound))
        wrong(v, "log-sum-exp of row %zu is %.9g, not %.9g (at most %.3g off)", row, got, expected,
              bound);
}

static void judge_result(const Scene *s, const Expected *r, Verdict *v) {
    double error = 0, norm = 0;
    for (size_t row = 0; row < r->rows; row++) {
        if (is_open(s, r, row)) continue;
        judge_row(s, r, row, v, &error, &norm);
        if (r->row && s->lse.base) judge_lse(s, r, row, v);
    }
    v->rel_error = norm > 0 ? sqrt(error / norm) : 0;
    const double operand = s->params.kernels->rounding[s->params.c.type];
    const double most = 4 * operand + 64 * UNIT;
    if (s->params.input == INPUT_NORMAL && !(v->rel_error <= most))
        wrong(v, "the relative error is %.3g, more than %.3g", v->rel_error, most);
}

/* ---- codecs ---- */

enum { CODEC_FLOATS_MOST = 1024 };

static void judge_bytes(Verdict *v, size_t row, size_t count, const void *got,
                        const void *expected) {
    const unsigned char *a = got, *b = expected;
    for (size_t i = 0; i < count; i++)
        if (a[i] != b[i]) wrong(v, "byte %zu of row %zu is %02x, not %02x", i, row, a[i], b[i]);
}

/* Stored rows are the same in every tier, and whole numbers survive them. */
static void judge_codec(const Scene *s, Verdict *v) {
    const Case *c = &s->params.c;
    const RowFormat format = case_row_format(c);
    const size_t stride = row_bytes(format);
    float decoded[CODEC_FLOATS_MOST];
    unsigned char encoded[CODEC_FLOATS_MOST * sizeof(float)];
    assert(c->dk <= CODEC_FLOATS_MOST && stride <= sizeof encoded);
    for (size_t r = 0; r < c->kv_tokens; r++) {
        const unsigned char *row = (const unsigned char *)s->pool.room + r * stride;
        s->ref.decode[c->type](&format, c->dk, row, decoded);
        v->values += c->dk;
        v->exact += c->dk;
        if (c->work == WORK_DECODE) {
            s->params.kernels->decode[c->type](&format, c->dk, row, s->out.room);
            judge_bytes(v, r, c->dk * sizeof(float), s->out.room, decoded);
            continue;
        }
        const float *floats = (const float *)s->q.room + r * c->dk;
        s->ref.encode[c->type](&format, floats, encoded);
        judge_bytes(v, r, stride, row, encoded);
        if (s->params.input == INPUT_WHOLE)
            judge_bytes(v, r, c->dk * sizeof(float), decoded, floats);
    }
}

/* ---- a scene ---- */

static void forget_results(const Scene *s) {
    const Guarded *const written[] = { &s->out, &s->lse };
    for (size_t i = 0; i < 2; i++)
        if (written[i]->base) memset(written[i]->room, EMPTY, written[i]->bytes);
    if (s->params.c.work == WORK_ENCODE) memset(s->pool.room, EMPTY, s->pool.bytes);
}

void judge_scene(Scene *s, const Expected *expected, Verdict *v) {
    *v = (Verdict){ .values = 0 };
    const uint64_t before = inputs_sum(s);
    forget_results(s);
    scene_run(s, 0);
    if (s->params.c.work == WORK_ENCODE || s->params.c.work == WORK_DECODE)
        judge_codec(s, v);
    else
        judge_result(s, expected, v);
    if (!scene_intact(s)) wrong(v, "something was written beside what a kernel may write");
    if (inputs_sum(s) != before) wrong(v, "a kernel changed its inputs");
}
