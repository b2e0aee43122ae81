/* test_stored_weights.c -- which part a tensor belongs to, and the weights of folders of
 * .safetensors made here, to the byte. */
#include "stored_weights.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(stored_weights, every_name_belongs_to_a_part) {
    static const struct {
        const char *name;
        WeightPart part;
    } rows[] = {
        { "model.embed_tokens.weight", PART_EMBEDDING },
        { "transformer.wte.weight", PART_EMBEDDING },
        { "transformer.word_embeddings.weight", PART_EMBEDDING },
        { "token_embd.weight", PART_EMBEDDING },
        { "lm_head.weight", PART_HEAD },
        { "output.weight", PART_HEAD },
        { "embed_out.weight", PART_HEAD },
        { "model.norm.weight", PART_NORMS },
        { "output_norm.weight", PART_NORMS },
        { "model.layers.1.input_layernorm.weight", PART_NORMS },
        { "model.layers.1.post_attention_layernorm.weight", PART_NORMS },
        { "blk.1.attn_norm.weight", PART_NORMS },
        { "transformer.h.1.ln_1.weight", PART_NORMS },
        { "model.layers.1.self_attn.q_proj.weight", PART_ATTENTION },
        { "model.layers.1.self_attn.kv_a_layernorm.weight", PART_ATTENTION },
        { "model.layers.1.self_attn.indexer.wk.weight", PART_ATTENTION },
        { "model.layers.1.linear_attn.in_proj_qkvz.weight", PART_ATTENTION },
        { "transformer.h.1.attn.c_attn.weight", PART_ATTENTION },
        { "blk.1.attn_output.weight", PART_ATTENTION },
        { "blk.1.attn_kv_a_norm.weight", PART_ATTENTION },
        { "blk.1.ssm_in.weight", PART_ATTENTION },
        { "model.layers.1.mlp.down_proj.weight", PART_DENSE_MLP },
        { "blk.1.ffn_up.weight", PART_DENSE_MLP },
        { "model.layers.1.mlp.experts.7.down_proj.weight", PART_EXPERTS },
        { "model.layers.1.block_sparse_moe.experts.0.w1.weight", PART_EXPERTS },
        { "blk.1.ffn_up_exps.weight", PART_EXPERTS },
        { "model.layers.1.mlp.shared_experts.up_proj.weight", PART_SHARED_EXPERTS },
        { "model.layers.1.mlp.shared_expert_gate.weight", PART_SHARED_EXPERTS },
        { "blk.1.ffn_up_shexp.weight", PART_SHARED_EXPERTS },
        { "model.layers.1.mlp.gate.weight", PART_ROUTER },
        { "model.layers.1.block_sparse_moe.gate.weight", PART_ROUTER },
        { "model.layers.1.mlp.gate.e_score_correction_bias", PART_ROUTER },
        { "blk.1.ffn_gate_inp.weight", PART_ROUTER },
        { "model.layers.61.eh_proj.weight", PART_DRAFT },
        { "model.layers.61.self_attn.q_a_proj.weight", PART_DRAFT },
        { "model.layers.61.embed_tokens.weight", PART_DRAFT },
        { "mtp.fc.weight", PART_DRAFT },
        { "vision_tower.layers.3.attn.q.weight", PART_OTHER },
        { "multi_modal_projector.linear_1.weight", PART_OTHER },
        { "rope_freqs.weight", PART_OTHER },
    };
    const Architecture model = { .layers = 61 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(stored_weights_part(&model, rows[i].name), rows[i].part, "%s: %d",
                     rows[i].name, stored_weights_part(&model, rows[i].name));
}

/* ---- folders ---- */

static char folder[64];

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/kvlab-stored-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void) {
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", folder);
    cr_assert_eq(system(line), 0);
}

static void write_text(const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

typedef struct {
    const char *name, *dtype;
    unsigned long rows, columns, bytes;
} Stored;

/* A .safetensors file of zeros; `lost` bytes are missing at its end. */
static void write_tensors(const char *name, const Stored *tensors, size_t count, size_t lost) {
    char path[128], header[8192] = "{";
    size_t used = 1;
    unsigned long at = 0;
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(header + used, sizeof header - used,
                                 "%s\"%s\": {\"dtype\": \"%s\", \"shape\": [%lu, %lu], "
                                 "\"data_offsets\": [%lu, %lu]}",
                                 i ? ", " : "", tensors[i].name, tensors[i].dtype, tensors[i].rows,
                                 tensors[i].columns, at, at + tensors[i].bytes);
        at += tensors[i].bytes;
    }
    header[used++] = '}';
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    const unsigned long long length = used;
    fwrite(&length, 8, 1, file);
    fwrite(header, 1, used, file);
    for (unsigned long i = 0; i < at - lost; i++) fputc(0, file);
    fclose(file);
}

