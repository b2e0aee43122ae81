/* request.c -- see request.h. */
#include "request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "names.h"
#include "quantity.h"
#include "traffic.h"

enum { CONTEXT_DEFAULT = 32768, SEQUENCES_MOST = 1 << 30 };

static Status read_count(const char *option, const char *text, size_t least, size_t most,
                         size_t *out, Error *err) {
    uint64_t value;
    if (!text) return OK;
    if (!quantity_count(text, &value) || value < least || value > most)
        return fail(err, ERR_INPUT, "--%s %.80s: a whole number from %zu to %zu is allowed", option,
                    text, least, most);
    *out = (size_t)value;
    return OK;
}

Status request_read_type(const char *option, const char *text, KvType *out, Error *err) {
    if (!text || kv_type_parse(text, out)) return OK;
    const char *names[ROW_TYPE_COUNT];
    char allowed[256] = "";
    for (size_t i = 0; i < ROW_TYPE_COUNT; i++) {
        const size_t used = strlen(allowed);
        names[i] = row_type_name((RowType)i);
        snprintf(allowed + used, sizeof allowed - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *nearest = names_nearest(text, names, ROW_TYPE_COUNT);
    return fail(err, ERR_INPUT, "--%s %.80s: no such type; allowed are %s, or K,V of them%s%s%s",
                option, text, allowed, nearest ? "; did you mean " : "", nearest ? nearest : "",
                nearest ? "?" : "");
}

static Status read_utilization(const char *text, double *out, Error *err) {
    if (!text) return OK;
    if (quantity_real(text, out) && *out > 0 && *out <= 1) return OK;
    return fail(err, ERR_INPUT, "--utilization %.80s: a number above 0, at most 1, is allowed",
                text);
}

static Status read_pool(const char *text, uint64_t *out, Error *err) {
    if (!text) return OK;
    if (quantity_bytes(text, out) && *out > 0) return OK;
    return fail(err, ERR_INPUT, "--kv-pool %.80s: a size such as 2.89GiB or 40GB is allowed", text);
}

static Status read_deployment(Request *r, const RequestText *text, Error *err) {
    Deployment asked = { 0 };
    const struct {
        const char *name, *text;
        size_t *out;
    } ranks[] = { { "gpus", text->gpus, &asked.gpus }, { "tp", text->tp, &asked.tp },
                  { "dp", text->dp, &asked.dp },       { "dcp", text->dcp, &asked.dcp },
                  { "pp", text->pp, &asked.pp },       { "ep", text->ep, &asked.ep } };
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
        TRY(read_count(ranks[i].name, ranks[i].text, 1, GPUS_MOST, ranks[i].out, err));
    const size_t digits = text->hardware ? strspn(text->hardware, "0123456789") : 0;
    const bool named = digits && strchr("xX", text->hardware[digits]);
    if (named && text->gpus && asked.gpus != r->devices)
        return fail(err, ERR_INPUT, "--gpus %zu: --hardware %s names another number", asked.gpus,
                    text->hardware);
    if (named) {
        asked.gpus = r->devices;
        r->input.device = text->hardware + digits + 1;
    }
    r->input.asked = asked;
    return deployment_resolve(&r->input.deployment, asked, &r->model, r->input.hardware, err);
}

static Status read_engine(Request *r, const RequestText *text, Error *err) {
    TRY(engine_read(&r->engine, text->engine ? text->engine : "logical", err));
    if (!text->batch_tokens) return OK;
    size_t batch = 0;
    TRY(read_count("batch-tokens", text->batch_tokens, 1, 1 << 24, &batch, err));
    r->engine.batch_tokens = batch;
    if (r->engine.window.batch_tokens) r->engine.window.batch_tokens = batch;
    if (r->engine.chunk.batch_tokens) r->engine.chunk.batch_tokens = batch;
    return OK;
}

Status request_read(Request *r, const RequestText *text, Error *err) {
    r->notes = 0;
    r->devices = 1;
    TRY(architecture_read(&r->model, text->model, err));
    if (text->hardware && r->model.weights_missing[0])
        return fail(err, ERR_INPUT,
                    "%.200s: %s: missing, and without it the weights cannot be counted; add it, or "
                    "give --kv-pool in the place of --hardware",
                    text->model, r->model.weights_missing);
    TRY(read_engine(r, text, err));
    if (text->hardware) TRY(hardware_parse(&r->hardware, &r->devices, text->hardware, err));
    r->input = (PlanInput){ .model = &r->model,
                            .engine = &r->engine,
                            .hardware = text->hardware ? &r->hardware : NULL,
                            .type = kv_type(ROW_BF16),
                            .context_tokens = CONTEXT_DEFAULT,
                            .sequences = 1,
                            .draft = text->draft };
    const size_t longest = r->model.longest_tokens;
    if (longest && longest < CONTEXT_DEFAULT) r->input.context_tokens = longest;
    TRY(read_count("context", text->context, 1, (size_t)1 << 40, &r->input.context_tokens, err));
    TRY(read_count("sequences", text->sequences, 1, SEQUENCES_MOST, &r->input.sequences, err));
    TRY(read_count("block-tokens", text->block_tokens, 1, 1 << 20, &r->input.block_tokens, err));
    TRY(request_read_type("kv-dtype", text->kv_dtype, &r->input.type, err));
    TRY(read_utilization(text->utilization, &r->input.utilization, err));
    TRY(read_pool(text->kv_pool, &r->input.kv_pool_bytes, err));
    return read_deployment(r, text, err);
}

/* ---- notes ---- */

static void note(Request *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(Request *r, const char *format, ...) {
    if (r->notes == NOTES_MOST) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->note[r->notes], NOTE_SIZE, format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < r->notes; i++)
        if (strcmp(r->note[i], r->note[r->notes]) == 0) return; /* of another kind of layers */
    r->notes++;
}

static void note_kinds(Request *r) {
    char given[KV_TYPE_ROOM], used[KV_TYPE_ROOM];
    for (size_t i = 0; i < r->model.kind_count; i++) {
        const CacheKind *kind = &r->model.kind[i];
        const KvType type = row_cost_type(kind, &r->engine, r->input.type);
        if (kind->keeps == KEEPS_IMAGE)
            note(r, "%zu layers cache an image, nothing of text tokens: they are not counted",
                 kind->layers);
        else if (type.k != r->input.type.k)
            note(r, "%s stores %s rows of these layers as %s", r->engine.title,
                 kv_type_name(r->input.type, given), kv_type_name(type, used));
        else if (row_cost_materialised(kind, &r->engine))
            note(r, "%s %s caches keys and values of all heads, not the latent", r->engine.title,
                 r->engine.version);
        else if (row_cost_heads(kind, &r->engine) == 1 && kind->keeps != KEEPS_HEADS &&
                 kind->keeps != KEEPS_STATE && type.v != type.k)
            note(r, "a latent is key and value in one row, stored as %s: values have no type apart",
                 kv_type_name(kv_type(type.k), used));
    }
}

/* Times without the traffic that no rate is known of. */
static void note_links(Request *r, const Plan *plan) {
    const Hardware *h = &r->hardware;
    if (!r->input.hardware) return;
    if (h->link_bytes_s <= 0 && traffic_is_near(plan))
        note(r, "no link is known of %s: times are without what its devices send each other",
             h->name);
    if (h->network_bytes_s <= 0 && traffic_is_far(plan))
        note(r,
             "no network is known beyond the %zu of %s that a link joins: it is not in the times",
             h->link_devices, h->name);
    if (h->link_bytes_s > 0 && !h->link_devices && r->input.deployment.gpus > NODE_GPUS &&
        traffic_is_near(plan))
        note(r, "how many of %s a link joins is not known: all are timed as if they were linked",
             h->name);
}

void request_note(Request *r, const Plan *plan, const RequestText *text) {
    const Deployment *d = &r->input.deployment;
    r->notes = 0;
    if (!text->context) note(r, "no --context given: %zu tokens", r->input.context_tokens);
    if (r->model.longest_tokens && r->input.context_tokens > r->model.longest_tokens)
        note(r, "the model's own limit is %zu tokens", r->model.longest_tokens);
    note_kinds(r);
    for (size_t i = 0; i < r->model.notes; i++) note(r, "%s", r->model.note[i]);
    if (r->model.tower_parameters > 0)
        note(r, "the tower of vision_config, about %.2gB parameters, is not in weight_bytes",
             r->model.tower_parameters * 1e-9);
    if (r->engine.casts_f32 && r->model.weight_bits[PART_ATTENTION] >= 32)
        note(r, "weights are counted in f32 as stored; %s loads them in 16 bits by default: half",
             r->engine.title);
    if (r->model.weights_missing[0])
        note(r, "%s is missing: weight_bytes is not that of the model", r->model.weights_missing);
    if (r->input.hardware && plan->weight_bytes <= 0)
        note(r, "the weights of this model are not known: their memory is counted as cache");
    if (r->model.draft_layers && !r->input.draft)
        note(r, "%zu MTP layer(s) are in weight_bytes but not loaded; --draft loads them",
             r->model.draft_layers);
    if (!text->tp && !text->dp && d->tp < d->gpus / (text->pp ? d->pp : 1))
        note(
            r,
            "ranks by default: tp within a node that divides the heads; --tp, --dp, --pp set them");
    if (d->dp > 1)
        note(r, "blocks, cache_tokens and concurrency are of one of %zu data-parallel ranks",
             d->dp);
    if (d->ep > 1 && !text->ep)
        note(r, "experts are spread over all %zu ranks (ep); --ep 1 copies them", d->ep);
    if (plan->has_pool && r->engine.null_blocks)
        note(r, "%zu block of the pool stays empty: it is not in max_sequences",
             r->engine.null_blocks);
    if (r->engine.padding_tokens)
        note(r, "a page of %zu tokens is allocated beside the pool", r->engine.padding_tokens);
    if (r->input.hardware && r->hardware.flops[RATE_BF16] <= 0 && r->hardware.flops[RATE_F32] <= 0)
        note(r, "no peak rates are known of %s: times are of memory alone", r->hardware.name);
    note_links(r, plan);
}
