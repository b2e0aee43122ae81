/* metrics.h -- the error metrics, against fp64, over causal (query, key) pairs only, pooled: sums
 * of numerators and denominators, never means of ratios. */
#ifndef KVLAB_METRICS_H
#define KVLAB_METRICS_H

#include <stdint.h>

#include "reference.h"

/* What an approximation gives for the same inputs: any pointer may be NULL, its metrics are then
 * NaN. Shapes as in Reference; q/k may have another kv_heads (given here). */
typedef struct {
    const float
        *k_pre;       /* [tokens, kv_heads of the reference, key_dim], decompressed, before RoPE */
    const float *v;   /* [tokens, kv_heads of the reference, value_dim], decompressed */
    const float *out; /* [queries, heads, value_dim] */
    const float *y;   /* [queries, hidden] */
    const float *q_rot; /* [queries, heads, key] queries and [tokens, heads, key] keys, per head, */
    const float *k_rot; /*   after RoPE, whose products are the logits before the scale below */
    size_t key_dim;     /* of q_rot and k_rot */
    double scale;
    /* Which tokens a query sees beside the causal rule, a bit each, lowest first:
     * [kept_heads, queries, (tokens + 7) / 8]; query head h looks at kept head
     * h / (heads / kept_heads). NULL: all of them. */
    const unsigned char *kept;
    size_t kept_heads;
} Approximation;

typedef struct {
    double y_rel;     /* primary: |Y^ - Y|F / |Y|F after the output projection */
    double out_rel;   /* the same before it */
    double k_rel;     /* relative Frobenius error of keys before RoPE */
    double v_rel;     /* of values */
    double logit_rel; /* of logits, each query row centred over its visible keys, evicted or not */
    double attn_kl;   /* mean over (query, head) of sum p log(p / p^), p^ clamped at 1e-30 */
    double attn_tv;   /* mean of half the sum of |p - p^| */
    double out_cos;   /* 1 - mean cosine of the outputs, a query at a time */
    double cos_diff;  /* 1 - 2<a,b>/(<a,a>+<b,b>) over all outputs */
    double max_abs;   /* largest |O^ - O| */
    double p99_abs;   /* its 99th percentile, less at most 1 in 2,048 */
} ErrorMetrics;

/* What a relative error is the root of a ratio of. */
typedef struct {
    double difference, size; /* squares */
    bool given;
} ErrorPair;

/* Numerators and denominators, to be pooled over layers and sequences; zeroed before the first. */
typedef struct {
    ErrorPair y, out, k, v, logits;
    double kl, tv, attended;     /* sums over (query, head), and their number */
    double cosine_loss, cosines; /* sum over queries, and their number */
    double cos_sizes;            /* <a,a> + <b,b> */
    double max_abs;
    uint64_t *abs_counts; /* |O^ - O| by the leading bits of its float */
} ErrorSums;

/* Adds one layer over one sequence. Errors: ERR_MACHINE for lack of memory; sums are then as they
 * were. Release with metrics_free. */
Status metrics_add(ErrorSums *sums, const Reference *exact, const Approximation *approx,
                   Error *err);
ErrorMetrics metrics_of(const ErrorSums *sums);
void metrics_free(ErrorSums *sums);

/* All metrics of one layer over one sequence. Errors: ERR_MACHINE for lack of memory. */
Status metrics_compute(ErrorMetrics *metrics, const Reference *exact, const Approximation *approx,
                       Error *err);

/* |a - b|F / |b|F and the largest |a - b|, in fp64; b is the exact one. 0/0 is 0. */
double metrics_relative(size_t n, const float *a, const double *b);
double metrics_max_abs(size_t n, const float *a, const double *b);

#endif
