/* hf_architecture.c -- a config.json as the architecture of a whole model; see hf_config.h.
 *
 *   text model -> sizes -> role of each layer -> kinds of cache -> nothing left over -> weights */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf_config.h"
#include "hf_reading.h"

static const char *const lengths[] = {
    "max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length",
    "model_max_length",        "n_ctx",       NULL
};

static Status read_longest(Reading *r, Error *err) {
    const char *const key[] = { fields_spelled(&r->text, lengths), NULL };
    fields_ignore(&r->text, lengths);
    r->longest_tokens = r->code->longest_tokens;
    if (!*key) return OK;
    return fields_size(&r->text, key, REQUIRED, TOKENS_MOST, &r->longest_tokens, err);
}

/* Two layers keep the same when everything but the counts and the fields that said so agrees. */
static bool same_cache(const CacheKind *a, const CacheKind *b) {
    CacheKind x = *a, y = *b;
    CacheKind *const both[] = { &x, &y };
    for (size_t i = 0; i < 2; i++) {
        both[i]->layers = both[i]->draft_layers = 0;
        both[i]->parameters = 0;
        memset(both[i]->rule, 0, sizeof both[i]->rule);
    }
    return memcmp(&x, &y, sizeof x) == 0;
}

static Status add_cache(Architecture *a, size_t layer, const CacheKind *kind, Error *err) {
    size_t k = 0;
    while (k < a->kind_count && !same_cache(&a->kind[k], kind)) k++;
    if (k == CACHE_KINDS_MOST)
        return fail(err, ERR_INPUT, "%.128s: over %d kinds of cache in one model", a->name,
                    CACHE_KINDS_MOST);
    if (k == a->kind_count) a->kind[a->kind_count++] = *kind;
    a->layer_kind[layer] = (uint8_t)k;
    *(layer < a->layers ? &a->kind[k].layers : &a->kind[k].draft_layers) += a->layer_caches[layer];
    return OK;
}

static Status read_kinds(const Reading *r, Architecture *a, Error *err) {
    const size_t blocks = r->code->attention_blocks ? r->code->attention_blocks : 1;
    for (size_t layer = 0; layer < a->layers + a->draft_layers; layer++) {
        CacheKind kind;
        a->layer_kind[layer] = NO_CACHE;
        if (r->shared[layer] || r->role[layer] == ROLE_NONE) continue;
        a->layer_caches[layer] = (uint8_t)blocks;
        memset(&kind, 0, sizeof kind);
        TRY(hf_kind(r, layer, &kind, err));
        TRY(add_cache(a, layer, &kind, err));
    }
    return OK;
}

/* Does any layer have heads, or a latent? Models of states alone have none. */
static bool has_attention(const Reading *r) {
    for (size_t i = 0; i < r->shape.layers; i++)
        if (r->role[i] != ROLE_STATE && r->role[i] != ROLE_NONE) return true;
    return fields_get(&r->text, "attn_type_list") != NULL;
}

static Status read_reading(Reading *r, Architecture *a, Error *err) {
    const char *type = json_text(fields_get(&r->text, "model_type"));
    r->code = hf_code(type ? type : json_text(fields_get(&r->document, "model_type")));
    TRY(hf_sizes(&r->text, &r->shape, err));
    TRY(read_longest(r, err));
    TRY(hf_layers(r, err));
    if (has_attention(r)) TRY(hf_attention(&r->text, &r->shape, err));
    r->latent = r->shape.kv_lora_rank != 0;
    snprintf(a->name, sizeof a->name, "%s", r->name);
    a->layers = r->shape.layers;
    a->hidden = r->shape.hidden;
    a->heads = r->shape.heads;
    a->longest_tokens = r->longest_tokens;
    a->draft_layers = r->draft_layers;
    TRY(read_kinds(r, a, err));
    TRY(hf_weights(r, a, err));
    return hf_quantization(r, a, err);
}

static void note_reading(const Reading *r, const Unread *unread, Architecture *a) {
    const char *type = json_text(fields_get(&r->text, "model_type"));
    if (type && !hf_code_known(type))
        architecture_note(
            a, "model_type %.64s is new to kvlab: layers are told by the fields alone", type);
    if (unread->count)
        architecture_note(a, "not understood, taken as without effect on the cache: %s",
                          unread->keys);
}

static Status parse(Architecture *out, const Json *json, const char *file, const char *text,
                    const char *name, Error *err) {
    if (!json_is_object(json)) return fail_at(err, file, 0, 0, "not a JSON object");
    Asked asked = { 0 }, asked_of_text = { 0 };
    Unread unread = { .count = 0 };
    Reading reading = { .name = name, .document = { json, file, "", &asked, text } };
    Architecture a;
    memset(&a, 0, sizeof a);
    TRY(hf_text_model(&reading.text, &reading.document, err));
    const bool nested = reading.text.object != json;
    if (nested) reading.text.asked = &asked_of_text;
    TRY(read_reading(&reading, &a, err));
    /* What is read where it is nested may be repeated outside; there it says nothing. */
    for (size_t i = 0; i < asked_of_text.count; i++) {
        const char *const key[] = { asked_of_text.keys[i], NULL };
        if (asked_of_text.found[i]) fields_ignore(&reading.document, key);
    }
    TRY(fields_refuse_leftovers(&reading.document, &unread, err));
    if (nested) TRY(fields_refuse_leftovers(&reading.text, &unread, err));
    note_reading(&reading, &unread, &a);
    architecture_label(&a, a.attention, sizeof a.attention);
    *out = a;
    return OK;
}

Status hf_architecture_parse(Architecture *out, const Json *json, const char *file,
                             const char *name, Error *err) {
    return parse(out, json, file, NULL, name, err);
}

Status hf_architecture_read(Architecture *out, const char *path, const char *name, Error *err) {
    Json *json = NULL;
    char *text = NULL;
    TRY(json_read_python(&json, &text, path, err));
    const Status status = parse(out, json, path, text, name, err);
    json_free(json);
    free(text);
    return status;
}
