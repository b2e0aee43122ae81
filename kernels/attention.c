/* attention.c -- the driver of attention: layout of blocks, the call, the merge of partial results.
 *
 * attention_plan.c cuts the work into items, attention_tiles.c, attention_heads.c or
 * attention_rows.c computes one, attention_long.c keeps the sums of a long one.
 * Each item is computed by one thread in one order, and partial results of the chunks are merged in
 * order: any number of threads gives the same bits. */
#include "attention.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "attention_parts.h"

enum {
    LINE_FLOATS = 16, /* of a row that are merged at once; the padded width is a multiple */
    ROWS_AHEAD = 4,   /* of the output */
    TILE_ROWS_MIN = 8 /* from so many rows on coded ones are decoded once for all of them */
};

KvLayout kv_layout(KvType type, size_t kv_heads, size_t dk, size_t dv, bool v_in_k,
                   size_t block_tokens) {
    KvLayout layout = { .kv_heads = kv_heads, .dk = dk, .dv = dv, .v_in_k = v_in_k };
    layout.k = v_in_k ? row_format_latent(type.k, dv, dk - dv) : row_format(type.k, dk);
    layout.v = v_in_k ? layout.k : row_format(type.v, dv);
    layout.block_tokens = block_tokens;
    layout.k_row = row_bytes(layout.k);
    layout.k_head = block_tokens * layout.k_row;
    layout.block_bytes = kv_heads * layout.k_head;
    if (v_in_k) {
        layout.v_row = layout.k_row;
        layout.v_head = layout.k_head;
        return layout;
    }
    layout.v_offset = layout.block_bytes;
    layout.v_row = row_bytes(layout.v);
    layout.v_head = block_tokens * layout.v_row;
    layout.block_bytes += kv_heads * layout.v_head;
    return layout;
}

/* Where chunk c of a block leaves its result: a block of one chunk in the thread's own part. */
static Part chunk_part(const Item *item, size_t c, float *parts) {
    const Block *b = item->block;
    if (b->chunks == 1) return part_at(item->plan, b->rows, item->work + item->plan->part);
    return part_at(item->plan, b->rows, parts + b->part + c * part_floats(item->plan, b->rows));
}

/* Elements e .. e + LINE_FLOATS of row r of a block: its parts by their weights, in doubles. */
static void merge_line(const Item *item, size_t r, size_t e, const Part *first,
                       const double *weights, float *out) {
    const Block *b = item->block;
    const size_t stride = part_floats(item->plan, b->rows);
    const float *o = first->o + r * item->plan->v_ld + e;
    double sums[LINE_FLOATS] = { 0 };
    for (size_t c = 0; c < b->chunks; c++, o += stride)
        for (size_t i = 0; i < LINE_FLOATS; i++) sums[i] += weights[c] * (double)o[i];
    const size_t n = smaller(LINE_FLOATS, item->a->layout.dv - e);
    for (size_t i = 0; i < n; i++) out[e + i] = (float)sums[i];
}

/* Writes row r of a block out of its parts: with M the greatest of their maxima, each counts
 * e^(max - M) times, and all are divided by the sum of the weights. */
static void write_row(const Item *item, size_t r, const Part *first) {
    const Attention *a = item->a;
    const Block *b = item->block;
    const size_t row = global_row(item, r), stride = part_floats(item->plan, b->rows);
    double weights[CHUNKS_MOST], sum = 0;
    float max = -INFINITY;
    for (size_t c = 0; c < b->chunks; c++)
        max = first->max[c * stride + r] > max ? first->max[c * stride + r] : max;
    const double offset = max == -INFINITY ? 0 : (double)max;
    for (size_t c = 0; c < b->chunks; c++) {
        weights[c] = exp((double)first->max[c * stride + r] - offset);
        sum += weights[c] * (double)first->sum[c * stride + r];
    }
    const bool blind = max == -INFINITY && sum == 0;
    for (size_t c = 0; c < b->chunks; c++) weights[c] = blind ? 0 : weights[c] / sum;
    for (size_t e = 0; e < a->layout.dv; e += LINE_FLOATS)
        merge_line(item, r, e, first, weights, a->out + row * a->layout.dv);
    if (a->lse) a->lse[row] = blind ? -INFINITY : (float)(offset + log(sum));
}

/* The same of a block of one chunk, which has nothing to merge: as one in doubles it would cost 4 %
 * of a prefill. Rows of a head lie far apart in memory: those to come are asked for. */
static void write_whole_row(const Item *item, size_t r, const Part *part) {
    const Attention *a = item->a;
    const size_t row = global_row(item, r), dv = a->layout.dv;
    if (r + ROWS_AHEAD < item->block->rows) {
        const float *ahead = a->out + global_row(item, r + ROWS_AHEAD) * dv;
        for (size_t e = 0; e < dv; e += LINE_FLOATS) __builtin_prefetch(ahead + e, 1);
    }
    const float sum = part->sum[r], *o = part->o + r * item->plan->v_ld;
    const bool blind = part->max[r] == -INFINITY && sum == 0;
    float *out = a->out + row * dv;
    if (blind)
        memset(out, 0, dv * sizeof *out);
    else
        for (size_t e = 0; e < dv; e++) out[e] = o[e] / sum;
    if (a->lse) a->lse[row] = blind ? -INFINITY : (float)((double)part->max[r] + log((double)sum));
}

