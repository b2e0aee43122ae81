/* real_layer.c -- finds, checks and reads the tensors of a layer; see real_layer.h. */
#include "real_layer.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "buffer.h"

enum { NAME_ROOM = 128, SHAPE_ROOM = 160 };

/* Rows of one tensor: of each token `width` values. */
typedef struct {
    Checkpoint *file;
    Tensor tensor; /* of this layer: [tokens, width] */
    size_t tokens, width;
} RowsOf;

struct RealLayer {
    Model model;
    LayerWeights weights;
    const TensorParams *params;
    RowsOf text, calibration;     /* hidden states */
    RowsOf queries, keys, values; /* or these */
    float *input_norm;            /* [D], where hidden states are raw */
    bool given;                   /* keys and values, not weights */
};

bool tensors_given(const TensorParams *params) {
    return params->weights[0] || params->hidden_states[0] || params->calibration[0] ||
           params->keys[0] || params->values[0] || params->queries[0];
}

/* ---- finding ---- */

static const Tensor *find(const Checkpoint *file, size_t number, const char *name) {
    char full[2 * NAME_ROOM];
    snprintf(full, sizeof full, "model.layers.%zu.%s", number, name);
    const Tensor *tensor = checkpoint_find(file, full);
    if (!tensor) tensor = checkpoint_find(file, full + strlen("model."));
    return tensor ? tensor : checkpoint_find(file, name);
}

static void format_shape(const Tensor *t, char text[SHAPE_ROOM]) {
    size_t used = (size_t)snprintf(text, SHAPE_ROOM, "[");
    for (size_t i = 0; i < t->rank; i++)
        used +=
            (size_t)snprintf(text + used, SHAPE_ROOM - used, "%s%zu", i ? ", " : "", t->shape[i]);
    snprintf(text + used, SHAPE_ROOM - used, "]");
}

static Status wrong_shape(const Checkpoint *file, const Tensor *t, const char *wanted, Error *err) {
    char shape[SHAPE_ROOM];
    format_shape(t, shape);
    return fail_at(err, checkpoint_path(file), 0, 0, "%.120s: shape %s; %s is wanted", t->name,
                   shape, wanted);
}

/* The rows of a layer in a tensor of [tokens, width], [tokens, heads, width / heads], either with
 * layers before it. heads 1: rows are not split. */
static Status take_rows(RowsOf *rows, const Tensor *t, size_t number, size_t heads, size_t width,
                        Error *err) {
    size_t last = 1; /* dimensions of a row */
    if (t->rank >= 2 && heads > 1 && t->shape[t->rank - 1] == width / heads &&
        t->shape[t->rank - 2] == heads)
        last = 2;
    char wanted[NAME_ROOM];
    if (heads > 1)
        snprintf(wanted, sizeof wanted, "[tokens, %zu, %zu] or [tokens, %zu], layers before it",
                 heads, width / heads, width);
    else
        snprintf(wanted, sizeof wanted, "[tokens, %zu] or [layers, tokens, %zu]", width, width);
    const bool fits = last == 2 || (t->rank >= 1 && t->shape[t->rank - 1] == width);
    if (!fits || t->rank < last + 1 || t->rank > last + 2 || t->elements == 0)
        return wrong_shape(rows->file, t, wanted, err);
    const size_t layers = t->rank == last + 2 ? t->shape[0] : 1;
    const size_t tokens = t->elements / layers / width;
    if (layers > 1 && number >= layers)
        return fail_at(err, checkpoint_path(rows->file), 0, 0,
                       "%.120s holds %zu layers; there is no layer %zu", t->name, layers, number);
    rows->tokens = tokens;
    rows->width = width;
    rows->tensor = tensor_slice(t, layers > 1 ? number * tokens * width : 0, tokens * width);
    return OK;
}

