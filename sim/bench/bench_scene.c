/* bench_scene.c -- rooms, views and calls of a case; what they hold is drawn in bench_inputs.c. */
#include "bench_scene.h"

#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "bench_inputs.h"
#include "blas.h"
#include "buffer.h"
#include "linear.h"

enum {
    GUARD_BYTES = 256,
    GUARD = 0xa5,
    EMPTY = 0xff,        /* bytes that are NaN in every row type that has one */
    GAP_BYTES = 3,       /* between rows of a checked scene */
    EXPAND_TOKENS = 1024 /* cached tokens that `expanded` rebuilds at a time */
};

static bool is_attention(const Case *c) {
    return c->work == WORK_ATTENTION;
}

/* ---- rooms ---- */

/* Room for `bytes` bytes, `shift` bytes off the alignment, with guard bands. */
static Status guard_new(Guarded *g, size_t bytes, size_t shift, const char *what, Error *err) {
    TRY(BUFFER(&g->base, bytes + 2 * GUARD_BYTES + shift, what, err));
    g->room = g->base + GUARD_BYTES + shift;
    g->bytes = bytes;
    memset(g->base, GUARD, GUARD_BYTES + shift);
    memset((unsigned char *)g->room + bytes, GUARD, GUARD_BYTES);
    return OK;
}

static bool guard_intact(const Guarded *g) {
    if (!g->base) return true;
    for (const unsigned char *at = g->base; at < (const unsigned char *)g->room; at++)
        if (*at != GUARD) return false;
    const unsigned char *behind = (const unsigned char *)g->room + g->bytes;
    for (size_t i = 0; i < GUARD_BYTES; i++)
        if (behind[i] != GUARD) return false;
    return true;
}

/* Floats of a checked scene begin one float off the alignment. */
static Status guard_floats(const Scene *s, Guarded *g, size_t count, const char *what, Error *err) {
    TRY(guard_new(g, count * sizeof(float), s->params.checked ? sizeof(float) : 0, what, err));
    if (s->params.checked) memset(g->room, EMPTY, g->bytes);
    return OK;
}

bool scene_intact(const Scene *s) {
    const Guarded *const all[] = { &s->pool, &s->q, &s->out, &s->lse, &s->workspace, &s->w };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!guard_intact(all[i])) return false;
    return true;
}

const Kernels *scene_encoder(const Scene *s) {
    return s->params.checked ? &s->ref : s->params.kernels;
}

/* ---- attention over rows where they lie ---- */

/* Puts odd gaps between rows, heads and values. */
static void spread_layout(KvLayout *l) {
    l->k_row += GAP_BYTES;
    l->k_head = l->block_tokens * l->k_row + GAP_BYTES;
    l->block_bytes = l->kv_heads * l->k_head + GAP_BYTES;
    l->v_row = l->k_row;
    l->v_head = l->k_head;
    if (l->v_in_k) return;
    l->v_offset = l->block_bytes;
    l->v_row = row_bytes(l->v) + GAP_BYTES;
    l->v_head = l->block_tokens * l->v_row + GAP_BYTES;
    l->block_bytes += l->kv_heads * l->v_head;
}

static size_t blocks_of(const Scene *s, size_t sequence) {
    return (case_tokens(&s->params.c, sequence) + s->params.block_tokens - 1) /
           s->params.block_tokens;
}

/* Deals the blocks in order, or shuffled in a checked scene. */
static void deal_blocks(Scene *s) {
    const size_t count = s->copies * s->copy_blocks;
    for (size_t b = 0; b < count; b++) s->table[b] = (uint32_t)b;
    for (size_t b = count; s->params.checked && b-- > 1;) {
        const size_t other = (size_t)inputs_below(s->params.seed, b, b + 1);
        const uint32_t kept = s->table[b];
        s->table[b] = s->table[other];
        s->table[other] = kept;
    }
}

static void view_sequences(Scene *s) {
    const Case *c = &s->params.c;
    size_t at = 0;
    for (size_t i = 0; i < s->copies * c->batch; i++) {
        const size_t tokens = case_tokens(c, i % c->batch);
        s->sequence[i] = (KvSequence){ .pool = s->pool.room,
                                       .table = s->table + at,
                                       .tokens = tokens,
                                       .q_tokens = c->q_tokens,
                                       .q_position = tokens - c->q_tokens };
        at += blocks_of(s, i % c->batch);
    }
}

static Attention attention_of(const Scene *s, size_t copy) {
    const Case *c = &s->params.c;
    return (Attention){ .layout = s->layout,
                        .heads = c->heads,
                        .scale = inputs_scale(&s->params),
                        .sequences = c->batch,
                        .sequence = s->sequence + copy * c->batch,
                        .q = s->q.room,
                        .out = s->out.room,
                        .lse = s->lse.room };
}

