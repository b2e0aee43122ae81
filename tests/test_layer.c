/* test_layer.c -- the real layer against the fp64 reference: every kind, path, type and way of
 * feeding it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layer.h"
#include "metrics.h"
#include "reference.h"
#include "small_layer.h"

/* Relative errors that the types allow on layers of this size. */
static const double bounds[ROW_TYPE_COUNT] = {
    [ROW_F32] = 3e-6, [ROW_BF16] = 1e-2, [ROW_F16] = 2e-3, [ROW_FP8] = 0.06, [ROW_INT8] = 0.03
};

typedef struct {
    Path path;
    RowType type;
    size_t block_tokens, expand_tokens;
    int threads;
    unsigned tiers;
} Setting;

/* A layer and its cache over some sequences. */
typedef struct {
    Model model;
    LayerWeights weights;
    Kernels kernels;
    Layer *layer;
    Cache *cache;
    size_t sequence[8];
    size_t sequences;
    Error err;
} Rig;

static void rig_new(Rig *rig, const Model *model, const Setting *set, size_t sequences,
                    size_t tokens) {
    rig->model = *model;
    rig->weights = small_weights(model);
    rig->kernels = kernels_select(set->tiers ? set->tiers : kernels_detect());
    const LayerParams params = { .model = &rig->model,
                                 .weights = &rig->weights,
                                 .path = set->path,
                                 .kernels = &rig->kernels,
                                 .threads = set->threads,
                                 .expand_tokens = set->expand_tokens };
    const CacheParams cache = { .type = kv_type(set->type), .block_tokens = set->block_tokens };
    const CacheShape shape = model_cache_shape(model, set->path);
    cr_assert_eq(layer_new(&rig->layer, &params, tokens, tokens, &rig->err), OK, "%s",
                 rig->err.text);
    cr_assert_eq(cache_new(&rig->cache, &cache, &shape, sequences, 4, &rig->err), OK);
    rig->sequences = sequences;
    for (size_t i = 0; i < sequences; i++)
        cr_assert_eq(cache_open(rig->cache, &rig->sequence[i], &rig->err), OK);
}

static void rig_free(Rig *rig) {
    layer_free(rig->layer);
    cache_free(rig->cache);
    weights_free(&rig->weights);
}

static float *new_floats(size_t n) {
    float *x = calloc(n ? n : 1, sizeof *x);
    cr_assert(x);
    return x;
}

static void forward(Rig *rig, const size_t *tokens, const float *x, float *y) {
    const LayerBatch batch = { .sequences = rig->sequences,
                               .sequence = rig->sequence,
                               .tokens = tokens };
    cr_assert_eq(layer_forward(rig->layer, rig->cache, &batch, x, y, NULL, &rig->err), OK, "%s",
                 rig->err.text);
}

/* The same sequence of `tokens` tokens, the first `prefill` in one call, then one by one. */
static void run_split(const Model *model, const Setting *set, size_t tokens, size_t prefill,
                      const float *x, float *y) {
    Rig rig = { 0 };
    rig_new(&rig, model, set, 1, tokens);
    forward(&rig, &prefill, x, y);
    const size_t one = 1;
    for (size_t t = prefill; t < tokens; t++)
        forward(&rig, &one, x + t * model->hidden, y + t * model->hidden);
    rig_free(&rig);
}

static double split_error(const Model *model, const Setting *set, size_t tokens, size_t prefill) {
    float *x = new_floats(tokens * model->hidden), *y = new_floats(tokens * model->hidden);
    small_fill(tokens * model->hidden, 100, 1, x);
    run_split(model, set, tokens, prefill, x, y);
    LayerWeights weights = small_weights(model);
    Reference exact;
    Error err;
    cr_assert_eq(reference_run(&exact, model, &weights, tokens, x, &err), OK);
    const double error = metrics_relative(tokens * model->hidden, y, exact.y);
    reference_free(&exact);
    weights_free(&weights);
    free(x);
    free(y);
    return error;
}

static size_t paths_of(const Model *model) {
    return model->kind == ATTENTION_MLA ? 3 : 1;
}

Test(layer, every_kind_path_type_and_block_size_agrees_with_the_reference) {
    const size_t block_sizes[] = { 1, 7, 16 };
    for (SmallLayer which = 0; which < SMALL_COUNT; which++) {
        const Model model = small_model(which);
        for (Path path = 0; path < paths_of(&model); path++)
            for (RowType type = 0; type <= ROW_INT8; type++)
                for (size_t b = 0; b < 3; b++) {
                    const Setting set = { .path = path,
                                          .type = type,
                                          .block_tokens = block_sizes[b],
                                          .expand_tokens = 5,
                                          .threads = 2 };
                    const double error = split_error(&model, &set, 23, 17);
                    cr_assert_leq(error, bounds[type], "layer %d, %s, %s, blocks of %zu: %g", which,
                                  path_name(path), row_type_name(type), block_sizes[b], error);
                }
    }
}

