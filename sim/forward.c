/* forward.c -- feeds a layer from a file and judges what comes out; see forward.h.
 *
 * The first run makes the output; the same run is then repeated for its times: the cache forgets
 * all (or all but the prefill) and the same tokens come again. */
#include "forward.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "layer.h"
#include "metrics.h"
#include "textfile.h"

/* Cached tokens that `expanded` rebuilds at a time: keys and values of a chunk of the small layers
 * stay in the second cache, those of the large ones in the last. */
enum { EXPAND_TOKENS = 64 };

/* Longer runs are sampled less often: sampling ends about here. */
static const double SAMPLING_NS = 5e9;

typedef struct {
    const LayerFile *file;
    const ForwardParams *params;
    Kernels kernels;
    LayerWeights weights;
    Layer *layer;
    Cache *cache;
    float *x, *y;           /* [B, T, D] */
    float *x_call, *y_call; /* [B, tokens of a call, D] */
    size_t *sequence, *tokens;
    Status status; /* of the calls that are timed */
    Error *err;
} Run;

/* ---- room ---- */

static double product(double a, double b, double c) {
    return a * b * c;
}

/* The bytes a run needs at most, in double: no product of sizes from a file can overflow it. */
static double needed_bytes(const LayerFile *file, const ForwardParams *params) {
    const Model *m = &file->model;
    const double sequences = (double)file->sequences, tokens = (double)file->tokens;
    const double call = sequences * (double)(file->prefill_tokens ? file->prefill_tokens : 1);
    const double row = (double)m->hidden * sizeof(float);
    const double heads = (double)m->heads * (double)(m->key_dim + m->value_dim) * sizeof(float);
    const double block = (double)params->cache.block_tokens;
    const double cached =
        (double)model_cache_bytes_per_token_layer(m, params->path, params->cache.type);
    return (double)weights_bytes(m) + product(sequences, tokens, 4 * row) +
           call * (2 * row + heads) + product(sequences, tokens + block, cached) +
           (double)EXPAND_TOKENS * heads;
}

static Status check_type(const LayerFile *file, const ForwardParams *params, Error *err) {
    const CacheShape shape = model_cache_shape(&file->model, params->path);
    if (cache_shape_check(&shape, params->cache.type, err) == OK) return OK;
    const Error why = *err;
    return fail(err, ERR_INPUT, "%s: %s", file->path, why.text);
}

static Status check_room(const LayerFile *file, const ForwardParams *params, Error *err) {
    const double needed = needed_bytes(file, params);
    if (needed <= (double)params->memory_bytes) return OK;
    return fail(err, ERR_INPUT, "%s: needs %.2f GiB of memory; %.2f GiB are available", file->path,
                needed / (1 << 30), (double)params->memory_bytes / (1 << 30));
}

static Status alloc_run(Run *run, Error *err) {
    const LayerFile *file = run->file;
    const size_t all = file->hidden_states->elements;
    const size_t call = file->sequences * (file->prefill_tokens ? file->prefill_tokens : 1);
    TRY(BUFFER(&run->x, all, "hidden_states", err));
    TRY(BUFFER(&run->y, all, "output", err));
    TRY(BUFFER(&run->x_call, call * file->model.hidden, "input of a call", err));
    TRY(BUFFER(&run->y_call, call * file->model.hidden, "output of a call", err));
    TRY(BUFFER(&run->sequence, file->sequences, "sequences", err));
    TRY(BUFFER(&run->tokens, file->sequences, "tokens of a call", err));
    TRY(layer_file_values(file, file->hidden_states, run->x, err));
    TRY(layer_file_weights(file, &run->weights, err));

    const LayerParams layer = { .model = &file->model,
                                .weights = &run->weights,
                                .path = run->params->path,
                                .kernels = &run->kernels,
                                .threads = run->params->threads,
                                .expand_tokens = EXPAND_TOKENS };
    TRY(layer_new(&run->layer, &layer, call, file->tokens, err));
    const CacheShape shape = model_cache_shape(&file->model, run->params->path);
    TRY(cache_new(&run->cache, &run->params->cache, &shape, file->sequences, file->tokens, err));
    for (size_t i = 0; i < file->sequences; i++)
        TRY(cache_open(run->cache, &run->sequence[i], err));
    return OK;
}