static Status make_attention(Scene *s, Error *err) {
    const Case *c = &s->params.c;
    const size_t shift = s->params.checked;
    s->layout = case_layout(c, s->params.block_tokens);
    if (s->params.checked) spread_layout(&s->layout);
    for (size_t i = 0; i < c->batch; i++) s->copy_blocks += blocks_of(s, i);
    const size_t blocks = s->copies * s->copy_blocks;
    TRY(guard_new(&s->pool, blocks * s->layout.block_bytes, shift, "cached rows", err));
    if (s->params.checked) memset(s->pool.room, EMPTY, s->pool.bytes);
    TRY(BUFFER(&s->table, blocks, "block tables", err));
    TRY(BUFFER(&s->sequence, s->copies * c->batch, "sequences", err));
    deal_blocks(s);
    view_sequences(s);
    TRY(guard_floats(s, &s->q, s->queries * c->heads * c->dk, "queries", err));
    TRY(guard_floats(s, &s->out, s->queries * c->heads * c->dv, "outputs", err));
    if (s->params.checked)
        TRY(guard_floats(s, &s->lse, s->queries * c->heads, "sums of outputs", err));
    TRY(inputs_rows(s, err));
    inputs_queries(s);
    const Attention a = attention_of(s, 0);
    return guard_floats(s, &s->workspace, attention_workspace(&a, s->params.threads), "workspace",
                        err);
}

/* ---- expanded ---- */

static Model latent_model(const Case *c) {
    return (Model){ .kind = ATTENTION_MLA,
                    .layers = 1,
                    .hidden = c->dk,
                    .heads = c->heads,
                    .kv_heads = c->heads,
                    .key_dim = c->dk,
                    .value_dim = c->dv,
                    .kv_lora_rank = c->rank,
                    .nope_dim = c->dk - c->rope,
                    .rope_dim = c->rope,
                    .rms_norm_eps = 1e-6,
                    .rope = { .theta = 10000, .dim = c->rope } };
}

static Status fill_cache(Scene *s, Error *err) {
    const Case *c = &s->params.c;
    float *rows = NULL;
    Status status = BUFFER(&rows, c->kv_tokens * (c->rank + c->rope), "latent rows", err);
    for (size_t i = 0; status == OK && i < s->copies * c->batch; i++) {
        const size_t tokens = case_tokens(c, i % c->batch);
        inputs_latents(s, i, tokens, rows);
        status = cache_open(s->cache, &s->cached[i], err);
        if (status == OK)
            status = cache_append(s->cache, scene_encoder(s), s->params.threads, s->cached[i],
                                  tokens, rows, NULL, err);
    }
    buffer_free(rows);
    return status;
}

static Status make_expanded(Scene *s, Error *err) {
    const Case *c = &s->params.c;
    s->model = latent_model(c);
    const CacheShape shape = model_cache_shape(&s->model, PATH_EXPANDED);
    const CacheParams cache = { .type = kv_type(c->type), .block_tokens = s->params.block_tokens };
    const LayerParams layer = { .model = &s->model,
                                .weights = &s->weights,
                                .path = PATH_EXPANDED,
                                .kernels = s->params.kernels,
                                .threads = s->params.threads,
                                .expand_tokens = EXPAND_TOKENS };
    const size_t width = c->heads * (s->model.nope_dim + c->dv) * c->rank;
    TRY(guard_floats(s, &s->w, width, "up-projection", err));
    s->weights.kv_b = s->w.room;
    inputs_weights(s, width, c->rank);
    TRY(cache_new(&s->cache, &cache, &shape, s->copies * c->batch, c->kv_tokens, err));
    TRY(BUFFER(&s->cached, s->copies * c->batch, "sequence numbers", err));
    TRY(BUFFER(&s->tokens, c->batch, "query tokens", err));
    for (size_t i = 0; i < c->batch; i++) s->tokens[i] = c->q_tokens;
    TRY(fill_cache(s, err));
    TRY(guard_floats(s, &s->q, s->queries * c->heads * c->dk, "queries", err));
    TRY(guard_floats(s, &s->out, s->queries * c->heads * c->dv, "outputs", err));
    inputs_queries(s);
    return layer_new(&s->layer, &layer, s->queries, c->kv_tokens, err);
}

/* ---- projections and codecs ---- */

static Status make_projection(Scene *s, Error *err) {
    const Case *c = &s->params.c;
    const size_t row = case_row_bytes(c);
    TRY(guard_new(&s->w, s->copies * c->dv * row, s->params.checked ? row / c->dk : 0, "weights",
                  err));
    TRY(guard_floats(s, &s->q, c->q_tokens * c->dk, "inputs", err));
    TRY(guard_floats(s, &s->out, c->q_tokens * c->dv, "outputs", err));
    inputs_queries(s);
    return inputs_projection(s, err);
}

static Status make_codec(Scene *s, Error *err) {
    const Case *c = &s->params.c;
    const size_t rows = s->copies * c->kv_tokens, encode = c->work == WORK_ENCODE;
    TRY(guard_new(&s->pool, rows * case_row_bytes(c), s->params.checked, "stored rows", err));
    TRY(guard_floats(s, &s->q, (encode ? rows : 1) * c->dk, "rows of floats", err));
    TRY(guard_floats(s, &s->out, (size_t)s->params.threads * c->dk, "decoded rows", err));
    inputs_codec(s);
    return OK;
}

