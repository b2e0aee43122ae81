/* scenes.h -- stored runs with plausible rows, for tests of the report: invented numbers of the
 * right size, never shown as results. */
#ifndef KVLAB_SCENES_H
#define KVLAB_SCENES_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "store.h"

typedef struct {
    const char *name, *label, *attention;
    double row_elements; /* cached elements a token and layer */
    double decode_ns;    /* a cached token */
    double prefill_ns;   /* a pair of tokens */
    double y_rel;        /* 0: no error point */
} SceneContender;

typedef struct {
    const char *title, *model, *layer, *error_layer;
    double layers, hidden;
    SceneContender contenders[8];
    size_t contexts[6];
} Scene;

static const Scene scene_deepseek = {
    "DeepSeek-V3: one layer at 16x",
    "deepseek-v3",
    "D 7168, H 128, d 128",
    "D 1024, H 16, d 64",
    61,
    7168,
    { { "mha", "MHA", "mha", 32768, 3300, 420, 0.0012 },
      { "gqa-8", "GQA-8", "gqa", 2048, 500, 415, 0.41 },
      { "mqa", "MQA", "mqa", 256, 470, 410, 0.66 },
      { "mla-512+64", "MLA-512+64", "mla", 576, 1900, 640, 0.083 } },
    { 1024, 2048, 4096, 8192, 16384 },
};

static const Scene scene_llama = {
    "Llama-2-7B: ways to 16x",
    "llama-2-7b",
    "D 4096, H 32, d 128",
    "D 1024, H 8, d 128",
    32,
    4096,
    { { "mha", "MHA", "mha", 8192, 830, 106, 0.0012 },
      { "gqa-8", "GQA-8", "gqa", 2048, 230, 105, 0.23 },
      { "gqa-2", "GQA-2", "gqa", 512, 125, 104, 0.52 },
      { "mqa", "MQA", "mqa", 256, 118, 104, 0.64 },
      { "mla-448+64", "MLA-448+64", "mla", 512, 440, 150, 0.105 },
      { "mla-512+64", "MLA-512+64", "mla", 576, 480, 165, 0.083 } },
    { 512, 1024, 2048, 4096 },
};

static Store *scene_store;
static Error scene_error;

static Metric scene_metric(const char *name, const char *unit, double value, MetricKind kind) {
    Metric m = { .value = value, .low = value, .high = value, .kind = kind };
    snprintf(m.name, sizeof m.name, "%s", name);
    snprintf(m.unit, sizeof m.unit, "%s", unit);
    return m;
}

