/* audit.c -- the formulas, one function a family of mistakes; see audit.h. */
#include "audit.h"

#include <string.h>

#include "json.h"
#include "models.h"

/* ---- the keys as a file states them ---- */

static void take(const Json *object, const char *const *spellings, size_t *out) {
    long long value;
    for (; *spellings; spellings++)
        if (json_whole(json_get(object, *spellings), &value) && value > 0) {
            *out = (size_t)value;
            return;
        }
}

static void take_keys(StatedKeys *keys, const Json *root) {
    static const char *const layers[] = { "num_hidden_layers", "n_layer", "n_layers", "num_layers",
                                          NULL };
    static const char *const heads[] = { "num_attention_heads", "n_head", "n_heads", NULL };
    static const char *const kv_heads[] = { "num_key_value_heads", "num_kv_heads", "n_head_kv",
                                            NULL };
    static const char *const hidden[] = { "hidden_size", "n_embd", "d_model", NULL };
    static const char *const head_dim[] = { "head_dim", NULL };
    const Json *nested = json_get(root, "text_config");
    const Json *object = json_is_object(nested) ? nested : root;
    take(object, layers, &keys->layers);
    take(object, heads, &keys->heads);
    keys->kv_heads = keys->heads;
    take(object, kv_heads, &keys->kv_heads);
    take(object, hidden, &keys->hidden);
    keys->head_dim = keys->heads ? keys->hidden / keys->heads : 0;
    take(object, head_dim, &keys->head_dim);
}

Status audit_read_keys(StatedKeys *keys, const char *name, const Architecture *model, Error *err) {
    StatedKeys k = { .layers = model->layers, .heads = model->heads, .hidden = model->hidden };
    k.kv_heads = model->kind_count && model->kind[0].kv_heads ? model->kind[0].kv_heads : k.heads;
    k.head_dim = k.heads ? k.hidden / k.heads : 0;
    char path[4096];
    TRY(models_find(name, path, sizeof path, err));
    const char *ending = strrchr(path, '.');
    if (ending && strcmp(ending, ".json") == 0) {
        Json *json;
        TRY(json_read_python(&json, NULL, path, err));
        take_keys(&k, json);
        json_free(json);
    }
    *keys = k;
    return OK;
}

/* ---- rows ---- */

typedef struct {
    Audit *audit;
    const StatedKeys *keys;
    const Plan *plan;
    Plan *scratch;
    double tokens;
    double truth;         /* bytes of one sequence */
    double element_bytes; /* of the plan's key type, without scales */
} Auditor;

static void add(Auditor *a, const char *formula, const char *cause, const char *seen, double bytes,
                double truth) {
    if (a->audit->count == AUDIT_ROWS_MOST || truth <= 0 || bytes <= 0) return;
    a->audit->row[a->audit->count++] =
        (AuditRow){ formula, cause, seen, bytes, truth, bytes / truth };
}

/* The first kind of a model that keeps something of that sort. */
static const CacheKind *find_kind(const Architecture *model, Keeps keeps) {
    for (size_t i = 0; i < model->kind_count; i++)
        if (model->kind[i].keeps == keeps && model->kind[i].layers) return &model->kind[i];
    return NULL;
}

static size_t layers_with(const Architecture *model, bool (*is)(const CacheKind *)) {
    size_t layers = 0;
    for (size_t i = 0; i < model->kind_count; i++)
        if (is(&model->kind[i])) layers += model->kind[i].layers;
    return layers;
}

static bool is_latent(const CacheKind *kind) {
    return kind->keeps == KEEPS_LATENT;
}
static bool is_limited(const CacheKind *kind) {
    return kind->reach != REACH_ALL;
}
static bool is_state(const CacheKind *kind) {
    return kind->keeps == KEEPS_STATE;
}

/* So many elements a token in each of so many layers. */
static double every_layer(const Auditor *a, double elements, size_t layers) {
    return elements * a->element_bytes * (double)layers * a->tokens;
}

/* One formula, wrong for as many reasons as the model has kinds. */
static void audit_heads(Auditor *a) {
    const Architecture *model = a->plan->input.model;
    const StatedKeys *k = a->keys;
    const CacheKind *heads = find_kind(model, KEEPS_HEADS);
    const char *cause = "the same: heads, on every layer";
    if (layers_with(model, is_latent))
        cause = "MLA keeps one latent for all heads, not keys and values of each";
    else if (heads && heads->kv_heads == 1 && k->kv_heads > 1)
        cause = "MQA: the file's number of heads is not that of cached heads";
    else if (layers_with(model, is_state))
        cause = "linear layers keep a state and no tokens";
    else if (layers_with(model, is_limited))
        cause = "windowed layers keep their window alone";
    else if (find_kind(model, KEEPS_ROW))
        cause = "one compressed row serves as key and value";
    add(a, "2 x kv heads x head_dim, every layer", cause,
        "hf-mem, LMCache page, TensorRT-LLM bench",
        every_layer(a, 2.0 * (double)(k->kv_heads * k->head_dim), k->layers), a->truth);
    if (k->kv_heads != k->heads)
        add(a, "2 x query heads x head_dim", "GQA caches fewer heads than query", "as MHA",
            every_layer(a, 2.0 * (double)(k->heads * k->head_dim), k->layers), a->truth);
    add(a, "8 B x hidden x layers", "no GQA, and a factor of two more", "gpu_poor",
        8.0 * (double)(k->hidden * k->layers) * a->tokens, a->truth);
}