static void run_codec(const Scene *s, size_t copy) {
    const Case *c = &s->params.c;
    const size_t stride = case_row_bytes(c), first = copy * c->kv_tokens;
    const RowFormat format = case_row_format(c);
    const float *floats = s->q.room;
    unsigned char *rows = s->pool.room;
#pragma omp parallel num_threads(s->params.threads)
    {
        float *decoded = (float *)s->out.room + (size_t)omp_get_thread_num() * c->dk;
#pragma omp for schedule(static)
        for (size_t r = first; r < first + c->kv_tokens; r++) {
            if (c->work == WORK_ENCODE)
                s->params.kernels->encode[c->type](&format, floats + r * c->dk, rows + r * stride);
            else
                s->params.kernels->decode[c->type](&format, c->dk, rows + r * stride, decoded);
        }
    }
}

/* ---- a scene ---- */

/* Bytes of what one copy reads from memory. */
static size_t copy_bytes(const SceneParams *p) {
    const Case *c = &p->c;
    if (c->work == WORK_PROJECTION) return c->dv * case_row_bytes(c);
    if (c->work == WORK_ENCODE) return c->kv_tokens * c->dk * sizeof(float);
    size_t rows = 0;
    for (size_t i = 0; i < c->batch; i++) rows += case_tokens(c, i);
    return rows * case_row_bytes(c);
}

static size_t copies_of(const SceneParams *p) {
    const size_t each = copy_bytes(p);
    return each >= p->cold_bytes ? 1 : (p->cold_bytes + each - 1) / each;
}

double scene_bytes(const SceneParams *p) {
    const Case *c = &p->c;
    const double copies = (double)copies_of(p), queries = (double)(c->batch * c->q_tokens);
    double bytes = copies * (double)copy_bytes(p);
    if (c->work == WORK_ENCODE) bytes += copies * (double)(c->kv_tokens * case_row_bytes(c));
    bytes += queries * (double)((c->heads ? c->heads : 1) * (c->dk + c->dv)) * sizeof(float);
    if (c->work == WORK_EXPANDED) bytes *= 3; /* the layer's own workspace */
    return bytes;
}

static Status make(Scene *s, Error *err) {
    switch (s->params.c.work) {
    case WORK_ATTENTION:
        return make_attention(s, err);
    case WORK_EXPANDED:
        return make_expanded(s, err);
    case WORK_PROJECTION:
        return make_projection(s, err);
    default:
        return make_codec(s, err);
    }
}

Status scene_new(Scene **scene, const SceneParams *params, Error *err) {
    Scene *draft;
    TRY(BUFFER(&draft, 1, "a case", err));
    draft->params = *params;
    draft->ref = kernels_select(0);
    draft->copies = copies_of(params);
    draft->queries = params->c.batch * params->c.q_tokens;
    const Status status = make(draft, err);
    if (status == OK)
        *scene = draft;
    else
        scene_free(draft);
    return status;
}

void scene_free(Scene *s) {
    if (!s) return;
    layer_free(s->layer);
    cache_free(s->cache);
    Guarded *const all[] = { &s->pool, &s->q, &s->out, &s->lse, &s->workspace, &s->w };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) buffer_free(all[i]->base);
    buffer_free(s->table);
    buffer_free(s->sequence);
    buffer_free(s->cached);
    buffer_free(s->tokens);
    buffer_free(s);
}

void scene_run(Scene *s, size_t i) {
    const Case *c = &s->params.c;
    const size_t copy = i % s->copies;
    if (is_attention(c)) {
        const Attention a = attention_of(s, copy);
        attention_run(s->params.kernels, &a, s->params.threads, s->workspace.room);
    } else if (c->work == WORK_EXPANDED) {
        const LayerBatch batch = { .sequences = c->batch,
                                   .sequence = s->cached + copy * c->batch,
                                   .tokens = s->tokens };
        layer_attend(s->layer, s->cache, &batch, s->q.room, s->out.room);
    } else if (c->work == WORK_PROJECTION) {
        blas_set_threads(s->params.threads);
        linear(s->params.kernels, s->params.threads, c->q_tokens, c->dv, c->dk, s->q.room, c->dk,
               c->type, (const unsigned char *)s->w.room + copy * copy_bytes(&s->params),
               s->out.room, c->dv);
    } else {
        run_codec(s, copy);
    }
}

const void *scene_cold(const Scene *s, size_t i, size_t *bytes) {
    const Case *c = &s->params.c;
    const size_t copy = i % s->copies;
    *bytes = copy_bytes(&s->params);
    const Guarded *from = &s->pool;
    if (c->work == WORK_PROJECTION) from = &s->w;
    if (c->work == WORK_ENCODE) from = &s->q;
    size_t each = *bytes;
    if (is_attention(c)) each = *bytes = s->copy_blocks * s->layout.block_bytes;
    return (const unsigned char *)from->room + copy * each;
}
