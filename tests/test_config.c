/* test_config.c -- studies: what they resolve to, their layers, and the points they span. */
#include "studies.h"

/* ---- what a study resolves to ---- */

Test(config, keys_may_be_dotted_or_below_their_section) {
    ConfigFile *a = parsed("model: m\ndecode:\n  context: 8k\n  path: expanded\n");
    ConfigFile *b = parsed("decode.path: expanded\nmodel: m\ndecode.context: 8192\n");
    cr_assert_str_eq(config_text(a), config_text(b));
    Config config;
    config_point(a, PHASE_DECODE, 0, &config);
    cr_assert_eq(config.decode.context, 8192);
    cr_assert_eq(config.decode.path, PATH_EXPANDED);
    config_free(a);
    config_free(b);
}

Test(config, values_of_every_type_reach_their_members) {
    ConfigFile *file = parsed("title: \"A: b\"\nmodel: m\nseed: 12\nisa: portable\n"
                              "phases: [decode, error]\ncontenders: mla-512+64\n"
                              "cache: {type: f16, block_tokens: 16}\nbytes.tokens: 2k\n"
                              "decode: {temperature: warm}\nerror: {contenders: gqa-2, shrink: 4}\n"
                              "sequences: {sink_mass: 0.5, topic_dim: 8}\n"
                              "measure: {min_seconds: 0.25}\nlimits: {memory: 2.5GiB}\n");
    Config c;
    config_point(file, PHASE_DECODE, 0, &c);
    cr_assert_str_eq(c.title, "A: b");
    cr_assert_eq(c.seed, 12);
    cr_assert_eq(c.sequences.seed, 12);
    cr_assert_str_eq(c.isa, "portable");
    cr_assert_eq(c.phases, 1u << PHASE_DECODE | 1u << PHASE_ERROR);
    cr_assert_str_eq(c.contender, "mla-512+64");
    cr_assert_eq(c.cache.type.k, ROW_F16);
    cr_assert_eq(c.cache.type.v, ROW_F16);
    cr_assert_eq(c.cache.block_tokens, 16);
    cr_assert_eq(c.bytes.tokens, 2048);
    cr_assert_not(c.decode.cold);
    cr_assert_str_eq(c.error.contender, "gqa-2");
    cr_assert_eq(c.error.shrink, 4);
    cr_assert_eq(c.sequences.sink_mass, 0.5);
    cr_assert_eq(c.sequences.topic_dim, 8);
    cr_assert_eq(c.measure.min_seconds, 0.25);
    cr_assert_eq(c.measure.min_samples, 10);
    cr_assert_eq(c.limits.memory_bytes, 2684354560);
    config_free(file);
}

Test(config, the_resolved_text_resolves_to_itself) {
    static const char *const texts[] = {
        "model: m\n",
        "model: \"a \\\"b\\\" \\\\ # c: [d]\"\ntitle: \"- x\"\n",
        "model: \"\\u00e9\\u4e2d\"\ntitle: ' two  spaces '\n",
        "model: m\nphases: [error, bytes]\ndecode.context: [4k, 1k]\nerror.contenders: [mqa, "
        "gqa-2]\n",
        "model: m\nsequences: {sink_mass: 0.1, zipf_offset: 0.30000000000000004, "
        "embedding_noise: -0.0}\nlimits.memory: 80GB\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ConfigFile *file = parsed(texts[i]);
        ConfigFile *again = parsed(config_text(file));
        cr_assert_str_eq(config_text(again), config_text(file));
        config_free(again);
        config_free(file);
    }
}

Test(config, resolved_values_are_plain) {
    ConfigFile *file = parsed("model: m\ndecode.context: [1k, 4k]\nlimits.memory: 6GiB\n"
                              "measure.min_seconds: 1e-1\nsequences.embedding_noise: -0.0\n");
    static const char *const lines[] = { "decode.context: [1024, 4096]\n",
                                         "limits.memory: 6442450944\n",
                                         "measure.min_seconds: 0.1\n",
                                         "sequences.embedding_noise: 0\n", "device: \"\"\n" };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        cr_assert_not_null(strstr(config_text(file), lines[i]), "%s", lines[i]);
    config_free(file);
}

Test(config, each_key_knows_where_its_value_is_from) {
    const Studies s = studies_new();
    studies_write(&s, "base.yaml", "model: m\nseed: 3\n");
    studies_write(&s, "s.yaml", "base: base.yaml\ndecode:\n  context: [1k,\n    4k]\n");
    ConfigFile *file = NULL;
    Error err = { 0 };
    cr_assert_eq(studies_read(&s, "s.yaml", (const char *[]){ "threads=2", NULL }, &file, &err), OK,
                 "%s", err.text);
    size_t seen = 0;
    for (size_t i = 0; i < config_keys(file); i++) {
        const char *key, *value, *source;
        config_key(file, i, &key, &value, &source);
        const char *name = strrchr(source, '/') ? strrchr(source, '/') + 1 : source;
        const char *const expected[][3] = { { "seed", "3", "base.yaml:2:7" },
                                            { "decode.context", "[1024, 4096]", "s.yaml:3:12" },
                                            { "threads", "2", "--set" },
                                            { "isa", "auto", "default" } };
        for (size_t j = 0; j < 4; j++)
            if (strcmp(key, expected[j][0]) == 0) {
                cr_assert_str_eq(value, expected[j][1]);
                cr_assert_str_eq(name, expected[j][2]);
                seen++;
            }
    }
    cr_assert_eq(seen, 4);
    config_free(file);
    studies_remove(&s);
}

