/* sequences_weights.c -- weights of a layer for the hidden states of sequences.c; see
 * sequences.h.
 *
 * Each matrix is a product of structured orthogonal factors with a power-law spectrum; those of
 * keys and queries have their leading right directions blended with the principal axes of what
 * they are applied to, which is what makes keys low rank:
 *
 *   MHA, GQA, MQA   W_K i^-key_decay    W_V i^-value_decay    W_Q i^-query_decay    of X
 *   MLA             latent i^-value_decay of X, k_pe i^-key_decay of X;
 *                   W_UK i^-(key_decay - value_decay), W_UV flat, of the normalised latent;
 *                   W_Q of X, or q_a i^-query_decay of X and q_b flat of its normalised latent
 *   all             W_O flat
 *
 * so that keys, values and queries have the spectra of MHA's on the way through the latents too.
 * synthesis_calibrate() then gives them their sizes, their offsets and the sink. */
#include "sequences.h"

#include "buffer.h"
#include "synthesis.h"

enum { SAMPLE_TOKENS = 1024 };

/* The number of the sequence that weights are calibrated on; no study reaches it. */
static const uint64_t SAMPLE_SEQUENCE = UINT64_MAX;

static Part dense_part(float *w, size_t heads, size_t width, const Sample *input) {
    return (
        Part){ .rows = rows_dense(w, heads * width, input->width), .input = input, .width = width };
}

static Status fill_rotated(const Synthesis *s, const Part *part, uint64_t stream, double decay,
                           double power, size_t first, Error *err) {
    float *gain = NULL;
    TRY(BUFFER(&gain, part->rows.count, "row gains", err));
    synthesis_gains(s, power, part->rows.count / part->width, part->width, first, gain);
    const Status status = synthesis_fill(s, part, stream, decay, s->params->axes_blend, gain, err);
    buffer_free(gain);
    return status;
}

/* The latent's sample: rows applied to X, then RMSNorm. */
static Status sample_latent(const Synthesis *s, Sample *latent, const Rows *rows, Error *err) {
    TRY(sample_new(latent, s->input.tokens, rows->count, err));
    rows_product(rows, 0, rows->count, s->input.tokens, s->input.x, latent->x, rows->count);
    sample_normalise(latent);
    return sample_describe(latent, MEASURED_TOKENS, s->params->seed, err);
}

static Status fill_queries(Synthesis *s, Error *err) {
    const Model *m = s->model;
    LayerWeights *w = s->weights;
    if (m->q_lora_rank == 0) {
        s->query = dense_part(w->q, m->heads, m->key_dim, &s->input);
        return fill_rotated(s, &s->query, STREAM_QUERIES, s->params->query_decay, 0.5,
                            s->query_rotary, err);
    }
    const Part down = dense_part(w->q_a, 1, m->q_lora_rank, &s->input);
    TRY(synthesis_fill(s, &down, STREAM_QUERY_LATENT, s->params->query_decay, s->params->axes_blend,
                       NULL, err));
    TRY(sample_latent(s, &s->query_latent, &down.rows, err));
    s->query = dense_part(w->q_b, m->heads, m->key_dim, &s->query_latent);
    return fill_rotated(s, &s->query, STREAM_QUERIES, 0, 0.5, s->query_rotary, err);
}

static Status fill_plain(Synthesis *s, Error *err) {
    const Model *m = s->model;
    s->rotary = dense_part(s->weights->k, m->kv_heads, m->key_dim, &s->input);
    s->value = dense_part(s->weights->v, m->kv_heads, m->value_dim, &s->input);
    TRY(fill_rotated(s, &s->rotary, STREAM_KEYS, s->params->key_decay, 1, 0, err));
    TRY(synthesis_fill(s, &s->value, STREAM_VALUES, s->params->value_decay, 0, NULL, err));
    return fill_queries(s, err);
}

/* The rows of one kind among each head's P key rows and V value rows of kv_b. */
static Part kv_b_part(const Synthesis *s, size_t width, size_t first) {
    const Model *m = s->model;
    return (Part){ .rows = { .w = s->weights->kv_b,
                             .count = m->heads * width,
                             .cols = m->kv_lora_rank,
                             .block = width,
                             .stride = m->nope_dim + m->value_dim,
                             .first = first },
                   .input = &s->latent,
                   .width = width };
}

static Status fill_mla(Synthesis *s, Error *err) {
    const Model *m = s->model;
    const SequencesParams *p = s->params;
    const Part down = dense_part(s->weights->kv_a, 1, m->kv_lora_rank, &s->input);
    s->rotary =
        dense_part(s->weights->kv_a + m->kv_lora_rank * m->hidden, 1, m->rope_dim, &s->input);
    s->content = kv_b_part(s, m->nope_dim, 0);
    s->value = kv_b_part(s, m->value_dim, m->nope_dim);
    TRY(synthesis_fill(s, &down, STREAM_LATENT, p->value_decay, 0, NULL, err));
    TRY(sample_latent(s, &s->latent, &down.rows, err));
    TRY(fill_rotated(s, &s->rotary, STREAM_KEYS, p->key_decay, 1, 0, err));
    TRY(synthesis_fill(s, &s->content, STREAM_CONTENT_KEYS, p->key_decay - p->value_decay,
                       p->axes_blend, NULL, err));
    TRY(synthesis_fill(s, &s->value, STREAM_VALUES, 0, 0, NULL, err));
    return fill_queries(s, err);
}

static Status check(const SequencesParams *p, Error *err) {
    if (!(p->sink_mass >= 0 && p->sink_mass < 1))
        return fail(err, ERR_INPUT, "sequences.sink_mass is %g; 0 up to below 1 is allowed",
                    p->sink_mass);
    if (!(p->axes_blend >= 0 && p->axes_blend <= 1))
        return fail(err, ERR_INPUT, "sequences.axes_blend is %g; 0 to 1 is allowed", p->axes_blend);
    if (!(p->key_value_ratio > 0 && p->logit_std > 0))
        return fail(err, ERR_INPUT,
                    "sequences.key_value_ratio and sequences.logit_std must be above 0");
    return OK;
}

Status sequences_weights(const SequencesParams *params, const Model *model, size_t context,
                         LayerWeights *weights, Error *err) {
    TRY(check(params, err));
    LayerWeights draft = { 0 };
    Synthesis s = { .params = params, .model = model, .weights = &draft, .context = context };
    s.query_rotary = model->kind == ATTENTION_MLA ? model->nope_dim : 0;
    Status status = weights_alloc(&draft, model, err);
    if (status == OK) status = sample_new(&s.input, SAMPLE_TOKENS, model->hidden, err);
    if (status == OK)
        status =
            sequences_hidden(params, SAMPLE_SEQUENCE, SAMPLE_TOKENS, model->hidden, s.input.x, err);
    if (status == OK) status = sample_describe(&s.input, MEASURED_TOKENS, params->seed, err);
    if (status == OK)
        status = model->kind == ATTENTION_MLA ? fill_mla(&s, err) : fill_plain(&s, err);
    if (status == OK) status = synthesis_calibrate(&s, err);
    sample_free(&s.query_latent);
    sample_free(&s.latent);
    sample_free(&s.input);
    if (status == OK)
        *weights = draft;
    else
        weights_free(&draft);
    return status;
}
