/* test_sequences.c -- the generator gives keys, values and attention the statistics of a language
 * model's, and the errors of compressions their order; the same bits for any number of threads.
 *
 * Bands are about the values that the recipe was verified with: D = 512, 8 heads of 64, 2048
 * tokens, two seeds. */
#include <criterion/criterion.h>
#include <omp.h>

#include "attention_statistics.h"

enum { TOKENS = 2048, HIDDEN = 512, SEEDS = 2 };

static Model plain_model(size_t kv_heads, bool interleaved) {
    return (Model){ .kind = kv_heads == 8 ? ATTENTION_MHA : ATTENTION_GQA,
                    .layers = 1,
                    .hidden = HIDDEN,
                    .heads = 8,
                    .kv_heads = kv_heads,
                    .key_dim = 64,
                    .value_dim = 64,
                    .rope_dim = 64,
                    .rope = { .theta = 10000, .dim = 64, .interleaved = interleaved } };
}

static Model latent_model(size_t q_lora_rank) {
    return (Model){ .kind = ATTENTION_MLA,
                    .layers = 1,
                    .hidden = HIDDEN,
                    .heads = 8,
                    .kv_heads = 8,
                    .key_dim = 96,
                    .value_dim = 64,
                    .q_lora_rank = q_lora_rank,
                    .kv_lora_rank = 160,
                    .nope_dim = 64,
                    .rope_dim = 32,
                    .rope = { .theta = 10000, .dim = 32, .interleaved = true } };
}

static LayerWeights weights_of(const SequencesParams *params, const Model *model) {
    LayerWeights weights;
    Error err;
    cr_assert_eq(sequences_weights(params, model, TOKENS, &weights, &err), OK);
    return weights;
}

static SequencesParams seeded(uint64_t seed) {
    SequencesParams params = sequences_defaults();
    params.seed = seed;
    return params;
}

#define WITHIN(value, least, most)                                                                 \
    do {                                                                                           \
        const double is_ = (value);                                                                \
        cr_expect(is_ >= (least) && is_ <= (most), "seed %d: " #value " = %.4f, not %g to %g",     \
                  (int)seed, is_, (double)(least), (double)(most));                                \
    } while (0)

#define BELOW(less, more) cr_expect_lt(less, more, "seed %d: %.4f %.4f", (int)seed, less, more)

static float *copy_of(size_t n, const float *x) {
    return memcpy(floats(n), x, n * sizeof *x);
}

static double mean_norm(const float *x, size_t width) {
    double sum = 0;
    for (size_t t = 1; t < TOKENS; t++) sum += norm_of(width, x + t * width) / (TOKENS - 1);
    return sum;
}

Test(sequences, ranks_norms_and_attention_are_a_language_models) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const SequencesParams params = seeded(seed);
        const Model model = plain_model(8, false);
        LayerWeights weights = weights_of(&params, &model);
        Heads h = heads_of(&params, 1, &model, &weights, TOKENS);
        const double before = rank_90(TOKENS, h.key, h.k, false);
        const double after = rank_90(TOKENS, h.key, h.k_rot, false);
        WITHIN(before, 0.035, 0.065);
        WITHIN(rank_90(TOKENS, h.key, h.k, true), 0.055, 0.095);
        WITHIN(after, 0.15, 0.27);
        BELOW(2 * before, after);
        WITHIN(rank_90(TOKENS, h.value, h.v, false), 0.24, 0.36);
        WITHIN(rank_90(TOKENS, HIDDEN, h.x, false), 0.26, 0.36);
        WITHIN(norm_of(TOKENS * h.key, h.k) / norm_of(TOKENS * h.value, h.v), 4.1, 4.9);
        WITHIN(channel_spread(TOKENS, h.key, h.k), 4.5, 8.5);
        WITHIN(channel_spread(TOKENS, h.value, h.v), 1.5, 2.4);
        WITHIN(h.shape.sink_mass, 0.12, 0.40);
        WITHIN(h.shape.effective_tokens, 16, 75);
        WITHIN(norm_of(h.key, h.k) / mean_norm(h.k, h.key), 0.63, 0.77);
        WITHIN(norm_of(h.value, h.v) / mean_norm(h.v, h.value), 0.045, 0.055);
        WITHIN(lag_correlation(TOKENS, h.key, h.k, 1), 0.12, 0.25);
        heads_free(&h);
        weights_free(&weights);
    }
}

