/* vector_rows.h -- stored rows over the vocabulary of tiles.h: values in registers, whole rows
 * decoded, whole rows encoded.
 *
 * What it needs beside the arithmetic of tiles.h, p without alignment:
 *
 *   vec_load_bf16(p) vec_store_bf16(p, a) vec_load_f16(p) vec_store_f16(p, a)
 *   vec_even_bf16(p) vec_odd_bf16(p)    of 2*WIDTH bf16 the even ones and the odd ones
 *   vec_odd_bf16_lean(p)                the same odd ones; holds no register between calls
 *   vec_zip(even, odd)                  such two registers back in order, in place
 *   vec_load32_int8(p, a)               32 signed bytes into VECS registers
 *   vec_load32_halves(p, a)             the low halves of 16 bytes, then the high ones
 *   vec_store_int8(p, a)                whole numbers from -128 to 255 into bytes
 *   vec_load32_e4m3(p, a)               32 e4m3, 2^-8 of their value
 *   vec_store_e4m3(p, a)                WIDTH
 *   vec_load32_e5m2(p, a)               32 e5m2
 *   vec_load32_e2m1(p, half, a)         twice the value of the 32 e2m1 in 16 bytes, value i beside
 *                                       i+half of 2*half: half is 16 or 8
 *   vec_all_f16(p)                      one f16 in all lanes
 *   vec_abs(a) vec_min(a, b) vec_div(a, b) vec_trunc(a)
 *
 * Plain types (f32, bf16, f16) are read a register at a time. Coded ones are read a group of 32 at
 * a time, which have a scale in common in all of them: it multiplies once what came of a group, not
 * each of its registers. e4m3 moved to the place of f16's bits is f16 of 2^-8 of the value,
 * subnormals included; so the conversion of f16 does all the work and the factor joins the scale.
 */
#ifndef KVLAB_VECTOR_ROWS_H
#define KVLAB_VECTOR_ROWS_H

#include "rows.h"

enum { VECS = GROUP / WIDTH };

static inline bool is_plain(RowType type) {
    return type <= ROW_F16;
}

static inline size_t element_bytes(RowType type) {
    return type == ROW_F32 ? 4 : 2;
}

INLINE vec load_element(RowType type, const unsigned char *p) {
    if (type == ROW_BF16) return vec_load_bf16(p);
    if (type == ROW_F16) return vec_load_f16(p);
    return vec_load(p);
}

/* The last n < WIDTH elements of a row. */
INLINE vec load_tail(RowType type, const unsigned char *p, size_t n) {
    if (type == ROW_F32) return vec_load_part(p, n);
    unsigned char padded[2 * WIDTH] = { 0 };
    memcpy(padded, p, 2 * n);
    return load_element(type, padded);
}

static inline size_t smaller_of(size_t a, size_t b) {
    return a < b ? a : b;
}

/* n <= WIDTH elements. */
INLINE vec load_some(RowType type, const unsigned char *p, size_t n) {
    return n == WIDTH ? load_element(type, p) : load_tail(type, p, n);
}

/* ---- groups ---- */

/* The 32 coded values from e on, a multiple of 32: codes, and the factor that is returned to
 * multiply them by. All 32 lie in the row. */
