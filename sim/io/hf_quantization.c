/* hf_quantization.c -- how many bits a parameter of each part is stored in, from dtype and
 * quantization_config; see hf_reading.h.
 *
 *   bits of a weight + (bits of a scale + bits of a zero point) / weights that share them
 *
 * Embedding, norms and router stay in dtype under every method; head and the rest where the file
 * lists them. An entry that names one layer counts for that layer's share. What is not known here
 * is refused: a wrong size of the weights is a wrong pool for the cache. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf_reading.h"

/* A stored matrix. */
typedef struct {
    double bits;
    char name[48];
} Format;

typedef struct {
    Fields config; /* quantization_config */
    Format format;
    double plain_bits;
    bool quantised[WEIGHT_PARTS];
    uint8_t plain_layers[WEIGHT_PARTS][ARCHITECTURE_LAYERS_MOST]; /* listed one by one */
} Storage;

static const struct {
    const char *name;
    double bits;
} types[] = {
    { "bfloat16", 16 }, { "float16", 16 }, { "float32", 32 }, { "float64", 64 },
    { "auto", 16 },     { "float", 32 },   { "half", 16 },
};

/* bf16 where a file has no dtype, which is then a note. */
static Status read_plain(const Reading *r, Format *out, bool *assumed, Error *err) {
    static const char *const keys[] = { "torch_dtype", "dtype" };
    const Fields *const places[] = { &r->text, &r->document };
    *out = (Format){ 16, "bf16" };
    *assumed = true;
    for (size_t p = 0; p < 2; p++)
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            if (!fields_get(places[p], keys[k])) continue;
            const char *text = json_text(fields_get(places[p], keys[k]));
            if (text && strncmp(text, "torch.", 6) == 0) text += 6;
            for (size_t t = 0; text && t < sizeof types / sizeof *types; t++)
                if (strcmp(text, types[t].name) == 0) {
                    out->bits = types[t].bits;
                    *assumed = false;
                    snprintf(out->name, sizeof out->name, "%s",
                             types[t].bits > 32   ? "f64"
                             : types[t].bits > 16 ? "f32"
                             : text[0] == 'b'     ? "bf16"
                                                  : "f16");
                    return OK;
                }
            return fields_fail(places[p], keys[k], err,
                               "%.64s; allowed: bfloat16, float16, float32",
                               text ? text : "not a string");
        }
    return OK;
}

/* ---- methods ---- */

static double number(const Fields *fields, const char *key, double otherwise) {
    double value = otherwise;
    json_number(fields_get(fields, key), &value);
    return value;
}

static Status bad_bits(const Fields *fields, const char *key, double bits, Error *err) {
    return fields_fail(fields, key, err, "%g; allowed: 1 to 16", bits);
}

/* DeepSeek and others: e4m3, an fp32 scale for every block, or one for the whole matrix. */
static Status read_fp8(Storage *s, Error *err) {
    const Json *block = fields_get(&s->config, "weight_block_size");
    double rows = 0, columns = 0;
    s->format = (Format){ 8, "fp8 e4m3" };
    if (!block) return OK;
    if (!json_number(json_at(block, 0), &rows) || !json_number(json_at(block, 1), &columns) ||
        rows < 1 || columns < 1)
        return fields_fail(&s->config, "weight_block_size", err, "allowed: two sizes");
    s->format.bits = 8 + 32 / (rows * columns);
    snprintf(s->format.name, sizeof s->format.name, "fp8 e4m3, %gx%g blocks", rows, columns);
    return OK;
}

static void only_experts(Storage *s) {
    memset(s->quantised, 0, sizeof s->quantised);
    s->quantised[PART_EXPERTS] = s->quantised[PART_SHARED_EXPERTS] = true;
}

/* gpt-oss: e2m1, a byte of exponent for 32 of them; nothing but the experts. */
static Status read_mxfp4(Storage *s, Error *err) {
    (void)err;
    s->format = (Format){ 4 + 8.0 / 32, "mxfp4" };
    only_experts(s);
    return OK;
}

/* An fp16 scale and, unless symmetric, a zero point of the weights' own width for each group. */
static Status read_groups(Storage *s, const char *bits_key, const char *group_key,
                          const char *method, bool zeros, Error *err) {
    const double bits = number(&s->config, bits_key, 4), group = number(&s->config, group_key, 128);
    if (!(bits >= 1 && bits <= 16)) return bad_bits(&s->config, bits_key, bits, err);
    s->format.bits = bits;
    if (group > 0) s->format.bits += (16 + (zeros ? bits : 0)) / group;
    snprintf(s->format.name, sizeof s->format.name, "%s int%g, groups of %g", method, bits, group);
    if (group <= 0) snprintf(s->format.name, sizeof s->format.name, "%s int%g", method, bits);
    return OK;
}

static Status read_awq(Storage *s, Error *err) {
    const bool old = fields_get(&s->config, "w_bit") != NULL;
    return read_groups(s, old ? "w_bit" : "bits", old ? "q_group_size" : "group_size", "awq", true,
                       err);
}

