/* portable_rows.h -- a stretch of a stored row as floats, for the portable tier: loops over
 * neighbours that compilers turn into vectors. */
#ifndef KVLAB_PORTABLE_ROWS_H
#define KVLAB_PORTABLE_ROWS_H

#include "rows.h"

static inline void read_bf16(size_t n, const unsigned char *in, float *out) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        uint16_t x;
        memcpy(&x, in + 2 * i, sizeof x);
        out[i] = bf16_to_f32(x);
    }
}

static inline void read_f16(size_t n, const unsigned char *in, float *out) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        uint16_t x;
        memcpy(&x, in + 2 * i, sizeof x);
        out[i] = f16_to_f32(x);
    }
}

static inline void read_e4m3(size_t n, float scale, const unsigned char *in, float *out) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = scale * e4m3_to_f32(in[i]);
}

static inline void read_int8(size_t n, float scale, const unsigned char *in, float *out) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = scale * (float)(int8_t)in[i];
}

/* A whole group of 32 of 4 bits: scale * (q - zero). */
static inline void read_half_bytes(float scale, int zero, const unsigned char *in, float *out) {
#pragma omp simd
    for (size_t i = 0; i < GROUP / 2; i++) {
        out[i] = scale * (float)((in[i] & 15) - zero);
        out[i + GROUP / 2] = scale * (float)((in[i] >> 4) - zero);
    }
}

/* 2n values of e2m1 in n bytes. */
static inline void read_e2m1(size_t n, float scale, const unsigned char *in, float *out) {
    for (size_t i = 0; i < n; i++) {
        out[i] = scale / 2 * (float)e2m1_doubled(in[i] & 15);
        out[i + n] = scale / 2 * (float)e2m1_doubled(in[i] >> 4);
    }
}

static inline float load_f16(const unsigned char *p) {
    return f16_to_f32(load_u16(p));
}

/* A whole group of 32. */
static inline void read_group(RowType type, const unsigned char *row, size_t group, float *out) {
    const unsigned char *p;
    if (type == ROW_INT4) {
        p = row + group * INT4_BYTES;
        const float least = load_f16(p + 2);
        read_half_bytes(load_f16(p), 0, p + 4, out);
#pragma omp simd
        for (size_t i = 0; i < GROUP; i++) out[i] += least;
    } else if (type == ROW_Q4_0) {
        p = row + group * Q4_0_BYTES;
        read_half_bytes(load_f16(p), 8, p + 2, out);
    } else if (type == ROW_MXFP4) {
        p = row + group * MXFP4_BYTES;
        read_e2m1(GROUP / 2, e8m0_to_f32(*p), p + 1, out);
    } else if (type == ROW_NVFP4) {
        for (size_t i = 0; i < GROUP; i += NVFP4_SCALED) {
            p = row + nvfp4_codes_at(group * GROUP + i);
            read_e2m1(NVFP4_SCALED / 2, e4m3_to_f32(row[nvfp4_scale_at(group * GROUP + i)]), p,
                      out + i);
        }
    } else {
        p = row + group * Q8_0_BYTES;
        read_int8(GROUP, load_f16(p), p + 2, out);
    }
}

/* n values from `from` on, which is a multiple of 128. */
static inline void read_groups(RowType type, const unsigned char *row, size_t from, size_t n,
                               float *out) {
    float last[GROUP];
    size_t i = 0;
    for (; i + GROUP <= n; i += GROUP) read_group(type, row, (from + i) / GROUP, out + i);
    if (i == n) return;
    read_group(type, row, (from + i) / GROUP, last);
    memcpy(out + i, last, (n - i) * sizeof *out);
}

static inline void read_tiles(const RowFormat *format, const unsigned char *row, size_t from,
                              size_t n, float *out) {
    for (size_t i = 0, width; i < n; i += width) {
        width = n - i < DS_TILE ? n - i : DS_TILE;
        read_e4m3(width, load_f32(row + ds_scale_at(format, from + i)), row + from + i, out + i);
    }
}

/* Of the coded values. */
static inline void read_coded(RowType type, const RowFormat *format, const unsigned char *row,
                              size_t from, size_t n, float *out) {
    switch (type) {
    case ROW_FP8:
        read_e4m3(n, format->latent ? 1 : load_f32(row), row + fp8_begin(format) + from, out);
        break;
    case ROW_INT8:
        read_int8(n, load_f32(row), row + ROW_SCALE_BYTES + from, out);
        break;
    case ROW_FP8_E5M2:
        for (size_t i = 0; i < n; i++) out[i] = e5m2_to_f32(row[from + i]);
        break;
    case ROW_FP8_DS_MLA:
        read_tiles(format, row, from, n, out);
        break;
    default:
        read_groups(type, row, from, n, out);
        break;
    }
}

/* Values from .. from+n-1 of a row; from is a multiple of 128. */
static inline void read_row(RowType type, const RowFormat *format, const unsigned char *row,
                            size_t from, size_t n, float *out) {
    const size_t left = from < format->coded ? format->coded - from : 0;
    const size_t coded = n < left ? n : left;
    switch (type) {
    case ROW_F32:
        if (n) memcpy(out, row + 4 * from, n * sizeof *out);
        break;
    case ROW_BF16:
        read_bf16(n, row + 2 * from, out);
        break;
    case ROW_F16:
        read_f16(n, row + 2 * from, out);
        break;
    default:
        read_coded(type, format, row, from, coded, out);
        read_bf16(n - coded, row + rope_value_at(format, from + coded), out + coded);
        break;
    }
}

#endif
