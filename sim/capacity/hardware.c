/* hardware.c -- the keys of configs/hardware, one row each; see hardware.h. */
#include "hardware.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "configs.h"
#include "quantity.h"
#include "record.h"

enum { DEVICES_MOST = 1 << 16 };

#define AT(member) .offset = offsetof(Hardware, member), .room = sizeof((Hardware *)NULL)->member

#define PEAK(name, rate)                                                                           \
    { .key = "peaks." name, .type = RECORD_RATE, AT(flops[rate]), .unit = "FLOPS" }

#define SOURCE(name, figure)                                                                       \
    { .key = "sources." name, .type = RECORD_TEXT, AT(source[figure]) }

#define EFFICIENCY(name, share)                                                                    \
    { .key = "efficiency." name ".low",                                                            \
      .type = RECORD_REAL,                                                                         \
      AT(efficiency[share].low),                                                                   \
      .least = 0.001,                                                                              \
      .most = 1.5 },                                                                               \
        { .key = "efficiency." name ".high",                                                       \
          .type = RECORD_REAL,                                                                     \
          AT(efficiency[share].high),                                                              \
          .least = 0.001,                                                                          \
          .most = 1.5 },                                                                           \
    {                                                                                              \
        .key = "efficiency." name ".source", .type = RECORD_TEXT, AT(efficiency[share].source)     \
    }

static const RecordRow rows[] = {
    { .key = "name", .type = RECORD_TEXT, AT(name), .required = true },
    { .key = "also", .type = RECORD_TEXT, AT(also) },
    { .key = "memory",
      .type = RECORD_BYTES,
      AT(memory_bytes),
      .least = 1,
      .most = 0x1p53,
      .required = true },
    { .key = "usable_memory", .type = RECORD_BYTES, AT(usable_bytes), .least = 1, .most = 0x1p53 },
    { .key = "memory_bandwidth", .type = RECORD_RATE, AT(bandwidth_bytes_s), .unit = "B/s" },
    PEAK("f32", RATE_F32),
    PEAK("bf16", RATE_BF16),
    PEAK("fp8", RATE_FP8),
    PEAK("int8", RATE_INT8),
    PEAK("fp4", RATE_FP4),
    { .key = "link", .type = RECORD_RATE, AT(link_bytes_s), .unit = "B/s" },
    { .key = "link_devices",
      .type = RECORD_COUNT,
      AT(link_devices),
      .least = 2,
      .most = DEVICES_MOST },
    { .key = "network", .type = RECORD_RATE, AT(network_bytes_s), .unit = "B/s" },
    SOURCE("memory", FIGURE_MEMORY),
    SOURCE("usable_memory", FIGURE_USABLE),
    SOURCE("memory_bandwidth", FIGURE_BANDWIDTH),
    SOURCE("peaks", FIGURE_PEAKS),
    SOURCE("link", FIGURE_LINK),
    SOURCE("network", FIGURE_NETWORK),
    EFFICIENCY("attention_memory", SHARE_ATTENTION_MEMORY),
    EFFICIENCY("attention_compute", SHARE_ATTENTION_COMPUTE),
    EFFICIENCY("product_memory", SHARE_PRODUCT_MEMORY),
    EFFICIENCY("product_compute", SHARE_PRODUCT_COMPUTE),
    EFFICIENCY("link", SHARE_LINK),
};
enum { ROWS = sizeof rows / sizeof *rows };

/* The rows of _efficiency.yaml: those alone, so that it describes no device. */
enum { EFFICIENCY_ROWS = 3 * SHARES };
static const RecordRow *const efficiency_rows = rows + ROWS - EFFICIENCY_ROWS;

/* ---- one file ---- */

