/* The usual formulas come out with the factors that were found of them. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "audit.h"
#include "request.h"

static Request request;
static Plan plan, scratch;
static Audit audit;

static void audit_of(const char *model, const char *engine, const char *tp) {
    const RequestText text = { .model = model, .engine = engine, .tp = tp, .context = "32k" };
    StatedKeys keys;
    Error err;
    cr_assert_eq(request_read(&request, &text, &err), OK, "%s", err.text);
    cr_assert_eq(plan_make(&plan, &request.input, &err), OK, "%s", err.text);
    cr_assert_eq(audit_read_keys(&keys, model, &request.model, &err), OK, "%s", err.text);
    cr_assert_eq(audit_model(&audit, &keys, &plan, &scratch, &err), OK, "%s", err.text);
}

static double factor(const char *formula) {
    for (size_t i = 0; i < audit.count; i++)
        if (strncmp(audit.row[i].formula, formula, strlen(formula)) == 0)
            return audit.row[i].factor;
    return 0;
}

static const char HEADS[] = "2 x kv heads x head_dim";

Test(audit, the_factors_of_deepseek_v3_come_out) {
    const struct {
        const char *formula;
        double factor, within;
    } found[] = { { HEADS, 24.9, 0.05 },
                  { "2 x 16 heads x 512", 28, 0.5 },
                  { "heads x (P + R + V)", 71, 0.5 },
                  { "2 x heads x (P + R)", 85, 0.5 },
                  { "2 x 2 heads", 0.39, 0.005 },
                  { "one head: P + R + V", 0.56, 0.005 },
                  { "one head: P + P", 0.44, 0.005 },
                  { "latent C alone", 0.89, 0.005 },
                  { "K of C + R and V of C", 1.9, 0.05 },
                  { "the cache / tp", 0.125, 1e-9 } };
    audit_of("DeepSeek-V3", NULL, "8");
    for (size_t i = 0; i < sizeof found / sizeof *found; i++)
        cr_expect_lt(fabs(factor(found[i].formula) - found[i].factor), found[i].within, "%s: %.3f",
                     found[i].formula, factor(found[i].formula));
}

Test(audit, heads_on_every_layer_come_out_for_each_model_that_is_not_so) {
    const struct {
        const char *model;
        double factor, within;
        const char *cause;
    } found[] = { { "DeepSeek-V2-Lite", 7.1, 0.05, "MLA" },
                  { "DeepSeek-Coder-V2-Instruct", 17.8, 0.05, "MLA" },
                  { "DeepSeek-V3.2", 22.3, 0.05, "MLA" },
                  { "GLM-5", 12.8, 0.05, "MLA" },
                  { "MiniCPM3-4B", 17.8, 0.05, "MLA" },
                  { "Kimi-K3", 63.9, 0.05, "MLA" },
                  { "Qwen3-Next-80B-A3B", 3.65, 0.005, "linear" },
                  { "Nemotron-H-56B-Base-8K", 7.0, 0.05, "linear" },
                  { "MiniMax-M1", 6.6, 0.05, "linear" },
                  { "falcon-7b-instruct", 71, 1e-9, "MQA" },
                  { "gemma-3-27b-it", 5.3, 0.05, "window" },
                  { "gemma-2-9b", 1.8, 0.05, "window" },
                  { "Mistral-7B-v0.1", 8.0, 1e-9, "window" },
                  { "Llama-2-7b-hf", 1.0, 1e-9, "the same" } };
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        audit_of(found[i].model, NULL, NULL);
        cr_expect_lt(fabs(factor(HEADS) - found[i].factor), found[i].within, "%s: %.3f",
                     found[i].model, factor(HEADS));
        cr_expect_not_null(strstr(audit.row[0].cause, found[i].cause), "%s", audit.row[0].cause);
    }
}

Test(audit, hidden_times_eight_is_off_by_what_gqa_saves_and_two) {
    const struct {
        const char *model;
        double factor;
    } found[] = { { "Llama-2-7b-hf", 2 }, { "Llama-3.1-8B", 8 }, { "Qwen2.5-72B", 16 } };
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        audit_of(found[i].model, NULL, NULL);
        cr_expect_eq(factor("8 B x hidden"), found[i].factor, "%s", found[i].model);
    }
}

Test(audit, a_formula_wrong_of_the_mathematics_is_right_of_a_naive_engine) {
    audit_of("MiniCPM3-4B", "vllm", NULL);
    cr_expect_float_eq(factor("2 x heads x (P + R)"), 1, 1e-9);
    audit_of("DeepSeek-V3", "hf", NULL);
    cr_expect_float_eq(factor("heads x (P + R + V)"), 1, 1e-9);
}

Test(audit, eight_bits_without_scales_and_index_keys_is_too_little) {
    audit_of("DeepSeek-V3.2", NULL, NULL);
    cr_expect_float_eq(factor("fp8: one byte"), 576.0 / 788, 1e-9);
    cr_expect_float_eq(factor("fp8: still two bytes"), 2 * 576.0 / 788, 1e-9);
    cr_expect_float_eq(factor("latent without index keys"), 1152.0 / 1284, 1e-9);
}
