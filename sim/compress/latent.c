/* latent.c -- MHA to MLA without training.
 *
 * A pair of key channels at one frequency is a complex number z, rotated by exp(j t f). RoPE
 * commutes with every complex-linear map across heads at one frequency, so
 *
 * 1. the shared rotated key: slot i of R/2 stands for c = d/R neighbouring frequencies of the H
 *    heads. Over calibration tokens M = sum z z^H (H c x H c); its leading eigenvector u gives
 *    kappa = u^H z, cached rotated at the slot's frequency, and z ~ u kappa. The query of head h
 *    becomes sum conj(u) q over its c frequencies. (c > 1 treats neighbours as one frequency.)
 * 2. what is left of the keys, z - u kappa, is kept without RoPE, together with the values:
 *    PCA of [b K_rest | V] to C, b = |V| / |K_rest| so that neither drowns the other.
 * 3. a key that is no longer rotated meets its query turned by the mean of exp(j t f) over causal
 *    distances t up to the context, the constant that comes nearest to the rotation left out: slow
 *    frequencies keep their say, fast ones, which would be noise, lose it. RoPE that also scales
 *    queries and keys (YaRN) is owed its square.
 * 4. queries are scaled by sqrt((P + R) / d), so that MLA's softmax scale gives the teacher's.
 *
 * The way of TransMLA (arXiv 2502.07864) with complex instead of real rotations. */
#include <math.h>
#include <string.h>

#include "blas.h"
#include "buffer.h"
#include "convert.h"
#include "lowrank.h"

typedef struct {
    const Model *teacher, *target;
    size_t heads, dim, hidden, tokens, context;
    size_t slots;      /* R / 2 */
    size_t fold;       /* frequencies a slot, c above */
    float *keys;       /* [tokens, H d] of the calibration text, before RoPE */
    float *rest;       /* [H d, D] key weights without the rotated part */
    double *re, *im;   /* [tokens, H c] numbers of one slot */
    double *real;      /* [H c, H c] of their moments */
    double *imaginary; /* [H c, H c] */
    double *moment;    /* [H c, H c, 2] */
    double *values;    /* [H c] */
    double *joint;     /* [tokens, 2 H d] */
    double *basis;     /* [C, 2 H d] */
} Work;

/* Which row of a head holds the real (part 0) or imaginary (1) part of pair i. */
static size_t pair_row(const Rope *rope, size_t i, int part) {
    return rope->interleaved ? 2 * i + (size_t)part : i + (size_t)part * (rope->dim / 2);
}

/* Row of a part of component a of slot i among the H d key rows. */
static size_t component_row(const Work *w, size_t i, size_t a, int part) {
    const size_t head = a / w->fold, frequency = i * w->fold + a % w->fold;
    return head * w->dim + pair_row(&w->teacher->rope, frequency, part);
}

/* The leading eigenvector of a slot's moments over the calibration text, into u [H c, 2]. */
static Status slot_direction(Work *w, size_t i, double *u, Error *err) {
    const size_t m = w->heads * w->fold, width = w->heads * w->dim;
#pragma omp parallel for
    for (size_t t = 0; t < w->tokens; t++)
        for (size_t a = 0; a < m; a++) {
            w->re[t * m + a] = w->keys[t * width + component_row(w, i, a, 0)];
            w->im[t * m + a] = w->keys[t * width + component_row(w, i, a, 1)];
        }
    /* M_ab = sum_t z_a conj(z_b): real re.re + im.im, imaginary im.re - re.im */
    blas_gemm_f64(1, 0, m, m, w->tokens, 1, w->re, m, w->re, m, 0, w->real, m);
    blas_gemm_f64(1, 0, m, m, w->tokens, 1, w->im, m, w->im, m, 1, w->real, m);
    blas_gemm_f64(1, 0, m, m, w->tokens, 1, w->im, m, w->re, m, 0, w->imaginary, m);
    blas_gemm_f64(1, 0, m, m, w->tokens, -1, w->re, m, w->im, m, 1, w->imaginary, m);
    for (size_t j = 0; j < m * m; j++) {
        w->moment[2 * j] = w->real[j];
        w->moment[2 * j + 1] = w->imaginary[j];
    }
    const int info = blas_eigh_complex(m, w->moment, w->values);
    if (info)
        return fail(err, ERR_MACHINE, "eigenvectors of %zu key components: LAPACK %d", m, info);
    memcpy(u, w->moment, 2 * m * sizeof *u);
    return OK;
}

