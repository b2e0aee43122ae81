/* synthesis_calibrate.c -- sizes, offsets, sink and output of a synthetic layer; see synthesis.h.
 *
 * Statistics leave the first token out: the sink sets it. Constants enter through rank-one terms
 * u mean^T / |mean|^2, which give every token about u; the first token's key and value through a
 * term along its own hidden state, which is nearly orthogonal to all others.
 */
#include "synthesis.h"

#include <math.h>

#include "buffer.h"
#include "random.h"

enum { SETTLED_HEADS = 8 };
static const double OFFSET_LEAST = 3, OFFSET_MOST = 8;

/* Scales a part so that its rows, their gains apart, have variance 1 over the tokens. */
static Status settle_keys(const Part *part, const float *gain, Error *err) {
    const size_t tokens = MEASURED_TOKENS;
    size_t rows = SETTLED_HEADS * part->width;
    if (rows > part->rows.count) rows = part->rows.count;
    float *out = NULL;
    TRY(BUFFER(&out, tokens * rows, "keys of the sample", err));
    rows_product(&part->rows, 0, rows, tokens, part->input->x, out, rows);
    double total = 0;
    for (size_t i = 0; i < rows; i++) {
        double sum = 0, square = 0;
        for (size_t t = 1; t < tokens; t++) {
            const double value = (double)out[t * rows + i] / gain[i];
            sum += value, square += value * value;
        }
        const double count = (double)(tokens - 1);
        total += square / count - sum / count * sum / count;
    }
    buffer_free(out);
    rows_scale(&part->rows, 1 / sqrt(total / (double)rows));
    return OK;
}

/* Some distinct pairs of the slowest quarter, chosen by hash. */
static size_t choose_slow_pairs(const Synthesis *s, size_t head, size_t *pairs) {
    const size_t all = s->model->rope.dim / 2;
    size_t wanted = s->params->offset_pairs < all ? s->params->offset_pairs : all;
    const size_t pool = all / 4 > wanted ? all / 4 : wanted;
    for (size_t i = 0; i < pool; i++) pairs[i] = all - 1 - i;
    for (size_t i = 0; i < wanted; i++) {
        const size_t other =
            i + random_bits(s->params->seed, STREAM_OFFSETS, head * all + i) % (pool - i);
        const size_t kept = pairs[i];
        pairs[i] = pairs[other];
        pairs[other] = kept;
    }
    return wanted;
}

/* A constant on a few slow pairs of each head: +-offset_size U(3, 8) of the standard deviation over
 * all channels, which are settled to their gains. */
static void fill_offsets(const Synthesis *s, const float *gain, size_t *pairs, float *offset) {
    const Rope *rope = &s->model->rope;
    const double deviation =
        sqrt((double)factor_dot(s->rotary.width, gain, gain) / (double)s->rotary.width);
    const uint64_t seed = s->params->seed;
    for (size_t head = 0; head * s->rotary.width < s->rotary.rows.count; head++) {
        const size_t chosen = choose_slow_pairs(s, head, pairs);
        for (size_t i = 0; i < 2 * chosen; i++) {
            const size_t row =
                head * s->rotary.width + synthesis_pair_row(rope, pairs[i / 2], i % 2);
            const double size = OFFSET_LEAST + (OFFSET_MOST - OFFSET_LEAST) *
                                                   random_uniform(seed, STREAM_OFFSET_SIZES, row);
            const double sign = random_bits(seed, STREAM_OFFSET_SIGNS, row) & 1 ? -1 : 1;
            offset[row] = (float)(sign * s->params->offset_size * size * deviation);
        }
    }
}

static Status calibrate_keys(const Synthesis *s, Error *err) {
    const size_t rows = s->rotary.rows.count;
    float *gain = NULL, *offset = NULL;
    size_t *pairs = NULL;
    const size_t most = rows > s->content.rows.count ? rows : s->content.rows.count;
    Status status = BUFFER(&gain, most, "row gains", err);
    if (status == OK) status = BUFFER(&offset, rows, "key offsets", err);
    if (status == OK) status = BUFFER(&pairs, s->model->rope.dim, "slow pairs", err);
    if (status == OK && s->content.rows.count) {
        for (size_t i = 0; i < s->content.rows.count; i++) gain[i] = 1;
        status = settle_keys(&s->content, gain, err);
    }
    if (status == OK) {
        synthesis_gains(s, 1, rows / s->rotary.width, s->rotary.width, 0, gain);
        status = settle_keys(&s->rotary, gain, err);
    }
    if (status == OK) {
        fill_offsets(s, gain, pairs, offset);
        synthesis_add_constant(&s->rotary, offset);
    }
    buffer_free(pairs);
    buffer_free(offset);
    buffer_free(gain);
    return status;
}

