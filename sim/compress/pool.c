/* pool.c -- MHA to GQA by mean-pooling (Ainslie et al. 2023, arXiv 2305.13245): the key and value
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

Status convert_pool(Conversion *out, const LayerWeights *weights, Error *err) {
    const Model *m = &out->model;
    TRY(weights_alloc(&out->weights, m, err));
    const size_t heads = m->heads, hidden = m->hidden;
    memcpy(out->weights.q, weights->q, heads * m->key_dim * hidden * sizeof(float));
    memcpy(out->weights.o, weights->o, hidden * heads * m->value_dim * sizeof(float));
    pool(heads, m->kv_heads, m->key_dim * hidden, weights->k, out->weights.k);
    pool(heads, m->kv_heads, m->value_dim * hidden, weights->v, out->weights.v);
    return OK;
}