Test(layer, every_tier_agrees_with_the_reference) {
    for (size_t i = 0; i < kernel_tier_count; i++) {
        if (!kernel_tiers[i].available()) continue;
        for (SmallLayer which = 0; which < SMALL_COUNT; which++) {
            const Model model = small_model(which);
            for (Path path = 0; path < paths_of(&model); path++) {
                const Setting set = { .path = path,
                                      .block_tokens = 7,
                                      .expand_tokens = 8,
                                      .threads = 1,
                                      .tiers = kernel_tiers[i].bit };
                const double error = split_error(&model, &set, 15, 12);
                cr_assert_leq(error, bounds[ROW_F32], "%s, layer %d, %s: %g", kernel_tiers[i].name,
                              which, path_name(path), error);
            }
        }
    }
}

Test(layer, prefill_then_decode_is_one_prefill_wherever_it_is_cut) {
    const size_t cuts[] = { 1, 2, 7, 8, 13, 14 };
    for (SmallLayer which = 0; which < SMALL_COUNT; which++) {
        const Model model = small_model(which);
        for (Path path = 0; path < paths_of(&model); path++)
            for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
                const Setting set = {
                    .path = path, .block_tokens = 4, .expand_tokens = 3, .threads = 2
                };
                const double error = split_error(&model, &set, 14, cuts[i]);
                cr_assert_leq(error, bounds[ROW_F32], "layer %d, %s, cut at %zu: %g", which,
                              path_name(path), cuts[i], error);
            }
    }
}

Test(layer, a_ragged_batch_is_each_of_its_sequences_alone) {
    enum { ROUNDS = 3, SEQUENCES = 4, TOKENS = 20 };
    const size_t brought[ROUNDS][SEQUENCES] = { { 5, 1, 0, 11 }, { 1, 7, 3, 1 }, { 1, 1, 1, 1 } };
    for (SmallLayer which = 0; which < SMALL_COUNT; which++) {
        const Model model = small_model(which);
        const size_t width = model.hidden;
        for (Path path = 0; path < paths_of(&model); path++) {
            const Setting set = {
                .path = path, .block_tokens = 4, .expand_tokens = 6, .threads = 2
            };
            Rig rig = { 0 };
            rig_new(&rig, &model, &set, SEQUENCES, TOKENS);
            float *inputs = new_floats(SEQUENCES * TOKENS * width);
            float *outputs = new_floats(SEQUENCES * TOKENS * width);
            small_fill(SEQUENCES * TOKENS * width, 100, 1, inputs);
            size_t held[SEQUENCES] = { 0 };
            for (size_t round = 0; round < ROUNDS; round++) {
                float *x = new_floats(TOKENS * width), *y = new_floats(TOKENS * width);
                size_t row = 0;
                for (size_t s = 0; s < SEQUENCES; s++) {
                    memcpy(x + row * width, inputs + (s * TOKENS + held[s]) * width,
                           brought[round][s] * width * sizeof *x);
                    row += brought[round][s];
                }
                forward(&rig, brought[round], x, y);
                row = 0;
                for (size_t s = 0; s < SEQUENCES; s++) {
                    memcpy(outputs + (s * TOKENS + held[s]) * width, y + row * width,
                           brought[round][s] * width * sizeof *x);
                    row += brought[round][s];
                    held[s] += brought[round][s];
                }
                free(x);
                free(y);
            }
            for (size_t s = 0; s < SEQUENCES; s++) {
                Reference exact;
                cr_assert_eq(reference_run(&exact, &model, &rig.weights, held[s],
                                           inputs + s * TOKENS * width, &rig.err),
                             OK);
                const double error =
                    metrics_relative(held[s] * width, outputs + s * TOKENS * width, exact.y);
                cr_assert_leq(error, bounds[ROW_F32], "layer %d, %s, sequence %zu: %g", which,
                              path_name(path), s, error);
                reference_free(&exact);
            }
            free(inputs);
            free(outputs);
            rig_free(&rig);
        }
    }
}

