/* synthesis.h -- the weights of one synthetic layer while they are made.
 *
 * A layer is seen as parts: rows of a matrix, what they are applied to, and how many of them a
 * head has. With MHA, GQA and MQA the keys are one part, rotated; with MLA each head has a content
 * part read from the latent, and all share the rotated part. What follows the filling of the
 * factors (offsets, norms, logits, the sink, the output) is the same for both. */
#ifndef KVLAB_SYNTHESIS_H
#define KVLAB_SYNTHESIS_H

#include "factor.h"
#include "sample.h"
#include "sequences.h"

typedef struct {
    Rows rows;
    const Sample *input;
    size_t width; /* rows a head; rows.count / width heads, 1 when all share it */
} Part;

typedef struct {
    const SequencesParams *params;
    const Model *model;
    LayerWeights *weights;
    size_t context;
    Sample input, latent, query_latent; /* the latents of MLA only */
    Part content;                       /* keys that are not rotated: of MLA, else no rows */
    Part rotary;                        /* keys with their rotated pairs first */
    Part query, value;
    size_t query_rotary; /* where the rotated pairs of a query head begin */
} Synthesis;

/* Tokens of the sample that statistics are taken on; means and axes come from those after. */
enum { MEASURED_TOKENS = 256 };

/* What the streams of random numbers are for. */
enum {
    STREAM_KEYS = 0x100,
    STREAM_CONTENT_KEYS,
    STREAM_VALUES,
    STREAM_QUERIES,
    STREAM_LATENT,
    STREAM_QUERY_LATENT,
    STREAM_OUTPUT,
    STREAM_OFFSETS,
    STREAM_OFFSET_SIZES,
    STREAM_OFFSET_SIGNS,
    STREAM_OUTLIER_VALUES,
    STREAM_SINK
};

/* The row within a rotated head of the first (which = 0) or second element of a pair. */
size_t synthesis_pair_row(const Rope *rope, size_t pair, size_t which);

/* The factor of a part: its leading directions blended with its input's axes, gain as given. */
Status synthesis_fill(const Synthesis *s, const Part *part, uint64_t stream, double decay,
                      double blend, const float *gain, Error *err);

/* Row gains exp(power gain (f - 1/2)) of the rotated pairs, f = 0 (fast) .. 1 (slow), 1 for the
 * others: gain [heads, width] with the pairs from `first` in each head. */
void synthesis_gains(const Synthesis *s, double power, size_t heads, size_t width, size_t first,
                     float *gain);

/* What a few heads, spread over the layer, give on the first tokens of the sample: queries and keys
 * before rotation, query and key norm applied where the model has them. Rows of a structured
 * orthogonal factor are alike, so these stand for all. */
typedef struct {
    size_t tokens, heads;
    float *key, *query, *value; /* [heads, tokens, key_dim or value_dim] */
} Measured;

/* Room for the measured heads of a layer; release with measured_free, also after a failure. */
Status measured_new(Measured *m, const Synthesis *s, Error *err);
void measured_free(Measured *m);

/* Fills them from the weights as they are now. */
void measured_take(const Synthesis *s, Measured *m);

/* Mean square of the norms of x [heads, tokens, width], the first token left out. */
double measured_square(const Measured *m, size_t width, const float *x);

/* The measured query head number i. */
size_t measured_head(const Synthesis *s, const Measured *m, size_t i);

/* Adds u [rows] to what a part gives, for every token about the same: u mean^T / |mean|^2. u is
 * used up. */
void synthesis_add_constant(const Part *part, float *u);

/* The attention sink, and the first token's key and value that belong to it. m holds keys and
 * queries after rotation, table the rotations of its positions. */
Status synthesis_sink(const Synthesis *s, const Measured *m, const float *table, double key_norm,
                      double value_norm, Error *err);

/* Everything after the factors, in this order: key size and offsets, value size, logits, the sink,
 * the output projection. */
Status synthesis_calibrate(Synthesis *s, Error *err);

#endif
