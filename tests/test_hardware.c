/* Devices and engines by name, and what is refused of their files. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "configs.h"
#include "engine.h"
#include "hardware.h"

static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];

Test(hardware, every_device_that_ships_reads_and_gives_its_sources) {
    const size_t count = configs_names("hardware", ".yaml", names);
    cr_assert_geq(count, 20);
    for (size_t i = 0; i < count; i++) {
        Hardware h;
        Error err;
        cr_assert_eq(hardware_read(&h, names[i], &err), OK, "%s", err.text);
        cr_expect_gt(h.memory_bytes, (uint64_t)8e9, "%s", names[i]);
        cr_expect_geq(h.usable_bytes, h.memory_bytes * 9 / 10, "%s", names[i]);
        cr_expect_gt(h.bandwidth_bytes_s, 1e9, "%s", names[i]);
        for (int s = 0; s < SHARES; s++) {
            cr_expect(h.efficiency[s].low > 0 && h.efficiency[s].low <= h.efficiency[s].high);
            cr_expect_neq(h.efficiency[s].source[0], '\0', "%s", names[i]);
        }
    }
}

Test(hardware, a_count_and_a_name_make_so_many_devices) {
    const struct {
        const char *text, *name;
        size_t count;
    } good[] = { { "8xH200", "H200 SXM", 8 },
                 { "h200", "H200 SXM", 1 },
                 { "4xH100", "H100 SXM", 4 },
                 { "1xa100", "A100 80GB SXM", 1 },
                 { "2xRTX4090", "RTX 4090", 2 } };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        Hardware h;
        size_t count;
        Error err;
        cr_assert_eq(hardware_parse(&h, &count, good[i].text, &err), OK, "%s", err.text);
        cr_expect_str_eq(h.name, good[i].name);
        cr_expect_eq(count, good[i].count);
    }
    const char *const wrong[] = { "0xH200", "99999999999xh200", "8xH2000", "8x",
                                  "",       "8xh200/../h200" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Hardware h;
        size_t count;
        Error err;
        cr_expect_eq(hardware_parse(&h, &count, wrong[i], &err), ERR_INPUT, "%s", wrong[i]);
    }
}

Test(hardware, a_wrong_name_gets_the_nearest_right_one) {
    Hardware h;
    Error err;
    cr_assert_eq(hardware_read(&h, "h2000", &err), ERR_INPUT);
    cr_expect_not_null(strstr(err.text, "did you mean h200?"), "%s", err.text);
}

static Status parse(const char *text, Error *err) {
    Hardware h;
    return hardware_parse_file(&h, "x.yaml", text, strlen(text), err);
}

Test(hardware, a_file_that_is_wrong_says_where) {
    const struct {
        const char *text, *says;
    } wrong[] = {
        { "name: X\nmemory: 80\nmemry: 1GB\n", "x.yaml:3:1: memry: no such key" },
        { "name: X\nmemory: lots\n", "x.yaml:2:9: memory: lots: must be a size" },
        { "name: X\n", "memory must be given" },
        { "name: X\nmemory: 80GB\n", "sources.memory must be given" },
        { "name: X\nmemory: 80GB\nlink: 3GB\nsources: { memory: u, link: u }\n",
          "x.yaml:3:7: link" },
        { "name: X\nmemory: 80GB\nnetwork: 3GB/s\nsources: { memory: u }\n",
          "sources.network must be given" },
        { "name: X\nmemory: 80GB\nlink_devices: 8\nsources: { memory: u }\n",
          "link must be given" },
        { "name: X\nmemory: 80GB\nlink: 3GB/s\nlink_devices: 1\n", "x.yaml:4:15: link_devices: 1" },
        { "name: X\nmemory: [80GB]\n", "must be a single value" },
        { "name: X\nmemory: 80GB\nsources: u\n", "sources: no such key" },
        { "- 1\n", "must be a mapping" },
        { "name: X\nmemory: 80GB\nsources: { memory: u }\n"
          "efficiency: { link: { low: 0.9, high: 0.5 } }\n",
          "low is above its high" },
        { "name: X\nmemory: 80GB\npeaks: { bf16: -1TFLOPS }\n", "peaks.bf16" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Error err;
        cr_expect_eq(parse(wrong[i].text, &err), ERR_INPUT, "%s", wrong[i].text);
        cr_expect_not_null(strstr(err.text, wrong[i].says), "%s", err.text);
    }
    Error err;
    cr_expect_eq(parse("name: X\nmemory: 80GB\nsources: { memory: u }\n", &err), OK);
}

Test(hardware, a_link_joins_so_many_devices_and_a_network_those_beyond) {
    const char text[] = "name: X\nmemory: 80GB\nlink: 450GB/s\nlink_devices: 8\nnetwork: 50GB/s\n"
                        "sources: { memory: u, link: u, network: u }\n";
    Hardware h;
    Error err;
    cr_assert_eq(hardware_parse_file(&h, "x.yaml", text, strlen(text), &err), OK, "%s", err.text);
    cr_expect_eq(h.link_devices, 8);
    cr_expect_eq(h.link_bytes_s, 450e9);
    cr_expect_eq(h.network_bytes_s, 50e9);
}

Test(hardware, every_engine_that_ships_reads_and_names_its_version) {
    const size_t count = configs_names("engines", ".yaml", names);
    cr_assert_eq(count, 5);
    for (size_t i = 0; i < count; i++) {
        Engine engine;
        Error err;
        cr_assert_eq(engine_read(&engine, names[i], &err), OK, "%s", err.text);
        cr_expect_str_eq(engine.name, names[i]);
        cr_expect(engine.version[0] && engine.source[0] && engine.block_tokens);
    }
}

Test(hardware, an_engine_file_that_is_wrong_says_where) {
    Engine engine;
    Error err;
    const char head[] = "title: X\nversion: 1\nsource: u\n";
    const struct {
        const char *text, *says;
    } wrong[] = { { "groups: equl\n", "x.yaml:4:9: groups: equl: must be one of none, equal" },
                  { "block_tokens: 0\n", "from 1 to 65536" },
                  { "value_padded: maybe\n", "yes or no" },
                  { "window: { keeps: 1 }\n", "no such key" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s%s", head, wrong[i].text);
        cr_expect_eq(engine_parse(&engine, "x.yaml", text, strlen(text), &err), ERR_INPUT);
        cr_expect_not_null(strstr(err.text, wrong[i].says), "%s", err.text);
    }
}
