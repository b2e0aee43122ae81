/* bench_inputs.c -- drawing of rows, queries and weights; see bench_inputs.h.
 *
 * Whole numbers come in ranges that each row type stores without loss: a group's scale becomes 1
 * (or a power of two) when its extremes are in it, so every group gets them. Sums of products of
 * such numbers stay far below 2^24 and are exact in float in any order. */
#include "bench_inputs.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "buffer.h"
#include "random.h"

/* low * step .. high * step, both ends in every `period` values. */
typedef struct {
    int low, high, step;
    size_t period;
} WholeRange;

static const WholeRange row_ranges[ROW_TYPE_COUNT] = {
    [ROW_F32] = { -127, 127, 1, 16 },        [ROW_BF16] = { -127, 127, 1, 16 },
    [ROW_F16] = { -127, 127, 1, 16 },        [ROW_FP8] = { -14, 14, 32, 128 },
    [ROW_INT8] = { -127, 127, 1, 32 },       [ROW_INT4] = { 0, 15, 1, 32 },
    [ROW_Q8_0] = { -127, 127, 1, 32 },       [ROW_Q4_0] = { -8, 7, 1, 32 },
    [ROW_FP8_DS_MLA] = { -14, 14, 32, 128 }, [ROW_FP8_E5M2] = { -7, 7, 1, 16 },
    [ROW_MXFP4] = { -3, 3, 2, 32 },          [ROW_NVFP4] = { -3, 3, 2, 16 },
};
static const WholeRange query_range = { -127, 127, 1, 16 };
static const WholeRange latent_range = { -15, 15, 1, 16 }; /* rebuilt keys are sums of C of them */
static const WholeRange weight_range = { -1, 1, 1, 16 };
static const WholeRange expanded_query_range = { -3, 3, 2048, 16 };

static const float WHOLE_SCALE = 128; /* exp(-128) is 0 in float */
static const size_t REPEATED_TOKENS = 128;

uint64_t inputs_below(uint64_t seed, uint64_t index, uint64_t limit) {
    return random_bits(seed, 0, index) % limit;
}

float inputs_scale(const SceneParams *params) {
    return params->input == INPUT_WHOLE ? WHOLE_SCALE : 1 / sqrtf((float)params->c.dk);
}

double inputs_unit(const Scene *s) {
    const Case *c = &s->params.c;
    return c->work == WORK_EXPANDED ? expanded_query_range.step
                                    : row_ranges[c->type].step * query_range.step;
}

static float whole(const WholeRange *range, uint64_t seed, uint64_t stream, uint64_t index,
                   size_t place) {
    const int count = range->high - range->low + 1;
    int value = range->low + (int)(random_bits(seed, stream, index) % (uint64_t)count);
    if (place % range->period == 0) value = range->low;
    if (place % range->period == 1) value = range->high;
    return (float)(value * range->step);
}

/* n numbers of a row: row number `row` of a stream. */
static void draw_row(const Scene *s, const WholeRange *range, uint64_t stream, size_t row, size_t n,
                     float *out) {
    const uint64_t seed = s->params.seed;
    for (size_t e = 0; e < n; e++) {
        const uint64_t index = (uint64_t)row * n + e;
        out[e] = s->params.input == INPUT_WHOLE ? whole(range, seed, stream, index, e)
                                                : (float)random_normal(seed, stream, index);
    }
}

/* ---- cached rows ---- */

static void store_token(const Scene *s, size_t block, size_t slot, float *row) {
    const KvLayout *l = &s->layout;
    const Kernels *kernels = scene_encoder(s);
    unsigned char *base = (unsigned char *)s->pool.room + block * l->block_bytes;
    const WholeRange *range = &row_ranges[l->k.type];
    for (size_t g = 0; g < l->kv_heads; g++) {
        const size_t number = (block * l->block_tokens + slot) * l->kv_heads + g;
        draw_row(s, range, STREAM_KEYS, number, l->dk, row);
        kernels->encode[l->k.type](&l->k, row,
                                   base + l->k_offset + g * l->k_head + slot * l->k_row);
        if (l->v_in_k) continue;
        draw_row(s, range, STREAM_VALUES, number, l->dv, row);
        kernels->encode[l->v.type](&l->v, row,
                                   base + l->v_offset + g * l->v_head + slot * l->v_row);
    }
}

/* Slots of the last block of a sequence that no token fills stay empty. */
static void store_sequence(const Scene *s, const KvSequence *sequence, float *rows, size_t width) {
    const size_t block_tokens = s->layout.block_tokens;
#pragma omp parallel for schedule(static) num_threads(s->params.threads)
    for (size_t t = 0; t < sequence->tokens; t++)
        store_token(s, sequence->table[t / block_tokens], t % block_tokens,
                    rows + (size_t)omp_get_thread_num() * width);
}

static void repeat_blocks(const Scene *s, size_t drawn, size_t blocks) {
    const size_t bytes = s->layout.block_bytes;
    unsigned char *pool = s->pool.room;
#pragma omp parallel for schedule(static) num_threads(s->params.threads)
    for (size_t b = drawn; b < blocks; b++)
        memcpy(pool + b * bytes, pool + b % drawn * bytes, bytes);
}