#define CONFIG                                                                                     \
    "{\"num_hidden_layers\": 1, \"hidden_size\": 64, \"num_attention_heads\": 4, "                 \
    "\"intermediate_size\": 128, \"vocab_size\": 10, \"torch_dtype\": \"bfloat16\"%s}"

static void write_config(const char *more) {
    char text[1024];
    snprintf(text, sizeof text, CONFIG, more);
    write_text("config.json", text);
}

static const Stored plain[] = {
    { "model.embed_tokens.weight", "BF16", 10, 64, 1280 },
    { "lm_head.weight", "BF16", 10, 64, 1280 },
    { "model.norm.weight", "F32", 1, 64, 256 },
    { "model.layers.0.self_attn.q_proj.weight", "BF16", 64, 64, 8192 },
    { "model.layers.0.mlp.up_proj.weight", "BF16", 128, 64, 16384 },
    { "vision_tower.patch.weight", "F16", 8, 8, 128 },
};
enum { PLAIN = sizeof plain / sizeof *plain };

Test(stored_weights, a_folder_says_its_weights_to_the_byte) {
    Architecture a;
    Error err = { 0 };
    make_folder();
    write_config("");
    cr_assert_eq(architecture_read(&a, folder, &err), OK, "%s", err.text);
    cr_assert_not(a.weights_exact, "a config.json alone");
    write_tensors("model.safetensors", plain, PLAIN, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), OK, "%s", err.text);
    cr_assert(a.weights_exact);
    cr_assert_eq(architecture_weight_bytes(&a), 1280 + 1280 + 256 + 8192 + 16384 + 128);
    cr_assert_eq(a.parameters.part[PART_ATTENTION], 64 * 64);
    cr_assert_eq(architecture_part_bytes(&a, PART_OTHER), 128);
    cr_assert_eq(a.weight_bits[PART_NORMS], 32);
    cr_assert_str_eq(a.weight_format, "BF16");
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", folder);
    cr_assert_eq(architecture_read(&a, path, &err), OK);
    cr_assert_not(a.weights_exact, "the file was named, not the folder");
    remove_folder();
}

/* AWQ as it is stored: eight weights in an integer, zero points, scales. */
Test(stored_weights, packed_weights_keep_the_number_that_the_shapes_give) {
    static const Stored packed[] = {
        { "model.embed_tokens.weight", "BF16", 10, 64, 1280 },
        { "lm_head.weight", "BF16", 10, 64, 1280 },
        { "model.layers.0.self_attn.q_proj.qweight", "I32", 64, 8, 2048 },
        { "model.layers.0.self_attn.q_proj.qzeros", "I32", 1, 8, 32 },
        { "model.layers.0.self_attn.q_proj.scales", "F16", 1, 64, 128 },
        { "model.layers.0.mlp.up_proj.weight", "F8_E4M3", 128, 64, 8192 },
        { "model.layers.0.mlp.up_proj.weight_scale_inv", "F32", 1, 1, 4 },
    };
    Architecture a, derived;
    Error err = { 0 };
    make_folder();
    write_config(", \"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 4, "
                 "\"group_size\": 64}");
    cr_assert_eq(architecture_read(&derived, folder, &err), OK, "%s", err.text);
    write_tensors("model.safetensors", packed, sizeof packed / sizeof *packed, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), OK, "%s", err.text);
    cr_assert_eq(architecture_part_bytes(&a, PART_ATTENTION), 2048 + 32 + 128);
    cr_assert_eq(a.parameters.part[PART_ATTENTION], derived.parameters.part[PART_ATTENTION]);
    cr_assert_eq(a.parameters.part[PART_DENSE_MLP], 128 * 64, "the scale is no weight");
    cr_assert_eq(architecture_part_bytes(&a, PART_DENSE_MLP), 8196);
    cr_assert_str_eq(a.weight_format, "awq int4, groups of 64");
    remove_folder();
}

Test(stored_weights, shards_are_read_by_their_index) {
    Architecture a;
    Error err = { 0 };
    make_folder();
    write_config("");
    write_tensors("model-1.safetensors", plain, 3, 0);
    write_tensors("model-2.safetensors", plain + 3, 3, 0);
    write_text("model.safetensors.index.json",
               "{\"weight_map\": {\"model.embed_tokens.weight\": \"model-1.safetensors\", "
               "\"vision_tower.patch.weight\": \"model-2.safetensors\"}}");
    cr_assert_eq(architecture_read(&a, folder, &err), OK, "%s", err.text);
    cr_assert_eq(architecture_weight_bytes(&a), 1280 + 1280 + 256 + 8192 + 16384 + 128);
    remove_folder();
}

