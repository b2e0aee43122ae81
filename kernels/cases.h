/* cases.h -- the one list of what `kvlab bench` checks and times.
 *
 * A case is a shape, a phase, a row type and a length, and it declares the least that one call must
 * compute and move: what a kernel is judged by stands beside what it is asked to do. Cases are pure
 * data; sim/bench puts them into memory.
 *
 * Letters: H query heads, G key/value heads, B sequences, T query tokens, S rows held, of which the
 * query tokens are the last; M rows of a projection. */
#ifndef KVLAB_CASES_H
#define KVLAB_CASES_H

#include <stdbool.h>
#include <stddef.h>

#include "attention.h"

typedef enum {
    WORK_ATTENTION,  /* attention_run over rows where they lie */
    WORK_EXPANDED,   /* keys and values rebuilt from the latent, then attention */
    WORK_PROJECTION, /* y [M, out] = x [M, in] w^T */
    WORK_ENCODE,     /* floats into stored rows */
    WORK_DECODE      /* stored rows into floats */
} CaseWork;

typedef struct {
    CaseWork work;
    const char *kind;  /* mha, gqa, mqa, mla, projection, codec */
    const char *shape; /* as names carry it: "mla-v3", "gqa-32-8-128" */
    const char *path;  /* materialised, expanded, absorbed; NULL without attention */
    const char *phase; /* decode, prefill, project, encode_rows, decode_rows */
    RowType type;      /* of cached rows; of the weights of a projection */
    size_t heads;      /* H; 0 without attention */
    size_t kv_heads;   /* G */
    size_t dk, dv;     /* widths; in and out of a projection; dk: of the row of a codec */
    size_t rank, rope; /* C and R where the latent is cached, else 0 */
    size_t batch;      /* B */
    bool ragged;       /* sequences of S/B, 2S/B, ... S tokens */
    bool check_only;   /* never timed: odd widths */
    size_t q_tokens;   /* T; M of a projection */
    size_t kv_tokens;  /* S of the longest sequence; rows of a codec */
} Case;

/* The list, in the order in which it is run. */
size_t case_count(void);
Case case_at(size_t i);

/* phase/shape/path/type/length, path where there is more than one (mla):
 * "decode/mla-v3/absorbed/bf16/4k", "decode/gqa-32-8-128/bf16/4k/b64",
 * "project/llama-4096x4096/f32/m4". At least 96 bytes. */
void case_name(const Case *c, char *name, size_t size);

/* Rows that sequence s of a case holds. */
size_t case_tokens(const Case *c, size_t s);

/* Is a call timed on rows or weights that no cache holds? Not prefill: its rows were just written.
 */
bool case_is_cold(const Case *c);

/* Where the cached rows of attention lie, in blocks of this many tokens. */
KvLayout case_layout(const Case *c, size_t block_tokens);

/* How one row of a codec is stored, and one row of a projection's weights. */
RowFormat case_row_format(const Case *c);

/* Bytes of such a row; of all cached rows of one token where there is attention. */
size_t case_row_bytes(const Case *c);

/* The least a call computes and moves. Attention: attention_cost; expanded: as materialised, with
 * 2 C H (P + V) flops to rebuild each row and the weights once; projections: 2 M in out flops, and
 * weights, inputs and outputs once; codecs: the stored rows and their floats on the side that does
 * not fit a cache. */
Cost case_cost(const Case *c);

#endif
