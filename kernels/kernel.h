/* kernel.h -- the inner loops: one table of functions, filled for this machine.
 *
 * kernels_select() starts from the reference and lets each tier in the mask replace the entries it
 * has something faster for. Every entry can therefore always be called, and a new instruction set
 * may start with one function.
 *
 * For all entries: any size, zero included; no alignment asked; inputs and outputs apart unless
 * said; strides of float arrays (ld_*) in elements, strides of stored rows in bytes; no
 * allocation, no failure. Letters: m query rows, n cached tokens, d width of a row. */
#ifndef KVLAB_KERNEL_H
#define KVLAB_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "codec.h"
#include "tile.h"

/* Scores of m query rows against n stored key rows: s[i*ld_s + j] = sum_d q[i*ld_q + d] * k_j[d],
 * k_j at (char *)k + j*k_stride; d may be less than the row's width, for the first values of it. */
typedef void (*ScoresFn)(const RowFormat *format, size_t m, size_t n, size_t d, const float *q,
                         size_t ld_q, const void *k, size_t k_stride, float *s, size_t ld_s);

/* Weighted sum of n stored value rows: o[i*ld_o + d] += sum_j p[i*ld_p + j] * v_j[d]. */
typedef void (*ValuesFn)(const RowFormat *format, size_t m, size_t n, size_t d, const float *p,
                         size_t ld_p, const void *v, size_t v_stride, float *o, size_t ld_o);

/* Entries by row type are called with a format of that type, which must fit (row_format_misfit).
 * Where the type is f32, bf16 or f16 no entry but encode looks at more of it than the type. */
typedef struct Kernels {
    /* The first n values of a stored row into float, and a whole row of format->n values from
     * float. Bytes and floats are the same in every tier. */
    void (*decode[ROW_TYPE_COUNT])(const RowFormat *format, size_t n, const void *row, float *out);
    void (*encode[ROW_TYPE_COUNT])(const RowFormat *format, const float *in, void *row);

    /* The two products of attention over rows where they lie, in their stored type. */
    ScoresFn scores[ROW_TYPE_COUNT];
    ValuesFn values[ROW_TYPE_COUNT];

    /* The products of many query rows with rows of a type, decoded once for all of them. */
    const TileKernels *tile[ROW_TYPE_COUNT];

    /* The same of at most FEW_ROWS_MAX query rows, which read rows where they lie; keys and values
     * of one type. NULL where a tier has none: then `scores` and `values` do it. */
    const TileKernels *few[ROW_TYPE_COUNT];

    /* What the operands of both products are rounded to in the tier's own arithmetic, relative to
     * the greatest of a row: 0 where they stay floats, 2^-9 as bf16, 2^-8 as int8. */
    double rounding[ROW_TYPE_COUNT];

    /* Unsigned codes of 1, 2, 3, 4 or 8 bits, n a multiple of 8, n bits / 8 bytes in planes of 4, 2
     * and 1 bits (8 in one), lowest bits first:
     *
     *   4 bits  | v and v + n/2 share byte v |            2 bits  | four values n/4 apart |
     *   3 bits  | a plane of 2 | a plane of 1: eight values n/8 apart |
     *
     * pack_codes packs a byte each. decode_steps gives out[v] = code[v] * step[g] + least[g] with
     * g = v / group, the same in every tier where steps are f16's. decode_table gives out[v] =
     * table[code[v]] * scale, for up to 4 bits, out of a table of 16. */
    void (*pack_codes)(size_t n, unsigned bits, const unsigned char *codes, void *packed);
    void (*decode_steps)(size_t n, size_t group, unsigned bits, const void *packed,
                         const float *step, const float *least, float *out);
    void (*decode_table)(size_t n, unsigned bits, const void *packed, const float *table,
                         float scale, float *out);

    /* One step of the online softmax over n raw scores of one query row, in place:
     * scores become exp(scale*s - new_max); *max and *sum are brought up to date and the factor
     * exp(old_max - new_max) that earlier sums and outputs need is returned. A score of -INFINITY
     * becomes 0; as long as all are -INFINITY *max stays -INFINITY, *sum 0 and the factor is 1. */
    float (*softmax_step)(size_t n, float scale, float *s, float *max, float *sum);

    /* x[i] *= a */
    void (*scale)(size_t n, float a, float *x);

    /* y = x / sqrt(mean(x^2) + eps) * weight; y may be x. */
    void (*rmsnorm)(size_t n, float eps, const float *x, const float *weight, float *y);

    /* The tier's fastest run of independent f32 multiply-adds, all in registers, to measure its
     * peak by: `rounds` rounds, the flops they are in *flops; the value returned depends on all of
     * them. */
    float (*fma_rounds)(size_t rounds, double *flops);

    /* The same of dot products of bf16 pairs and of int8 quadruples, in the machine's own
     * instruction; NULL where no tier of the table has one. */
    float (*dot_bf16_rounds)(size_t rounds, double *flops);
    float (*dot_int8_rounds)(size_t rounds, double *flops);
} Kernels;

/* Are there kernels of few rows for m query rows? Where a tier rounds a type to a narrower
 * arithmetic, that is the faster one from FEW_ROWS_MAX rows on. */
static inline bool tile_is_few(const Kernels *kernels, RowType k, RowType v, size_t m) {
    const size_t most = kernels->rounding[k] > 0 ? FEW_ROWS_MAX - 1 : FEW_ROWS_MAX;
    return kernels->few[k] && k == v && m <= most;
}

typedef struct {
    const char *name;               /* as --isa takes it */
    unsigned bit;                   /* in the masks below */
    bool (*available)(void);        /* does this machine run it? */
    void (*fill)(Kernels *kernels); /* replaces what the tier does better */
} KernelTier;

/* All tiers, lowest first: ref, portable, then avx2, avx512 or neon. Tiers of another architecture
 * than the one built for are not in the list. */
extern const KernelTier kernel_tiers[];
extern const size_t kernel_tier_count;

/* The mask of the tiers that this machine runs. */
unsigned kernels_detect(void);

/* The mask of a tier and all below it, in *mask. NULL on success, else why not (a constant text):
 * no such tier, or a tier that this machine lacks. "auto" or NULL is kernels_detect(). */
const char *kernels_parse(const char *name, unsigned *mask);

/* The table for a mask of kernels_detect or kernels_parse: the reference, then every tier of the
 * mask over it. */
Kernels kernels_select(unsigned mask);

/* The name of the highest tier in a mask. */
const char *kernels_name(unsigned mask);

#endif
