/* architectures.h -- whole models made by hand, for tests of what is planned from them: their
 * shapes are those of published models, and no file is read. */
#ifndef KVLAB_TESTS_ARCHITECTURES_H
#define KVLAB_TESTS_ARCHITECTURES_H

#include <stdio.h>
#include <string.h>

#include "architecture.h"

static inline Architecture architecture_named(const char *name, size_t layers, size_t hidden,
                                              size_t heads) {
    Architecture a = { .layers = layers, .hidden = hidden, .heads = heads, .vocabulary = 128000 };
    snprintf(a.name, sizeof a.name, "%s", name);
    memset(a.layer_kind, NO_CACHE, sizeof a.layer_kind);
    for (size_t i = 0; i < layers; i++) a.layer_mlp[i] = MLP_DENSE;
    for (int p = 0; p < WEIGHT_PARTS; p++) a.weight_bits[p] = 16;
    return a;
}

/* Every `step`-th layer from `first` on has a cache of this kind. */
static inline void architecture_add(Architecture *a, CacheKind kind, size_t first, size_t step) {
    kind.row_tokens = 1;
    for (size_t i = first; i < a->layers; i += step) {
        if (a->layer_kind[i] != NO_CACHE) a->kind[a->layer_kind[i]].layers--;
        a->layer_kind[i] = (uint8_t)a->kind_count;
        a->layer_caches[i] = 1;
        kind.layers++;
    }
    a->kind[a->kind_count++] = kind;
}

static inline CacheKind kind_heads(size_t heads, size_t kv_heads, size_t dim) {
    return (CacheKind){
        .keeps = KEEPS_HEADS, .heads = heads, .kv_heads = kv_heads, .key_dim = dim, .value_dim = dim
    };
}

static inline CacheKind kind_window(size_t heads, size_t kv_heads, size_t dim, size_t window) {
    CacheKind kind = kind_heads(heads, kv_heads, dim);
    kind.reach = REACH_WINDOW;
    kind.window = window;
    return kind;
}

static inline CacheKind kind_latent(size_t heads, size_t c, size_t r, size_t p, size_t v) {
    return (CacheKind){ .keeps = KEEPS_LATENT,
                        .heads = heads,
                        .kv_lora_rank = c,
                        .rope_dim = r,
                        .nope_dim = p,
                        .mla_value_dim = v };
}

/* A model whose layers are all alike. */
static inline Architecture architecture_alike(const char *name, size_t layers, CacheKind kind) {
    Architecture a = architecture_named(name, layers, 4096, kind.heads);
    architecture_add(&a, kind, 0, 1);
    return a;
}

static inline Architecture deepseek_v3(void) {
    Architecture a = architecture_alike("DeepSeek-V3", 61, kind_latent(128, 512, 64, 128, 128));
    a.hidden = 7168;
    a.kind[0].q_lora_rank = 1536;
    a.kind[0].parameters = 187.1e6;
    for (size_t i = 3; i < 61; i++) a.layer_mlp[i] = MLP_EXPERTS;
    a.dense_intermediate = 18432;
    a.expert_intermediate = 2048;
    a.experts = 256;
    a.experts_per_token = 8;
    a.shared_experts = 1;
    a.parameters.part[PART_EMBEDDING] = a.parameters.part[PART_HEAD] = 0.927e9;
    a.parameters.part[PART_ATTENTION] = 61 * 187.1e6;
    a.parameters.part[PART_DENSE_MLP] = 3 * 396.4e6;
    a.parameters.part[PART_SHARED_EXPERTS] = 58 * 44.04e6;
    a.parameters.part[PART_EXPERTS] = 58 * 256 * 44.04e6;
    for (int p = 0; p < WEIGHT_PARTS; p++) a.weight_bits[p] = 8;
    return a;
}

static inline Architecture deepseek_v32(void) {
    Architecture a = deepseek_v3();
    a.kind[0].index_dim = 128;
    return a;
}

/* 62 layers, every sixth of them full, the others windowed. */
static inline Architecture gemma_3_27b(void) {
    Architecture a = architecture_named("gemma-3-27b", 62, 5376, 32);
    architecture_add(&a, kind_window(32, 16, 128, 1024), 0, 1);
    architecture_add(&a, kind_heads(32, 16, 128), 5, 6);
    return a;
}

/* Layers windowed and full in turns. */
static inline Architecture gpt_oss(size_t layers) {
    Architecture a = architecture_named("gpt-oss", layers, 2880, 64);
    architecture_add(&a, kind_window(64, 8, 64, 128), 0, 2);
    architecture_add(&a, kind_heads(64, 8, 64), 1, 2);
    return a;
}

#endif
