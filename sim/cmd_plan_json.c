/* cmd_plan_json.c -- a plan as one JSON object; the keys of `plan` in the order people read it. */
#include <math.h>

#include "answers.h"
#include "cmd_plan.h"
#include "json.h"
#include "ledger.h"
#include "speed.h"

/* Whole where it is a whole number, so that bytes print without a point. */
static void put(Json *object, const char *key, double value) {
    if (value == floor(value) && fabs(value) < 0x1p53)
        json_put_whole(object, key, (long long)value);
    else
        json_put_number(object, key, value);
}

static Json *ledger_json(const Ledger *ledger) {
    Json *lines = json_new_array();
    for (size_t i = 0; i < ledger->count; i++) {
        Json *line = json_new_object();
        json_put_string(line, "step", ledger->line[i].step);
        json_put_string(line, "rule", ledger->line[i].rule);
        put(line, "bytes", round(ledger->line[i].bytes));
        json_append(lines, line);
    }
    return lines;
}

static void put_bytes(Json *json, const Plan *plan) {
    Json *bytes = json_new_object();
    put(bytes, "logical", plan->bytes.logical);
    put(bytes, "layout", plan->bytes.layout);
    put(bytes, "reserved", plan->bytes.reserved);
    put(bytes, "per_gpu", plan->per_gpu);
    put(bytes, "deployment", plan->deployment);
    json_put(json, "kv_bytes", bytes);
}

static void put_deployment(Json *json, const Deployment *d) {
    Json *ranks = json_new_object();
    json_put_whole(ranks, "gpus", (long long)d->gpus);
    json_put_whole(ranks, "tp", (long long)d->tp);
    json_put_whole(ranks, "dp", (long long)d->dp);
    json_put_whole(ranks, "dcp", (long long)d->dcp);
    json_put_whole(ranks, "pp", (long long)d->pp);
    json_put_whole(ranks, "ep", (long long)d->ep);
    json_put(json, "deployment", ranks);
}

static const char *binds_text(Binds binds) {
    static const char *const texts[] = { "nothing", "weights", "sequence", "cache" };
    return texts[binds];
}

static void put_pool(Json *json, const Plan *plan) {
    put(json, "kv_pool_bytes_per_gpu", floor(plan->memory.pool));
    put(json, "blocks", plan->blocks);
    put(json, "block_tokens", plan->block_tokens);
    put(json, "blocks_per_sequence", plan->blocks_per_sequence);
    put(json, "cache_tokens", plan->cache_tokens);
    json_put_number(json, "concurrency", plan->concurrency);
    put(json, "max_sequences", plan->max_sequences);
    json_put_string(json, "binding", binds_text(plan->binds));
}

static Json *range_json(Range range, double scale) {
    Json *json = json_new_object();
    json_put_number(json, "low", range.low * scale);
    json_put_number(json, "high", range.high * scale);
    return json;
}

static Json *step_json(const StepTime *time) {
    Json *json = json_new_object(), *parts = json_new_array();
    json_put(json, "ms", range_json(time->seconds, 1e3));
    for (int p = 0; p < STEP_PARTS; p++) {
        if (time->part[p].seconds.high <= 0) continue;
        Json *part = json_new_object();
        json_put_string(part, "part", speed_part_name((StepPart)p));
        put(part, "flops", time->part[p].flops);
        put(part, "bytes", time->part[p].bytes);
        json_put(part, "ms", range_json(time->part[p].seconds, 1e3));
        json_append(parts, part);
    }
    json_put(json, "parts", parts);
    return json;
}

static void put_speed(Json *json, const Plan *plan, double sequences) {
    const StepTime decode = speed_decode(plan, sequences, plan->input.context_tokens);
    const StepTime prefill = speed_prefill(plan, plan->input.context_tokens);
    const Range rate = { 1 / decode.seconds.high, 1 / decode.seconds.low };
    Json *speed = json_new_object();
    json_put_string(speed, "kind", "modelled");
    put(speed, "sequences", sequences);
    json_put(speed, "decode", step_json(&decode));
    json_put(speed, "prefill", step_json(&prefill));
    json_put(speed, "tokens_per_s_per_user", range_json(rate, 1));
    json_put(speed, "tokens_per_s", range_json(rate, sequences));
    json_put_number(speed, "compute_bound_sequences",
                    speed_compute_bound_batch(plan, plan->input.context_tokens, 1 << 20));
    Json *sources = json_new_array();
    for (int s = 0; s < SHARES; s++) {
        Json *share = json_new_object();
        const Efficiency *e = &plan->input.hardware->efficiency[s];
        json_put_number(share, "low", e->low);
        json_put_number(share, "high", e->high);
        json_put_string(share, "source", e->source);
        json_append(sources, share);
    }
    json_put(speed, "efficiencies", sources);
    json_put(json, "speed", speed);
}

