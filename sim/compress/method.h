/* method.h -- the compression methods: how a method is named, what it asks of the cache it works
 * on, and the bytes it takes, as one pure function of method, shape and tokens.
 *
 *   CONVERSION[*CODEC][@EVICTION]     mla-448+64    gqa-2*q4_0    mha*kivi-2-g32-r128
 *                                     mla-512+64*int4-g32-hadamard    mha@h2o-1/16
 *
 * CONVERSION decides what one token leaves in the cache (a row a head, a latent; recipe.h), CODEC
 * how that is stored, EVICTION how many tokens stay. A codec of a latent works on its C values; the
 * rotated key beside them stays bf16 unless -rope is said. f32, bf16 and f16 hold whole rows.
 *
 *   codec                      stored                                         default
 *   f32 bf16 f16               as they are
 *   fp8                        e4m3; a scale (fp32) a row of a head, none for a latent
 *   fp8_e5m2                   e5m2, no scale
 *   int8                       symmetric, a scale (fp32) a row
 *   int4                       as int4-g32
 *   q8_0 q4_0 mxfp4 nvfp4      blocks of 32, 32, 32 and 64 values
 *   fp8_ds_mla                 a latent: e4m3, a scale (fp32) every 128; bf16 rotated key
 *   fp8_model1                 a latent: e4m3, bf16 rotated key; behind a block's tokens their
 *                              scales (e8m0) every 64, padded to 8
 *   intB                       B = 2, 3, 4, 8; least and step (fp16) a group    g32, by token
 *   kivi-B                     B = 2, 4; keys by channel, values by token       g32, r128
 *   turboquant-B               B = 1 to 4; norm (fp16), rotated, Lloyd-Max codebook
 *   nominal-B                  B bits a value and nothing else: can be counted, not held
 *
 *   option of a codec
 *   -gN        groups of N values        -token   one group a row     -channel  groups of N tokens
 *   -rN        the newest N tokens stay f16       -sinkN  the first N tokens stay f16
 *   -hadamard  rotated before they are stored     -rope   the rotated key of a latent is coded too
 *
 *   eviction, F the share that is kept: streaming-F, h2o-F, snapkv-F, oracle-F; 1/16 or 0.0625 */
#ifndef KVLAB_METHOD_H
#define KVLAB_METHOD_H

#include "model.h"

enum {
    METHOD_NAME = 96,
    CONVERSION_NAME = 64
}; /* bytes of a specification, and of its first part */

typedef enum {
    CODEC_ROWS,       /* a row type: every row by itself, in units of `group` values */
    CODEC_INTS,       /* unsigned integers with least and step of each group */
    CODEC_TURBOQUANT, /* codebook indices and a norm a row */
    CODEC_NOMINAL     /* bits, counted only */
} CodecKind;

typedef struct {
    CodecKind kind;
    char name[16];             /* in the table above: "q4_0", "int4", "kivi" */
    unsigned bits;             /* of a value; of CODEC_ROWS its codes' */
    size_t group;              /* values that share a scale; 0: the whole row */
    bool k_channel, v_channel; /* groups run over tokens of a channel, not channels of a token */
    size_t residual;           /* newest tokens that stay f16 */
    size_t sinks;              /* first tokens that stay f16 */
    bool hadamard;             /* rotated first */
    bool rope;                 /* the rotated key of a latent is coded like the rest */
} Codec;

typedef enum { EVICT_NONE, EVICT_STREAMING, EVICT_H2O, EVICT_SNAPKV, EVICT_ORACLE } EvictionKind;

typedef struct {
    EvictionKind kind;
    double keep; /* share of the tokens, in (0, 1] */
} Eviction;

typedef struct {
    char name[METHOD_NAME]; /* the whole specification */
    char conversion[CONVERSION_NAME];
    Codec codec; /* bf16 when none is named */
    Eviction eviction;
} Method;

/* Reads a specification, its conversion only as a word (recipe_parse reads it for a layer). Errors:
 * ERR_INPUT naming the part that is wrong, what is allowed, the nearest right name; a group,
 * residual or share that can fit no cache is refused here too. */
Status method_parse(Method *out, const char *specification, Error *err);

/* Does the method fit rows of this shape in blocks of that many tokens? Errors: ERR_INPUT for a
 * group that does not divide, a codec of a tensor that it is not made for, two bits of a rotated
 * key, rows that no Hadamard transform fits, tokens that share scales and are evicted one by one.
 */
Status method_check(const Method *method, const CacheShape *shape, size_t block_tokens, Error *err);

/* Values of a row that the codec works on: of a key (or the latent), and of a value (0 when it lies
 * in the key row). */
size_t codec_key_values(const Codec *codec, const CacheShape *shape);
size_t codec_value_values(const CacheShape *shape);

/* What one sequence of `tokens` tokens takes in one layer. `exact`. */
typedef struct {
    size_t code_bytes;  /* values as they are coded */
    size_t scale_bytes; /* scales, least values, norms */
    size_t exact_bytes; /* beside the codes: residual window and sinks (f16), rotated keys (bf16) */
    size_t index_bytes; /* of eviction: positions and scores of kept tokens */
    size_t waste_bytes; /* room in blocks and windows that holds no token */
    size_t table_bytes; /* the block table, 4 bytes a block */
    size_t stored_bytes; /* codes, scales, exact and index: what ratios are about */
    size_t held_bytes;   /* all of it */
    size_t read_bytes;   /* traffic of one decode step: the rows that attention looks at */
    size_t kept_tokens;  /* a head, at most */
} MethodBytes;

/* The accountant: exact for every method that passed method_check. Windows of the residual rule:
 * values keep the newest min(S, R) tokens; keys by channel are flushed R at a time, when a token
 * comes to a window that is full, so ((S - 1) mod R) + 1 of them stay. */
MethodBytes method_bytes(const Method *method, const CacheShape *shape, size_t tokens,
                         size_t block_tokens);

/* Tokens of a sequence of S that are in the window of keys, and of values. */
size_t codec_key_window(const Codec *codec, size_t tokens);
size_t codec_value_window(const Codec *codec, size_t tokens);

/* The row type that stores rows as the codec says, in *out; false where none does. */
bool codec_row_type(const Codec *codec, bool by_channel, RowType *out);

/* Bytes of `values` values of one row, codes and scales: what a token adds, where groups run over
 * channels. */
size_t codec_row_bytes(const Codec *codec, bool latent, size_t values);

/* Bytes of a block that holds so many: those of fp8_model1 are padded to a multiple of 576. */
size_t codec_block_bytes(const Codec *codec, size_t bytes);

/* Kept tokens of `visible` under an eviction: all, or at least one. */
size_t eviction_kept(const Eviction *eviction, size_t visible);

/* "streaming", "h2o", "snapkv", "oracle"; "" for none. */
const char *eviction_name(EvictionKind kind);

/* Positions of kept tokens, and what an eviction must remember of each to go on. */
size_t eviction_index_bytes(const Eviction *eviction, size_t heads, size_t kept);

/* ---- the two parts, behind method_parse: text is what follows '*' and '@', `specification` what
 * messages name ---- */
Status codec_parse(Codec *out, const char *text, const char *specification, Error *err);
Status eviction_parse(Eviction *out, const char *text, const char *specification, Error *err);

#endif
