/* vector_codes.h -- packed codes over the vocabulary of tiles.h. It needs
 *
 *   vec_load_bits(p, shift, mask)   WIDTH bytes, shifted down and masked, as floats
 *   vec_lookup(bits, table, a)      table[a] of 16 entries, a whole numbers of so many bits */
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

/* Steps and least values along a row, of which `group` values share one each: `left` of them the
 * one that is in registers. */
typedef struct {
    const float *step, *least;
    size_t group, left;
    vec steps, leasts;
} Steps;

/* Those of the next WIDTH values: one for each, one for all (WIDTH divides the group), or, slowly,
 * whatever groups there are, for the `count` values that are left. */
INLINE void next_each(Steps *s) {
    s->steps = vec_load(s->step), s->leasts = vec_load(s->least);
    s->step += WIDTH, s->least += WIDTH;
}

INLINE void next_shared(Steps *s) {
    if (s->left == 0) {
        s->steps = vec_all(*s->step++), s->leasts = vec_all(*s->least++);
        s->left = s->group;
    }
    s->left -= WIDTH;
}

INLINE void next_any(Steps *s, size_t count) {
    float steps[WIDTH] = { 0 }, leasts[WIDTH] = { 0 };
    for (size_t i = 0; i < count && i < WIDTH; i++) {
        steps[i] = *s->step, leasts[i] = *s->least;
        if (--s->left == 0) s->step++, s->least++, s->left = s->group;
    }
    s->steps = vec_load(steps), s->leasts = vec_load(leasts);
}

/* How the loops below know steps: see next_each, next_shared and next_any. */
typedef enum { STEPS_EACH, STEPS_SHARED, STEPS_ANY } StepsKnown;

INLINE void each_step(StepsKnown known, size_t n, unsigned bits, const unsigned char *codes,
                      Steps s, float *out) {
    const size_t eighth = n / 8;
    UNROLL for (size_t e = 0; e < 8; e++) for (size_t i = 0; i < eighth; i += WIDTH) {
        const size_t v = e * eighth + i;
        const vec code = codes_at(known != STEPS_ANY, n, bits, codes, e, i);
        if (known == STEPS_EACH) next_each(&s);
        if (known == STEPS_SHARED) next_shared(&s);
        if (known == STEPS_ANY) next_any(&s, eighth - i);
        const vec value = vec_fma(code, s.steps, s.leasts);
        if (known == STEPS_ANY)
            store_floats_at(out, (e + 1) * eighth, v, value);
        else
            vec_store(out + v, value);
    }
}

INLINE void each_table(bool whole, size_t n, unsigned bits, const unsigned char *codes,
                       const float *table, float scale, float *out) {
    const size_t eighth = n / 8;
    const vec scales = vec_all(scale);
    UNROLL for (size_t e = 0; e < 8; e++) for (size_t i = 0; i < eighth; i += WIDTH) {
        const size_t v = e * eighth + i;
        const vec code = codes_at(whole, n, bits, codes, e, i);
        const vec value = vec_mul(vec_lookup(bits, table, code), scales);
        if (whole)
            vec_store(out + v, value);
        else
            store_floats_at(out, (e + 1) * eighth, v, value);
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

static void decode_steps(size_t n, size_t group, unsigned bits, const void *codes,
                         const float *step, const float *least, float *out) {
    const Steps steps = { .step = step, .least = least, .group = group };
    Steps any = steps;
    any.left = group;
#define EACH(known)   each_step(STEPS_EACH, n, known, codes, steps, out)
#define SHARED(known) each_step(STEPS_SHARED, n, known, codes, steps, out)
#define ANY(known)    each_step(STEPS_ANY, n, known, codes, any, out)
    if (n / 8 % WIDTH == 0 && group == 1)
        EACH_BITS(EACH)
    else if (n / 8 % WIDTH == 0 && group % WIDTH == 0)
        EACH_BITS(SHARED)
    else
        EACH_BITS(ANY)
#undef ANY
#undef SHARED
#undef EACH
}

static void decode_table(size_t n, unsigned bits, const void *codes, const float *table,
                         float scale, float *out) {
#define WHOLE(known) each_table(true, n, known, codes, table, scale, out)
#define PARTS(known) each_table(false, n, known, codes, table, scale, out)
    if (n / 8 % WIDTH == 0)
        EACH_BITS(WHOLE)
    else
        EACH_BITS(PARTS)
#undef PARTS
#undef WHOLE
}

#endif
