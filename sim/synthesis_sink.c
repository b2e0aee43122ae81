/* synthesis_sink.c -- the attention sink of a synthetic layer; see synthesis.h.
 *
 * The queries of each head get a constant part on the two slowest pairs, which rotate least, and
 * the first token's key lies along it, at 0.7 of the mean norm of a key; its value nearly vanishes.
 * The direction is, of some random ones, the one that sets the first key apart while it spreads the
 * logits of the others least.
 *
 * How long the constant must be follows from the sample's queries, the moments of their logits and
 * `context` such keys. With norms on queries and keys the lengths are not free, and the share is
 * only roughly met. */
#include "synthesis.h"

#include <math.h>

#include "buffer.h"
#include "random.h"

enum { SINK_PAIRS = 2, SINK_ROWS = 2 * SINK_PAIRS, CANDIDATES = 64, LENGTHS = 80 };
static const double FIRST_KEY_NORM = 0.7, FIRST_VALUE_NORM = 0.05, LENGTHS_MOST = 4;

typedef struct {
    size_t count; /* rows of a rotated head that the sink lies on */
    size_t rows[SINK_ROWS];
    double *direction; /* [key heads, SINK_ROWS], of length 1 */
    double key;        /* length of the first token's key */
    double *pull;      /* [tokens]: how much of the constant a token's query gets, about 1 */
} Sink;

/* Rows of a rotated head on its slowest pairs; returns how many. */
static size_t sink_rows(const Rope *rope, size_t rows[SINK_ROWS]) {
    const size_t all = rope->dim / 2, used = all < SINK_PAIRS ? all : SINK_PAIRS;
    for (size_t i = 0; i < 2 * used; i++)
        rows[i] = synthesis_pair_row(rope, all - 1 - i / 2, i % 2);
    return 2 * used;
}

/* Mean and covariance of a key head on the sink's rows over the measured tokens. */
static void key_moments(const Synthesis *s, const Sink *sink, size_t head, float *values,
                        double mean[SINK_ROWS], double covariance[SINK_ROWS][SINK_ROWS]) {
    const size_t n = MEASURED_TOKENS;
    for (size_t i = 0; i < sink->count; i++) {
        rows_product(&s->rotary.rows, head * s->rotary.width + sink->rows[i], 1, n, s->input.x,
                     values + i * n, 1);
        mean[i] = 0;
        for (size_t t = 1; t < n; t++) mean[i] += values[i * n + t] / (double)(n - 1);
    }
    for (size_t i = 0; i < sink->count; i++)
        for (size_t j = 0; j < sink->count; j++) {
            covariance[i][j] = 0;
            for (size_t t = 1; t < n; t++)
                covariance[i][j] += (values[i * n + t] - mean[i]) * (values[j * n + t] - mean[j]);
        }
}

/* Draws a random unit direction d. Along it the first token's logit exceeds the mean of the others
 * by length * (key - <mean, d>), at the price of a variance among them: returns that variance for
 * an excess of 1. */
static double draw_direction(const Synthesis *s, const Sink *sink, uint64_t index,
                             const double mean[SINK_ROWS], double covariance[SINK_ROWS][SINK_ROWS],
                             double out[SINK_ROWS]) {
    double size = 0, along = 0, variance = 0;
    for (size_t i = 0; i < sink->count; i++) {
        out[i] = random_normal(s->params->seed, STREAM_SINK, index * SINK_ROWS + i);
        size += out[i] * out[i];
    }
    for (size_t i = 0; i < sink->count; i++) {
        out[i] /= sqrt(size);
        along += mean[i] * out[i];
    }
    for (size_t i = 0; i < sink->count; i++)
        for (size_t j = 0; j < sink->count; j++) variance += out[i] * covariance[i][j] * out[j];
    const double excess = sink->key - along;
    return excess > 0 ? variance / (excess * excess) : INFINITY;
}

/* Of the candidates of each key head the one that spreads the other logits least. */
static void choose_directions(const Synthesis *s, const Sink *sink, size_t heads, float *values) {
    for (size_t head = 0; head < heads; head++) {
        double mean[SINK_ROWS], covariance[SINK_ROWS][SINK_ROWS], least = INFINITY;
        key_moments(s, sink, head, values, mean, covariance);
        for (uint64_t i = 0; i < CANDIDATES; i++) {
            double direction[SINK_ROWS];
            const double price =
                draw_direction(s, sink, head * CANDIDATES + i, mean, covariance, direction);
            if (i > 0 && price >= least) continue;
            least = price;
            for (size_t row = 0; row < sink->count; row++)
                sink->direction[head * SINK_ROWS + row] = direction[row];
        }
    }
}

