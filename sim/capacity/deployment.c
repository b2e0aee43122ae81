/* deployment.c -- see deployment.h. */
#include "deployment.h"

#include <string.h>

static size_t or_one(size_t n) {
    return n ? n : 1;
}

static size_t ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

size_t deployment_node(const Hardware *hardware) {
    const size_t linked = hardware ? hardware->link_devices : 0;
    return linked && linked < NODE_GPUS ? linked : NODE_GPUS;
}

static bool divides_heads(const Architecture *model, size_t ranks) {
    for (size_t i = 0; i < model->kind_count; i++)
        if (model->kind[i].heads % ranks) return false;
    return true;
}

static bool is_sparse(const Architecture *model) {
    for (size_t i = 0; i < model->kind_count; i++)
        if (model->kind[i].keeps == KEEPS_LATENT || model->kind[i].keeps == KEEPS_ROW) return true;
    return model->experts > 0;
}

/* The layout of `left` GPUs where neither tp nor dp is given: see the header. */
static void choose_layout(Deployment *d, const Architecture *model, size_t node, size_t left) {
    const size_t dcp = or_one(d->dcp);
    for (size_t ranks = 1; ranks <= node && ranks <= left; ranks++)
        if (left % ranks == 0 && ranks % dcp == 0 && divides_heads(model, ranks)) d->tp = ranks;
    if (!d->tp) d->tp = left;
    const size_t rest = left / d->tp;
    const bool staged = !d->pp && !is_sparse(model) && rest <= STAGES_MOST && rest <= model->layers;
    if (staged)
        d->pp = rest;
    else
        d->dp = rest;
}

/* What gpus leave over after the ranks that are given. */
static Status share_gpus(Deployment *d, const Architecture *model, size_t node, Error *err) {
    const size_t given = or_one(d->tp) * or_one(d->dp) * or_one(d->pp);
    if (!d->gpus) d->gpus = given * (d->tp ? 1 : or_one(d->dcp));
    if (d->gpus % given)
        return fail(err, ERR_INPUT,
                    "%zu GPUs: tp %zu x dp %zu x pp %zu makes %zu, which does not divide them",
                    d->gpus, or_one(d->tp), or_one(d->dp), or_one(d->pp), given);
    const size_t left = d->gpus / given;
    if (left > 1 && d->tp && d->dp)
        return fail(err, ERR_INPUT, "%zu GPUs: tp %zu x dp %zu x pp %zu makes %zu", d->gpus, d->tp,
                    d->dp, or_one(d->pp), given);
    if (!d->tp && !d->dp)
        choose_layout(d, model, node, left);
    else if (!d->tp)
        d->tp = left;
    else if (!d->dp)
        d->dp = left;
    d->dp = or_one(d->dp);
    d->pp = or_one(d->pp);
    return OK;
}

Status deployment_resolve(Deployment *out, Deployment d, const Architecture *model,
                          const Hardware *hardware, Error *err) {
    TRY(share_gpus(&d, model, deployment_node(hardware), err));
    if (d.gpus > GPUS_MOST) return fail(err, ERR_INPUT, "%zu GPUs: at most %d", d.gpus, GPUS_MOST);
    d.dcp = or_one(d.dcp);
    if (d.tp % d.dcp)
        return fail(err, ERR_INPUT, "--dcp %zu: must divide tp, which is %zu", d.dcp, d.tp);
    if (d.pp > STAGES_MOST || d.pp > model->layers)
        return fail(err, ERR_INPUT, "--pp %zu: at most %zu stages, one a layer", d.pp,
                    model->layers < STAGES_MOST ? model->layers : (size_t)STAGES_MOST);
    const size_t ranks = d.dp * d.tp;
    if (!d.ep) d.ep = d.dp > 1 && model->experts ? ranks : 1;
    if (ranks % d.ep)
        return fail(err, ERR_INPUT, "--ep %zu: must divide dp x tp, which is %zu", d.ep, ranks);
    if (d.ep > 1 && !model->experts)
        return fail(err, ERR_INPUT, "--ep %zu: %s has no experts", d.ep, model->name);
    *out = d;
    return OK;
}

/* ---- stages ---- */

static void add_layer(const Architecture *model, Stage *stage, size_t layer) {
    if (model->layer_kind[layer] != NO_CACHE)
        stage->caches[model->layer_kind[layer]] += model->layer_caches[layer];
    stage->dense += model->layer_mlp[layer] == MLP_DENSE;
    stage->experts += model->layer_mlp[layer] == MLP_EXPERTS;
}

void deployment_stages(const Architecture *model, const Deployment *deployment, bool draft,
                       Stage stages[STAGES_MOST]) {
    const size_t pp = deployment->pp, even = model->layers / pp, over = model->layers % pp;
    size_t layer = 0;
    for (size_t s = 0; s < pp; s++) {
        Stage *stage = &stages[s];
        *stage = (Stage){ .first = layer, .embedding = s == 0, .head = s + 1 == pp };
        stage->layers = even + (s + 1 < pp && s + 1 + over >= pp);
        for (size_t i = 0; i < stage->layers; i++) add_layer(model, stage, layer++);
    }
    Stage *last = &stages[pp - 1];
    last->draft = draft;
    for (size_t i = 0; draft && i < model->kind_count; i++)
        last->caches[i] += model->kind[i].draft_layers;
}