/* The shared key's weight rows u^H z; z - u u^H z stays in w->rest. */
static void split_keys(Work *w, size_t i, const double *u, float *real_row, float *imaginary_row) {
    const size_t m = w->heads * w->fold, hidden = w->hidden;
#pragma omp parallel for
    for (size_t d = 0; d < hidden; d++) {
        double re = 0, im = 0;
        for (size_t a = 0; a < m; a++) {
            const double x = w->rest[component_row(w, i, a, 0) * hidden + d];
            const double y = w->rest[component_row(w, i, a, 1) * hidden + d];
            re += u[2 * a] * x + u[2 * a + 1] * y;
            im += u[2 * a] * y - u[2 * a + 1] * x;
        }
        for (size_t a = 0; a < m; a++) {
            float *x = &w->rest[component_row(w, i, a, 0) * hidden + d];
            float *y = &w->rest[component_row(w, i, a, 1) * hidden + d];
            *x = (float)(*x - (u[2 * a] * re - u[2 * a + 1] * im));
            *y = (float)(*y - (u[2 * a] * im + u[2 * a + 1] * re));
        }
        real_row[d] = (float)re;
        imaginary_row[d] = (float)im;
    }
}

/* Query rows of slot i for every head: sum conj(u) q over the head's frequencies of the slot. */
static void fold_queries(const Work *w, size_t i, const double *u, double scale, const float *from,
                         float *to) {
    const Model *target = w->target;
    const size_t hidden = w->hidden;
#pragma omp parallel for
    for (size_t h = 0; h < w->heads; h++) {
        float *rope = to + (h * target->key_dim + target->nope_dim) * hidden;
        float *real = rope + pair_row(&target->rope, i, 0) * hidden;
        float *imaginary = rope + pair_row(&target->rope, i, 1) * hidden;
        for (size_t d = 0; d < hidden; d++) {
            double re = 0, im = 0;
            for (size_t a = h * w->fold; a < (h + 1) * w->fold; a++) {
                const double x = from[component_row(w, i, a, 0) * hidden + d];
                const double y = from[component_row(w, i, a, 1) * hidden + d];
                re += u[2 * a] * x + u[2 * a + 1] * y;
                im += u[2 * a] * y - u[2 * a + 1] * x;
            }
            real[d] = (float)(scale * re);
            imaginary[d] = (float)(scale * im);
        }
    }
}

/* The mean of exp(j t f) over the pairs of a causal context: distance t occurs context - t times.
 */
static void mean_rotation(double f, size_t context, double *re, double *im) {
    double sum_re = 0, sum_im = 0, count = 0;
    for (size_t t = 0; t < context; t++) {
        const double weight = (double)(context - t);
        sum_re += weight * cos((double)t * f);
        sum_im += weight * sin((double)t * f);
        count += weight;
    }
    *re = sum_re / count;
    *im = sum_im / count;
}

/* Step 3: the queries that meet the keys without RoPE. */
static Status convert_plain_queries(const Work *w, double scale, const float *from, float *to,
                                    Error *err) {
    const Rope *rope = &w->teacher->rope;
    const size_t hidden = w->hidden;
    double *frequencies = NULL;
    TRY(BUFFER(&frequencies, w->dim / 2, "frequencies", err));
    rope_frequencies(rope, frequencies);
    const double turned = scale * rope_amplitude(rope) * rope_amplitude(rope);
#pragma omp parallel for
    for (size_t i = 0; i < w->dim / 2; i++) {
        double c, s;
        mean_rotation(frequencies[i], w->context, &c, &s);
        for (size_t h = 0; h < w->heads; h++) {
            const size_t re = pair_row(rope, i, 0) * hidden, im = pair_row(rope, i, 1) * hidden;
            const float *in = from + h * w->dim * hidden;
            float *out = to + h * w->target->key_dim * hidden;
            for (size_t d = 0; d < hidden; d++) {
                out[re + d] = (float)(turned * (c * in[re + d] - s * in[im + d]));
                out[im + d] = (float)(turned * (s * in[re + d] + c * in[im + d]));
            }
        }
    }
    buffer_free(frequencies);
    return OK;
}

