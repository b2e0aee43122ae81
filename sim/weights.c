/* weights.c -- the list of a layer's matrices, and their memory; see weights.h. */
#include "weights.h"

#include "buffer.h"

typedef struct {
    WeightShape *shape;
    size_t count;
} ShapeList;

static void add(ShapeList *list, const char *name, size_t rows, size_t cols, size_t offset) {
    list->shape[list->count++] = (WeightShape){ name, rows, cols, offset };
}

#define AT(member) offsetof(LayerWeights, member)

static void add_mla(ShapeList *list, const Model *m) {
    const size_t q_rows = m->heads * m->key_dim, latent = m->kv_lora_rank + m->rope_dim;
    if (m->q_lora_rank) {
        add(list, "q_a_proj.weight", m->q_lora_rank, m->hidden, AT(q_a));
        add(list, "q_a_layernorm.weight", m->q_lora_rank, 1, AT(q_a_norm));
        add(list, "q_b_proj.weight", q_rows, m->q_lora_rank, AT(q_b));
        if (m->attention_bias) add(list, "q_a_proj.bias", m->q_lora_rank, 1, AT(q_a_bias));
    } else {
        add(list, "q_proj.weight", q_rows, m->hidden, AT(q));
        if (m->attention_bias) add(list, "q_proj.bias", q_rows, 1, AT(q_bias));
    }
    add(list, "kv_a_proj_with_mqa.weight", latent, m->hidden, AT(kv_a));
    if (!m->plain_latent) add(list, "kv_a_layernorm.weight", m->kv_lora_rank, 1, AT(kv_a_norm));
    add(list, "kv_b_proj.weight", model_up_heads(m) * (m->nope_dim + m->value_dim), m->kv_lora_rank,
        AT(kv_b));
    if (m->attention_bias) add(list, "kv_a_proj_with_mqa.bias", latent, 1, AT(kv_a_bias));
}

static void add_heads(ShapeList *list, const Model *m) {
    const size_t q = m->heads * m->key_dim, k = m->kv_heads * m->key_dim;
    const size_t v = m->kv_heads * m->value_dim;
    add(list, "q_proj.weight", q, m->hidden, AT(q));
    add(list, "k_proj.weight", k, m->hidden, AT(k));
    add(list, "v_proj.weight", v, m->hidden, AT(v));
    if (m->attention_bias) {
        add(list, "q_proj.bias", q, 1, AT(q_bias));
        add(list, "k_proj.bias", k, 1, AT(k_bias));
        add(list, "v_proj.bias", v, 1, AT(v_bias));
    }
    if (m->qk_norm) {
        add(list, "q_norm.weight", m->key_dim, 1, AT(q_norm));
        add(list, "k_norm.weight", m->key_dim, 1, AT(k_norm));
    }
}

size_t weights_shapes(const Model *model, WeightShape shapes[WEIGHT_SHAPES_MOST]) {
    ShapeList list = { shapes, 0 };
    if (model->kind == ATTENTION_MLA)
        add_mla(&list, model);
    else
        add_heads(&list, model);
    add(&list, "o_proj.weight", model->hidden, model->heads * model->value_dim, AT(o));
    if (model->output_bias) add(&list, "o_proj.bias", model->hidden, 1, AT(o_bias));
    return list.count;
}

float **weights_at(LayerWeights *weights, const WeightShape *shape) {
    return (float **)(void *)((char *)weights + shape->offset);
}

/* Norm weights start at 1; every other vector is a bias. */
static bool is_norm(const WeightShape *shape) {
    return shape->offset == AT(q_a_norm) || shape->offset == AT(kv_a_norm) ||
           shape->offset == AT(q_norm) || shape->offset == AT(k_norm);
}

Status weights_alloc(LayerWeights *weights, const Model *model, Error *err) {
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    const size_t count = weights_shapes(model, shapes);
    LayerWeights made = { 0 };
    for (size_t i = 0; i < count; i++) {
        const size_t n = shapes[i].rows * shapes[i].cols;
        float **matrix = weights_at(&made, &shapes[i]);
        if (BUFFER(matrix, n, shapes[i].name, err) != OK) {
            weights_free(&made);
            return ERR_MACHINE;
        }
        for (size_t j = 0; is_norm(&shapes[i]) && j < n; j++) (*matrix)[j] = 1;
    }
    *weights = made;
    return OK;
}

void weights_free(LayerWeights *weights) {
    float *const all[] = { weights->q,         weights->k,      weights->v,
                           weights->o,         weights->q_a,    weights->q_a_norm,
                           weights->q_b,       weights->kv_a,   weights->kv_b,
                           weights->kv_a_norm, weights->q_bias, weights->k_bias,
                           weights->v_bias,    weights->o_bias, weights->q_a_bias,
                           weights->kv_a_bias, weights->q_norm, weights->k_norm };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) buffer_free(all[i]);
    *weights = (LayerWeights){ 0 };
}

size_t weights_bytes(const Model *model) {
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    const size_t count = weights_shapes(model, shapes);
    size_t elements = 0;
    for (size_t i = 0; i < count; i++) elements += shapes[i].rows * shapes[i].cols;
    return elements * sizeof(float);
}
