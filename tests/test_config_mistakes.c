/* test_config_mistakes.c -- every way for a study to be wrong, with the line it gives. */
#include "studies.h"

typedef struct {
    const char *text, *message;
} Wrong;

static void expect_refused(const char *text, size_t length, const char *message) {
    ConfigFile *file = NULL;
    Error err = { 0 };
    cr_assert_eq(config_parse(&file, "s.yaml", text, length, &err), ERR_INPUT, "%s", message);
    cr_assert_str_eq(err.text, message);
    cr_assert_null(file);
}

static const Wrong wrong_studies[] = {
    { "", "s.yaml: model: must be given; The model: a name under configs/models, a Hugging "
          "Face config.json, or a folder that holds one." },
    { "# nothing\n", "s.yaml: model: must be given; The model: a name under configs/models, a "
                     "Hugging Face config.json, or a folder that holds one." },
    { "- a\n", "s.yaml:1:1: a study is a mapping of keys to values" },
    { "just text\n", "s.yaml:1:1: a study is a mapping of keys to values" },
    { "model: m\nsede: 3\n", "s.yaml:2:1: sede: no such key; did you mean seed?" },
    { "model: m\ndecode:\n  contxt: 3\n",
      "s.yaml:3:3: decode.contxt: no such key; did you mean decode.context?" },
    { "context: 4k\n", "s.yaml:1:1: context: no such key; did you mean decode.context?" },
    { "decod: {context: 1}\n", "s.yaml:1:1: decod: no such key; did you mean decode?" },
    { "xyzzyxyzzy: 1\n", "s.yaml:1:1: xyzzyxyzzy: no such key; kvlab describe lists them" },
    { "decode: 5\n",
      "s.yaml:1:9: decode: a section, not a key; its keys go below it, as decode.context" },
    { "seed: 1\nseed: 2\n", "s.yaml:2:1: seed: given twice; first in line 1" },
    { "decode: {context: 1}\ndecode.context: 2\n",
      "s.yaml:2:17: decode.context: given twice; first at s.yaml:1:19" },
    { "decode: {context: 1}\ndecode: {path: absorbed}\n",
      "s.yaml:2:1: decode: given twice; first in line 1" },
    { "seed: [1, 2]\n", "s.yaml:1:7: seed: a list; one value is allowed here" },
    { "seed: {a: 1}\n", "s.yaml:1:7: seed: a mapping where a value is expected" },
    { "decode.context: [1, [2]]\n",
      "s.yaml:1:21: decode.context: a list where a value is expected" },
    { "decode.context: []\n", "s.yaml:1:17: decode.context: the list is empty" },
    { "decode.context: [1k, 2, 1024]\n", "s.yaml:1:25: decode.context: 1024: twice in one list" },
    { "phases: [bytes, bytes]\n", "s.yaml:1:17: phases: bytes: twice in one list" },
    { "decode.context: 0\n", "s.yaml:1:17: decode.context: 0: must be a whole number from 1 to "
                             "16M tokens" },
    { "decode.context: [1k, 17M]\n", "s.yaml:1:22: decode.context: 17M: must be a whole number "
                                     "from 1 to 16M tokens" },
    { "decode.context: 1.5\n", "s.yaml:1:17: decode.context: 1.5: must be a whole number from "
                               "1 to 16M tokens" },
    { "decode.context: -1\n", "s.yaml:1:17: decode.context: -1: must be a whole number from 1 "
                              "to 16M tokens" },
    { "decode.context:\n", "s.yaml:1:16: decode.context: empty: must be a whole number from 1 "
                           "to 16M tokens" },
    { "measure.min_seconds: nan\n",
      "s.yaml:1:22: measure.min_seconds: nan: must be a number from 0 to 3600 s" },
    { "measure.min_seconds: .inf\n",
      "s.yaml:1:22: measure.min_seconds: .inf: must be a number from 0 to 3600 s" },
    { "measure.min_seconds: 1e400\n",
      "s.yaml:1:22: measure.min_seconds: 1e400: must be a number from 0 to 3600 s" },
    { "limits.memory: lots\n", "s.yaml:1:16: limits.memory: lots: must be a size such as 6GiB "
                               "from 0 to 1024TiB" },
    { "decode.path: absorbd\n",
      "s.yaml:1:14: decode.path: absorbd: must be one of materialised, expanded, absorbed; did "
      "you mean absorbed?" },
    { "isa: avx22\n", "s.yaml:1:6: isa: avx22: must be one of auto, ref, portable, avx2, "
                      "avx512, avx512bf16, avx512vnni, neon; did you mean avx2?" },
    { "phases: [bites]\n", "s.yaml:1:10: phases: bites: must be some of bytes, decode, "
                           "prefill, projections, error, plan; did you mean bytes?" },
    { "model: ''\n", "s.yaml:1:8: model: empty: must be one line of 1 to 511 bytes" },
    { "title: \"a\\nb\"\n", "s.yaml:1:8: title: a?b: must be one line of 1 to 159 bytes" },
    { "contenders: gqa\n", "s.yaml:1:13: contenders: gqa: must be CONVERSION[*CODEC][@EVICTION], "
                           "the first being model, mha, mqa, gqa-G, mla-C+R or lowrank-KIND-N (as "
                           "gqa-8, mla-512+64*int4, lowrank-joint-512, mha@h2o-1/16)" },
    { "model: m\nsequences: {vocabulary: 8, clusters: 9}\n",
      "s.yaml:2:38: sequences.clusters: 9: sequences.clusters must be at most "
      "sequences.vocabulary" },
    { "model: m\nsequences: {clusters: 9, vocabulary: 8}\n",
      "s.yaml:2:38: sequences.vocabulary: 8: sequences.clusters must be at most "
      "sequences.vocabulary" },
    { "model: m\ndecode: {context: [1, 16M], sequences: [1, 65]}\n",
      "s.yaml:2:40: decode.sequences: 65: decode.context times decode.sequences must be at "
      "most 1G tokens" },
    { "base: other.yaml\n", "s.yaml:1:7: base: only a study file may have one" },
    { "a: b: c\n", "s.yaml:1:5: not valid YAML: mapping values are not allowed in this "
                   "context" },
    { "decode: {context: 1\n", "s.yaml:2:1: not valid YAML: while parsing a flow mapping, did "
                               "not find expected ',' or '}'" },
    { "seed: &a 1\nthreads: *a\n", "s.yaml:2:10: an alias (*name); write the value out instead" },
    { "decode: &a {context: *a}\n", "s.yaml:1:22: an alias (*name); write the value out instead" },
    { "seed: !!int 1\n", "s.yaml:1:7: a tag (!name); tags have no use here" },
    { "[a]: 1\n", "s.yaml:1:1: a list or mapping as a key; a key is a word" },
    { "model: m\n---\nmodel: n\n", "s.yaml:2:1: a second document; a file holds one" },
    { "title: \"a\\0b\"\n", "s.yaml:1:8: a NUL character" },
    { "model: m\ntitle: \xff\n", "s.yaml:2:8: not UTF-8 text: invalid leading UTF-8 octet" },
};

