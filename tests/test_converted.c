/* Converted layers at work: through every path of the kernels, and out to a file and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conversions.h"
#include "hf_config.h"
#include "kernel.h"
#include "layer.h"
#include "layer_file.h"

/* y of a layer through a cache of floats by a path: a prompt, then token by token. */
static void run_layer(const Conversion *c, Path path, const float *x, float *y) {
    enum { PROMPT = TOKENS - 5 };
    unsigned tiers;
    cr_assert_null(kernels_parse("auto", &tiers));
    const Kernels kernels = kernels_select(tiers);
    const CacheShape shape = model_cache_shape(&c->model, path);
    const CacheParams params = { .type = kv_type(ROW_F32), .block_tokens = 8 };
    const LayerParams layer_params = { .model = &c->model,
                                       .weights = &c->weights,
                                       .path = path,
                                       .kernels = &kernels,
                                       .threads = 2,
                                       .expand_tokens = 16 };
    Cache *cache;
    Layer *layer;
    size_t sequence, tokens = PROMPT;
    Error err;
    cr_assert_eq(cache_new(&cache, &params, &shape, 1, TOKENS, &err), OK);
    cr_assert_eq(layer_new(&layer, &layer_params, PROMPT, TOKENS, &err), OK, "%s", err.text);
    cr_assert_eq(cache_open(cache, &sequence, &err), OK);
    for (size_t done = 0; done < TOKENS; done += tokens) {
        if (done) tokens = 1;
        const LayerBatch batch = { 1, &sequence, &tokens };
        cr_assert_eq(
            layer_forward(layer, cache, &batch, x + done * HIDDEN, y + done * HIDDEN, NULL, &err),
            OK);
    }
    layer_free(layer);
    cache_free(cache);
}

static void check_paths(size_t kv_heads, const char *recipe, bool absorbs) {
    const Model teacher = teacher_model(kv_heads, false);
    LayerWeights w = random_weights(&teacher, 5);
    Conversion c = convert(&teacher, &w, recipe);
    static float x[TOKENS * HIDDEN], y[TOKENS * HIDDEN];
    Reference exact;
    Error err;
    random_text(1, TOKENS, x);
    cr_assert_eq(reference_run(&exact, &c.model, &c.weights, TOKENS, x, &err), OK);
    static const Path paths[] = { PATH_MATERIALISED, PATH_EXPANDED, PATH_ABSORBED };
    for (size_t p = 0; p < 2 + (size_t)absorbs; p++) {
        run_layer(&c, paths[p], x, y);
        for (size_t i = 0; i < TOKENS * HIDDEN; i++)
            cr_assert_float_eq(y[i], exact.y[i], 2e-4, "%s by %s", recipe, path_name(paths[p]));
    }
    reference_free(&exact);
    convert_free(&c);
    weights_free(&w);
}

Test(converted, mla_gives_its_outputs_by_every_path) {
    check_paths(HEADS, "mla-24+8", true);
    check_paths(2, "mla-24+16-real-norm", true);
}

Test(converted, latents_before_rope_are_expanded_then_rotated) {
    check_paths(HEADS, "lowrank-joint-30", false);
    check_paths(2, "lowrank-aware-30", false);
    check_paths(HEADS, "gqa-2-lowrank", false);
}

Test(converted, keys_that_are_rotated_once_rebuilt_cannot_be_absorbed) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 5);
    Conversion c = convert(&teacher, &w, "lowrank-joint-30");
    const Kernels kernels = kernels_select(0);
    const LayerParams params = { .model = &c.model,
                                 .weights = &c.weights,
                                 .path = PATH_ABSORBED,
                                 .kernels = &kernels,
                                 .threads = 1 };
    Layer *layer;
    Error err;
    cr_assert_eq(layer_new(&layer, &params, 1, 1, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "rotates keys after it rebuilds them"), "%s", err.text);
    convert_free(&c);
    weights_free(&w);
}

Test(converted, the_keys_that_scores_see_give_the_logits) {
    const Model teacher = teacher_model(2, true);
    LayerWeights w = random_weights(&teacher, 5);
    Conversion c = convert(&teacher, &w, "lowrank-joint-30");
    static float x[TOKENS * HIDDEN], rows[TOKENS * 30], keys[TOKENS * HEADS * DIM];
    Reference own;
    Error err;
    random_text(1, TOKENS, x);
    cr_assert_eq(reference_run(&own, &c.model, &c.weights, TOKENS, x, &err), OK);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t r = 0; r < 30; r++) {
            double sum = 0;
            for (size_t d = 0; d < HIDDEN; d++)
                sum += (double)c.weights.kv_a[r * HIDDEN + d] * x[t * HIDDEN + d];
            rows[t * 30 + r] = (float)sum;
        }
    cr_assert_eq(convert_keys(&c, TOKENS, rows, keys, &err), OK);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t h = 0; h < HEADS; h++)
            for (size_t i = 0; i < DIM; i++)
                cr_assert_float_eq(keys[(t * HEADS + h) * DIM + i],
                                   own.k[(t * 2 + h / 2) * DIM + i], 1e-4);
    reference_free(&own);
    convert_free(&c);
    weights_free(&w);
}

