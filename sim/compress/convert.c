/* convert.c -- chooses the conversion of a recipe, and leads cached rows back; see convert.h. */
#include "convert.h"

#include <math.h>
#include <string.h>

#include "blas.h"
#include "buffer.h"

Status convert_tokens(const Recipe *recipe, const Model *layer, size_t tokens, Error *err) {
    size_t rank = recipe->model.kv_lora_rank;
    switch (recipe->kind) {
    case RECIPE_COPY:
    case RECIPE_POOL:
    case RECIPE_WEIGHTS:
        return OK;
    case RECIPE_ALIGNED:
        rank = 1;
        break;
    case RECIPE_GROUP:
        rank = layer->key_dim > layer->value_dim ? layer->key_dim : layer->value_dim;
        break;
    case RECIPE_MLA:
    case RECIPE_JOINT:
    case RECIPE_BALANCED:
    case RECIPE_FILLED:
        break;
    default:
        rank = recipe->key_rank > recipe->value_rank ? recipe->key_rank : recipe->value_rank;
    }
    if (rank > tokens)
        return fail(err, ERR_INPUT,
                    "%s: a rank of %zu needs at least as many calibration tokens, not %zu",
                    recipe->name, rank, tokens);
    return OK;
}

static Status copy(Conversion *out, const ConvertSource *source, Error *err) {
    TRY(weights_alloc(&out->weights, &out->model, err));
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    const size_t count = weights_shapes(&out->model, shapes);
    LayerWeights from = *source->weights;
    for (size_t i = 0; i < count; i++) {
        const float *matrix = *weights_at(&from, &shapes[i]);
        float **to = weights_at(&out->weights, &shapes[i]);
        if (matrix) {
            memcpy(*to, matrix, shapes[i].rows * shapes[i].cols * sizeof **to);
        } else {
            buffer_free(*to);
            *to = NULL;
        }
    }
    return OK;
}

static Status dispatch(Conversion *out, const ConvertSource *source, Error *err) {
    switch (out->recipe.kind) {
    case RECIPE_COPY:
        return copy(out, source, err);
    case RECIPE_POOL:
        return convert_pool(out, source, err);
    case RECIPE_ALIGNED:
        return convert_aligned(out, source, err);
    case RECIPE_MLA:
        return convert_mla(out, source, err);
    default:
        return convert_lowrank(out, source, err);
    }
}

Status convert_layer(Conversion *out, const Recipe *recipe, const ConvertSource *source,
                     Error *err) {
    const size_t tokens = source->statistics ? source->statistics->tokens : 0;
    TRY(convert_tokens(recipe, source->layer, tokens, err));
    Spectra own = { .asked = 0 };
    ConvertSource from = *source;
    if (!from.spectra) from.spectra = &own;
    Conversion draft = {
        .recipe = *recipe, .layer = *source->layer, .model = recipe->model, .loss = NAN
    };
    Status status = OK;
    if (recipe->kind == RECIPE_BALANCED && isnan(recipe->gamma))
        status = convert_best_gamma(recipe, &from, &draft.recipe.gamma, err);
    if (status == OK) status = dispatch(&draft, &from, err);
    spectra_free(&own);
    if (status == OK)
        *out = draft;
    else
        convert_free(&draft);
    return status;
}

void convert_free(Conversion *conversion) {
    weights_free(&conversion->weights);
    buffer_free(conversion->rope_basis);
    buffer_free(conversion->key_turns);
    buffer_free(conversion->value_turns);
    *conversion = (Conversion){ 0 };
}

/* ---- the weights of a latent ---- */

