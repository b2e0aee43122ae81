/* cmd_models.c -- `kvlab models`: what ships under configs/models, what each caches a token, and
 * what is refused and why. Every number is exact. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "architecture.h"
#include "commands.h"
#include "json.h"
#include "models.h"
#include "options.h"

typedef struct {
    Architecture model;
    Status status;
    Error err;
} Row;

/* What a long text adds to the cache with each token. */
typedef struct {
    double elements, index_elements; /* in all layers */
    double layer_elements;           /* in one layer of the kind that grows, 0 when none does */
    double mha_elements;             /* 2 H V in every layer that keeps anything */
} Growth;

static Growth growth(const Architecture *a) {
    Growth g = { 0 };
    size_t heads_width = 0, keeping = 0;
    for (size_t k = 0; k < a->kind_count; k++) {
        const CacheKind *kind = &a->kind[k];
        const double elements = cache_kind_growth(kind), layers = (double)kind->layers;
        keeping += kind->layers;
        if (elements > 0 && g.layer_elements <= 0) g.layer_elements = elements;
        g.elements += layers * elements;
        if (elements > 0)
            g.index_elements += layers * (double)kind->index_dim / (double)kind->row_tokens;
        if (kind->keeps == KEEPS_LATENT) heads_width = kind->heads * kind->mla_value_dim;
        if (kind->keeps == KEEPS_HEADS) heads_width = kind->heads * kind->value_dim;
        if (kind->keeps == KEEPS_ROW) heads_width = kind->heads * kind->key_dim;
    }
    g.mha_elements = 2 * (double)heads_width * (double)keeping;
    return g;
}

static double ratio_to_mha(const Growth *g) {
    return g->elements > 0 ? g->mha_elements / g->elements : 0;
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
    int width = 0;
    size_t refused = 0;
    for (size_t i = 0; i < count; i++) {
        const int length = (int)strlen(rows[i].model.attention);
        if (rows[i].status == OK && length > width) width = length;
    }
    printf("%-32s %-*s %6s %12s %11s %9s %8s %9s\n", "model", width, "attention", "layers",
           "el/tok/layer", "bf16 B/tok", "index el", "vs MHA", "weights");
    for (size_t i = 0; i < count; i++) {
        const Architecture *m = &rows[i].model;
        if (rows[i].status != OK) {
            refused++;
            continue;
        }
        const Growth g = growth(m);
        printf("%-32s %-*s %6zu %12.10g %11.10g %9.10g", m->name, width, m->attention, m->layers,
               g.layer_elements, 2 * g.elements, g.index_elements);
        if (g.elements > 0)
            printf(" %7.1fx", ratio_to_mha(&g));
        else
            printf(" %8s", "-");
        printf(" %7.4gB\n", m->parameters.total / 1e9);
    }
    if (refused) printf("\nrefused:\n");
    for (size_t i = 0; i < count; i++)
        if (rows[i].status != OK) printf("  %-30s %s\n", rows[i].model.name, reason(&rows[i]));
    printf(
        "\nAll exact. What one more token of a long text adds: windows are full by then, states "
        "and images\nstay as they are. el/tok/layer: in a layer that grows; B/tok: in all layers, "
        "index keys apart;\nvs MHA: to 2 H V elements in every layer that keeps anything; weights: "
        "billions of "
        "parameters,\ndraft layers included.\n");
}

static void put_count(Json *entry, const char *key, double value) {
    if (value == floor(value))
        json_put_whole(entry, key, (long long)value);
    else
        json_put_number(entry, key, value);
}

static void put_model(Json *entry, const Architecture *m) {
    const Growth g = growth(m);
    json_put_string(entry, "attention", m->attention);
    json_put_whole(entry, "layers", (long long)m->layers);
    json_put_whole(entry, "draft_layers", (long long)m->draft_layers);
    json_put_whole(entry, "hidden", (long long)m->hidden);
    json_put_whole(entry, "heads", (long long)m->heads);
    put_count(entry, "kv_elements_per_token_layer", g.layer_elements);
    json_put_string(entry, "kv_dtype", "bf16");
    put_count(entry, "kv_bytes_per_token", 2 * g.elements);
    put_count(entry, "index_elements_per_token", g.index_elements);
    json_put_number(entry, "ratio_to_mha", ratio_to_mha(&g));
    put_count(entry, "parameters", m->parameters.total);
    put_count(entry, "active_parameters", m->parameters.active);
    put_count(entry, "draft_parameters", m->parameters.part[PART_DRAFT]);
    json_put_string(entry, "weight_format", m->weight_format);
    json_put_number(entry, "weight_bytes", architecture_weight_bytes(m));
}

static Status print_json(const Row *rows, size_t count, Error *err) {
    Json *document = json_new_object(), *models = json_new_array(), *refused = json_new_array();
    for (size_t i = 0; i < count; i++) {
        Json *entry = json_new_object();
        json_put_string(entry, "model", rows[i].model.name);
        if (rows[i].status == OK)
            put_model(entry, &rows[i].model);
        else
            json_put_string(entry, "reason", reason(&rows[i]));
        json_append(rows[i].status == OK ? models : refused, entry);
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
        rows[i].status = architecture_read(&rows[i].model, names[i], &rows[i].err);
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
