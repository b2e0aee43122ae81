/* test_config_groups.c -- the points of a phase shared out into groups that compare. */
#include "studies.h"

static const char text[] =
    "model: m\nphases: [bytes, decode, error]\ncontenders: [mha, mqa, gqa-2]\n"
    "cache: { type: [bf16, f16], block_tokens: [16, 64] }\n"
    "decode: { context: [1k, 2k, 4k], query_tokens: [1, 2], path: [absorbed, expanded] }\n"
    "error: { tokens: [64, 128], contenders: [mqa, gqa-2] }\n";

Test(config_groups, every_point_is_a_member_of_one_group) {
    ConfigFile *file = parsed(text);
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        const size_t points = config_points(file, (Phase)phase);
        const size_t groups = config_groups(file, (Phase)phase);
        const size_t members = config_group_points(file, (Phase)phase);
        bool seen[512] = { false };
        cr_assert_eq(groups * members, points, "%s", phase_name((Phase)phase));
        for (size_t g = 0; g < groups; g++)
            for (size_t m = 0; m < members; m++) {
                const size_t index = config_member(file, (Phase)phase, g, m);
                cr_assert(index < points && !seen[index]);
                seen[index] = true;
            }
    }
    cr_assert_eq(config_groups(file, PHASE_DECODE), 6);
    cr_assert_eq(config_group_points(file, PHASE_DECODE), 24);
    cr_assert_eq(config_group_points(file, PHASE_BYTES), 1, "bytes have nothing to take turns for");
    cr_assert_eq(config_groups(file, PHASE_ERROR), 2, "contenders of one length share a teacher");
    config_free(file);
}

Test(config_groups, members_differ_in_what_is_compared_and_in_nothing_else) {
    ConfigFile *file = parsed(text);
    const size_t members = config_group_points(file, PHASE_DECODE);
    Config first, other;
    config_point(file, PHASE_DECODE, config_member(file, PHASE_DECODE, 3, 0), &first);
    for (size_t m = 1; m < members; m++) {
        config_point(file, PHASE_DECODE, config_member(file, PHASE_DECODE, 3, m), &other);
        cr_assert_eq(other.decode.context, first.decode.context);
        cr_assert_eq(other.decode.query_tokens, first.decode.query_tokens);
        cr_assert(memcmp(&other, &first, sizeof first) != 0);
    }
    config_free(file);
}

Test(config_groups, earlier_points_differ_in_one_key_and_come_before) {
    ConfigFile *file = parsed(text);
    Config own, earlier;
    for (size_t i = 0; i < config_points(file, PHASE_DECODE); i++) {
        config_point(file, PHASE_DECODE, i, &own);
        const bool absorbed = own.decode.path == PATH_ABSORBED;
        cr_assert_neq(config_earlier(file, PHASE_DECODE, i, "decode.path", 0, &earlier), absorbed);
        cr_assert_not(config_earlier(file, PHASE_DECODE, i, "decode.path", 1, &earlier));
        if (absorbed) continue;
        cr_assert_eq(earlier.decode.path, PATH_ABSORBED);
        earlier.decode.path = own.decode.path;
        cr_assert_eq(memcmp(&own, &earlier, sizeof own), 0);
    }
    cr_assert_not(config_earlier(file, PHASE_ERROR, 3, "decode.path", 0, &earlier),
                  "a key that the phase does not span has nothing earlier");
    config_free(file);
}