/* Makes the rows give target for the first token; target is used up. */
static Status set_first(const Part *part, float *target, Error *err) {
    const Sample *input = part->input;
    const double square = (double)factor_dot(input->width, input->x, input->x);
    float *now = NULL;
    TRY(BUFFER(&now, part->rows.count, "first token", err));
    rows_product(&part->rows, 0, part->rows.count, 1, input->x, now, part->rows.count);
    for (size_t i = 0; i < part->rows.count; i++)
        target[i] = (float)((target[i] - now[i]) / square);
    rows_add_outer(&part->rows, target, input->x);
    buffer_free(now);
    return OK;
}

/* The first token's value: its direction as it is, its norm a small share of the others'. */
static Status shrink_first_value(const Synthesis *s, double norm, Error *err) {
    const Part *part = &s->value;
    float *target = NULL;
    TRY(BUFFER(&target, part->rows.count, "first value", err));
    rows_product(&part->rows, 0, part->rows.count, 1, part->input->x, target, part->rows.count);
    for (size_t at = 0; at < part->rows.count; at += part->width) {
        float *head = target + at;
        const double size = sqrt(factor_dot(part->width, head, head));
        for (size_t i = 0; i < part->width; i++)
            head[i] *= (float)(FIRST_VALUE_NORM * norm / (size > 0 ? size : 1));
    }
    const Status status = set_first(part, target, err);
    buffer_free(target);
    return status;
}

/* ---- the length of the constant ---- */

/* What a query's logits are as functions of the length: base + length * extra for the first key,
 * and for the other keys the moments of both. */
typedef struct {
    double first_base, first_extra;
    double mean_base, mean_extra;
    double var_base, covariance, var_extra;
} QueryLogits;

/* The direction of query head h as seen from position t: in a head's rotated part. */
static void rotated_direction(const Synthesis *s, const Sink *sink, size_t h, const float *row,
                              float *out) {
    const size_t key_heads = s->rotary.rows.count / s->rotary.width;
    const size_t head = h / (s->model->heads / key_heads);
    for (size_t i = 0; i < s->model->rope.dim; i++) out[i] = 0;
    for (size_t i = 0; i < sink->count; i++)
        out[sink->rows[i]] = (float)sink->direction[head * SINK_ROWS + i];
    if (row) rope_rotate(&s->model->rope, row, out);
}

/* A query against the measured keys, whether before it or after: they stand for any context. own
 * and first: the direction as seen from the query's position and from the first. */
static QueryLogits query_logits(const Synthesis *s, const Measured *m, const Sink *sink, size_t i,
                                size_t t, const float *own, const float *first) {
    const size_t n = s->model->key_dim, rotated = s->model->rope.dim;
    const double scale = model_softmax_scale(s->model), count = (double)(m->tokens - 1);
    const float *query = m->query + (i * m->tokens + t) * n;
    QueryLogits q = { 0 };
    q.first_base = scale * sink->key * (double)factor_dot(rotated, query + s->query_rotary, first);
    q.first_extra = scale * sink->key * sink->pull[t] * (double)factor_dot(rotated, own, first);
    for (size_t key = 1; key < m->tokens; key++) {
        const float *other = m->key + (i * m->tokens + key) * n;
        const double base = scale * (double)factor_dot(n, query, other);
        const double extra =
            scale * sink->pull[t] * (double)factor_dot(rotated, own, other + s->query_rotary);
        q.mean_base += base / count, q.mean_extra += extra / count;
        q.var_base += base * base / count, q.var_extra += extra * extra / count;
        q.covariance += base * extra / count;
    }
    q.var_base -= q.mean_base * q.mean_base;
    q.var_extra -= q.mean_extra * q.mean_extra;
    q.covariance -= q.mean_base * q.mean_extra;
    return q;
}

/* Share of the attention that the first token draws from `context` keys whose logits are normal:
 * the mean of exp(l) is then exp(mean + variance / 2). */
static double sink_share(size_t count, const QueryLogits *queries, size_t context, double length) {
    double share = 0;
    for (size_t i = 0; i < count; i++) {
        const QueryLogits *q = &queries[i];
        const double first = q->first_base + length * q->first_extra;
        const double mean = q->mean_base + length * q->mean_extra;
        const double variance = q->var_base + length * (2 * q->covariance + length * q->var_extra);
        share += 1 / (1 + (double)context * exp(mean + variance / 2 - first)) / (double)count;
    }
    return share;
}

