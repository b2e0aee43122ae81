/* fuzz_hf_config.c -- any bytes as a config.json: refused in one line, or a model whose shapes hold
 * together and whose closed forms stay finite. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Json *json = NULL;
    Error err = { 0 };
    Model model = { 0 };
    Status status = json_parse(&json, "config.json", (const char *)data, size, &err);
    if (status == OK) {
        status = hf_config_parse(&model, json, "config.json", "fuzzed", &err);
        json_free(json);
    }
    if (status == OK)
        check_model(&model);
    else
        expect(*err.text && !strchr(err.text, '\n') && model.layers == 0);
    return 0;
}
