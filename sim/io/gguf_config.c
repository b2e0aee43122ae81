/* gguf_config.c -- the metadata of a .gguf file said in the words of a config.json; see
 * gguf_config.h.
 *
 * Each key of the architecture ("deepseek2.attention.kv_lora_rank") has a row: the field it stands
 * for, or none where it changes values alone. A key without a row keeps its name and goes the way
 * of every field that is not understood. What two keys say together is worked out below. */
#include "gguf_config.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf_config.h"
#include "stored_weights.h"
#include "textfile.h"

enum { ITEMS_MOST = ARCHITECTURE_LAYERS_MOST };

/* The field of a key. NULL: values alone, or read elsewhere in this file, there as the third (for
 * messages). A '*' ends what begins so. */
static const char *const fields[][3] = {
    { "context_length", "max_position_embeddings" },
    { "embedding_length", "hidden_size" },
    { "vocab_size", "vocab_size" },
    { "feed_forward_length", "intermediate_size" },
    { "attention.kv_lora_rank", "kv_lora_rank" },
    { "attention.q_lora_rank", "q_lora_rank" },
    { "attention.sliding_window", "sliding_window" },
    { "attention.chunk_size", "attention_chunk_size" },
    { "attention.shared_kv_layers", "num_kv_shared_layers" },
    { "attention.key_length_swa", "swa_head_dim" },
    { "attention.value_length_swa", "swa_v_head_dim" },
    { "attention.indexer.head_count", "index_n_heads" },
    { "attention.indexer.key_length", "index_head_dim" },
    { "attention.indexer.top_k", "index_topk" },
    { "nextn_predict_layers", "num_nextn_predict_layers" },
    { "leading_dense_block_count", "first_k_dense_replace" },
    { "interleave_moe_layer_step", "interleave_moe_layer_step" },
    { "expert_count", "num_experts" },
    { "expert_used_count", "num_experts_per_tok" },
    { "expert_feed_forward_length", "moe_intermediate_size" },
    { "expert_shared_count", "n_shared_experts" },
    { "full_attention_interval", "full_attention_interval" },
    { "shortconv.l_cache", "conv_L_cache" },
    { "block_count", NULL, "num_hidden_layers" },
    { "attention.head_count", NULL, "num_attention_heads" },
    { "attention.head_count_kv", NULL, "num_key_value_heads" },
    { "attention.key_length", NULL, "head_dim" },
    { "attention.value_length", NULL, "v_head_dim" },
    { "attention.key_length_mla", NULL, "qk_nope_head_dim" },
    { "attention.value_length_mla", NULL },
    { "attention.sliding_window_pattern", NULL, "sliding_window_pattern" },
    { "ssm.*", NULL },
    { "rope.*", NULL },
    { "expert_*", NULL },
    { "attention.layer_norm*", NULL },
    { "attention.group_norm*", NULL },
    { "attention.causal", NULL },
    { "attention.scale", NULL },
    { "attention.output_scale", NULL },
    { "attention.value_scale", NULL },
    { "attention.clamp_kqv", NULL },
    { "attention.max_alibi_bias", NULL },
    { "attention.temperature_*", NULL },
    { "attention.relative_buckets_count", NULL },
    { "attn_logit_softcapping", NULL },
    { "tensor_data_layout", NULL },
    { "logit_scale", NULL },
    { "final_logit_softcapping", NULL },
    { "router_logit_softcapping", NULL },
    { "embedding_scale", NULL },
    { "residual_scale", NULL },
    { "use_parallel_residual", NULL },
    { "pooling_type", NULL },
    { "swin_norm", NULL },
    { "decoder_start_token_id", NULL },
    { "n_deepstack_layers", NULL },
    { "moe_every_n_layers", NULL },
};

typedef struct {
    const Gguf *gguf;
    const char *file;
    char type[64]; /* general.architecture */
    FILE *json;    /* what has been said so far */
    size_t layers, heads, kv_heads;
} Translation;

/* ---- values of the architecture's own keys ---- */

static bool own_value(const Translation *t, const char *suffix, GgufValue *value) {
    char key[GGUF_NAME_ROOM];
    const int length = snprintf(key, sizeof key, "%s.%s", t->type, suffix);
    return length > 0 && (size_t)length < sizeof key && gguf_find(t->gguf, key, value);
}

static Status own_fail(const Translation *t, const char *suffix, Error *err, const char *text) {
    return fail_at(err, t->file, 0, 0, "%s.%s: %s", t->type, suffix, text);
}

