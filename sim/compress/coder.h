/* coder.h -- one row, or one group of rows, between floats and the bytes of a codec.
 *
 * A row type of codec.h is coded by the kernels, in its own layout. The others:
 *
 *   intB by token     | steps f16, a group each | least values f16 | codes of the row |
 *   intB by channel   | codes of a token's channels |   and for each group of tokens
 *                     | steps f16, a channel each | least values f16 |
 *   turboquant        | norm f16 | codes |
 *   fp8_model1        | e4m3 | rotated key bf16 |   and for each token | scales e8m0, padded to 8 |
 *
 * with the rotated key of a latent in bf16 behind the codes of its token. Codes are packed as
 * Kernels.pack_codes does.
 *
 *   intB         step = (max - least) / (2^B - 1), code = round((x - least) / step) with both as
 * they are stored; equal values have step 0. A group with a value that is not finite, or too large
 * for f16, decodes to NaN. turboquant   codes of x sqrt(n) / |x| by the codebook of N(0, 1)
 * (codebook.h), x having been rotated (rotation.h) */
#ifndef KVLAB_CODER_H
#define KVLAB_CODER_H

#include "codebook.h"
#include "kernel.h"
#include "method.h"

enum { CODER_VALUES_MOST = 8192 }; /* of a row that is not of a row type */

typedef struct {
    Codec codec;
    bool by_channel;
    bool typed;          /* rows are of a row type */
    RowFormat format;    /* its format; else only n and coded: values, and those in codes */
    size_t row_bytes;    /* of a token: codes, what is beside them, scales that are not apart */
    size_t group_tokens; /* whose scales lie apart from their rows, together; 0: in the rows */
    size_t group_bytes;  /* of these scales */
    Codebook codebook;   /* of turboquant, */
    float unit[16];      /*   its values for a row of norm 1 */
} Coder;

/* NULL where a codec can be held, else why not. */
const char *codec_unheld(const Codec *codec);

/* The coder of a key row (or latent) and of a value row of heads. The method has passed
 * method_check. */
Coder coder_of_keys(const Codec *codec, const CacheShape *shape);
Coder coder_of_values(const Codec *codec, const CacheShape *shape);

/* Scales in the row: one row of format.n values, and back. */
void coder_encode(const Coder *coder, const Kernels *kernels, const float *x, unsigned char *row);
void coder_decode(const Coder *coder, const Kernels *kernels, const unsigned char *row, float *x);

/* Scales apart: group_tokens tokens x [group_tokens, ld] to rows, row_bytes apart, and scales. */
void coder_encode_group(const Coder *coder, const Kernels *kernels, const float *x, size_t ld,
                        unsigned char *rows, unsigned char *scales);
/* n rows of one group, back to x [n, ld]. */
void coder_decode_group(const Coder *coder, const Kernels *kernels, size_t n,
                        const unsigned char *rows, const unsigned char *scales, float *x,
                        size_t ld);

#endif