/* kv_a's latent rows (+)= down[:, first .. + n] w. */
static Status add_down(const Projection *p, size_t first, size_t n, size_t hidden, const float *w,
                       const float *bias, LayerWeights *to, Error *err) {
    float *down = NULL;
    TRY(BUFFER(&down, p->rank * n, "down-projection", err));
    for (size_t r = 0; r < p->rank; r++)
        for (size_t i = 0; i < n; i++) down[r * n + i] = (float)p->down[r * p->n + first + i];
    blas_gemm(0, 0, p->rank, hidden, n, 1, down, n, w, hidden, first ? 1 : 0, to->kv_a, hidden);
    for (size_t r = 0; r < p->rank && bias && to->kv_a_bias; r++) {
        double sum = to->kv_a_bias[r];
        for (size_t i = 0; i < n; i++) sum += (double)down[r * n + i] * bias[i];
        to->kv_a_bias[r] = (float)sum;
    }
    buffer_free(down);
    return OK;
}

static void set_up(const Conversion *c, const Projection *p) {
    const Model *m = &c->model, *layer = &c->layer;
    const size_t up_heads = model_up_heads(m), share = up_heads / layer->kv_heads;
    const size_t keys = layer->kv_heads * layer->key_dim;
#pragma omp parallel for
    for (size_t h = 0; h < up_heads; h++) {
        float *rows = c->weights.kv_b + h * (m->nope_dim + m->value_dim) * p->rank;
        const double *up_k = p->up + h / share * m->nope_dim * p->rank;
        const double *up_v = p->up + (keys + h / share * m->value_dim) * p->rank;
        for (size_t i = 0; i < m->nope_dim * p->rank; i++) rows[i] = (float)up_k[i];
        rows += m->nope_dim * p->rank;
        for (size_t i = 0; i < m->value_dim * p->rank; i++) rows[i] = (float)up_v[i];
    }
}

Status convert_latent(Conversion *out, const ConvertSource *source, const Projection *projection,
                      Error *err) {
    const Model *layer = source->layer;
    const LayerWeights *from = source->weights;
    LayerWeights *to = &out->weights;
    const size_t keys = layer->kv_heads * layer->key_dim;
    TRY(add_down(projection, 0, keys, layer->hidden, from->k, from->k_bias, to, err));
    TRY(add_down(projection, keys, layer->kv_heads * layer->value_dim, layer->hidden, from->v,
                 from->v_bias, to, err));
    set_up(out, projection);
    memcpy(to->o, from->o, layer->hidden * layer->heads * layer->value_dim * sizeof *to->o);
    if (from->o_bias) memcpy(to->o_bias, from->o_bias, layer->hidden * sizeof *to->o_bias);
    return OK;
}

/* ---- the way back ---- */

/* Turns rotated heads (inverse: back) in place, token t at position t: x [tokens, heads, width],
 * the rotated part from `first` of each head on. */
static Status turn(const Rope *rope, bool inverse, size_t tokens, size_t heads, size_t width,
                   size_t first, float *x, Error *err) {
    const size_t pairs = rope->dim / 2;
    float *table = NULL;
    TRY(BUFFER(&table, tokens * pairs * 2, "RoPE table", err));
    rope_table(rope, 0, tokens, table);
    const double amplitude = rope_amplitude(rope);
    const float undo = (float)(1 / (amplitude * amplitude));
    for (size_t i = 0; i < tokens * pairs && inverse; i++) {
        table[2 * i] *= undo;
        table[2 * i + 1] *= -undo;
    }
#pragma omp parallel for
    for (size_t t = 0; t < tokens; t++)
        for (size_t h = 0; h < heads && pairs; h++)
            rope_rotate(rope, table + t * pairs * 2, x + (t * heads + h) * width + first);
    buffer_free(table);
    return OK;
}

/* Copies each group's row to all of its heads: to [tokens, heads, dim] from [tokens, groups, dim].
 */
static void spread(size_t tokens, size_t heads, size_t groups, size_t dim, const float *from,
                   float *to) {
    for (size_t t = 0; t < tokens; t++)
        for (size_t h = 0; h < heads; h++)
            memcpy(to + (t * heads + h) * dim, from + (t * groups + h / (heads / groups)) * dim,
                   dim * sizeof *to);
}

