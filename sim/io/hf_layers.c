/* hf_layers.c -- which layer of a model does what: a list in the file, a pattern, a period, or what
 * the code of its family decides; see hf_reading.h.
 *
 * One row a way of saying it. A file may say it twice (layer_types beside full_attention_interval);
 * then both must say the same. */
#include <stdio.h>
#include <string.h>

#include "hf_reading.h"

typedef Status (*ScheduleReader)(const Reading *, const char *key, uint8_t *role, Error *);

typedef struct {
    const char *key;
    ScheduleReader read;
} Schedule;

static Status wrong_length(const Reading *r, const char *key, size_t found, Error *err) {
    return fields_fail(&r->text, key, err, "%zu entries, but the model has %zu layers", found,
                       r->shape.layers);
}

/* The list of a key, with an entry for each layer. */
static Status list_of(const Reading *r, const char *key, const Json **list, Error *err) {
    *list = fields_get(&r->text, key);
    if (!json_is_array(*list)) return fields_fail(&r->text, key, err, "not a list");
    return json_size(*list) == r->shape.layers ? OK : wrong_length(r, key, json_size(*list), err);
}

static Status read_words(const Reading *r, const char *key, uint8_t *role, Error *err) {
    static const struct {
        const char *word;
        LayerRole role;
    } words[] = {
        { "full_attention", ROLE_FULL },
        { "attention", ROLE_FULL },
        { "global", ROLE_FULL },
        { "sliding_attention", ROLE_WINDOW },
        { "sliding_window", ROLE_WINDOW },
        { "local", ROLE_WINDOW },
        { "chunked_attention", ROLE_CHUNK },
        { "linear_attention", ROLE_STATE },
        { "mamba", ROLE_STATE },
        { "conv", ROLE_STATE },
        { "moe", ROLE_NONE },
        { "mlp", ROLE_NONE },
    };
    enum { WORDS = sizeof words / sizeof *words };
    const Json *list;
    TRY(list_of(r, key, &list, err));
    for (size_t i = 0; i < r->shape.layers; i++) {
        const char *text = json_text(json_at(list, i));
        size_t w = 0;
        while (w < WORDS && (!text || strcmp(text, words[w].word) != 0)) w++;
        if (w == WORDS)
            return fields_fail(&r->text, key, err,
                               "%.64s, of layer %zu: a kind of layer that kvlab does not know",
                               text ? text : "not a string", i);
        role[i] = (uint8_t)words[w].role;
    }
    return OK;
}

/* One letter a layer: Mamba, attention, an MLP, experts. */
static Status read_letters(const Reading *r, const char *key, uint8_t *role, Error *err) {
    const char *text = json_text(fields_get(&r->text, key));
    if (!text) return fields_fail(&r->text, key, err, "not a string");
    if (strlen(text) != r->shape.layers) return wrong_length(r, key, strlen(text), err);
    for (size_t i = 0; i < r->shape.layers; i++) {
        if (!strchr("M*-E", text[i]))
            return fields_fail(&r->text, key, err,
                               "'%c', of layer %zu: a kind of layer that kvlab does not know",
                               text[i], i);
        role[i] = text[i] == 'M' ? ROLE_STATE : text[i] == '*' ? ROLE_FULL : ROLE_NONE;
    }
    return OK;
}

/* A 0 or a 1 for each layer. */
static Status read_bits(const Reading *r, const char *key, LayerRole zero, LayerRole one,
                        uint8_t *role, Error *err) {
    const Json *list;
    TRY(list_of(r, key, &list, err));
    for (size_t i = 0; i < r->shape.layers; i++) {
        long long value = -1;
        if (!json_whole(json_at(list, i), &value) || (value != 0 && value != 1))
            return fields_fail(&r->text, key, err, "the entry of layer %zu; allowed: 0, 1", i);
        role[i] = (uint8_t)(value ? one : zero);
    }
    return OK;
}

static Status read_lightning(const Reading *r, const char *key, uint8_t *role, Error *err) {
    return read_bits(r, key, ROLE_STATE, ROLE_FULL, role, err);
}

