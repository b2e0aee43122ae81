/* rope.c -- rotary position embedding; see rope.h.
 *
 * Scalings change the frequencies only. YaRN keeps the fast ones, divides the slow ones by the
 * factor and ramps between, and also scales cos and sin (rope_amplitude); llama3 does the same by
 * wavelength. All tables are computed in double: at long contexts t f_i has too many digits for
 * float. */
#include "rope.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

typedef struct {
    double low, high;
} Ramp;

/* The pair index at which the original context holds `turns` full turns of its angle. */
static double yarn_index(const Rope *rope, double turns) {
    return (double)rope->dim * log((double)rope->original_tokens / (2 * PI * turns)) /
           (2 * log(rope->theta));
}

static Ramp yarn_ramp(const Rope *rope) {
    double low = yarn_index(rope, rope->beta_fast), high = yarn_index(rope, rope->beta_slow);
    if (!rope->ramp_between_pairs) low = floor(low), high = ceil(high);
    Ramp ramp = { fmax(low, 0), fmin(high, (double)rope->dim - 1) };
    if (ramp.low == ramp.high) ramp.high += 0.001; /* as the reference does: no division by zero */
    return ramp;
}

static double yarn_frequency(const Rope *rope, Ramp ramp, size_t i, double f) {
    const double at = ((double)i - ramp.low) / (ramp.high - ramp.low);
    const double slow = fmin(fmax(at, 0), 1);
    return f / rope->factor * slow + f * (1 - slow);
}

static double llama3_frequency(const Rope *rope, double f) {
    const double turns = (double)rope->original_tokens * f / (2 * PI);
    if (turns > rope->high_freq_factor) return f;
    if (turns < rope->low_freq_factor) return f / rope->factor;
    const double fast =
        (turns - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
    return f / rope->factor * (1 - fast) + f * fast;
}

static double frequency(const Rope *rope, Ramp ramp, size_t i) {
    const double f = pow(rope->theta, -2.0 * (double)i / (double)rope->dim);
    switch (rope->scaling) {
    case ROPE_LINEAR:
        return f / rope->factor;
    case ROPE_YARN:
        return yarn_frequency(rope, ramp, i, f);
    case ROPE_LLAMA3:
        return llama3_frequency(rope, f);
    case ROPE_PLAIN:
        break;
    }
    return f;
}

static Ramp ramp_of(const Rope *rope) {
    return rope->scaling == ROPE_YARN ? yarn_ramp(rope) : (Ramp){ 0, 1 };
}

void rope_frequencies(const Rope *rope, double *frequencies) {
    const Ramp ramp = ramp_of(rope);
    for (size_t i = 0; i < rope->dim / 2; i++) frequencies[i] = frequency(rope, ramp, i);
}

double rope_mscale(double factor, double scale) {
    return factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1;
}

double rope_amplitude(const Rope *rope) {
    if (rope->scaling != ROPE_YARN) return 1;
    if (rope->attention_factor > 0) return rope->attention_factor;
    if (rope->mscale == 0 || rope->mscale_all_dim == 0) return rope_mscale(rope->factor, 1);
    return rope_mscale(rope->factor, rope->mscale) /
           rope_mscale(rope->factor, rope->mscale_all_dim);
}

void rope_table_f64(const Rope *rope, size_t first, size_t tokens, double *table) {
    const size_t pairs = rope->dim / 2;
    const double amplitude = rope_amplitude(rope);
    const Ramp ramp = ramp_of(rope);
    for (size_t i = 0; i < pairs; i++) {
        const double f = frequency(rope, ramp, i);
        for (size_t t = 0; t < tokens; t++) {
            const double angle = (double)(first + t) * f;
            table[(t * pairs + i) * 2] = cos(angle) * amplitude;
            table[(t * pairs + i) * 2 + 1] = sin(angle) * amplitude;
        }
    }
}

void rope_table(const Rope *rope, size_t first, size_t tokens, float *table) {
    const size_t pairs = rope->dim / 2;
    const double amplitude = rope_amplitude(rope);
    const Ramp ramp = ramp_of(rope);
    for (size_t i = 0; i < pairs; i++) {
        const double f = frequency(rope, ramp, i);
        for (size_t t = 0; t < tokens; t++) {
            const double angle = (double)(first + t) * f;
            table[(t * pairs + i) * 2] = (float)(cos(angle) * amplitude);
            table[(t * pairs + i) * 2 + 1] = (float)(sin(angle) * amplitude);
        }
    }
}

/* Where pair i lies: x[pair_at(i)] and pair_apart() further. */
static size_t pair_at(const Rope *rope, size_t i) {
    return rope->interleaved ? 2 * i : i;
}
static size_t pair_apart(const Rope *rope) {
    return rope->interleaved ? 1 : rope->dim / 2;
}

void rope_rotate(const Rope *rope, const float *row, float *x) {
    const size_t apart = pair_apart(rope);
    for (size_t i = 0; i < rope->dim / 2; i++) {
        float *pair = x + pair_at(rope, i);
        const float re = pair[0], im = pair[apart], c = row[2 * i], s = row[2 * i + 1];
        pair[0] = re * c - im * s;
        pair[apart] = re * s + im * c;
    }
}

void rope_rotate_f64(const Rope *rope, const double *row, double *x) {
    const size_t apart = pair_apart(rope);
    for (size_t i = 0; i < rope->dim / 2; i++) {
        double *pair = x + pair_at(rope, i);
        const double re = pair[0], im = pair[apart], c = row[2 * i], s = row[2 * i + 1];
        pair[0] = re * c - im * s;
        pair[apart] = re * s + im * c;
    }
}