/* Keys or values of one of the up-projection's heads from the latent, into rows of stride ld_to. */
static void expand_head(const Conversion *c, size_t tokens, const float *rows, size_t h,
                        bool values, float *to, size_t ld_to) {
    const Model *m = &c->model;
    const size_t rank = m->kv_lora_rank, width = rank + m->rope_dim;
    const float *up = c->weights.kv_b + h * (m->nope_dim + m->value_dim) * rank;
    blas_linear(tokens, values ? m->value_dim : m->nope_dim, rank, rows, width,
                values ? up + m->nope_dim * rank : up, to, ld_to);
}

/* Adds basis kappa to the keys: the rotated part, turned back. */
static Status add_rotated(const Conversion *c, size_t tokens, const float *rows, float *k,
                          Error *err) {
    const Model *m = &c->model;
    const size_t n = c->layer.kv_heads * c->layer.key_dim, rope = m->rope_dim;
    float *kappa = NULL, *basis = NULL;
    Status status = BUFFER(&kappa, tokens * rope, "rotated keys", err);
    if (status == OK) status = BUFFER(&basis, n * rope, "rotated basis", err);
    if (status == OK) {
        for (size_t t = 0; t < tokens; t++)
            memcpy(kappa + t * rope, rows + t * (m->kv_lora_rank + rope) + m->kv_lora_rank,
                   rope * sizeof *kappa);
        for (size_t i = 0; i < n * rope; i++) basis[i] = (float)c->rope_basis[i];
        status = turn(&m->rope, true, tokens, 1, rope, 0, kappa, err);
    }
    if (status == OK) blas_gemm(0, 1, tokens, n, rope, 1, kappa, rope, basis, rope, 1, k, n);
    buffer_free(basis);
    buffer_free(kappa);
    return status;
}

/* An MLA layer that was copied: its heads' keys, the shared part turned back behind each. */
static Status copy_back(const Conversion *c, size_t tokens, const float *rows, float *k, float *v,
                        Error *err) {
    const Model *m = &c->model;
    const size_t rank = m->kv_lora_rank, rope = m->rope_dim, nope = m->nope_dim;
    float *shared = NULL;
    TRY(BUFFER(&shared, tokens * rope, "shared keys", err));
    for (size_t t = 0; t < tokens; t++)
        memcpy(shared + t * rope, rows + t * (rank + rope) + rank, rope * sizeof *shared);
    const Status status = turn(&m->rope, true, tokens, 1, rope, 0, shared, err);
    for (size_t h = 0; h < m->heads; h++) {
        expand_head(c, tokens, rows, h, false, k + h * m->key_dim, m->heads * m->key_dim);
        expand_head(c, tokens, rows, h, true, v + h * m->value_dim, m->heads * m->value_dim);
        for (size_t t = 0; t < tokens; t++)
            memcpy(k + (t * m->heads + h) * m->key_dim + nope, shared + t * rope, rope * sizeof *k);
    }
    buffer_free(shared);
    return status;
}

static Status latent_back(const Conversion *c, size_t tokens, const float *rows, float *k, float *v,
                          Error *err) {
    const Model *m = &c->model;
    const size_t groups = c->layer.kv_heads, share = model_up_heads(m) / groups;
    for (size_t g = 0; g < groups; g++) {
        expand_head(c, tokens, rows, g * share, false, k + g * m->nope_dim, groups * m->nope_dim);
        expand_head(c, tokens, rows, g * share, true, v + g * m->value_dim, groups * m->value_dim);
    }
    return m->rope_dim ? add_rotated(c, tokens, rows, k, err) : OK;
}

