/* test_forward.c -- `kvlab forward` on golden layers by every path, tier and type, and on files
 * that lie. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "forward.h"

static const char *const golden[] = { "gqa_llama_small",    "gqa_llama_small_hf",
                                      "mha_llama_small_hf", "mqa_llama_small_hf",
                                      "mla_v2lite_small",   "mla_v3_small",
                                      "mla_yarn_small" };
enum { GOLDEN = sizeof golden / sizeof *golden };

/* What storing the cached rows in a type may cost. */
static const double bounds[ROW_TYPE_COUNT] = {
    [ROW_F32] = 5e-6,      [ROW_BF16] = 1e-2, [ROW_F16] = 2e-3,   [ROW_FP8] = 0.06,
    [ROW_FP8_E5M2] = 0.12, [ROW_MXFP4] = 0.3, [ROW_NVFP4] = 0.25, [ROW_INT8] = 0.03,
    [ROW_INT4] = 0.25,     [ROW_Q8_0] = 0.02, [ROW_Q4_0] = 0.25,
};

static char *golden_path(const char *name, char *path, size_t size) {
    snprintf(path, size, KVLAB_TESTS "/golden/%s.safetensors", name);
    return path;
}

static ForwardParams once(Path path, RowType type, unsigned tiers) {
    return (ForwardParams){ .path = path,
                            .cache = { .type = kv_type(type), .block_tokens = 16 },
                            .tiers = tiers,
                            .threads = 1,
                            .memory_bytes = (size_t)1 << 30,
                            .measure = { .min_samples = 1 } };
}

static bool applies(const Model *model, Path path) {
    return model->kind == ATTENTION_MLA || path == PATH_MATERIALISED;
}

static bool fits(const Model *model, Path path, RowType type) {
    const CacheShape shape = model_cache_shape(model, path);
    Error err;
    return cache_shape_check(&shape, kv_type(type), &err) == OK;
}

Test(forward, golden_layers_come_out_right_by_every_path_tier_and_type) {
    for (size_t g = 0; g < GOLDEN; g++) {
        char path[512];
        LayerFile file;
        Error err;
        cr_assert_eq(layer_file_open(&file, golden_path(golden[g], path, sizeof path), &err), OK,
                     "%s", err.text);
        for (Path p = PATH_MATERIALISED; p <= PATH_ABSORBED; p++)
            for (size_t tier = 0; tier < kernel_tier_count; tier++)
                for (RowType type = 0; type < ROW_TYPE_COUNT; type++) {
                    unsigned tiers;
                    if (!applies(&file.model, p) || !kernel_tiers[tier].available()) continue;
                    if (!fits(&file.model, p, type)) continue;
                    cr_assert_null(kernels_parse(kernel_tiers[tier].name, &tiers));
                    const ForwardParams params = once(p, type, tiers);
                    ForwardResult r;
                    cr_assert_eq(forward_run(&r, &file, &params, &err), OK, "%s", err.text);
                    cr_assert(r.output.compared);
                    cr_assert_leq(r.output.rel_error, bounds[type], "%s, %s, %s, %s: %g", golden[g],
                                  path_name(p), kernel_tiers[tier].name, row_type_name(type),
                                  r.output.rel_error);
                    if (type != ROW_F32)
                        cr_assert_geq(r.output.rel_error, 2e-5,
                                      "%s: rows of this type cannot be this exact", golden[g]);
                }
        layer_file_close(&file);
    }
}

Test(forward, the_latent_cached_is_the_one_that_the_reference_cached) {
    for (size_t g = 4; g < GOLDEN; g++) {
        char path[512];
        LayerFile file;
        Error err;
        ForwardResult r;
        cr_assert_eq(layer_file_open(&file, golden_path(golden[g], path, sizeof path), &err), OK);
        for (Path p = PATH_EXPANDED; p <= PATH_ABSORBED; p++) {
            ForwardParams params = once(p, ROW_F32, kernels_detect());
            params.threads = 2;
            cr_assert_eq(forward_run(&r, &file, &params, &err), OK, "%s", err.text);
            cr_assert(r.latent.compared && r.absorbed.compared);
            cr_assert_leq(r.latent.rel_error, 1e-6, "%s: %g", golden[g], r.latent.rel_error);
            cr_assert_leq(r.absorbed.rel_error, 5e-6, "%s: %g", golden[g], r.absorbed.rel_error);
        }
        const ForwardParams params = once(PATH_MATERIALISED, ROW_F32, kernels_detect());
        cr_assert_eq(forward_run(&r, &file, &params, &err), OK, "%s", err.text);
        cr_assert_not(r.latent.compared, "materialised rows are no latents");
        layer_file_close(&file);
    }
}

