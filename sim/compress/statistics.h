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
    Moments rotated;               /* [n_k]: of keys after RoPE; n = 0 unless asked for */
    double *queries;               /* [H, d, d]: sum q q^T of each query head before RoPE */
    float *sample;                 /* [min(tokens, STATISTICS_SAMPLE), D] hidden states */
    float *slab;                   /* projections of some tokens */
    float *turns;                  /* cos and sin of their positions, where rotated is there */
} Statistics;

/* What more is summed, bits. */
enum { STATISTICS_INPUT = 1, STATISTICS_ROTATED = 2 };

/* Zeroed room for a layer of MHA, GQA or MQA, with what `more` asks for. Errors: ERR_INPUT for MLA
 * and for norms of heads, which no map of the keys passes through; ERR_MACHINE. Release with
 * statistics_free. */
Status statistics_new(Statistics *statistics, const Model *layer, unsigned more, Error *err);
void statistics_free(Statistics *statistics);

/* Adds the next tokens, x [tokens, D]; the first ever is at position 0. */
void statistics_add(Statistics *statistics, const Model *layer, const LayerWeights *weights,
                    size_t tokens, const float *x);

/* After the last token. */
void statistics_finish(Statistics *statistics);

/* Mean square of each query head's pairs, halved: the weight lambda_(g, j) of key channel j in the
 * logits under RoPE, 1/2 sum over the heads of group g of E |q_(h, j)|^2, the same for both
 * channels of a pair: out [n_k]. Channels that are not rotated have the full mean square. */
void statistics_logit_weights(const Statistics *statistics, const Model *layer, double *out);

#endif
