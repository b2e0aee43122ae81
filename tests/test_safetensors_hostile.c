/* test_safetensors_hostile.c -- headers that lie are refused: in one line that names the tensor, in
 * little time and memory. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "safetensors.h"

static Error err;

static void put_length(unsigned char *bytes, uint64_t length) {
    for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> 8 * i);
}

/* The bytes of a file with that header and `data` bytes after it (0, 1, 2, ...); free them. */
static unsigned char *image(const char *header, size_t length, size_t data, size_t *size) {
    *size = 8 + length + data;
    unsigned char *bytes = malloc(*size);
    cr_assert(bytes);
    put_length(bytes, length);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data; i++) bytes[8 + length + i] = (unsigned char)i;
    return bytes;
}

static void refused(const void *bytes, size_t size, const char *expected) {
    Safetensors *file = NULL;
    err = (Error){ 0 };
    cr_assert_eq(safetensors_parse(&file, "x", bytes, size, &err), ERR_INPUT, "read: %s", expected);
    cr_assert_null(file);
    cr_assert_str_eq(err.text, expected);
}

#define F32_2 "\"dtype\":\"F32\",\"shape\":[2]"

/* The header, the bytes that follow it, and all that is said about it. */
static const struct {
    const char *header;
    size_t data;
    const char *expected;
} hostile[] = {
    /* not a header */
    { "", 0, "x: the header does not begin with '{': not safetensors" },
    { " {}", 0, "x: the header does not begin with '{': not safetensors" },
    { "[]", 0, "x: the header does not begin with '{': not safetensors" },

    /* wrong types */
    { "{\"a\":7}", 0, "x: tensor 'a': not an object" },
    { "{\"a\":{}}", 0, "x: tensor 'a': dtype is missing or not a string" },
    { "{\"a\":{\"dtype\":7}}", 0, "x: tensor 'a': dtype is missing or not a string" },
    { "{\"a\":{\"dtype\":\"I64\"}}", 0,
      "x: tensor 'a': dtype 'I64' is none of F64, F32, BF16, F16" },
    { "{\"a\":{\"dtype\":\"f32\"}}", 0,
      "x: tensor 'a': dtype 'f32' is none of F64, F32, BF16, F16" },
    { "{\"a\":{\"dtype\":\"F32\"}}", 0, "x: tensor 'a': shape is missing or not an array" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":{}}}", 0,
      "x: tensor 'a': shape is missing or not an array" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,-1]}}", 0,
      "x: tensor 'a': shape[1] is not a whole number from 0" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0]}}", 8,
      "x: tensor 'a': shape[0] is not a whole number from 0" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
      "x: tensor 'a': shape has 9 dimensions, at most 8 are read" },
    { "{\"a\":{" F32_2 "}}", 8,
      "x: tensor 'a': data_offsets are missing or not two whole numbers from 0" },
    { "{\"a\":{" F32_2 ",\"data_offsets\":[8]}}", 8,
      "x: tensor 'a': data_offsets are missing or not two whole numbers from 0" },
    { "{\"a\":{" F32_2 ",\"data_offsets\":[0,8,8]}}", 8,
      "x: tensor 'a': data_offsets are missing or not two whole numbers from 0" },
    { "{\"a\":{" F32_2 ",\"data_offsets\":[-8,0]}}", 8,
      "x: tensor 'a': data_offsets are missing or not two whole numbers from 0" },
    { "{\"a\":{" F32_2 ",\"data_offsets\":[0,\"8\"]}}", 8,
      "x: tensor 'a': data_offsets are missing or not two whole numbers from 0" },
    { "{\"__metadata__\":[]}", 0, "x: __metadata__ is not an object" },
    { "{\"__metadata__\":{\"a\":\"b\",\"c\":1}}", 0, "x: __metadata__ 'c': not a string" },

    /* lies about sizes */
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
      "x: tensor 'a': shape overflows" },
    { "{\"a\":{\"dtype\":\"F16\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
      "x: tensor 'a': shape overflows" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
      "x: tensor 'a': shape overflows" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
      "x: tensor 'a': dtype and shape take 12 bytes, data_offsets hold 8" },
    { "{\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
      "x: tensor 'a': dtype and shape take 8 bytes, data_offsets hold 4" },
    { "{\"a\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[0,4]}}", 4,
      "x: tensor 'a': dtype and shape take 0 bytes, data_offsets hold 4" },
    { "{\"a\":{" F32_2 ",\"data_offsets\":[8,0]}}", 8,
      "x: tensor 'a': data_offsets [8, 0] end before they begin" },
    { "{\"a\":{" F32_2 ",\"data_offsets\":[0,8]}}", 7,
      "x: tensor 'a': data_offsets [0, 8] reach past the 7 bytes of data" },
    { "{\"a\":{" F32_2 ",\"data_offsets\":[9223372036854775799,9223372036854775807]}}", 8,
      "x: tensor 'a': data_offsets [9223372036854775799, 9223372036854775807] reach past the 8 "
      "bytes of data" },

    /* lies about places */
    { "{\"a\":{" F32_2 ",\"data_offsets\":[0,8]}}", 9, "x: the last 1 bytes belong to no tensor" },
    { "{}", 1, "x: the last 1 bytes belong to no tensor" },
    { "{\"a\":{" F32_2 ",\"data_offsets\":[4,12]}}", 12,
      "x: tensor 'a': the 4 bytes before it belong to no tensor" },
    { "{\"b\":{" F32_2 ",\"data_offsets\":[12,20]},\"a\":{" F32_2 ",\"data_offsets\":[0,8]}}", 20,
      "x: tensor 'b': the 4 bytes before it belong to no tensor" },
    { "{\"a\":{" F32_2 ",\"data_offsets\":[0,8]},\"b\":{" F32_2 ",\"data_offsets\":[4,12]}}", 12,
      "x: tensor 'b': overlaps tensor 'a'" },
    { "{\"a\":{" F32_2 ",\"data_offsets\":[0,8]},\"b\":{" F32_2 ",\"data_offsets\":[0,8]}}", 8,
      "x: tensor 'b': overlaps tensor 'a'" },
    { "{\"a\\n\\u007f\":7}", 0,
      "x: tensor 'a?"
      "?': not an object" },
};