static void put_answers(Json *json, Planned *planned) {
    const Plan *plan = &planned->plan;
    Change changes[CHANGES_MOST];
    const double users = fmax((double)plan->input.sequences, 1);
    const size_t count = answers_changes(plan, users, changes, &planned->scratch);
    Json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        Json *change = json_new_object();
        json_put_string(change, "change", changes[i].text);
        json_put_string(change, "options", changes[i].options);
        json_put_string(change, "price", changes[i].price);
        put(change, "max_sequences", changes[i].sequences);
        json_put_bool(change, "fits", changes[i].fits);
        json_append(list, change);
    }
    json_put(json, "changes", list);
    const size_t longest = plan_longest_context(plan, users, (size_t)1 << 32);
    json_put_whole(json, "longest_context", (long long)longest);
    Deployment fewest;
    double sequences;
    if (plan->input.hardware &&
        layouts_fewest_gpus(plan, users, GPUS_MOST / 64, &fewest, &sequences, &planned->scratch)) {
        Json *gpus = json_new_object();
        put_deployment(gpus, &fewest);
        char options[LAYOUT_TEXT];
        layouts_options(plan, &fewest, options, sizeof options);
        json_put_string(gpus, "options", options);
        put(gpus, "max_sequences", sequences);
        json_put(json, "fewest_gpus", gpus);
    }
}

static void put_users(Json *json, const Planned *planned) {
    const UsersHeld *h = &planned->held;
    Json *users = json_new_object();
    json_put_string(users, "trace", planned->trace_name);
    json_put_number(users, "percentile", h->percentile);
    json_put_string(users, "weighted_by", "requests");
    put(users, "users", h->users);
    put(users, "users_median", h->users_median);
    put(users, "users_at_longest", h->users_at_longest);
    put(users, "users_at_percentile_context", h->users_at_percentile);
    json_put_number(users, "mean_tokens", h->mean_tokens);
    put(users, "p50_tokens", h->p50_tokens);
    put(users, "p95_tokens", h->p95_tokens);
    put(users, "longest_tokens", h->longest_tokens);
    json_put(json, "users_held", users);
}

Status plan_print_json(Planned *planned, Error *err) {
    const Request *r = &planned->request;
    const Plan *plan = &planned->plan;
    char type[KV_TYPE_ROOM];
    Ledger ledger;
    Json *json = json_new_object(), *notes = json_new_array();
    json_put_string(json, "model", r->model.name);
    json_put_string(json, "attention", r->model.attention);
    json_put_whole(json, "layers", (long long)r->model.layers);
    json_put_string(json, "engine", r->engine.name);
    json_put_string(json, "engine_version", r->engine.version);
    json_put_string(json, "kv_dtype", kv_type_name(r->input.type, type));
    json_put_whole(json, "context", (long long)r->input.context_tokens);
    json_put_whole(json, "sequences", (long long)r->input.sequences);
    put_deployment(json, &r->input.deployment);
    put(json, "kv_bytes_per_token", plan->growth);
    put(json, "kv_bytes_per_token_per_gpu", plan->growth_per_gpu);
    put_bytes(json, plan);
    ledger_cache(&ledger, plan);
    json_put(json, "ledger", ledger_json(&ledger));
    put(json, "weight_bytes", round(plan->weight_bytes));
    put(json, "weight_bytes_per_gpu", round(plan->weight_bytes_per_gpu));
    json_put_string(json, "weight_format", r->model.weight_format);
    if (plan->has_pool) {
        ledger_memory(&ledger, plan);
        json_put(json, "memory", ledger_json(&ledger));
        put_pool(json, plan);
        put_answers(json, planned);
    }
    if (speed_known(plan)) put_speed(json, plan, fmax(1, fmin(plan->max_sequences, 1 << 20)));
    if (planned->has_users) put_users(json, planned);
    for (size_t i = 0; i < r->notes; i++) json_append_string(notes, r->note[i]);
    json_put(json, "notes", notes);
    const Status status = json_print(json, err);
    json_free(json);
    return status;
}
