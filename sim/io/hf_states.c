/* hf_states.c -- layers whose memory does not grow with the tokens: gated delta nets, KDA,
 * lightning attention, Mamba of both kinds, short convolutions; see hf_reading.h.
 *
 * One row a kind, told by a field that only it has. State: elements of the recurrent state of a
 * sequence. Convolution: its channels times the kernel's length less one, the newest inputs. */
#include <string.h>

#include "hf_reading.h"

enum { KERNEL_MOST = 1024 };

typedef struct {
    const char *key;
    Status (*read)(const Reading *, CacheKind *, Error *);
} StateReader;

static Status size(const Reading *r, const char *key, size_t most, size_t *out, Error *err) {
    const char *const spelling[] = { key, NULL };
    return fields_size(&r->text, spelling, REQUIRED, most, out, err);
}

static Status first_size(const Reading *r, const char *key, const char *other, size_t most,
                         size_t *out, Error *err) {
    const char *const spelling[] = { key, other, NULL };
    return fields_size(&r->text, spelling, REQUIRED, most, out, err);
}

/* Qwen3-Next and 3.5: a state of key_dim x value_dim for each value head; q, k and v pass through
 * the convolution. */
static Status read_gated_delta(const Reading *r, CacheKind *kind, Error *err) {
    size_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0, kernel = 0;
    TRY(size(r, "linear_num_key_heads", HEADS_MOST, &key_heads, err));
    TRY(size(r, "linear_num_value_heads", HEADS_MOST, &value_heads, err));
    TRY(size(r, "linear_key_head_dim", WIDTH_MOST, &key_dim, err));
    TRY(size(r, "linear_value_head_dim", WIDTH_MOST, &value_dim, err));
    TRY(size(r, "linear_conv_kernel_dim", KERNEL_MOST, &kernel, err));
    kind->state_elements = value_heads * key_dim * value_dim;
    const size_t inner = value_heads * value_dim, channels = 2 * key_heads * key_dim + inner;
    kind->conv_elements = channels * (kernel - 1);
    kind->state_heads = kind->heads = value_heads;
    /* q, k, v and a gate; two scalars a head; the output */
    kind->parameters = (double)r->shape.hidden * (double)(channels + 2 * inner + 2 * value_heads) +
                       (double)(channels * kernel + 2 * value_heads + value_dim);
    return OK;
}

/* Kimi's delta attention: a state of d x d a head; q, k and v have convolutions of their own. */
static Status read_kda(const Reading *r, CacheKind *kind, Error *err) {
    static const char *const heads_key[] = { "num_heads", NULL }, *const dim_key[] = { "head_dim",
                                                                                       NULL };
    static const char *const kernel_key[] = { "short_conv_kernel_size", NULL };
    static const char *const lists[] = { "full_attn_layers", "kda_layers", NULL };
    static const char *const gates[] = { "use_full_rank_gate", "gate_lower_bound", NULL };
    Fields nested;
    Asked asked = { 0 };
    size_t heads = 0, dim = 0, kernel = 0;
    bool full_gate = false;
    TRY(fields_nested(&nested, &r->text, "linear_attn_config", "linear_attn_config.", err));
    nested.asked = &asked;
    fields_ignore(&nested, lists);
    TRY(fields_size(&nested, heads_key, REQUIRED, HEADS_MOST, &heads, err));
    TRY(fields_size(&nested, dim_key, REQUIRED, WIDTH_MOST, &dim, err));
    TRY(fields_size(&nested, kernel_key, REQUIRED, KERNEL_MOST, &kernel, err));
    fields_ignore(&nested, gates);
    TRY(fields_flag(&nested, gates[0], &full_gate, err));
    TRY(fields_refuse_leftovers(&nested, NULL, err));
    kind->state_elements = heads * dim * dim;
    const size_t inner = heads * dim, low_rank = (r->shape.hidden + inner) * dim;
    kind->conv_elements = 3 * inner * (kernel - 1);
    kind->state_heads = kind->heads = heads;
    kind->state_element_bytes = 4; /* its kernels add up in fp32 and keep that, in every engine */
    /* q, k, v and the output, a decay of low rank, a gate, a scalar a head */
    kind->parameters = (double)(4 * r->shape.hidden * inner + low_rank) +
                       (double)(full_gate ? r->shape.hidden * inner : low_rank) +
                       (double)(r->shape.hidden * heads + 3 * inner * kernel + inner + heads + dim);
    return OK;
}

