/* A model as other attentions of the same size, and the phase that plans them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "architectures.h"
#include "model.h"
#include "variant.h"

Test(variant, elements_and_parameters_are_those_of_the_runnable_layer) {
    const char *const specs[] = { "mha", "gqa-8", "mqa", "mla-512+64" };
    const char *const names[] = { "DeepSeek-V3", "Llama-3.1-8B", "MiniCPM3-4B" };
    for (size_t m = 0; m < 3; m++)
        for (size_t i = 0; i < 4; i++) {
            Architecture base, variant;
            Model model, contender;
            Error err;
            cr_assert_eq(architecture_read(&base, names[m], &err), OK, "%s", err.text);
            cr_assert_eq(model_read(&model, names[m], &err), OK, "%s", err.text);
            cr_assert_eq(variant_make(&variant, &base, specs[i], &err), OK, "%s", err.text);
            cr_assert_eq(model_contender(&contender, &model, specs[i], &err), OK, "%s", err.text);
            cr_expect_eq(cache_kind_row_elements(&variant.kind[0]),
                         model_cache_elements(&contender, PATH_ABSORBED), "%s as %s", names[m],
                         specs[i]);
            /* norms aside */
            const double parameters = (double)model_attention_parameters(&contender);
            cr_expect_lt(fabs(variant.kind[0].parameters / parameters - 1), 1e-3, "%s as %s: %g %g",
                         names[m], specs[i], variant.kind[0].parameters, parameters);
        }
}

Test(variant, windows_stay_and_states_are_left_alone) {
    Architecture gemma = gemma_3_27b(), variant;
    Error err;
    cr_assert_eq(variant_make(&variant, &gemma, "mqa", &err), OK);
    cr_expect_eq(variant.kind[0].window, 1024);
    cr_expect_eq(variant.kind[0].kv_heads, 1);
    cr_expect_eq(variant.kind[0].layers, 52);
    cr_expect_eq(variant.kind[1].layers, 10);
}

Test(variant, weights_follow_the_heads) {
    Architecture llama, mha;
    Error err;
    cr_assert_eq(architecture_read(&llama, "Llama-3.1-8B", &err), OK);
    cr_assert_eq(variant_make(&mha, &llama, "mha", &err), OK);
    /* 24 more heads of 128 keys and 128 values, from a hidden size of 4,096, in 32 layers */
    const double more = 32.0 * 4096 * 24 * 256;
    cr_expect_eq(mha.parameters.part[PART_ATTENTION] - llama.parameters.part[PART_ATTENTION], more);
    cr_expect_eq(mha.parameters.total - llama.parameters.total, more);
    cr_expect_eq(mha.parameters.active - llama.parameters.active, more);
}

Test(variant, what_is_no_contender_is_refused) {
    const Architecture gemma = gemma_3_27b();
    const char *const wrong[] = { "gqa-0",    "gqa-5", "gqa-64", "gqa-8x", "mla-512",
                                  "mla-0+64", "mla",   "",       "MHA" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Architecture variant;
        Error err;
        cr_expect_eq(variant_make(&variant, &gemma, wrong[i], &err), ERR_INPUT, "%s", wrong[i]);
    }
}
