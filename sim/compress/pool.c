/* pool.c -- mean-pooling of heads (Ainslie et al. 2023, arXiv 2305.13245): the key and value
 * weights of a group are the mean over its heads. The measured baseline of every better method. */
#include <string.h>

#include "convert.h"

/* to [groups, row] = mean over the heads of each group of from [heads, row]. */
static void pool(size_t heads, size_t groups, size_t row, const float *from, float *to) {
    const size_t share = heads / groups;
#pragma omp parallel for
    for (size_t i = 0; i < groups * row; i++) {
        const size_t group = i / row, at = i % row;
        double sum = 0;
        for (size_t h = group * share; h < (group + 1) * share; h++) sum += from[h * row + at];
        to[i] = (float)(sum / (double)share);
    }
}

static void copy(size_t n, const float *from, float *to) {
    if (from) memcpy(to, from, n * sizeof *to);
}

Status convert_pool(Conversion *out, const ConvertSource *source, Error *err) {
    const Model *m = &out->model;
    const LayerWeights *from = source->weights;
    TRY(weights_alloc(&out->weights, m, err));
    LayerWeights *to = &out->weights;
    const size_t hidden = m->hidden, queries = m->heads * m->key_dim,
                 held = source->layer->kv_heads;
    copy(queries * hidden, from->q, to->q);
    copy(queries, from->q_bias, to->q_bias);
    copy(hidden * m->heads * m->value_dim, from->o, to->o);
    copy(hidden, from->o_bias, to->o_bias);
    copy(m->key_dim, from->q_norm, to->q_norm);
    copy(m->key_dim, from->k_norm, to->k_norm);
    pool(held, m->kv_heads, m->key_dim * hidden, from->k, to->k);
    pool(held, m->kv_heads, m->value_dim * hidden, from->v, to->v);
    if (from->k_bias) pool(held, m->kv_heads, m->key_dim, from->k_bias, to->k_bias);
    if (from->v_bias) pool(held, m->kv_heads, m->value_dim, from->v_bias, to->v_bias);
    return OK;
}