static void audit_latent(Auditor *a) {
    const Architecture *model = a->plan->input.model;
    const CacheKind *mla = find_kind(model, KEEPS_LATENT);
    const size_t layers = layers_with(model, is_latent);
    if (!mla) return;
    const double c = (double)mla->kv_lora_rank, r = (double)mla->rope_dim,
                 p = (double)mla->nope_dim, v = (double)mla->mla_value_dim, h = (double)mla->heads;
    add(a, "2 x 16 heads x 512", "a preset for MLA; no such heads are cached",
        "openanolis calculator", every_layer(a, 2.0 * 16 * 512, layers), a->truth);
    add(a, "heads x (P + R + V): materialised", "right of an engine that caches decompressed heads",
        "Hugging Face transformers", every_layer(a, h * (p + r + v), layers), a->truth);
    add(a, "2 x heads x (P + R)", "right of an engine that pads values to their keys",
        "vLLM with MLA off, MiniCPM3 in vLLM", every_layer(a, 2 * h * (p + r), layers), a->truth);
    add(a, "2 x 2 heads x hidden / heads", "MLA entered as GQA with two heads", "GenZ",
        every_layer(a, 4.0 * (double)(a->keys->hidden / a->keys->heads), layers), a->truth);
    add(a, "one head: P + R + V", "the widths before the up-projection's heads", "gguf-parser-go",
        every_layer(a, p + r + v, layers), a->truth);
    add(a, "one head: P + P", "a width taken twice for another", "gpustack (Ascend)",
        every_layer(a, 2 * p, layers), a->truth);
    add(a, "latent C alone", "the rotary key R is cached beside it", "Raschka's estimator",
        every_layer(a, c, layers), a->truth);
    add(a, "K of C + R and V of C", "the value lies within the key's row",
        "llama.cpp before January 2026", every_layer(a, 2 * c + r, layers), a->truth);
    if (mla->index_dim)
        add(a, "latent without index keys", "DSA caches an index key beside each row", "InferSim",
            every_layer(a, c + r, layers), a->truth);
}

/* What a rank holds against what a formula divides by all ranks. */
static void audit_ranks(Auditor *a) {
    const Deployment *d = &a->plan->input.deployment;
    if (d->tp < 2 || a->plan->per_gpu <= 0) return;
    const double gpu = a->plan->per_gpu / (double)a->plan->input.sequences;
    add(a, "the cache / tp on each GPU", "what is not split by heads lies on every rank whole",
        "BLIS, UCM calculator", a->truth / (double)d->tp, gpu);
}

/* The plan's cache in another type; 0 where it cannot be. */
static double bytes_in(Auditor *a, RowType type) {
    PlanInput input = a->plan->input;
    Error ignored;
    input.type = kv_type(type);
    input.sequences = 1;
    return plan_make(a->scratch, &input, &ignored) == OK ? a->scratch->bytes.reserved : 0;
}

static void audit_types(Auditor *a) {
    const Architecture *model = a->plan->input.model;
    const double stored = bytes_in(a, layers_with(model, is_latent) ? ROW_FP8_DS_MLA : ROW_FP8);
    double plain = 0;
    for (size_t i = 0; i < a->plan->whole.count; i++) {
        const KindPages *part = &a->plan->whole.part[i];
        if (part->kind->keeps == KEEPS_STATE) return; /* not in that type */
        plain += (double)(cache_kind_row_elements(part->kind) * part->caches *
                          pages_visible(part->kind, a->plan->input.context_tokens));
    }
    if (stored <= 0) return;
    add(a, "fp8: one byte a value", "scales, index keys and an unquantised rotary key are left out",
        "hf-mem, InferSim", plain, stored);
    add(a, "fp8: still two bytes a value", "the cache priced at the width of the products",
        "Frontier, BLIS", 2 * plain, stored);
}

Status audit_model(Audit *audit, const StatedKeys *keys, const Plan *plan, Plan *scratch,
                   Error *err) {
    const size_t n = 32; /* values of every group that a type stores together */
    const KvType type = plan->input.type;
    if (type.k == ROW_FP8_DS_MLA || type.k != type.v)
        return fail(err, ERR_INPUT, "--kv-dtype: formulas know one plain type for all rows");
    if (!keys->heads || !keys->layers)
        return fail(err, ERR_INPUT, "%s: no heads to put into formulas", plan->input.model->name);
    const double scaled = (double)row_bytes(row_format(type.k, n));
    Auditor a = { .audit = audit,
                  .keys = keys,
                  .plan = plan,
                  .scratch = scratch,
                  .tokens = (double)plan->input.context_tokens,
                  .truth = plan->bytes.reserved / (double)plan->input.sequences,
                  .element_bytes = scaled >= 64              ? (double)(size_t)(scaled / (double)n)
                                   : scaled / (double)n >= 1 ? 1
                                                             : 0.5 };
    audit->count = 0;
    audit_heads(&a);
    audit_latent(&a);
    audit_ranks(&a);
    audit_types(&a);
    return OK;
}
