/* Layers out of real tensors: checkpoints with hidden states, and keys, values and queries as they
 * were dumped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conversions.h"
#include "real_layer.h"

static char folder[] = "/tmp/kvlab-real-XXXXXX";

static void setup(void) {
    cr_assert_not_null(mkdtemp(folder));
}

static void teardown(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

static void path_of(char *path, const char *name) {
    snprintf(path, TENSOR_PATH, "%s/%s", folder, name);
}

static Tensor tensor(const char *name, const float *data, size_t a, size_t b, size_t c) {
    Tensor t = { .name = name,
                 .type = TENSOR_F32,
                 .elements = a * (b ? b : 1) * (c ? c : 1),
                 .rank = 1 + (b > 0) + (c > 0),
                 .shape = { a, b, c },
                 .data = data };
    return t;
}

static void write_file(const char *name, size_t count, const Tensor *tensors) {
    char path[TENSOR_PATH];
    Error err;
    path_of(path, name);
    cr_assert_eq(safetensors_write(path, count, tensors, 0, NULL, &err), OK, "%s", err.text);
}

/* A checkpoint of two layers; layer 1 has the given weights, layer 0 others. */
static void write_checkpoint(const Model *m, const LayerWeights *weights, const float *norm) {
    enum { MOST = 2 * WEIGHT_SHAPES_MOST + 2 };
    static char names[MOST][96];
    Tensor tensors[MOST];
    LayerWeights other = random_weights(m, 77), all = *weights;
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    const size_t count = weights_shapes(m, shapes);
    size_t n = 0;
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < count; i++, n++) {
            snprintf(names[n], sizeof names[n], "model.layers.%zu.self_attn.%s", l, shapes[i].name);
            tensors[n] = tensor(names[n], *weights_at(l ? &all : &other, &shapes[i]),
                                shapes[i].rows, shapes[i].cols == 1 ? 0 : shapes[i].cols, 0);
        }
    tensors[n++] = tensor("model.layers.1.input_layernorm.weight", norm, HIDDEN, 0, 0);
    write_file("model.safetensors", n, tensors);
    weights_free(&other);
}

TestSuite(real_layer, .init = setup, .fini = teardown);

Test(real_layer, a_layer_of_a_checkpoint_with_its_row_of_hidden_states) {
    const Model m = teacher_model(2, false);
    LayerWeights w = random_weights(&m, 5);
    static float x[2 * TOKENS * HIDDEN], text[TOKENS * HIDDEN], norm[HIDDEN];
    for (size_t i = 0; i < HIDDEN; i++) norm[i] = 1 + (float)i / HIDDEN;
    random_text(1, 2 * TOKENS, x);
    write_checkpoint(&m, &w, norm);
    const Tensor states = tensor("hidden_states", x, 2, TOKENS, HIDDEN);
    write_file("states.safetensors", 1, &states);
    TensorParams p = { .raw = false };
    RealLayer *layer;
    Error err;
    snprintf(p.weights, sizeof p.weights, "%s", folder);
    path_of(p.hidden_states, "states.safetensors");
    cr_assert_eq(real_layer_open(&layer, &p, &m, 1, &err), OK, "%s", err.text);
    cr_assert_eq(real_layer_tokens(layer), TOKENS);
    cr_assert(real_layer_asks(layer) && real_layer_projects(layer));
    cr_assert_eq(memcmp(real_layer_weights(layer)->v, w.v, 2 * DIM * HIDDEN * sizeof(float)), 0);
    cr_assert_eq(real_layer_text(layer, false, 3, TOKENS - 3, text, &err), OK);
    cr_assert_eq(memcmp(text, x + (TOKENS + 3) * HIDDEN, (TOKENS - 3) * HIDDEN * sizeof *x), 0);
    real_layer_close(layer);

    p.raw = true; /* RMSNorm before the layer */
    cr_assert_eq(real_layer_open(&layer, &p, &m, 1, &err), OK, "%s", err.text);
    cr_assert_eq(real_layer_text(layer, false, 0, 1, text, &err), OK);
    double squares = 0;
    for (size_t i = 0; i < HIDDEN; i++)
        squares += (double)x[TOKENS * HIDDEN + i] * x[TOKENS * HIDDEN + i];
    for (size_t i = 0; i < HIDDEN; i++)
        cr_assert_float_eq(text[i],
                           x[TOKENS * HIDDEN + i] / sqrt(squares / HIDDEN + 1e-6) * norm[i], 1e-5);
    real_layer_close(layer);
    cr_assert_eq(real_layer_open(&layer, &p, &m, 0, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "input_layernorm.weight of layer 0"), "%s", err.text);
    weights_free(&w);
}