Test(forward, bytes_are_those_of_the_rows_in_their_type) {
    char path[512];
    LayerFile file;
    Error err;
    cr_assert_eq(layer_file_open(&file, golden_path("mla_v3_small", path, sizeof path), &err), OK);
    const struct {
        Path path;
        size_t elements, scales; /* fp32, of int8 rows; of fp8 rows a latent has none */
    } cases[] = { { PATH_MATERIALISED, 8 * (24 + 16 + 24), 8 * 2 },
                  { PATH_EXPANDED, 64 + 16, 1 },
                  { PATH_ABSORBED, 64 + 16, 1 } };
    const size_t sizes[] = { 4, 2, 2, 1, 1 };
    for (size_t i = 0; i < 3; i++)
        for (RowType type = ROW_F32; type <= ROW_INT8; type++) {
            const ForwardParams params = once(cases[i].path, type, kernels_detect());
            ForwardResult r;
            cr_assert_eq(forward_run(&r, &file, &params, &err), OK, "%s", err.text);
            const bool scaled =
                type == ROW_INT8 || (type == ROW_FP8 && cases[i].path == PATH_MATERIALISED);
            const size_t row = cases[i].elements * sizes[type] + (scaled ? 4 * cases[i].scales : 0);
            cr_assert_eq(r.payload_bytes_per_token, row);
            /* 49 tokens take 4 blocks of 16 in each of 2 sequences. */
            cr_assert_eq(r.cache_bytes, 2 * (4 * 16 * row + 4 * sizeof(uint32_t)));
            cr_assert_eq(r.bytes.payload_bytes, 2 * 49 * row);
        }
    layer_file_close(&file);
}

Test(forward, a_type_that_does_not_fit_the_rows_is_refused_with_their_width) {
    const struct {
        Path path;
        const char *type, *text;
    } cases[] = {
        { PATH_MATERIALISED, "int4", "int4: needs rows of a multiple of 32 values; keys have 40" },
        { PATH_MATERIALISED, "int8,q4_0", "q4_0: needs rows of a multiple of 32 values; values" },
        { PATH_MATERIALISED, "fp8_ds_mla", "fp8_ds_mla: stores the latent of MLA" },
        { PATH_ABSORBED, "q8_0", "q8_0: needs rows of a multiple of 32 values; this one has 80" },
        { PATH_ABSORBED, "fp8_ds_mla", "a multiple of 128; this one has 64" },
        { PATH_EXPANDED, "fp8,int8", "fp8,int8: a latent is one row, of one type" },
    };
    char path[512];
    LayerFile file;
    Error err;
    cr_assert_eq(layer_file_open(&file, golden_path("mla_v3_small", path, sizeof path), &err), OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ForwardParams params = once(cases[i].path, ROW_F32, kernels_detect());
        ForwardResult r;
        cr_assert(kv_type_parse(cases[i].type, &params.cache.type));
        cr_assert_eq(forward_run(&r, &file, &params, &err), ERR_INPUT);
        cr_assert(strstr(err.text, cases[i].text), "%s", err.text);
        cr_assert(strstr(err.text, path), "%s", err.text);
    }
    layer_file_close(&file);
}

/* ---- files of our own ---- */

/* A tiny MHA layer whose parts can be spoilt one by one. */
typedef struct {
    char config[256], prefill[32], decode[32];
    float weights[4][4 * 4], hidden[3 * 4], output[3 * 4], extra[4];
    Tensor tensors[8];
    size_t count;
    const char *pairs[3][2];
    size_t pair_count;
    char path[64];
} Spoilt;