Test(config_mistakes, every_mistake_in_a_study_is_one_line_with_its_place) {
    for (size_t i = 0; i < sizeof wrong_studies / sizeof *wrong_studies; i++)
        expect_refused(wrong_studies[i].text, strlen(wrong_studies[i].text),
                       wrong_studies[i].message);
}

Test(config_mistakes, contenders_have_one_spelling) {
    static const char *const wrong[] = {
        "MHA",         "gqa-",     "gqa-0",     "gqa-08",          "gqa-8x", "mla",
        "mla-512",     "mla-512+", "mla-+64",   "mla-512-64",      "gqa--1", "mla-512+064",
        "gqa-1000000", "mha ",     "lowrank-8", "lowrank-joint-08"
    };
    static const char *const right[] = { "model",
                                         "mha",
                                         "mqa",
                                         "gqa-1",
                                         "gqa-128",
                                         "mla-1+2",
                                         "mla-1+2-real*int4-g32@h2o-1/16",
                                         "lowrank-aware-3+4",
                                         "gqa-2-aligned",
                                         "mha*kivi-2" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[96];
        ConfigFile *file = NULL;
        Error err = { 0 };
        snprintf(text, sizeof text, "model: m\ncontenders: '%s'\n", wrong[i]);
        cr_assert_eq(config_parse(&file, "s.yaml", text, strlen(text), &err), ERR_INPUT, "%s",
                     wrong[i]);
    }
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        char text[96];
        snprintf(text, sizeof text, "model: m\ncontenders: '%s'\n", right[i]);
        config_free(parsed(text));
    }
}

