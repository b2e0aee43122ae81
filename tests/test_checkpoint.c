/* Checkpoints: tensors by name out of one file, shards with an index, a folder, or a .npy file. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint.h"

static char folder[] = "/tmp/kvlab-checkpoint-XXXXXX";

static void setup(void) {
    cr_assert_not_null(mkdtemp(folder));
}

static void teardown(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

static const char *path_of(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_text(const char *name, const char *text) {
    FILE *file = fopen(path_of(name), "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

/* A file of two-element tensors; the first value says which. */
static void write_shard(const char *name, size_t count, const char *const *tensors, float first) {
    float values[8][2];
    Tensor list[8];
    Error err;
    for (size_t i = 0; i < count; i++) {
        values[i][0] = first + (float)i;
        values[i][1] = 0;
        list[i] = (Tensor){ .name = tensors[i],
                            .type = TENSOR_F32,
                            .rank = 1,
                            .shape = { 2 },
                            .elements = 2,
                            .data = values[i] };
    }
    cr_assert_eq(safetensors_write(path_of(name), count, list, 0, NULL, &err), OK, "%s", err.text);
}

static float first_value(const Checkpoint *c, const char *name) {
    float values[2];
    const Tensor *t = checkpoint_find(c, name);
    cr_assert_not_null(t, "%s", name);
    tensor_read(t, values);
    return values[0];
}

static void write_two_shards(void) {
    write_shard("one.safetensors", 2, (const char *const[]){ "b", "d" }, 10);
    write_shard("two.safetensors", 2, (const char *const[]){ "a", "c" }, 20);
}

static void refused(const char *name, const char *why) {
    Checkpoint *c = NULL;
    Error err;
    cr_assert_eq(checkpoint_open(&c, path_of(name), &err), ERR_INPUT, "%s", why);
    cr_assert(strstr(err.text, why), "%s", err.text);
    cr_assert_null(c);
}

TestSuite(checkpoint, .init = setup, .fini = teardown);

Test(checkpoint, shards_are_one_list_of_names) {
    Checkpoint *c;
    Error err;
    write_two_shards();
    write_text(
        "model.safetensors.index.json",
        "{\"metadata\": {\"total_size\": 32}, \"weight_map\": {\"a\": \"two.safetensors\", "
        "\"b\": \"one.safetensors\", \"c\": \"two.safetensors\", \"d\": \"one.safetensors\"}}");
    for (size_t i = 0; i < 2; i++) { /* by the index, and by its folder */
        const char *path = i ? folder : path_of("model.safetensors.index.json");
        cr_assert_eq(checkpoint_open(&c, path, &err), OK, "%s", err.text);
        cr_assert_eq(checkpoint_count(c), 4);
        cr_assert_str_eq(checkpoint_tensor(c, 0)->name, "a");
        cr_assert_eq(first_value(c, "a"), 20);
        cr_assert_eq(first_value(c, "b"), 10);
        cr_assert_eq(first_value(c, "c"), 21);
        cr_assert_eq(first_value(c, "d"), 11);
        cr_assert_null(checkpoint_find(c, "e"));
        cr_assert_null(checkpoint_only(c));
        checkpoint_close(c);
    }
}

Test(checkpoint, one_file_is_read_by_itself_or_by_its_folder) {
    Checkpoint *c;
    Error err;
    write_shard("model.safetensors", 1, (const char *const[]){ "x" }, 5);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(checkpoint_open(&c, i ? folder : path_of("model.safetensors"), &err), OK);
        cr_assert_eq(checkpoint_only(c), checkpoint_find(c, "x"));
        cr_assert_null(checkpoint_metadata(c, "config"));
        checkpoint_close(c);
    }
}

Test(checkpoint, a_npy_file_is_one_tensor_of_its_name) {
    Checkpoint *c;
    Error err;
    const char *path = KVLAB_TESTS "/corpus/fuzz_npy/matrix.npy";
    cr_assert_eq(checkpoint_open(&c, path, &err), OK, "%s", err.text);
    cr_assert_str_eq(checkpoint_only(c)->name, "matrix");
    cr_assert_eq(checkpoint_only(c)->shape[1], 3);
    checkpoint_close(c);
}

Test(checkpoint, a_folder_without_an_index_is_all_of_its_files) {
    Checkpoint *c;
    Error err;
    refused("", "holds neither");
    write_two_shards();
    cr_assert_eq(checkpoint_open(&c, folder, &err), OK, "%s", err.text);
    cr_assert(checkpoint_count(c) == 4 && first_value(c, "c") == 21 && first_value(c, "b") == 10);
    checkpoint_close(c);
    write_shard("part-00001-of-00004.safetensors", 1, (const char *const[]){ "x" }, 5);
    refused("", "part-00001-of-00004.safetensors is one of 4 parts, and 3 are there");
}

Test(checkpoint, what_is_wrong_is_said_with_its_file) {
    write_two_shards();
    refused("none.safetensors", "cannot be opened");
    write_text("a.index.json", "{\"weight_map\": {\"a\": \"../two.safetensors\"}}");
    refused("a.index.json", "is no file name");
    write_text("a.index.json", "{\"weight_map\": {\"a\": \"three.safetensors\"}}");
    refused("a.index.json", "three.safetensors: cannot be opened");
    write_text("a.index.json", "{\"weight_map\": {\"a\": \"one.safetensors\"}}");
    refused("a.index.json", "one.safetensors holds no tensor 'a'");
    write_text("a.index.json", "{\"weight_map\": {\"a\": 3}}");
    refused("a.index.json", "a: not a file name");
    write_text("a.index.json", "{\"weights\": {}}");
    refused("a.index.json", "weight_map is missing");
    write_shard("three.safetensors", 1, (const char *const[]){ "a" }, 1);
    write_text("a.index.json",
               "{\"weight_map\": {\"a\": \"two.safetensors\", \"b\": \"one.safetensors\", \"x\": "
               "\"three.safetensors\"}}");
    refused("a.index.json", "three.safetensors holds no tensor 'x'");
    write_shard("three.safetensors", 2, (const char *const[]){ "a", "x" }, 1);
    refused("a.index.json", "'a' lies in two shards");
}