/* Steps 1, 3 and 4: the rotated part of keys, and the queries. */
static Status convert_rope(Work *w, const LayerWeights *weights, Conversion *out, Error *err) {
    const Model *target = w->target;
    const size_t hidden = w->hidden, m = w->heads * w->fold;
    const double scale = sqrt((double)target->key_dim / (double)w->dim);
    float *shared = out->weights.kv_a + target->kv_lora_rank * hidden;
    for (size_t i = 0; i < w->slots; i++) {
        double *u = out->rope_basis + 2 * m * i;
        TRY(slot_direction(w, i, u, err));
        split_keys(w, i, u, shared + pair_row(&target->rope, i, 0) * hidden,
                   shared + pair_row(&target->rope, i, 1) * hidden);
        fold_queries(w, i, u, scale, weights->q, out->weights.q);
    }
    return convert_plain_queries(w, scale, weights->q, out->weights.q, err);
}

static double norm(size_t n, const float *x) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sqrt(sum);
}

/* Projects the calibration text by `weights` into one half of w->joint, times `factor`; a factor of
 * 0 stands for `target_norm` over the norm found. Returns the norm found; *used is the factor. */
static double project_half(Work *w, const float *x, const float *weights, size_t half,
                           double target_norm, double *used) {
    const size_t width = w->heads * w->dim;
    float *part = w->keys; /* the calibration keys are done with */
    blas_linear(w->tokens, width, w->hidden, x, w->hidden, weights, part, width);
    const double found = norm(w->tokens * width, part);
    *used = target_norm > 0 && found > 0 ? target_norm / found : 1;
    for (size_t t = 0; t < w->tokens; t++)
        for (size_t i = 0; i < width; i++)
            w->joint[t * 2 * width + half * width + i] = *used * part[t * width + i];
    return found;
}

/* Step 2: w->basis from the calibration text, and the balance b. */
static Status joint_basis(Work *w, const LayerWeights *weights, const float *x, uint64_t seed,
                          double *balance, Error *err) {
    double one;
    const double value_norm = project_half(w, x, weights->v, 1, 0, &one);
    project_half(w, x, w->rest, 0, value_norm, balance);
    const size_t width = 2 * w->heads * w->dim;
    return lowrank_basis(w->tokens, width, w->joint, w->target->kv_lora_rank, seed, w->basis, err);
}

/* Down-projection E [b W_rest; W_V], and the up-projections E_K / b and E_V of each head. */
static Status convert_basis(Work *w, const LayerWeights *weights, double balance, Conversion *out,
                            Error *err) {
    const size_t width = w->heads * w->dim, hidden = w->hidden, rank = w->target->kv_lora_rank;
    float *down = NULL; /* E with the balance folded in, [C, 2 H d] */
    TRY(BUFFER(&down, rank * 2 * width, "down-projection", err));
    for (size_t r = 0; r < rank; r++)
        for (size_t i = 0; i < 2 * width; i++)
            down[r * 2 * width + i] =
                (float)(w->basis[r * 2 * width + i] * (i < width ? balance : 1));
    float *kv_a = out->weights.kv_a;
    blas_gemm(0, 0, rank, hidden, width, 1, down, 2 * width, w->rest, hidden, 0, kv_a, hidden);
    blas_gemm(0, 0, rank, hidden, width, 1, down + width, 2 * width, weights->v, hidden, 1, kv_a,
              hidden);
    buffer_free(down);
    for (size_t h = 0; h < w->heads; h++)
        for (size_t i = 0; i < w->dim; i++)
            for (size_t r = 0; r < rank; r++) {
                const double *e = w->basis + r * 2 * width + h * w->dim + i;
                float *up = out->weights.kv_b + 2 * h * w->dim * rank + r;
                up[i * rank] = (float)(e[0] / balance);
                up[(w->dim + i) * rank] = (float)e[width];
            }
    return OK;
}