static Status open_rows(RowsOf *rows, const char *path, const char *name, size_t number,
                        size_t heads, size_t width, Error *err) {
    if (!path[0]) return OK;
    TRY(checkpoint_open(&rows->file, path, err));
    const Tensor *t = find(rows->file, number, name);
    if (!t) t = checkpoint_only(rows->file);
    if (!t) return fail_at(err, path, 0, 0, "no tensor %s of layer %zu", name, number);
    return take_rows(rows, t, number, heads, width, err);
}

/* ---- reading ---- */

static Status check_finite(const char *path, const char *name, size_t n, const float *x,
                           Error *err) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return fail_at(err, path, 0, 0,
                           "%.120s: value %zu is %g; only finite float values are allowed", name, i,
                           (double)x[i]);
    return OK;
}

static Status read_weight(const Checkpoint *file, const Tensor *t, const WeightShape *shape,
                          float *out, Error *err) {
    char wanted[NAME_ROOM];
    const size_t rank = shape->cols == 1 ? 1 : 2;
    if (t->rank != rank || t->shape[0] != shape->rows ||
        (rank == 2 && t->shape[1] != shape->cols)) {
        snprintf(wanted, sizeof wanted, rank == 1 ? "[%zu]" : "[%zu, %zu]", shape->rows,
                 shape->cols);
        return wrong_shape(file, t, wanted, err);
    }
    tensor_read(t, out);
    return check_finite(checkpoint_path(file), t->name, t->elements, out, err);
}

static bool is_bias(const char *name) {
    return strlen(name) > 5 && strcmp(name + strlen(name) - 5, ".bias") == 0;
}

/* What the config does not say the tensors do: biases, norms of heads. */
static void adopt_extras(RealLayer *l, const Checkpoint *file, size_t number) {
    Model *m = &l->model;
    m->attention_bias = find(file, number, "self_attn.q_proj.bias") ||
                        find(file, number, "self_attn.k_proj.bias") ||
                        find(file, number, "self_attn.kv_a_proj_with_mqa.bias");
    m->output_bias = find(file, number, "self_attn.o_proj.bias") != NULL;
    if (m->kind != ATTENTION_MLA)
        m->qk_norm = find(file, number, "self_attn.q_norm.weight") != NULL;
}

static Status read_weights(RealLayer *l, const Checkpoint *file, size_t number, Error *err) {
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    adopt_extras(l, file, number);
    TRY(weights_alloc(&l->weights, &l->model, err));
    const size_t count = weights_shapes(&l->model, shapes);
    for (size_t i = 0; i < count; i++) {
        char name[NAME_ROOM];
        snprintf(name, sizeof name, "self_attn.%s", shapes[i].name);
        const Tensor *t = find(file, number, name);
        if (!t && is_bias(name)) continue; /* zero */
        if (!t)
            return fail_at(err, checkpoint_path(file), 0, 0, "no tensor %s of layer %zu", name,
                           number);
        TRY(read_weight(file, t, &shapes[i], *weights_at(&l->weights, &shapes[i]), err));
    }
    if (!l->params->raw) return OK;
    const WeightShape norm = { .name = "input_layernorm.weight",
                               .rows = l->model.hidden,
                               .cols = 1 };
    const Tensor *t = find(file, number, norm.name);
    if (!t)
        return fail_at(err, checkpoint_path(file), 0, 0,
                       "no tensor %s of layer %zu, which raw hidden states need", norm.name,
                       number);
    TRY(BUFFER(&l->input_norm, l->model.hidden, "the input norm", err));
    return read_weight(file, t, &norm, l->input_norm, err);
}

/* ---- given keys and values ---- */

/* Row `row + i` of w [.., cols] picks column `column + i`. */
static void pick(float *w, size_t cols, size_t count, size_t column) {
    for (size_t i = 0; i < count; i++) w[i * cols + column + i] = 1;
}

static Status make_picking_layer(RealLayer *l, Error *err) {
    Model *m = &l->model;
    const size_t q = m->heads * m->key_dim, k = m->kv_heads * m->key_dim;
    const size_t v = m->kv_heads * m->value_dim, out = m->heads * m->value_dim;
    m->hidden = q + k + v > out ? q + k + v : out;
    m->attention_bias = m->output_bias = m->qk_norm = false;
    TRY(weights_alloc(&l->weights, m, err));
    pick(l->weights.q, m->hidden, q, 0);
    pick(l->weights.k, m->hidden, k, q);
    pick(l->weights.v, m->hidden, v, q + k);
    pick(l->weights.o, out, out, 0);
    return OK;
}

