/* test_study_numbers.c -- the numbers that a study stores, worked out again from the shapes. */
#include <math.h>

#include "study_runs.h"

TestSuite(study_numbers, .init = make_folder, .fini = remove_folder);

/* Bytes of a cached row of elements in f32 against MHA's, and GQA-8's, in bf16. */
Test(study_numbers, ratios_are_over_bf16_whatever_type_the_contender_keeps) {
    static const struct {
        const char *contender, *path;
        double to_mha, to_gqa8;
    } expected[] = { { "mha", "materialised", 0.5, 0.125 },
                     { "gqa-2", "materialised", 8, 2 },
                     { "mla-448+64", "absorbed", 8, 2 } };
    StoredRun stored =
        run_and_read("model: Llama-2-7b-hf\ncontenders: [mha, gqa-2, mla-448+64]\n"
                     "bytes: { tokens: 32 }\ncache: { type: f32, block_tokens: 16 }\n",
                     "ratios");
    for (size_t i = 0; i < 3; i++) {
        const StoredPoint *p = find(&stored, "bytes", expected[i].contender, expected[i].path);
        cr_assert_eq(value(p, "ratio_to_mha"), expected[i].to_mha);
        cr_assert_eq(value(p, "ratio_to_gqa8"), expected[i].to_gqa8);
        cr_assert_eq(value(p, "block_waste_bytes"), 0, "two whole blocks");
    }
    store_run_free(&stored);

    stored = run_and_read("model: Llama-3.2-1B\nphases: [error]\n"
                          "error: { shrink: 8, tokens: 64, calibration_tokens: 128,"
                          " contenders: [mha, gqa-8, mla-512+64], type: f32 }\n",
                          "error_ratios");
    cr_assert_eq(value(find(&stored, "error", "mha", "materialised"), "ratio_to_mha"), 0.5);
    cr_assert_eq(value(find(&stored, "error", "gqa-8", "materialised"), "ratio_to_mha"), 2);
    cr_assert_float_eq(value(find(&stored, "error", "mla-512+64", "absorbed"), "ratio_to_mha"),
                       4096 * 2 / (576 * 4.0), 1e-12);
    store_run_free(&stored);
}

/* What a call does and moves, and what a token's row takes. */
typedef struct {
    double flops, bytes, ratio, row_bytes;
} Counted;

/* Llama-3.2-1B: H 32, d 64; MLA with C 96, P 64, R 32, V 64; rows in bf16. An absorbed call folds
 * its own queries and outputs, an expanded one rebuilds every token that it sees. */
static Counted count_call(const Point *p) {
    const double context = (double)p->context_tokens, q = (double)p->query_tokens;
    const double tokens = context + q, pairs = q * context + q * (q + 1) / 2;
    const double fold = 2.0 * 32 * 96 * (64 + 64), weights = 4.0 * 32 * 96 * (64 + 64);
    double width, folded = 0, in_out = 96 + 64;
    Counted c = { 0 };
    if (strcmp(p->contender, "mha") == 0) {
        width = in_out = 64 + 64;
        c = (Counted){ .ratio = 1, .row_bytes = 2 * 32 * 128 };
    } else if (strcmp(p->path, "materialised") == 0) {
        width = 96 + 64;
        c = (Counted){ .ratio = 0.8, .row_bytes = 2 * 32 * 160 };
    } else {
        const bool absorbed = strcmp(p->path, "absorbed") == 0;
        width = absorbed ? 96 + 32 + 96 : 96 + 64;
        folded = absorbed ? q : tokens;
        c = (Counted){ .ratio = 32, .row_bytes = 2 * (96 + 32), .bytes = weights };
    }
    c.flops = 2 * 32 * width * pairs + fold * folded;
    c.bytes += tokens * c.row_bytes + 4 * 32 * in_out * q;
    return c;
}

static double fact(const StoredRun *stored, const char *name) {
    const double number = atof(store_fact(stored, name));
    cr_assert_gt(number, 0, "%s", name);
    return number;
}

static void check_close(const StoredPoint *p, const char *metric, double expected) {
    const double is = value(p, metric);
    cr_assert_leq(fabs(is - expected), 1e-8 * expected, "%s: %s is %.12g, not %.12g", p->point.key,
                  metric, is, expected);
}

