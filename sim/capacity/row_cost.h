/* row_cost.h -- bytes that one token leaves in one cache of a kind, and a sequence in one state, as
 * an engine stores them on one rank. `exact`. */
#ifndef KVLAB_ROW_COST_H
#define KVLAB_ROW_COST_H

#include "architecture.h"
#include "codec.h"
#include "engine.h"

typedef struct {
    double logical; /* the values alone at their type's width; MLA: C + R of them */
    double layout; /* as the engine stores them: scales, index keys, padded or materialised heads */
    double index;  /* of layout: the index key */
} RowCost;

/* Does the engine cache keys and values of all heads instead of the latent? */
bool row_cost_materialised(const CacheKind *kind, const Engine *engine);

/* The type that an engine really uses for the rows of a kind (fp8 of DSA is fp8_ds_mla in some). */
KvType row_cost_type(const CacheKind *kind, const Engine *engine, KvType type);

/* NULL where the kind can be stored so, else why not, as a constant text. */
const char *row_cost_misfit(const CacheKind *kind, const Engine *engine, KvType type);

/* One row on a rank that holds 1/split of the heads, rounded up to whole heads; latents, their
 * index keys and shared rows are never split. Nothing for states and images. */
RowCost row_cost(const CacheKind *kind, const Engine *engine, KvType type, size_t split);

/* The state of a sequence and its convolution's tail on such a rank; 0 for what keeps none. */
double row_cost_state(const CacheKind *kind, const Engine *engine, size_t split);

/* Heads of a kind that are split over ranks: G, H where materialised, 1 for what is not split. */
size_t row_cost_heads(const CacheKind *kind, const Engine *engine);

#endif