static Status open_given(RealLayer *l, size_t number, Error *err) {
    const TensorParams *p = l->params;
    const Model *m = &l->model;
    if (m->kind == ATTENTION_MLA)
        return fail(err, ERR_INPUT, "tensors.keys are of heads; %s is MLA", m->name);
    TRY(open_rows(&l->keys, p->keys, "keys", number, m->kv_heads, m->kv_heads * m->key_dim, err));
    TRY(open_rows(&l->values, p->values, "values", number, m->kv_heads, m->kv_heads * m->value_dim,
                  err));
    TRY(open_rows(&l->queries, p->queries, "queries", number, m->heads, m->heads * m->key_dim,
                  err));
    if (l->values.tokens != l->keys.tokens ||
        (l->queries.file && l->queries.tokens != l->keys.tokens))
        return fail(err, ERR_INPUT, "keys of %zu tokens, values of %zu%s: not of the same text",
                    l->keys.tokens, l->values.tokens, l->queries.file ? ", or queries" : "");
    return make_picking_layer(l, err);
}

static Status open_weights(RealLayer *l, size_t number, Error *err) {
    const TensorParams *p = l->params;
    Checkpoint *file = NULL;
    TRY(checkpoint_open(&file, p->weights, err));
    Status status = read_weights(l, file, number, err);
    checkpoint_close(file);
    TRY(status);
    TRY(open_rows(&l->text, p->hidden_states, "hidden_states", number, 1, l->model.hidden, err));
    return open_rows(&l->calibration, p->calibration, "hidden_states", number, 1, l->model.hidden,
                     err);
}

Status real_layer_check(const TensorParams *p, Error *err) {
    const bool given = p->keys[0] || p->values[0] || p->queries[0];
    if (given && (p->weights[0] || p->hidden_states[0] || p->calibration[0]))
        return fail(err, ERR_INPUT,
                    "tensors.keys, values and queries stand for a whole layer; weights and hidden "
                    "states cannot be given beside them");
    if (given && (!p->keys[0] || !p->values[0]))
        return fail(err, ERR_INPUT, "tensors.%s is missing", p->keys[0] ? "values" : "keys");
    if (!given && !p->weights[0]) return fail(err, ERR_INPUT, "tensors.weights is missing");
    if (!given && !p->hidden_states[0])
        return fail(err, ERR_INPUT, "tensors.hidden_states is missing");
    return OK;
}

Status real_layer_open(RealLayer **layer, const TensorParams *params, const Model *model,
                       size_t number, Error *err) {
    RealLayer *draft;
    TRY(real_layer_check(params, err));
    TRY(BUFFER(&draft, 1, "a layer", err));
    draft->model = *model;
    draft->params = params;
    draft->given = params->keys[0];
    const Status status =
        draft->given ? open_given(draft, number, err) : open_weights(draft, number, err);
    if (status == OK)
        *layer = draft;
    else
        real_layer_close(draft);
    return status;
}

void real_layer_close(RealLayer *layer) {
    if (!layer) return;
    RowsOf *const rows[] = { &layer->text, &layer->calibration, &layer->queries, &layer->keys,
                             &layer->values };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) checkpoint_close(rows[i]->file);
    weights_free(&layer->weights);
    buffer_free(layer->input_norm);
    buffer_free(layer);
}

const Model *real_layer_model(const RealLayer *layer) {
    return &layer->model;
}

const LayerWeights *real_layer_weights(const RealLayer *layer) {
    return &layer->weights;
}

bool real_layer_asks(const RealLayer *layer) {
    return !layer->given || layer->queries.file;
}

bool real_layer_projects(const RealLayer *layer) {
    return !layer->given;
}