static Status read_windowed(const Reading *r, const char *key, uint8_t *role, Error *err) {
    return read_bits(r, key, ROLE_FULL, ROLE_WINDOW, role, err);
}

/* Layer `last` of every `period` is FULL, the others something else. */
static void every(const Reading *r, size_t period, size_t last, LayerRole others, uint8_t *role) {
    for (size_t i = 0; i < r->shape.layers; i++)
        role[i] = (uint8_t)(i % period == last ? ROLE_FULL : others);
}

static Status read_period(const Reading *r, const char *key, LayerRole others, uint8_t *role,
                          Error *err) {
    const char *const spelling[] = { key, NULL };
    size_t period = 0;
    TRY(fields_size(&r->text, spelling, REQUIRED, ARCHITECTURE_LAYERS_MOST, &period, err));
    every(r, period, period - 1, others, role);
    return OK;
}

static Status read_interval(const Reading *r, const char *key, uint8_t *role, Error *err) {
    return read_period(r, key, ROLE_STATE, role, err);
}

/* A period, or the letters of one: "LLLG". */
static Status read_window_pattern(const Reading *r, const char *key, uint8_t *role, Error *err) {
    const char *text = json_text(fields_get(&r->text, key));
    if (!text) return read_period(r, key, ROLE_WINDOW, role, err);
    const size_t period = strlen(text);
    if (period == 0 || strspn(text, "LG") != period)
        return fields_fail(&r->text, key, err, "%.64s; allowed: a number, or letters L and G",
                           text);
    for (size_t i = 0; i < r->shape.layers; i++)
        role[i] = text[i % period] == 'G' ? ROLE_FULL : ROLE_WINDOW;
    return OK;
}

static Status read_offset(const Reading *r, const char *key, uint8_t *role, Error *err) {
    static const char *const offset_key[] = { "attn_layer_offset", NULL };
    const char *const spelling[] = { key, NULL };
    size_t period = 0, offset = 0;
    TRY(fields_size(&r->text, spelling, REQUIRED, ARCHITECTURE_LAYERS_MOST, &period, err));
    long long first = 0;
    if (json_whole(fields_get(&r->text, offset_key[0]), &first) && first != 0)
        TRY(fields_size(&r->text, offset_key, REQUIRED, period, &offset, err));
    every(r, period, offset % period, ROLE_STATE, role);
    return OK;
}

/* Gives `one` to the layers of a list; the first layer's number is `base`. */
static Status mark(const Reading *r, const Fields *fields, const char *key, size_t base,
                   LayerRole one, uint8_t *role, Error *err) {
    const Json *list = fields_get(fields, key);
    if (!json_is_array(list)) return fields_fail(fields, key, err, "not a list");
    for (size_t i = 0; i < json_size(list); i++) {
        long long layer = -1;
        if (!json_whole(json_at(list, i), &layer) || layer < (long long)base ||
            (size_t)layer - base >= r->shape.layers)
            return fields_fail(fields, key, err, "entry %zu; allowed: a layer, %zu to %zu", i, base,
                               r->shape.layers - 1 + base);
        role[(size_t)layer - base] = (uint8_t)one;
    }
    return OK;
}

static void fill(const Reading *r, LayerRole all, uint8_t *role) {
    memset(role, (int)all, r->shape.layers);
}

static Status read_image_layers(const Reading *r, const char *key, uint8_t *role, Error *err) {
    fill(r, ROLE_FULL, role);
    return mark(r, &r->text, key, 0, ROLE_IMAGE, role, err);
}

static Status read_full_layers(const Reading *r, const char *key, uint8_t *role, Error *err) {
    fill(r, ROLE_STATE, role);
    return mark(r, &r->text, key, 0, ROLE_FULL, role, err);
}

/* Both lists count from 1 and together name every layer. */
static Status read_kda_layers(const Reading *r, const char *key, uint8_t *role, Error *err) {
    Fields nested;
    TRY(fields_nested(&nested, &r->text, key, "linear_attn_config.", err));
    fill(r, ROLE_NONE, role);
    TRY(mark(r, &nested, "full_attn_layers", 1, ROLE_FULL, role, err));
    TRY(mark(r, &nested, "kda_layers", 1, ROLE_STATE, role, err));
    for (size_t i = 0; i < r->shape.layers; i++)
        if (role[i] == ROLE_NONE)
            return fields_fail(&r->text, key, err, "layer %zu is in neither list", i + 1);
    return OK;
}