static Status read_gptq(Storage *s, Error *err) {
    return read_groups(s, "bits", "group_size", "gptq", true, err);
}

/* 4 bits with an fp32 scale for 64 (with double quantisation a byte for 64 and fp32 for 256 of
 * those), or 8 bits. */
static Status read_bitsandbytes(Storage *s, Error *err) {
    bool four = false, eight = false, twice = false;
    TRY(fields_flag(&s->config, "load_in_4bit", &four, err));
    TRY(fields_flag(&s->config, "load_in_8bit", &eight, err));
    TRY(fields_flag(&s->config, "bnb_4bit_use_double_quant", &twice, err));
    if (!four && !eight)
        return fields_fail(&s->config, "load_in_4bit", err, "neither 4 nor 8 bits are switched on");
    const double four_bits = 4 + (twice ? 8.0 / 64 + 32.0 / (64 * 256) : 32.0 / 64);
    s->format =
        four ? (Format){ four_bits, "bitsandbytes 4 bits" } : (Format){ 8, "bitsandbytes int8" };
    return OK;
}

/* NVFP4: e2m1, an fp8 scale for 16. */
static Status read_modelopt(Storage *s, Error *err) {
    const char *algorithm = json_text(fields_get(&s->config, "quant_algo"));
    if (algorithm && strcmp(algorithm, "NVFP4") == 0) {
        s->format = (Format){ 4 + 8.0 / 16, "nvfp4" };
        return OK;
    }
    if (algorithm && strcmp(algorithm, "FP8") == 0) {
        s->format = (Format){ 8, "fp8 e4m3" };
        return OK;
    }
    return fields_fail(&s->config, "quant_algo", err, "%.40s; allowed: FP8, NVFP4",
                       algorithm ? algorithm : "missing");
}

/* Weights of the first group of modules; several groups that differ are refused. */
static Status read_compressed(Storage *s, Error *err) {
    static const char *const strategies[] = { "tensor",       "channel", "group",
                                              "tensor_group", "block",   NULL };
    Fields groups, group, weights;
    size_t strategy = 0;
    bool symmetric = true;
    TRY(fields_nested(&groups, &s->config, "config_groups", "quantization_config.config_groups.",
                      err));
    if (json_size(groups.object) != 1)
        return fields_fail(&s->config, "config_groups", err, "%zu groups; allowed: 1",
                           json_size(groups.object));
    TRY(fields_nested(&group, &groups, json_key(json_first(groups.object)),
                      "quantization_config.config_groups.*.", err));
    TRY(fields_nested(&weights, &group, "weights", "quantization_config.config_groups.*.weights.",
                      err));
    TRY(fields_choice(&weights, "strategy", strategies, &strategy, err));
    TRY(fields_flag(&weights, "symmetric", &symmetric, err));
    const double bits = number(&weights, "num_bits", 0), size = number(&weights, "group_size", 0);
    const char *type = json_text(fields_get(&weights, "type"));
    const char *scale = json_text(fields_get(&weights, "scale_dtype"));
    const bool floats = type && strcmp(type, "float") == 0;
    if (!(bits >= 1 && bits <= 16)) return bad_bits(&weights, "num_bits", bits, err);
    const char *format = json_text(fields_get(&s->config, "format"));
    const bool nvfp4 = format && strncmp(format, "nvfp4", 5) == 0;
    const bool byte_scale = nvfp4 || (scale && strstr(scale, "int8"));
    s->format.bits = bits;
    if (size > 0) s->format.bits += ((byte_scale ? 8 : 16) + (symmetric ? 0 : bits)) / size;
    snprintf(s->format.name, sizeof s->format.name, "%s%g%s%.0f", floats ? "fp" : "int", bits,
             size > 0 ? ", groups of " : "", size);
    if (size <= 0)
        snprintf(s->format.name, sizeof s->format.name, "%s%g", floats ? "fp" : "int", bits);
    return OK;
}

static const struct {
    const char *name;
    Status (*read)(Storage *, Error *);
} methods[] = {
    { "fp8", read_fp8 },           { "fbgemm_fp8", read_fp8 },
    { "mxfp4", read_mxfp4 },       { "awq", read_awq },
    { "gptq", read_gptq },         { "bitsandbytes", read_bitsandbytes },
    { "modelopt", read_modelopt }, { "compressed-tensors", read_compressed },
};
enum { METHODS = sizeof methods / sizeof *methods };

/* ---- what stays plain ---- */

/* The part that an entry of a list of modules means: the first word that it holds decides. */
static bool part_named(const char *entry, WeightPart *part) {
    static const struct {
        const char *word;
        WeightPart part;
    } words[] = {
        { "shared_expert", PART_SHARED_EXPERTS },
        { "experts", PART_EXPERTS },
        { "attn", PART_ATTENTION },
        { "attention", PART_ATTENTION },
        { "mixer", PART_ATTENTION },
        { "lm_head", PART_HEAD },
        { "embed", PART_EMBEDDING },
        { "_proj", PART_DENSE_MLP },
        { "mlp.gate", PART_ROUTER },
        { "router", PART_ROUTER },
        { "mlp", PART_DENSE_MLP },
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(entry, words[i].word)) {
            *part = words[i].part;
            return true;
        }
    return false;
}

