/* align.c -- heads turned towards each other before they are pooled (arXiv 2412.20677).
 *
 * What a head may be turned by without any change of the layer: its values by an orthogonal R (v R,
 * undone in W_O), and each pair of its key channels by a phase (undone in the query), since a phase
 * is what commutes with RoPE. Generalised Procrustes: in turn, the target is the mean of the turned
 * heads, and each head is turned to the target as nearly as can be. All of it needs second moments
 * alone: v_i^T target is the mean over j of (v_i^T v_j) R_j.
 *
 * Key channels beyond the rotated ones would take any rotation; they are left as they are. */
#include <math.h>
#include <string.h>

#include "blas.h"
#include "buffer.h"
#include "convert.h"

enum { ROUNDS = 30 };

typedef struct {
    const ConvertSource *source;
    size_t heads, share; /* key/value heads of the layer, and of one group */
    size_t pairs;
    double *turns;     /* [heads, pairs, 2] */
    double *rotations; /* [heads, V, V] */
} Alignment;

/* Channel of a part of a pair of a key head. */
static size_t channel(const Model *m, size_t head, size_t pair, size_t part) {
    return head * m->key_dim +
           (m->rope.interleaved ? 2 * pair + part : pair + part * (m->rope.dim / 2));
}

/* The phase of head i at a pair: that of sum_j conj(z_i) z_j turn_j over its group. */
static void turn_key(Alignment *a, size_t i, size_t pair) {
    const Model *m = a->source->layer;
    const Moments *moments = &a->source->statistics->kv;
    const size_t first = i / a->share * a->share;
    const double *x = moments->sum + channel(m, i, pair, 0) * moments->n;
    const double *y = moments->sum + channel(m, i, pair, 1) * moments->n;
    double re = 0, im = 0;
    for (size_t j = first; j < first + a->share; j++) {
        const size_t jx = channel(m, j, pair, 0), jy = channel(m, j, pair, 1);
        const double *turn = a->turns + 2 * (j * a->pairs + pair);
        const double product_re = x[jx] + y[jy], product_im = x[jy] - y[jx];
        re += product_re * turn[0] - product_im * turn[1];
        im += product_re * turn[1] + product_im * turn[0];
    }
    const double size = hypot(re, im);
    if (size == 0) return;
    a->turns[2 * (i * a->pairs + pair)] = re / size;
    a->turns[2 * (i * a->pairs + pair) + 1] = im / size;
}

/* The rotation of head i: the polar factor of v_i^T target. */
static Status turn_value(Alignment *a, size_t i, double *target, Error *err) {
    const Model *m = a->source->layer;
    const Moments *moments = &a->source->statistics->kv;
    const size_t width = m->value_dim, first = i / a->share * a->share;
    const size_t values = a->source->statistics->key_width;
    for (size_t j = first; j < first + a->share; j++)
        blas_gemm_f64(0, 0, width, width, width, 1,
                      moments->sum + (values + i * width) * moments->n + values + j * width,
                      moments->n, a->rotations + j * width * width, width, j > first, target,
                      width);
    const int info = blas_polar(width, target);
    if (info) return fail(err, ERR_MACHINE, "aligning value heads: LAPACK %d", info);
    memcpy(a->rotations + i * width * width, target, width * width * sizeof *target);
    return OK;
}

static Status align(Alignment *a, Error *err) {
    const size_t width = a->source->layer->value_dim;
    double *target = NULL;
    TRY(BUFFER(&target, width * width, "an alignment", err));
    for (size_t i = 0; i < a->heads * a->pairs; i++) a->turns[2 * i] = 1;
    for (size_t h = 0; h < a->heads; h++)
        for (size_t i = 0; i < width; i++) a->rotations[(h * width + i) * width + i] = 1;
    Status status = OK;
    for (size_t round = 0; round < ROUNDS && a->share > 1; round++)
        for (size_t h = 0; h < a->heads && status == OK; h++) {
            for (size_t pair = 0; pair < a->pairs; pair++) turn_key(a, h, pair);
            status = turn_value(a, h, target, err);
        }
    buffer_free(target);
    return status;
}

/* Rows of a head's pairs times its turns: z <- turn z, for weights [.., cols] or a bias, cols 1. */
static void turn_rows(const Alignment *a, size_t held, size_t head, size_t cols, float *rows) {
    const Model *m = a->source->layer;
    for (size_t pair = 0; pair < a->pairs; pair++) {
        const double *turn = a->turns + 2 * (held * a->pairs + pair);
        float *x = rows + channel(m, head, pair, 0) * cols;
        float *y = rows + channel(m, head, pair, 1) * cols;
        for (size_t c = 0; c < cols; c++) {
            const double re = x[c], im = y[c];
            x[c] = (float)(turn[0] * re - turn[1] * im);
            y[c] = (float)(turn[1] * re + turn[0] * im);
        }
    }
}

/* A layer with all heads turned, before pooling: of the same shape and the same outputs. */
static Status turn_layer(const Alignment *a, LayerWeights *w, Error *err) {
    const Model *m = a->source->layer;
    const size_t width = m->value_dim, group = m->heads / m->kv_heads, row = m->heads * width;
    const LayerWeights *from = a->source->weights;
    float *rotation = NULL;
    TRY(BUFFER(&rotation, width * width, "a rotation", err));
    for (size_t g = 0; g < m->kv_heads; g++) {
        const size_t value = g * width;
        for (size_t i = 0; i < width * width; i++)
            rotation[i] = (float)a->rotations[g * width * width + i];
        turn_rows(a, g, g, m->hidden, w->k);
        if (w->k_bias) turn_rows(a, g, g, 1, w->k_bias);
        blas_gemm(1, 0, width, m->hidden, width, 1, rotation, width, from->v + value * m->hidden,
                  m->hidden, 0, w->v + value * m->hidden, m->hidden);
        if (w->v_bias)
            blas_gemm(1, 0, width, 1, width, 1, rotation, width, from->v_bias + value, 1, 0,
                      w->v_bias + value, 1);
        for (size_t h = g * group; h < (g + 1) * group; h++) {
            turn_rows(a, g, h, m->hidden, w->q);
            if (w->q_bias) turn_rows(a, g, h, 1, w->q_bias);
            blas_gemm(0, 0, m->hidden, width, width, 1, from->o + h * width, row, rotation, width,
                      0, w->o + h * width, row);
        }
    }
    buffer_free(rotation);
    return OK;
}

static Status copy_layer(const ConvertSource *source, Conversion *out, Error *err) {
    Recipe recipe = { .kind = RECIPE_COPY, .gamma = NAN, .model = *source->layer };
    return convert_layer(out, &recipe, source, err);
}

Status convert_aligned(Conversion *out, const ConvertSource *source, Error *err) {
    const Model *m = source->layer;
    Alignment a = { .source = source,
                    .heads = m->kv_heads,
                    .share = m->kv_heads / out->model.kv_heads,
                    .pairs = m->rope.dim / 2 };
    Conversion turned = { .loss = NAN };
    TRY(BUFFER(&out->key_turns, 2 * a.heads * a.pairs, "turns of keys", err));
    TRY(BUFFER(&out->value_turns, a.heads * m->value_dim * m->value_dim, "turns of values", err));
    a.turns = out->key_turns;
    a.rotations = out->value_turns;
    TRY(align(&a, err));
    TRY(copy_layer(source, &turned, err));
    Status status = turn_layer(&a, &turned.weights, err);
    if (status == OK) {
        ConvertSource pooled = *source;
        pooled.weights = &turned.weights;
        status = convert_pool(out, &pooled, err);
    }
    convert_free(&turned);
    return status;
}