static void write_block(const Item *item, float *parts) {
    const Part first = chunk_part(item, 0, parts);
    for (size_t r = 0; r < item->block->rows; r++)
        item->block->chunks == 1 ? write_whole_row(item, r, &first) : write_row(item, r, &first);
}

/* Rows of one head each, head by head. */
static void attend_each_head(const Item *item, size_t begin, size_t end) {
    for (size_t i = 0; i < item->block->heads; i++) {
        Block block = *item->block;
        Item one = *item;
        block.head += i;
        block.heads = block.rows = 1;
        one.block = &block;
        one.part.o += i * item->plan->v_ld;
        one.part.max += i, one.part.sum += i;
        attend_by_rows(&one, begin, end);
    }
}

static void attend(const Item *item, size_t begin, size_t end) {
    const Block *b = item->block;
    const KvLayout *l = &item->a->layout;
    const size_t each = b->rows / b->heads;
    const bool few = !l->coding && tile_is_few(item->kernels, l->k.type, l->v.type, each);
    if (few && each == 1)
        attend_by_heads(item, begin, end);
    else if (few || each >= TILE_ROWS_MIN)
        attend_by_tiles(item, begin, end);
    else if (b->heads > 1)
        attend_each_head(item, begin, end);
    else
        attend_by_rows(item, begin, end);
}

/* Computes one chunk of a block; the rows of a block of one chunk are written at once. */
static void run_item(Item *item, size_t chunk, float *parts) {
    const Block *b = item->block;
    item->part = chunk_part(item, chunk, parts);
    memset(item->part.o, 0, b->rows * item->plan->v_ld * sizeof(float));
    for (size_t r = 0; r < tile_lanes(b->rows); r++) {
        item->part.max[r] = -INFINITY;
        item->part.sum[r] = 0;
    }
    const size_t begin = smaller(chunk * b->chunk_tokens, b->visible);
    const size_t end = smaller(begin + b->chunk_tokens, b->visible);
    attend(item, begin, end);
    if (b->chunks == 1) write_block(item, parts);
}

void attention_merge(size_t rows, size_t dv, float *out, float *lse, const float *part_out,
                     const float *part_lse) {
    for (size_t r = 0; r < rows; r++) {
        if (part_lse[r] == -INFINITY) continue;
        const float high = lse[r] > part_lse[r] ? lse[r] : part_lse[r];
        const float mine = expf(lse[r] - high), other = expf(part_lse[r] - high);
        const float sum = mine + other;
        const float keep = mine / sum, add = other / sum;
        float *o = out + r * dv;
        const float *p = part_out + r * dv;
        for (size_t d = 0; d < dv; d++) o[d] = keep * o[d] + add * p[d];
        lse[r] = high + logf(sum);
    }
}

/* ---- the call ---- */

/* Items and floats of partial results of the whole call: where the walk over the blocks ends. */
static Block block_end(const Attention *a, const Plan *plan) {
    Block b = block_begin(a, plan);
    while (b.rows) block_next(a, plan, &b);
    return b;
}

size_t attention_workspace(const Attention *a, int threads) {
    const Plan plan = attention_plan(a);
    const size_t workers = threads > 1 ? (size_t)threads : 1;
    return workers * plan.thread_floats + block_end(a, &plan).part;
}

void attention_run(const Kernels *kernels, const Attention *a, int threads, float *workspace) {
    const Plan plan = attention_plan(a);
    const Block end = block_end(a, &plan);
    const int workers = threads > 1 ? threads : 1;
    float *parts = workspace + (size_t)workers * plan.thread_floats;

#pragma omp parallel num_threads(workers)
    {
        Item item = { .kernels = kernels, .a = a, .plan = &plan };
        item.work = workspace + (size_t)omp_get_thread_num() * plan.thread_floats;
        /* A thread is given its items in growing order, so its walk only goes forward. */
        Block b = block_begin(a, &plan);
        item.block = &b;
#pragma omp for schedule(monotonic : dynamic, 1)
        for (size_t i = 0; i < end.first_item; i++) {
            while (i >= b.first_item + b.chunks) block_next(a, &plan, &b);
            run_item(&item, i - b.first_item, parts);
        }
        b = block_begin(a, &plan);
#pragma omp for schedule(monotonic : dynamic, 1)
        for (size_t i = 0; i < end.first_item; i++) {
            while (i >= b.first_item + b.chunks) block_next(a, &plan, &b);
            if (b.chunks > 1 && i == b.first_item) write_block(&item, parts);
        }
    }
}

Cost attention_cost(const Attention *a) {
    const KvLayout *l = &a->layout;
    const double heads = (double)a->heads, kv_heads = (double)l->kv_heads;
    const double row = (double)row_bytes(l->k) + (l->v_in_k ? 0 : (double)row_bytes(l->v));
    const double token = l->coding ? l->coding->token_bytes : kv_heads * row;
    Cost cost = { 0 };
    for (size_t i = 0; i < a->sequences; i++) {
        const KvSequence *s = &a->sequence[i];
        double pairs = 0;
        for (size_t t = 0; t < s->q_tokens; t++) pairs += (double)visible_tokens(s, t);
        const double seen = s->q_tokens ? (double)visible_tokens(s, s->q_tokens - 1) : 0;
        cost.flops += 2 * (double)(l->dk + l->dv) * heads * pairs;
        cost.bytes +=
            token * seen + (double)s->q_tokens * heads * (double)(l->dk + l->dv) * sizeof(float);
    }
    return cost;
}
