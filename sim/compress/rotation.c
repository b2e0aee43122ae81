/* rotation.c -- fast Hadamard transforms of single rows; see rotation.h. */
#include "rotation.h"

#include <math.h>

#include "buffer.h"
#include "random.h"

Status rotation_new(Rotation *rotation, size_t n, uint64_t seed, uint64_t stream, Error *err) {
    Rotation draft = { .n = n, .block = n & (~n + 1) };
    TRY(BUFFER(&draft.signs, n, "the signs of a rotation", err));
    const float size = n ? 1 / sqrtf((float)draft.block) : 0;
    for (size_t i = 0; i < n; i++) draft.signs[i] = random_bits(seed, stream, i) & 1 ? -size : size;
    *rotation = draft;
    return OK;
}

void rotation_free(Rotation *rotation) {
    buffer_free(rotation->signs);
    *rotation = (Rotation){ 0 };
}

/* The Hadamard transform of n values, n a power of two, without its factor. */
static void hadamard(size_t n, float *x) {
    for (size_t half = 1; half < n; half *= 2)
        for (size_t at = 0; at < n; at += 2 * half) {
            float *restrict a = x + at, *restrict b = x + at + half;
            for (size_t i = 0; i < half; i++) {
                const float sum = a[i] + b[i], difference = a[i] - b[i];
                a[i] = sum;
                b[i] = difference;
            }
        }
}

static void transform(const Rotation *r, float *x) {
    for (size_t at = 0; at < r->n; at += r->block) hadamard(r->block, x + at);
}

static void sign(const Rotation *r, float *x) {
    for (size_t i = 0; i < r->n; i++) x[i] *= r->signs[i];
}

void rotation_apply(const Rotation *rotation, float *x) {
    if (!rotation->signs) return;
    sign(rotation, x);
    transform(rotation, x);
}

void rotation_undo(const Rotation *rotation, float *x) {
    if (!rotation->signs) return;
    transform(rotation, x);
    sign(rotation, x);
}