INLINE vec load_group(RowType type, const RowFormat *format, const unsigned char *row, size_t e,
                      vec *codes) {
    const unsigned char *p;
    switch (type) {
    case ROW_FP8:
        vec_load32_e4m3(row + fp8_begin(format) + e, codes);
        return vec_all(256 * (format->latent ? 1.0f : load_f32(row)));
    case ROW_INT8:
        vec_load32_int8(row + ROW_SCALE_BYTES + e, codes);
        return vec_all(load_f32(row));
    case ROW_INT4:
        p = row + e / GROUP * INT4_BYTES;
        vec_load32_halves(p + 4, codes);
        UNROLL for (size_t c = 0; c < VECS; c++) codes[c] =
            vec_fma(codes[c], vec_all_f16(p), vec_all_f16(p + 2));
        return vec_all(1);
    case ROW_Q8_0:
        p = row + e / GROUP * Q8_0_BYTES;
        vec_load32_int8(p + 2, codes);
        return vec_all_f16(p);
    case ROW_Q4_0:
        p = row + e / GROUP * Q4_0_BYTES;
        vec_load32_halves(p + 2, codes);
        UNROLL for (size_t c = 0; c < VECS; c++) codes[c] = vec_add(codes[c], vec_all(-8));
        return vec_all_f16(p);
    case ROW_FP8_E5M2:
        vec_load32_e5m2(row + e, codes);
        return vec_all(1);
    case ROW_MXFP4:
        p = row + e / GROUP * MXFP4_BYTES;
        vec_load32_e2m1(p + 1, 16, codes);
        return vec_all(e8m0_to_f32(*p) / 2);
    case ROW_NVFP4:
        vec_load32_e2m1(row + nvfp4_codes_at(e), 8, codes);
        p = row + nvfp4_scale_at(e);
        UNROLL for (size_t c = 0; c < VECS; c++) codes[c] =
            vec_mul(codes[c], vec_all(e4m3_to_f32(p[c * WIDTH / NVFP4_SCALED]) / 2));
        return vec_all(1);
    default:
        vec_load32_e4m3(row + e, codes);
        return vec_all(256 * load_f32(row + ds_scale_at(format, e)));
    }
}

/* The same where n < 32 values are wanted: of fp8, fp8_e5m2 and int8 no more may lie there, of the
 * others the group is whole. */
INLINE vec load_part_of_group(RowType type, const RowFormat *format, const unsigned char *row,
                              size_t e, size_t n, vec *codes) {
    if (type != ROW_FP8 && type != ROW_FP8_E5M2 && type != ROW_INT8)
        return load_group(type, format, row, e, codes);
    unsigned char padded[ROW_SCALE_BYTES + GROUP] = { 0 };
    const size_t begin = type == ROW_FP8        ? fp8_begin(format)
                         : type == ROW_FP8_E5M2 ? 0
                                                : ROW_SCALE_BYTES;
    memcpy(padded, row, begin);
    memcpy(padded + begin, row + begin + e, n);
    return load_group(type, format, padded, 0, codes);
}

/* Values i .. i+WIDTH-1 of n floats, or those that are left, the other lanes 0. */
INLINE vec floats_at(const float *in, size_t n, size_t i) {
    if (i + WIDTH <= n) return vec_load(in + i);
    return i < n ? vec_load_part(in + i, n - i) : vec_zero();
}

INLINE void store_floats_at(float *out, size_t n, size_t i, vec a) {
    if (i + WIDTH <= n)
        vec_store(out + i, a);
    else if (i < n)
        vec_store_part(out + i, n - i, a);
}

INLINE void decode_plain(RowType type, size_t n, const unsigned char *p, float *out) {
    const size_t bytes = element_bytes(type);
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) vec_store(out + i, load_element(type, p + i * bytes));
    if (i < n) vec_store_part(out + i, n - i, load_tail(type, p + i * bytes, n - i));
}

INLINE void decode_coded(RowType type, const RowFormat *format, size_t n, const unsigned char *row,
                         float *out) {
    const size_t coded = n < format->coded ? n : format->coded;
    vec codes[VECS];
    size_t e = 0;
    for (; e + GROUP <= coded; e += GROUP) {
        const vec scale = load_group(type, format, row, e, codes);
        UNROLL for (size_t c = 0; c < VECS; c++)
            vec_store(out + e + c * WIDTH, vec_mul(codes[c], scale));
    }
    if (e < coded) {
        const vec scale = load_part_of_group(type, format, row, e, coded % GROUP, codes);
        UNROLL for (size_t c = 0; c < VECS; c++)
            store_floats_at(out + e, coded - e, c * WIDTH, vec_mul(codes[c], scale));
    }
    if (n > coded) decode_plain(ROW_BF16, n - coded, row + format->rope_at, out + coded);
}

INLINE void decode_row(RowType type, const RowFormat *format, size_t n, const void *row,
                       float *out) {
    if (is_plain(type))
        decode_plain(type, n, row, out);
    else
        decode_coded(type, format, n, row, out);
}

