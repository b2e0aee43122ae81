/* portable_exp.h -- the exponential of the portable files; nobody else's. */
#ifndef KVLAB_PORTABLE_EXP_H
#define KVLAB_PORTABLE_EXP_H

#include "internal.h"

/* e^x for x <= 0 or little above, within 2 ulp; 0 below ln(FLT_MIN), where results would be
 * denormal. x = k ln 2 + r with |r| <= ln 2 / 2 and k rounded by adding 1.5 * 2^23; then the
 * polynomial of Cephes' expf in r, and k into the exponent. */
static inline float exp_small(float x) {
    const float clamped = x < -87.336544f ? -87.336544f : x;
    const float shifted = clamped * 1.44269504f + 12582912.0f;
    const float k = shifted - 12582912.0f;
    const float r = (clamped - k * 0.693359375f) + k * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + r + 1.0f;
    const float power = bits_float((float_bits(shifted) + 127u) << 23);
    return x < -87.336544f ? 0.0f : y * power;
}

#endif