Test(sequences, without_a_sink_the_logits_have_the_asked_deviation) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        SequencesParams params = seeded(seed);
        params.sink_mass = 0;
        const Model model = plain_model(8, false);
        LayerWeights weights = weights_of(&params, &model);
        Heads h = heads_of(&params, 1, &model, &weights, TOKENS);
        WITHIN(h.shape.logit_std, 1.3, 1.7);
        WITHIN(h.shape.sink_mass, 0, 0.02);
        heads_free(&h);
        weights_free(&weights);
    }
}

Test(sequences, the_output_is_about_as_long_as_the_input) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const SequencesParams params = seeded(seed);
        const Model models[] = { plain_model(8, false), plain_model(2, false), latent_model(96) };
        for (size_t i = 0; i < 3; i++) {
            LayerWeights weights = weights_of(&params, &models[i]);
            Heads h = heads_of(&params, 1, &models[i], &weights, TOKENS);
            float *y = apply(TOKENS, h.value, HIDDEN, h.out, h.value, weights.o, false);
            WITHIN(norm_of(TOKENS * HIDDEN, y) / norm_of(TOKENS * HIDDEN, h.x), 0.6, 1.6);
            free(y);
            heads_free(&h);
            weights_free(&weights);
        }
    }
}

/* ---- the order of compressions ---- */

static double key_error(const Heads *h, bool per_channel, bool rotated, double *output) {
    const size_t n = h->tokens * h->key;
    const float *from = rotated ? h->k_rot : h->k;
    float *k = copy_of(n, from);
    quantise_int2(h->tokens, h->key, per_channel, k);
    const double error = relative(n, k, from);
    *output = output_error(h, k, rotated, h->v);
    free(k);
    return error;
}

/* Per-token error after the Hadamard transform of each head, which keeps norms. */
static double hadamard_key_error(const Heads *h) {
    const size_t n = h->tokens * h->key, dim = h->model->key_dim;
    float *exact = copy_of(n, h->k);
    for (float *head = exact; head < exact + n; head += dim)
        for (size_t half = 1; half < dim; half *= 2)
            for (size_t i = 0; i < dim; i++)
                if (!(i & half)) {
                    const float a = head[i], b = head[i + half];
                    head[i] = (a + b) * (float)sqrt(0.5),
                    head[i + half] = (a - b) * (float)sqrt(0.5);
                }
    float *k = copy_of(n, exact);
    quantise_int2(h->tokens, h->key, false, k);
    const double error = relative(n, k, exact);
    free(exact), free(k);
    return error;
}

Test(sequences, int2_keys_prefer_channels_and_rotations_as_published) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const SequencesParams params = seeded(seed);
        const Model model = plain_model(8, false);
        LayerWeights weights = weights_of(&params, &model);
        Heads h = heads_of(&params, 1, &model, &weights, TOKENS);
        double channel_out = 0, token_out = 0, rotated_out = 0;
        const double channel = key_error(&h, true, false, &channel_out);
        const double token = key_error(&h, false, false, &token_out);
        const double rotated = key_error(&h, true, true, &rotated_out);
        WITHIN(rotated_out, 0.14, 0.26);
        const double hadamard = hadamard_key_error(&h);
        WITHIN(channel, 0.24, 0.39);
        WITHIN(token, 0.37, 0.60);
        WITHIN(hadamard, 0.30, 0.48);
        WITHIN(channel_out, 0.14, 0.24);
        WITHIN(token_out, 0.195, 0.325);
        BELOW(channel, token);
        BELOW(hadamard, token);
        BELOW(channel_out, token_out);
        BELOW(channel, rotated);
        heads_free(&h);
        weights_free(&weights);
    }
}