/* Keys, values and queries of the reference, as a dump. */
static void write_dump(const Reference *r, bool rotated) {
    const size_t q = r->tokens * r->heads * DIM, k = r->tokens * r->kv_heads * DIM;
    float *buffer = malloc((q + 2 * k) * sizeof *buffer);
    for (size_t i = 0; i < q; i++) buffer[i] = (float)r->q[i];
    for (size_t i = 0; i < k; i++) {
        buffer[q + i] = (float)(rotated ? r->k[i] : r->k_pre[i]);
        buffer[q + k + i] = (float)r->v[i];
    }
    const Tensor queries = tensor("queries", buffer, r->tokens, r->heads, DIM);
    const Tensor keys = tensor("anything", buffer + q, r->tokens, r->kv_heads * DIM, 0);
    const Tensor values = tensor("layers.4.values", buffer + q + k, r->tokens, r->kv_heads, DIM);
    write_file("q.safetensors", 1, &queries);
    write_file("k.safetensors", 1, &keys);
    write_file("v.safetensors", 1, &values);
    free(buffer);
}

Test(real_layer, dumped_keys_values_and_queries_attend_as_the_layer_did) {
    const Model m = teacher_model(2, true);
    LayerWeights w = random_weights(&m, 5);
    static float x[TOKENS * HIDDEN];
    Reference exact, other;
    TensorParams p = { .rotated = true };
    RealLayer *layer;
    Error err;
    random_text(1, TOKENS, x);
    cr_assert_eq(reference_run(&exact, &m, &w, TOKENS, x, &err), OK);
    write_dump(&exact, true);
    path_of(p.keys, "k.safetensors");
    path_of(p.values, "v.safetensors");
    path_of(p.queries, "q.safetensors");
    cr_assert_eq(real_layer_open(&layer, &p, &m, 4, &err), OK, "%s", err.text);
    cr_assert(real_layer_asks(layer) && !real_layer_projects(layer));
    const Model *made = real_layer_model(layer);
    float *text = malloc(TOKENS * made->hidden * sizeof *text);
    cr_assert_eq(real_layer_text(layer, false, 0, TOKENS, text, &err), OK);
    cr_assert_eq(reference_run(&other, made, real_layer_weights(layer), TOKENS, text, &err), OK);
    const size_t width = HEADS * DIM;
    for (size_t i = 0; i < TOKENS * width; i++) {
        cr_assert_float_eq(other.out[i], exact.out[i], 1e-4);
        cr_assert_float_eq(other.y[i / width * made->hidden + i % width], exact.out[i], 1e-4);
    }
    for (size_t i = 0; i < TOKENS * 2 * DIM; i++)
        cr_assert_float_eq(other.k_pre[i], exact.k_pre[i], 1e-4);
    reference_free(&other);
    real_layer_close(layer);
    p.queries[0] = '\0';
    cr_assert_eq(real_layer_open(&layer, &p, &m, 4, &err), OK, "%s", err.text);
    cr_assert(!real_layer_asks(layer));
    real_layer_close(layer);
    reference_free(&exact);
    free(text);
    weights_free(&w);
}

static void refused(const TensorParams *p, const Model *m, const char *why) {
    RealLayer *layer = NULL;
    Error err;
    cr_assert_eq(real_layer_open(&layer, p, m, 0, &err), ERR_INPUT, "%s", why);
    cr_assert(strstr(err.text, why), "%s", err.text);
    cr_assert_null(layer);
}

Test(real_layer, files_that_do_not_go_together_are_refused) {
    const Model m = teacher_model(2, false);
    static float x[64 * HIDDEN];
    const Tensor keys = tensor("keys", x, 10, 2, DIM), values = tensor("values", x, 9, 2, DIM);
    const Tensor narrow = tensor("keys", x, 10, 2, DIM - 1);
    TensorParams p = { .raw = false };
    refused(&p, &m, "tensors.weights is missing");
    write_file("keys.safetensors", 1, &keys);
    write_file("values.safetensors", 1, &values);
    write_file("narrow.safetensors", 1, &narrow);
    path_of(p.keys, "keys.safetensors");
    refused(&p, &m, "tensors.values is missing");
    path_of(p.values, "values.safetensors");
    refused(&p, &m, "keys of 10 tokens, values of 9");
    path_of(p.keys, "narrow.safetensors");
    refused(&p, &m, "shape [10, 2, 15]; [tokens, 2, 16] or [tokens, 32]");
    path_of(p.weights, "keys.safetensors");
    refused(&p, &m, "cannot be given beside");
    TensorParams w = { .raw = false };
    path_of(w.weights, "keys.safetensors");
    refused(&w, &m, "tensors.hidden_states is missing");
    path_of(w.hidden_states, "keys.safetensors");
    refused(&w, &m, "no tensor self_attn.q_proj.weight of layer 0");
}

Test(real_layer, a_value_that_is_no_number_is_refused_with_its_place) {
    const Model m = teacher_model(1, false);
    static float x[8 * DIM];
    x[3 * DIM + 1] = NAN;
    const Tensor rows = tensor("keys", x, 8, DIM, 0);
    write_file("rows.safetensors", 1, &rows);
    TensorParams p = { .raw = false };
    RealLayer *layer;
    Error err;
    path_of(p.keys, "rows.safetensors");
    path_of(p.values, "rows.safetensors");
    cr_assert_eq(real_layer_open(&layer, &p, &m, 0, &err), OK, "%s", err.text);
    static float text[8 * (HEADS + 2) * DIM];
    cr_assert_eq(real_layer_text(layer, false, 2, 6, text, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "value 17 is nan"), "%s", err.text);
    real_layer_close(layer);
}