/* A study of `head` and then `text` so many times. */
static void expect_repeated_refused(const char *head, const char *text, size_t times,
                                    const char *message) {
    const size_t start = strlen(head), length = strlen(text);
    char *all = malloc(start + times * length);
    cr_assert_not_null(all);
    memcpy(all, head, start);
    for (size_t i = 0; i < times; i++) memcpy(all + start + i * length, text, length);
    expect_refused(all, start + times * length, message);
    free(all);
}

Test(config_mistakes, hostile_text_is_refused_in_a_moment, .timeout = 20) {
    expect_repeated_refused("", "[", 100000, "s.yaml:1:33: nested more than 32 deep");
    expect_repeated_refused("", "- ", 100000, "s.yaml:1:65: nested more than 32 deep");
    expect_repeated_refused("model: [", "a,", 60000, "s.yaml:1:100005: more than 50000 values");
    expect_repeated_refused("", "#", 1 << 21, "s.yaml: larger than 1048576 bytes");
    expect_repeated_refused("title: ", "x", 200,
                            "s.yaml:1:8: title: "
                            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...: "
                            "must be one line of 1 to 159 bytes");
    expect_repeated_refused("title: ", "\xc3\xa9", 200,
                            "s.yaml:1:8: title: "
                            "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                            "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                            "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                            "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9...: "
                            "must be one line of 1 to 159 bytes");
}

/* "head[0, 1, ... count-1]", from `first` on. */
static size_t write_numbers(char *text, size_t size, const char *head, size_t first, size_t count) {
    size_t at = (size_t)snprintf(text, size, "%s[", head);
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%zu", i ? ", " : "", first + i);
    return at + (size_t)snprintf(text + at, size - at, "]\n");
}

Test(config_mistakes, a_list_is_bounded) {
    char text[4096];
    const size_t length = write_numbers(text, sizeof text, "decode.context: ", 1, 257);
    expect_refused(text, length,
                   "s.yaml:1:17: decode.context: a list of 257 values; at most 256 are allowed");
}

Test(config_mistakes, a_mapping_is_bounded) {
    char text[16384] = "";
    size_t at = 0;
    for (int i = 0; i < 1001; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "k%d: 1\n", i);
    expect_refused(text, at, "s.yaml:1001:1: more than 1000 keys");
}

Test(config_mistakes, the_number_of_points_is_bounded_for_phases_that_run) {
    static const char *const phases[] = { "model: m\n", "model: m\nphases: decode\n" };
    for (size_t i = 0; i < 2; i++) {
        char text[8192];
        size_t at = (size_t)snprintf(text, sizeof text, "%s", phases[i]);
        at += write_numbers(text + at, sizeof text - at, "decode.context: ", 1, 101);
        at += write_numbers(text + at, sizeof text - at, "decode.sequences: ", 1, 100);
        at += write_numbers(text + at, sizeof text - at, "decode.query_tokens: ", 1, 100);
        ConfigFile *file = NULL;
        Error err = { 0 };
        const Status status = config_parse(&file, "s.yaml", text, at, &err);
        if (i == 0) {
            cr_assert_eq(status, OK, "%s", err.text);
            config_free(file);
        } else {
            cr_assert_eq(status, ERR_INPUT);
            cr_assert_str_eq(err.text, "s.yaml:5:22: decode.query_tokens: the lists span more than "
                                       "1000000 points of the decode phase");
        }
    }
}