static void free_run(Run *run) {
    cache_free(run->cache);
    layer_free(run->layer);
    weights_free(&run->weights);
    buffer_free(run->tokens);
    buffer_free(run->sequence);
    buffer_free(run->y_call);
    buffer_free(run->x_call);
    buffer_free(run->y);
    buffer_free(run->x);
}

/* ---- calls ---- */

/* Tokens first .. first+count-1 of every sequence in one call. */
static Status feed(Run *run, size_t first, size_t count) {
    const LayerFile *file = run->file;
    const size_t row = file->model.hidden, length = count * row;
    for (size_t b = 0; b < file->sequences; b++) {
        run->tokens[b] = count;
        memcpy(run->x_call + b * length, run->x + (b * file->tokens + first) * row,
               length * sizeof *run->x);
    }
    const LayerBatch batch = { file->sequences, run->sequence, run->tokens };
    TRY(layer_forward(run->layer, run->cache, &batch, run->x_call, run->y_call, NULL, run->err));
    for (size_t b = 0; b < file->sequences; b++)
        memcpy(run->y + (b * file->tokens + first) * row, run->y_call + b * length,
               length * sizeof *run->y);
    return OK;
}

/* Makes every sequence `tokens` long again. */
static void rewind_to(Run *run, size_t tokens) {
    for (size_t b = 0; b < run->file->sequences; b++)
        cache_truncate(run->cache, &run->kernels, run->sequence[b], tokens);
}

static void run_prefill(void *context, size_t i) {
    (void)i;
    Run *run = context;
    rewind_to(run, 0);
    if (run->status == OK && run->file->prefill_tokens)
        run->status = feed(run, 0, run->file->prefill_tokens);
}

static void run_decode(void *context, size_t i) {
    (void)i;
    Run *run = context;
    rewind_to(run, run->file->prefill_tokens);
    for (size_t t = run->file->prefill_tokens; t < run->file->tokens && run->status == OK; t++)
        run->status = feed(run, t, 1);
}

/* Samples both phases in turns; each finds the cache as the other leaves it. */
static Status sample_times(Run *run, double once_ns, ForwardResult *result, Error *err) {
    MeasureParams params = run->params->measure;
    const double most = SAMPLING_NS / (once_ns + 1);
    if ((double)params.min_samples > most) {
        params.min_samples = most < 1 ? 1 : (size_t)most;
        params.min_seconds = 0;
    }
    const MeasureCase phases[] = { { run_prefill, run }, { run_decode, run } };
    Measurement times[2];
    TRY(measure_cases(&params, 2, phases, times, err));
    result->samples = times[0].samples < times[1].samples ? times[0].samples : times[1].samples;
    result->prefill_ns = times[0].median_ns;
    if (run->file->decode_tokens)
        result->decode_ns_per_token = times[1].median_ns / (double)run->file->decode_tokens;
    measure_free(&times[0]);
    measure_free(&times[1]);
    return run->status;
}

/* ---- judgement ---- */

static Status compare(const LayerFile *file, const Tensor *tensor, const float *values,
                      ForwardError *error, Error *err) {
    if (!tensor) return OK;
    double *exact;
    TRY(BUFFER(&exact, tensor->elements, tensor->name, err));
    const Status status = layer_file_values_f64(file, tensor, exact, err);
    if (status == OK)
        *error =
            (ForwardError){ .compared = true,
                            .rel_error = metrics_relative(tensor->elements, values, exact),
                            .max_abs_error = metrics_max_abs(tensor->elements, values, exact) };
    buffer_free(exact);
    return status;
}