/* Undoes the turns of keys: k <- conj(turn) k. */
static void turn_keys_back(const Conversion *c, size_t tokens, float *k) {
    const Model *layer = &c->layer;
    const size_t groups = layer->kv_heads, pairs = layer->rope.dim / 2;
#pragma omp parallel for
    for (size_t t = 0; t < tokens; t++)
        for (size_t g = 0; g < groups; g++)
            for (size_t i = 0; i < pairs; i++) {
                const double *unit = c->key_turns + 2 * (g * pairs + i);
                float *head = k + (t * groups + g) * layer->key_dim;
                float *re = head + (layer->rope.interleaved ? 2 * i : i);
                float *im = head + (layer->rope.interleaved ? 2 * i + 1 : i + pairs);
                const double x = *re, y = *im;
                *re = (float)(unit[0] * x + unit[1] * y);
                *im = (float)(unit[0] * y - unit[1] * x);
            }
}

/* v R^T of each head from its group's shared values. */
static Status turn_values_back(const Conversion *c, size_t tokens, const float *rows_v, float *v,
                               Error *err) {
    const size_t groups = c->layer.kv_heads, held = c->model.kv_heads, width = c->layer.value_dim;
    float *rotation = NULL;
    TRY(BUFFER(&rotation, width * width, "a rotation", err));
    for (size_t g = 0; g < groups; g++) {
        for (size_t i = 0; i < width * width; i++)
            rotation[i] = (float)c->value_turns[g * width * width + i];
        blas_gemm(0, 1, tokens, width, width, 1, rows_v + g / (groups / held) * width, held * width,
                  rotation, width, 0, v + g * width, groups * width);
    }
    buffer_free(rotation);
    return OK;
}

Status convert_back(const Conversion *conversion, size_t tokens, const float *rows_k,
                    const float *rows_v, float *k, float *v, Error *err) {
    const Model *m = &conversion->model, *layer = &conversion->layer;
    if (layer->kind == ATTENTION_MLA) return copy_back(conversion, tokens, rows_k, k, v, err);
    if (m->kind == ATTENTION_MLA) return latent_back(conversion, tokens, rows_k, k, v, err);
    spread(tokens, layer->kv_heads, m->kv_heads, m->key_dim, rows_k, k);
    TRY(turn(&m->rope, true, tokens, layer->kv_heads, m->key_dim, 0, k, err));
    if (!conversion->key_turns) {
        spread(tokens, layer->kv_heads, m->kv_heads, m->value_dim, rows_v, v);
        return OK;
    }
    turn_keys_back(conversion, tokens, k);
    return turn_values_back(conversion, tokens, rows_v, v, err);
}

Status convert_keys(const Conversion *conversion, size_t tokens, const float *rows_k, float *k,
                    Error *err) {
    const Model *m = &conversion->model;
    if (m->kind != ATTENTION_MLA) {
        spread(tokens, m->heads, m->kv_heads, m->key_dim, rows_k, k);
        return OK;
    }
    const size_t width = m->kv_lora_rank + m->rope_dim, share = m->heads / model_up_heads(m);
    for (size_t h = 0; h < m->heads; h++) {
        expand_head(conversion, tokens, rows_k, h / share, false, k + h * m->key_dim,
                    m->heads * m->key_dim);
        for (size_t t = 0; t < tokens && m->rope_dim; t++)
            memcpy(k + (t * m->heads + h) * m->key_dim + m->nope_dim,
                   rows_k + t * width + m->kv_lora_rank, m->rope_dim * sizeof *k);
    }
    return m->rotates_rebuilt ? turn(&m->rope, false, tokens, m->heads, m->key_dim, 0, k, err) : OK;
}

void convert_values(const Conversion *conversion, size_t tokens, const float *rows_k,
                    const float *rows_v, float *v) {
    const Model *m = &conversion->model;
    if (m->kind != ATTENTION_MLA) {
        spread(tokens, m->heads, m->kv_heads, m->value_dim, rows_v, v);
        return;
    }
    const size_t share = m->heads / model_up_heads(m);
    for (size_t h = 0; h < m->heads; h++)
        expand_head(conversion, tokens, rows_k, h / share, true, v + h * m->value_dim,
                    m->heads * m->value_dim);
}