/* Attention over random rows of a cache by some threads: out [sequences * rows, H, value]. */
static void attend_random(const Model *model, const Setting *set, size_t rows, float *out) {
    enum { SEQUENCES = 2, TOKENS = 1100 };
    Rig rig = { 0 };
    rig_new(&rig, model, set, SEQUENCES, TOKENS);
    const CacheShape shape = model_cache_shape(model, set->path);
    const size_t keys = TOKENS * shape.kv_heads * shape.key_dim,
                 values = TOKENS * shape.kv_heads * shape.value_dim,
                 queries = SEQUENCES * rows * model->heads * model->key_dim;
    float *k = new_floats(keys), *v = new_floats(values), *q = new_floats(queries);
    small_fill(queries, 300, 1, q);
    for (size_t s = 0; s < SEQUENCES; s++) {
        small_fill(keys, 301 + 2 * s, 1, k);
        small_fill(values, 302 + 2 * s, 1, v);
        cr_assert_eq(cache_append(rig.cache, &rig.kernels, 1, rig.sequence[s], TOKENS - 7 * s, k,
                                  shape.shared ? NULL : v, &rig.err),
                     OK);
    }
    const LayerBatch batch = { SEQUENCES, rig.sequence, (size_t[]){ rows, rows } };
    layer_attend(rig.layer, rig.cache, &batch, q, out);
    free(k), free(v), free(q);
    rig_free(&rig);
}

Test(layer, attention_by_one_thread_and_by_more_gives_the_same_bits) {
    for (SmallLayer which = 0; which < SMALL_COUNT; which++) {
        const Model model = small_model(which);
        for (Path path = 0; path < paths_of(&model); path++)
            for (size_t rows = 1; rows <= 33; rows += 32) {
                Setting set = {
                    .path = path, .type = ROW_BF16, .block_tokens = 16, .expand_tokens = 100
                };
                const size_t n = 2 * rows * model.heads * model.value_dim;
                float *one = new_floats(n), *more = new_floats(n);
                set.threads = 1;
                attend_random(&model, &set, rows, one);
                for (set.threads = 2; set.threads <= 3; set.threads++) {
                    attend_random(&model, &set, rows, more);
                    cr_assert_arr_eq(one, more, n * sizeof *one, "layer %d, %s, %zu rows", which,
                                     path_name(path), rows);
                }
                free(one);
                free(more);
            }
    }
}

Test(layer, long_calls_are_taken_in_pieces) {
    /* More rows than are projected at a time; a latent so wide that few rows are folded at once. */
    const Model gqa = small_model(SMALL_GQA);
    Model mla = small_model(SMALL_MLA_PLAIN);
    mla.hidden = 6;
    mla.heads = mla.kv_heads = 32;
    mla.kv_lora_rank = 16384;
    for (Path path = 0; path < 3; path++) {
        const Setting set = { .path = path, .block_tokens = 32, .expand_tokens = 9, .threads = 2 };
        const double error = split_error(&mla, &set, 37, 36);
        cr_assert_leq(error, bounds[ROW_F32], "%s: %g", path_name(path), error);
    }
    const Setting set = { .block_tokens = 16, .threads = 2 };
    const double error = split_error(&gqa, &set, 700, 600);
    cr_assert_leq(error, bounds[ROW_F32], "%g", error);
}

Test(layer, the_cache_holds_the_normalised_latent_and_the_rotated_key) {
    enum { TOKENS = 9 };
    const Model model = small_model(SMALL_MLA_PLAIN);
    const size_t width = 13 + 6;
    const Setting set = { .path = PATH_ABSORBED, .block_tokens = 4, .threads = 1 };
    Rig rig = { 0 };
    rig_new(&rig, &model, &set, 1, TOKENS);
    float x[TOKENS * 22], y[TOKENS * 22], rows[TOKENS * 19];
    small_fill(TOKENS * model.hidden, 100, 1, x);
    forward(&rig, (size_t[]){ TOKENS }, x, y);
    cache_read(rig.cache, &rig.kernels, rig.sequence[0], 0, TOKENS, rows, NULL);
    for (size_t t = 0; t < TOKENS; t++) {
        double row[19], squares = 0;
        for (size_t i = 0; i < width; i++) {
            row[i] = rig.weights.kv_a_bias[i];
            for (size_t j = 0; j < model.hidden; j++)
                row[i] += (double)rig.weights.kv_a[i * model.hidden + j] * x[t * model.hidden + j];
            if (i < 13) squares += row[i] * row[i];
        }
        for (size_t i = 0; i < 13; i++) {
            const double latent = row[i] / sqrt(squares / 13 + 1e-6) * rig.weights.kv_a_norm[i];
            cr_assert_float_eq(rows[t * width + i], latent, 1e-5);
        }
        for (size_t i = 0; i < 3; i++) { /* half-split pairs i and i + 3 */
            const double angle = (double)t * pow(100, -2.0 * (double)i / 6);
            const double re = row[13 + i], im = row[16 + i];
            cr_assert_float_eq(rows[t * width + 13 + i], re * cos(angle) - im * sin(angle), 1e-5);
            cr_assert_float_eq(rows[t * width + 16 + i], re * sin(angle) + im * cos(angle), 1e-5);
        }
    }
    rig_free(&rig);
}

