/* coding.h -- how a cache is held in a codec: rows coded by token or by channel, windows of exact
 * rows, rotations.
 *
 * A block of P tokens, and beside the blocks of each sequence its exact rows:
 *
 *   | K of head 0 .. G-1 | V of head 0 .. G-1 |                 V not where it lies in the key row
 *   of each:  | P rows of codes | P / group times scales |      scales by channel, and fp8_model1's
 *   exact:    of each head | first tokens | window, a ring |    K, then V, in f16
 *
 * The first `sinks` tokens stay exact. The others pass the window, where there is one, and leave it
 * oldest first for the stream of codes: by token one by one, by channel a windowful at a time, when
 * a token comes to a window that is full. Where rows are of a row type and there are no exact rows
 * the kernels read them where they lie; else a tile is decoded at a time. */
#ifndef KVLAB_CODING_H
#define KVLAB_CODING_H

#include "attention.h"
#include "coder.h"
#include "rotation.h"

/* Keys, or values, of all heads. */
typedef struct {
    Coder coder;
    size_t offset, head_bytes; /* in a block: of head 0, from head to head */
    size_t scales;             /* of a head: where scales by channel begin */
    size_t exact, exact_head;  /* among the exact rows: of head 0, from head to head */
    Rotation rotation;         /* of the coded values, but for */
    Rotation rope;             /*   the rotated key of a latent behind them */
} CodingPart;

typedef struct {
    KvCoding kv; /* what attention is handed; first, so that its functions find the rest */
    CacheShape shape;
    size_t sinks, window, block_tokens;
    CodingPart key, value; /* value: nothing where it lies in the key row */
    size_t block_bytes, exact_bytes;
} Coding;

/* A sequence: where its blocks lie, and what it has beside them. */
typedef struct {
    size_t keys, values;  /* tokens in the streams of codes */
    unsigned char *exact; /* the exact rows */
} CodedRows;

/* The coding of a method that has passed method_check for this shape and block. Errors: ERR_INPUT
 * for a codec that cannot be held; ERR_MACHINE. */
Status coding_new(Coding **coding, const Codec *codec, const CacheShape *shape, size_t block_tokens,
                  Error *err);
void coding_free(Coding *coding);

/* What attention needs to know of the blocks. */
KvLayout coding_layout(const Coding *coding);

/* The exact rows of a new sequence; and their end. */
Status coding_open(const Coding *coding, CodedRows *rows, Error *err);
void coding_close(CodedRows *rows);

/* Tokens in the longer stream of codes once `tokens` are there: what blocks are needed for. */
size_t coding_stream(const Coding *coding, const CodedRows *rows, size_t tokens);

/* Takes tokens first .. first+tokens-1: k [tokens, kv_heads, key_dim], v likewise or NULL. The view
 * has the blocks that the stream needs. Errors: ERR_MACHINE; the rows are then as they were. */
Status coding_append(const Coding *coding, const Kernels *kernels, int threads,
                     const KvSequence *view, CodedRows *rows, size_t first, size_t tokens,
                     const float *k, const float *v, Error *err);

/* Tokens first .. first+tokens-1 as they were given, but for what the codec lost. */
void coding_read(const Coding *coding, const Kernels *kernels, const KvSequence *view, size_t first,
                 size_t tokens, float *k, float *v);

/* Forgets all but the first `tokens` tokens. A group by channel that is cut goes back to the
 * window, as its codes say. */
void coding_truncate(const Coding *coding, const Kernels *kernels, const KvSequence *view,
                     CodedRows *rows, size_t tokens);

/* Bytes of the rows of `tokens` tokens: in the blocks, and among the exact rows. */
void coding_payload(const Coding *coding, const CodedRows *rows, size_t tokens, size_t *coded,
                    size_t *exact);

/* Turns n queries [n, key_dim] as keys are turned before they are coded, and n outputs
 * [n, value_dim] back. Nothing where the codec turns nothing. */
bool coding_turns(const Coding *coding);
void coding_turn_queries(const Coding *coding, size_t n, float *q);
void coding_turn_outputs(const Coding *coding, size_t n, float *out);

#endif