/* ---- encoding ---- */

/* Writes bytes i .. i+WIDTH-1 of n, or those that are left. */
INLINE void int8_at(unsigned char *out, size_t n, size_t i, vec a) {
    unsigned char bytes[WIDTH];
    vec_store_int8(i + WIDTH <= n ? out + i : bytes, a);
    if (i + WIDTH > n) memcpy(out + i, bytes, n - i);
}

INLINE void e4m3_at(unsigned char *out, size_t n, size_t i, vec a) {
    unsigned char bytes[WIDTH];
    vec_store_e4m3(i + WIDTH <= n ? out + i : bytes, a);
    if (i + WIDTH > n) memcpy(out + i, bytes, n - i);
}

INLINE void encode_plain(RowType type, size_t n, const float *in, unsigned char *row) {
    for (size_t i = 0; i < n; i += WIDTH) {
        const vec x = floats_at(in, n, i);
        unsigned char padded[2 * WIDTH], *out = i + WIDTH <= n ? row + 2 * i : padded;
        if (type == ROW_BF16)
            vec_store_bf16(out, x);
        else
            vec_store_f16(out, x);
        if (i + WIDTH > n) memcpy(row + 2 * i, padded, 2 * (n - i));
    }
}

/* The values behind the coded ones. */
static inline void encode_rope(const RowFormat *format, const float *in, unsigned char *row) {
    encode_plain(ROW_BF16, format->n - format->coded, in + format->coded, row + format->rope_at);
}

/* The greatest magnitude; NaN where a value is not finite: 0 times it is not 0. */
static inline float magnitude_of(size_t n, const float *in) {
    vec greatest = vec_zero(), zero = vec_zero();
    for (size_t i = 0; i < n; i += WIDTH) {
        const vec x = floats_at(in, n, i);
        greatest = vec_max(vec_abs(x), greatest);
        zero = vec_fma(x, vec_zero(), zero);
    }
    return vec_sum(zero) == 0 ? vec_greatest(greatest) : NAN;
}

/* To the nearest whole number, halves away from 0: what truncation left, doubled, truncates to the
 * step that is missing. */
INLINE vec vec_round(vec a) {
    const vec whole = vec_trunc(a), rest = vec_add(a, vec_mul(whole, vec_all(-1)));
    return vec_add(whole, vec_trunc(vec_add(rest, rest)));
}

INLINE vec vec_clamp(vec a, float low, float high) {
    return vec_min(vec_max(a, vec_all(low)), vec_all(high));
}

static inline void encode_e4m3(size_t n, float scale, const float *in, unsigned char *out) {
    if (!(scale > 0)) {
        if (n) memset(out, 0, n);
        return;
    }
    for (size_t i = 0; i < n; i += WIDTH)
        e4m3_at(out, n, i, vec_div(floats_at(in, n, i), vec_all(scale)));
}

static void encode_fp8(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    const float scale = format->latent ? 1 : magnitude_of(format->coded, in) / 448;
    if (!format->latent) store_f32(bytes, scale);
    encode_e4m3(format->coded, scale, in, bytes + fp8_begin(format));
    encode_rope(format, in, bytes);
}

static void encode_fp8_ds_mla(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    for (size_t i = 0; i < format->coded; i += DS_TILE) {
        const float scale = ds_scale(magnitude_of(DS_TILE, in + i));
        store_f32(bytes + ds_scale_at(format, i), scale);
        encode_e4m3(DS_TILE, scale, in + i, bytes + i);
    }
    encode_rope(format, in, bytes);
}

static inline void encode_bytes(size_t n, float scale, const float *in, unsigned char *out) {
    if (!(scale > 0)) {
        if (n) memset(out, 0, n);
        return;
    }
    for (size_t i = 0; i < n; i += WIDTH) {
        const vec q = vec_round(vec_div(floats_at(in, n, i), vec_all(scale)));
        int8_at(out, n, i, vec_clamp(q, -127, 127));
    }
}

static void encode_int8(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    const float scale = magnitude_of(format->coded, in) / 127;
    store_f32(bytes, scale);
    encode_bytes(format->coded, scale, in, bytes + ROW_SCALE_BYTES);
    encode_rope(format, in, bytes);
}

