/* fuzz_hf_config.c -- any bytes as a config.json: refused in one line, or an architecture and a
 * model whose shapes hold together and whose closed forms stay finite. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hf_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds) {
    if (!holds) abort();
}

static void check_model(const Model *m) {
    expect(m->layers > 0 && m->hidden > 0 && m->heads > 0 && m->kv_heads > 0);
    expect(m->heads % m->kv_heads == 0);
    expect(m->key_dim > 0 && m->value_dim > 0);
    expect((m->kind == ATTENTION_MLA) == (m->kv_lora_rank > 0));
    expect(m->kind != ATTENTION_MLA || m->key_dim == m->nope_dim + m->rope_dim);
    expect(m->rope.dim == m->rope_dim && m->rope_dim % 2 == 0 && m->rope_dim <= m->key_dim);
    expect(memchr(m->name, 0, sizeof m->name) != NULL);
    for (Path path = PATH_MATERIALISED; path <= PATH_ABSORBED; path++) {
        expect(model_cache_elements(m, path) > 0);
        const size_t bytes = model_cache_bytes_per_token(m, path, kv_type(ROW_BF16));
        expect(bytes == 2 * m->layers * model_cache_elements(m, path));
        expect(isfinite(model_layer_flops(m, path, 1 << 20, 7).attention));
    }
    expect(model_attention_parameters(m) > 0);
    double *table = malloc((m->rope.dim + 1) * 3 * sizeof *table);
    expect(table != NULL);
    rope_table_f64(&m->rope, 100000, 3, table);
    for (size_t i = 0; i < m->rope.dim * 3; i++) expect(isfinite(table[i]));
    free(table);
}

static void check_architecture(const Architecture *a) {
    size_t layers[CACHE_KINDS_MOST] = { 0 };
    expect(a->layers > 0 && a->layers + a->draft_layers <= ARCHITECTURE_LAYERS_MOST);
    expect(a->kind_count <= CACHE_KINDS_MOST);
    for (size_t i = 0; i < a->layers + a->draft_layers; i++) {
        if (a->layer_kind[i] == NO_CACHE) continue;
        expect(a->layer_kind[i] < a->kind_count && a->layer_caches[i] > 0);
        layers[a->layer_kind[i]] += a->layer_caches[i];
    }
    for (size_t k = 0; k < a->kind_count; k++) {
        const CacheKind *kind = &a->kind[k];
        expect(layers[k] == kind->layers + kind->draft_layers);
        expect(kind->keeps == KEEPS_STATE || cache_kind_row_elements(kind) > 0);
        expect(kind->row_tokens > 0 && isfinite(cache_kind_growth(kind)));
        expect(kind->reach == REACH_ALL || kind->window > 0);
        expect(isfinite(kind->parameters) && kind->parameters >= 0);
        expect(memchr(kind->rule, 0, sizeof kind->rule) != NULL);
    }
    for (WeightPart part = 0; part < WEIGHT_PARTS; part++)
        expect(isfinite(a->parameters.part[part]) && a->parameters.part[part] >= 0);
    expect(a->parameters.total > 0 && isfinite(architecture_weight_bytes(a)));
    expect(memchr(a->attention, 0, sizeof a->attention) != NULL && *a->attention);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Architecture architecture;
    Json *json = NULL;
    Error err = { 0 };
    Model model = { 0 };
    Status status = json_parse(&json, "config.json", (const char *)data, size, &err);
    if (status == OK) {
        if (hf_architecture_parse(&architecture, json, "config.json", "fuzzed", &err) == OK)
            check_architecture(&architecture);
        status = hf_config_parse(&model, json, "config.json", "fuzzed", &err);
        json_free(json);
    }
    if (status == OK)
        check_model(&model);
    else
        expect(*err.text && !strchr(err.text, '\n') && model.layers == 0);
    return 0;
}
