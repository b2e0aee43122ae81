/* orthogonal.c -- structured random orthogonal matrices; see orthogonal.h. */
#include "orthogonal.h"

#include <assert.h>
#include <math.h>

#include "buffer.h"
#include "random.h"

enum { LANES = ORTHOGONAL_LANES, ROUNDS = ORTHOGONAL_ROUNDS };

/* Fisher and Yates' shuffle. */
static void shuffle(uint32_t *order, size_t n, uint64_t seed, uint64_t stream) {
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n - 1; i > 0; i--) {
        const size_t other = (size_t)(random_uniform(seed, stream, i) * (double)(i + 1));
        const uint32_t kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

Status orthogonal_new(Orthogonal *q, size_t n, uint64_t seed, uint64_t stream, Error *err) {
    assert(n >= 1 && n <= UINT32_MAX);
    Orthogonal draft = { .n = n };
    Status status = BUFFER(&draft.order, ROUNDS * n, "an orthogonal matrix", err);
    if (status == OK) status = BUFFER(&draft.sign, 2 * ROUNDS * n, "an orthogonal matrix", err);
    if (status != OK) {
        orthogonal_free(&draft);
        return status;
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        const uint64_t orders = random_bits(seed, stream, round);
        shuffle(draft.order + round * n, n, seed, orders);
    }
    const uint64_t signs = random_bits(seed, stream, 2 * ROUNDS);
    for (size_t i = 0; i < 2 * ROUNDS * n; i++)
        draft.sign[i] = random_bits(seed, signs, i) & 1 ? -1.0f : 1.0f;
    *q = draft;
    return OK;
}

void orthogonal_free(Orthogonal *q) {
    buffer_free(q->order);
    buffer_free(q->sign);
    *q = (Orthogonal){ 0 };
}

/* a, b <- scale (a + b), scale (a - b) over `count` floats each. */
static void butterfly(size_t count, float scale, float *restrict a, float *restrict b) {
    for (size_t i = 0; i < count; i++) {
        const float sum = a[i] + b[i], difference = a[i] - b[i];
        a[i] = scale * sum;
        b[i] = scale * difference;
    }
}

/* Two stages at once over four runs of `count` floats: half the passes over memory. */
static void butterfly_twice(size_t count, float *restrict a, float *restrict b, float *restrict c,
                            float *restrict d) {
    for (size_t i = 0; i < count; i++) {
        const float ab = a[i] + b[i], a_b = a[i] - b[i];
        const float cd = c[i] + d[i], c_d = c[i] - d[i];
        a[i] = 0.5f * (ab + cd);
        b[i] = 0.5f * (a_b + c_d);
        c[i] = 0.5f * (ab - cd);
        d[i] = 0.5f * (a_b - c_d);
    }
}

/* The orthonormal Hadamard transform over the n entries, n a power of two, of each lane. */
static void hadamard(size_t n, float *x) {
    size_t half = 1;
    for (; half * 4 <= n; half *= 4) {
        const size_t run = half * LANES;
        for (size_t at = 0; at < n * LANES; at += 4 * run)
            butterfly_twice(run, x + at, x + at + run, x + at + 2 * run, x + at + 3 * run);
    }
    if (half < n) butterfly(half * LANES, (float)sqrt(0.5), x, x + half * LANES);
}

static void apply_round(const Orthogonal *q, size_t round, const float *in, float *out) {
    const uint32_t *order = q->order + round * q->n;
    const float *sign = q->sign + 2 * round * q->n;
    for (size_t i = 0; i < q->n; i++)
        for (size_t lane = 0; lane < LANES; lane++)
            out[i * LANES + lane] = sign[i] * in[order[i] * (size_t)LANES + lane];
    size_t window = 1;
    while (window * 2 <= q->n) window *= 2;
    hadamard(window, out);
    if (window == q->n) return;
    for (size_t i = 0; i < q->n; i++)
        for (size_t lane = 0; lane < LANES; lane++) out[i * LANES + lane] *= sign[q->n + i];
    hadamard(window, out + (q->n - window) * LANES);
}

void orthogonal_apply(const Orthogonal *q, float *x, float *work) {
    apply_round(q, 0, x, work);
    apply_round(q, 1, work, x);
}