/* MiniMax: a state of d x d a query head, no convolution. */
static Status read_lightning(const Reading *r, CacheKind *kind, Error *err) {
    (void)err;
    kind->state_elements = r->shape.heads * r->shape.key_dim * r->shape.key_dim;
    kind->state_heads = kind->heads = r->shape.heads;
    const double inner = (double)(r->shape.heads * r->shape.key_dim);
    kind->parameters = 5 * (double)r->shape.hidden * inner + inner; /* q, k, v, gate, output */
    return OK;
}

/* How Mamba's kernels cut a sequence, what they rotate and which of their projections have a bias
 * change no state; nor does the rank of its time steps. */
static void ignore_kernel(const Reading *r) {
    static const char *const keys[] = { "chunk_size",
                                        "mamba_chunk_size",
                                        "mamba_hidden_act",
                                        "mamba_proj_bias",
                                        "mamba_conv_bias",
                                        "use_conv_bias",
                                        "mamba_dt_rank",
                                        "time_step_rank",
                                        "mamba_expand",
                                        "expand",
                                        NULL };
    fields_ignore(&r->text, keys);
}

static Status mamba2(const Reading *r, CacheKind *kind, size_t heads, size_t dim, size_t state,
                     size_t groups, size_t kernel) {
    const size_t inner = heads * dim, channels = inner + 2 * groups * state;
    kind->state_elements = inner * state;
    kind->conv_elements = channels * (kernel - 1);
    kind->state_heads = kind->heads = heads;
    /* a gate, the convolution's channels and a time step a head; the output; scalars */
    kind->parameters = (double)r->shape.hidden * (double)(2 * inner + channels + heads) +
                       (double)(channels * (kernel + 1) + 3 * heads + inner);
    return OK;
}

/* Mamba-2 under the names of Nemotron-H, ... */
static Status read_nemotron_mamba(const Reading *r, CacheKind *kind, Error *err) {
    size_t heads = 0, dim = 0, state = 0, groups = 0, kernel = 0;
    TRY(size(r, "mamba_num_heads", HEADS_MOST, &heads, err));
    TRY(size(r, "mamba_head_dim", WIDTH_MOST, &dim, err));
    TRY(size(r, "ssm_state_size", WIDTH_MOST, &state, err));
    TRY(size(r, "n_groups", HEADS_MOST, &groups, err));
    TRY(first_size(r, "conv_kernel", "mamba_d_conv", KERNEL_MOST, &kernel, err));
    return mamba2(r, kind, heads, dim, state, groups, kernel);
}

/* ... of Granite and Bamba, ... */
static Status read_granite_mamba(const Reading *r, CacheKind *kind, Error *err) {
    size_t heads = 0, dim = 0, state = 0, groups = 0, kernel = 0;
    TRY(size(r, "mamba_n_heads", HEADS_MOST, &heads, err));
    TRY(size(r, "mamba_d_head", WIDTH_MOST, &dim, err));
    TRY(size(r, "mamba_d_state", WIDTH_MOST, &state, err));
    TRY(size(r, "mamba_n_groups", HEADS_MOST, &groups, err));
    TRY(size(r, "mamba_d_conv", KERNEL_MOST, &kernel, err));
    return mamba2(r, kind, heads, dim, state, groups, kernel);
}

/* ... and of models that are all Mamba-2. */
static Status read_pure_mamba2(const Reading *r, CacheKind *kind, Error *err) {
    size_t heads = 0, dim = 0, state = 0, groups = 0, kernel = 0;
    TRY(size(r, "num_heads", HEADS_MOST, &heads, err));
    TRY(size(r, "head_dim", WIDTH_MOST, &dim, err));
    TRY(size(r, "state_size", WIDTH_MOST, &state, err));
    TRY(size(r, "n_groups", HEADS_MOST, &groups, err));
    TRY(size(r, "conv_kernel", KERNEL_MOST, &kernel, err));
    return mamba2(r, kind, heads, dim, state, groups, kernel);
}