static void add_tensor(Spoilt *s, const char *name, size_t rank, size_t a, size_t b, size_t c,
                       const float *data) {
    Tensor t = { .name = name, .type = TENSOR_F32, .rank = rank, .elements = a * b * c };
    t.shape[0] = a;
    t.shape[1] = b;
    t.shape[2] = c;
    t.data = data;
    s->tensors[s->count++] = t;
}

static void spoilt_new(Spoilt *s) {
    memset(s, 0, sizeof *s);
    snprintf(s->config, sizeof s->config,
             "{\"model_type\": \"llama\", \"hidden_size\": 4, \"num_attention_heads\": 2, "
             "\"num_key_value_heads\": 2, \"head_dim\": 2, \"rope_theta\": 100.0, "
             "\"num_hidden_layers\": 1}");
    for (size_t w = 0; w < 4; w++)
        for (size_t i = 0; i < 4; i++) s->weights[w][i * 4 + i] = 1;
    for (size_t i = 0; i < 12; i++) s->hidden[i] = (float)i / 10;
    add_tensor(s, "self_attn.q_proj.weight", 2, 4, 4, 1, s->weights[0]);
    add_tensor(s, "self_attn.k_proj.weight", 2, 4, 4, 1, s->weights[1]);
    add_tensor(s, "self_attn.v_proj.weight", 2, 4, 4, 1, s->weights[2]);
    add_tensor(s, "self_attn.o_proj.weight", 2, 4, 4, 1, s->weights[3]);
    add_tensor(s, "hidden_states", 3, 1, 3, 4, s->hidden);
    s->pairs[s->pair_count][0] = "config";
    s->pairs[s->pair_count++][1] = s->config;
    snprintf(s->path, sizeof s->path, "/tmp/kvlab_forward_%ld.safetensors", (long)getpid());
}

static void add_pair(Spoilt *s, const char *key, const char *value) {
    s->pairs[s->pair_count][0] = key;
    s->pairs[s->pair_count++][1] = value;
}

/* Writes the file and runs it; the status of either step. */
static Status run_spoilt(const Spoilt *s, const ForwardParams *params, ForwardResult *r,
                         Error *err) {
    LayerFile file;
    cr_assert_eq(safetensors_write(s->path, s->count, s->tensors, s->pair_count, s->pairs, err), OK,
                 "%s", err->text);
    Status status = layer_file_open(&file, s->path, err);
    unlink(s->path);
    if (status != OK) return status;
    status = forward_run(r, &file, params, err);
    layer_file_close(&file);
    return status;
}

static void expect_refusal(const Spoilt *s, const char *first, const char *second) {
    const ForwardParams params = once(PATH_MATERIALISED, ROW_F32, kernels_detect());
    ForwardResult r;
    Error err = { 0 };
    cr_assert_eq(run_spoilt(s, &params, &r, &err), ERR_INPUT, "%s %s was taken", first, second);
    cr_assert(strstr(err.text, first) && strstr(err.text, second), "%s", err.text);
    cr_assert(strstr(err.text, s->path), "names the file: %s", err.text);
}

Test(forward, a_file_without_output_runs_and_compares_nothing) {
    Spoilt s;
    spoilt_new(&s);
    const ForwardParams params = once(PATH_MATERIALISED, ROW_F32, kernels_detect());
    ForwardResult r;
    Error err = { 0 };
    cr_assert_eq(run_spoilt(&s, &params, &r, &err), OK, "%s", err.text);
    cr_assert_not(r.output.compared);
    cr_assert_eq(r.prefill_tokens, 3, "without metadata all is prefill");
    cr_assert_eq(r.decode_tokens, 0);
}

Test(forward, one_of_the_two_token_counts_gives_the_other) {
    ForwardResult r;
    Error err = { 0 };
    const ForwardParams params = once(PATH_MATERIALISED, ROW_F32, kernels_detect());
    for (size_t i = 0; i < 2; i++) {
        Spoilt s;
        spoilt_new(&s);
        add_pair(&s, i ? "decode_tokens" : "prefill_tokens", "2");
        cr_assert_eq(run_spoilt(&s, &params, &r, &err), OK, "%s", err.text);
        cr_assert_eq(r.prefill_tokens, i ? 1 : 2);
        cr_assert_eq(r.decode_tokens, i ? 2 : 1);
    }
}

