/* architecture.c -- names and closed forms of a whole model; see architecture.h. */
#include "architecture.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

size_t cache_kind_row_elements(const CacheKind *kind) {
    switch (kind->keeps) {
    case KEEPS_HEADS:
    case KEEPS_IMAGE:
        return kind->kv_heads * (kind->key_dim + kind->value_dim);
    case KEEPS_LATENT:
        return kind->kv_lora_rank + kind->rope_dim;
    case KEEPS_ROW:
        return kind->key_dim;
    case KEEPS_STATE:
        break;
    }
    return 0;
}

double cache_kind_growth(const CacheKind *kind) {
    if (kind->reach != REACH_ALL || kind->keeps == KEEPS_IMAGE) return 0;
    return (double)cache_kind_row_elements(kind) / (double)kind->row_tokens;
}

void architecture_count_totals(Architecture *model) {
    const double *part = model->parameters.part;
    double total = 0;
    for (WeightPart p = 0; p < WEIGHT_PARTS; p++) total += part[p];
    const double taken =
        model->experts ? (double)model->experts_per_token / (double)model->experts : 0;
    model->parameters.total = total;
    model->parameters.active = part[PART_ATTENTION] + part[PART_DENSE_MLP] +
                               part[PART_SHARED_EXPERTS] + part[PART_EXPERTS] * taken +
                               part[PART_ROUTER] + part[PART_NORMS] +
                               (double)model->vocabulary * (double)model->hidden;
}

void architecture_note(Architecture *model, const char *format, ...) {
    if (model->notes == ARCHITECTURE_NOTES_MOST) return;
    va_list args;
    va_start(args, format);
    vsnprintf(model->note[model->notes++], ARCHITECTURE_NOTE_SIZE, format, args);
    va_end(args);
}

double architecture_part_bytes(const Architecture *model, WeightPart part) {
    return model->parameters.part[part] * model->weight_bits[part] / 8;
}

double architecture_weight_bytes(const Architecture *model) {
    double bytes = 0;
    for (WeightPart part = 0; part < WEIGHT_PARTS; part++)
        bytes += architecture_part_bytes(model, part);
    return bytes;
}

/* The kind that grows with every token; where none does, the first that is read from tokens. */
static const CacheKind *main_kind(const Architecture *a) {
    const CacheKind *found = NULL;
    for (size_t k = 0; k < a->kind_count; k++) {
        const CacheKind *kind = &a->kind[k];
        const bool better = !found || (found->keeps == KEEPS_STATE && kind->keeps != KEEPS_STATE) ||
                            (found->reach != REACH_ALL && kind->reach == REACH_ALL &&
                             kind->keeps != KEEPS_STATE && kind->keeps != KEEPS_IMAGE);
        if (kind->layers && better) found = kind;
    }
    return found;
}

static int name_kind(const CacheKind *kind, char *label, size_t size) {
    switch (kind->keeps) {
    case KEEPS_LATENT:
        return snprintf(label, size, "MLA-%zu+%zu", kind->kv_lora_rank, kind->rope_dim);
    case KEEPS_ROW:
        return snprintf(label, size, "row-%zu", kind->key_dim);
    case KEEPS_STATE:
        return snprintf(label, size, "state");
    case KEEPS_IMAGE:
        return snprintf(label, size, "cross attention");
    case KEEPS_HEADS:
        break;
    }
    if (kind->kv_heads == kind->heads) return snprintf(label, size, "MHA");
    if (kind->kv_heads == 1) return snprintf(label, size, "MQA");
    return snprintf(label, size, "GQA-%zu", kind->kv_heads);
}

/* Appends ", n of m what" when some layers, but not the main kind's all, are so. */
static void name_some(const Architecture *a, size_t count, const char *what, char *label,
                      size_t size, size_t *used) {
    if (!count || *used >= size) return;
    const bool first = strstr(label, " of ") == NULL; /* the model's layers are named once */
    char layers[32] = "";
    if (first) snprintf(layers, sizeof layers, " of %zu", a->layers);
    if (count == a->layers)
        *used += (size_t)snprintf(label + *used, size - *used, ", %s", what);
    else
        *used += (size_t)snprintf(label + *used, size - *used, ", %zu%s %s", count, layers, what);
}

void architecture_label(const Architecture *a, char *label, size_t size) {
    const CacheKind *first = main_kind(a);
    size_t window = 0, chunk = 0, state = 0, image = 0, compressed = 0, index = 0, caches = 0;
    if (!first) {
        snprintf(label, size, "no cache");
        return;
    }
    for (size_t k = 0; k < a->kind_count; k++) {
        const CacheKind *kind = &a->kind[k];
        caches += kind->layers;
        if (kind->reach == REACH_WINDOW) window += kind->layers;
        if (kind->reach == REACH_CHUNK) chunk += kind->layers;
        if (kind->keeps == KEEPS_STATE) state += kind->layers;
        if (kind->keeps == KEEPS_IMAGE) image += kind->layers;
        if (kind->row_tokens > 1) compressed += kind->layers;
        if (kind->index_dim) index += kind->layers;
    }
    size_t used = (size_t)name_kind(first, label, size);
    if (caches == 2 * a->layers) used += (size_t)snprintf(label + used, size - used, " x2");
    name_some(a, index, "indexed", label, size, &used);
    name_some(a, compressed, "compressed", label, size, &used);
    name_some(a, window, "windowed", label, size, &used);
    name_some(a, chunk, "chunked", label, size, &used);
    name_some(a, first->keeps == KEEPS_STATE ? 0 : state, "state", label, size, &used);
    name_some(a, image, "image", label, size, &used);
    if (caches < a->layers) name_some(a, a->layers - caches, "none", label, size, &used);
}