static void rotate_heads(const Synthesis *s, const Measured *m, const float *table, float *x) {
    const Rope *rope = &s->model->rope;
    if (rope->dim == 0) return;
    for (size_t row = 0; row < m->heads * m->tokens; row++)
        rope_rotate(rope, table + row % m->tokens * rope->dim,
                    x + row * s->model->key_dim + s->query_rotary);
}

/* Standard deviation of the logits of the measured heads, each query's centred over the keys that
 * it sees; the first token is left out on both sides. */
static double logit_deviation(const Synthesis *s, const Measured *m) {
    const size_t n = s->model->key_dim;
    const double scale = model_softmax_scale(s->model);
    double total = 0;
    size_t count = 0;
    for (size_t i = 0; i < m->heads; i++)
        for (size_t t = 1; t < m->tokens; t++) {
            const float *query = m->query + (i * m->tokens + t) * n;
            double sum = 0, square = 0;
            for (size_t key = 1; key <= t; key++) {
                const double logit =
                    scale * (double)factor_dot(n, query, m->key + (i * m->tokens + key) * n);
                sum += logit, square += logit * logit;
            }
            total += square - sum * sum / (double)t;
            count += t;
        }
    return sqrt(total / (double)count);
}

/* Scales the queries: their rows, or the weight of their norm where that would undo it; and the
 * measured ones with them. */
static void scale_queries(const Synthesis *s, const Measured *m, double scale) {
    const Rows norm = rows_dense(s->weights->q_norm, 1, s->model->key_dim);
    const Rows measured = rows_dense(m->query, m->heads * m->tokens, s->model->key_dim);
    rows_scale(s->model->qk_norm ? &norm : &s->query.rows, scale);
    rows_scale(&measured, scale);
}

/* ---- value outliers ---- */

static void set_column(const Rows *rows, size_t column, uint64_t seed, uint64_t stream,
                       double deviation) {
    for (size_t i = 0; i < rows->count; i++)
        rows_at(rows, i)[column] =
            deviation > 0 ? (float)(deviation * random_normal(seed, stream, i)) : 0;
}

/* Values read the outlier channels, so that a head's outliers have outlier_size times the norm of
 * its other values; keys and queries do not. MLA reads its values from a normalised latent, where
 * no token can stand out: the channels are ordinary there. */
static void set_outliers(const Synthesis *s, double value_norm) {
    const SequencesParams *p = s->params;
    const size_t hidden = s->model->hidden;
    const double deviation = p->outlier_size * value_norm /
                             (sequences_outlier_amplitude(hidden) *
                              sqrt(OUTLIER_CHANNELS * (double)s->model->value_dim));
    for (size_t i = 0; i < OUTLIER_CHANNELS; i++) {
        const size_t column = sequences_outlier_channel(p, hidden, i);
        const uint64_t stream = random_bits(p->seed, STREAM_OUTLIER_VALUES, i);
        set_column(&s->rotary.rows, column, p->seed, stream, 0);
        set_column(&s->query.rows, column, p->seed, stream, 0);
        set_column(&s->value.rows, column, p->seed, stream, deviation);
    }
}

/* ---- the output ---- */

/* out <- the attention of query t of a measured head over the keys that it sees, the others than
 * the first standing for `context` of them. */