/* ---- weights ---- */

/* Parameters of the attention of one cache of a kind, as a rank holds them: of the whole. */
static double attention_share(const Architecture *model, const CacheKind *kind, size_t tp) {
    const double whole = kind->parameters, hidden = (double)model->hidden;
    double copied = 0, kv = 0, kv_share = 0;
    if (kind->keeps == KEEPS_LATENT || kind->keeps == KEEPS_ROW)
        copied = hidden * (double)(kind->q_lora_rank + kind->kv_lora_rank + kind->rope_dim);
    if (kind->index_dim) /* each rank chooses the tokens by itself */
        copied += (double)(kind->q_lora_rank * kind->index_heads * kind->index_dim) +
                  hidden * (double)(kind->index_dim + kind->index_heads);
    if (kind->keeps == KEEPS_HEADS) {
        kv = hidden * (double)(kind->kv_heads * (kind->key_dim + kind->value_dim));
        kv_share = (double)ceil_div(kind->kv_heads, tp) / (double)kind->kv_heads;
    }
    if (whole <= copied + kv) return whole; /* parameters unknown or odd: count a whole copy */
    return copied + kv * kv_share + (whole - copied - kv) / (double)tp;
}

static double attention_bytes(const Architecture *model, const Stage *stage, size_t tp) {
    double all = 0, here = 0;
    for (size_t i = 0; i < model->kind_count; i++) {
        const CacheKind *kind = &model->kind[i];
        all += (double)kind->layers * kind->parameters;
        const size_t drafts = stage->draft ? kind->draft_layers : 0;
        here += (double)(stage->caches[i] - drafts) * attention_share(model, kind, tp);
    }
    const double part = architecture_part_bytes(model, PART_ATTENTION);
    if (all > 0) return part * here / all;
    return part * (double)stage->layers / (double)(model->layers * tp);
}

static double of_layers(double bytes, size_t here, size_t all) {
    return all ? bytes * (double)here / (double)all : 0;
}

/* What a rank holds of the draft layers: of their experts its own, of their attention as of any,
 * the projection that joins two inputs whole, and its part of the rest. */
static double draft_share(const Architecture *model, size_t tp, size_t expert_layers,
                          double expert_share) {
    const double hidden = (double)model->hidden, all = model->parameters.part[PART_DRAFT];
    double experts = 0, attention = 0, own = 0;
    for (size_t i = 0; i < model->draft_layers; i++)
        if (model->layer_mlp[model->layers + i] == MLP_EXPERTS && expert_layers)
            experts += model->parameters.part[PART_EXPERTS] / (double)expert_layers;
    for (size_t i = 0; i < model->kind_count; i++) {
        const double layers = (double)model->kind[i].draft_layers;
        attention += layers * model->kind[i].parameters;
        own += layers * attention_share(model, &model->kind[i], tp);
    }
    const double joint = 2 * hidden * hidden * (double)model->draft_layers;
    const double rest = all - experts - attention - joint;
    if (!(all > 0) || rest < 0) return 1; /* of other layers than these: a whole copy */
    return (experts * expert_share + own + joint + rest / (double)tp) / all;
}

StageWeights deployment_weights(const Architecture *model, const Deployment *d,
                                const Stage *stage) {
    size_t dense = 0, experts = 0;
    for (size_t i = 0; i < model->layers; i++) {
        dense += model->layer_mlp[i] == MLP_DENSE;
        experts += model->layer_mlp[i] == MLP_EXPERTS;
    }
    const double tp = (double)d->tp;
    double expert_share = 1;
    if (model->experts)
        expert_share = (double)ceil_div(model->experts, d->ep) / (double)model->experts /
                       (double)(d->tp > d->ep ? d->tp / d->ep : 1);
    double bytes[WEIGHT_PARTS];
    for (int p = 0; p < WEIGHT_PARTS; p++) bytes[p] = architecture_part_bytes(model, (WeightPart)p);
    StageWeights w = { .total = 0 };
    const bool tied = model->parameters.part[PART_HEAD] <= 0;
    if (stage->embedding || (stage->head && tied))
        w.part[PART_EMBEDDING] = bytes[PART_EMBEDDING] / tp;
    if (stage->head) w.part[PART_HEAD] = bytes[PART_HEAD] / tp;
    w.part[PART_ATTENTION] = attention_bytes(model, stage, d->tp);
    w.part[PART_DENSE_MLP] = of_layers(bytes[PART_DENSE_MLP], stage->dense, dense) / tp;
    w.part[PART_SHARED_EXPERTS] =
        of_layers(bytes[PART_SHARED_EXPERTS], stage->experts, experts) / tp;
    w.part[PART_EXPERTS] = of_layers(bytes[PART_EXPERTS], stage->experts, experts) * expert_share;
    w.part[PART_ROUTER] = of_layers(bytes[PART_ROUTER], stage->experts, experts);
    w.part[PART_NORMS] = of_layers(bytes[PART_NORMS], stage->layers, model->layers);
    if (stage->embedding) w.part[PART_OTHER] = bytes[PART_OTHER];
    if (stage->draft)
        w.part[PART_DRAFT] = bytes[PART_DRAFT] * draft_share(model, d->tp, experts, expert_share);
    for (int p = 0; p < WEIGHT_PARTS; p++) w.total += w.part[p];
    return w;
}
