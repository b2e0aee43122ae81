/* rope.h -- rotary position embedding: frequencies with their scalings, and the rotation itself.
 *
 * Layouts: interleaved pairs (x[2i], x[2i+1]) or half-split pairs (x[i], x[i + dim/2]); each pair
 * is one complex number multiplied by exp(j t f_i), f_i = theta^(-2i/dim). */
#ifndef KVLAB_ROPE_H
#define KVLAB_ROPE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { ROPE_PLAIN, ROPE_LINEAR, ROPE_YARN, ROPE_LLAMA3 } RopeScaling;

typedef struct {
    double theta;
    size_t dim;       /* rotated width */
    bool interleaved; /* else half-split */
    RopeScaling scaling;
    double factor;                            /* linear, yarn, llama3 */
    double beta_fast, beta_slow;              /* yarn */
    double mscale, mscale_all_dim;            /* yarn; 0 when the file has none */
    double attention_factor;                  /* yarn; the amplitude itself, 0 when not given */
    bool ramp_between_pairs;                  /* yarn; its ends are not rounded to pairs */
    double low_freq_factor, high_freq_factor; /* llama3 */
    size_t original_tokens;                   /* original_max_position_embeddings */
    bool scaling_left_out; /* the file asks for one that is not computed: plain stands for it */
} Rope;

/* Frequencies f_i, i < dim/2, in double (YaRN as in DeepSeek's precompute_freqs_cis). */
void rope_frequencies(const Rope *rope, double *frequencies);

/* 0.1 scale ln(factor) + 1, or 1 when factor <= 1: YaRN's mscale. */
double rope_mscale(double factor, double scale);

/* What YaRN multiplies cos and sin by: attention_factor where the file gives it, else
 * mscale(mscale) / mscale(mscale_all_dim) where it gives both, else mscale(1); 1 without YaRN.
 * Source: _compute_yarn_parameters of transformers. */
double rope_amplitude(const Rope *rope);

/* cos and sin times the amplitude for positions first .. first+tokens-1: table [tokens, dim/2, 2],
 * computed in double. */
void rope_table(const Rope *rope, size_t first, size_t tokens, float *table);

/* Rotates the first `dim` values of a head in place by a row of the table [dim/2, 2]. */
void rope_rotate(const Rope *rope, const float *row, float *x);
void rope_rotate_f64(const Rope *rope, const double *row, double *x);
/* The table in double, for the reference. */
void rope_table_f64(const Rope *rope, size_t first, size_t tokens, double *table);

#endif