/* The entries beyond the layers belong to the draft layers. */
static Status read_ratios(const Reading *r, const char *key, uint8_t *role, Error *err) {
    const size_t found = json_size(fields_get(&r->text, key));
    if (found != r->shape.layers && found != r->shape.layers + r->draft_layers)
        return wrong_length(r, key, found, err);
    fill(r, ROLE_COMPRESSED, role);
    return OK;
}

static const Schedule schedules[] = {
    { "layer_types", read_words },
    { "layers_block_type", read_words },
    { "attention_layers", read_words },
    { "hybrid_override_pattern", read_letters },
    { "attn_type_list", read_lightning },
    { "hybrid_layer_pattern", read_windowed },
    { "full_attention_interval", read_interval },
    { "attn_layer_period", read_offset },
    { "sliding_window_pattern", read_window_pattern },
    { "_sliding_window_pattern", read_window_pattern },
    { "linear_attn_config", read_kda_layers },
    { "cross_attention_layers", read_image_layers },
    { "full_attn_idxs", read_full_layers },
    { "compress_ratios", read_ratios },
    { "block_configs", hf_block_roles },
};

static Status read_schedules(Reading *r, Error *err) {
    uint8_t role[ARCHITECTURE_LAYERS_MOST];
    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++) {
        const Schedule *row = &schedules[i];
        if (!fields_get(&r->text, row->key)) continue;
        TRY(row->read(r, row->key, role, err));
        if (r->schedule && memcmp(role, r->role, r->shape.layers) != 0)
            return fields_fail(&r->text, row->key, err, "says otherwise than %s", r->schedule);
        memcpy(r->role, role, r->shape.layers);
        r->schedule = row->key;
    }
    return OK;
}

/* ---- windows ---- */

/* The width of a window, 0 where there is none: null, 0 or below, switched off, or as wide as the
 * longest context. Spellings must agree. */
static Status read_width(const Reading *r, Spellings spellings, size_t *out, Error *err) {
    const char *key = fields_spelled(&r->text, spellings);
    double width = 0;
    if (!key || (json_number(fields_get(&r->text, key), &width) && width <= 0)) return OK;
    TRY(fields_size(&r->text, spellings, REQUIRED, SIZE_MAX / 2, out, err));
    return OK;
}

static bool has_role(const Reading *r, LayerRole role) {
    return memchr(r->role, (int)role, r->shape.layers) != NULL;
}

static void replace(Reading *r, LayerRole from, LayerRole to) {
    for (size_t i = 0; i < r->shape.layers; i++)
        if (r->role[i] == from) r->role[i] = (uint8_t)to;
}

/* Windows of a file that names no layers. Qwen2 and Qwen3: max_window_layers counts the layers at
 * the bottom that stay full, and windows are off unless switched on. Mistral: all layers. Which
 * layers another family means is not in the file, so nothing is guessed. */
static Status read_unlisted_windows(Reading *r, bool *used, bool reaches, Error *err) {
    static const char *const full[] = { "max_window_layers", NULL };
    size_t bottom = 0;
    double count = -1;
    const bool counted = json_number(fields_get(&r->text, full[0]), &count);
    if (counted && count != 0)
        TRY(fields_size(&r->text, full, OPTIONAL, TOKENS_MOST, &bottom, err));
    *used = !counted;
    TRY(fields_flag(&r->text, "use_sliding_window", used, err));
    if (!*used || r->schedule || !r->window || reaches) return OK;
    if (!counted && !r->code->all_windowed)
        return fields_fail(&r->text, "sliding_window", err,
                           "%zu: the file does not say of which layers", r->window);
    for (size_t i = bottom; i < r->shape.layers; i++) r->role[i] = ROLE_WINDOW;
    if (counted) r->schedule = full[0];
    return OK;
}