static Status compare_latent(const Run *run, ForwardError *error, Error *err) {
    const LayerFile *file = run->file;
    if (!file->cache_latent || run->params->path == PATH_MATERIALISED) return OK;
    const size_t width = file->model.kv_lora_rank + file->model.rope_dim;
    float *rows;
    TRY(BUFFER(&rows, file->cache_latent->elements, "cached rows", err));
    for (size_t b = 0; b < file->sequences; b++)
        cache_read(run->cache, &run->kernels, run->sequence[b], 0, file->tokens,
                   rows + b * file->tokens * width, NULL);
    const Status status = compare(file, file->cache_latent, rows, error, err);
    buffer_free(rows);
    return status;
}

static void count_bytes(const Run *run, ForwardResult *result) {
    const CacheBytes bytes = cache_bytes(run->cache);
    result->bytes = bytes;
    result->resident_bytes = cache_resident_bytes(run->cache);
    result->cache_bytes = bytes.payload_bytes + bytes.block_waste_bytes + bytes.table_bytes;
    result->payload_bytes_per_token =
        bytes.payload_bytes / (run->file->sequences * run->file->tokens);
}

static Status write_output(const Run *run, Error *err) {
    const Tensor *x = run->file->hidden_states;
    Tensor output = {
        .name = "output", .type = TENSOR_F32, .rank = 3, .elements = x->elements, .data = run->y
    };
    memcpy(output.shape, x->shape, 3 * sizeof *x->shape);
    char type[KV_TYPE_ROOM];
    const char *const metadata[][2] = { { "path", path_name(run->params->path) },
                                        { "isa", kernels_name(run->params->tiers) },
                                        { "kv_dtype",
                                          kv_type_name(run->params->cache.type, type) } };
    return safetensors_write(run->params->out, 1, &output, 3, metadata, err);
}

Path forward_default_path(const Model *model) {
    return model->kind == ATTENTION_MLA ? PATH_ABSORBED : PATH_MATERIALISED;
}

/* What is not finite came out of inputs that are: it is no output, and no error of one. */
static Status check_finite(const Run *run, Error *err) {
    const size_t row = run->file->model.hidden;
    for (size_t i = 0; i < run->file->hidden_states->elements; i++)
        if (!isfinite(run->y[i]))
            return fail(err, ERR_INPUT,
                        "%s: the output of token %zu is not finite: inputs or weights too large "
                        "for fp32",
                        run->file->path, i / row % run->file->tokens);
    return OK;
}

/* The run that is judged, then the samples of its times. */
static Status perform(Run *run, ForwardResult *result, Error *err) {
    const double start = measure_now_ns();
    run_prefill(run, 0);
    run_decode(run, 0);
    const double once_ns = measure_now_ns() - start;
    TRY(run->status);
    TRY(check_finite(run, err));
    count_bytes(run, result);
    TRY(compare(run->file, run->file->output, run->y, &result->output, err));
    TRY(compare(run->file, run->file->output_absorbed, run->y, &result->absorbed, err));
    TRY(compare_latent(run, &result->latent, err));
    TRY(sample_times(run, once_ns, result, err));
    return run->params->out ? write_output(run, err) : OK;
}

Status forward_run(ForwardResult *result, const LayerFile *file, const ForwardParams *params,
                   Error *err) {
    assert(params->threads > 0 && params->cache.block_tokens > 0);
    ForwardResult draft = { .model = file->model,
                            .sequences = file->sequences,
                            .prefill_tokens = file->prefill_tokens,
                            .decode_tokens = file->decode_tokens };
    Run run = {
        .file = file, .params = params, .kernels = kernels_select(params->tiers), .err = err
    };
    Status status = params->out ? textfile_check(params->out, err) : OK;
    if (status == OK) status = check_type(file, params, err);
    if (status == OK) status = check_room(file, params, err);
    if (status == OK) status = alloc_run(&run, err);
    if (status == OK) status = perform(&run, &draft, err);
    if (status == OK) *result = draft;
    free_run(&run);
    return status;
}