Test(sequences, value_outliers_make_int2_prefer_tokens) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        SequencesParams params = seeded(seed);
        params.outlier_tokens = 0.02;
        params.outlier_size = 10;
        const Model model = plain_model(8, false);
        LayerWeights weights = weights_of(&params, &model);
        Heads h = heads_of(&params, 1, &model, &weights, TOKENS);
        double errors[2];
        for (int per_channel = 0; per_channel < 2; per_channel++) {
            float *v = copy_of(TOKENS * h.value, h.v);
            quantise_int2(TOKENS, h.value, per_channel, v);
            errors[per_channel] = output_error(&h, h.k, false, v);
            free(v);
        }
        BELOW(1.5 * errors[0], errors[1]);

        size_t large = 0;
        const double usual = mean_norm(h.v, h.value);
        for (size_t t = 1; t < TOKENS; t++)
            large += norm_of(h.value, h.v + t * h.value) > 5 * usual;
        WITHIN((double)large / TOKENS, 0.012, 0.03);
        heads_free(&h);
        weights_free(&weights);
    }
}

/* Output error of the joint projection of [K | V] onto `rank` directions: the principal ones of the
 * activations, or of the weights alone. */
static double joint_error(const Heads *h, const LayerWeights *w, size_t rank, bool of_weights) {
    const size_t n = h->key, both = 2 * n;
    float *kv = floats(TOKENS * both), *k = floats(TOKENS * n), *v = floats(TOKENS * n);
    for (size_t t = 0; t < TOKENS; t++) {
        memcpy(kv + t * both, h->k + t * n, n * sizeof *kv);
        memcpy(kv + t * both + n, h->v + t * n, n * sizeof *kv);
    }
    float *columns = floats(HIDDEN * both);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < HIDDEN; j++) {
            columns[j * both + i] = w->k[i * HIDDEN + j];
            columns[j * both + n + i] = w->v[i * HIDDEN + j];
        }
    double *gram =
        of_weights ? gram_of(HIDDEN, both, columns, false) : gram_of(TOKENS, both, kv, false);
    project_leading(TOKENS, both, rank, gram, kv);
    for (size_t t = 0; t < TOKENS; t++) {
        memcpy(k + t * n, kv + t * both, n * sizeof *kv);
        memcpy(v + t * n, kv + t * both + n, n * sizeof *kv);
    }
    const double error = output_error(h, k, false, v);
    free(kv), free(k), free(v), free(columns), free(gram);
    return error;
}

/* Neighbouring heads replaced by their mean. */
static double pooled_error(const Heads *h) {
    const size_t n = h->key, dim = h->model->key_dim;
    float *k = floats(TOKENS * n), *v = floats(TOKENS * n);
    for (size_t i = 0; i < TOKENS * n; i++) {
        const size_t pair = i / (2 * dim) * 2 * dim + i % dim;
        k[i] = 0.5f * (h->k[pair] + h->k[pair + dim]);
        v[i] = 0.5f * (h->v[pair] + h->v[pair + dim]);
    }
    const double error = output_error(h, k, false, v);
    free(k), free(v);
    return error;
}