/* A whole number from 0; *out stays where the key is missing. */
static Status own_size(const Translation *t, const char *suffix, size_t *out, Error *err) {
    GgufValue value;
    double number = 0;
    if (!own_value(t, suffix, &value)) return OK;
    if (!gguf_number(&value, &number) || !(number >= 0 && number <= 1e9) || number != floor(number))
        return own_fail(t, suffix, err, "not a whole number; allowed: 0 to 1000000000");
    *out = (size_t)number;
    return OK;
}

static void put(const Translation *t, const char *field, double value) {
    fprintf(t->json, ", \"%s\": %.17g", field, value);
}

static void put_size(const Translation *t, const char *field, size_t value) {
    if (value) put(t, field, (double)value);
}

/* ---- one key, one field ---- */

static bool matches(const char *pattern, const char *key) {
    const size_t length = strlen(pattern);
    return pattern[length - 1] == '*' ? strncmp(pattern, key, length - 1) == 0
                                      : strcmp(pattern, key) == 0;
}

/* A short list stays one; a longer list of numbers, or strings, say that something is there. */
static void put_array(const Translation *t, const char *field, const GgufValue *array) {
    GgufValue item;
    double number = 0;
    fprintf(t->json, ", \"%s\": [", field);
    if (array->count > ITEMS_MOST || !gguf_item(array, 0, &item)) fputs("true", t->json);
    for (size_t i = 0; i < array->count && array->count <= ITEMS_MOST; i++)
        if (gguf_item(array, i, &item) && gguf_number(&item, &number))
            fprintf(t->json, "%s%.17g", i ? ", " : "", isfinite(number) ? number : 0);
    fputs("]", t->json);
}

static void put_value(const Translation *t, const char *field, const GgufValue *value) {
    double number = 0;
    if (value->type == GGUF_ARRAY && value->count)
        put_array(t, field, value);
    else if (value->type == GGUF_STRING)
        fprintf(t->json, ", \"%s\": \"text\"", field);
    else if (value->type == GGUF_BOOL && gguf_number(value, &number))
        fprintf(t->json, ", \"%s\": %s", field, number > 0 ? "true" : "false");
    else if (gguf_number(value, &number) && isfinite(number) && number != 0)
        put(t, field, number); /* 0 stands for none */
}

/* Every key of the architecture that has a field of its own, or no row. */
static void put_fields(const Translation *t) {
    const size_t prefix = strlen(t->type);
    for (size_t i = 0; i < gguf_pairs(t->gguf); i++) {
        char key[GGUF_NAME_ROOM];
        GgufValue value;
        gguf_pair(t->gguf, i, key, &value);
        if (strncmp(key, t->type, prefix) != 0 || key[prefix] != '.') continue;
        const char *suffix = key + prefix + 1, *field = suffix;
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
            if (matches(fields[f][0], suffix)) {
                field = fields[f][1];
                break;
            }
        const bool plain = field && !strpbrk(field, "\"\\");
        /* Widths of MLPs that differ by layer are in the tensors. */
        if (plain && !(value.type == GGUF_ARRAY && strcmp(field, "intermediate_size") == 0))
            put_value(t, field, &value);
    }
}

/* ---- what keys say together ---- */

/* Counts of a layer: one for all, or a list. */
typedef struct {
    size_t count[ITEMS_MOST];
    bool listed;
} PerLayer;

static Status per_layer(const Translation *t, const char *suffix, size_t otherwise, PerLayer *out,
                        Error *err) {
    GgufValue value, item;
    size_t same = otherwise;
    *out = (PerLayer){ .listed = own_value(t, suffix, &value) && value.type == GGUF_ARRAY };
    if (!out->listed) TRY(own_size(t, suffix, &same, err));
    if (out->listed && value.count < t->layers)
        return own_fail(t, suffix, err, "fewer entries than the model has layers");
    for (size_t i = 0; i < t->layers; i++) {
        double number = (double)same;
        if (out->listed && (!gguf_item(&value, i, &item) || !gguf_number(&item, &number)))
            return own_fail(t, suffix, err, "an entry that is no number");
        if (!(number >= 0 && number <= 65536))
            return own_fail(t, suffix, err, "an entry out of range; allowed: 0 to 65536");
        out->count[i] = (size_t)number;
    }
    return OK;
}

/* The one count of all layers that `of` marks (1; all where `of` is NULL), zeros aside; 0 where
 * they differ or there is none. */
