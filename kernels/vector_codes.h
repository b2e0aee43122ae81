/* vector_codes.h -- packed codes over the vocabulary of tiles.h. It needs
 *
 *   vec_load_bits(p, shift, mask)   WIDTH bytes, shifted down and masked, as floats
 *   vec_lookup(table, a)            table[a] of 16 entries, a whole numbers */
#ifndef KVLAB_VECTOR_CODES_H
#define KVLAB_VECTOR_CODES_H

#include "codes.h"
#include "vector_rows.h"

/* WIDTH codes of the s-th eighth from i on, or those that are left unless `whole`; the other lanes
 * mean nothing. */
INLINE vec codes_at(bool whole, size_t n, unsigned bits, const unsigned char *codes, size_t s,
                    size_t i) {
    const size_t eighth = n / 8, left = eighth - i;
    vec code = vec_zero();
    for (unsigned from = 0, width; from < bits; from += width) {
        width = plane_bits(bits - from);
        const unsigned char *p = codes + plane_at(width, eighth, s) + i;
        unsigned char padded[WIDTH];
        if (!whole && left < WIDTH) p = memcpy(padded, p, left);
        const vec part = vec_load_bits(p, plane_shift(width, s), (1u << width) - 1);
        code = from ? vec_fma(part, vec_all((float)(1u << from)), code) : part;
        codes += width * eighth;
    }
    return code;
}

INLINE void each_step(bool whole, size_t n, unsigned bits, const unsigned char *codes,
                      const float *step, const float *least, float *out) {
    const size_t eighth = n / 8;
    UNROLL for (size_t s = 0; s < 8; s++) for (size_t i = 0; i < eighth; i += WIDTH) {
        const size_t v = s * eighth + i, end = (s + 1) * eighth;
        const vec code = codes_at(whole, n, bits, codes, s, i);
        if (whole)
            vec_store(out + v, vec_fma(code, vec_load(step + v), vec_load(least + v)));
        else
            store_floats_at(out, end, v,
                            vec_fma(code, floats_at(step, end, v), floats_at(least, end, v)));
    }
}

INLINE void each_table(bool whole, size_t n, unsigned bits, const unsigned char *codes,
                       const float *table, float *out) {
    const size_t eighth = n / 8;
    UNROLL for (size_t s = 0; s < 8; s++) for (size_t i = 0; i < eighth; i += WIDTH) {
        const size_t v = s * eighth + i;
        const vec value = vec_lookup(table, codes_at(whole, n, bits, codes, s, i));
        if (whole)
            vec_store(out + v, value);
        else
            store_floats_at(out, (s + 1) * eighth, v, value);
    }
}

/* Loops for each number of bits, so that how they are packed is known to the compiler. */
#define EACH_BITS(call)                                                                            \
    switch (bits) {                                                                                \
    case 1:                                                                                        \
        call(1);                                                                                   \
        break;                                                                                     \
    case 2:                                                                                        \
        call(2);                                                                                   \
        break;                                                                                     \
    case 3:                                                                                        \
        call(3);                                                                                   \
        break;                                                                                     \
    case 4:                                                                                        \
        call(4);                                                                                   \
        break;                                                                                     \
    default:                                                                                       \
        call(8);                                                                                   \
        break;                                                                                     \
    }

static void decode_steps(size_t n, unsigned bits, const void *codes, const float *step,
                         const float *least, float *out) {
#define WHOLE(known) each_step(true, n, known, codes, step, least, out)
#define PARTS(known) each_step(false, n, known, codes, step, least, out)
    if (n / 8 % WIDTH == 0)
        EACH_BITS(WHOLE)
    else
        EACH_BITS(PARTS)
#undef PARTS
#undef WHOLE
}

static void decode_table(size_t n, unsigned bits, const void *codes, const float *table,
                         float *out) {
    float padded[16] = { 0 };
    memcpy(padded, table, (1u << bits) * sizeof *padded);
#define WHOLE(known) each_table(true, n, known, codes, padded, out)
#define PARTS(known) each_table(false, n, known, codes, padded, out)
    if (n / 8 % WIDTH == 0)
        EACH_BITS(WHOLE)
    else
        EACH_BITS(PARTS)
#undef PARTS
#undef WHOLE
}

#endif
