/* cmd_convert.c -- `kvlab convert`: one attention layer brought to another shape, into a file under
 * Hugging Face's names that `kvlab forward` reads. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "blas.h"
#include "buffer.h"
#include "commands.h"
#include "convert.h"
#include "layer_file.h"
#include "machine.h"
#include "options.h"
#include "textfile.h"

typedef struct {
    const char *file, *to, *out;
} Given;

/* The text that the conversion looks at: the file's hidden states, all of its sequences. */
static Status calibrate(const LayerFile *file, const LayerWeights *weights, bool with_input,
                        Statistics *statistics, Error *err) {
    float *x = NULL;
    TRY(statistics_new(statistics, &file->model, with_input ? STATISTICS_INPUT : 0, err));
    Status status = BUFFER(&x, file->hidden_states->elements, "hidden states", err);
    if (status == OK) status = layer_file_values(file, file->hidden_states, x, err);
    if (status == OK) {
        statistics_add(statistics, &file->model, weights, file->sequences * file->tokens, x);
        statistics_finish(statistics);
    }
    buffer_free(x);
    return status;
}

static bool needs_text(const Recipe *recipe) {
    return recipe->kind != RECIPE_COPY && recipe->kind != RECIPE_POOL;
}

static Status convert(const LayerFile *file, const Recipe *recipe, const LayerWeights *weights,
                      Conversion *out, Error *err) {
    Statistics statistics = { 0 };
    const bool text = needs_text(recipe);
    Status status = OK;
    if (text) status = calibrate(file, weights, false, &statistics, err);
    const ConvertSource source = { .layer = &file->model,
                                   .weights = weights,
                                   .statistics = text ? &statistics : NULL,
                                   .context = file->tokens,
                                   .seed = 1 };
    if (status == OK) status = convert_layer(out, recipe, &source, err);
    if (text) statistics_free(&statistics);
    return status;
}

static void print_result(const Given *given, const LayerFile *file, const Conversion *c) {
    char from[32], to[32];
    model_label(&file->model, from, sizeof from);
    model_label(&c->model, to, sizeof to);
    const size_t before = model_cache_elements(&file->model, PATH_MATERIALISED);
    const size_t after = model_cache_elements(&c->model, PATH_ABSORBED);
    printf("%s: %s to %s by %s\n", given->file, from, to, c->recipe.name);
    printf("  %-22s %zu values a token, of %zu: %.2fx less   exact\n", "cached", after, before,
           (double)before / (double)after);
    if (!isnan(c->loss))
        printf("  %-22s %.3g of what the latent stands for, relative, on this text   exact\n",
               "left out", c->loss);
    printf("  %-22s %s, and config.json beside it\n", "written", given->out);
}

static Status run_open(const Given *given, const LayerFile *file, Error *err) {
    Recipe recipe;
    LayerWeights weights = { 0 };
    Conversion conversion = { .loss = NAN };
    Status status = recipe_parse(&recipe, given->to, &file->model, err);
    if (status == OK && recipe.model.rotates_rebuilt)
        status = fail(err, ERR_INPUT,
                      "%.64s: rebuilds keys before RoPE, which no layer file can say; gqa-G, mqa "
                      "and mla-C+R can be saved",
                      given->to);
    if (status != OK) {
        const Error why = *err;
        return fail(err, status, "--to %s", why.text);
    }
    TRY(layer_file_weights(file, &weights, err));
    status = convert(file, &recipe, &weights, &conversion, err);
    if (status == OK) status = layer_file_write_config(given->out, &conversion.model, err);
    if (status == OK)
        status = layer_file_write(given->out, &conversion.model, &conversion.weights, file, err);
    if (status == OK) print_result(given, file, &conversion);
    convert_free(&conversion);
    weights_free(&weights);
    return status;
}

/* The layer itself may not be written over. */
static Status check_out(const Given *given, Error *err) {
    struct stat in, out;
    TRY(textfile_check(given->out, err));
    if (stat(given->file, &in) == 0 && stat(given->out, &out) == 0 && in.st_dev == out.st_dev &&
        in.st_ino == out.st_ino)
        return fail(err, ERR_INPUT, "--out %s: is the layer that is converted", given->out);
    return OK;
}

static Status run(const Given *given, Error *err) {
    LayerFile file;
    if (!given->to) return fail(err, ERR_INPUT, "--to is missing: what the layer becomes");
    if (!given->out) return fail(err, ERR_INPUT, "--out is missing: the file to write");
    if (strpbrk(given->to, "*@"))
        return fail(err, ERR_INPUT,
                    "--to %.96s: a layer is converted; how its cache is stored and evicted "
                    "(*CODEC, @EVICTION) is said where it runs; did you mean %.*s?",
                    given->to, (int)strcspn(given->to, "*@"), given->to);
    TRY(check_out(given, err));
    blas_set_threads(machine_read().cores);
    TRY(layer_file_open(&file, given->file, err));
    const Status status = run_open(given, &file, err);
    layer_file_close(&file);
    return status;
}

Status cmd_convert(int argc, char **argv, Error *err) {
    Given given = { 0 };
    const Option options[] = {
        { .name = "to",
          .argument = "RECIPE",
          .help = "gqa-G, mqa, each also -aligned; mla-C+R, also -real, -foldN, -norm, -gammaX",
          .text = &given.to },
        { .name = "out",
          .argument = "FILE",
          .help = "the safetensors file to write",
          .text = &given.out },
    };
    const Command command = {
        .usage = "convert FILE.safetensors --to RECIPE --out FILE",
        .summary =
            "Bring one attention layer of MHA, GQA or MQA to another shape without training,\n"
            "calibrated on the hidden_states of its file. The result is a layer file under\n"
            "Hugging Face's names, with its config.json in the same folder; an MLA layer has no\n"
            "norm over its latent (qk_latent_layernorm: false) unless -norm asks for one.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least = 1,
        .most = 1,
        .examples = "  kvlab convert layer.safetensors --to mla-448+64 --out mla.safetensors\n"
                    "  kvlab forward mla.safetensors --path absorbed\n",
    };
    bool helped;
    TRY(options_parse(&command, argc, argv, &given.file, &helped, err));
    return helped ? OK : run(&given, err);
}