static Metric scene_time(const char *name, double ns, double spread) {
    static const double samples[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
    Metric m = scene_metric(name, "ns", ns, KIND_MEASURED);
    m.low = ns * (1 - spread);
    m.high = ns * (1 + 1.6 * spread);
    m.samples = samples;
    m.sample_count = 10;
    return m;
}

static Point scene_point(const Scene *scene, const SceneContender *c, const char *phase,
                         const char *path, size_t context, size_t query) {
    Point p = { .context_tokens = context, .query_tokens = query, .sequences = 1 };
    snprintf(p.phase, sizeof p.phase, "%s", phase);
    snprintf(p.contender, sizeof p.contender, "%s", c->name);
    snprintf(p.label, sizeof p.label, "%s", c->label);
    snprintf(p.attention, sizeof p.attention, "%s", c->attention);
    snprintf(p.path, sizeof p.path, "%s", path);
    snprintf(p.kv_dtype, sizeof p.kv_dtype, "bf16");
    snprintf(p.layer, sizeof p.layer, "%s",
             strcmp(phase, "error") == 0 ? scene->error_layer : scene->layer);
    snprintf(p.key, sizeof p.key, "%s/%s/%s/bf16/s=%zu/q=%zu/b=1", phase, c->name, path, context,
             query);
    return p;
}

static void scene_put(const Point *p, const Metric *metrics, size_t count) {
    cr_assert_eq(store_put(scene_store, p, metrics, count, &scene_error), OK, "%s",
                 scene_error.text);
}

static void scene_bytes(const Scene *scene, const SceneContender *c, const char *path,
                        double elements) {
    const double base = scene->contenders[0].row_elements, row = 2 * elements;
    const Point p = scene_point(scene, c, "bytes", path, 4096, 0);
    const Metric metrics[] = {
        scene_metric("cache_bytes_per_token", "B", row * scene->layers, KIND_EXACT),
        scene_metric("cache_bytes_per_token_layer", "B", row, KIND_EXACT),
        scene_metric("held_bytes_per_token_layer", "B", row, KIND_EXACT),
        scene_metric("block_waste_bytes", "B", row * 12, KIND_EXACT),
        scene_metric("table_bytes", "B", 512, KIND_EXACT),
        scene_metric("resident_bytes", "B", row * 4160, KIND_MEASURED),
        scene_metric("ratio_to_mha", "1", base / elements, KIND_EXACT),
        scene_metric("attention_parameters", "1", 187e6, KIND_EXACT),
        scene_metric("decode_flops_per_cached_token", "flop", 4 * base / 2, KIND_EXACT),
    };
    scene_put(&p, metrics, sizeof metrics / sizeof *metrics);
}

static void scene_attention(const Scene *scene, const SceneContender *c, const char *phase,
                            const char *path, size_t context, size_t query, double ns,
                            double elements, double crossover) {
    const double tokens = (double)(context ? context : query);
    const double flops = scene->contenders[0].row_elements * 2 * tokens * (double)query *
                         (strcmp(path, "absorbed") == 0 ? 4.2 : 1) * (context ? 1 : 0.5);
    const double bytes = 2 * elements * tokens;
    const Point p = scene_point(scene, c, phase, path, context, query);
    const Metric metrics[] = {
        scene_time("attention_ns", ns, 0.02 + 0.03 * (double)(context % 7)),
        scene_metric("flops", "flop", flops, KIND_EXACT),
        scene_metric("bytes", "B", bytes, KIND_EXACT),
        scene_metric("roofline_ns", "ns", bytes / 21 > flops / 140 ? bytes / 21 : flops / 140,
                     KIND_MODELLED),
        scene_metric("ratio_to_mha", "1", scene->contenders[0].row_elements / elements, KIND_EXACT),
        scene_metric("crossover_query_tokens", "1", crossover, KIND_EXACT),
    };
    scene_put(&p, metrics, crossover > 0 ? 6 : 5);
}

static void scene_contender(const Scene *scene, const SceneContender *c) {
    const bool mla = strcmp(c->attention, "mla") == 0;
    const char *const path = mla ? "absorbed" : "materialised";
    scene_bytes(scene, c, path, c->row_elements);
    if (mla) scene_bytes(scene, c, "expanded", c->row_elements);
    for (size_t i = 0; i < 6 && scene->contexts[i]; i++) {
        const double tokens = (double)scene->contexts[i];
        scene_attention(scene, c, "decode", path, scene->contexts[i], 1,
                        4000 + c->decode_ns * tokens, c->row_elements, mla ? 171 : 0);
        if (!mla) continue;
        const double built = 60 * c->decode_ns * tokens;
        scene_attention(scene, c, "decode", "expanded", scene->contexts[i], 1, built,
                        c->row_elements, 171);
        scene_attention(scene, c, "decode", "materialised", scene->contexts[i], 1,
                        c->decode_ns * 0.5 * tokens, scene->contenders[0].row_elements, 171);
        for (size_t query = 16; query <= 1024 && tokens <= 4096; query *= 4) {
            const double q = (double)query;
            scene_attention(scene, c, "decode", "absorbed", scene->contexts[i], query,
                            c->decode_ns * tokens * q * 0.85, c->row_elements, 171);
            scene_attention(scene, c, "decode", "expanded", scene->contexts[i], query,
                            built + c->decode_ns * tokens * q * 0.16, c->row_elements, 171);
        }
    }
    for (size_t tokens = 512; tokens <= 2048; tokens *= 2) {
        const double pairs = (double)tokens * (double)tokens / 2;
        scene_attention(scene, c, "prefill", mla ? "expanded" : path, 0, tokens,
                        c->prefill_ns * pairs, c->row_elements, 0);
        const Point p = scene_point(scene, c, "projections", mla ? "expanded" : path, 0, tokens);
        const double ns = scene->hidden * c->row_elements * (double)tokens * 0.002 +
                          scene->hidden * scene->hidden * (double)tokens * 0.02;
        const Metric metrics[] = { scene_time("projection_ns", ns, 0.01),
                                   scene_metric("flops", "flop", ns * 110, KIND_EXACT),
                                   scene_metric("bytes", "B", ns * 2, KIND_EXACT),
                                   scene_metric("roofline_ns", "ns", ns * 0.8, KIND_MODELLED) };
        scene_put(&p, metrics, 4);
    }
    const Point step = scene_point(scene, c, "projections", path, 0, 1);
    const Metric projections = scene_time("projection_ns", 10e6, 0.01);
    scene_put(&step, &projections, 1);
    if (c->y_rel > 0) {
        const Point p = scene_point(scene, c, "error", path, 512, 512);
        const Metric metrics[] = {
            scene_metric("y_rel", "1", c->y_rel, KIND_MEASURED),
            scene_metric("out_rel", "1", c->y_rel * 1.02, KIND_MEASURED),
            scene_metric("attn_kl", "1", c->y_rel * c->y_rel, KIND_MEASURED),
            scene_metric("ratio_to_mha", "1", scene->contenders[0].row_elements / c->row_elements,
                         KIND_EXACT),
        };
        scene_put(&p, metrics, 4);
    }
}

static void scene_facts(const Scene *scene) {
    const char *const facts[][2] = {
        { "title", scene->title },
        { "model", scene->model },
        { "version", "0.1.0" },
        { "commit", "0123456789ab" },
        { "compiler", "GNU 12.2.0" },
        { "flags", "-O3" },
        { "cpu", "An Eight-Core Processor" },
        { "threads", "2" },
        { "isa", "avx2" },
        { "memory_bytes", "8589934592" },
        { "llc_bytes", "33554432" },
        { "device", "H100 SXM" },
        { "device_memory_bytes", "80000000000" },
        { "read_gbytes_s", "21.4" },
        { "l3_read_gbytes_s", "92.5" },
        { "fma_f32_gflops", "186.4" },
        { "seed", "1" },
        { "started", "2026-01-02T03:04:05Z" },
        { "seconds", "181.5" },
    };
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        cr_assert_eq(store_set(scene_store, facts[i][0], facts[i][1], &scene_error), OK);
    cr_assert_eq(
        store_set_config(scene_store, "model", scene->model, "study.yaml:2:8", &scene_error), OK);
    cr_assert_eq(store_set_config(scene_store, "seed", "1", "default", &scene_error), OK);
}

/* Writes a run into a folder; one point is left out and one carries a warning. */
static void scene_write(const char *folder, const Scene *scene) {
    cr_assert_eq(store_open(&scene_store, folder, scene->title, false, &scene_error), OK, "%s",
                 scene_error.text);
    scene_facts(scene);
    for (size_t i = 0; i < 8 && scene->contenders[i].name; i++)
        scene_contender(scene, &scene->contenders[i]);
    if (scene->contenders[0].name) {
        const SceneContender *c = &scene->contenders[0];
        Point p = scene_point(scene, c, "decode", "materialised", 131072, 1);
        p.status = POINT_LEFT_OUT;
        snprintf(p.message, sizeof p.message, "would need 16.0 GiB; 6.00 GiB are allowed");
        scene_put(&p, NULL, 0);
        p = scene_point(scene, c, "prefill", "materialised", 0, 256);
        snprintf(p.message, sizeof p.message, "the first sample was over 1.5 medians");
        const Metric m = scene_time("attention_ns", 9e6, 0.2);
        scene_put(&p, &m, 1);
    }
    store_close(scene_store);
}

#endif