/* The least length that draws the asked share, or that of the largest share where none does;
 * scanned in steps of the length that normal logits would ask for. */
static Status sink_length(const Synthesis *s, const Measured *m, const Sink *sink,
                          const float *table, double *length, Error *err) {
    const double mass = s->params->sink_mass, deviation = s->params->logit_std;
    const double logit =
        fmax(1, log((double)s->context + 1) + deviation * deviation / 2 + log(mass / (1 - mass)));
    const double step =
        LENGTHS_MOST / LENGTHS * logit / (model_softmax_scale(s->model) * sink->key);
    const size_t rotated = s->model->rope.dim, count = m->heads * (m->tokens - 1);
    float *work = NULL;
    QueryLogits *queries = NULL;
    Status status = BUFFER(&work, 2 * rotated, "sink", err);
    if (status == OK) status = BUFFER(&queries, count, "sink", err);
    if (status == OK) {
        for (size_t i = 0; i < count; i++) {
            const size_t head = i / (m->tokens - 1), t = 1 + i % (m->tokens - 1);
            rotated_direction(s, sink, measured_head(s, m, head), NULL, work);
            rotated_direction(s, sink, measured_head(s, m, head), table + t * rotated,
                              work + rotated);
            queries[i] = query_logits(s, m, sink, head, t, work + rotated, work);
        }
        double most = 0;
        for (size_t i = 1; i <= LENGTHS && most < mass; i++) {
            const double share = sink_share(count, queries, s->context, step * (double)i);
            if (share <= most) continue;
            most = share;
            *length = step * (double)i;
        }
    }
    buffer_free(queries);
    buffer_free(work);
    return status;
}

/* ---- all of it ---- */

/* Writes the constant into the queries and the first token's key into the keys. */
static Status write_sink(const Synthesis *s, const Sink *sink, double length, Error *err) {
    const size_t key_heads = s->rotary.rows.count / s->rotary.width;
    const size_t group = s->model->heads / key_heads;
    float *key = NULL, *constant = NULL, *content = NULL;
    Status status = BUFFER(&key, s->rotary.rows.count, "sink key", err);
    if (status == OK) status = BUFFER(&constant, s->query.rows.count, "sink query", err);
    if (status == OK) status = BUFFER(&content, s->content.rows.count, "sink key", err);
    for (size_t h = 0; status == OK && h < s->model->heads; h++)
        for (size_t i = 0; i < sink->count; i++) {
            const double along = sink->direction[h / group * SINK_ROWS + i];
            key[h / group * s->rotary.width + sink->rows[i]] = (float)(sink->key * along);
            constant[h * s->query.width + s->query_rotary + sink->rows[i]] =
                (float)(length * along);
        }
    if (status == OK) {
        synthesis_add_constant(&s->query, constant);
        status = set_first(&s->rotary, key, err);
    }
    if (status == OK && s->content.rows.count) status = set_first(&s->content, content, err);
    buffer_free(content);
    buffer_free(constant);
    buffer_free(key);
    return status;
}

/* <x_t, mean> / |mean|^2 of what the queries are made from. */
static void fill_pull(const Sample *input, size_t tokens, double *pull) {
    const double square = (double)factor_dot(input->width, input->mean, input->mean);
    for (size_t t = 0; t < tokens; t++)
        pull[t] =
            (double)factor_dot(input->width, input->mean, input->x + t * input->width) / square;
}

Status synthesis_sink(const Synthesis *s, const Measured *m, const float *table, double key_norm,
                      double value_norm, Error *err) {
    const size_t key_heads = s->rotary.rows.count / s->rotary.width;
    Sink sink = { .key = FIRST_KEY_NORM * key_norm };
    sink.count = sink_rows(&s->model->rope, sink.rows);
    float *values = NULL;
    double length = 0;
    Status status = BUFFER(&values, SINK_ROWS * MEASURED_TOKENS, "sink", err);
    if (status == OK) status = BUFFER(&sink.direction, key_heads * SINK_ROWS, "sink", err);
    if (status == OK) status = BUFFER(&sink.pull, m->tokens, "sink", err);
    if (status == OK) {
        choose_directions(s, &sink, key_heads, values);
        fill_pull(s->query.input, m->tokens, sink.pull);
        status = sink_length(s, m, &sink, table, &length, err);
    }
    if (status == OK) status = write_sink(s, &sink, length, err);
    if (status == OK) status = shrink_first_value(s, value_norm, err);
    buffer_free(sink.pull);
    buffer_free(sink.direction);
    buffer_free(values);
    return status;
}
