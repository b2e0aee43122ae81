/* cmd_models.c -- `kvlab models`: what ships under configs/models, what each caches a token, and
 * what is refused and why. Every number is exact. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "models.h"
#include "options.h"

typedef struct {
    Model model;
    Status status;
    Error err;
} Row;

/* MLA caches its latent here; materialised, it would be H (P + R + V) elements. */
static const Path LATENT = PATH_ABSORBED;

static double ratio_to_mha(const Model *model) {
    return (double)model_mha_elements(model) / (double)model_cache_elements(model, LATENT);
}

/* Why a model is refused, without the folder that all of them lie in. */
static const char *reason(const Row *row) {
    char folder[4096];
    const int length =
        snprintf(folder, sizeof folder, "%s/models/%s/", configs_folder(), row->model.name);
    const bool starts = strncmp(row->err.text, folder, (size_t)length) == 0;
    return row->err.text + (starts ? length : 0);
}

static void print_rows(const Row *rows, size_t count) {
    printf("%-32s %-12s %6s %6s %8s %12s %12s %8s\n", "model", "attention", "layers", "heads",
           "kv heads", "el/tok/layer", "bf16 B/tok", "vs MHA");
    size_t refused = 0;
    for (size_t i = 0; i < count; i++) {
        const Model *m = &rows[i].model;
        if (rows[i].status != OK) {
            refused++;
            continue;
        }
        char label[32];
        model_label(m, label, sizeof label);
        printf("%-32s %-12s %6zu %6zu %8zu %12zu %12zu %7.1fx\n", m->name, label, m->layers,
               m->heads, m->kv_heads, model_cache_elements(m, LATENT),
               model_cache_bytes_per_token(m, LATENT, ROW_BF16), ratio_to_mha(m));
    }
    if (refused) printf("\nnot computed:\n");
    for (size_t i = 0; i < count; i++)
        if (rows[i].status != OK) printf("  %-30s %s\n", rows[i].model.name, reason(&rows[i]));
    printf("\nel/tok/layer, B/tok: exact. MLA: of the latent and the rotary key; vs MHA: 2 H V "
           "elements.\n");
}

static Status print_json(const Row *rows, size_t count, Error *err) {
    Json *document = json_new_object(), *models = json_new_array(), *refused = json_new_array();
    for (size_t i = 0; i < count; i++) {
        const Model *m = &rows[i].model;
        Json *entry = json_new_object();
        json_put_string(entry, "model", m->name);
        if (rows[i].status != OK) {
            json_put_string(entry, "reason", reason(&rows[i]));
            json_append(refused, entry);
            continue;
        }
        json_put_string(entry, "attention", attention_kind_name(m->kind));
        json_put_whole(entry, "layers", (long long)m->layers);
        json_put_whole(entry, "hidden", (long long)m->hidden);
        json_put_whole(entry, "heads", (long long)m->heads);
        json_put_whole(entry, "kv_heads", (long long)m->kv_heads);
        json_put_whole(entry, "kv_elements_per_token_layer",
                       (long long)model_cache_elements(m, LATENT));
        json_put_string(entry, "kv_dtype", row_type_name(ROW_BF16));
        json_put_whole(entry, "kv_bytes_per_token",
                       (long long)model_cache_bytes_per_token(m, LATENT, ROW_BF16));
        json_put_number(entry, "ratio_to_mha", ratio_to_mha(m));
        json_append(models, entry);
    }
    json_put(document, "models", models);
    json_put(document, "refused", refused);
    const Status status = json_print(document, err);
    json_free(document);
    return status;
}

Status cmd_models(int argc, char **argv, Error *err) {
    static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];
    static Row rows[CONFIGS_NAMES_MOST];
    bool json = false, helped = false;
    const Option options[] = { { .name = "json", .help = "one JSON object", .flag = &json } };
    const Command command = { .usage = "models [--json]",
                              .summary = "Lists the models that ship with kvlab and what each "
                                         "caches a token.",
                              .options = options,
                              .option_count = sizeof options / sizeof *options };
    TRY(options_parse(&command, argc, argv, NULL, &helped, err));
    if (helped) return OK;
    const size_t count = models_names(names);
    if (!count)
        return fail(err, ERR_INPUT, "%s/models: no folder there holds a config.json",
                    configs_folder());
    for (size_t i = 0; i < count; i++) {
        rows[i].status = model_read(&rows[i].model, names[i], &rows[i].err);
        if (rows[i].status == ERR_MACHINE) {
            *err = rows[i].err;
            return ERR_MACHINE;
        }
        snprintf(rows[i].model.name, sizeof rows[i].model.name, "%s", names[i]);
    }
    if (json) return print_json(rows, count, err);
    print_rows(rows, count);
    return OK;
}
