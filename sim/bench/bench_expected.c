/* bench_expected.c -- attention and projections in double; see bench_expected.h. */
#include "bench_expected.h"

#include <math.h>
#include <string.h>

#include "bench_inputs.h"
#include "buffer.h"

/* Keys and values of one head of one sequence. */
typedef struct {
    size_t tokens, dk, dv;
    double *k, *v; /* [tokens, dk], [tokens, dv] */
} Head;

/* ---- keys and values ---- */

static void widen(size_t n, const float *from, double *to) {
    for (size_t i = 0; i < n; i++) to[i] = from[i];
}

/* Rows where they lie. row: room for the wider of both. */
static void load_head(const Scene *s, size_t sequence, size_t g, float *row, Head *head) {
    const KvLayout *l = &s->layout;
    const KvSequence *view = &s->sequence[sequence];
    for (size_t t = 0; t < head->tokens; t++) {
        const size_t block = view->table[t / l->block_tokens], slot = t % l->block_tokens;
        const unsigned char *base = view->pool + block * l->block_bytes;
        const unsigned char *key = base + l->k_offset + g * l->k_head + slot * l->k_row;
        const unsigned char *value = base + l->v_offset + g * l->v_head + slot * l->v_row;
        s->ref.decode[l->k.type](&l->k, l->dk, key, row);
        widen(l->dk, row, head->k + t * l->dk);
        if (!l->v_in_k) s->ref.decode[l->v.type](&l->v, l->dv, value, row);
        widen(l->dv, row, head->v + t * l->dv);
    }
}

static double dot(size_t n, const float *a, const float *b) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* Rows rebuilt from latents [tokens, C + R] by the head's rows of W_UK and W_UV. */
static void expand_head(const Scene *s, size_t h, const float *latents, Head *head) {
    const Model *m = &s->model;
    const size_t rank = m->kv_lora_rank, nope = m->nope_dim, width = rank + m->rope_dim;
    const float *w = s->weights.kv_b + h * (nope + m->value_dim) * rank;
    for (size_t t = 0; t < head->tokens; t++) {
        const float *latent = latents + t * width;
        for (size_t e = 0; e < nope; e++)
            head->k[t * head->dk + e] = dot(rank, latent, w + e * rank);
        widen(m->rope_dim, latent + rank, head->k + t * head->dk + nope);
        for (size_t e = 0; e < m->value_dim; e++)
            head->v[t * head->dv + e] = dot(rank, latent, w + (nope + e) * rank);
    }
}

/* ---- one query row ---- */

static void attend_row(const Head *head, size_t seen, float scale, double unit, const float *q,
                       double *scores, double *out, ExpectedRow *row) {
    double best = -INFINITY, second = -INFINITY, sum = 0, q_most = 0, exact = 0;
    *row = (ExpectedRow){ .lse = -INFINITY };
    for (size_t e = 0; e < head->dk; e++) q_most = fmax(q_most, fabs((double)q[e]));
    for (size_t t = 0; t < seen; t++) {
        double score = 0, terms = 0, size = 0;
        for (size_t e = 0; e < head->dk; e++) {
            const double k = head->k[t * head->dk + e];
            score += q[e] * k;
            terms += fabs(q[e] * k);
            size += fabs(k);
        }
        scores[t] = score * scale;
        second = fmax(second, fmin(best, score));
        best = fmax(best, score);
        exact = fmax(exact, terms);
        row->terms = fmax(row->terms, terms * scale);
        row->coarse = fmax(row->coarse, q_most * size * scale);
    }
    memset(out, 0, head->dv * sizeof *out);
    for (size_t t = 0; t < seen; t++) {
        const double weight = exp(scores[t] - best * scale);
        sum += weight;
        for (size_t e = 0; e < head->dv; e++) {
            const double v = head->v[t * head->dv + e];
            out[e] += weight * v;
            row->greatest = fmax(row->greatest, fabs(v));
        }
    }
    if (!seen) return;
    for (size_t e = 0; e < head->dv; e++) out[e] /= sum;
    row->lse = best * scale + log(sum);
    row->decided = best > second && exact < unit * 0x1p24;
}

/* ---- a call ---- */

typedef struct {
    const Scene *scene;
    Expected *expected;
    size_t sequence, query; /* and the query tokens before it */
    float *latents;
    float *row;
} Walk;