static size_t common(const PerLayer *counts, const PerLayer *of, size_t mark, size_t layers) {
    size_t found = 0;
    for (size_t i = 0; i < layers; i++) {
        if (!counts->count[i] || (of && of->count[i] != mark)) continue;
        if (found && counts->count[i] != found) return 0;
        found = counts->count[i];
    }
    return found;
}

/* Query heads, key/value heads; where windows have others, both. Layers without any have a state,
 * an MLP, or nothing. */
static Status put_heads(Translation *t, Error *err) {
    static const char heads_key[] = "attention.head_count", kv_key[] = "attention.head_count_kv";
    static const char pattern_key[] = "attention.sliding_window_pattern";
    PerLayer heads, kv, windowed;
    TRY(per_layer(t, heads_key, 0, &heads, err));
    t->heads = common(&heads, NULL, 0, t->layers);
    if (heads.listed && !t->heads)
        return own_fail(t, heads_key, err, "query heads that differ by layer are not read");
    put_size(t, "num_attention_heads", t->heads);
    TRY(per_layer(t, kv_key, t->heads, &kv, err));
    TRY(per_layer(t, pattern_key, 0, &windowed, err));
    t->kv_heads = common(&kv, NULL, 0, t->layers);
    if (!t->kv_heads && windowed.listed) {
        const size_t window = common(&kv, &windowed, 1, t->layers);
        t->kv_heads = common(&kv, &windowed, 0, t->layers);
        put_size(t, "swa_num_key_value_heads", window);
        if (!window) t->kv_heads = 0;
    }
    if (kv.listed && !t->kv_heads)
        return own_fail(t, kv_key, err, "key/value heads that differ by layer are not read");
    put_size(t, "num_key_value_heads", t->kv_heads);
    return OK;
}

/* A 0 or 1 a layer, or one number: the period of the layers without a window. */
static Status put_windows(const Translation *t, Error *err) {
    static const char key[] = "attention.sliding_window_pattern";
    GgufValue value;
    if (!own_value(t, key, &value)) return OK;
    if (value.type != GGUF_ARRAY) {
        size_t period = 0;
        TRY(own_size(t, key, &period, err));
        put_size(t, "sliding_window_pattern", period);
        return OK;
    }
    PerLayer windowed;
    TRY(per_layer(t, key, 0, &windowed, err));
    fputs(", \"hybrid_layer_pattern\": [", t->json);
    for (size_t i = 0; i < t->layers; i++)
        fprintf(t->json, "%s%zu", i ? ", " : "", windowed.count[i]);
    fputs("]", t->json);
    return OK;
}

/* Of MLA files, key_length is that of the latent and the rotated key together since
 * key_length_mla exists; before, that of a head. */
static Status put_widths(const Translation *t, Error *err) {
    size_t latent = 0, rope = 0, key = 0, value = 0;
    TRY(own_size(t, "attention.kv_lora_rank", &latent, err));
    TRY(own_size(t, "rope.dimension_count", &rope, err));
    TRY(own_size(t, "attention.key_length", &key, err));
    TRY(own_size(t, "attention.value_length", &value, err));
    if (!latent) {
        put_size(t, "head_dim", key);
        put_size(t, "v_head_dim", value);
        return OK;
    }
    TRY(own_size(t, "attention.key_length_mla", &key, err));
    TRY(own_size(t, "attention.value_length_mla", &value, err));
    if (!rope || key <= rope)
        return own_fail(t, "attention.key_length", err,
                        "a latent, but key_length_mla or key_length is not larger than "
                        "rope.dimension_count");
    put_size(t, "qk_rope_head_dim", rope);
    put_size(t, "qk_nope_head_dim", key - rope);
    put_size(t, "v_head_dim", value);
    return OK;
}

/* The role of each layer where some have no key/value heads. */
static Status put_roles(const Translation *t, Error *err) {
    PerLayer kv, mlp;
    TRY(per_layer(t, "attention.head_count_kv", t->heads, &kv, err));
    TRY(per_layer(t, "feed_forward_length", 1, &mlp, err));
    size_t none = 0;
    for (size_t i = 0; i < t->layers; i++) none += !kv.count[i];
    if (!kv.listed || !none) return OK;
    GgufValue state;
    const bool has_state =
        own_value(t, "ssm.state_size", &state) || own_value(t, "shortconv.l_cache", &state);
    fputs(", \"layer_types\": [", t->json);
    for (size_t i = 0; i < t->layers; i++) {
        const bool mlp_alone = !has_state || (mlp.listed && mlp.count[i]);
        fprintf(t->json, "%s\"%s\"", i ? ", " : "",
                kv.count[i] ? "full_attention"
                : mlp_alone ? "mlp"
                            : "linear_attention");
    }
    fputs("]", t->json);
    return OK;
}