Test(forward, decode_alone_gives_what_prefill_gives) {
    ForwardResult r;
    Error err = { 0 };
    const ForwardParams params = once(PATH_MATERIALISED, ROW_F32, kernels_detect());
    Spoilt s;
    spoilt_new(&s);
    add_pair(&s, "decode_tokens", "3");
    /* Identity weights: the first output is the first input. */
    add_tensor(&s, "output", 3, 1, 3, 4, s.hidden);
    cr_assert_eq(run_spoilt(&s, &params, &r, &err), OK, "%s", err.text);
    const double decoded = r.output.rel_error;
    s.pair_count = 1;
    cr_assert_eq(run_spoilt(&s, &params, &r, &err), OK, "%s", err.text);
    cr_assert_float_eq(decoded, r.output.rel_error, 1e-6);
    cr_assert_gt(decoded, 0.01, "later outputs mix earlier values");
}

Test(forward, a_missing_tensor_is_named) {
    const char *const names[] = { "self_attn.q_proj.weight", "self_attn.k_proj.weight",
                                  "self_attn.v_proj.weight", "self_attn.o_proj.weight",
                                  "hidden_states" };
    for (size_t i = 0; i < 5; i++) {
        Spoilt s;
        spoilt_new(&s);
        s.tensors[i] = s.tensors[--s.count];
        expect_refusal(&s, "no tensor", names[i]);
    }
}

Test(forward, a_wrong_shape_is_named_with_the_right_one) {
    for (size_t i = 0; i < 4; i++) {
        Spoilt s;
        spoilt_new(&s);
        s.tensors[i].shape[0] = 2;
        s.tensors[i].elements = 8;
        expect_refusal(&s, s.tensors[i].name, "shape [2, 4]; the config wants [4, 4]");
    }
    Spoilt s;
    spoilt_new(&s);
    s.tensors[4].shape[1] = 4;
    s.tensors[4].shape[2] = 3;
    expect_refusal(&s, "hidden_states", "[1, 4, 3]");
    spoilt_new(&s);
    add_tensor(&s, "output", 3, 3, 1, 4, s.output);
    expect_refusal(&s, "output", "shape [3, 1, 4]; the config wants [1, 3, 4]");
    spoilt_new(&s);
    s.tensors[4].rank = 2;
    s.tensors[4].shape[0] = 3;
    s.tensors[4].shape[1] = 4;
    expect_refusal(&s, "hidden_states", "[3, 4]");
}

Test(forward, a_value_that_is_not_finite_is_named_with_its_place) {
    Spoilt s;
    spoilt_new(&s);
    s.weights[2][9] = NAN;
    expect_refusal(&s, "self_attn.v_proj.weight", "[2, 1]");
    spoilt_new(&s);
    s.hidden[7] = INFINITY;
    expect_refusal(&s, "hidden_states", "[0, 1, 3]");
    spoilt_new(&s);
    s.output[4] = -INFINITY;
    add_tensor(&s, "output", 3, 1, 3, 4, s.output);
    expect_refusal(&s, "output", "[0, 1, 0]");
    spoilt_new(&s), s.hidden[4] = 3e38f, s.weights[2][0] = 4; /* finite, what comes of it not */
    expect_refusal(&s, "is not finite", "too large for fp32");
}

Test(forward, metadata_that_lies_is_refused) {
    const struct {
        const char *key, *value;
    } lies[] = { { "prefill_tokens", "4" },  { "prefill_tokens", "-1" },
                 { "prefill_tokens", "" },   { "decode_tokens", "three" },
                 { "decode_tokens", "1.5" }, { "decode_tokens", "99999999999999999999" } };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        Spoilt s;
        spoilt_new(&s);
        add_pair(&s, lies[i].key, lies[i].value);
        expect_refusal(&s, lies[i].key, lies[i].value);
    }
    Spoilt s;
    spoilt_new(&s);
    add_pair(&s, "prefill_tokens", "2");
    add_pair(&s, "decode_tokens", "2");
    expect_refusal(&s, "prefill_tokens 2", "decode_tokens 2");
    spoilt_new(&s);
    s.pair_count = 0;
    expect_refusal(&s, "metadata", "config");
    spoilt_new(&s);
    snprintf(s.config, sizeof s.config, "{\"hidden_size\": ");
    expect_refusal(&s, "config", ":");
}