Status inputs_rows(Scene *s, Error *err) {
    const KvLayout *l = &s->layout;
    const size_t width = l->dk > l->dv ? l->dk : l->dv, blocks = s->copies * s->copy_blocks;
    float *rows;
    TRY(BUFFER(&rows, (size_t)s->params.threads * width, "rows", err));
    if (s->params.checked) {
        for (size_t i = 0; i < s->copies * s->params.c.batch; i++)
            store_sequence(s, &s->sequence[i], rows, width);
    } else {
        size_t drawn = (REPEATED_TOKENS + l->block_tokens - 1) / l->block_tokens;
        drawn = drawn < blocks ? drawn : blocks;
        const KvSequence first = { .table = s->table, .tokens = drawn * l->block_tokens };
        store_sequence(s, &first, rows, width);
        repeat_blocks(s, drawn, blocks);
    }
    buffer_free(rows);
    return OK;
}

void inputs_latents(const Scene *s, size_t sequence, size_t tokens, float *rows) {
    const size_t width = s->params.c.rank + s->params.c.rope;
    const size_t drawn = s->params.checked || tokens < REPEATED_TOKENS ? tokens : REPEATED_TOKENS;
#pragma omp parallel for schedule(static) num_threads(s->params.threads)
    for (size_t t = 0; t < drawn; t++)
        draw_row(s, &latent_range, STREAM_KEYS, sequence * s->params.c.kv_tokens + t, width,
                 rows + t * width);
    for (size_t t = drawn; t < tokens; t++)
        memcpy(rows + t * width, rows + t % drawn * width, width * sizeof *rows);
}

/* ---- queries, weights, codecs ---- */

void inputs_queries(Scene *s) {
    const Case *c = &s->params.c;
    const WholeRange *range = c->work == WORK_EXPANDED
                                  ? &expanded_query_range
                                  : (c->work == WORK_PROJECTION ? &latent_range : &query_range);
    const size_t rows = s->q.bytes / sizeof(float) / c->dk;
    float *q = s->q.room;
#pragma omp parallel for schedule(static) num_threads(s->params.threads)
    for (size_t r = 0; r < rows; r++) draw_row(s, range, STREAM_QUERIES, r, c->dk, q + r * c->dk);
}

static void draw_weights(const Scene *s, size_t r, size_t n, float *row) {
    const float scale = s->params.input == INPUT_WHOLE ? 1 : 1 / sqrtf((float)n);
    draw_row(s, &weight_range, STREAM_WEIGHTS, r, n, row);
    for (size_t e = 0; e < n; e++) row[e] *= scale;
}

void inputs_weights(Scene *s, size_t count, size_t rank) {
    float *w = s->w.room;
#pragma omp parallel for schedule(static) num_threads(s->params.threads)
    for (size_t r = 0; r < count / rank; r++) draw_weights(s, r, rank, w + r * rank);
}

Status inputs_projection(Scene *s, Error *err) {
    const Case *c = &s->params.c;
    const RowFormat format = case_row_format(c);
    const size_t stride = row_bytes(format), bytes = c->dv * stride;
    unsigned char *w = s->w.room;
    float *rows;
    TRY(BUFFER(&rows, (size_t)s->params.threads * c->dk, "rows of weights", err));
#pragma omp parallel for schedule(static) num_threads(s->params.threads)
    for (size_t r = 0; r < c->dv; r++) {
        float *row = rows + (size_t)omp_get_thread_num() * c->dk;
        draw_weights(s, r, c->dk, row);
        scene_encoder(s)->encode[c->type](&format, row, w + r * stride);
    }
    buffer_free(rows);
    for (size_t copy = 1; copy < s->copies; copy++) memcpy(w + copy * bytes, w, bytes);
    return OK;
}

void inputs_codec(Scene *s) {
    const Case *c = &s->params.c;
    const size_t stride = case_row_bytes(c), rows = s->pool.bytes / stride;
    const size_t repeated = s->params.checked || rows < REPEATED_TOKENS ? rows : REPEATED_TOKENS;
    const bool encode = c->work == WORK_ENCODE;
    float *floats = s->q.room;
    const RowFormat format = case_row_format(c);
    const Kernels *kernels = scene_encoder(s);
    unsigned char *pool = s->pool.room;
    for (size_t r = 0; r < repeated; r++) {
        float *row = floats + (encode ? r : 0) * c->dk;
        draw_row(s, &row_ranges[c->type], STREAM_KEYS, r, c->dk, row);
        kernels->encode[c->type](&format, row, pool + r * stride);
    }
    for (size_t r = repeated; r < rows; r++) {
        memcpy(pool + r * stride, pool + r % repeated * stride, stride);
        if (encode)
            memcpy(floats + r * c->dk, floats + r % repeated * c->dk, c->dk * sizeof *floats);
    }
}
