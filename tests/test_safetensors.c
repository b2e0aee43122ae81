/* test_safetensors.c -- what is written is read to the bit; what lies is refused, in one line. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "safetensors.h"

static char folder[64], path[128];
static Error err;

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/kvlab-safetensors-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
}

static void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(safetensors, .init = make_folder, .fini = remove_folder);

static size_t files_in_folder(void) {
    DIR *listing = opendir(folder);
    cr_assert(listing);
    size_t count = 0;
    for (const struct dirent *e; (e = readdir(listing));) count += e->d_name[0] != '.';
    closedir(listing);
    return count;
}

/* A whole file; free it. */
static unsigned char *file_bytes(const char *name, size_t *size) {
    FILE *file = fopen(name, "rb");
    cr_assert(file, "%s", name);
    const size_t room = 1 << 20;
    unsigned char *bytes = malloc(room);
    cr_assert(bytes);
    *size = fread(bytes, 1, room, file);
    cr_assert(*size < room);
    fclose(file);
    return bytes;
}

static Tensor tensor_of(const char *name, TensorType type, size_t elements, const void *data) {
    return (Tensor){ .name = name,
                     .type = type,
                     .rank = 1,
                     .shape = { elements },
                     .elements = elements,
                     .data = data };
}

static Safetensors *opened(const char *name) {
    Safetensors *file = NULL;
    cr_assert_eq(safetensors_open(&file, name, &err), OK, "%s", err.text);
    return file;
}

/* ---- what is read and written ---- */

Test(safetensors, a_file_has_the_bytes_that_the_format_asks) {
    static const float values[] = { 1, -2, 0.5f, 3 };
    const Tensor tensor = { .name = "test",
                            .type = TENSOR_F32,
                            .rank = 2,
                            .shape = { 2, 2 },
                            .elements = 4,
                            .data = values };
    cr_assert_eq(safetensors_write(path, 1, &tensor, 0, NULL, &err), OK, "%s", err.text);
    static const char header[] = "\x40\0\0\0\0\0\0\0{\"test\":{\"dtype\":\"F32\",\"shape\":[2,2],"
                                 "\"data_offsets\":[0,16]}}    ";
    static const unsigned char data[] = { 0, 0, 0x80, 0x3f, 0, 0, 0,    0xc0,
                                          0, 0, 0,    0x3f, 0, 0, 0x40, 0x40 };
    size_t size = 0;
    unsigned char *bytes = file_bytes(path, &size);
    cr_assert_eq(size, 8 + 64 + 16);
    cr_assert_arr_eq(bytes, header, 8 + 64);
    cr_assert_arr_eq(bytes + 8 + 64, data, 16);
    free(bytes);
}

Test(safetensors, no_tensors_at_all_is_a_file_too) {
    cr_assert_eq(safetensors_write(path, 0, NULL, 0, NULL, &err), OK, "%s", err.text);
    Safetensors *file = opened(path);
    cr_assert_eq(safetensors_count(file), 0);
    cr_assert_null(safetensors_find(file, "a"));
    cr_assert_null(safetensors_metadata(file, "a"));
    safetensors_close(file);
    safetensors_close(NULL);
}