/* Each figure that is given has its source. */
static Status check(Hardware *h, const char *path, Error *err) {
    double peaks = 0;
    for (int r = 0; r < RATES; r++) peaks += h->flops[r];
    const struct {
        const char *name;
        bool given;
    } figures[FIGURES] = { [FIGURE_MEMORY] = { "memory", true },
                           [FIGURE_USABLE] = { "usable_memory", h->usable_bytes > 0 },
                           [FIGURE_BANDWIDTH] = { "memory_bandwidth", h->bandwidth_bytes_s > 0 },
                           [FIGURE_PEAKS] = { "peaks", peaks > 0 },
                           [FIGURE_LINK] = { "link", h->link_bytes_s > 0 },
                           [FIGURE_NETWORK] = { "network", h->network_bytes_s > 0 } };
    for (int f = 0; f < FIGURES; f++)
        if (figures[f].given && !h->source[f][0])
            return fail_at(err, path, 0, 0, "sources.%s must be given where %s is", figures[f].name,
                           figures[f].name);
    if (h->link_devices && h->link_bytes_s <= 0)
        return fail_at(err, path, 0, 0, "link_devices: %zu: link must be given where it is",
                       h->link_devices);
    for (int s = 0; s < SHARES; s++)
        if (h->efficiency[s].low > h->efficiency[s].high)
            return fail_at(err, path, 0, 0, "an efficiency's low is above its high: %g, %g",
                           h->efficiency[s].low, h->efficiency[s].high);
    if (!h->usable_bytes) h->usable_bytes = h->memory_bytes;
    return OK;
}

Status hardware_parse_file(Hardware *hardware, const char *name, const char *text, size_t length,
                           Error *err) {
    Tree tree;
    Hardware draft = { .memory_bytes = 0 };
    TRY(yaml_tree_parse(&tree, name, text, length, err));
    Status status = record_read(&draft, rows, ROWS, name, tree.root, err);
    yaml_tree_free(&tree);
    if (status == OK) status = check(&draft, name, err);
    if (status == OK) *hardware = draft;
    return status;
}

static Status read_file(Hardware *hardware, const char *path, Error *err) {
    Hardware draft = { .memory_bytes = 0 };
    char defaults[1024];
    snprintf(defaults, sizeof defaults, "%s/hardware/_efficiency.yaml", configs_folder());
    TRY(record_read_file(&draft, efficiency_rows, EFFICIENCY_ROWS, defaults, err));
    TRY(record_read_file(&draft, rows, ROWS, path, err));
    TRY(check(&draft, path, err));
    *hardware = draft;
    return OK;
}

/* ---- names ---- */

static void lower(char *out, size_t size, const char *text) {
    size_t i = 0;
    for (; text[i] && i + 1 < size; i++) out[i] = (char)tolower((unsigned char)text[i]);
    out[i] = '\0';
}

/* Is `name` one of the words of a list with commas? */
static bool is_listed(const char *list, const char *name) {
    const size_t length = strlen(name);
    for (const char *word = list; *word;) {
        word += strspn(word, ", ");
        const size_t end = strcspn(word, ",");
        if (end == length && strncmp(word, name, length) == 0) return true;
        word += end;
    }
    return false;
}

/* The device that gives itself another name; false where none does. */
static bool find_other_name(Hardware *hardware, const char *name) {
    static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];
    const size_t count = configs_names("hardware", ".yaml", names);
    for (size_t i = 0; i < count; i++) {
        char path[1024];
        Hardware found;
        Error ignored;
        if (configs_find("hardware", names[i], ".yaml", path, sizeof path, &ignored) != OK ||
            read_file(&found, path, &ignored) != OK || !is_listed(found.also, name))
            continue;
        *hardware = found;
        return true;
    }
    return false;
}

Status hardware_read(Hardware *hardware, const char *name, Error *err) {
    char path[1024], small[128];
    lower(small, sizeof small, name);
    const Status found = configs_find("hardware", small, ".yaml", path, sizeof path, err);
    if (found == OK) return read_file(hardware, path, err);
    return find_other_name(hardware, small) ? OK : found;
}

Status hardware_parse(Hardware *hardware, size_t *count, const char *text, Error *err) {
    const size_t digits = strspn(text, "0123456789");
    uint64_t devices = 1;
    const char *name = text;
    if (digits && (text[digits] == 'x' || text[digits] == 'X')) {
        char number[32];
        snprintf(number, sizeof number, "%.*s", (int)(digits < 20 ? digits : 20), text);
        if (!quantity_count(number, &devices) || devices < 1 || devices > DEVICES_MOST)
            return fail(err, ERR_INPUT, "--hardware %.80s: from 1 to %d devices are allowed", text,
                        DEVICES_MOST);
        name = text + digits + 1;
        if (!*name)
            return fail(err, ERR_INPUT, "--hardware %.80s: a device must follow, as in 8xH200",
                        text);
    }
    TRY(hardware_read(hardware, name, err));
    *count = (size_t)devices;
    return OK;
}
