/* codec.h -- how cached rows are stored: the row types, their names and their size in bytes.
 *
 * A row is what one token leaves in the cache for one head (or the latent shared by all heads of
 * MLA: C values, then the R of the rotated key). Encoding and decoding belong to the kernel table
 * (kernel.h), since every tier has its own. How n values lie in a row, little-endian:
 *
 *   f32 bf16 f16   | n values |
 *   fp8            | scale f32 | n e4m3 |                   of a latent without scale: | n e4m3 |
 *   int8           | scale f32 | n int8 |
 *   int4           n/32 times | scale f16 | least f16 | 16 bytes |
 *   q8_0           n/32 times | scale f16 | 32 int8 |
 *   q4_0           n/32 times | scale f16 | 16 bytes |
 *   fp8_ds_mla     | C e4m3 | C/128 scales f32 | R bf16 |
 *   fp8_e5m2       | n e5m2 |
 *   mxfp4          n/32 times | scale e8m0 | 16 bytes |
 *   nvfp4          n/64 times | 4 scales e4m3 | 4 times 8 bytes |
 *
 * 16 bytes hold 32 values of 4 bits: value i in the low half of byte i, value i+16 in the high one;
 * 8 bytes hold 16 alike.
 *
 *   fp8          x = scale * e; scale = max|x| / 448; e4m3 as e4m3fn: greatest 448, no infinity,
 *                rounded to nearest even, saturating. A latent's values are cast as they are.
 *   int8, q8_0   x = scale * q; scale = max|x| / 127, q = round(x / scale)
 *   q4_0         x = scale * (q - 8); scale = x* / -8 of the x* greatest in magnitude,
 *                q = floor(x / scale + 8.5), at most 15
 *   int4         x = scale * q + least; scale = (max - least) / 15, q = round((x - least) / scale)
 *   fp8_ds_mla   fp8 in groups of 128, the scale rounded up to a power of two, at least 1e-4
 * before; the rotated key is not quantised
 *
 *   fp8_e5m2     cast as it is: greatest 57344, rounded to nearest even, saturating; infinity stays
 *   mxfp4        x = 2^k * e; k = floor(log2 max|x|) - 2; e2m1: 0 .5 1 1.5 2 3 4 6 and their
 *                negatives, rounded to nearest even, saturating
 *   nvfp4        x = scale * e in groups of 16; scale = max|x| / 6 in e4m3, at most 448
 *
 * q8_0, q4_0, mxfp4 and nvfp4 are packed as ggml packs them, fp8_ds_mla is FlashMLA's. A group in
 * which a value is not finite, or that is too large for its scale, decodes to NaN throughout; a
 * cast saturates infinity and keeps NaN. */
#ifndef KVLAB_CODEC_H
#define KVLAB_CODEC_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    ROW_F32,
    ROW_BF16,
    ROW_F16,
    ROW_FP8,
    ROW_INT8,
    ROW_INT4,
    ROW_Q8_0,
    ROW_Q4_0,
    ROW_FP8_DS_MLA,
    ROW_FP8_E5M2,
    ROW_MXFP4,
    ROW_NVFP4,
    ROW_TYPE_COUNT
} RowType;

/* "f32", "bf16", "f16", "fp8", "int8", "int4", "q8_0", "q4_0", "fp8_ds_mla", "fp8_e5m2", "mxfp4",
 * "nvfp4". */
const char *row_type_name(RowType type);

/* The type of that name in *out; false (and *out untouched) when there is none. */
bool row_type_parse(const char *name, RowType *out);

/* How one row is stored; made by one of the functions below. */
typedef struct {
    RowType type;
    bool latent;    /* a row of MLA's latent */
    size_t n;       /* values */
    size_t coded;   /* the first so many are in the type, the others behind them in bf16 */
    size_t rope_at; /* where these begin, in bytes: all that is coded, its scales included */
} RowFormat;

/* Of a head: all n values coded. */
RowFormat row_format(RowType type, size_t n);

/* Of a latent of C values and the R of the rotated key: all coded, but for fp8_ds_mla, which keeps
 * the key in bf16. */
RowFormat row_format_latent(RowType type, size_t latent, size_t rope);

/* The same with the key in bf16 for every type but f32, bf16 and f16, which hold the whole row. */
RowFormat row_format_latent_rope(RowType type, size_t latent, size_t rope);

/* NULL where rows can be stored so, else why not, as a constant text: a width that is no multiple
 * of the type's group, a type made for the latent in a row of a head. */
const char *row_format_misfit(RowFormat format);

/* Bytes of one row, all its metadata included. Exact for every format that fits. */
size_t row_bytes(RowFormat format);

/* The types of key and value rows, which may differ. */
typedef struct {
    RowType k, v;
} KvType;

KvType kv_type(RowType both);

/* "bf16", or "int8,int4" where they differ: in *out, or false (and *out untouched). */
bool kv_type_parse(const char *text, KvType *out);

/* The text that kv_type_parse reads, into room for KV_TYPE_ROOM bytes; gives it back. */
enum { KV_TYPE_ROOM = 32 };
const char *kv_type_name(KvType type, char *text);

#endif
