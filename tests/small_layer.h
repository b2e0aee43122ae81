/* small_layer.h -- layers small enough to check by hand, drawn at random, for the tests. */
#ifndef KVLAB_SMALL_LAYER_H
#define KVLAB_SMALL_LAYER_H

#include <criterion/criterion.h>
#include <math.h>

#include "random.h"
#include "weights.h"

typedef enum {
    SMALL_MHA,
    SMALL_GQA,       /* half-split RoPE on a part of each head, biases, norms of heads */
    SMALL_MQA,       /* interleaved */
    SMALL_MLA,       /* with q_lora_rank, interleaved, YaRN */
    SMALL_MLA_PLAIN, /* without, half-split, V narrower, biases */
    SMALL_COUNT
} SmallLayer;

static inline Model small_mla(size_t q_lora_rank, bool interleaved, size_t value_dim) {
    return (Model){ .kind = ATTENTION_MLA,
                    .layers = 1,
                    .hidden = 22,
                    .heads = 3,
                    .kv_heads = 3,
                    .key_dim = 5 + 6,
                    .value_dim = value_dim,
                    .q_lora_rank = q_lora_rank,
                    .kv_lora_rank = 13,
                    .nope_dim = 5,
                    .rope_dim = 6,
                    .rms_norm_eps = 1e-5,
                    .rope = { .theta = 100, .dim = 6, .interleaved = interleaved } };
}

static inline Model small_heads(AttentionKind kind, size_t heads, size_t kv_heads, size_t dim) {
    return (Model){ .kind = kind,
                    .layers = 1,
                    .hidden = 19,
                    .heads = heads,
                    .kv_heads = kv_heads,
                    .key_dim = dim,
                    .value_dim = dim,
                    .rope_dim = dim,
                    .rms_norm_eps = 1e-5,
                    .rope = { .theta = 100, .dim = dim } };
}

static inline Model small_model(SmallLayer which) {
    Model m;
    switch (which) {
    case SMALL_MHA:
        return small_heads(ATTENTION_MHA, 3, 3, 8);
    case SMALL_GQA:
        m = small_heads(ATTENTION_GQA, 6, 2, 10);
        m.rope_dim = m.rope.dim = 6;
        m.attention_bias = m.qk_norm = true;
        return m;
    case SMALL_MQA:
        m = small_heads(ATTENTION_MQA, 5, 1, 12);
        m.rope.interleaved = true;
        return m;
    case SMALL_MLA:
        m = small_mla(9, true, 7);
        m.rope.scaling = ROPE_YARN;
        m.rope.factor = 40;
        m.rope.beta_fast = 32;
        m.rope.beta_slow = 1;
        m.rope.mscale = m.rope.mscale_all_dim = 1;
        m.rope.original_tokens = 16;
        return m;
    default:
        m = small_mla(0, false, 4);
        m.attention_bias = true;
        return m;
    }
}

/* Normal numbers, scaled. */
static inline void small_fill(size_t n, uint64_t stream, double scale, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = (float)(scale * random_normal(11, stream, i));
}

/* Random weights of a size that keeps scores near 1 and the softmax far from flat. */
static inline LayerWeights small_weights(const Model *model) {
    Error err;
    LayerWeights weights;
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    cr_assert_eq(weights_alloc(&weights, model, &err), OK);
    const size_t count = weights_shapes(model, shapes);
    for (size_t i = 0; i < count; i++) {
        float *w = *weights_at(&weights, &shapes[i]);
        const size_t n = shapes[i].rows * shapes[i].cols;
        if (shapes[i].cols > 1) {
            small_fill(n, i, 1.3 / sqrt((double)shapes[i].cols), w);
        } else {
            small_fill(n, i, 0.3, w);
            for (size_t j = 0; j < n; j++) w[j] += 1; /* norms near 1; a bias may be anything */
        }
    }
    return weights;
}

#endif