/* Layers that code alone tells apart: a period, and for chunks a list of those without RoPE. */
static Status read_code_pattern(Reading *r, Error *err) {
    static const char *const unrotated[] = { "no_rope_layer_interval", NULL };
    size_t period = r->code->full_every;
    if (!period || r->schedule) return OK;
    if (r->code->others == ROLE_CHUNK) {
        const Json *list = fields_get(&r->text, "no_rope_layers");
        TRY(fields_size(&r->text, unrotated, OPTIONAL, ARCHITECTURE_LAYERS_MOST, &period, err));
        if (json_size(list)) {
            r->schedule = "no_rope_layers";
            return read_bits(r, r->schedule, ROLE_FULL, ROLE_CHUNK, r->role, err);
        }
    }
    r->schedule = "model_type";
    every(r, period, period - 1, r->code->others, r->role);
    return OK;
}

static Status read_windows(Reading *r, Error *err) {
    static const char *const window[] = { "sliding_window",        "sliding_window_size",
                                          "attention_window_size", "window_size",
                                          "attention_window",      NULL };
    static const char *const chunk[] = { "attention_chunk_size", NULL };
    bool used = true;
    TRY(read_width(r, window, &r->window, err));
    TRY(read_width(r, chunk, &r->chunk, err));
    TRY(read_code_pattern(r, err));
    const bool reaches = r->longest_tokens && r->window >= r->longest_tokens;
    TRY(read_unlisted_windows(r, &used, reaches, err));
    if (has_role(r, ROLE_WINDOW) && (!r->window || !used))
        return fields_fail(&r->text, window[0], err,
                           r->window ? "switched off, but %s has layers with a window"
                                     : "missing, but %s has layers with a window",
                           r->schedule);
    if (has_role(r, ROLE_CHUNK) && !r->chunk)
        return fields_fail(&r->text, chunk[0], err, "missing, but %s has layers with chunks",
                           r->schedule);
    if (r->chunk && !has_role(r, ROLE_CHUNK) && r->chunk != r->window)
        return fields_fail(&r->text, chunk[0], err, "%zu: the file does not say of which layers",
                           r->chunk);
    const bool listed = r->schedule && (strcmp(r->schedule, "layer_types") == 0 ||
                                        strcmp(r->schedule, "max_window_layers") == 0);
    if (r->window && used && !reaches && !listed && !has_role(r, ROLE_WINDOW) &&
        !has_role(r, ROLE_COMPRESSED) && has_role(r, ROLE_FULL))
        return fields_fail(&r->text, window[0], err, "%zu: %s does not say of which layers",
                           r->window, r->schedule ? r->schedule : "the file");
    if (reaches) replace(r, ROLE_WINDOW, ROLE_FULL);
    if (r->longest_tokens && r->chunk >= r->longest_tokens) replace(r, ROLE_CHUNK, ROLE_FULL);
    return OK;
}

/* ---- layers without a cache of their own, with an index, and beyond the model's ---- */

static bool attends(uint8_t role) {
    return role == ROLE_FULL || role == ROLE_WINDOW || role == ROLE_CHUNK;
}

/* Gemma-3n: the last layers use the cache of an earlier one. Hunyuan: each group of so many layers
 * uses that of its first. */
static Status read_sharing(Reading *r, Error *err) {
    static const char *const last[] = { "num_kv_shared_layers", NULL };
    static const char *const group[] = { "cla_share_factor", NULL };
    size_t shared = 0, factor = 1;
    bool grouped = true;
    TRY(read_width(r, last, &shared, err));
    if (shared >= r->shape.layers && shared)
        return fields_fail(&r->text, last[0], err, "%zu; allowed: 0 to %zu", shared,
                           r->shape.layers - 1);
    TRY(fields_flag(&r->text, "use_cla", &grouped, err));
    TRY(read_width(r, group, &factor, err));
    for (size_t i = 0; i < r->shape.layers; i++)
        if (attends(r->role[i]) &&
            (i >= r->shape.layers - shared || (grouped && factor && i % factor)))
            r->shared[i] = true;
    return OK;
}

