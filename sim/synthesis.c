/* synthesis.c -- parts of a synthetic layer: their factors, and what they give on the sample; see
 * synthesis.h. */
#include "synthesis.h"

#include <math.h>

#include "buffer.h"

enum { MEASURED_HEADS = 8 };

size_t synthesis_pair_row(const Rope *rope, size_t pair, size_t which) {
    return rope->interleaved ? 2 * pair + which : pair + which * (rope->dim / 2);
}

Status synthesis_fill(const Synthesis *s, const Part *part, uint64_t stream, double decay,
                      double blend, const float *gain, Error *err) {
    const Factor factor = { .seed = s->params->seed,
                            .stream = stream,
                            .decay = decay,
                            .axes = part->input->axes,
                            .axis_count = blend > 0 ? part->input->axis_count : 0,
                            .blend = blend,
                            .gain = gain };
    return factor_fill(&part->rows, &factor, err);
}

void synthesis_gains(const Synthesis *s, double power, size_t heads, size_t width, size_t first,
                     float *gain) {
    const Rope *rope = &s->model->rope;
    const size_t pairs = rope->dim / 2;
    for (size_t i = 0; i < heads * width; i++) gain[i] = 1;
    for (size_t pair = 0; pair < pairs; pair++) {
        const double f = pairs > 1 ? (double)pair / (double)(pairs - 1) : 0.5;
        const float value = (float)exp(power * s->params->frequency_gain * (f - 0.5));
        for (size_t h = 0; h < heads; h++)
            for (size_t which = 0; which < 2; which++)
                gain[h * width + first + synthesis_pair_row(rope, pair, which)] = value;
    }
}

void synthesis_add_constant(const Part *part, float *u) {
    const double square =
        (double)factor_dot(part->input->width, part->input->mean, part->input->mean);
    for (size_t i = 0; i < part->rows.count; i++) u[i] = (float)(u[i] / square);
    rows_add_outer(&part->rows, u, part->input->mean);
}

void measured_free(Measured *m) {
    buffer_free(m->key);
    buffer_free(m->query);
    buffer_free(m->value);
}

Status measured_new(Measured *m, const Synthesis *s, Error *err) {
    static const char what[] = "heads of the sample";
    const size_t heads = s->model->heads < MEASURED_HEADS ? s->model->heads : MEASURED_HEADS;
    *m = (Measured){ .tokens = MEASURED_TOKENS, .heads = heads };
    const size_t rows = m->heads * m->tokens;
    Status status = BUFFER(&m->key, rows * s->model->key_dim, what, err);
    if (status == OK) status = BUFFER(&m->query, rows * s->model->key_dim, what, err);
    if (status == OK) status = BUFFER(&m->value, rows * s->model->value_dim, what, err);
    return status;
}

size_t measured_head(const Synthesis *s, const Measured *m, size_t i) {
    return i * s->model->heads / m->heads;
}

/* The part's rows for query head h, into columns `at`.. of out [tokens, ld]. */
static void project(const Synthesis *s, const Part *part, size_t h, size_t tokens, size_t at,
                    float *out, size_t ld) {
    if (part->rows.count == 0) return;
    const size_t heads = part->rows.count / part->width;
    const size_t head = h / (s->model->heads / heads);
    rows_product(&part->rows, head * part->width, part->width, tokens, part->input->x, out + at,
                 ld);
}

static void head_norms(size_t heads, size_t tokens, size_t width, const float *weight, float *x) {
    for (size_t row = 0; row < heads * tokens; row++) {
        float *head = x + row * width;
        const double square = factor_dot(width, head, head) / (double)width;
        const float scale = (float)(1 / sqrt(square + 1e-6));
        for (size_t j = 0; j < width; j++) head[j] *= scale * weight[j];
    }
}

void measured_take(const Synthesis *s, Measured *m) {
    const size_t key_dim = s->model->key_dim, value_dim = s->model->value_dim;
    for (size_t i = 0; i < m->heads; i++) {
        const size_t h = measured_head(s, m, i), first = i * m->tokens;
        float *key = m->key + first * key_dim;
        project(s, &s->content, h, m->tokens, 0, key, key_dim);
        project(s, &s->rotary, h, m->tokens, s->query_rotary, key, key_dim);
        project(s, &s->query, h, m->tokens, 0, m->query + first * key_dim, key_dim);
        project(s, &s->value, h, m->tokens, 0, m->value + first * value_dim, value_dim);
    }
    if (s->model->qk_norm) {
        head_norms(m->heads, m->tokens, key_dim, s->weights->k_norm, m->key);
        head_norms(m->heads, m->tokens, key_dim, s->weights->q_norm, m->query);
    }
}

double measured_square(const Measured *m, size_t width, const float *x) {
    double sum = 0;
    for (size_t i = 0; i < m->heads; i++)
        for (size_t t = 1; t < m->tokens; t++) {
            const float *row = x + (i * m->tokens + t) * width;
            sum += (double)factor_dot(width, row, row);
        }
    return sum / (double)(m->heads * (m->tokens - 1));
}
