/* vector.h -- the vocabulary in which the vector algorithms are written, and what is built on it
 * everywhere. A tier defines, for its registers:
 *
 *   vec, WIDTH, REGISTERS               a register of WIDTH floats, how many there are
 *   BLOCKS(block)                       block(rows, columns) for each shape, one row last
 *   vec_zero() vec_all(x)               all lanes 0 or x
 *   vec_add(a, b) vec_mul(a, b) vec_max(a, b)      vec_max gives b where a lane is NaN
 *   vec_fma(a, b, c)                    a*b + c
 *   vec_sum(a) vec_greatest(a)          over the lanes
 *   vec_sum4(a, b, c, d, out)           four sums at once into out[4]
 *   vec_load(p) vec_store(p, a)         floats, unaligned
 *   vec_held(a)                         a, in a register: not folded into what uses it
 *   vec_load_part(p, n) vec_store_part(p, n, a)    the first n < WIDTH lanes; the rest reads as 0
 *                                       and memory behind them is not touched
 *   vec_power(a)                        2^k for a = k + 1.5*2^23
 *   vec_unless_below(x, limit, y)       y, but 0 in lanes where x < limit
 *   vec_where_less(a, b, x, y)          x in lanes where a < b, else y
 *   PANELS(panel), TILE_TOKENS          see tile_products.h
 */
#ifndef KVLAB_VECTOR_H
#define KVLAB_VECTOR_H

#define INLINE static inline __attribute__((always_inline))

/* Loops of constant length over the registers of a block: they must vanish. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { BLOCK_MAX = 32 };

/* e^x within 2 ulp for x from ln(FLT_MIN) to 0 and little above; 0 below, where results would be
 * denormal, -INFINITY included; NaN for NaN. x = k ln 2 + r with |r| <= ln 2 / 2, k rounded by
 * adding 1.5 * 2^23; then 1 + r + r^2 p(r), p of minimax coefficients (3.1e-9 relative) in pairs,
 * that few steps wait for one another, and k into the exponent. Below the limit k and r are of no
 * use, and go with the result. */
INLINE vec vec_exp(vec x) {
    const vec shifted = vec_fma(x, vec_all(1.44269504f), vec_all(12582912.0f));
    const vec k = vec_add(shifted, vec_all(-12582912.0f));
    const vec high = vec_fma(k, vec_all(-0.693359375f), x);
    const vec r = vec_fma(k, vec_all(2.12194440e-4f), high), r2 = vec_mul(r, r);
    const vec low = vec_fma(vec_all(1.666652040e-1f), r, vec_all(4.999999343e-1f));
    const vec middle = vec_fma(vec_all(8.368745163e-3f), r, vec_all(4.166839079e-2f));
    const vec p = vec_fma(vec_fma(vec_all(1.381454012e-3f), r2, middle), r2, low);
    const vec y = vec_add(vec_fma(p, r2, r), vec_all(1.0f));
    return vec_unless_below(x, vec_all(-87.336544f), vec_mul(y, vec_power(shifted)));
}

#endif