/* What the JSON reader says; its words and columns are the library's. */
static const struct {
    const char *header, *place, *reason;
} broken[] = {
    { "{} x", "x:1:", "end of file expected" },
    { "{\"a\":", "x:1:", "near end of file" },
    { "{\n\"a\xff\":{}}", "x:2:", "unable to decode byte 0xff" },
    { "{\"a\\u0000\":{}}", "x:1:", "NUL byte" },
    { "{\"a\":{},\n\"a\":{}}", "x:2:", "duplicate object key near '\"a\"'" },
    { "{\"a\":{\"shape\":[2],\"shape\":[2]}}", "x:1:", "duplicate object key near '\"shape\"'" },
    { "{\"a\":{\"shape\":[9223372036854775808]}}", "x:1:", "too big integer" },
};

Test(safetensors_hostile, a_header_that_is_no_json_is_refused_with_its_place) {
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        size_t size = 0;
        unsigned char *bytes = image(broken[i].header, strlen(broken[i].header), 0, &size);
        Safetensors *file = NULL;
        cr_assert_eq(safetensors_parse(&file, "x", bytes, size, &err), ERR_INPUT, "%s",
                     broken[i].header);
        cr_assert_null(file);
        cr_assert_eq(strncmp(err.text, broken[i].place, 4), 0, "%s", err.text);
        cr_assert(strstr(err.text, broken[i].reason), "%s", err.text);
        free(bytes);
    }
}

Test(safetensors_hostile, a_lying_header_is_refused_with_its_tensor_and_reason) {
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        size_t size = 0;
        unsigned char *bytes =
            image(hostile[i].header, strlen(hostile[i].header), hostile[i].data, &size);
        refused(bytes, size, hostile[i].expected);
        free(bytes);
    }
}