Test(safetensors, names_shapes_metadata_and_bytes_come_back_in_order) {
    static const unsigned char bytes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
    static const char odd[] =
        "quote \" slash \\ / line \n tab \t bell \a e\xcc\x81 \xf0\x9f\x98\x80";
    const Tensor in[] = {
        { .name = "z",
          .type = TENSOR_F16,
          .rank = 3,
          .shape = { 1, 3, 2 },
          .elements = 6,
          .data = bytes },
        { .name = odd, .type = TENSOR_F64, .rank = 0, .elements = 1, .data = bytes + 1 },
        { .name = "", .type = TENSOR_F32, .rank = 2, .shape = { 0, 7 }, .data = NULL },
        { .name = "a",
          .type = TENSOR_BF16,
          .rank = 8,
          .shape = { 1, 1, 1, 1, 1, 1, 1, 2 },
          .elements = 2,
          .data = bytes + 3 },
    };
    const char *const metadata[][2] = { { "config", "{\"a\": [1]}\n" }, { odd, odd }, { "", "" } };
    cr_assert_eq(safetensors_write(path, 4, in, 3, metadata, &err), OK, "%s", err.text);

    Safetensors *file = opened(path);
    static const size_t sizes[] = { 12, 8, 0, 4 };
    cr_assert_eq(safetensors_count(file), 4);
    for (size_t i = 0; i < 4; i++) {
        const Tensor *out = safetensors_tensor(file, i);
        cr_assert_str_eq(out->name, in[i].name);
        cr_assert_eq(out->type, in[i].type);
        cr_assert_eq(out->rank, in[i].rank);
        cr_assert_arr_eq(out->shape, in[i].shape, in[i].rank * sizeof(size_t));
        cr_assert_eq(out->elements, in[i].elements);
        if (sizes[i]) cr_assert_arr_eq(out->data, in[i].data, sizes[i]);
        cr_assert_eq(safetensors_find(file, in[i].name), out);
    }
    cr_assert_null(safetensors_find(file, "b"));
    cr_assert_null(safetensors_find(file, "__metadata__"));
    for (size_t i = 0; i < 3; i++)
        cr_assert_str_eq(safetensors_metadata(file, metadata[i][0]), metadata[i][1]);
    cr_assert_null(safetensors_metadata(file, "absent"));
    safetensors_close(file);
    cr_assert_eq(files_in_folder(), 1, "no neighbour is left");
}

Test(safetensors, a_file_written_again_is_the_same_to_the_byte) {
    static const unsigned char bytes[64] = { 9, 8, 7, 6, 5, 4, 3, 2, 1 };
    const Tensor in[] = { tensor_of("f16", TENSOR_F16, 3, bytes),
                          tensor_of("f64", TENSOR_F64, 5, bytes),
                          tensor_of("bf16", TENSOR_BF16, 1, bytes) };
    const char *const metadata[][2] = { { "config", "{}" } };
    cr_assert_eq(safetensors_write(path, 3, in, 1, metadata, &err), OK, "%s", err.text);
    size_t size = 0, size_again = 0;
    unsigned char *first = file_bytes(path, &size);

    /* Over the file that is being read: its bytes stay until it is closed. */
    Safetensors *file = opened(path);
    cr_assert_eq(safetensors_write(path, 3, safetensors_tensor(file, 0), 1, metadata, &err), OK);
    safetensors_close(file);
    unsigned char *again = file_bytes(path, &size_again);
    cr_assert_eq(size, size_again);
    cr_assert_arr_eq(first, again, size);
    free(first);
    free(again);
}

Test(safetensors, data_begins_at_a_multiple_of_eight) {
    for (size_t length = 1; length <= 9; length++) {
        const Tensor tensor = tensor_of(&"aaaaaaaaa"[9 - length], TENSOR_F32, 1, "data");
        cr_assert_eq(safetensors_write(path, 1, &tensor, 0, NULL, &err), OK, "%s", err.text);
        size_t size = 0;
        unsigned char *bytes = file_bytes(path, &size);
        cr_assert_eq(size % 8, 4);
        cr_assert_eq(bytes[0] + 8u + 4u, size);
        free(bytes);
    }
}

/* ---- values ---- */

/* Three values as they lie in a file, and what they are. */
static const struct {
    TensorType type;
    size_t bytes;
    unsigned char values[24];
    double expected[3];
} typed[] = {
    { TENSOR_F64,
      24,
      { 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 4, 0xc0, 1, 0, 0, 0, 0, 0, 0xf0, 0x3f },
      { 1, -2.5, 1 + 0x1p-52 } },
    { TENSOR_F32,
      12,
      { 0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0, 1, 0, 0x80, 0x3f },
      { 1, -2.5, 1 + 0x1p-23 } },
    { TENSOR_BF16, 6, { 0x80, 0x3f, 0x20, 0xc0, 0x81, 0x3f }, { 1, -2.5, 1.0078125 } },
    { TENSOR_F16, 6, { 0, 0x3c, 0, 0xc1, 1, 0 }, { 1, -2.5, 0x1p-24 } },
};