/* ssm.*: one set of names for gated delta nets (a state for each of time_step_rank heads), Mamba-2
 * (the same, in groups) and Mamba-1 (none). */
static Status put_state(const Translation *t, Error *err) {
    size_t inner = 0, state = 0, heads = 0, groups = 0, kernel = 0, interval = 0, hidden = 0;
    TRY(own_size(t, "ssm.inner_size", &inner, err));
    TRY(own_size(t, "ssm.state_size", &state, err));
    TRY(own_size(t, "ssm.time_step_rank", &heads, err));
    TRY(own_size(t, "ssm.group_count", &groups, err));
    TRY(own_size(t, "ssm.conv_kernel", &kernel, err));
    TRY(own_size(t, "full_attention_interval", &interval, err));
    TRY(own_size(t, "embedding_length", &hidden, err));
    if (!state) return OK;
    if (!inner || !kernel || (groups && (!heads || inner % heads)))
        return own_fail(t, "ssm.inner_size", err, "missing, or no multiple of ssm.time_step_rank");
    if (strncmp(t->type, "qwen3", 5) == 0) {
        put_size(t, "full_attention_interval", interval ? 0 : 4); /* what its code has */
        put_size(t, "linear_num_value_heads", heads);
        put_size(t, "linear_num_key_heads", groups);
        put_size(t, "linear_key_head_dim", state);
        put_size(t, "linear_value_head_dim", heads ? inner / heads : 0);
        put_size(t, "linear_conv_kernel_dim", kernel);
    } else if (groups) {
        put_size(t, t->heads ? "mamba_num_heads" : "num_heads", heads);
        put_size(t, t->heads ? "mamba_head_dim" : "head_dim", inner / heads);
        put_size(t, t->heads ? "ssm_state_size" : "state_size", state);
        put_size(t, "n_groups", groups);
        put_size(t, "conv_kernel", kernel);
    } else if (t->heads) {
        if (!hidden || inner % hidden)
            return own_fail(t, "ssm.inner_size", err, "no multiple of embedding_length");
        put_size(t, "mamba_expand", inner / hidden);
        put_size(t, "mamba_d_state", state);
        put_size(t, "mamba_d_conv", kernel);
    } else {
        put_size(t, "d_inner", inner);
        put_size(t, "state_size", state);
        put_size(t, "conv_kernel", kernel);
    }
    return OK;
}

/* llama.cpp numbers draft layers with the others; its files without vocab_size have the tokens. */
static Status put_counts(Translation *t, Error *err) {
    size_t blocks = 0, drafts = 0, vocabulary = 0;
    GgufValue tokens;
    TRY(own_size(t, "block_count", &blocks, err));
    TRY(own_size(t, "nextn_predict_layers", &drafts, err));
    if (blocks <= drafts || blocks > ITEMS_MOST)
        return own_fail(t, "block_count", err, "missing, or not 1 to 1024 beside draft layers");
    t->layers = blocks - drafts;
    put_size(t, "num_hidden_layers", t->layers);
    TRY(own_size(t, "vocab_size", &vocabulary, err));
    if (!vocabulary && gguf_find(t->gguf, "tokenizer.ggml.tokens", &tokens) &&
        tokens.type == GGUF_ARRAY)
        put_size(t, "vocab_size", tokens.count);
    return OK;
}

static Status translate(Translation *t, Error *err) {
    GgufValue type;
    if (!gguf_find(t->gguf, "general.architecture", &type) ||
        !gguf_text(&type, t->type, sizeof t->type) || !*t->type)
        return fail_at(err, t->file, 0, 0, "general.architecture: missing, or not a string");
    for (const char *c = t->type; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("_-.", *c))
            return fail_at(err, t->file, 0, 0, "general.architecture: not a name");
    fprintf(t->json, "{\"model_type\": \"%s\"", t->type);
    TRY(put_counts(t, err));
    put_fields(t);
    TRY(put_heads(t, err));
    TRY(put_windows(t, err));
    TRY(put_widths(t, err));
    TRY(put_roles(t, err));
    TRY(put_state(t, err));
    fputs("}", t->json);
    return OK;
}

/* ---- messages ---- */

/* The key that a field was said by. */
static const char *key_of(const char *field, size_t length) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        for (size_t c = 1; c < 3; c++) {
            const char *name = fields[i][c];
            if (name && strlen(name) == length && strncmp(name, field, length) == 0)
                return fields[i][0];
        }
    return NULL;
}