/* A warm cache, and a prefill's, may be served by the last-level cache when it fits in half. */
static void check_roof(const StoredRun *stored, const StoredPoint *p, double flops, double bytes,
                       bool warm) {
    const bool fits = bytes < fact(stored, "llc_bytes") / 2;
    const double rate = fact(stored, warm && fits ? "l3_read_gbytes_s" : "read_gbytes_s");
    check_close(p, "flops", flops);
    check_close(p, "bytes", bytes);
    check_close(p, "roofline_ns", fmax(flops / fact(stored, "fma_f32_gflops"), bytes / rate));
}

static void check_latency(const StoredRun *stored, const StoredPoint *p, bool cold) {
    const Counted c = count_call(&p->point);
    const double ns = value(p, "attention_ns"), sets = value(p, "cache_sets");
    check_roof(stored, p, c.flops, c.bytes, !cold);
    check_close(p, "gflops", c.flops / ns);
    check_close(p, "gbytes_s", c.bytes / ns);
    check_close(p, "ratio_to_mha", c.ratio);
    const double tokens = (double)(p->point.context_tokens + p->point.query_tokens);
    if (cold)
        cr_assert_geq(sets * tokens * c.row_bytes, 2 * fact(stored, "llc_bytes"),
                      "%s: %g sets are not cold", p->point.key, sets);
    else
        cr_assert_eq(sets, 1);
}

/* Contexts that fill whole blocks of 64 tokens, the new one included. */
static const char timed[] =
    "model: Llama-3.2-1B\nphases: [decode, prefill]\ncontenders: [mha, mla-96+32]\n"
    "decode: { context: 127, path: [absorbed, expanded, materialised] }\n"
    "prefill: { tokens: 64, path: [absorbed, expanded, materialised] }\n"
    "measure: { min_seconds: 0.001 }\n";

Test(study_numbers, flops_bytes_and_roofs_are_the_closed_forms) {
    StoredRun stored = run_and_read(timed, "timed");
    cr_assert_eq(stored.point_count, 8);
    for (size_t i = 0; i < stored.point_count; i++)
        check_latency(&stored, &stored.points[i],
                      strcmp(stored.points[i].point.phase, "decode") == 0);
    store_run_free(&stored);
}

Test(study_numbers, a_warm_cache_is_one_set_under_the_roof_of_the_last_level_cache) {
    StoredRun stored = run_and_read(
        "model: Llama-3.2-1B\nphases: [decode]\ncontenders: [mha, mla-96+32]\n"
        "decode: { context: 127, temperature: warm }\nmeasure: { min_seconds: 0.001 }\n",
        "warm");
    cr_assert_eq(stored.point_count, 2);
    for (size_t i = 0; i < stored.point_count; i++)
        check_latency(&stored, &stored.points[i], false);
    store_run_free(&stored);
}

/* A latent as long as the text that it was made from holds that text whole: only another text
 * loses values. */
Test(study_numbers, errors_are_of_another_text_than_the_calibration) {
    StoredRun stored = run_and_read(
        "model: Llama-3.2-1B\nphases: [error]\n"
        "error: { shrink: 8, tokens: 64, calibration_tokens: 64, contenders: mla-512+64 }\n",
        "texts");
    cr_assert_gt(value(&stored.points[0], "v_rel"), 0.1);
    store_run_free(&stored);
}

/* What MHA loses to itself is the rounding of its cached rows. */
Test(study_numbers, the_type_of_cached_rows_is_in_the_error) {
    static const struct {
        const char *type;
        double least, most;
    } types[] = { { "f32", 0, 1e-6 }, { "f16", 5e-5, 1e-3 }, { "bf16", 5e-4, 8e-3 } };
    for (size_t i = 0; i < 3; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "model: Llama-3.2-1B\nphases: [error]\nerror: { shrink: 8, tokens: 32,"
                 " calibration_tokens: 32, contenders: mha, type: %s }\n",
                 types[i].type);
        StoredRun stored = run_and_read(text, types[i].type);
        const double v = value(&stored.points[0], "v_rel");
        cr_assert(types[i].least <= v && v <= types[i].most, "%s: %g", types[i].type, v);
        store_run_free(&stored);
    }
}