/* All query rows of the heads that look at one key/value head. */
static Status attend_head(const Walk *w, size_t g, Error *err) {
    const Scene *s = w->scene;
    const Case *c = &s->params.c;
    const size_t kv_heads = c->work == WORK_EXPANDED ? c->heads : s->layout.kv_heads;
    const size_t group = c->heads / kv_heads, tokens = case_tokens(c, w->sequence);
    Head head = { .tokens = tokens, .dk = c->dk, .dv = c->dv };
    double *scores = NULL;
    Status status = BUFFER(&head.k, tokens * c->dk, "keys", err);
    if (status == OK) status = BUFFER(&head.v, tokens * c->dv, "values", err);
    if (status == OK) status = BUFFER(&scores, tokens * group * c->q_tokens, "scores", err);
    if (status == OK && w->latents) expand_head(s, g, w->latents, &head);
    if (status == OK && !w->latents) load_head(s, w->sequence, g, w->row, &head);
    const float scale =
        w->latents ? (float)model_softmax_scale(&s->model) : inputs_scale(&s->params);
    const float *q = s->q.room;
    const size_t rows = status == OK ? group * c->q_tokens : 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->params.threads)
    for (size_t i = 0; i < rows; i++) {
        const size_t t = i / group, at = (w->query + t) * c->heads + g * group + i % group;
        attend_row(&head, tokens - c->q_tokens + t + 1, scale, inputs_unit(s), q + at * c->dk,
                   scores + i * tokens, w->expected->out + at * c->dv, &w->expected->row[at]);
    }
    buffer_free(scores);
    buffer_free(head.k);
    buffer_free(head.v);
    return status;
}

static Status attend_sequence(Walk *w, Error *err) {
    const Scene *s = w->scene;
    const Case *c = &s->params.c;
    const bool expanded = c->work == WORK_EXPANDED;
    const size_t tokens = case_tokens(c, w->sequence),
                 kv_heads = expanded ? c->heads : s->layout.kv_heads;
    Status status = BUFFER(&w->row, c->dk > c->dv ? c->dk : c->dv, "a row", err);
    if (status == OK && expanded) {
        status = BUFFER(&w->latents, tokens * (c->rank + c->rope), "latents", err);
        if (status == OK)
            cache_read(s->cache, &s->ref, s->cached[w->sequence], 0, tokens, w->latents, NULL);
    }
    for (size_t g = 0; status == OK && g < kv_heads; g++) status = attend_head(w, g, err);
    buffer_free(w->latents);
    buffer_free(w->row);
    w->latents = w->row = NULL;
    return status;
}

static Status attend(Expected *r, const Scene *s, Error *err) {
    const Case *c = &s->params.c;
    Walk walk = { .scene = s, .expected = r };
    r->rows = s->queries * c->heads;
    TRY(BUFFER(&r->out, r->rows * r->width, "what is expected", err));
    TRY(BUFFER(&r->row, r->rows, "expected rows", err));
    for (; walk.sequence < c->batch; walk.sequence++) {
        TRY(attend_sequence(&walk, err));
        walk.query += c->q_tokens;
    }
    return OK;
}

static Status project(Expected *r, const Scene *s, Error *err) {
    const Case *c = &s->params.c;
    const RowFormat format = case_row_format(c);
    const unsigned char *stored = s->w.room;
    const float *x = s->q.room;
    float *w;
    r->rows = c->q_tokens;
    TRY(BUFFER(&r->out, r->rows * r->width, "what is expected", err));
    TRY(BUFFER(&r->size, r->rows * r->width, "expected sizes", err));
    TRY(BUFFER(&w, c->dk * c->dv, "weights in float", err));
    for (size_t o = 0; o < c->dv; o++)
        s->ref.decode[c->type](&format, c->dk, stored + o * row_bytes(format), w + o * c->dk);
#pragma omp parallel for schedule(static) num_threads(s->params.threads)
    for (size_t i = 0; i < r->rows * r->width; i++) {
        const float *a = x + i / r->width * c->dk, *b = w + i % r->width * c->dk;
        for (size_t e = 0; e < c->dk; e++) {
            r->out[i] += (double)a[e] * b[e];
            r->size[i] += fabs((double)a[e] * b[e]);
        }
    }
    buffer_free(w);
    return OK;
}

Status expected_make(Expected *expected, const Scene *scene, Error *err) {
    Expected draft = { .width = scene->params.c.dv };
    const bool attends = scene->params.c.heads > 0;
    const Status status = attends ? attend(&draft, scene, err) : project(&draft, scene, err);
    if (status == OK)
        *expected = draft;
    else
        expected_free(&draft);
    return status;
}

void expected_free(Expected *expected) {
    buffer_free(expected->out);
    buffer_free(expected->row);
    buffer_free(expected->size);
    *expected = (Expected){ .rows = 0 };
}