Test(sequences, low_rank_errors_are_as_verified_and_weights_alone_mislead) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const SequencesParams params = seeded(seed);
        const Model model = plain_model(8, false);
        LayerWeights weights = weights_of(&params, &model);
        Heads h = heads_of(&params, 1, &model, &weights, TOKENS);
        const double principal = joint_error(&h, &weights, 256, false);
        const double of_weights = joint_error(&h, &weights, 256, true);
        const double sixteenth = joint_error(&h, &weights, 64, false);
        const double pooled = pooled_error(&h);
        WITHIN(principal, 0.15, 0.32);
        WITHIN(of_weights, 0.56, 0.90);
        WITHIN(sixteenth, 0.28, 0.52);
        WITHIN(pooled, 0.70, 1.00);
        BELOW(principal, sixteenth);
        BELOW(2 * principal, of_weights);
        BELOW(sixteenth, pooled);
        heads_free(&h);
        weights_free(&weights);
    }
}

/* ---- other layers ---- */

Test(sequences, grouped_and_latent_layers_have_the_same_statistics) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const SequencesParams params = seeded(seed);
        const Model models[] = { plain_model(2, true), latent_model(0), latent_model(96) };
        for (size_t i = 0; i < 3; i++) {
            LayerWeights weights = weights_of(&params, &models[i]);
            Heads h = heads_of(&params, 1, &models[i], &weights, TOKENS);
            WITHIN(norm_of(TOKENS * h.key, h.k) / norm_of(TOKENS * h.value, h.v), 3.8, 5.2);
            WITHIN(h.shape.sink_mass, 0.1, 0.45);
            WITHIN(h.shape.effective_tokens, 10, 120);
            WITHIN(norm_of(h.key, h.k) / mean_norm(h.k, h.key), 0.6, 0.8);
            WITHIN(norm_of(h.value, h.v) / mean_norm(h.v, h.value), 0.04, 0.06);
            heads_free(&h);
            weights_free(&weights);
        }
    }
}

/* Energy of the eight fastest and eight slowest pairs of a head's rows, by the layout's own rows.
 */
Test(sequences, slow_pairs_carry_the_energy_in_either_layout) {
    const SequencesParams params = seeded(0);
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        const Model model = plain_model(8, interleaved);
        LayerWeights weights = weights_of(&params, &model);
        double fast = 0, slow = 0;
        for (size_t pair = 0; pair < 8; pair++)
            for (size_t which = 0; which < 2; which++) {
                const size_t late = 31 - pair;
                const size_t first = interleaved ? 2 * pair + which : pair + 32 * which;
                const size_t last = interleaved ? 2 * late + which : late + 32 * which;
                fast += norm_of(HIDDEN, weights.k + first * HIDDEN);
                slow += norm_of(HIDDEN, weights.k + last * HIDDEN);
            }
        cr_assert_gt(slow, 3 * fast, "interleaved %d: %f %f", interleaved, slow, fast);
        weights_free(&weights);
    }
}

/* Sizes without a power of two, more heads than channels, one pair, no rotation at all. */
Test(sequences, odd_shapes_give_finite_weights) {
    Model models[4] = { plain_model(8, false), plain_model(8, false), latent_model(7),
                        plain_model(8, false) };
    models[0].hidden = 75;
    models[1].key_dim = models[1].rope_dim = models[1].rope.dim = models[1].value_dim = 2;
    models[2].hidden = 99, models[2].kv_lora_rank = 33;
    models[3].rope_dim = models[3].rope.dim = 0;
    const SequencesParams params = seeded(3);
    for (size_t i = 0; i < 4; i++) {
        LayerWeights weights = weights_of(&params, &models[i]);
        WeightShape shapes[WEIGHT_SHAPES_MOST];
        const size_t count = weights_shapes(&models[i], shapes);
        for (size_t shape = 0; shape < count; shape++) {
            const float *w = *weights_at(&weights, &shapes[shape]);
            const double norm = norm_of(shapes[shape].rows * shapes[shape].cols, w);
            cr_assert(isfinite(norm) && norm > 0, "model %zu %s", i, shapes[shape].name);
        }
        weights_free(&weights);
    }
}

/* ---- hidden states ---- */