/* ---- files ---- */

static void check_config(const Model *model) {
    Json *json = NULL;
    Model back;
    Error err;
    cr_assert_eq(hf_config_write(model, &json, &err), OK, "%s", err.text);
    cr_assert_eq(hf_config_parse(&back, json, "config", "x", &err), OK, "%s", err.text);
    json_free(json);
    cr_assert_eq(back.kind, model->kind);
    cr_assert_eq(back.hidden, model->hidden);
    cr_assert_eq(back.heads, model->heads);
    cr_assert_eq(back.kv_heads, model->kv_heads);
    cr_assert_eq(back.key_dim, model->key_dim);
    cr_assert_eq(back.value_dim, model->value_dim);
    cr_assert_eq(back.kv_lora_rank, model->kv_lora_rank);
    cr_assert_eq(back.rope_dim, model->rope_dim);
    cr_assert_eq(back.plain_latent, model->plain_latent);
    cr_assert_eq(back.rope.dim, model->rope.dim);
    cr_assert_eq(back.rope.interleaved, model->rope.interleaved);
    cr_assert_eq(back.rope.theta, model->rope.theta);
    cr_assert_eq(back.rope.scaling, model->rope.scaling);
    cr_assert_float_eq(rope_amplitude(&back.rope), rope_amplitude(&model->rope), 1e-12);
    cr_assert_float_eq(model_softmax_scale(&back), model_softmax_scale(model), 1e-12);
    double was[DIM], is[DIM];
    rope_frequencies(&model->rope, was);
    rope_frequencies(&back.rope, is);
    for (size_t i = 0; i < model->rope.dim / 2; i++) cr_assert_float_eq(is[i], was[i], 1e-12);
}

Test(converted, a_config_says_what_a_model_is) {
    Model m = teacher_model(2, true);
    check_config(&m);
    m.rope_dim = m.rope.dim = DIM / 2;
    check_config(&m);
    m = teacher_model(HEADS, false);
    m.rope.scaling = ROPE_LLAMA3;
    m.rope.factor = 8, m.rope.low_freq_factor = 1, m.rope.high_freq_factor = 4;
    m.rope.original_tokens = 32;
    check_config(&m);
    m.rope.scaling = ROPE_YARN;
    m.rope.beta_fast = 32, m.rope.beta_slow = 1, m.rope.attention_factor = 1.2;
    check_config(&m);
    static const char *const recipes[] = { "mla-24+8", "mla-24+16-norm", "mqa" };
    for (size_t i = 0; i < 3; i++) {
        Recipe r;
        Error err;
        cr_assert_eq(recipe_parse(&r, recipes[i], &m, &err), OK);
        check_config(&r.model);
    }
    Recipe r;
    Json *json;
    Error err;
    cr_assert_eq(recipe_parse(&r, "lowrank-joint-8", &m, &err), OK);
    cr_assert_eq(hf_config_write(&r.model, &json, &err), ERR_INPUT);
}

/* The output of a command, and its exit code. */
static int run_command(const char *arguments, char *output, size_t size) {
    char command[1024];
    snprintf(command, sizeof command, "%s %s 2>&1", KVLAB_BINARY, arguments);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    output[fread(output, 1, size - 1, pipe)] = '\0';
    return WEXITSTATUS(pclose(pipe));
}

#define GOLDEN KVLAB_TESTS "/golden/mqa_llama_small_hf.safetensors"

/* A folder of its own for a converted layer, and the layer's path in it. */
typedef struct {
    char folder[32], layer[64], config[64];
} Place;

static Place place_new(void) {
    Place p = { .folder = "/tmp/kvlab-convert-XXXXXX" };
    cr_assert_not_null(mkdtemp(p.folder));
    snprintf(p.layer, sizeof p.layer, "%s/layer.safetensors", p.folder);
    snprintf(p.config, sizeof p.config, "%s/config.json", p.folder);
    return p;
}

static void place_free(const Place *p) {
    unlink(p->layer);
    unlink(p->config);
    cr_assert_eq(rmdir(p->folder), 0, "nothing else was written");
}

/* The relative error of a converted layer's output against the one that it was converted from. */
static double converted_error(const char *layer, const char *recipe, const char *path, char *output,
                              size_t size) {
    const Place p = place_new();
    char arguments[512];
    snprintf(arguments, sizeof arguments, "convert %s --to %s --out %s", layer, recipe, p.layer);
    cr_assert_eq(run_command(arguments, output, size), 0, "%s", output);
    snprintf(arguments, sizeof arguments, "forward %s --path %s --json", p.layer, path);
    cr_assert_eq(run_command(arguments, output, size), 0, "%s", output);
    const char *error = strstr(output, "\"rel_error\": ");
    cr_assert_not_null(error, "%s", output);
    place_free(&p);
    return strtod(error + strlen("\"rel_error\": "), NULL);
}