Test(forward, a_weight_that_the_layer_would_leave_aside_is_refused) {
    Spoilt s;
    spoilt_new(&s);
    add_tensor(&s, "self_attn.q_porj.weight", 1, 4, 1, 1, s.extra);
    expect_refusal(&s, "self_attn.q_porj.weight", "did you mean self_attn.q_proj.weight?");
    spoilt_new(&s);
    add_tensor(&s, "self_attn.sinks", 1, 2, 1, 1, s.extra);
    expect_refusal(&s, "self_attn.sinks", "no such weight");
}

Test(forward, a_bias_in_the_file_counts_though_the_config_is_silent) {
    ForwardResult without, with;
    Error err = { 0 };
    const ForwardParams params = once(PATH_MATERIALISED, ROW_F32, kernels_detect());
    Spoilt s;
    spoilt_new(&s);
    add_tensor(&s, "output", 3, 1, 3, 4, s.hidden);
    cr_assert_eq(run_spoilt(&s, &params, &without, &err), OK, "%s", err.text);
    for (size_t i = 0; i < 4; i++) s.extra[i] = 5;
    add_tensor(&s, "self_attn.v_proj.bias", 1, 4, 1, 1, s.extra);
    cr_assert_eq(run_spoilt(&s, &params, &with, &err), OK, "%s", err.text);
    /* Weights sum to 1, so a value bias of 5 moves every output by 5. */
    cr_assert_float_eq(with.output.max_abs_error, 5, 0.9);
    cr_assert_lt(without.output.max_abs_error, 1.0);
}

Test(forward, what_does_not_fit_in_memory_is_refused_before_it_is_held) {
    char path[512];
    LayerFile file;
    ForwardResult r;
    Error err = { 0 };
    cr_assert_eq(layer_file_open(&file, golden_path("mla_v3_small", path, sizeof path), &err), OK);
    ForwardParams params = once(PATH_ABSORBED, ROW_F32, kernels_detect());
    params.memory_bytes = 100000;
    cr_assert_eq(forward_run(&r, &file, &params, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "memory"), "%s", err.text);
    params.memory_bytes = (size_t)1 << 30;
    params.cache.block_tokens = 1 << 24;
    cr_assert_eq(forward_run(&r, &file, &params, &err), ERR_INPUT, "one block beyond memory");
    layer_file_close(&file);
}

Test(forward, a_path_that_does_not_apply_is_refused) {
    char path[512];
    LayerFile file;
    ForwardResult r;
    Error err = { 0 };
    cr_assert_eq(layer_file_open(&file, golden_path("gqa_llama_small", path, sizeof path), &err),
                 OK);
    const ForwardParams params = once(PATH_ABSORBED, ROW_F32, kernels_detect());
    cr_assert_eq(forward_run(&r, &file, &params, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "absorbed") && strstr(err.text, "materialised"), "%s", err.text);
    layer_file_close(&file);
}

Test(forward, the_output_written_is_the_output_compared) {
    char path[512], out[64];
    LayerFile file;
    ForwardResult r;
    Error err = { 0 };
    snprintf(out, sizeof out, "/tmp/kvlab_forward_out_%ld.safetensors", (long)getpid());
    cr_assert_eq(layer_file_open(&file, golden_path("mla_v3_small", path, sizeof path), &err), OK);
    ForwardParams params = once(PATH_ABSORBED, ROW_BF16, kernels_detect());
    params.out = out;
    cr_assert_eq(forward_run(&r, &file, &params, &err), OK, "%s", err.text);
    Safetensors *written;
    cr_assert_eq(safetensors_open(&written, out, &err), OK, "%s", err.text);
    const Tensor *y = safetensors_find(written, "output");
    cr_assert(y && y->rank == 3 && y->shape[0] == 2 && y->shape[1] == 49 && y->shape[2] == 192);
    cr_assert_str_eq(safetensors_metadata(written, "kv_dtype"), "bf16");
    float *values = malloc(y->elements * sizeof *values);
    double *exact = malloc(y->elements * sizeof *exact), difference = 0, size = 0;
    tensor_read(y, values);
    tensor_read_f64(file.output, exact);
    for (size_t i = 0; i < y->elements; i++) {
        difference += (values[i] - exact[i]) * (values[i] - exact[i]);
        size += exact[i] * exact[i];
    }
    cr_assert_float_eq(sqrt(difference / size), r.output.rel_error, 1e-9);
    free(values), free(exact);
    safetensors_close(written);
    layer_file_close(&file);
    unlink(out);
}

