/* Traces and histograms: their formats, what is refused, and the users that they let in. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "architectures.h"
#include "configs.h"
#include "users.h"

static Status parse(Trace *trace, const char *text, Error *err) {
    return trace_parse(trace, "t", text, strlen(text), err);
}

Test(traces, each_format_is_known_by_its_first_line) {
    const struct {
        const char *text, *format;
        double arrival_s; /* of the second row */
    } good[] = {
        { "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 23:59:59.5000000,374,44\n"
          "2023-11-17 00:00:01.0000000,396,109",
          "azure", 1.5 },
        { "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n374,44,418,8.5\n"
          "396,109,505,3.6\n",
          "vidur", 0 },
        { "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,"
          "Log Type\n5,,1,M,374,44,418,C\n7,,1,M,396,109,505,C\n",
          "burstgpt", 2 },
        { "{\"timestamp\": 10, \"input_length\": 374, \"output_length\": 44, \"hash_ids\": [1]}\n"
          "{\"timestamp\": 1010, \"input_length\": 396, \"output_length\": 109}\n",
          "mooncake", 1 },
        { "{\"input_toks\": 374, \"output_toks\": 44, \"arrival_time_ns\": 0}\r\n\n"
          "{\"input_toks\": 396, \"output_toks\": 109, \"arrival_time_ns\": 3000000000}\n",
          "llmservingsim", 3 },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        Trace trace;
        Error err;
        cr_assert_eq(parse(&trace, good[i].text, &err), OK, "%s", err.text);
        cr_expect_str_eq(trace.format, good[i].format);
        cr_assert_eq(trace.count, 2);
        cr_expect_eq(trace.row[0].prompt_tokens, 374);
        cr_expect_eq(trace.row[0].output_tokens, 44);
        cr_expect_eq(trace.row[1].prompt_tokens, 396);
        cr_expect_eq(trace.row[1].weight, 1);
        cr_expect_float_eq(trace.row[1].arrival_s, good[i].arrival_s, 1e-6);
        trace_free(&trace);
    }
}

