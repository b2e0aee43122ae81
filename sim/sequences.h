/* sequences.h -- synthetic sequences and weights with the statistics of real keys and values.
 *
 * `hidden` draws hidden states and the weights of a layer, so that weight-aware methods can be
 * tried; `direct` draws keys and values alone, for timing kernels. Everything follows from
 * counters, never from the order of calls: same seed, same bits, for any number of threads. */
#ifndef KVLAB_SEQUENCES_H
#define KVLAB_SEQUENCES_H

#include <stdint.h>

#include "weights.h"

/* Each field is a key `sequences.*` of a study; defaults are the verified ones. */
typedef struct {
    uint64_t seed;
    size_t vocabulary;      /* 4096 */
    size_t clusters;        /* 64 */
    double zipf_offset;     /* 2.7: p(k) ~ 1 / (k + offset) */
    double embedding_noise; /* 1.0 */
    size_t topic_dim;       /* 32 */
    double topic_rho;       /* 0.95 */
    double topic_weight;    /* 0.6 */
    double token_noise;     /* 0.5 */
    double mean_weight;     /* 0.6 */
    double channel_spread;  /* 0.5: channels are multiplied by exp(spread * N(0,1)) */
    double key_decay;       /* 0.5: W_K has singular values i^-decay */
    double value_decay;     /* 0.1 */
    double query_decay;     /* 0.4 */
    double axes_blend;      /* 0.3 of the data's principal axes, the rest random orthogonal */
    double frequency_gain;  /* 2.0: row gains exp(gain (f - 1/2)), f = 0 fast .. 1 slow */
    size_t offset_pairs;    /* 3 slow pairs a key/value head get a constant offset */
    double offset_size;     /* 0.4 */
    double key_value_ratio; /* 4.5: norm of K over norm of V */
    double logit_std;       /* 1.5, row-centred */
    double sink_mass;       /* 0.25: attention mass that the first token draws; 0: no sink */
    double outlier_tokens;  /* 0: share of tokens with large values (MHA, GQA and MQA) */
    double outlier_size;    /* 8.0: their norm over that of other values */
} SequencesParams;

/* The verified defaults. */
SequencesParams sequences_defaults(void);

/* Channels of the hidden states that only outlier tokens use, i < OUTLIER_CHANNELS: values read
 * them, keys and queries do not. With outliers, hidden >= OUTLIER_HIDDEN. */
enum { OUTLIER_CHANNELS = 16, OUTLIER_HIDDEN = 64 };
size_t sequences_outlier_channel(const SequencesParams *params, size_t hidden, size_t i);

/* What each of them is in an outlier token, up to its sign. */
double sequences_outlier_amplitude(size_t hidden);

/* Hidden states x [tokens, hidden] of sequence number `sequence` (another number, another text from
 * the same distribution), RMS-normalised as a layer's input is. */
Status sequences_hidden(const SequencesParams *params, uint64_t sequence, size_t tokens,
                        size_t hidden, float *x, Error *err);

/* Weights of a layer of this model for those hidden states; allocates. Takes O(elements log
 * elements): structured orthogonal factors, no dense factorisation. `context` is the sequence
 * length that the sink is set for. Release with weights_free. */
Status sequences_weights(const SequencesParams *params, const Model *model, size_t context,
                         LayerWeights *weights, Error *err);

/* The direct generator: x [tokens, heads, dim] = mean + F diag(i^-decay) U^T, F an AR(1) Student-t
 * process; stream tells K, V and sequences apart. */
Status sequences_direct(const SequencesParams *params, uint64_t stream, size_t tokens, size_t heads,
                        size_t dim, double decay, float *x, Error *err);

#endif