static Status work_alloc(Work *w, Error *err) {
    const size_t m = w->heads * w->fold, width = w->heads * w->dim;
    TRY(BUFFER(&w->keys, w->tokens * width, "calibration keys", err));
    TRY(BUFFER(&w->rest, width * w->hidden, "key weights", err));
    TRY(BUFFER(&w->re, w->tokens * m, "key components", err));
    TRY(BUFFER(&w->im, w->tokens * m, "key components", err));
    TRY(BUFFER(&w->real, m * m, "key moments", err));
    TRY(BUFFER(&w->imaginary, m * m, "key moments", err));
    TRY(BUFFER(&w->moment, 2 * m * m, "key moments", err));
    TRY(BUFFER(&w->values, m, "eigenvalues", err));
    TRY(BUFFER(&w->joint, w->tokens * 2 * width, "calibration keys and values", err));
    return BUFFER(&w->basis, w->target->kv_lora_rank * 2 * width, "latent basis", err);
}

static void work_free(Work *w) {
    buffer_free(w->keys);
    buffer_free(w->rest);
    buffer_free(w->re);
    buffer_free(w->im);
    buffer_free(w->real);
    buffer_free(w->imaginary);
    buffer_free(w->moment);
    buffer_free(w->values);
    buffer_free(w->joint);
    buffer_free(w->basis);
}

static Status check_shapes(const Model *teacher, const Model *target, size_t tokens, Error *err) {
    const size_t d = teacher->key_dim;
    if (teacher->rope.dim != d || teacher->value_dim != d)
        return fail(err, ERR_INPUT,
                    "%s: a teacher with partial RoPE or another value width cannot become MLA",
                    teacher->name);
    if (target->rope_dim == 0 || d % target->rope_dim)
        return fail(err, ERR_INPUT,
                    "qk_rope_head_dim %zu must divide the head dimension %zu to come from MHA",
                    target->rope_dim, d);
    if (target->kv_lora_rank > tokens)
        return fail(err, ERR_INPUT,
                    "kv_lora_rank %zu needs at least as many calibration tokens, not %zu",
                    target->kv_lora_rank, tokens);
    return OK;
}

Status convert_latent(Conversion *out, const Model *teacher, const LayerWeights *weights,
                      const Calibration *text, Error *err) {
    const Model *target = &out->model;
    const size_t tokens = text->tokens;
    TRY(check_shapes(teacher, target, tokens, err));
    Work w = { .teacher = teacher,
               .target = target,
               .heads = teacher->heads,
               .dim = teacher->key_dim,
               .hidden = teacher->hidden,
               .tokens = tokens,
               .context = text->context,
               .slots = target->rope_dim / 2,
               .fold = teacher->key_dim / target->rope_dim };
    const size_t width = w.heads * w.dim;
    double balance = 1;
    Status status = weights_alloc(&out->weights, target, err);
    if (status == OK)
        status = BUFFER(&out->rope_basis, 2 * w.slots * w.heads * w.fold, "key basis", err);
    if (status == OK) status = work_alloc(&w, err);
    if (status == OK) {
        memcpy(out->weights.o, weights->o, w.hidden * width * sizeof(float));
        memcpy(w.rest, weights->k, width * w.hidden * sizeof(float));
        blas_linear(tokens, width, w.hidden, text->x, w.hidden, weights->k, w.keys, width);
        status = convert_rope(&w, weights, out, err);
    }
    if (status == OK) status = joint_basis(&w, weights, text->x, text->seed, &balance, err);
    if (status == OK) status = convert_basis(&w, weights, balance, out, err);
    if (status == OK) {
        buffer_free(out->weights.kv_a_norm);
        out->weights.kv_a_norm = NULL;
    }
    work_free(&w);
    return status;
}