Test(layer, attention_alone_repeats_what_the_whole_call_did) {
    enum { TOKENS = 12, NEW = 3 };
    for (SmallLayer which = 0; which < SMALL_COUNT; which++) {
        const Model model = small_model(which);
        const size_t q_width = model.heads * model.key_dim,
                     out_width = model.heads * model.value_dim;
        for (Path path = 0; path < paths_of(&model); path++) {
            const Setting set = {
                .path = path, .block_tokens = 4, .expand_tokens = 5, .threads = 2
            };
            Rig rig = { 0 };
            rig_new(&rig, &model, &set, 1, TOKENS);
            float *x = new_floats(TOKENS * model.hidden), *y = new_floats(TOKENS * model.hidden);
            float *again = new_floats(NEW * model.hidden), *q = new_floats(NEW * q_width);
            float *out = new_floats(NEW * out_width), *rows = new_floats(NEW * 200);
            small_fill(TOKENS * model.hidden, 100, 1, x);
            forward(&rig, (size_t[]){ TOKENS }, x, y);
            layer_project(rig.layer, NEW, (size_t[]){ 9, 10, 11 }, x + 9 * model.hidden, q, rows,
                          rows + NEW * 100);
            const size_t brought = NEW;
            const LayerBatch batch = { 1, rig.sequence, &brought };
            layer_attend(rig.layer, rig.cache, &batch, q, out);
            layer_output(rig.layer, NEW, out, again);
            for (size_t i = 0; i < NEW * model.hidden; i++)
                cr_assert_float_eq(again[i], y[9 * model.hidden + i], 2e-5);
            cr_assert_eq(cache_tokens(rig.cache, rig.sequence[0]), TOKENS, "nothing was appended");
            free(x), free(y), free(again), free(q), free(out), free(rows);
            rig_free(&rig);
        }
    }
}

Test(layer, times_of_the_parts_are_told) {
    const Model model = small_model(SMALL_MLA);
    const Setting set = { .path = PATH_ABSORBED, .block_tokens = 4, .threads = 1 };
    Rig rig = { 0 };
    rig_new(&rig, &model, &set, 1, 8);
    float x[8 * 22] = { 1 }, y[8 * 22];
    LayerTimes times = { -1, -1, -1, -1 };
    const size_t tokens = 8;
    const LayerBatch batch = { 1, rig.sequence, &tokens };
    cr_assert_eq(layer_forward(rig.layer, rig.cache, &batch, x, y, &times, &rig.err), OK);
    cr_assert(times.project_ns > 0 && times.append_ns > 0);
    cr_assert(times.attend_ns > 0 && times.output_ns > 0);
    rig_free(&rig);
}

Test(layer, only_a_latent_can_be_absorbed_or_expanded) {
    const Model model = small_model(SMALL_GQA);
    LayerParams params = { .model = &model, .threads = 1, .expand_tokens = 4 };
    for (Path path = PATH_EXPANDED; path <= PATH_ABSORBED; path++) {
        Layer *layer = NULL;
        Error err = { 0 };
        params.path = path;
        cr_assert_eq(layer_new(&layer, &params, 4, 4, &err), ERR_INPUT);
        cr_assert_null(layer);
        cr_assert(strstr(err.text, path_name(path)) && strstr(err.text, "gqa"), "%s", err.text);
    }
}

Test(layer, a_call_that_is_too_long_is_refused_and_appends_nothing) {
    const Model model = small_model(SMALL_MLA);
    const Setting set = { .path = PATH_ABSORBED, .block_tokens = 4, .threads = 1 };
    Rig rig = { 0 };
    rig_new(&rig, &model, &set, 2, 6);
    float x[8 * 22] = { 1 }, y[8 * 22];
    const LayerBatch batch = { 2, rig.sequence, (size_t[]){ 4, 3 } };
    cr_assert_eq(layer_forward(rig.layer, rig.cache, &batch, x, y, NULL, &rig.err), ERR_INPUT);
    cr_assert_eq(cache_tokens(rig.cache, rig.sequence[0]), 0);
    const LayerBatch fits = { 2, rig.sequence, (size_t[]){ 6, 0 } };
    cr_assert_eq(layer_forward(rig.layer, rig.cache, &fits, x, y, NULL, &rig.err), OK);
    cr_assert_eq(layer_forward(rig.layer, rig.cache, &fits, x, y, NULL, &rig.err), OK);
    cr_assert_eq(layer_forward(rig.layer, rig.cache, &fits, x, y, NULL, &rig.err), ERR_INPUT,
                 "beyond the positions it was made for");
    cr_assert_eq(cache_tokens(rig.cache, rig.sequence[0]), 12);
    rig_free(&rig);
}
