/* test_models.c -- what a model's name may be, and where the models that ship are found. */
#include "models.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Model model_of(const char *name) {
    Model model = { 0 };
    Error err = { 0 };
    cr_assert_eq(model_read(&model, name, &err), OK, "%s", err.text);
    return model;
}

Test(models, a_wrong_name_brings_the_nearest_right_one) {
    static const char *const rows[][2] = { { "deepseek-v3", "did you mean DeepSeek-V3?" },
                                           { "Llama2-7b-hf", "did you mean Llama-2-7b-hf?" },
                                           { "", "no such model" },
                                           { "../models/DeepSeek-V3x", "no such model" },
                                           { "/nowhere/config.json", "no such model" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Model model;
        Error err = { 0 };
        cr_assert_eq(model_read(&model, rows[i][0], &err), ERR_INPUT, "%s", rows[i][0]);
        cr_assert(strstr(err.text, rows[i][1]), "%s: %s", rows[i][0], err.text);
    }
}

Test(models, a_file_or_its_folder_stands_for_a_model) {
    static const char *const ways[] = { "/models/reduced/phi", "/models/reduced/phi/",
                                        "/models/reduced/phi/config.json" };
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s%s", KVLAB_TESTS, ways[i]);
        const Model model = model_of(path);
        cr_assert_eq(model.hidden, 2560);
        cr_assert_str_eq(model.name, "phi");
    }
}

Test(models, the_environment_may_name_another_folder_of_configs) {
    char folder[] = "/tmp/kvlab-models-XXXXXX", path[256];
    cr_assert_not_null(mkdtemp(folder));
    const char *const parts[] = { "/models", "/models/Mine" };
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s%s", folder, parts[i]);
        cr_assert_eq(mkdir(path, 0700), 0);
    }
    snprintf(path, sizeof path, "%s/models/Mine/config.json", folder);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("{\"n_layer\": 5, \"n_embd\": 64, \"n_head\": 2}", file);
    fclose(file);
    setenv("KVLAB_CONFIGS", folder, 1);
    static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];
    cr_assert_eq(models_names(names), 1);
    cr_assert_str_eq(names[0], "Mine");
    cr_assert_eq(model_of("Mine").layers, 5);
    unlink(path);
    for (size_t i = 2; i-- > 0;) {
        snprintf(path, sizeof path, "%s%s", folder, parts[i]);
        rmdir(path);
    }
    rmdir(folder);
}
