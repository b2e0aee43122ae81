/* layer_parts.h -- what the files of the layer share: layer.c (workspace, the whole call),
 * layer_project.c (projections and output), layer_attend.c (the paths). Nobody else's. */
#ifndef KVLAB_LAYER_PARTS_H
#define KVLAB_LAYER_PARTS_H

#include "layer.h"

/* Rows that are projected at a time: enough for a good product, few enough that what lies between
 * two products stays small. */
enum { PROJECT_ROWS = 256 };

/* Both latent norms of MLA use this whatever the model's rms_norm_eps says, as its public
 * implementations do. */
#define LATENT_NORM_EPS 1e-6f

struct Layer {
    LayerParams params;
    CacheShape shape;
    size_t tokens;    /* most new tokens of a call */
    size_t positions; /* most tokens of a sequence, new ones included */
    float *rotations; /* [positions, rope_dim / 2, 2] cos and sin */

    /* Projection: [PROJECT_ROWS, ...] of what lies between two products. */
    float *query_latent; /* Q */
    float *latent;       /* C + R, materialised only: elsewhere it goes straight to the cache */
    float *key_values;   /* H (P + V), materialised only */

    /* Attention. */
    size_t attend_rows; /* query rows that `absorbed` and `expanded` take at a time */
    KvSequence *views;  /* [tokens] */
    float *workspace;   /* of attention_run */
    size_t workspace_floats;
    float *turned; /* queries for a cache whose rows are turned */
    size_t turned_floats;
    float *absorbed_q;     /* [attend_rows, H, C + R] */
    float *context;        /* [attend_rows, H, C] */
    float *chunk_latent;   /* [expand_tokens, C + R] */
    float *chunk;          /* one block of expanded keys and values */
    float *part;           /* [attend_rows, H, V] what one chunk adds */
    float *lse, *part_lse; /* [tokens, H] and [attend_rows, H] */

    /* The whole call; allocated when the first one comes. */
    float *q, *out;       /* [tokens, H, key], [tokens, H, value] */
    float *k, *v;         /* [PROJECT_ROWS, ...] rows for the cache */
    size_t *row_position; /* [tokens] */
};

/* Does this path keep the latent, shared by all heads? */
static inline bool layer_keeps_latent(const Layer *layer) {
    return layer->shape.shared;
}

/* The one block that `expanded` rebuilds keys and values of all heads into. */
KvLayout layer_chunk_layout(const Layer *layer);

/* layer_attend with its failure told. Errors: ERR_MACHINE when workspace is refused. */
Status layer_attend_checked(Layer *layer, const Cache *cache, const LayerBatch *batch,
                            const float *q, float *out, Error *err);

#endif