size_t real_layer_tokens(const RealLayer *layer) {
    return layer->given ? layer->keys.tokens : layer->text.tokens;
}

size_t real_layer_calibration_tokens(const RealLayer *layer) {
    return layer->calibration.tokens;
}

/* ---- text ---- */

/* Rows first .. of a tensor into columns column .. of x [tokens, ld]; slab [tokens, width]. */
static Status read_rows(const RowsOf *rows, size_t first, size_t tokens, size_t column, size_t ld,
                        float *x, Error *err) {
    float *slab = NULL;
    if (!rows->file) return OK;
    TRY(BUFFER(&slab, tokens * rows->width, "rows of a tensor", err));
    const Tensor part = tensor_slice(&rows->tensor, first * rows->width, tokens * rows->width);
    tensor_read(&part, slab);
    const Status status = check_finite(checkpoint_path(rows->file), rows->tensor.name,
                                       tokens * rows->width, slab, err);
    for (size_t t = 0; t < tokens; t++)
        memcpy(x + t * ld + column, slab + t * rows->width, rows->width * sizeof *x);
    buffer_free(slab);
    return status;
}

/* Turns rotated heads in columns column .. back; token t is at position first + t. */
static Status turn_back(const Model *m, size_t heads, size_t first, size_t tokens, size_t column,
                        float *x, Error *err) {
    const size_t pairs = m->rope.dim / 2;
    float *table = NULL;
    TRY(BUFFER(&table, tokens * pairs * 2, "RoPE table", err));
    rope_table(&m->rope, first, tokens, table);
    const double amplitude = rope_amplitude(&m->rope);
    const float undo = (float)(1 / (amplitude * amplitude));
    for (size_t i = 0; i < tokens * pairs; i++) {
        table[2 * i] *= undo;
        table[2 * i + 1] *= -undo;
    }
    for (size_t t = 0; t < tokens; t++)
        for (size_t h = 0; h < heads && pairs; h++)
            rope_rotate(&m->rope, table + t * pairs * 2,
                        x + t * m->hidden + column + h * m->key_dim);
    buffer_free(table);
    return OK;
}

static Status given_text(const RealLayer *l, size_t first, size_t tokens, float *x, Error *err) {
    const Model *m = &l->model;
    const size_t q = m->heads * m->key_dim, k = m->kv_heads * m->key_dim;
    memset(x, 0, tokens * m->hidden * sizeof *x);
    TRY(read_rows(&l->queries, first, tokens, 0, m->hidden, x, err));
    TRY(read_rows(&l->keys, first, tokens, q, m->hidden, x, err));
    TRY(read_rows(&l->values, first, tokens, q + k, m->hidden, x, err));
    if (!l->params->rotated) return OK;
    TRY(turn_back(m, m->heads, first, tokens, 0, x, err));
    return turn_back(m, m->kv_heads, first, tokens, q, x, err);
}

/* The layer's input norm: RMSNorm with the model's eps. */
static void normalise(const RealLayer *l, size_t tokens, float *x) {
    const size_t hidden = l->model.hidden;
#pragma omp parallel for
    for (size_t t = 0; t < tokens; t++) {
        double squares = 0;
        for (size_t i = 0; i < hidden; i++)
            squares += (double)x[t * hidden + i] * x[t * hidden + i];
        const double factor = 1 / sqrt(squares / (double)hidden + l->model.rms_norm_eps);
        for (size_t i = 0; i < hidden; i++)
            x[t * hidden + i] = (float)(x[t * hidden + i] * factor * l->input_norm[i]);
    }
}

Status real_layer_text(const RealLayer *layer, bool calibration, size_t first, size_t tokens,
                       float *x, Error *err) {
    if (layer->given) return given_text(layer, first, tokens, x, err);
    const RowsOf *rows = calibration ? &layer->calibration : &layer->text;
    TRY(read_rows(rows, first, tokens, 0, layer->model.hidden, x, err));
    if (layer->input_norm) normalise(layer, tokens, x);
    return OK;
}