Test(forward, what_is_no_regular_file_is_never_replaced_by_the_output) {
    char path[512], pipe[64];
    LayerFile file;
    ForwardResult r;
    Error err = { 0 };
    struct stat found;
    snprintf(pipe, sizeof pipe, "/tmp/kvlab_forward_pipe_%ld", (long)getpid());
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    cr_assert_eq(layer_file_open(&file, golden_path("mla_v3_small", path, sizeof path), &err), OK);
    ForwardParams params = once(PATH_ABSORBED, ROW_BF16, kernels_detect());
    params.out = pipe;
    cr_assert_eq(forward_run(&r, &file, &params, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "not a regular file"), "%s", err.text);
    cr_assert_eq(stat(pipe, &found), 0);
    cr_assert(S_ISFIFO(found.st_mode));
    layer_file_close(&file);
    unlink(pipe);
}

/* ---- the command ---- */

/* Runs the binary; its standard output, and its exit code. */
static int run_command(const char *arguments, char *output, size_t size) {
    char line[1024];
    snprintf(line, sizeof line, "'%s' forward %s 2>&1", KVLAB_BINARY, arguments);
    FILE *pipe = popen(line, "r");
    cr_assert(pipe);
    output[fread(output, 1, size - 1, pipe)] = 0;
    return WEXITSTATUS(pclose(pipe));
}

Test(forward, the_command_prints_the_keys_of_the_contract) {
    const char *const keys[] = {
        "rel_error", "max_abs_error", "cache_bytes", "cache_bytes_per_token", "path",
        "isa",       "kv_dtype",      "prefill_ns",  "decode_ns_per_token"
    };
    char output[4096], key[64];
    cr_assert_eq(
        run_command(KVLAB_TESTS "/golden/mla_yarn_small.safetensors --json", output, sizeof output),
        0, "%s", output);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        snprintf(key, sizeof key, "\"%s\":", keys[i]);
        cr_assert(strstr(output, key), "%s in %s", key, output);
    }
    cr_assert(strstr(output, "absorbed"), "the default for a latent: %s", output);
}

Test(forward, wrong_options_end_with_exit_code_2_and_one_line) {
    const struct {
        const char *arguments, *text;
    } cases[] = {
        { "nowhere.safetensors", "nowhere.safetensors" },
        { KVLAB_TESTS "/golden/mla_v3_small.safetensors --path absorbd", "did you mean absorbed?" },
        { KVLAB_TESTS "/golden/mla_v3_small.safetensors --kv-dtype bf61", "did you mean bf16?" },
        { KVLAB_TESTS "/golden/mla_v3_small.safetensors --isa portabel", "did you mean portable?" },
        { KVLAB_TESTS "/golden/mla_v3_small.safetensors --threads 0", "--threads 0" },
        { KVLAB_TESTS "/golden/mla_v3_small.safetensors --block-tokens -4", "--block-tokens -4" },
        { KVLAB_TESTS "/golden/gqa_llama_small.safetensors --path expanded", "expanded" },
        { KVLAB_TESTS "/golden/README.md", "README.md" },
        { KVLAB_TESTS "/golden/mla_v3_small.safetensors --out /nowhere/y", "/nowhere/y" },
        { KVLAB_TESTS "/golden/mla_v3_small.safetensors --out /tmp/", "/tmp/: not a regular" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char output[4096];
        cr_assert_eq(run_command(cases[i].arguments, output, sizeof output), 2, "%s: %s",
                     cases[i].arguments, output);
        cr_assert(strstr(output, cases[i].text), "%s: %s", cases[i].arguments, output);
        cr_assert_eq(strchr(output, '\n') + 1 - output, (long)strlen(output), "one line: %s",
                     output);
    }
}