Test(sequences, hidden_states_are_normalised_and_begin_with_massive_channels) {
    const SequencesParams params = seeded(0);
    float *x = floats(64 * HIDDEN);
    Error err;
    cr_assert_eq(sequences_hidden(&params, 1, 64, HIDDEN, x, &err), OK);
    for (size_t t = 0; t < 64; t++)
        cr_assert_float_eq(norm_of(HIDDEN, x + t * HIDDEN), sqrt(HIDDEN), 1e-3);
    size_t massive = 0;
    for (size_t j = 0; j < HIDDEN; j++) massive += x[j] > 15;
    cr_assert_eq(massive, 2);
    free(x);
}

Test(sequences, another_number_is_another_text_of_the_same_distribution) {
    const SequencesParams params = seeded(0);
    float *x[2] = { floats(TOKENS * HIDDEN), floats(TOKENS * HIDDEN) };
    Error err;
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(sequences_hidden(&params, i, TOKENS, HIDDEN, x[i], &err), OK);
    cr_assert_arr_eq(x[0], x[1], HIDDEN * sizeof *x[0], "the first token is the model's");
    size_t equal = 0;
    for (size_t i = HIDDEN; i < TOKENS * HIDDEN; i++) equal += x[0][i] == x[1][i];
    cr_assert_lt(equal, TOKENS);

    double worst = 0;
    for (size_t j = 0; j < HIDDEN; j++) {
        double rms[2] = { 0 };
        for (size_t i = 0; i < 2; i++)
            for (size_t t = 1; t < TOKENS; t++)
                rms[i] += (double)x[i][t * HIDDEN + j] * x[i][t * HIDDEN + j];
        worst = fmax(worst, fabs(log(rms[0] / rms[1]) / 2));
    }
    cr_assert_lt(worst, 0.2, "a channel's size differs by a factor of %f", exp(worst));
    free(x[0]), free(x[1]);
}

/* ---- the same bits ---- */

static void expect_same_weights(const Model *model) {
    const SequencesParams params = seeded(5);
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    const size_t count = weights_shapes(model, shapes);
    omp_set_num_threads(1);
    LayerWeights one = weights_of(&params, model);
    for (int threads = 2; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        LayerWeights many = weights_of(&params, model);
        for (size_t i = 0; i < count; i++)
            cr_assert_arr_eq(*weights_at(&one, &shapes[i]), *weights_at(&many, &shapes[i]),
                             shapes[i].rows * shapes[i].cols * sizeof(float), "%s at %d threads",
                             shapes[i].name, threads);
        weights_free(&many);
    }
    weights_free(&one);
}

Test(sequences, weights_have_the_same_bits_for_any_number_of_threads) {
    const Model plain = plain_model(4, false), latent = latent_model(96);
    expect_same_weights(&plain);
    expect_same_weights(&latent);
}

Test(sequences, texts_have_the_same_bits_for_any_number_of_threads) {
    SequencesParams params = seeded(5);
    params.outlier_tokens = 0.1;
    enum { N = 100 * HIDDEN };
    float *one = floats(N), *many = floats(N);
    Error err;
    for (int direct = 0; direct < 2; direct++)
        for (int threads = 1; threads <= 3; threads++) {
            float *x = threads == 1 ? one : many;
            omp_set_num_threads(threads);
            if (direct)
                cr_assert_eq(sequences_direct(&params, 1, 100, 8, 64, 0.5, x, &err), OK);
            else
                cr_assert_eq(sequences_hidden(&params, 1, 100, HIDDEN, x, &err), OK);
            if (threads > 1) cr_assert_arr_eq(one, many, N * sizeof *one, "%d threads", threads);
        }
    free(one), free(many);
}