static void attend(const Synthesis *s, const Measured *m, size_t head, size_t t, float *weights,
                   float *out) {
    const size_t n = s->model->key_dim, width = s->model->value_dim;
    const double scale = model_softmax_scale(s->model);
    const float *query = m->query + (head * m->tokens + t) * n;
    float most = -INFINITY, sum = 0;
    for (size_t key = 0; key <= t; key++) {
        weights[key] = (float)scale * factor_dot(n, query, m->key + (head * m->tokens + key) * n);
        if (weights[key] > most) most = weights[key];
    }
    for (size_t key = 0; key <= t; key++) weights[key] = expf(weights[key] - most);
    if (s->context > t) weights[0] *= (float)t / (float)s->context;
    for (size_t key = 0; key <= t; key++) sum += weights[key];
    for (size_t j = 0; j < width; j++) out[j] = 0;
    for (size_t key = 0; key <= t; key++) {
        const float *value = m->value + (head * m->tokens + key) * width;
        for (size_t j = 0; j < width; j++) out[j] += weights[key] / sum * value[j];
    }
}

/* Mean square of a head's output over measured heads and tokens. */
static Status output_square(const Synthesis *s, const Measured *m, double *square, Error *err) {
    float *weights = NULL, *out = NULL;
    Status status = BUFFER(&weights, m->tokens, "attention weights", err);
    if (status == OK) status = BUFFER(&out, s->model->value_dim, "attention output", err);
    double sum = 0;
    for (size_t i = 0; status == OK && i < m->heads; i++)
        for (size_t t = 1; t < m->tokens; t++) {
            attend(s, m, i, t, weights, out);
            sum += (double)factor_dot(s->model->value_dim, out, out);
        }
    buffer_free(out);
    buffer_free(weights);
    if (status == OK) *square = sum / (double)(m->heads * (m->tokens - 1));
    return status;
}

/* W_O, sized so that y has about the norm of x. Orthogonal columns keep a norm, orthogonal rows
 * only the share D / (H V) of its square. */
static Status fill_output(const Synthesis *s, double head_square, Error *err) {
    const Model *m = s->model;
    const size_t width = m->heads * m->value_dim;
    const Rows rows = rows_dense(s->weights->o, m->hidden, width);
    const Factor factor = { .seed = s->params->seed, .stream = STREAM_OUTPUT };
    TRY(factor_fill(&rows, &factor, err));
    const double kept = width > m->hidden ? (double)m->hidden / (double)width : 1;
    rows_scale(&rows, sqrt((double)m->hidden / ((double)m->heads * head_square * kept)));
    return OK;
}

/* ---- all of it ---- */

/* Value and query sizes from the measured heads; then what the sink sets. */
static Status calibrate_sizes(const Synthesis *s, Measured *m, float *table, Error *err) {
    const size_t key_dim = s->model->key_dim, value_dim = s->model->value_dim;
    measured_take(s, m);
    const double key_norm = sqrt(measured_square(m, key_dim, m->key));
    const double value_norm = sqrt(measured_square(m, value_dim, m->value));
    const double wanted = key_norm / s->params->key_value_ratio;
    rows_scale(&s->value.rows, wanted / value_norm);

    if (s->model->rope.dim) rope_table(&s->model->rope, 0, m->tokens, table);
    rotate_heads(s, m, table, m->key);
    rotate_heads(s, m, table, m->query);
    scale_queries(s, m, s->params->logit_std / logit_deviation(s, m));
    if (s->params->outlier_tokens > 0 && s->content.rows.count == 0) set_outliers(s, wanted);
    if (s->params->sink_mass == 0 || s->model->rope.dim == 0) return OK;
    return synthesis_sink(s, m, table, key_norm, wanted, err);
}

static Status calibrate_output(const Synthesis *s, Measured *m, const float *table, Error *err) {
    double square = 0;
    measured_take(s, m);
    rotate_heads(s, m, table, m->key);
    rotate_heads(s, m, table, m->query);
    TRY(output_square(s, m, &square, err));
    return fill_output(s, square, err);
}

Status synthesis_calibrate(Synthesis *s, Error *err) {
    Measured measured;
    float *table = NULL;
    Status status = measured_new(&measured, s, err);
    if (status == OK)
        status = BUFFER(&table, measured.tokens * s->model->rope.dim, "rotations", err);
    if (status == OK) status = calibrate_keys(s, err);
    if (status == OK) status = calibrate_sizes(s, &measured, table, err);
    if (status == OK) status = calibrate_output(s, &measured, table, err);
    buffer_free(table);
    measured_free(&measured);
    return status;
}