Test(stored_weights, a_folder_that_lies_is_refused) {
    Architecture a;
    Error err = { 0 };
    make_folder();
    write_config("");
    write_tensors("model.safetensors", plain, PLAIN, 1);
    cr_assert_eq(architecture_read(&a, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "reach past"), "%s", err.text);
    write_tensors("model.safetensors", plain, 3, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "holds no tensor of attention"), "%s", err.text);
    write_text("model.safetensors.index.json",
               "{\"weight_map\": {\"lm_head.weight\": \"model-9.safetensors\"}}");
    cr_assert_eq(architecture_read(&a, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "model-9.safetensors"), "%s", err.text);
    remove_folder();
}

/* Without an index, whatever .safetensors there are; all parts, where their names count them. */
Test(stored_weights, parts_without_an_index_are_read_or_refused) {
    Architecture a;
    Error err = { 0 };
    make_folder();
    write_config("");
    write_tensors("model-00001-of-00002.safetensors", plain, 3, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "model-00001-of-00002.safetensors is one of 2 parts, and 1 are"),
              "%s", err.text);
    write_tensors("model-00002-of-00002.safetensors", plain + 3, 3, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), OK, "%s", err.text);
    cr_assert_eq(architecture_weight_bytes(&a), 1280 + 1280 + 256 + 8192 + 16384 + 128);
    write_text("odd.safetensors", "no header");
    cr_assert_eq(architecture_read(&a, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "odd.safetensors"), "%s", err.text);
    remove_folder();
}

/* One small tensor a part is not a model; a part of one is said to be one. */
Test(stored_weights, what_is_stored_is_held_against_what_the_shapes_ask_for) {
    Architecture a;
    Error err = { 0 };
    Stored tokens[PLAIN];
    make_folder();
    write_config("");
    write_tensors("model.safetensors", plain, PLAIN, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), OK, "%s", err.text);
    cr_assert_eq(a.notes, 1);
    /* 640 + 4,096 + 8,192 of 640 + 4 x 4,096 + 3 x 8,192 */
    cr_assert(strstr(a.note[0], "hold 31 % of the parameters"), "%s", a.note[0]);
    memcpy(tokens, plain, sizeof plain);
    tokens[3] = (Stored){ "model.layers.0.self_attn.q_proj.weight", "BF16", 2, 8, 32 };
    write_tensors("model.safetensors", tokens, PLAIN, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "holds 16 of the 1.638e+04 parameters of attention"), "%s",
              err.text);
    tokens[3] = (Stored){ "model.layers.0.self_attn.q_proj.qweight", "I32", 2, 8, 64 };
    write_tensors("model.safetensors", tokens, PLAIN, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), OK, "512 bits: %s", err.text);
    memcpy(tokens, plain, sizeof plain);
    tokens[5] = (Stored){ "model.layers.1.mlp.up_proj.weight", "F16", 8, 8, 128 };
    write_tensors("model.safetensors", tokens, PLAIN, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), OK, "%s", err.text);
    cr_assert(strstr(a.note[1], "128 bytes are of layers beyond the model's 1"), "%s", a.note[1]);
    remove_folder();
}

/* Every type of the format has its size; bits that are no whole bytes are refused. */
Test(stored_weights, types_of_every_width_are_sized) {
    static const Stored rows[] = {
        { "BOOL", "BOOL", 2, 4, 8 },  { "U8", "U8", 2, 4, 8 },      { "I8", "I8", 2, 4, 8 },
        { "I16", "I16", 2, 4, 16 },   { "I32", "I32", 2, 4, 32 },   { "I64", "I64", 2, 4, 64 },
        { "E4", "F8_E4M3", 2, 4, 8 }, { "E5", "F8_E5M2", 2, 4, 8 }, { "E8", "F8_E8M0", 2, 4, 8 },
        { "F4", "F4", 2, 4, 4 },      { "F64", "F64", 2, 4, 64 },   { "F6", "F6_E2M3", 2, 4, 6 },
    };
    Architecture a;
    Error err = { 0 };
    make_folder();
    write_config("");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Stored all[PLAIN + 1];
        memcpy(all, plain, sizeof plain);
        all[PLAIN] = rows[i];
        write_tensors("model.safetensors", all, PLAIN + 1, 0);
        cr_expect_eq(architecture_read(&a, folder, &err), OK, "%s", err.text);
        cr_expect_eq(architecture_part_bytes(&a, PART_OTHER), 128 + (double)rows[i].bytes, "%s",
                     rows[i].dtype);
    }
    const Stored odd = { "odd", "F4", 1, 3, 1 };
    write_tensors("model.safetensors", &odd, 1, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "no whole bytes"), "%s", err.text);
    const Stored unknown = { "odd", "Q4", 1, 2, 1 };
    write_tensors("model.safetensors", &unknown, 1, 0);
    cr_assert_eq(architecture_read(&a, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "none of the types"), "%s", err.text);
    remove_folder();
}
