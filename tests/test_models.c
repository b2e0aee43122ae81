/* test_models.c -- what a model's name may be, and where the models that ship are found. */
#include "models.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"

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

/* The exit code of the program; what it prints goes to `path`. */
static int run(const char *arguments, const char *path) {
    char line[1024];
    snprintf(line, sizeof line, "%s %s >%s 2>&1", KVLAB_BINARY, arguments, path);
    const int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static long long whole(const Json *object, const char *key) {
    long long value = -1;
    cr_assert(json_whole(json_get(object, key), &value), "%s", key);
    return value;
}

Test(models, the_command_lists_every_model_or_why_not) {
    char path[] = "/tmp/kvlab-models-XXXXXX";
    static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];
    const int file = mkstemp(path);
    cr_assert_geq(file, 0);
    close(file);
    cr_assert_eq(run("models --json", path), 0);
    Json *json = NULL;
    Error err = { 0 };
    cr_assert_eq(json_read(&json, path, &err), OK, "%s", err.text);
    const Json *models = json_get(json, "models"), *refused = json_get(json, "refused");
    cr_assert_eq(json_size(models) + json_size(refused), models_names(names));
    size_t found = 0;
    for (size_t i = 0; i < json_size(models); i++) {
        const Json *row = json_at(models, i);
        if (strcmp(json_text(json_get(row, "model")), "DeepSeek-V3") != 0) continue;
        found++;
        cr_assert_str_eq(json_text(json_get(row, "attention")), "MLA-512+64");
        cr_assert_eq(whole(row, "layers"), 61);
        cr_assert_eq(whole(row, "kv_elements_per_token_layer"), 576);
        cr_assert_eq(whole(row, "kv_bytes_per_token"), 70272);
    }
    cr_assert_eq(found, 1);
    for (size_t i = 0; i < json_size(refused); i++) {
        const char *reason = json_text(json_get(json_at(refused, i), "reason"));
        cr_assert_eq(strncmp(reason, "config.json:", 12), 0, "%s", reason);
    }
    json_free(json);
    cr_assert_eq(run("models", path), 0);
    cr_assert_eq(run("models --jsn", path), 2);
    cr_assert_eq(run("models DeepSeek-V3", path), 2);
    unlink(path);
}