/* Mamba-1: every channel of the inner width has a state of its own. */
static Status mamba1(const Reading *r, CacheKind *kind, size_t inner, size_t state, size_t kernel,
                     Error *err) {
    static const char *const rank_keys[] = { "mamba_dt_rank", "time_step_rank", NULL };
    size_t rank = (r->shape.hidden + 15) / 16;
    if (json_text(fields_get(&r->text, "time_step_rank")) == NULL)
        TRY(fields_size(&r->text, rank_keys, OPTIONAL, HIDDEN_MOST, &rank, err));
    kind->state_elements = inner * state;
    kind->conv_elements = inner * (kernel - 1);
    kind->state_heads = kind->heads = inner;
    /* x and a gate, the output; step, B and C of x, the step of its rank; A, D, the convolution */
    kind->parameters = 3 * (double)r->shape.hidden * (double)inner +
                       (double)inner * (double)(2 * rank + 3 * state + kernel + 3);
    return OK;
}

static Status read_jamba_mamba(const Reading *r, CacheKind *kind, Error *err) {
    size_t expand = 0, state = 0, kernel = 0;
    TRY(size(r, "mamba_expand", KERNEL_MOST, &expand, err));
    TRY(size(r, "mamba_d_state", WIDTH_MOST, &state, err));
    TRY(size(r, "mamba_d_conv", KERNEL_MOST, &kernel, err));
    return mamba1(r, kind, expand * r->shape.hidden, state, kernel, err);
}

static Status read_pure_mamba(const Reading *r, CacheKind *kind, Error *err) {
    size_t inner = 0, expand = 0, state = 0, kernel = 0;
    static const char *const width[] = { "intermediate_size", "d_inner", NULL };
    if (fields_get(&r->text, "num_heads")) return read_pure_mamba2(r, kind, err);
    TRY(fields_size(&r->text, width, OPTIONAL, HIDDEN_MOST, &inner, err));
    if (!inner) {
        TRY(size(r, "expand", KERNEL_MOST, &expand, err));
        inner = expand * r->shape.hidden;
    }
    TRY(size(r, "state_size", WIDTH_MOST, &state, err));
    TRY(first_size(r, "conv_kernel", "d_conv", KERNEL_MOST, &kernel, err));
    return mamba1(r, kind, inner, state, kernel, err);
}

/* LFM2: a gated convolution over the hidden values and no state beside it. */
static Status read_short_convolution(const Reading *r, CacheKind *kind, Error *err) {
    size_t kernel = 0;
    TRY(size(r, "conv_L_cache", KERNEL_MOST, &kernel, err));
    kind->conv_elements = r->shape.hidden * (kernel - 1);
    kind->state_heads = kind->heads = r->shape.hidden;
    kind->parameters = (double)r->shape.hidden * (double)(4 * r->shape.hidden + kernel);
    return OK;
}

static const StateReader readers[] = {
    { "linear_num_value_heads", read_gated_delta },
    { "linear_attn_config", read_kda },
    { "attn_type_list", read_lightning },
    { "mamba_num_heads", read_nemotron_mamba },
    { "mamba_n_heads", read_granite_mamba },
    { "mamba_d_state", read_jamba_mamba },
    { "state_size", read_pure_mamba },
    { "conv_L_cache", read_short_convolution },
};

/* Bytes of an element of the state where the file says them. */
static Status read_type(const Reading *r, CacheKind *kind, Error *err) {
    static const char *const keys[] = { "mamba_ssm_cache_dtype", "mamba_ssm_dtype" };
    static const char *const types[] = { "float32", "bfloat16", "float16", NULL };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        size_t type = 0;
        if (!fields_get(&r->text, keys[i])) continue;
        TRY(fields_choice(&r->text, keys[i], types, &type, err));
        kind->state_element_bytes = type == 0 ? 4 : 2;
    }
    return OK;
}

Status hf_state(const Reading *r, CacheKind *out, Error *err) {
    out->keeps = KEEPS_STATE;
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        if (!fields_get(&r->text, readers[i].key)) continue;
        hf_rule(out, readers[i].key);
        ignore_kernel(r);
        TRY(readers[i].read(r, out, err));
        return read_type(r, out, err);
    }
    return fields_fail(&r->text, r->schedule ? r->schedule : "num_attention_heads", err,
                       "layers with a state, but no field says how large it is");
}