/* Every layer with a latent has index keys, unless a list says which share those of an earlier. */
static Status read_indexed(Reading *r, Error *err) {
    static const char key[] = "indexer_types";
    const size_t all = r->shape.layers + r->draft_layers;
    if (!fields_get(&r->text, "kv_lora_rank") || !fields_get(&r->text, "index_head_dim")) return OK;
    static const char *const how_sharing_came_about[] = { "index_topk_freq", "index_topk_pattern",
                                                          "index_skip_topk_offset",
                                                          "index_share_for_mtp_iteration", NULL };
    for (size_t i = 0; i < all; i++) r->indexed[i] = r->role[i] == ROLE_FULL;
    if (!fields_get(&r->text, key)) return OK;
    fields_ignore(&r->text, how_sharing_came_about);
    const Json *list;
    TRY(list_of(r, key, &list, err));
    for (size_t i = 0; i < r->shape.layers; i++) {
        const char *word = json_text(json_at(list, i));
        if (!word || (strcmp(word, "full") != 0 && strcmp(word, "shared") != 0))
            return fields_fail(&r->text, key, err, "the entry of layer %zu; allowed: full, shared",
                               i);
        r->indexed[i] = strcmp(word, "full") == 0;
    }
    return OK;
}

/* A draft layer is like the full attention of the model; without any, like its last layer. */
static void add_draft_roles(Reading *r) {
    const size_t layers = r->shape.layers;
    const uint8_t role = has_role(r, ROLE_FULL) ? ROLE_FULL : r->role[layers - 1];
    memset(r->role + layers, role, r->draft_layers);
}

static Status read_draft_count(Reading *r, Error *err) {
    static const char *const direct[] = { "num_nextn_predict_layers", "mtp_num_hidden_layers",
                                          NULL };
    static const char *const modules[] = { "num_mtp_modules", NULL };
    static const char *const each[] = { "mtp_transformer_layers", NULL };
    size_t count = 0, times = 1;
    bool used = true;
    TRY(fields_flag(&r->text, "use_mtp", &used, err));
    TRY(read_width(r, direct, &r->draft_layers, err));
    TRY(read_width(r, modules, &count, err));
    TRY(read_width(r, each, &times, err));
    if (used && count && times < ARCHITECTURE_LAYERS_MOST && count < ARCHITECTURE_LAYERS_MOST)
        r->draft_layers = count * times;
    if (r->draft_layers > ARCHITECTURE_LAYERS_MOST - r->shape.layers)
        return fields_fail(&r->text, direct[0], err, "%zu; allowed: %d layers with the model's own",
                           r->draft_layers, ARCHITECTURE_LAYERS_MOST);
    return OK;
}

static Status read_ratio_list(Reading *r, Error *err) {
    static const char key[] = "compress_ratios";
    const Json *list = fields_get(&r->text, key);
    for (size_t i = 0; i < json_size(list); i++) {
        long long ratio = -1;
        if (!json_whole(json_at(list, i), &ratio) || ratio < 0 || ratio > UINT16_MAX)
            return fields_fail(&r->text, key, err, "entry %zu; allowed: 0 to %d", i, UINT16_MAX);
        r->ratio[i] = (uint16_t)ratio;
    }
    return OK;
}

Status hf_layers(Reading *r, Error *err) {
    bool encoder = false;
    TRY(fields_flag(&r->text, "is_encoder_decoder", &encoder, err));
    if (encoder)
        return fields_fail(&r->text, "is_encoder_decoder", err,
                           "an encoder and a decoder: a kind of cache that kvlab does not know");
    TRY(read_draft_count(r, err));
    TRY(read_schedules(r, err));
    if (!r->schedule && !fields_get(&r->text, "num_attention_heads") &&
        fields_get(&r->text, "state_size"))
        fill(r, ROLE_STATE, r->role);
    if (r->schedule && strcmp(r->schedule, "compress_ratios") == 0) TRY(read_ratio_list(r, err));
    TRY(read_windows(r, err));
    TRY(read_sharing(r, err));
    add_draft_roles(r);
    return read_indexed(r, err);
}
