/* spectrum.c -- leading eigenvectors of second moments, exact or randomised; see lowrank.h. */
#include <string.h>

#include "blas.h"
#include "buffer.h"
#include "lowrank.h"
#include "random.h"

enum { OVERSAMPLING = 16, POWER_STEPS = 2, STREAM = 0x10a7 };

static double scale_of(const double *scale, size_t i) {
    return scale ? scale[i] : 1;
}

static double trace_of(size_t n, const double *moments, const double *scale) {
    double trace = 0;
    for (size_t i = 0; i < n; i++)
        trace += moments[i * n + i] * scale_of(scale, i) * scale_of(scale, i);
    return trace;
}

static Status exact(Spectrum *s, const double *moments, const double *scale, Error *err) {
    const size_t n = s->n;
    s->count = n;
    TRY(BUFFER(&s->values, n, "eigenvalues", err));
    TRY(BUFFER(&s->vectors, n * n, "eigenvectors", err));
#pragma omp parallel for
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            s->vectors[i * n + j] = moments[i * n + j] * scale_of(scale, i) * scale_of(scale, j);
    const int info = blas_eigh(n, s->vectors, s->values);
    if (info) return fail(err, ERR_MACHINE, "eigenvalues of %zu moments: LAPACK %d", n, info);
    return OK;
}

/* Work of the randomised iteration over l = rank + oversampling directions. */
typedef struct {
    size_t n, l;
    const double *moments, *scale;
    double *basis; /* [n, l], orthonormal columns */
    double *image; /* [n, l]: the scaled moments times the basis */
    double *small; /* [l, l] */
} Sketch;

static void scale_rows(const Sketch *s, double *rows) {
    for (size_t i = 0; i < s->n && s->scale; i++)
        for (size_t j = 0; j < s->l; j++) rows[i * s->l + j] *= s->scale[i];
}

/* image = D M D basis; basis is used up where there is a scale. */
static void multiply(Sketch *s) {
    scale_rows(s, s->basis);
    blas_gemm_f64(0, 0, s->n, s->l, s->n, 1, s->moments, s->n, s->basis, s->l, 0, s->image, s->l);
    scale_rows(s, s->image);
}

/* The image, made orthonormal, becomes the basis. LAPACK's info. */
static int step(Sketch *s) {
    multiply(s);
    double *const image = s->image;
    s->image = s->basis;
    s->basis = image;
    return blas_orthonormalise(s->n, s->l, s->basis);
}

/* basis becomes orthonormal and leans to the leading eigenvectors; LAPACK's info. */
static int iterate(Sketch *s, uint64_t seed) {
    for (size_t i = 0; i < s->n * s->l; i++) s->basis[i] = random_normal(seed, STREAM, i);
    int info = 0;
    for (int i = 0; i <= POWER_STEPS && info == 0; i++) info = step(s);
    return info;
}

/* The principal axes within the subspace: basis^T (D M D basis). LAPACK's info. */
static int rotate(Sketch *s, Spectrum *out, double *kept) {
    memcpy(kept, s->basis, s->n * s->l * sizeof *kept);
    multiply(s);
    blas_gemm_f64(1, 0, s->l, s->l, s->n, 1, kept, s->l, s->image, s->l, 0, s->small, s->l);
    const int info = blas_eigh(s->l, s->small, out->values);
    if (info == 0)
        blas_gemm_f64(0, 1, out->count, s->n, s->l, 1, s->small, s->l, kept, s->l, 0, out->vectors,
                      s->n);
    return info;
}

static Status randomised(Spectrum *out, const double *moments, const double *scale, size_t rank,
                         uint64_t seed, Error *err) {
    Sketch s = { .n = out->n, .moments = moments, .scale = scale };
    s.l = rank + OVERSAMPLING < out->n ? rank + OVERSAMPLING : out->n;
    out->count = rank;
    double *kept = NULL;
    Status status = BUFFER(&out->values, s.l, "eigenvalues", err);
    if (status == OK) status = BUFFER(&out->vectors, rank * s.n, "eigenvectors", err);
    if (status == OK) status = BUFFER(&s.basis, s.n * s.l, "a subspace", err);
    if (status == OK) status = BUFFER(&s.image, s.n * s.l, "a subspace", err);
    if (status == OK) status = BUFFER(&kept, s.n * s.l, "a subspace", err);
    if (status == OK) status = BUFFER(&s.small, s.l * s.l, "projected moments", err);
    if (status == OK) {
        int info = iterate(&s, seed);
        if (info == 0) info = rotate(&s, out, kept);
        if (info)
            status = fail(err, ERR_MACHINE, "subspace of %zu directions: LAPACK %d", s.l, info);
    }
    buffer_free(s.small);
    buffer_free(kept);
    buffer_free(s.image);
    buffer_free(s.basis);
    return status;
}

Status spectrum_new(Spectrum *spectrum, size_t n, const double *moments, const double *scale,
                    size_t rank, uint64_t seed, Error *err) {
    if (rank > n) return fail(err, ERR_INPUT, "rank %zu is above the width %zu", rank, n);
    Spectrum draft = { .n = n, .trace = trace_of(n, moments, scale) };
    const Status status = n <= SPECTRUM_EXACT_MOST
                              ? exact(&draft, moments, scale, err)
                              : randomised(&draft, moments, scale, rank, seed, err);
    if (status != OK) {
        spectrum_free(&draft);
        return status;
    }
    for (size_t i = 0; i < draft.count; i++)
        if (draft.values[i] < 0) draft.values[i] = 0;
    *spectrum = draft;
    return OK;
}

void spectrum_free(Spectrum *spectrum) {
    buffer_free(spectrum->values);
    buffer_free(spectrum->vectors);
    *spectrum = (Spectrum){ 0 };
}

double spectrum_tail(const Spectrum *spectrum, size_t rank) {
    double tail = 0;
    if (spectrum->count == spectrum->n) {
        for (size_t i = spectrum->n; i-- > rank;) tail += spectrum->values[i];
        return tail;
    }
    tail = spectrum->trace;
    for (size_t i = 0; i < rank; i++) tail -= spectrum->values[i];
    return tail > 0 ? tail : 0;
}

size_t spectrum_share(const Spectrum *first, const Spectrum *second, double weight, size_t budget) {
    size_t a = 0, b = 0;
    while (a + b < budget && (a < first->count || b < second->count)) {
        const double next_a = a < first->count ? weight * first->values[a] : -1;
        const double next_b = b < second->count ? second->values[b] : -1;
        if (next_a >= next_b)
            a++;
        else
            b++;
    }
    return a;
}