Test(config_mistakes, every_mistake_in_an_override_is_one_line) {
    static const struct {
        const char *overrides[3], *message;
    } cases[] = {
        { { "decode.context" }, "--set decode.context: must be key=value" },
        { { "=3" }, "--set =3: must be key=value" },
        { { "sede=3" }, "--set sede=3: sede: no such key; did you mean seed?" },
        { { "seed=-3" },
          "--set seed=-3: seed: -3: must be a whole number from 0 to "
          "9007199254740992" },
        { { "seed=[1, 2]" }, "--set seed=[1, 2]: seed: a list; one value is allowed here" },
        { { "seed=1", "seed=2" }, "--set seed=2: seed: given twice; first at --set seed=1" },
        { { "base=a.yaml" }, "--set base=a.yaml: base is for study files" },
        { { "decode=5" },
          "--set decode=5: decode: a section, not a key; its keys go below it, as "
          "decode.context" },
        { { "decode.context=[1, " },
          "--set decode.context=[1, :2:1: not valid YAML: while parsing "
          "a flow node, did not find expected node content" },
        { { "title=a\nb" }, "--set title=a?b: must be one line" },
        { { "title=\xff" }, "--set title=\xff:1:2: not UTF-8 text: invalid leading UTF-8 octet" },
        { { "sequences.clusters=5000" },
          "--set sequences.clusters=5000: sequences.clusters: 5000: sequences.clusters must be at "
          "most sequences.vocabulary" },
    };
    const Studies s = studies_new();
    studies_write(&s, "s.yaml", "model: m\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ConfigFile *file = NULL;
        Error err = { 0 };
        cr_assert_eq(studies_read(&s, "s.yaml", cases[i].overrides, &file, &err), ERR_INPUT, "%s",
                     cases[i].message);
        cr_assert_str_eq(err.text, cases[i].message);
        cr_assert_null(file);
    }
    studies_remove(&s);
}

Test(config_mistakes, every_mistake_in_a_base_is_one_line) {
    static const Wrong cases[] = {
        { "base: none.yaml\n", "s.yaml:1:7: base: none.yaml: no such study" },
        { "base: s.yaml\n", "s.yaml:1:7: base: s.yaml: is based on itself" },
        { "base: ./back.yaml\n", "./back.yaml:1:7: base: ./s.yaml: is based on itself" },
        { "base: [s.yaml]\n", "s.yaml:1:7: base: must be the path of one study" },
        { "base: ''\n", "s.yaml:1:7: base: must be the path of one study" },
        { "base: wrong.yaml\n", "wrong.yaml:2:7: seed: x: must be a whole number from 0 to "
                                "9007199254740992" },
        { "base: .\n", ".: cannot read: Is a directory" },
    };
    const Studies s = studies_new();
    studies_write(&s, "back.yaml", "base: s.yaml\n");
    studies_write(&s, "wrong.yaml", "model: m\nseed: x\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ConfigFile *file = NULL;
        Error err = { 0 };
        studies_write(&s, "s.yaml", cases[i].text);
        cr_assert_eq(studies_read(&s, "s.yaml", NULL, &file, &err), ERR_INPUT);
        cr_assert_str_eq(err.text, cases[i].message);
    }
    studies_remove(&s);
}

Test(config_mistakes, bases_are_bounded_in_depth) {
    const Studies s = studies_new();
    for (int i = 0; i < 10; i++) {
        char name[32], text[32];
        snprintf(name, sizeof name, "%d.yaml", i);
        snprintf(text, sizeof text, "base: %d.yaml\n", i + 1);
        studies_write(&s, name, i == 9 ? "model: m\n" : text);
    }
    ConfigFile *file = NULL;
    Error err = { 0 };
    cr_assert_eq(studies_read(&s, "1.yaml", NULL, &file, &err), OK, "%s", err.text);
    config_free(file);
    file = NULL;
    cr_assert_eq(studies_read(&s, "0.yaml", NULL, &file, &err), ERR_INPUT);
    cr_assert_str_eq(err.text, "8.yaml:1:7: base: 9.yaml: more than 8 studies deep");
    studies_remove(&s);
}

Test(config_mistakes, a_missing_study_is_wrong_input) {
    ConfigFile *file = NULL;
    Error err = { 0 };
    cr_assert_eq(config_read(&file, "/none/s.yaml", 0, NULL, &err), ERR_INPUT);
    cr_assert_str_eq(err.text, "/none/s.yaml: cannot open: No such file or directory");
}