Test(safetensors, each_type_is_read_exactly_at_any_address) {
    for (size_t i = 0; i < sizeof typed / sizeof *typed; i++) {
        for (size_t shift = 0; shift < 8; shift++) {
            unsigned char bytes[32];
            memcpy(bytes + shift, typed[i].values, typed[i].bytes);
            const Tensor tensor = tensor_of("a", typed[i].type, 3, bytes + shift);
            float values[3];
            double exact[3];
            tensor_read(&tensor, values);
            tensor_read_f64(&tensor, exact);
            for (size_t j = 0; j < 3; j++) {
                cr_assert_eq(exact[j], typed[i].expected[j], "type %zu, value %zu", i, j);
                cr_assert_eq(values[j], (float)typed[i].expected[j], "type %zu, value %zu", i, j);
            }
        }
    }
}

/* bf16 holds 0 to 256 exactly, so no value may be lost wherever long tensors are cut to pieces. */
Test(safetensors, long_tensors_are_read_to_the_last_value) {
    enum { COUNT = 1031 };
    static unsigned char bytes[2 * COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        const float value = (float)(i % 256);
        memcpy(bytes + 2 * i, (const unsigned char *)&value + 2, 2);
    }
    for (size_t n = COUNT - 520; n <= COUNT; n += 8) {
        const Tensor tensor = tensor_of("a", TENSOR_BF16, n, bytes);
        static double exact[COUNT + 1];
        static float values[COUNT + 1];
        exact[n] = values[n] = -7;
        tensor_read(&tensor, values);
        tensor_read_f64(&tensor, exact);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(values[i], (float)(i % 256));
            cr_assert_eq(exact[i], (double)(i % 256));
        }
        cr_assert(exact[n] == -7 && values[n] == -7, "nothing past the end");
    }
}

Test(safetensors, infinities_and_nan_are_values) {
    static const unsigned char bytes[] = { 0, 0x7c, 0, 0xfc, 0, 0x7e };
    const Tensor tensor = tensor_of("a", TENSOR_F16, 3, bytes);
    float values[3];
    tensor_read(&tensor, values);
    cr_assert(isinf(values[0]) && values[0] > 0 && isinf(values[1]) && values[1] < 0);
    cr_assert(isnan(values[2]));
}

Test(safetensors, the_golden_layers_are_read) {
    Safetensors *file = opened(KVLAB_TESTS "/golden/mla_v3_small.safetensors");
    cr_assert_eq(safetensors_count(file), 11);
    cr_assert_str_eq(safetensors_metadata(file, "prefill_tokens"), "40");
    cr_assert(strstr(safetensors_metadata(file, "config"), "\"kv_lora_rank\": 64,"));
    const Tensor *output = safetensors_find(file, "output");
    cr_assert(output && output->type == TENSOR_F32 && output->rank == 3);
    cr_assert(output->shape[0] == 2 && output->shape[1] == 49 && output->shape[2] == 192);
    const Tensor *absorbed = safetensors_find(file, "output_absorbed");
    cr_assert(absorbed && absorbed->elements == output->elements);
    float *y = malloc(2 * output->elements * sizeof *y);
    cr_assert(y);
    tensor_read(output, y);
    tensor_read(absorbed, y + output->elements);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < output->elements; i++) {
        difference += pow((double)y[i] - (double)y[output->elements + i], 2);
        norm += pow((double)y[i], 2);
    }
    cr_assert_gt(norm, 0);
    cr_assert_lt(sqrt(difference / norm), 1e-5, "two ways to compute the same");
    free(y);
    safetensors_close(file);
}

/* ---- files that are none ---- */

static void not_opened(const char *name, Status status, const char *expected) {
    Safetensors *file = NULL;
    cr_assert_eq(safetensors_open(&file, name, &err), status, "%s", name);
    cr_assert_null(file);
    char line[512];
    snprintf(line, sizeof line, "%s: %s", name, expected);
    cr_assert_str_eq(err.text, line);
}