/* Names the key of this file in the place of the field that it was said as. */
static void rename_field(const Translation *t, Error *err) {
    char text[sizeof err->text];
    const size_t path = strlen(t->file) + 2; /* "path: " */
    snprintf(text, sizeof text, "%s", err->text);
    if (strlen(text) <= path || strncmp(text, t->file, path - 2) != 0) return;
    const char *field = text + path, *end = strstr(field, ": ");
    const char *key = end ? key_of(field, (size_t)(end - field)) : NULL;
    if (!key) return;
    char *others = strstr(text, "; also read: "); /* spellings that a .gguf file cannot have */
    if (others) *others = '\0';
    fail_at(err, t->file, 0, 0, "%s.%s: %s", t->type, key, end + 2);
}

/* ---- files ---- */

Status gguf_architecture_parse(Architecture *out, const Gguf *gguf, const char *path,
                               const char *name, Error *err) {
    char *text = NULL;
    size_t length = 0;
    Json *json = NULL;
    FILE *stream = open_memstream(&text, &length);
    if (!stream) return fail(err, ERR_MACHINE, "no memory for the metadata of %.400s", path);
    Translation t = { .gguf = gguf, .file = path, .json = stream };
    Status status = translate(&t, err);
    if (fclose(stream) != 0 && status == OK)
        status = fail(err, ERR_MACHINE, "no memory for the metadata of %.400s", path);
    if (status == OK) status = json_parse(&json, path, text, length, err);
    if (status == OK) {
        status = hf_architecture_parse(out, json, path, name, err);
        if (status == ERR_INPUT) rename_field(&t, err);
    }
    json_free(json);
    free(text);
    return status;
}

static void add_tensors(StoredWeights *sum, const Architecture *model, const Gguf *gguf) {
    for (size_t i = 0; i < gguf_tensors(gguf); i++) {
        GgufTensor tensor;
        gguf_tensor(gguf, i, &tensor);
        stored_weights_add(sum, model, tensor.name, tensor.type, STORED_WEIGHTS,
                           (double)tensor.elements, (double)tensor.bytes);
    }
}

/* "model-00001-of-00003.gguf": the others of a model that was split. */
static Status add_parts(StoredWeights *sum, const Architecture *model, const char *path,
                        size_t parts, Error *err) {
    static const char form[] = "-00001-of-00001.gguf";
    const size_t length = strlen(path), tail = sizeof form - 1;
    if (length < tail || length >= PATH_SIZE ||
        strncmp(path + length - tail, "-00001-of-", 10) != 0)
        return fail_at(err, path, 0, 0,
                       "part of a model that was split into %zu: name its first file, "
                       "*-00001-of-%05zu.gguf",
                       parts, parts);
    for (size_t part = 2; part <= parts; part++) {
        char name[PATH_SIZE];
        Gguf *gguf = NULL;
        snprintf(name, sizeof name, "%.*s-%05zu-of-%05zu.gguf", (int)(length - tail), path, part,
                 parts);
        TRY(gguf_open(&gguf, name, err));
        add_tensors(sum, model, gguf);
        gguf_close(gguf);
    }
    return OK;
}

static Status read_open(Architecture *out, const Gguf *gguf, const char *path, const char *name,
                        Error *err) {
    StoredWeights sum;
    GgufValue value;
    double parts = 1;
    memset(&sum, 0, sizeof sum);
    TRY(gguf_architecture_parse(out, gguf, path, name, err));
    add_tensors(&sum, out, gguf);
    if (gguf_find(gguf, "split.count", &value) &&
        (!gguf_number(&value, &parts) || !(parts >= 0 && parts < 1e5)))
        return fail_at(err, path, 0, 0, "split.count: not a number of files");
    if (parts > 1) TRY(add_parts(&sum, out, path, (size_t)parts, err));
    TRY(stored_weights_apply(&sum, out, path, err));
    snprintf(out->weight_format, sizeof out->weight_format, "gguf %s", sum.type);
    return OK;
}

Status gguf_architecture_read(Architecture *out, const char *path, const char *name, Error *err) {
    Gguf *gguf = NULL;
    TRY(gguf_open(&gguf, path, err));
    Architecture a;
    memset(&a, 0, sizeof a);
    const Status status = read_open(&a, gguf, path, name, err);
    gguf_close(gguf);
    if (status == OK) *out = a;
    return status;
}
