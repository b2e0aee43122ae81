/* rope.c -- RoPE frequencies, their scalings and the rotation; see rope.h.
 *
 * YaRN (Peng et al. 2023) as DeepSeek computes it: frequencies that turn often within the original
 * length stay, those that turn rarely are divided by the factor, with a linear ramp between. */
#include "rope.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

/* The (fractional) pair that turns `turns` times within the original length. */
static double yarn_pair(const Rope *rope, double turns) {
    return (double)rope->dim * log((double)rope->original_tokens / (turns * 2 * PI)) /
           (2 * log(rope->theta));
}

static double yarn_frequency(const Rope *rope, size_t i, double f) {
    double low = floor(yarn_pair(rope, rope->beta_fast));
    double high = ceil(yarn_pair(rope, rope->beta_slow));
    low = fmax(low, 0);
    high = fmin(high, (double)rope->dim - 1);
    if (low == high) high += 0.001;
    const double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
    return f / rope->factor * ramp + f * (1 - ramp);
}

/* Llama 3.1: wavelengths beyond original/low are stretched by the factor, below original/high kept,
 * blended between. */
static double llama3_frequency(const Rope *rope, double f) {
    const double turns = (double)rope->original_tokens * f / (2 * PI);
    if (turns < rope->low_freq_factor) return f / rope->factor;
    if (turns > rope->high_freq_factor) return f;
    const double smooth =
        (turns - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
    return (1 - smooth) * f / rope->factor + smooth * f;
}

void rope_frequencies(const Rope *rope, double *frequencies) {
    for (size_t i = 0; i < rope->dim / 2; i++) {
        const double f = pow(rope->theta, -2.0 * (double)i / (double)rope->dim);
        switch (rope->scaling) {
        case ROPE_PLAIN:
            frequencies[i] = f;
            break;
        case ROPE_LINEAR:
            frequencies[i] = f / rope->factor;
            break;
        case ROPE_YARN:
            frequencies[i] = yarn_frequency(rope, i, f);
            break;
        case ROPE_LLAMA3:
            frequencies[i] = llama3_frequency(rope, f);
            break;
        }
    }
}

double rope_mscale(double factor, double scale) {
    return factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1;
}

double rope_amplitude(const Rope *rope) {
    if (rope->scaling != ROPE_YARN) return 1;
    if (rope->mscale > 0 && rope->mscale_all_dim > 0)
        return rope_mscale(rope->factor, rope->mscale) /
               rope_mscale(rope->factor, rope->mscale_all_dim);
    return rope_mscale(rope->factor, 1);
}

/* Position t, pair i: the angle is reduced in double before sine and cosine. */
static void turn(double frequency, size_t t, double amplitude, double *c, double *s) {
    const double angle = (double)t * frequency;
    *c = amplitude * cos(angle);
    *s = amplitude * sin(angle);
}

enum { PAIRS_MOST = 4096 };

void rope_table_f64(const Rope *rope, size_t first, size_t tokens, double *table) {
    double frequencies[PAIRS_MOST];
    const size_t pairs = rope->dim / 2;
    const double amplitude = rope_amplitude(rope);
    rope_frequencies(rope, frequencies);
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < pairs; i++) {
            double *at = table + (t * pairs + i) * 2;
            turn(frequencies[i], first + t, amplitude, &at[0], &at[1]);
        }
}

void rope_table(const Rope *rope, size_t first, size_t tokens, float *table) {
    double frequencies[PAIRS_MOST];
    const size_t pairs = rope->dim / 2;
    const double amplitude = rope_amplitude(rope);
    rope_frequencies(rope, frequencies);
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < pairs; i++) {
            double c, s;
            turn(frequencies[i], first + t, amplitude, &c, &s);
            table[(t * pairs + i) * 2] = (float)c;
            table[(t * pairs + i) * 2 + 1] = (float)s;
        }
}

/* Index of the real part of pair i and the distance to its imaginary part. */
static size_t pair_at(const Rope *rope, size_t i, size_t *step) {
    *step = rope->interleaved ? 1 : rope->dim / 2;
    return rope->interleaved ? 2 * i : i;
}

void rope_rotate(const Rope *rope, const float *row, float *x) {
    for (size_t i = 0; i < rope->dim / 2; i++) {
        size_t step;
        float *at = x + pair_at(rope, i, &step);
        const float re = at[0], im = at[step], c = row[2 * i], s = row[2 * i + 1];
        at[0] = re * c - im * s;
        at[step] = re * s + im * c;
    }
}

void rope_rotate_f64(const Rope *rope, const double *row, double *x) {
    for (size_t i = 0; i < rope->dim / 2; i++) {
        size_t step;
        double *at = x + pair_at(rope, i, &step);
        const double re = at[0], im = at[step], c = row[2 * i], s = row[2 * i + 1];
        at[0] = re * c - im * s;
        at[step] = re * s + im * c;
    }
}