Test(sequences, a_longer_text_begins_with_the_shorter_one) {
    const SequencesParams params = seeded(5);
    float *brief = floats(20 * HIDDEN), *longer = floats(50 * HIDDEN);
    Error err;
    cr_assert_eq(sequences_hidden(&params, 1, 20, HIDDEN, brief, &err), OK);
    cr_assert_eq(sequences_hidden(&params, 1, 50, HIDDEN, longer, &err), OK);
    cr_assert_arr_eq(brief, longer, 20 * HIDDEN * sizeof *brief);
    cr_assert_eq(sequences_direct(&params, 1, 20, 8, 64, 0.5, brief, &err), OK);
    cr_assert_eq(sequences_direct(&params, 1, 50, 8, 64, 0.5, longer, &err), OK);
    cr_assert_arr_eq(brief, longer, 20 * HIDDEN * sizeof *brief);
    free(brief), free(longer);
}

/* ---- the direct generator ---- */

Test(sequences, direct_keys_have_unit_variance_memory_and_a_decaying_spectrum) {
    const SequencesParams params = seeded(1);
    enum { LONG = 8192, HEADS = 2, DIM = 64 };
    float *x = floats(LONG * HEADS * DIM);
    Error err;
    cr_assert_eq(sequences_direct(&params, 1, LONG, HEADS, DIM, 0.5, x, &err), OK);
    const uint64_t seed = 1;
    double variance = 0;
    double *gram = gram_of(LONG, HEADS * DIM, x, true);
    for (size_t j = 0; j < HEADS * DIM; j++)
        variance += gram[j * HEADS * DIM + j] / LONG / (HEADS * DIM);
    WITHIN(variance, 0.8, 1.2);
    WITHIN(lag_correlation(LONG, HEADS * DIM, x, 0), 0.93, 0.97);
    /* i^-1 over 64: 90 % of the energy in the first 40 */
    WITHIN(rank_90(LONG, HEADS * DIM, x, true), 0.5, 0.67);
    free(gram), free(x);
}

Test(sequences, direct_streams_are_independent) {
    const SequencesParams params = seeded(1);
    float *a = floats(2048 * 64), *b = floats(2048 * 64);
    Error err;
    cr_assert_eq(sequences_direct(&params, 1, 2048, 1, 64, 0.5, a, &err), OK);
    cr_assert_eq(sequences_direct(&params, 2, 2048, 1, 64, 0.5, b, &err), OK);
    double product = 0;
    for (size_t i = 0; i < 2048 * 64; i++) product += (double)a[i] * b[i];
    const double correlation = product / norm_of(2048 * 64, a) / norm_of(2048 * 64, b);
    cr_assert_lt(fabs(correlation), 0.2, "%f", correlation);
    free(a), free(b);
}

/* ---- wrong input ---- */

Test(sequences, what_makes_no_sense_is_refused_by_name) {
    const Model model = plain_model(8, false);
    float x[4 * 8];
    LayerWeights weights;
    Error err;
    SequencesParams params = seeded(0);
    params.topic_rho = 1;
    cr_assert_eq(sequences_hidden(&params, 0, 4, 8, x, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "topic_rho"));
    cr_assert_eq(sequences_direct(&params, 0, 4, 1, 8, 0.5, x, &err), ERR_INPUT);
    params = seeded(0), params.vocabulary = 0;
    cr_assert_eq(sequences_hidden(&params, 0, 4, 8, x, &err), ERR_INPUT);
    params = seeded(0), params.outlier_tokens = 0.1;
    cr_assert_eq(sequences_hidden(&params, 0, 4, 8, x, &err), ERR_INPUT);
    params = seeded(0), params.sink_mass = 1;
    cr_assert_eq(sequences_weights(&params, &model, 64, &weights, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "sink_mass"));
    params = seeded(0), params.key_value_ratio = NAN;
    cr_assert_eq(sequences_weights(&params, &model, 64, &weights, &err), ERR_INPUT);
    cr_assert_eq(sequences_hidden(&params, 0, 0, 8, x, &err), ERR_INPUT);
    cr_assert_eq(sequences_direct(&params, 0, 4, 0, 8, 0.5, x, &err), ERR_INPUT);
}