static void encode_q8_0(const RowFormat *format, const float *in, void *row) {
    unsigned char *group = row;
    for (size_t i = 0; i < format->coded; i += GROUP, group += Q8_0_BYTES) {
        const float scale = magnitude_of(GROUP, in + i) / 127;
        store_u16(group, f16_scale(scale));
        encode_bytes(GROUP, scale, in + i, group + 2);
    }
    encode_rope(format, in, row);
}

/* Two values of 4 bits a byte, sixteen apart. */
static inline void join_halves(const unsigned char *q, unsigned char *out) {
    for (size_t i = 0; i < GROUP / 2; i++) out[i] = (unsigned char)(q[i] | q[i + GROUP / 2] << 4);
}

static void encode_q4_0(const RowFormat *format, const float *in, void *row) {
    unsigned char *group = row, q[GROUP];
    for (size_t i = 0; i < format->coded; i += GROUP, group += Q4_0_BYTES) {
        const float *x = in + i, greatest = magnitude_of(GROUP, x);
        size_t first = 0;
        while (first + 1 < GROUP && fabsf(x[first]) != greatest) first++;
        const float scale = isnan(greatest) ? NAN : (x[first] + 0.0f) / -8;
        memset(q, 8, sizeof q);
        for (size_t j = 0; j < GROUP && (scale < 0 || scale > 0); j += WIDTH) {
            const vec shifted = vec_add(vec_div(vec_load(x + j), vec_all(scale)), vec_all(8.5f));
            int8_at(q, GROUP, j, vec_trunc(vec_clamp(shifted, 0, 15)));
        }
        store_u16(group, f16_scale(scale));
        join_halves(q, group + 2);
    }
    encode_rope(format, in, row);
}

/* Least and greatest of a group, as what they are stored by. */
INLINE IntScale int_scale_of(const float *x, float most) {
    vec max = vec_load(x), negative_min = vec_mul(max, vec_all(-1));
    for (size_t j = 0; j < GROUP; j += WIDTH) {
        max = vec_max(vec_load(x + j), max);
        negative_min = vec_max(vec_mul(vec_load(x + j), vec_all(-1)), negative_min);
    }
    const bool finite = !isnan(magnitude_of(GROUP, x));
    return int_scale(finite, -vec_greatest(negative_min), vec_greatest(max), most);
}

static void encode_int4(const RowFormat *format, const float *in, void *row) {
    unsigned char *group = row, q[GROUP];
    for (size_t i = 0; i < format->coded; i += GROUP, group += INT4_BYTES) {
        const IntScale s = int_scale_of(in + i, 15);
        memset(q, 0, sizeof q);
        for (size_t j = 0; j < GROUP && s.step > 0; j += WIDTH) {
            const vec offset = vec_add(vec_load(in + i + j), vec_all(-s.least));
            int8_at(q, GROUP, j, vec_clamp(vec_round(vec_div(offset, vec_all(s.step))), 0, 15));
        }
        store_u16(group, s.step_bits);
        store_u16(group + 2, s.least_bits);
        join_halves(q, group + 4);
    }
    encode_rope(format, in, row);
}

static void encode_bf16(const RowFormat *format, const float *in, void *row) {
    encode_plain(ROW_BF16, format->n, in, row);
}

static void encode_f16(const RowFormat *format, const float *in, void *row) {
    encode_plain(ROW_F16, format->n, in, row);
}

static void fill_encoders(Kernels *kernels) {
    kernels->encode[ROW_BF16] = encode_bf16;
    kernels->encode[ROW_F16] = encode_f16;
    kernels->encode[ROW_FP8] = encode_fp8;
    kernels->encode[ROW_INT8] = encode_int8;
    kernels->encode[ROW_INT4] = encode_int4;
    kernels->encode[ROW_Q8_0] = encode_q8_0;
    kernels->encode[ROW_Q4_0] = encode_q4_0;
    kernels->encode[ROW_FP8_DS_MLA] = encode_fp8_ds_mla;
}

#endif