/* ---- points ---- */

Test(config, a_phase_that_is_not_listed_has_no_points) {
    ConfigFile *file = parsed("model: m\nphases: [decode]\nprefill.tokens: [128, 256]\n");
    cr_assert_eq(config_points(file, PHASE_DECODE), 1);
    cr_assert_eq(config_points(file, PHASE_BYTES), 0);
    cr_assert_eq(config_points(file, PHASE_PREFILL), 0);
    cr_assert_eq(config_points(file, PHASE_PROJECTIONS), 0);
    cr_assert_eq(config_points(file, PHASE_ERROR), 0);
    config_free(file);
}

Test(config, a_list_multiplies_only_the_phases_it_matters_to) {
    ConfigFile *file = parsed("model: m\nphases: [bytes, decode, prefill, projections, error]\n"
                              "contenders: [mha, mqa]\ncache.type: [f32, bf16, f16]\n"
                              "decode.context: [1k, 2k, 4k, 8k, 16k]\n"
                              "prefill.tokens: [1, 2, 3, 4, 5, 6, 7]\n"
                              "error.contenders: [gqa-1, gqa-2, gqa-3, gqa-4, gqa-5, gqa-6, gqa-7, "
                              "gqa-8, gqa-9, gqa-10, gqa-11]\n");
    cr_assert_eq(config_points(file, PHASE_BYTES), 2 * 3);
    cr_assert_eq(config_points(file, PHASE_DECODE), 2 * 3 * 5);
    cr_assert_eq(config_points(file, PHASE_PREFILL), 2 * 3 * 7);
    cr_assert_eq(config_points(file, PHASE_PROJECTIONS), 2);
    cr_assert_eq(config_points(file, PHASE_ERROR), 11);
    config_free(file);
}

Test(config, points_come_as_from_loops_nested_in_the_order_of_the_schema) {
    ConfigFile *file = parsed("model: m\nphases: decode\ndecode.query_tokens: [1, 2]\n"
                              "decode.context: [10, 20, 30]\ncontenders: [mha, mqa]\n"
                              "prefill.tokens: [128, 256]\n");
    size_t index = 0;
    cr_assert_eq(config_points(file, PHASE_DECODE), 12);
    for (int contender = 0; contender < 2; contender++)
        for (uint32_t context = 10; context <= 30; context += 10)
            for (uint32_t query = 1; query <= 2; query++, index++) {
                Config config;
                config_point(file, PHASE_DECODE, index, &config);
                cr_assert_str_eq(config.contender, contender ? "mqa" : "mha");
                cr_assert_eq(config.decode.context, context);
                cr_assert_eq(config.decode.query_tokens, query);
                cr_assert_eq(config.prefill.tokens, 128);
            }
    config_free(file);
}

/* ---- layers ---- */

Test(config, an_override_is_worth_a_line_of_the_file) {
    static const char *const cases[][2] = {
        { "decode.context=[1k, 4k]", "decode.context: [1k, 4k]" },
        { "title=Ratios: 16x # not a comment", "title: 'Ratios: 16x # not a comment'" },
        { "title=\"quoted\"", "title: quoted" },
        { "device=", "device: ''" },
        { "contenders=mla-512+64", "contenders: mla-512+64" },
        { "phases=[bytes, error]", "phases: [bytes, error]" },
    };
    const Studies s = studies_new();
    studies_write(&s, "s.yaml", "model: m\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        snprintf(text, sizeof text, "model: m\n%s\n", cases[i][1]);
        studies_write(&s, "line.yaml", text);
        ConfigFile *set = NULL, *line = NULL;
        Error err = { 0 };
        cr_assert_eq(studies_read(&s, "s.yaml", (const char *[]){ cases[i][0], NULL }, &set, &err),
                     OK, "%s", err.text);
        cr_assert_eq(studies_read(&s, "line.yaml", NULL, &line, &err), OK, "%s", err.text);
        cr_assert_str_eq(config_text(set), config_text(line));
        config_free(set);
        config_free(line);
    }
    studies_remove(&s);
}

Test(config, a_study_lies_over_the_one_it_is_based_on_and_overrides_over_both) {
    const Studies s = studies_new();
    studies_write(&s, "a.yaml", "model: a\nseed: 1\nthreads: 1\nisa: ref\n");
    studies_write(&s, "b.yaml", "seed: 2\nbase: a.yaml\nthreads: 2\n");
    ConfigFile *file = NULL;
    Error err = { 0 };
    Config config;
    cr_assert_eq(studies_read(&s, "b.yaml", (const char *[]){ "threads=3", NULL }, &file, &err), OK,
                 "%s", err.text);
    config_point(file, PHASE_BYTES, 0, &config);
    cr_assert_str_eq(config.model, "a");
    cr_assert_str_eq(config.isa, "ref");
    cr_assert_eq(config.seed, 2);
    cr_assert_eq(config.threads, 3);
    config_free(file);
    studies_remove(&s);
}
