/* hf_kinds.c -- the kind of cache that a layer of a role keeps; see hf_reading.h. */
#include <stdio.h>
#include <string.h>

#include "hf_reading.h"

/* Roles whose heads have fields of their own where they differ from the model's. */
static const struct {
    LayerRole role;
    const char *heads[2], *kv_heads[2], *key_dim[2], *value_dim[2];
} own_heads[] = {
    { ROLE_WINDOW,
      { "swa_num_attention_heads" },
      { "swa_num_key_value_heads" },
      { "swa_head_dim" },
      { "swa_v_head_dim" } },
    { ROLE_FULL,
      { "global_num_attention_heads" },
      { "num_global_key_value_heads" },
      { "global_head_dim" },
      { "global_v_head_dim" } },
};

void hf_rule(CacheKind *kind, const char *key) {
    const size_t used = strlen(kind->rule);
    snprintf(kind->rule + used, sizeof kind->rule - used, "%s%s", used ? ", " : "", key);
}

static Status read_heads(const Reading *r, LayerRole role, CacheKind *kind, Error *err) {
    kind->keeps = KEEPS_HEADS;
    kind->heads = r->shape.heads;
    kind->kv_heads = r->shape.kv_heads;
    kind->key_dim = r->shape.key_dim;
    kind->value_dim = r->shape.value_dim;
    for (size_t i = 0; i < sizeof own_heads / sizeof *own_heads; i++) {
        if (own_heads[i].role != role) continue;
        const Spellings key = own_heads[i].key_dim, value = own_heads[i].value_dim;
        TRY(fields_size(&r->text, own_heads[i].heads, OPTIONAL, HEADS_MOST, &kind->heads, err));
        TRY(fields_size(&r->text, own_heads[i].kv_heads, OPTIONAL, HEADS_MOST, &kind->kv_heads,
                        err));
        TRY(fields_size(&r->text, key, OPTIONAL, WIDTH_MOST, &kind->key_dim, err));
        if (fields_spelled(&r->text, key) && !fields_spelled(&r->text, value) &&
            r->shape.key_dim == r->shape.value_dim)
            kind->value_dim = kind->key_dim;
        TRY(fields_size(&r->text, value, OPTIONAL, WIDTH_MOST, &kind->value_dim, err));
        if (fields_spelled(&r->text, key)) hf_rule(kind, key[0]);
    }
    if (kind->heads % kind->kv_heads)
        return fields_fail(&r->text, "num_key_value_heads", err,
                           "%zu do not divide the %zu query heads", kind->kv_heads, kind->heads);
    return OK;
}

static void set_latent(const Reading *r, CacheKind *kind) {
    /* LongCat: how its code scales the latents of its two attentions a layer. */
    static const char *const scales[] = { "mla_scale_q_lora", "mla_scale_kv_lora",
                                          "attention_method", NULL };
    if (r->code->attention_blocks > 1) fields_ignore(&r->text, scales);
    kind->keeps = KEEPS_LATENT;
    kind->heads = r->shape.heads;
    kind->kv_lora_rank = r->shape.kv_lora_rank;
    kind->rope_dim = r->shape.rope_dim;
    kind->nope_dim = r->shape.nope_dim;
    kind->mla_value_dim = r->shape.value_dim;
    kind->q_lora_rank = r->shape.q_lora_rank;
    hf_rule(kind, "kv_lora_rank");
}

static Status read_index(const Reading *r, CacheKind *kind, Error *err) {
    static const char *const width[] = { "index_head_dim", NULL };
    static const char *const heads[] = { "index_n_heads", NULL };
    static const char *const topk[] = { "index_topk", NULL };
    TRY(fields_size(&r->text, width, REQUIRED, WIDTH_MOST, &kind->index_dim, err));
    TRY(fields_size(&r->text, heads, REQUIRED, HEADS_MOST, &kind->index_heads, err));
    TRY(fields_size(&r->text, topk, REQUIRED, TOKENS_MOST, &kind->index_topk, err));
    hf_rule(kind, width[0]);
    if (fields_get(&r->text, "indexer_types")) hf_rule(kind, "indexer_types");
    return OK;
}

/* DeepSeek-V4: one row of head_dim that is key and value of every head, the last qk_rope_head_dim
 * of it rotated. Ratio 0: the newest tokens alone. Ratio n: one row for n tokens, the newest
 * sliding_window tokens uncompressed beside them; 4 also has an index key a row. */
static Status read_compressed(const Reading *r, size_t ratio, CacheKind *kind, Error *err) {
    enum { INDEXED_RATIO = 4 };
    static const char *const rope[] = { "qk_rope_head_dim", NULL };
    static const char *const query[] = { "q_lora_rank", NULL };
    kind->keeps = KEEPS_ROW;
    kind->heads = r->shape.heads;
    kind->kv_heads = 1;
    kind->key_dim = kind->value_dim = r->shape.key_dim;
    hf_rule(kind, "compress_ratios");
    TRY(fields_size(&r->text, rope, REQUIRED, WIDTH_MOST, &kind->rope_dim, err));
    TRY(fields_size(&r->text, query, OPTIONAL, HIDDEN_MOST, &kind->q_lora_rank, err));
    if (r->shape.kv_heads != 1)
        return fields_fail(&r->text, "num_key_value_heads", err,
                           "%zu beside compress_ratios; allowed: 1", r->shape.kv_heads);
    if (!r->window)
        return fields_fail(&r->text, "sliding_window", err, "missing beside compress_ratios");
    hf_rule(kind, "sliding_window");
    kind->row_tokens = ratio ? ratio : 1;
    kind->reach = ratio ? REACH_ALL : REACH_WINDOW;
    *(ratio ? &kind->row_window : &kind->window) = r->window;
    return ratio == INDEXED_RATIO ? read_index(r, kind, err) : OK;
}

Status hf_kind(const Reading *r, size_t layer, CacheKind *out, Error *err) {
    const LayerRole role = r->role[layer];
    CacheKind kind = { .reach = REACH_ALL, .row_tokens = 1 };
    if (r->schedule && role != ROLE_COMPRESSED) hf_rule(&kind, r->schedule);
    if (role == ROLE_STATE) {
        TRY(hf_state(r, &kind, err));
    } else if (role == ROLE_COMPRESSED) {
        TRY(read_compressed(r, r->ratio[layer], &kind, err));
    } else if (r->latent) {
        set_latent(r, &kind);
    } else {
        TRY(read_heads(r, role, &kind, err));
    }
    if (role == ROLE_IMAGE) kind.keeps = KEEPS_IMAGE;
    if (role == ROLE_WINDOW || role == ROLE_CHUNK) {
        kind.reach = role == ROLE_WINDOW ? REACH_WINDOW : REACH_CHUNK;
        kind.window = role == ROLE_WINDOW ? r->window : r->chunk;
        hf_rule(&kind, role == ROLE_WINDOW ? "sliding_window" : "attention_chunk_size");
    }
    if (role == ROLE_FULL && r->latent && r->indexed[layer]) TRY(read_index(r, &kind, err));
    *out = kind;
    return OK;
}