Test(traces, what_is_wrong_is_refused_with_its_line) {
    const struct {
        const char *text, *says;
    } wrong[] = {
        { "", "holds no request" },
        { "a,b\n1,2\n", "t:1: no known trace" },
        { "tokens,count\n1k,1\n-5,1\n", "t:3: tokens: -5" },
        { "tokens,count\n1k\n", "t:2: 1 columns" },
        { "tokens,count\n1k,-1\n", "t:2: count: -1" },
        { "tokens,count\n1k,0\n", "holds no request" },
        { "tokens,count\n99999999999999999999,1\n", "t:2: tokens" },
        { "{\"input_length\": 1}\n", "t:1: output_length" },
        { "{\"input_length\": 1, \"output_length\": -1}\n", "t:1: output_length" },
        { "{\"a\": 1}\n", "t:1: no known trace" },
        { "{\"input_length\": 1\n", "t:1: no JSON object" },
        { "{\"input_length\": 1, \"output_length\": 1}\nx\n", "t:2: no JSON object" },
        { "TIMESTAMP,ContextTokens,GeneratedTokens\nnever,1,1\n", "t:2: TIMESTAMP: never" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Trace trace;
        Error err;
        cr_assert_eq(parse(&trace, wrong[i].text, &err), ERR_INPUT, "%s", wrong[i].text);
        cr_expect_not_null(strstr(err.text, wrong[i].says), "%s", err.text);
    }
}

Test(traces, those_that_ship_read) {
    const char *const files[] = { "azure_conv_2023.csv", "mooncake_conversation.jsonl",
                                  "contexts.csv" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[1024];
        Trace trace;
        Error err;
        snprintf(path, sizeof path, "%s/traces/%s", configs_folder(), files[i]);
        cr_assert_eq(trace_read(&trace, path, &err), OK, "%s", err.text);
        cr_expect_gt(trace.count, 5);
        trace_free(&trace);
    }
}

static Plan plan;

/* A pool of 100 users of 1,024 tokens each. */
static void make_plan(void) {
    static Architecture llama;
    static Engine engine;
    Error err;
    llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    cr_assert_eq(engine_read(&engine, "logical", &err), OK);
    const PlanInput input = { .model = &llama,
                              .engine = &engine,
                              .type = kv_type(ROW_BF16),
                              .context_tokens = 1024,
                              .sequences = 1,
                              .deployment = { 1, 1, 1, 1, 1, 1 },
                              .kv_pool_bytes = 100 * 1024 * 131072ULL };
    cr_assert_eq(plan_make(&plan, &input, &err), OK);
}

Test(traces, users_of_one_length_are_those_that_the_plan_says) {
    make_plan();
    Trace trace;
    UsersHeld held;
    Error err;
    cr_assert_eq(parse(&trace, "tokens,count\n1k,7\n", &err), OK);
    cr_assert_eq(users_held(&held, &plan, &trace, 95, &err), OK);
    cr_expect_eq(held.users, 100);
    cr_expect_eq(held.users_median, 100);
    cr_expect_eq(held.users_at_longest, 100);
    cr_expect_eq(held.mean_tokens, 1024);
    trace_free(&trace);
}

Test(traces, users_of_mixed_lengths_lie_between_the_longest_and_the_mean) {
    make_plan();
    Trace trace;
    UsersHeld half, most;
    Error err;
    cr_assert_eq(parse(&trace, "tokens,count\n512,3\n4096,1\n", &err), OK);
    cr_assert_eq(users_held(&half, &plan, &trace, 50, &err), OK);
    cr_assert_eq(users_held(&most, &plan, &trace, 99, &err), OK);
    cr_expect_eq(half.users_at_longest, 25);
    cr_expect_eq(half.mean_tokens, 1408);
    cr_expect_eq(half.p95_tokens, 4096);
    /* by the mean 72.7 fit; half of all draws come near, 99 of 100 hold fewer */
    cr_expect_lt(fabs(half.users - 72.7), 5, "%.0f", half.users);
    cr_expect_lt(most.users, half.users);
    cr_expect_gt(most.users, 40);
    trace_free(&trace);
}

Test(traces, each_rank_holds_its_own_users_and_the_null_block_none) {
    make_plan();
    PlanInput input = plan.input;
    static Engine vllm;
    Trace trace;
    UsersHeld held;
    Error err;
    cr_assert_eq(engine_read(&vllm, "vllm", &err), OK);
    input.engine = &vllm;
    input.kv_pool_bytes = 11 * 16 * 131072ULL; /* eleven blocks, of which the first is no one's */
    input.deployment.gpus = input.deployment.dp = 3;
    cr_assert_eq(plan_make(&plan, &input, &err), OK);
    cr_assert_eq(parse(&trace, "tokens,count\n16,1\n", &err), OK);
    cr_assert_eq(users_held(&held, &plan, &trace, 95, &err), OK);
    cr_expect_eq(held.users, 30);
    cr_expect_eq(held.users_at_longest, 30);
    trace_free(&trace);
}

Test(traces, fewer_users_are_held_more_surely) {
    make_plan();
    Trace trace;
    UsersHeld half, most;
    Error err;
    cr_assert_eq(parse(&trace, "tokens,count\n512,9\n10k,1\n", &err), OK);
    cr_assert_eq(users_held(&half, &plan, &trace, 5, &err), OK);
    cr_assert_eq(users_held(&most, &plan, &trace, 95, &err), OK);
    cr_expect_lt(most.users, most.users_median);
    cr_expect_gt(half.users, half.users_median);
    trace_free(&trace);
}

Test(traces, many_more_users_than_are_drawn_one_by_one_are_counted) {
    make_plan();
    PlanInput input = plan.input;
    Trace trace;
    UsersHeld held;
    Error err;
    input.kv_pool_bytes = 3000000 * 131072ULL;
    cr_assert_eq(plan_make(&plan, &input, &err), OK);
    cr_assert_eq(parse(&trace, "tokens,count\n1,1\n", &err), OK);
    cr_assert_eq(users_held(&held, &plan, &trace, 95, &err), OK);
    cr_expect_eq(held.users, 3000000);
    trace_free(&trace);
    /* contexts of 1 and 5 tokens have a mean of 3 and a deviation of 2: a million users, of whom a
     * twentieth of draws hold fewer than by 1.64 x 2 / 3 x 1,000 */
    cr_assert_eq(parse(&trace, "tokens,count\n1,1\n5,1\n", &err), OK);
    cr_assert_eq(users_held(&held, &plan, &trace, 95, &err), OK);
    cr_expect_float_eq(held.users_median, 1e6, 300);
    cr_expect_float_eq(held.users_median - held.users, 1097, 300);
    trace_free(&trace);
}