Test(safetensors_hostile, a_lying_length_of_the_header_is_refused) {
    unsigned char bytes[16] = { 0 };
    refused(NULL, 0, "x: 0 bytes are too few for a safetensors file");
    refused(bytes, 7, "x: 7 bytes are too few for a safetensors file");
    refused(bytes, 8, "x: the header does not begin with '{': not safetensors");
    put_length(bytes, 9);
    refused(bytes, 16, "x: a header of 9 bytes, but 8 follow: cut short?");
    put_length(bytes, 100000000);
    refused(bytes, 16, "x: a header of 100000000 bytes, but 8 follow: cut short?");
    put_length(bytes, 100000001);
    refused(bytes, 16, "x: a header of 100000001 bytes, at most 100000000 are read");
    put_length(bytes, (uint64_t)1 << 63);
    refused(bytes, 16, "x: a header of 9223372036854775808 bytes, at most 100000000 are read");
    put_length(bytes, UINT64_MAX);
    refused(bytes, 16, "x: a header of 18446744073709551615 bytes, at most 100000000 are read");
}

/* Headers of 32 MB whose values would take gigabytes: 100 times what they take on disk. */
Test(safetensors_hostile, a_huge_header_is_refused_in_little_time_and_memory) {
    static const char *const pieces[] = { "[],", "{},", "1,", "[", "{\"\":" };
    enum { BYTES = 32 << 20 };
    char *header = malloc(BYTES);
    cr_assert(header);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        const size_t length = strlen(pieces[i]);
        memcpy(header, "{\"a\":[", 6);
        for (size_t at = 6; at < BYTES; at++) header[at] = pieces[i][(at - 6) % length];
        size_t size = 0;
        unsigned char *bytes = image(header, BYTES, 0, &size);
        const clock_t start = clock();
        refused(bytes, size, "x: the header holds over 1048576 values");
        cr_assert_lt(clock() - start, 5 * CLOCKS_PER_SEC);
        free(bytes);
    }
    free(header);
    struct rusage used;
    cr_assert_eq(getrusage(RUSAGE_SELF, &used), 0);
    cr_assert_lt(used.ru_maxrss, 512 * 1024, "KiB, the two copies of the header among them");
}

Test(safetensors_hostile, deep_nesting_is_refused) {
    char header[1024] = "{\"a\":";
    memset(header + 5, '[', sizeof header - 5);
    size_t size = 0;
    unsigned char *bytes = image(header, sizeof header, 0, &size);
    refused(bytes, size, "x:1: JSON is nested deeper than 64 levels");
    free(bytes);
}

Test(safetensors_hostile, what_counts_as_a_value_is_not_inside_a_string) {
    enum { COMMAS = 2 << 20 };
    char *header = malloc(COMMAS + 64);
    cr_assert(header);
    const int start = sprintf(header, "{\"__metadata__\":{\"a\":\"\\\"");
    memset(header + start, ',', COMMAS);
    const size_t length = (size_t)start + COMMAS + (size_t)sprintf(header + start + COMMAS, "\"}}");
    size_t size = 0;
    unsigned char *bytes = image(header, length, 0, &size);
    Safetensors *file = NULL;
    cr_assert_eq(safetensors_parse(&file, "x", bytes, size, &err), OK, "%s", err.text);
    cr_assert_eq(strlen(safetensors_metadata(file, "a")), COMMAS + 1);
    safetensors_close(file);
    free(bytes);
    free(header);
}

Test(safetensors_hostile, padding_and_keys_of_others_are_fine) {
    static const char header[] =
        "{\"a\":{\"data_offsets\":[0,8],\"more\":{},\"shape\":[2],\"dtype\":\"F32\"}} \n  ";
    size_t size = 0;
    unsigned char *bytes = image(header, sizeof header - 1, 8, &size);
    Safetensors *file = NULL;
    cr_assert_eq(safetensors_parse(&file, "x", bytes, size, &err), OK, "%s", err.text);
    cr_assert_eq(safetensors_find(file, "a")->elements, 2);
    safetensors_close(file);
    free(bytes);
}
