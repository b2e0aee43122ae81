/* test_cases.c -- what must hold of the list of cases, whatever is in it. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "cases.h"

enum { NAME = 96 };

Test(cases, every_name_is_its_own_and_says_phase_type_and_length) {
    for (size_t i = 0; i < case_count(); i++) {
        char name[NAME], other[NAME];
        const Case c = case_at(i);
        case_name(&c, name, sizeof name);
        cr_assert(strncmp(name, c.phase, strlen(c.phase)) == 0, "%s", name);
        cr_assert(strstr(name, row_type_name(c.type)), "%s", name);
        cr_assert(strlen(name) + 1 < NAME, "%s", name);
        for (size_t j = 0; j < i; j++) {
            const Case before = case_at(j);
            case_name(&before, other, sizeof other);
            cr_assert_str_neq(name, other);
        }
    }
}

/* A call of the case with nothing behind its pointers: the cost looks at shapes alone. */
static Cost driver_cost(const Case *c) {
    KvSequence sequences[64];
    cr_assert(c->batch <= 64);
    for (size_t s = 0; s < c->batch; s++) {
        const size_t tokens = case_tokens(c, s);
        sequences[s] = (KvSequence){ .tokens = tokens,
                                     .q_tokens = c->q_tokens,
                                     .q_position = tokens - c->q_tokens };
    }
    const Attention a = { .layout = case_layout(c, 64),
                          .heads = c->heads,
                          .sequences = c->batch,
                          .sequence = sequences };
    return attention_cost(&a);
}

Test(cases, attention_declares_what_the_driver_counts) {
    for (size_t i = 0; i < case_count(); i++) {
        const Case c = case_at(i);
        if (c.work != WORK_ATTENTION) continue;
        const Cost expected = driver_cost(&c), cost = case_cost(&c);
        cr_assert(fabs(cost.flops - expected.flops) <= 1e-12 * expected.flops, "case %zu", i);
        cr_assert(fabs(cost.bytes - expected.bytes) <= 1e-12 * expected.bytes, "case %zu", i);
    }
}

Test(cases, rows_of_every_case_can_be_stored_in_its_type) {
    for (size_t i = 0; i < case_count(); i++) {
        const Case c = case_at(i);
        if (!c.heads || c.work == WORK_PROJECTION)
            cr_assert_null(row_format_misfit(case_row_format(&c)), "case %zu", i);
        if (!c.heads) continue;
        const KvLayout l = case_layout(&c, 64);
        cr_assert_null(row_format_misfit(l.k), "case %zu", i);
        cr_assert_null(row_format_misfit(l.v), "case %zu", i);
        cr_assert_eq(case_row_bytes(&c), l.kv_heads * (l.k_row + (l.v_in_k ? 0 : l.v_row)));
    }
}

Test(cases, the_latent_of_deepseek_v3_costs_what_is_known) {
    bool found = false;
    for (size_t i = 0; i < case_count(); i++) {
        char name[NAME];
        const Case c = case_at(i);
        case_name(&c, name, sizeof name);
        if (strcmp(name, "decode/mla-v3/absorbed/bf16/4k") != 0) continue;
        found = true;
        cr_assert_eq(case_cost(&c).flops, 278528.0 * 4096);
        cr_assert_eq(case_cost(&c).bytes, 1152.0 * 4096 + 128.0 * 1088 * 4);
    }
    cr_assert(found);
}

Test(cases, a_ragged_batch_holds_sequences_up_to_the_longest) {
    const Case c = { .batch = 4, .ragged = true, .kv_tokens = 1000 };
    cr_assert_eq(case_tokens(&c, 0), 250);
    cr_assert_eq(case_tokens(&c, 3), 1000);
}

Test(cases, projections_read_their_weights_once) {
    const Case c = {
        .work = WORK_PROJECTION, .type = ROW_F32, .dk = 100, .dv = 30, .batch = 1, .q_tokens = 4
    };
    cr_assert_eq(case_cost(&c).flops, 2.0 * 4 * 100 * 30);
    cr_assert_eq(case_cost(&c).bytes, 4.0 * (100 * 30 + 4 * 130));
}

Test(cases, every_phase_row_type_and_path_is_in_the_list) {
    const char *const phases[] = { "decode", "prefill", "project", "encode_rows", "decode_rows" };
    const char *const paths[] = { "materialised", "expanded", "absorbed" };
    unsigned seen_phases = 0, seen_paths = 0, seen_types = 0;
    for (size_t i = 0; i < case_count(); i++) {
        const Case c = case_at(i);
        for (size_t p = 0; p < 5; p++)
            if (strcmp(c.phase, phases[p]) == 0) seen_phases |= 1u << p;
        for (size_t p = 0; p < 3; p++)
            if (c.path && strcmp(c.path, paths[p]) == 0) seen_paths |= 1u << p;
        seen_types |= 1u << c.type;
    }
    cr_assert_eq(seen_phases, 31);
    cr_assert_eq(seen_paths, 7);
    cr_assert_eq(seen_types, (1u << ROW_TYPE_COUNT) - 1);
}