Test(safetensors, what_is_no_regular_file_is_refused_without_waiting, .timeout = 20) {
    char pipe[128];
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    not_opened(pipe, ERR_INPUT, "not a regular file");
    not_opened(folder, ERR_INPUT, "not a regular file");
    not_opened("/dev/zero", ERR_INPUT, "not a regular file");
    not_opened(path, ERR_INPUT, "cannot be opened: No such file or directory");
    fclose(fopen(path, "wb"));
    not_opened(path, ERR_INPUT, "0 bytes are too few for a safetensors file");
}

Test(safetensors, a_file_cut_short_anywhere_is_refused) {
    static const float values[] = { 1, 2, 3 };
    const Tensor in[] = { tensor_of("a", TENSOR_F32, 2, values),
                          tensor_of("b", TENSOR_F32, 1, values) };
    const char *const metadata[][2] = { { "config", "{}" } };
    cr_assert_eq(safetensors_write(path, 2, in, 1, metadata, &err), OK, "%s", err.text);
    size_t size = 0;
    unsigned char *bytes = file_bytes(path, &size);
    for (size_t left = 0; left < size; left++) {
        unsigned char *part = malloc(left + 1); /* of its own, so that a sanitizer sees its end */
        cr_assert(part);
        memcpy(part, bytes, left);
        Safetensors *file = NULL;
        cr_assert_eq(safetensors_parse(&file, "x", part, left, &err), ERR_INPUT, "%zu", left);
        cr_assert_null(file);
        free(part);
    }
    free(bytes);
}

/* ---- what the writer refuses ---- */

static void not_written(const Tensor *tensors, size_t count, const char *expected) {
    char line[512];
    snprintf(line, sizeof line, "%s: %s", path, expected);
    cr_assert_eq(safetensors_write(path, count, tensors, 0, NULL, &err), ERR_INPUT);
    cr_assert_str_eq(err.text, line);
    cr_assert_eq(files_in_folder(), 0, "nothing is left behind");
}

Test(safetensors, what_could_not_be_read_is_not_written) {
    static const float values[] = { 1, 2 };
    Tensor twice[] = { tensor_of("a", TENSOR_F32, 2, values),
                       tensor_of("a", TENSOR_F32, 2, values) };
    cr_assert_eq(safetensors_write(path, 2, twice, 0, NULL, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "duplicate object key"), "%s", err.text);
    Tensor tensor = tensor_of("\xff", TENSOR_F32, 2, values);
    cr_assert_eq(safetensors_write(path, 1, &tensor, 0, NULL, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "unable to decode byte 0xff"), "%s", err.text);
    tensor = tensor_of("__metadata__", TENSOR_F32, 2, values);
    not_written(&tensor, 1, "no tensor may be called __metadata__");
    tensor = tensor_of("a", TENSOR_F32, 2, values);
    tensor.shape[0] = 3;
    not_written(&tensor, 1, "tensor 'a': dtype and shape take 12 bytes, data_offsets hold 8");
}

Test(safetensors, a_full_disk_leaves_the_old_file_and_nothing_else) {
    static const unsigned char zeros[4 << 20];
    const Tensor small = tensor_of("a", TENSOR_F32, 2, zeros);
    const Tensor large = tensor_of("a", TENSOR_F32, sizeof zeros / 4, zeros);
    cr_assert_eq(safetensors_write(path, 1, &small, 0, NULL, &err), OK, "%s", err.text);
    const struct rlimit limit = { 1 << 20, 1 << 20 };
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(safetensors_write(path, 1, &large, 0, NULL, &err), ERR_MACHINE);
    cr_assert(strstr(err.text, path) && strstr(err.text, "File too large"), "%s", err.text);
    cr_assert_eq(files_in_folder(), 1);
    Safetensors *file = opened(path);
    cr_assert_eq(safetensors_tensor(file, 0)->elements, 2);
    safetensors_close(file);
}

Test(safetensors, a_folder_that_is_not_there_is_said) {
    const Tensor tensor = tensor_of("a", TENSOR_F32, 1, "data");
    char absent[160];
    snprintf(absent, sizeof absent, "%s/absent/x.safetensors", folder);
    cr_assert_eq(safetensors_write(absent, 1, &tensor, 0, NULL, &err), ERR_MACHINE);
    cr_assert(strstr(err.text, absent) && strstr(err.text, "No such file"), "%s", err.text);
}
