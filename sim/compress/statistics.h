/* statistics.h -- what conversions look at: moments of a layer's keys, values and queries over
 * calibration text, streamed, so that memory does not grow with the text.
 *
 * n_k = G d and n_v = G V are the widths of the layer's keys and values. */
#ifndef KVLAB_STATISTICS_H
#define KVLAB_STATISTICS_H

#include "moments.h"
#include "weights.h"

/* Calibration tokens that are kept as they are, the first ones. */
enum { STATISTICS_SAMPLE = 256 };

typedef struct {
    size_t tokens;
    size_t key_width, value_width; /* n_k, n_v */
    Moments kv;                    /* [n_k + n_v]: of keys before RoPE, then values */
    Moments input;                 /* [D]: of hidden states; n = 0 unless asked for */
    double *queries;               /* [H, d, d]: sum q q^T of each query head before RoPE */
    float *sample;                 /* [min(tokens, STATISTICS_SAMPLE), D] hidden states */
    float *slab;                   /* projections of some tokens */
} Statistics;

/* Zeroed room for a layer of MHA, GQA or MQA; the moments of hidden states (D x D) only where
 * with_input is set. Errors: ERR_INPUT for MLA and for norms of heads, which no map of the keys
 * passes through; ERR_MACHINE. Release with statistics_free. */
Status statistics_new(Statistics *statistics, const Model *layer, bool with_input, Error *err);
void statistics_free(Statistics *statistics);

/* Adds the next tokens, x [tokens, D]. */
void statistics_add(Statistics *statistics, const Model *layer, const LayerWeights *weights,
                    size_t tokens, const float *x);

/* After the last token. */
void statistics_finish(Statistics *statistics);

/* Mean square of each query head's pairs, halved: the weight lambda_(g, j) of key channel j in the
 * logits under RoPE, 1/2 sum over the heads of group g of E |q_(h, j)|^2, the same for both
 * channels of a pair: out [n_k]. Channels that are not rotated have the full mean square. */
void statistics_logit_weights(const Statistics *statistics, const Model *layer, double *out);

#endif