#define GOLDEN_MHA KVLAB_TESTS "/golden/mha_llama_small_hf.safetensors"

Test(converted, a_layer_is_written_and_runs_through_the_absorbed_kernel) {
    char output[4096];
    /* One key head: MLA at full rank is the layer itself, to the rounding of floats. */
    cr_assert_lt(converted_error(GOLDEN, "mla-16+16", "absorbed", output, sizeof output), 1e-5);
    cr_assert(strstr(output, "\"cache_bytes_per_token\": 128"), "32 floats: %s", output);
    cr_assert_lt(converted_error(GOLDEN, "mla-16+16", "materialised", output, sizeof output), 1e-5);
    cr_assert_lt(converted_error(GOLDEN_MHA, "gqa-4", "materialised", output, sizeof output), 1e-5,
                 "as many groups as heads");
}

Test(converted, more_of_a_layer_loses_less_of_its_output) {
    static const char *const recipes[] = { "mla-8+8", "mla-24+16", "mla-64+32" };
    char output[4096];
    double before = INFINITY;
    for (size_t i = 0; i < 3; i++) {
        const double error =
            converted_error(GOLDEN_MHA, recipes[i], "absorbed", output, sizeof output);
        cr_expect(error < before && error > 1e-5, "%s: %g after %g", recipes[i], error, before);
        before = error;
    }
}

Test(converted, the_config_beside_it_is_read_as_a_model_and_another_is_not_replaced) {
    const Place p = place_new();
    char arguments[512], output[4096];
    snprintf(arguments, sizeof arguments, "convert %s --to mla-24+16 --out %s", GOLDEN_MHA,
             p.layer);
    cr_assert_eq(run_command(arguments, output, sizeof output), 0, "%s", output);
    cr_assert_eq(run_command(arguments, output, sizeof output), 0, "again: %s", output);
    Model model;
    Error err;
    cr_assert_eq(model_read(&model, p.folder, &err), OK, "%s", err.text);
    cr_assert_eq(model.kind, ATTENTION_MLA);
    cr_assert_eq(model.kv_lora_rank, 24);
    cr_assert_eq(model.rope_dim, 16);
    cr_assert(model.plain_latent);
    unlink(p.layer);
    snprintf(arguments, sizeof arguments, "convert %s --to mla-64+16 --out %s", GOLDEN_MHA,
             p.layer);
    cr_assert_eq(run_command(arguments, output, sizeof output), 2, "%s", output);
    cr_assert(strstr(output, "config.json: describes another model and is not replaced"), "%s",
              output);
    cr_assert_neq(access(p.layer, F_OK), 0, "nothing is written");
    place_free(&p);
}

Test(converted, what_cannot_be_saved_is_said) {
    char output[2048];
    cr_assert_eq(run_command("convert " GOLDEN " --to lowrank-joint-8 --out /tmp/x", output, 2048),
                 2);
    cr_assert(strstr(output, "--to lowrank-joint-8: rebuilds keys before RoPE"), "%s", output);
    cr_assert_eq(run_command("convert " GOLDEN " --to gqa-2 --out /tmp/x", output, 2048), 2);
    cr_assert(strstr(output, "--to gqa-2: 2 groups do not divide the layer's 1"), "%s", output);
    cr_assert_eq(run_command("convert " GOLDEN " --to mla-33+16 --out /tmp/x", output, 2048), 2);
    cr_assert(strstr(output, "latent of 33 is above the 32"), "%s", output);
    cr_assert_eq(run_command("convert " GOLDEN " --to mqa*int4 --out /tmp/x", output, 2048), 2);
    cr_assert(strstr(output, "did you mean mqa?"), "%s", output);
    cr_assert_eq(run_command("convert " GOLDEN_MHA " --to mla-128+32 --out /tmp/x", output, 2048),
                 2);
    cr_assert(strstr(output, "at least as many calibration tokens, not 68"), "%s", output);
    cr_assert_eq(run_command("convert " GOLDEN_MHA " --to gqa-3 --out /tmp/x", output, 2048), 2);
    cr_assert(strstr(output, "3 does not divide the 4 query heads; did you mean gqa-2?"), "%s",
              output);
    cr_assert_eq(run_command("convert " GOLDEN " --to mqa --out /tmp", output, 2048), 2);
    cr_assert(strstr(output, "not a regular file"), "%s", output);
    cr_assert_eq(run_command("convert " GOLDEN " --to mqa --out " GOLDEN, output, 2048), 2);
    cr_assert(strstr(output, "is the layer that is converted"), "%s", output);
    cr_assert_eq(run_command("convert " GOLDEN " --to mqa --out /nonexistent/x", output, 2048), 2);
    cr_assert_eq(run_command("convert " GOLDEN " --out /tmp/x", output, 2048), 2);
    cr_assert_eq(run_command("convert " GOLDEN " --to mqa", output, 2048), 2);
}
