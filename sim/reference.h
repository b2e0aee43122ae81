/* reference.h -- the definition of correct: one attention layer in fp64, written to be read.
 *
 * No cache, no blocks, no paths: per-head keys and values from the whole input, causal softmax.
 * The intermediate arrays are kept, because every error metric compares against them. */
#ifndef KVLAB_REFERENCE_H
#define KVLAB_REFERENCE_H

#include "weights.h"

typedef struct {
    size_t tokens, heads, kv_heads, key_dim, value_dim, hidden;
    size_t queries; /* the last so many of the tokens also ask */
    double scale;   /* softmax scale */
    double *q;      /* [queries, heads, key_dim] after RoPE */
    double *k;      /* [tokens, kv_heads, key_dim] after RoPE */
    double *v;      /* [tokens, kv_heads, value_dim] */
    double *k_pre;  /* [tokens, kv_heads, key_dim] before RoPE */
    double *out;    /* [queries, heads, value_dim] before the output projection */
    double *y;      /* [queries, hidden] */
} Reference;

/* The layer over one sequence x [tokens, D]. Materialises MLA: kv_heads = H. */
Status reference_run(Reference *reference, const Model *model, const LayerWeights *weights,
                     size_t tokens, const float *x, Error *err);

/* The same where only the last `queries` tokens (at most all) ask: time and memory are then linear
 * in the tokens. */
Status reference_run_last(Reference *reference, const Model *model, const LayerWeights *weights,
                          size_t tokens, size_t queries, const float *x, Error *err);
void reference_free(Reference *reference);

/* Attention alone in fp64: out [tokens, heads, value_dim] for causal queries over k and v of one
 * sequence, query i seeing keys 0 .. first + i. */
void reference_attention(size_t q_tokens, size_t first, size_t heads, size_t kv_heads,
                         size_t key_dim, size_t value_dim, double scale, const double *q,
                         const double *k, const double *v, double *out);

#endif
