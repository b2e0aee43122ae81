/* row_cost.c -- see row_cost.h; the bytes of a row come from codec.h alone. */
#include "row_cost.h"

static size_t ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

/* Bytes of n values without scales: int4 and q4_0 half a byte, f32 four. */
static double plain_bytes(RowType type, size_t n) {
    switch (type) {
    case ROW_F32:
        return 4.0 * (double)n;
    case ROW_BF16:
    case ROW_F16:
        return 2.0 * (double)n;
    case ROW_INT4:
    case ROW_Q4_0:
    case ROW_MXFP4:
    case ROW_NVFP4:
        return 0.5 * (double)n;
    default:
        return (double)n;
    }
}

static bool has_latent(const CacheKind *kind) {
    return kind->keeps == KEEPS_LATENT || kind->keeps == KEEPS_ROW;
}

/* The unrotated and the rotated part of a shared row. */
static size_t latent_width(const CacheKind *kind) {
    return kind->keeps == KEEPS_LATENT ? kind->kv_lora_rank : kind->key_dim - kind->rope_dim;
}

bool row_cost_materialised(const CacheKind *kind, const Engine *engine) {
    return kind->keeps == KEEPS_LATENT &&
           (engine->latent == MLA_MATERIALISED || kind->kv_lora_rank == engine->materialised_rank);
}

KvType row_cost_type(const CacheKind *kind, const Engine *engine, KvType type) {
    const bool sparse = kind->index_dim || kind->keeps == KEEPS_ROW;
    if (engine->index_fp8_ds_mla && has_latent(kind) && sparse && type.k == ROW_FP8)
        return kv_type(ROW_FP8_DS_MLA);
    return type;
}

/* The rows of a head as the engine stores them. */
static RowFormat key_format(const CacheKind *kind, KvType type) {
    return row_format(type.k, kind->keeps == KEEPS_LATENT ? kind->nope_dim + kind->rope_dim
                                                          : kind->key_dim);
}

static RowFormat value_format(const CacheKind *kind, const Engine *engine, KvType type) {
    if (kind->keeps != KEEPS_LATENT) return row_format(type.v, kind->value_dim);
    return row_format(type.v,
                      engine->value_padded ? kind->nope_dim + kind->rope_dim : kind->mla_value_dim);
}

const char *row_cost_misfit(const CacheKind *kind, const Engine *engine, KvType type) {
    if (kind->keeps == KEEPS_STATE || kind->keeps == KEEPS_IMAGE) return NULL;
    type = row_cost_type(kind, engine, type);
    if (kind->keeps == KEEPS_ROW && type.k == ROW_FP8_DS_MLA) return NULL; /* 64 values a scale */
    if (kind->keeps == KEEPS_LATENT && type.k == ROW_FP8_DS_MLA && kind->kv_lora_rank != 512)
        return "engines have this layout for a kv_lora_rank of 512 alone";
    if (has_latent(kind) && !row_cost_materialised(kind, engine))
        return row_format_misfit(row_format_latent(type.k, latent_width(kind), kind->rope_dim));
    const char *why = row_format_misfit(key_format(kind, type));
    return why ? why : row_format_misfit(value_format(kind, engine, type));
}

size_t row_cost_heads(const CacheKind *kind, const Engine *engine) {
    if (kind->keeps == KEEPS_HEADS) return kind->kv_heads;
    return row_cost_materialised(kind, engine) ? kind->heads : 1;
}

/* The index key: e4m3 with one fp32 scale beside MLA rows (DSA), half a byte a value beside the
 * compressed rows of DeepSeek-V4. */
static double index_bytes(const CacheKind *kind) {
    if (!kind->index_dim) return 0;
    return (kind->keeps == KEEPS_ROW ? 0.5 : 1) * (double)kind->index_dim + 4;
}

/* A shared row: MLA's by the codec; DeepSeek-V4's fp8 row keeps a scale byte for each 64 of its
 * unrotated values, and is padded to a multiple of 8. */
static double latent_bytes(const CacheKind *kind, KvType type) {
    const size_t latent = latent_width(kind), rope = kind->rope_dim;
    if (kind->keeps == KEEPS_ROW && type.k == ROW_FP8_DS_MLA)
        return (double)(ceil_div(latent + 2 * rope + ceil_div(latent, 64), 8) * 8);
    return (double)row_bytes(row_format_latent(type.k, latent, rope));
}

static double logical_latent(const CacheKind *kind, KvType type) {
    const RowType rope_type = type.k == ROW_FP8_DS_MLA ? ROW_BF16 : type.k;
    return plain_bytes(type.k, latent_width(kind)) + plain_bytes(rope_type, kind->rope_dim);
}

RowCost row_cost(const CacheKind *kind, const Engine *engine, KvType type, size_t split) {
    if (kind->keeps == KEEPS_STATE || kind->keeps == KEEPS_IMAGE) return (RowCost){ 0 };
    type = row_cost_type(kind, engine, type);
    const double index = index_bytes(kind);
    const double heads = (double)ceil_div(row_cost_heads(kind, engine), split);
    if (!has_latent(kind))
        return (RowCost){ .logical = heads * (plain_bytes(type.k, kind->key_dim) +
                                              plain_bytes(type.v, kind->value_dim)),
                          .layout = heads * (double)(row_bytes(key_format(kind, type)) +
                                                     row_bytes(value_format(kind, engine, type))) +
                                    index,
                          .index = index };
    RowCost cost = { .logical = logical_latent(kind, type), .index = index };
    cost.layout = index + (row_cost_materialised(kind, engine)
                               ? heads * (double)(row_bytes(key_format(kind, type)) +
                                                  row_bytes(value_format(kind, engine, type)))
                               : latent_bytes(kind, type));
    return cost;
}

double row_cost_state(const CacheKind *kind, const Engine *engine, size_t split) {
    if (kind->keeps != KEEPS_STATE) return 0;
    const size_t heads = kind->state_heads ? kind->state_heads : 1;
    const double share = (double)ceil_div(heads, split) / (double)heads;
    const double element =
        kind->state_element_bytes ? (double)kind->state_element_bytes : engine->state_bytes;
    return share * ((double)kind->state_elements * element +
                    (double)kind->conv_elements * engine->conv_bytes);
}