/* The layer an entry is about: the number after "layers.", or all. */
static bool one_layer(const char *entry, size_t *layer) {
    const char *at = strstr(entry, "layers.");
    if (!at || !isdigit((unsigned char)at[7])) return false;
    *layer = strtoul(at + 7, NULL, 10);
    return true;
}

static void keep_plain(Storage *s, const Json *list) {
    for (size_t i = 0; i < json_size(list); i++) {
        const char *entry = json_text(json_at(list, i));
        WeightPart part;
        size_t layer = 0;
        if (!entry || !part_named(entry, &part)) continue;
        if (!one_layer(entry, &layer))
            s->quantised[part] = false;
        else if (layer < ARCHITECTURE_LAYERS_MOST)
            s->plain_layers[part][layer] = 1;
    }
}

static void read_exceptions(Storage *s) {
    static const char *const keys[] = { "modules_to_not_convert", "ignore", "ignored_layers",
                                        "exclude_modules" };
    bool head = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        keep_plain(s, fields_get(&s->config, keys[i]));
    json_bool(fields_get(&s->config, "lm_head"), &head);
    if (head) s->quantised[PART_HEAD] = true;
}

static double part_bits(const Storage *s, const Architecture *a, WeightPart part) {
    if (!s->quantised[part]) return s->plain_bits;
    size_t plain = 0;
    for (size_t i = 0; i < a->layers; i++) plain += s->plain_layers[part][i];
    const double share = (double)plain / (double)a->layers;
    return share * s->plain_bits + (1 - share) * s->format.bits;
}

/* The draft's layers are stored as the model's, by what they are made of. */
static double draft_bits(const Architecture *a) {
    double bits = 0, sum = 0;
    static const WeightPart parts[] = { PART_ATTENTION, PART_EXPERTS, PART_SHARED_EXPERTS };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        bits += a->weight_bits[parts[i]] * a->parameters.part[parts[i]];
        sum += a->parameters.part[parts[i]];
    }
    return sum > 0 ? bits / sum : a->weight_bits[PART_DENSE_MLP];
}

static Status read_method(Storage *s, Error *err) {
    const char *method = json_text(fields_get(&s->config, "quant_method"));
    for (size_t i = 0; i < METHODS; i++)
        if (method && strcmp(method, methods[i].name) == 0) {
            TRY(methods[i].read(s, err));
            read_exceptions(s);
            return OK;
        }
    return fields_fail(&s->config, "quant_method", err,
                       "%.64s: weights in a form that kvlab cannot size; allowed: fp8, fbgemm_fp8, "
                       "mxfp4, awq, gptq, bitsandbytes, modelopt, compressed-tensors",
                       method ? method : "missing");
}

/* DeepSeek-V4: experts in fp4 beside a model in fp8, a byte of exponent for 32 of them. */
static Status read_expert_type(const Reading *r, Architecture *out, Error *err) {
    static const char *const allowed[] = { "fp8", "fp4", NULL };
    size_t type = 0;
    TRY(fields_choice(&r->text, "expert_dtype", allowed, &type, err));
    if (type == 1) {
        out->weight_bits[PART_EXPERTS] = 4 + 8.0 / 32;
        snprintf(out->weight_format, sizeof out->weight_format, "fp8, experts fp4");
    }
    return OK;
}

Status hf_quantization(const Reading *r, Architecture *out, Error *err) {
    static const WeightPart matrices[] = { PART_ATTENTION, PART_DENSE_MLP, PART_SHARED_EXPERTS,
                                           PART_EXPERTS };
    static const char key[] = "quantization_config";
    Storage s;
    memset(&s, 0, sizeof s);
    Format plain;
    bool assumed;
    TRY(read_plain(r, &plain, &assumed, err));
    s.plain_bits = plain.bits;
    const Fields *place = fields_get(&r->text, key) ? &r->text : &r->document;
    TRY(fields_nested(&s.config, place, key, "quantization_config.", err));
    snprintf(out->weight_format, sizeof out->weight_format, "%s", plain.name);
    if (s.config.object) {
        for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
            s.quantised[matrices[i]] = true;
        TRY(read_method(&s, err));
        snprintf(out->weight_format, sizeof out->weight_format, "%s", s.format.name);
    } else if (assumed) {
        architecture_note(out, "the file names no dtype: weights are counted in bf16");
    }
    for (WeightPart part = 0; part < WEIGHT_PARTS; part++)
        out->weight_bits[part] = part_bits(&s, out, part);
    TRY(read_expert_type(r, out, err));
    out->weight_bits[PART_DRAFT] = draft_bits(out);
    return OK;
}
